//! The matrix that a convolution multiplies the filter with (im2col), made in small pieces as needed.
//!
//! Element (l, p) is what position p of the output reads through line l, one channel at one tap; 0 in the
//! padding. Pieces are filled along positions where columns lie next to each other, along channels where
//! those do.

use std::ops::Range;

use super::operand::{Operand, Panels, clear_run, copy_run, copy_strided};
use super::plan::{AXES, Gather, Grid, Tap, View};
use crate::gemm::micro_raw::Panel;
use crate::tensor::Real;

/// Which of channels and taps runs fastest among the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Line c·taps + t.
    TapsFastest,
    /// Line t·channels + c.
    ChannelsFastest,
}

/// A tensor read through taps.
pub struct Image<'a, R> {
    data: &'a [R],
    view: View,
    channels: usize,
    order: Order,
    grid: Grid,
    step: [usize; AXES],
    taps: &'a [Tap],
}

/// Positions in one row of the image.
#[derive(Clone, Copy)]
struct Run {
    /// Where the first is packed.
    first: usize,
    /// Its coordinates.
    at: [usize; 4],
    /// How many.
    length: usize,
}

/// The part of a run of positions that lies inside the input at one tap.
#[derive(Clone, Copy)]
struct Inside {
    /// Where the run starts in what is packed.
    first: usize,
    /// Its length.
    run: usize,
    /// Zeros before.
    before: usize,
    /// Elements read.
    length: usize,
    /// Place of the first element read, channels aside.
    place: usize,
}

impl<'a, R: Real> Image<'a, R> {
    /// `data`, laid out as `view`, read by `gather`; `channels` of each group.
    pub fn new(data: &'a [R], view: View, channels: usize, order: Order, gather: &'a Gather) -> Image<'a, R> {
        Image { data, view, channels, order, grid: gather.output, step: gather.step, taps: &gather.taps }
    }

    /// The output's positions.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// How many lines.
    pub fn lines(&self) -> usize {
        self.channels * self.taps.len()
    }

    /// The place of the input position that a tap reads, columns aside; `None` in the padding.
    fn row(&self, at: [usize; 4], tap: Tap) -> Option<usize> {
        let mut place = at[0] * self.view.image_stride;
        for axis in 0..AXES - 1 {
            let index = (at[axis + 1] * self.step[axis]).checked_add_signed(tap.offset[axis])?;
            if index >= self.view.sizes[axis] {
                return None;
            }
            place += index * self.view.strides[axis];
        }
        Some(place)
    }

    /// What of a run lies inside the input.
    fn inside(&self, run: Run, tap: Tap) -> Inside {
        let Run { first, at, length } = run;
        let nothing = Inside { first, run: length, before: length, length: 0, place: 0 };
        let Some(row) = self.row(at, tap) else { return nothing };
        let (step, size) = (self.step[2], self.view.sizes[2]);
        let start = (at[3] * step) as isize + tap.offset[2];
        let before = if start < 0 { start.unsigned_abs().div_ceil(step) } else { 0 };
        let end = size as isize - start;
        let until = if end <= 0 { 0 } else { (end as usize).div_ceil(step).min(length) };
        if before >= until {
            return nothing;
        }
        let column = (start + (before * step) as isize) as usize;
        let place = row + column * self.view.strides[2];
        Inside { first, run: length, before, length: until - before, place }
    }

    /// The runs of a range of positions that stay in one row of the image and in one panel.
    fn runs(&self, positions: Range<usize>, panels: Panels) -> Vec<Run> {
        let mut runs = Vec::new();
        self.grid.runs(positions, |first, at, length| {
            let mut done = 0;
            while done < length {
                let (panel, column) = ((first + done) / panels.width, (first + done) % panels.width);
                let length = (panels.width - column).min(length - done);
                let first = panel * panels.stride + column;
                runs.push(Run { first, at: [at[0], at[1], at[2], at[3] + done], length });
                done += length;
            }
        });
        runs
    }

    /// Positions as columns and lines as depth, `pitch` elements from line to line.
    fn along_positions(&self, group: usize, lines: &Range<usize>, runs: &[Run], pitch: usize, out: &mut [R]) {
        let base = group * self.channels * self.view.channel_stride;
        let stride = self.step[2] * self.view.strides[2];
        let mut insides = Vec::with_capacity(runs.len());
        for (number, &tap) in self.taps.iter().enumerate() {
            let strip = Strip::of(self.order, self.channels, self.taps.len(), number, lines);
            if strip.count == 0 {
                continue;
            }
            insides.clear();
            insides.extend(runs.iter().map(|&run| self.inside(run, tap)));
            for step in 0..strip.count {
                let out = &mut out[(strip.line + step * strip.every) * pitch..];
                let place = base + (strip.channel + step) * self.view.channel_stride;
                for inside in &insides {
                    copy_inside(self.data, place, stride, inside, out);
                }
            }
        }
    }

    /// `out[p·pitch + l]` for the positions p of these runs and the lines l of these strips, both counted
    /// from the first.
    fn along_lines(&self, group: usize, runs: &[Run], strips: &[(Tap, Strip)], pitch: usize, out: &mut [R]) {
        let base = group * self.channels * self.view.channel_stride;
        let channel_stride = self.view.channel_stride;
        for &Run { first, at, length } in runs {
            let targets = &mut out[first * pitch..];
            for of_row in strips.chunk_by(|a, b| a.0.offset[..2] == b.0.offset[..2]) {
                let row = self.row(at, of_row[0].0).map(|row| base + row);
                for (step, target) in targets.chunks_mut(pitch).take(length).enumerate() {
                    let start = ((at[3] + step) * self.step[2]) as isize;
                    let column = |tap: Tap| (start + tap.offset[2]) as usize;
                    let inside = |tap: Tap| column(tap) < self.view.sizes[2];
                    let place = |(tap, strip): (Tap, Strip), row: usize| {
                        row + column(tap) * self.view.strides[2] + strip.channel * channel_stride
                    };
                    let mut next = 0;
                    while next < of_row.len() {
                        let (tap, strip) = of_row[next];
                        let target = &mut target[strip.line..];
                        match row {
                            // Neighbours whose channels follow each other are copied in one go.
                            Some(row)
                                if strip.together > 1 && {
                                    inside(tap) && inside(of_row[next + strip.together - 1].0)
                                } =>
                            {
                                let count = strip.together * strip.count;
                                let place = place(of_row[next], row);
                                copy_run(&self.data[place..place + count], &mut target[..count]);
                                next += strip.together - 1;
                            }
                            Some(row) if inside(tap) => {
                                let place = place(of_row[next], row);
                                if strip.every == 1 {
                                    let target = &mut target[..strip.count];
                                    copy_strided(self.data, place, channel_stride, target);
                                } else {
                                    for step in 0..strip.count {
                                        target[step * strip.every] = self.data[place + step * channel_stride];
                                    }
                                }
                            }
                            _ => (0..strip.count).for_each(|step| target[step * strip.every] = R::ZERO),
                        }
                        next += 1;
                    }
                }
            }
        }
    }

    /// What of these lines belongs to each tap, and how many successive taps read on where it ends.
    fn strips(&self, lines: &Range<usize>) -> Vec<(Tap, Strip)> {
        let of_tap = |number| Strip::of(self.order, self.channels, self.taps.len(), number, lines);
        let mut strips: Vec<(Tap, Strip)> = (self.taps.iter().copied().enumerate())
            .map(|(number, tap)| (tap, of_tap(number)))
            .filter(|(_, strip)| strip.count > 0)
            .collect();
        let dense = self.view.channel_stride == 1 && self.view.strides[2] == self.channels;
        for index in (1..strips.len()).rev() {
            let ((before, strip), (after, next)) = (strips[index - 1], strips[index]);
            let neighbours =
                before.offset[..2] == after.offset[..2] && before.offset[2] + 1 == after.offset[2];
            if dense
                && strip.every == 1
                && neighbours
                && strip.count == self.channels
                && next.count == self.channels
            {
                strips[index - 1].1.together = next.together + 1;
            }
        }
        strips
    }
}

/// The lines of a range that belong to one tap: `count` successive channels, `every` lines apart.
#[derive(Clone, Copy)]
struct Strip {
    line: usize,
    every: usize,
    channel: usize,
    count: usize,
    /// Taps from this one on that read one run of the input.
    together: usize,
}

impl Strip {
    fn of(order: Order, channels: usize, taps: usize, tap: usize, lines: &Range<usize>) -> Strip {
        let (start, every) = match order {
            Order::TapsFastest => (tap, taps),
            Order::ChannelsFastest => (tap * channels, 1),
        };
        // Channels c with start + c·every inside the range.
        let channel = lines.start.saturating_sub(start).div_ceil(every);
        let end = lines.end.saturating_sub(start).div_ceil(every).min(channels);
        let count = end.saturating_sub(channel);
        let line = if count == 0 { 0 } else { start + channel * every - lines.start };
        Strip { line, every, channel, count, together: 1 }
    }
}

/// Zeros, elements from `place` on, zeros.
#[inline]
fn copy_inside<R: Real>(data: &[R], place: usize, stride: usize, inside: &Inside, out: &mut [R]) {
    let target = &mut out[inside.first..inside.first + inside.run];
    let until = inside.before + inside.length;
    clear_run(&mut target[..inside.before]);
    copy_strided(data, place + inside.place, stride, &mut target[inside.before..until]);
    clear_run(&mut target[until..]);
}

/// Positions packed one after the other.
const IN_A_ROW: Panels = Panels { width: usize::MAX, stride: 0 };

/// The matrix as an operand whose lines are positions and whose depth is channels and taps.
pub struct Positions<'a, R>(pub &'a Image<'a, R>);

/// A stretch of channels and taps.
pub struct LineDepth {
    lines: Range<usize>,
    strips: Vec<(Tap, Strip)>,
}

impl<R: Real> Operand<R> for Positions<'_, R> {
    type Depth = LineDepth;

    fn depth(&self, lines: Range<usize>) -> LineDepth {
        LineDepth { strips: self.0.strips(&lines), lines }
    }

    fn rows<'s>(
        &'s self,
        group: usize,
        rows: Range<usize>,
        depth: &LineDepth,
        scratch: &'s mut [R],
    ) -> Panel<'s, R> {
        let pitch = depth.lines.len();
        self.0.along_lines(group, &self.0.runs(rows, IN_A_ROW), &depth.strips, pitch, scratch);
        Panel { data: scratch, row_stride: pitch, depth_stride: 1 }
    }

    fn columns(&self, group: usize, columns: Range<usize>, depth: &LineDepth, panels: Panels, out: &mut [R]) {
        self.0.along_positions(group, &depth.lines, &self.0.runs(columns, panels), panels.width, out);
    }
}

/// The matrix as an operand whose lines are channels and taps and whose depth is positions.
pub struct Lines<'a, R>(pub &'a Image<'a, R>);

/// A stretch of positions.
pub struct PositionDepth {
    length: usize,
    runs: Vec<Run>,
}

impl<R: Real> Operand<R> for Lines<'_, R> {
    type Depth = PositionDepth;

    fn depth(&self, positions: Range<usize>) -> PositionDepth {
        PositionDepth { length: positions.len(), runs: self.0.runs(positions, IN_A_ROW) }
    }

    fn rows<'s>(
        &'s self,
        group: usize,
        rows: Range<usize>,
        depth: &PositionDepth,
        scratch: &'s mut [R],
    ) -> Panel<'s, R> {
        self.0.along_positions(group, &rows, &depth.runs, depth.length, scratch);
        Panel { data: scratch, row_stride: depth.length, depth_stride: 1 }
    }

    fn columns(
        &self,
        group: usize,
        columns: Range<usize>,
        depth: &PositionDepth,
        panels: Panels,
        out: &mut [R],
    ) {
        for (panel, columns) in panels.each(columns) {
            let out = &mut out[panel * panels.stride..];
            self.0.along_lines(group, &depth.runs, &self.0.strips(&columns), panels.width, out);
        }
    }
}
