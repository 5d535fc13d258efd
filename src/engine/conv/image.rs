//! The matrix that a convolution multiplies the filter with (im2col), made in small pieces as needed.
//!
//! Element (l, p) is what position p of the output reads through line l, one channel at one tap; 0 in the
//! padding. Pieces are filled along positions where columns lie next to each other, along channels where
//! those do.

use std::ops::Range;

use super::operand::{Operand, Panel, copy_strided};
use super::plan::{AXES, Gather, Grid, Tap, View};
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

/// The part of a run of positions that lies inside the input at one tap.
#[derive(Clone, Copy)]
struct Inside {
    /// Where the run starts in the piece.
    first: usize,
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

    /// What of a run of `length` positions from `at` on lies inside the input.
    fn inside(&self, first: usize, at: [usize; 4], length: usize, tap: Tap) -> Inside {
        let nothing = Inside { first, before: length, length: 0, place: 0 };
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
        Inside { first, before, length: until - before, place }
    }

    /// `out[(l − l₀)·pitch + p − p₀]` for these lines and positions.
    fn along_positions(
        &self,
        group: usize,
        lines: Range<usize>,
        positions: Range<usize>,
        pitch: usize,
        out: &mut [R],
    ) {
        let base = group * self.channels * self.view.channel_stride;
        let stride = self.step[2] * self.view.strides[2];
        let mut runs = Vec::new();
        self.grid.runs(positions, |first, at, length| runs.push((first, at, length)));
        for (number, &tap) in self.taps.iter().enumerate() {
            let of_tap = Strip::of(self.order, self.channels, self.taps.len(), number, &lines);
            if of_tap.count == 0 {
                continue;
            }
            for &(first, at, length) in &runs {
                let inside = self.inside(first, at, length, tap);
                for step in 0..of_tap.count {
                    let line = &mut out[(of_tap.line + step * of_tap.every) * pitch..];
                    let target = &mut line[inside.first..inside.first + length];
                    let channel = of_tap.channel + step;
                    let place = base + inside.place + channel * self.view.channel_stride;
                    copy_inside(self.data, place, stride, inside, target);
                }
            }
        }
    }

    /// `out[(p − p₀)·pitch + l − l₀]` for these positions and lines.
    fn along_lines(
        &self,
        group: usize,
        positions: Range<usize>,
        lines: Range<usize>,
        pitch: usize,
        out: &mut [R],
    ) {
        let base = group * self.channels * self.view.channel_stride;
        let channel_stride = self.view.channel_stride;
        let strips: Vec<(Tap, Strip)> = self
            .taps
            .iter()
            .enumerate()
            .map(|(number, &tap)| {
                (tap, Strip::of(self.order, self.channels, self.taps.len(), number, &lines))
            })
            .filter(|(_, strip)| strip.count > 0)
            .collect();
        self.grid.runs(positions, |first, at, length| {
            for &(tap, strip) in &strips {
                let row = self.row(at, tap);
                let mut column = (at[3] * self.step[2]) as isize + tap.offset[2];
                for target in out[first * pitch..].chunks_mut(pitch).take(length) {
                    let target = &mut target[strip.line..];
                    match row {
                        Some(row) if column >= 0 && (column as usize) < self.view.sizes[2] => {
                            let place = base
                                + row
                                + column as usize * self.view.strides[2]
                                + strip.channel * channel_stride;
                            if strip.every == 1 && channel_stride == 1 {
                                target[..strip.count].copy_from_slice(&self.data[place..place + strip.count]);
                            } else {
                                for step in 0..strip.count {
                                    target[step * strip.every] = self.data[place + step * channel_stride];
                                }
                            }
                        }
                        _ => (0..strip.count).for_each(|step| target[step * strip.every] = R::ZERO),
                    }
                    column += self.step[2] as isize;
                }
            }
        });
    }
}

/// The lines of a range that belong to one tap: `count` successive channels, `every` lines apart.
#[derive(Clone, Copy)]
struct Strip {
    line: usize,
    every: usize,
    channel: usize,
    count: usize,
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
        Strip { line, every, channel, count }
    }
}

/// Zeros, elements from `place` on, zeros.
#[inline]
fn copy_inside<R: Real>(data: &[R], place: usize, stride: usize, inside: Inside, target: &mut [R]) {
    let (before, rest) = target.split_at_mut(inside.before);
    before.fill(R::ZERO);
    let (read, after) = rest.split_at_mut(inside.length);
    copy_strided(data, place, stride, read);
    after.fill(R::ZERO);
}

/// The matrix as an operand whose lines are positions and whose depth is channels and taps.
pub struct Positions<'a, R>(pub &'a Image<'a, R>);

impl<R: Real> Operand<R> for Positions<'_, R> {
    fn rows<'s>(
        &'s self,
        group: usize,
        rows: Range<usize>,
        depth: Range<usize>,
        scratch: &'s mut [R],
    ) -> Panel<'s, R> {
        let pitch = depth.len();
        self.0.along_lines(group, rows, depth, pitch.max(1), scratch);
        Panel { data: scratch, row_stride: pitch, depth_stride: 1 }
    }

    fn columns(
        &self,
        group: usize,
        columns: Range<usize>,
        depth: Range<usize>,
        pitch: usize,
        panel: &mut [R],
    ) {
        self.0.along_positions(group, depth, columns, pitch, panel);
    }
}

/// The matrix as an operand whose lines are channels and taps and whose depth is positions.
pub struct Lines<'a, R>(pub &'a Image<'a, R>);

impl<R: Real> Operand<R> for Lines<'_, R> {
    fn rows<'s>(
        &'s self,
        group: usize,
        rows: Range<usize>,
        depth: Range<usize>,
        scratch: &'s mut [R],
    ) -> Panel<'s, R> {
        let pitch = depth.len();
        self.0.along_positions(group, rows, depth, pitch.max(1), scratch);
        Panel { data: scratch, row_stride: pitch, depth_stride: 1 }
    }

    fn columns(
        &self,
        group: usize,
        columns: Range<usize>,
        depth: Range<usize>,
        pitch: usize,
        panel: &mut [R],
    ) {
        self.0.along_lines(group, depth, columns, pitch, panel);
    }
}
