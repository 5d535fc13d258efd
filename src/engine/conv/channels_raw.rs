//! Depthwise convolutions of tensors whose channels lie next to each other: channels go along registers.
//!
//! `out[p][c] = Σ_t w[t][c]·in[p·step + offset_t][c]`. The padding is read from a run of zeros, so that every
//! position goes through the same loop.

#![allow(unsafe_code)]
// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]
// Positions and pointers are walked side by side.
#![allow(clippy::needless_range_loop)]

use super::direct::Direct;
use super::operand::copy_strided;
use super::plan::{AXES, Tap};
use crate::gemm::lanes_raw::Width;
use crate::gemm::vector_raw::Vector;
use crate::tensor::Real;
use crate::{scratch, threads};

/// Positions computed side by side: each factor loaded is used as often.
const BESIDE: usize = 8;
/// Multiplications of a task.
const WORTH: usize = 1 << 18;

/// Whether [`run`] can take a part.
pub fn takes<R>(part: &Direct<'_, R>) -> bool {
    part.input.channels == part.groups
        && part.output.channels == part.groups
        && part.input.channel_stride == 1
        && part.output.is_channels_last()
}

/// Computes a part that [`takes`] accepts.
pub fn run<R: Real>(part: &Direct<'_, R>) {
    assert!(takes(part), "a depthwise convolution with channels last");
    run_with(Width::widest(), part);
}

fn run_with<R: Real>(width: Width, part: &Direct<'_, R>) {
    assert!(width.is_available());
    let [images, depths, heights, columns] = part.gather.output.counts;
    let (channels, taps) = (part.groups, part.gather.taps.len());
    let rows = images * depths * heights;
    let work = columns * channels * taps.max(1);
    let together = (WORTH / work.max(1)).clamp(1, rows.div_ceil(16).max(1));
    threads::for_each(rows.div_ceil(together), |task| {
        scratch::with((taps + 1) * channels, |scratch: &mut [R]| {
            let (weights, zeros) = scratch.split_at_mut(taps * channels);
            zeros.fill(R::ZERO);
            for (target, tap) in weights.chunks_mut(channels).zip(&part.gather.taps) {
                let place = part.gather.parts[0].filter + tap.filter;
                copy_strided(part.filter.data, place, part.filter.group_stride, target);
            }
            let mut pointers = vec![zeros.as_ptr(); taps];
            for row in task * together..((task + 1) * together).min(rows) {
                let at = [row / (depths * heights), row / heights % depths, row % heights];
                let first = part.gather.parts[0].first
                    + at.iter().zip(part.gather.output.strides).map(|(&i, stride)| i * stride).sum::<usize>();
                let stride = part.gather.output.strides[3];
                // SAFETY: this row's elements are this task's alone; the last is asserted to be inside.
                unsafe { part.shared.place(first + (columns - 1) * stride + channels - 1) };
                let read = part.rows(at);
                let within = if read.contains(&None) { 0..0 } else { part.within() };
                let mut column = 0;
                while column < columns {
                    let beside = within.contains(&column) && column + BESIDE <= within.end;
                    let count = if beside { BESIDE } else { 1 };
                    part.fill_pointers(&read, column, count, zeros, &mut pointers);
                    // SAFETY: as above.
                    let out = unsafe { part.shared.place(first + column * stride) };
                    let step = part.gather.step[2] * part.input.strides[2];
                    let job = Job { weights, pointers: &pointers, step, count, channels, out, stride };
                    // SAFETY: every pointer starts `channels` readable elements, and so do the `count − 1`
                    // places `step` apart behind it, by `fill_pointers`; so does each position of the output,
                    // ours to write; the instruction set is available.
                    unsafe {
                        match width {
                            Width::Plain => body::<R, [R; 4]>(job),
                            #[cfg(target_arch = "x86_64")]
                            Width::Avx2 => avx2(job),
                            #[cfg(target_arch = "x86_64")]
                            Width::Avx512 => avx512(job),
                        }
                    }
                    column += count;
                }
            }
        });
    });
}

impl<R: Real> Direct<'_, R> {
    /// The place of the input row that each tap reads for a row (image, depth, row) of the output; `None`
    /// in the padding.
    fn rows(&self, at: [usize; 3]) -> Vec<Option<usize>> {
        let (view, step) = (&self.input, self.gather.step);
        let row = |tap: &Tap| {
            let mut place = at[0] * view.image_stride;
            for axis in 0..AXES - 1 {
                let index = (at[axis + 1] * step[axis]).checked_add_signed(tap.offset[axis])?;
                place += Some(index).filter(|&index| index < view.sizes[axis])? * view.strides[axis];
            }
            Some(place)
        };
        self.gather.taps.iter().map(row).collect()
    }

    /// The columns for which every tap reads a column of the input.
    fn within(&self) -> std::ops::Range<usize> {
        let (step, size) = (self.gather.step[2] as isize, self.input.sizes[2] as isize);
        let offsets = self.gather.taps.iter().map(|tap| tap.offset[2]);
        let (least, most) = (offsets.clone().min().unwrap_or(0), offsets.max().unwrap_or(0));
        let start = (-least).max(0) as usize;
        let end = (size - most).max(0) as usize;
        start.div_ceil(step as usize)..end.div_ceil(step as usize).min(self.gather.output.counts[3])
    }

    /// What the taps read for a column: pointers to all channels of an input position, or to the zeros if
    /// it is one column; for more, every column must be [`Direct::within`] the input.
    fn fill_pointers(
        &self,
        rows: &[Option<usize>],
        column: usize,
        count: usize,
        zeros: &[R],
        pointers: &mut [*const R],
    ) {
        let (view, channels) = (&self.input, self.groups);
        let beyond = (count - 1) * self.gather.step[2] * view.strides[2];
        assert!(zeros.len() >= channels);
        for ((pointer, row), tap) in pointers.iter_mut().zip(rows).zip(&self.gather.taps) {
            let column = (column * self.gather.step[2]) as isize + tap.offset[2];
            *pointer = match row {
                Some(row) if (0..view.sizes[2] as isize).contains(&column) => {
                    let place = row + column as usize * view.strides[2];
                    self.data[place..place + beyond + channels].as_ptr()
                }
                _ => {
                    assert!(count == 1, "the padding is read one column at a time");
                    zeros.as_ptr()
                }
            };
        }
    }
}

/// A few positions of a row of the output.
#[derive(Clone, Copy)]
struct Job<'a, R> {
    weights: &'a [R],
    /// What each tap reads for the first position.
    pointers: &'a [*const R],
    /// Elements from there to what it reads for the next.
    step: usize,
    /// One position, or [`BESIDE`].
    count: usize,
    channels: usize,
    out: *mut R,
    stride: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<R: Real>(job: Job<'_, R>) {
    // SAFETY: this function is compiled for avx2 and fma, so its caller has them; the rest is forwarded.
    unsafe { body::<R, R::Vector256>(job) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<R: Real>(job: Job<'_, R>) {
    // SAFETY: this function is compiled for avx512f, so its caller has it; the rest is forwarded.
    unsafe { body::<R, R::Vector512>(job) };
}

#[inline(always)]
unsafe fn body<R: Real, V: Vector<R>>(job: Job<'_, R>) {
    // SAFETY: forwarded.
    unsafe {
        match job.count {
            1 => positions::<R, V, 1>(job),
            _ => positions::<R, V, BESIDE>(job),
        }
    }
}

/// P positions, all channels.
#[inline(always)]
unsafe fn positions<R: Real, V: Vector<R>, const P: usize>(job: Job<'_, R>) {
    let Job { weights, pointers, step, channels, out, stride, .. } = job;
    let taps = pointers.len();
    assert!(job.count == P && weights.len() >= taps * channels);
    let whole = channels / V::LANES * V::LANES;
    for channel in (0..whole).step_by(V::LANES) {
        // SAFETY: the caller owes V's instruction set.
        let mut sums = [unsafe { V::splat(R::ZERO) }; P];
        for t in 0..taps {
            // SAFETY: there are taps rows of `channels` weights, and channel + LANES ≤ channels.
            let weight = unsafe { V::load(weights.as_ptr().add(t * channels + channel)) };
            for p in 0..P {
                // SAFETY: the caller owes `channels` elements at each of P places from each pointer on.
                let element = unsafe { V::load(pointers.get_unchecked(t).add(p * step + channel)) };
                // SAFETY: the caller owes V's instruction set.
                sums[p] = unsafe { sums[p].add_product(weight, element) };
            }
        }
        for p in 0..P {
            // SAFETY: the caller owes `channels` writable elements at each position.
            unsafe { sums[p].store(out.add(p * stride + channel)) };
        }
    }
    for channel in whole..channels {
        for p in 0..P {
            let mut sum = R::ZERO;
            for t in 0..taps {
                // SAFETY: as above.
                sum = sum.add_product(weights[t * channels + channel], unsafe {
                    *pointers[t].add(p * step + channel)
                });
            }
            // SAFETY: as above.
            unsafe { out.add(p * stride + channel).write(sum) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gather::Filter;
    use super::super::plan::{self, View};
    use super::super::{Conv, Filtering};
    use super::*;
    use crate::gemm::block_raw::SharedOutput;
    use crate::tensor::Layout;

    #[test]
    fn every_width_gives_the_same_sums() {
        let (channels, side) = (21, 19);
        let layout = Layout::new(&[1, channels, 1, side], &[channels * side, 1, channels * side, channels]);
        let (view, w) = (View::of(&layout), View::of(&Layout::packed(&[channels, 1, 1, 3])));
        let conv = Conv {
            groups: channels,
            filtering: Filtering::CrossCorrelation,
            pad: [0, 1, 0],
            stride: [1; 3],
            dilation: [1; 3],
        };
        let gather = plan::forward(&conv, 4, &w, &view);
        // Small integers, so that every order of summation gives the same number.
        let x: Vec<f32> = (0..channels * side).map(|index| (index % 11) as f32 - 5.0).collect();
        let filter: Vec<f32> = (0..channels * 3).map(|index| (index % 7) as f32 - 3.0).collect();
        for width in Width::ALL.iter().copied().filter(|width| width.is_available()) {
            let mut out = vec![f32::NAN; channels * side];
            let filter = Filter { data: &filter, group_stride: 3, out_stride: 3, in_stride: 0 };
            run_with(
                width,
                &Direct {
                    groups: channels,
                    data: &x,
                    input: view,
                    filter,
                    shared: &SharedOutput::new(&mut out),
                    output: view,
                    gather: &gather,
                },
            );
            for (index, &sum) in out.iter().enumerate() {
                let (column, channel) = (index / channels, index % channels);
                let read = |tap: usize| (column + tap).checked_sub(1).filter(|&column| column < side);
                let product = |tap: usize| {
                    read(tap)
                        .map_or(0.0, |column| filter.data[channel * 3 + tap] * x[column * channels + channel])
                };
                assert_eq!(sum, (0..3).map(product).sum::<f32>(), "{width:?}, {column}, {channel}");
            }
        }
    }
}
