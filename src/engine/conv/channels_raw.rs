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
use super::plan::AXES;
use crate::gemm::lanes_raw::Width;
use crate::gemm::vector_raw::Vector;
use crate::tensor::Real;
use crate::{scratch, threads};

/// Positions computed side by side: each factor loaded is used as often.
const BESIDE: usize = 4;
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
                let stride = part.filter_strides[0];
                super::operand::copy_strided(part.filter, tap.filter, stride, target);
            }
            let mut places = vec![None; taps * columns];
            for row in task * together..((task + 1) * together).min(rows) {
                let at = [row / (depths * heights), row / heights % depths, row % heights];
                part.fill_places(at, &mut places);
                let first = part.gather.first
                    + at.iter().zip(part.gather.output.strides).map(|(&i, stride)| i * stride).sum::<usize>();
                let stride = part.gather.output.strides[3];
                // SAFETY: this row's elements are this task's alone; the last is asserted to be inside.
                unsafe { part.shared.place(first + (columns - 1) * stride + channels - 1) };
                // SAFETY: as above.
                let out = unsafe { part.shared.place(first) };
                let pointers: Vec<*const R> = places
                    .iter()
                    .map(|place| match place {
                        Some(place) => part.data[*place..*place + channels].as_ptr(),
                        None => zeros.as_ptr(),
                    })
                    .collect();
                let job = Row { weights, pointers: &pointers, taps, columns, channels, out, stride };
                // SAFETY: every pointer starts `channels` readable elements, just sliced; so does each
                // position of the output, ours to write; the instruction set is asserted to be available.
                unsafe {
                    match width {
                        Width::Plain => body::<R, [R; 4]>(job),
                        #[cfg(target_arch = "x86_64")]
                        Width::Avx2 => avx2(job),
                        #[cfg(target_arch = "x86_64")]
                        Width::Avx512 => avx512(job),
                    }
                }
            }
        });
    });
}

impl<R: Real> Direct<'_, R> {
    /// The place that each tap reads for each position of the row of (image, depth, row), position by
    /// position; `None` in the padding.
    fn fill_places(&self, at: [usize; 3], places: &mut [Option<usize>]) {
        let (view, step, taps) = (&self.input, self.gather.step, &self.gather.taps);
        for (t, tap) in taps.iter().enumerate() {
            let mut row = Some(at[0] * view.image_stride);
            for axis in 0..AXES - 1 {
                let index = (at[axis + 1] * step[axis]).checked_add_signed(tap.offset[axis]);
                let inside = index.filter(|&index| index < view.sizes[axis]);
                row = row.zip(inside).map(|(row, index)| row + index * view.strides[axis]);
            }
            let mut column = tap.offset[2];
            for places in places.chunks_exact_mut(taps.len()) {
                let inside = (0..view.sizes[2] as isize).contains(&column);
                places[t] = row.filter(|_| inside).map(|row| row + column as usize * view.strides[2]);
                column += step[2] as isize;
            }
        }
    }
}

/// One row of the output.
#[derive(Clone, Copy)]
struct Row<'a, R> {
    weights: &'a [R],
    pointers: &'a [*const R],
    taps: usize,
    columns: usize,
    channels: usize,
    out: *mut R,
    stride: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<R: Real>(job: Row<'_, R>) {
    // SAFETY: this function is compiled for avx2 and fma, so its caller has them; the rest is forwarded.
    unsafe { body::<R, R::Vector256>(job) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<R: Real>(job: Row<'_, R>) {
    // SAFETY: this function is compiled for avx512f, so its caller has it; the rest is forwarded.
    unsafe { body::<R, R::Vector512>(job) };
}

#[inline(always)]
unsafe fn body<R: Real, V: Vector<R>>(job: Row<'_, R>) {
    let mut first = 0;
    // SAFETY: forwarded; positions first.. are below `columns`.
    unsafe {
        while first + BESIDE <= job.columns {
            positions::<R, V, BESIDE>(job, first);
            first += BESIDE;
        }
        while first < job.columns {
            positions::<R, V, 1>(job, first);
            first += 1;
        }
    }
}

/// P positions from `first` on, all channels.
#[inline(always)]
unsafe fn positions<R: Real, V: Vector<R>, const P: usize>(job: Row<'_, R>, first: usize) {
    let Row { weights, pointers, taps, channels, out, stride, .. } = job;
    let pointers = &pointers[first * taps..(first + P) * taps];
    let whole = channels / V::LANES * V::LANES;
    for channel in (0..whole).step_by(V::LANES) {
        // SAFETY: the caller owes V's instruction set.
        let mut sums = [unsafe { V::splat(R::ZERO) }; P];
        for t in 0..taps {
            // SAFETY: there are taps rows of `channels` weights, and channel + LANES ≤ channels.
            let weight = unsafe { V::load(weights.as_ptr().add(t * channels + channel)) };
            for p in 0..P {
                // SAFETY: each pointer starts `channels` elements; there are P·taps of them.
                let element = unsafe { V::load(pointers.get_unchecked(p * taps + t).add(channel)) };
                // SAFETY: the caller owes V's instruction set.
                sums[p] = unsafe { sums[p].add_product(weight, element) };
            }
        }
        for p in 0..P {
            // SAFETY: the caller owes `channels` writable elements at each position.
            unsafe { sums[p].store(out.add((first + p) * stride + channel)) };
        }
    }
    for channel in whole..channels {
        for p in 0..P {
            let mut sum = R::ZERO;
            for t in 0..taps {
                // SAFETY: as above.
                sum = sum.add_product(weights[t * channels + channel], unsafe {
                    *pointers[p * taps + t].add(channel)
                });
            }
            // SAFETY: as above.
            unsafe { out.add((first + p) * stride + channel).write(sum) };
        }
    }
}
