//! Sums over windows whose channels lie side by side, `out[p][c] = Σ_t weights[t][c]·input[p·step +
//! offset_t][c]`: depthwise convolutions of small planes.
//!
//! Called by [`super::small_planes`]; knows neither tensors nor padding. Every element is summed tap by tap
//! whatever the width of the registers.

#![allow(unsafe_code)]
// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]
// Positions of several arrays are walked side by side.
#![allow(clippy::needless_range_loop)]

use super::lanes::LANES;
use super::plan::AXES;
use crate::gemm::lanes_raw::Width;
use crate::gemm::vector_raw::Vector;
use crate::tensor::Real;

/// The most positions computed side by side: each factor loaded is used as often.
const BESIDE: usize = 8;

/// A box of the input and the factors, [`LANES`] elements a position or tap.
#[derive(Clone, Copy)]
pub struct Windows<'a, R> {
    /// What the taps read.
    pub input: &'a [R],
    /// Where each tap's first position starts in it.
    pub offsets: &'a [usize],
    /// Elements of the input from one output position to the next, along each axis.
    pub steps: [usize; AXES],
    /// The factors, tap by tap.
    pub weights: &'a [R],
    /// Output positions along each axis.
    pub counts: [usize; AXES],
}

/// Writes the sums of every output position, [`LANES`] each.
pub fn sum_windows<R: Real>(windows: Windows<'_, R>, out: &mut [R]) {
    sum_windows_with(Width::widest(), windows, out);
}

fn sum_windows_with<R: Real>(width: Width, windows: Windows<'_, R>, out: &mut [R]) {
    let Windows { input, offsets, steps, weights, counts } = windows;
    if counts.contains(&0) {
        return;
    }
    let last = (0..AXES).map(|axis| (counts[axis] - 1) * steps[axis]).sum::<usize>() + LANES;
    assert!(width.is_available() && weights.len() == offsets.len() * LANES);
    assert!(offsets.iter().all(|offset| offset + last <= input.len()), "a tap reads beyond the input");
    assert!(out.len() == counts.iter().product::<usize>() * LANES);
    // SAFETY: the instruction set is available, and the extents are just asserted.
    unsafe {
        match width {
            Width::Plain => body::<R, [R; 4]>(windows, out),
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => avx2(windows, out),
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => avx512(windows, out),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<R: Real>(windows: Windows<'_, R>, out: &mut [R]) {
    // SAFETY: this function is compiled for avx2 and fma, so its caller has them; the rest is forwarded.
    unsafe { body::<R, R::Vector256>(windows, out) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<R: Real>(windows: Windows<'_, R>, out: &mut [R]) {
    // SAFETY: this function is compiled for avx512f, so its caller has it; the rest is forwarded.
    unsafe { body::<R, R::Vector512>(windows, out) };
}

#[inline(always)]
unsafe fn body<R: Real, V: Vector<R>>(windows: Windows<'_, R>, out: &mut [R]) {
    let Windows { steps, counts, .. } = windows;
    for (row, out) in out.chunks_exact_mut(counts[2] * LANES).enumerate() {
        let first = row / counts[1] * steps[0] + row % counts[1] * steps[1];
        for (number, out) in out.chunks_mut(BESIDE * LANES).enumerate() {
            let first = first + number * BESIDE * steps[2];
            for lane in (0..LANES).step_by(V::LANES) {
                // SAFETY: forwarded; these positions are of the row that starts at `first`.
                unsafe {
                    match out.len() / LANES {
                        1 => positions::<R, V, 1>(windows, first, lane, out),
                        2 => positions::<R, V, 2>(windows, first, lane, out),
                        3 => positions::<R, V, 3>(windows, first, lane, out),
                        4 => positions::<R, V, 4>(windows, first, lane, out),
                        5 => positions::<R, V, 5>(windows, first, lane, out),
                        6 => positions::<R, V, 6>(windows, first, lane, out),
                        7 => positions::<R, V, 7>(windows, first, lane, out),
                        _ => positions::<R, V, BESIDE>(windows, first, lane, out),
                    }
                }
            }
        }
    }
}

/// P positions of a row, the lanes from `lane` on.
#[inline(always)]
unsafe fn positions<R: Real, V: Vector<R>, const P: usize>(
    windows: Windows<'_, R>,
    first: usize,
    lane: usize,
    out: &mut [R],
) {
    assert!(out.len() == P * LANES);
    // SAFETY: the caller owes V's instruction set.
    let mut sums = [unsafe { V::splat(R::ZERO) }; P];
    for (weights, offset) in windows.weights.chunks_exact(LANES).zip(windows.offsets) {
        let pointer = windows.input.as_ptr().wrapping_add(offset + first + lane);
        // SAFETY: there are LANES weights, and V's lanes divide LANES.
        let weight = unsafe { V::load(weights.as_ptr().add(lane)) };
        for p in 0..P {
            // SAFETY: `sum_windows_with` has asserted that each tap's reads of all positions lie inside.
            sums[p] =
                unsafe { sums[p].add_product(weight, V::load(pointer.wrapping_add(p * windows.steps[2]))) };
        }
    }
    for p in 0..P {
        // SAFETY: `out` has P positions of LANES elements.
        unsafe { sums[p].store(out.as_mut_ptr().add(p * LANES + lane)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_width<R: Real>() {
        let numbers = |count: usize, period: usize| -> Vec<R> {
            (0..count).map(|index| R::of((index * 7 % period) as f64 - 4.0)).collect()
        };
        let offsets = [0, LANES, 3 * LANES, 7 * LANES, 20 * LANES];
        let (input, weights) = (numbers(600 * LANES, 11), numbers(5 * LANES, 9));
        for width in Width::ALL.iter().copied().filter(|width| width.is_available()) {
            for columns in 0..20 {
                let (counts, steps) = ([2, 3, columns], [200 * LANES, 50 * LANES, 2 * LANES]);
                let mut out = vec![R::nan(); 6 * columns * LANES];
                let windows = Windows { input: &input, offsets: &offsets, steps, weights: &weights, counts };
                sum_windows_with(width, windows, &mut out);
                for (index, &sum) in out.iter().enumerate() {
                    let (p, lane) = (index / LANES, index % LANES);
                    let row = p / columns;
                    let at = row / 3 * steps[0] + row % 3 * steps[1] + p % columns * steps[2] + lane;
                    let product = |t: usize| weights[t * LANES + lane] * input[at + offsets[t]];
                    assert_eq!(sum, (0..5).map(product).sum::<R>(), "{width:?}, {columns} columns");
                }
            }
        }
    }

    #[test]
    fn sums_of_every_width_and_length_are_exact() {
        every_width::<f32>();
        every_width::<f64>();
    }
}
