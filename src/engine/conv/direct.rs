//! Few output channels a group, depthwise convolutions above all: each input channel is staged with its
//! padding, and every tap is then one long run of it.
//!
//! A tile of the output of d × h × w positions reads a box of the input. Along each axis the box is stored
//! phase by phase (positions ≡ φ modulo the step), so that a tap reads successive staged elements for
//! successive outputs whatever the step. Rows of the box are longer than those of the tile; the sums in
//! between are computed and dropped, which costs less than starting anew in each row.

use super::gather::Filter;
use super::operand::{clear_run, copy_strided};
use super::plan::{AXES, Gather, View};
use super::planes_raw::{MOST_OUTPUTS, Sweep, UNIT, sweep};
use crate::gemm::block_raw::SharedOutput;
use crate::gemm::micro_raw::Keep;
use crate::tensor::Real;
use crate::{scratch, threads};

/// Elements that are staged at a time if scratch memory allows: they stay in the second-level cache.
const STAGED: usize = 1 << 14;
/// Multiplications of a task.
const WORTH: usize = 1 << 18;

/// One part of the output (the first of the gather), a few channels of it a group.
pub struct Direct<'a, R> {
    /// Groups.
    pub groups: usize,
    /// The input's elements.
    pub data: &'a [R],
    /// Where they lie.
    pub input: View,
    /// The filter.
    pub filter: Filter<'a, R>,
    /// The output.
    pub shared: &'a SharedOutput<'a, R>,
    /// Where it lies.
    pub output: View,
    /// What reads what.
    pub gather: &'a Gather,
}

/// What staging does about the padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    /// Writes zeros.
    Clear,
    /// Nothing: zeros are there.
    IsClear,
}

/// The staged box of a full tile.
struct Stage {
    /// The tile's positions.
    tile: [usize; AXES],
    /// The least offset of any tap.
    least: [isize; AXES],
    /// Staged positions of one phase.
    sizes: [usize; AXES],
    /// Phases.
    phases: [usize; AXES],
    /// Where each tap's run starts.
    offsets: Vec<usize>,
    /// Length of the runs.
    length: usize,
}

impl Stage {
    fn of(gather: &Gather, tile: [usize; AXES]) -> Stage {
        let bound = |axis: usize| {
            let offsets = gather.taps.iter().map(move |tap| tap.offset[axis]);
            (offsets.clone().min().unwrap_or(0), offsets.max().unwrap_or(0))
        };
        let least = [0, 1, 2].map(|axis| bound(axis).0);
        let reach = [0, 1, 2].map(|axis| (bound(axis).1 - bound(axis).0) as usize);
        let sizes = [0, 1, 2].map(|axis| tile[axis] + reach[axis] / gather.step[axis]);
        let phases = [0, 1, 2].map(|axis| gather.step[axis].min(reach[axis] + 1));
        let offsets = gather.taps.iter().map(|tap| {
            let ahead = [0, 1, 2].map(|axis| (tap.offset[axis] - least[axis]) as usize);
            let phase = [0, 1, 2].map(|axis| ahead[axis] % gather.step[axis]);
            let shift = [0, 1, 2].map(|axis| ahead[axis] / gather.step[axis]);
            flat(phase, phases) * sizes.iter().product::<usize>() + flat(shift, sizes)
        });
        let last = [0, 1, 2].map(|axis| tile[axis] - 1);
        let length = (flat(last, sizes) + 1).next_multiple_of(UNIT);
        Stage { tile, least, sizes, phases, offsets: offsets.collect(), length }
    }

    /// Elements to stage, and what the last runs read beyond.
    fn elements(&self) -> usize {
        let boxes = self.phases.iter().product::<usize>() * self.sizes.iter().product::<usize>();
        boxes.max(self.offsets.iter().max().unwrap_or(&0) + self.length)
    }

    /// The largest tile that may be staged: columns first, then rows.
    fn fitting(gather: &Gather, most: usize) -> Stage {
        let mut tile = [1; AXES];
        let mut stage = Stage::of(gather, tile);
        for axis in (0..AXES).rev() {
            let (mut low, mut high) = (1, gather.output.counts[axis + 1]);
            while low < high {
                let middle = (low + high).div_ceil(2);
                tile[axis] = middle;
                let larger = Stage::of(gather, tile);
                if larger.elements() <= most {
                    low = middle;
                } else {
                    high = middle - 1;
                }
            }
            tile[axis] = low;
            stage = Stage::of(gather, tile);
        }
        stage
    }
}

/// The number of an element of a packed box.
fn flat(at: [usize; AXES], sizes: [usize; AXES]) -> usize {
    (at[0] * sizes[1] + at[1]) * sizes[2] + at[2]
}

impl<R: Real> Direct<'_, R> {
    /// Computes the part.
    pub fn run(&self) {
        let (groups, taps) = (self.groups, self.gather.taps.len());
        let (channels, outputs) = (self.input.channels / groups, self.output.channels / groups);
        let counts: [usize; AXES] = std::array::from_fn(|axis| self.gather.output.counts[axis + 1]);
        if counts.contains(&0) || self.output.images == 0 {
            return;
        }
        let held = scratch::elements::<R>(scratch::Use::Task) / (1 + outputs.min(MOST_OUTPUTS));
        let stage = Stage::fitting(self.gather, STAGED.min(held));
        let tiles: [usize; AXES] = std::array::from_fn(|axis| counts[axis].div_ceil(stage.tile[axis]));
        let per_image: usize = tiles.iter().product();
        let total = self.output.images * groups * per_image;
        let work = stage.length * outputs * channels * taps.max(1);
        let together = (WORTH / work.max(1)).clamp(1, total.div_ceil(16));
        threads::for_each(total.div_ceil(together), |task| {
            let sums = outputs.min(MOST_OUTPUTS) * stage.length;
            scratch::with(stage.elements() + sums + MOST_OUTPUTS * taps, |scratch: &mut [R]| {
                let (staged, scratch) = scratch.split_at_mut(stage.elements());
                let (sums, weights) = scratch.split_at_mut(sums);
                // The padding of a tile that is the whole image is the same for every channel.
                let padding = if per_image == 1 { Padding::IsClear } else { Padding::Clear };
                if padding == Padding::IsClear {
                    staged.fill(R::ZERO);
                }
                for index in task * together..((task + 1) * together).min(total) {
                    let (tile, group) = (index % per_image, index / per_image % groups);
                    let image = index / per_image / groups;
                    let at = [tile / (tiles[1] * tiles[2]), tile / tiles[2] % tiles[1], tile % tiles[2]];
                    let first: [usize; AXES] = std::array::from_fn(|axis| at[axis] * stage.tile[axis]);
                    for number in 0..outputs.div_ceil(MOST_OUTPUTS) {
                        let own = number * MOST_OUTPUTS..((number + 1) * MOST_OUTPUTS).min(outputs);
                        for channel in 0..channels {
                            if channels > 1 || number == 0 {
                                let channel = group * channels + channel;
                                self.stage(&stage, image, channel, first, padding, staged);
                            }
                            self.weights(group, own.clone(), channel, weights);
                            let job = Sweep {
                                source: staged,
                                offsets: &stage.offsets,
                                weights: &weights[..own.len() * taps],
                                outputs: own.len(),
                                length: stage.length,
                            };
                            sweep(job, if channel == 0 { Keep::Nothing } else { Keep::Sums }, sums);
                        }
                        if channels == 0 {
                            sums.fill(R::ZERO);
                        }
                        for (output, sums) in own.zip(sums.chunks(stage.length)) {
                            self.write(&stage, image, group * outputs + output, first, sums);
                        }
                    }
                }
            });
        });
    }

    /// The factors of some outputs for one input channel, output by output.
    fn weights(&self, group: usize, outputs: std::ops::Range<usize>, channel: usize, weights: &mut [R]) {
        let Filter { data, group_stride, out_stride, in_stride } = self.filter;
        let taps = self.gather.taps.len();
        for (target, output) in weights.chunks_mut(taps.max(1)).zip(outputs) {
            let part = self.gather.parts[0].filter;
            let place = part + group * group_stride + output * out_stride + channel * in_stride;
            for (target, tap) in target.iter_mut().zip(&self.gather.taps) {
                *target = data[place + tap.filter];
            }
        }
    }

    /// Copies the box that a tile reads, phase by phase, zeros in the padding.
    fn stage(
        &self,
        stage: &Stage,
        image: usize,
        channel: usize,
        first: [usize; AXES],
        padding: Padding,
        staged: &mut [R],
    ) {
        let (view, step) = (&self.input, self.gather.step);
        let base = image * view.image_stride + channel * view.channel_stride;
        let origin: [isize; AXES] =
            std::array::from_fn(|axis| (first[axis] * step[axis]) as isize + stage.least[axis]);
        let [depths, heights, width] = stage.sizes;
        let index = |axis: usize, phase: usize, position: usize| {
            let index = origin[axis] + (phase + position * step[axis]) as isize;
            (0..view.sizes[axis] as isize).contains(&index).then_some(index as usize)
        };
        let mut rows = staged.chunks_exact_mut(width);
        for phase in 0..stage.phases.iter().product() {
            let (phase_d, phase_h) =
                (phase / (stage.phases[1] * stage.phases[2]), phase / stage.phases[2] % stage.phases[1]);
            let start = origin[2] + (phase % stage.phases[2]) as isize;
            // Staged columns `before..until` lie inside the input.
            let before = ((-start).max(0) as usize).div_ceil(step[2]).min(width);
            let left = (view.sizes[2] as isize - start).max(0) as usize;
            let until = left.div_ceil(step[2]).clamp(before, width);
            let column = (start + (before * step[2]) as isize).max(0) as usize * view.strides[2];
            for d in 0..depths {
                for h in 0..heights {
                    let Some(row) = rows.next() else { unreachable!("the box has a row for each") };
                    match (index(0, phase_d, d), index(1, phase_h, h)) {
                        (Some(d), Some(h)) if before < until => {
                            let place = base + d * view.strides[0] + h * view.strides[1] + column;
                            let stride = step[2] * view.strides[2];
                            copy_strided(self.data, place, stride, &mut row[before..until]);
                            if padding == Padding::Clear {
                                clear_run(&mut row[..before]);
                                clear_run(&mut row[until..]);
                            }
                        }
                        _ if padding == Padding::Clear => clear_run(row),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Copies a tile's sums to the output.
    fn write(&self, stage: &Stage, image: usize, channel: usize, first: [usize; AXES], sums: &[R]) {
        let grid = &self.gather.output;
        let base =
            self.gather.parts[0].first + image * grid.strides[0] + channel * self.output.channel_stride;
        let count: [usize; AXES] =
            std::array::from_fn(|axis| stage.tile[axis].min(grid.counts[axis + 1] - first[axis]));
        for d in 0..count[0] {
            for h in 0..count[1] {
                let place = base
                    + (first[0] + d) * grid.strides[1]
                    + (first[1] + h) * grid.strides[2]
                    + first[2] * grid.strides[3];
                let row = &sums[flat([d, h, 0], stage.sizes)..][..count[2]];
                super::product_raw::write_run(self.shared, place, grid.strides[3], row);
            }
        }
    }
}
