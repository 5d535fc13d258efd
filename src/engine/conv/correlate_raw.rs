//! Sums of products of two boxes whose channels lie side by side, `sums[t][c] += Σ_p input[p·step +
//! offset_t][c]·gradient[p][c]`: the gradient of a depthwise filter.
//!
//! Called by [`super::filter_depthwise`]; knows neither tensors nor padding. Every element is summed position
//! by position whatever the width of the registers.

#![allow(unsafe_code)]
// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]
// Taps of several arrays are walked side by side.
#![allow(clippy::needless_range_loop)]

use std::array::from_fn;

use super::lanes::LANES;
use super::plan::AXES;
use crate::gemm::lanes_raw::Width;
use crate::gemm::vector_raw::Vector;
use crate::tensor::Real;

/// Taps that are summed side by side: enough sums to keep a machine busy, few enough for its registers.
const MOST_TAPS: usize = 9;

/// Two boxes, [`LANES`] elements a position.
#[derive(Clone, Copy)]
pub struct Boxes<'a, R> {
    /// What the taps read.
    pub input: &'a [R],
    /// Where each tap's first position starts in it.
    pub offsets: &'a [usize],
    /// Elements of the input from one position of the gradient to the next, along each axis.
    pub steps: [usize; AXES],
    /// The other factor, of as many positions as `counts` says.
    pub gradient: &'a [R],
    /// Positions along each axis.
    pub counts: [usize; AXES],
}

/// Adds the products of two boxes to the sums, [`LANES`] a tap.
pub fn correlate<R: Real>(boxes: Boxes<'_, R>, sums: &mut [R]) {
    correlate_with(Width::widest(), boxes, sums);
}

fn correlate_with<R: Real>(width: Width, boxes: Boxes<'_, R>, sums: &mut [R]) {
    let Boxes { input, offsets, steps, gradient, counts } = boxes;
    if counts.contains(&0) || offsets.is_empty() {
        return;
    }
    let last = (0..AXES).map(|axis| (counts[axis] - 1) * steps[axis]).sum::<usize>() + LANES;
    assert!(width.is_available() && sums.len() == offsets.len() * LANES);
    assert!(offsets.iter().all(|offset| offset + last <= input.len()), "a tap reads beyond the input");
    assert!(gradient.len() == counts.iter().product::<usize>() * LANES);
    let taps = offsets.len();
    let parts = taps.div_ceil(MOST_TAPS);
    for part in 0..parts {
        let own = part * taps / parts..(part + 1) * taps / parts;
        let boxes = Boxes { offsets: &offsets[own.clone()], ..boxes };
        let sums = &mut sums[own.start * LANES..own.end * LANES];
        // SAFETY: the instruction set is available, and the extents are just asserted.
        unsafe {
            match width {
                Width::Plain => body::<R, [R; 4]>(boxes, sums),
                #[cfg(target_arch = "x86_64")]
                Width::Avx2 => avx2(boxes, sums),
                #[cfg(target_arch = "x86_64")]
                Width::Avx512 => avx512(boxes, sums),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<R: Real>(boxes: Boxes<'_, R>, sums: &mut [R]) {
    // SAFETY: this function is compiled for avx2 and fma, so its caller has them; the rest is forwarded.
    unsafe { body::<R, R::Vector256>(boxes, sums) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<R: Real>(boxes: Boxes<'_, R>, sums: &mut [R]) {
    // SAFETY: this function is compiled for avx512f, so its caller has it; the rest is forwarded.
    unsafe { body::<R, R::Vector512>(boxes, sums) };
}

#[inline(always)]
unsafe fn body<R: Real, V: Vector<R>>(boxes: Boxes<'_, R>, sums: &mut [R]) {
    // SAFETY: forwarded.
    unsafe {
        match boxes.offsets.len() {
            1 => taps::<R, V, 1>(boxes, sums),
            2 => taps::<R, V, 2>(boxes, sums),
            3 => taps::<R, V, 3>(boxes, sums),
            4 => taps::<R, V, 4>(boxes, sums),
            5 => taps::<R, V, 5>(boxes, sums),
            6 => taps::<R, V, 6>(boxes, sums),
            7 => taps::<R, V, 7>(boxes, sums),
            8 => taps::<R, V, 8>(boxes, sums),
            _ => taps::<R, V, MOST_TAPS>(boxes, sums),
        }
    }
}

/// T taps, their sums kept in registers over all positions.
#[inline(always)]
unsafe fn taps<R: Real, V: Vector<R>, const T: usize>(boxes: Boxes<'_, R>, sums: &mut [R]) {
    let Boxes { input, offsets, steps, gradient, counts } = boxes;
    assert!(offsets.len() == T && sums.len() == T * LANES);
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller owes V's instruction set.
        let mut own = [unsafe { V::splat(R::ZERO) }; T];
        let mut factors = gradient.as_ptr().wrapping_add(lane);
        for d in 0..counts[0] {
            for h in 0..counts[1] {
                let row = d * steps[0] + h * steps[1] + lane;
                let mut pointers: [*const R; T] = from_fn(|t| input.as_ptr().wrapping_add(offsets[t] + row));
                for _ in 0..counts[2] {
                    // SAFETY: `correlate_with` has asserted that the gradient has LANES elements for each
                    // position, and the input for what each tap reads for each; V's lanes divide LANES.
                    let factor = unsafe { V::load(factors) };
                    for t in 0..T {
                        // SAFETY: as above.
                        own[t] = unsafe { own[t].add_product(factor, V::load(pointers[t])) };
                        pointers[t] = pointers[t].wrapping_add(steps[2]);
                    }
                    factors = factors.wrapping_add(LANES);
                }
            }
        }
        // SAFETY: the caller owes V's instruction set.
        let one = unsafe { V::splat(R::ONE) };
        for t in 0..T {
            let place = &mut sums[t * LANES + lane..][..V::LANES];
            // SAFETY: the place has LANES elements.
            unsafe { V::load(place.as_ptr()).add_product(one, own[t]).store(place.as_mut_ptr()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_width<R: Real>() {
        let numbers = |count: usize, period: usize| -> Vec<R> {
            (0..count).map(|index| R::of((index * 7 % period) as f64 - 4.0)).collect()
        };
        let (counts, steps) = ([2, 3, 5], [40 * LANES, 9 * LANES, 2 * LANES]);
        let (input, gradient) = (numbers(150 * LANES, 11), numbers(30 * LANES, 9));
        for width in Width::ALL.iter().copied().filter(|width| width.is_available()) {
            for taps in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 49] {
                let offsets: Vec<usize> = (0..taps).map(|tap| tap * LANES).collect();
                let mut sums = vec![R::ONE; taps * LANES];
                let boxes = Boxes { input: &input, offsets: &offsets, steps, gradient: &gradient, counts };
                correlate_with(width, boxes, &mut sums);
                for (index, &sum) in sums.iter().enumerate() {
                    let product = |p: usize| {
                        let at = p / 15 * steps[0] + p / 5 % 3 * steps[1] + p % 5 * steps[2];
                        gradient[p * LANES + index % LANES] * input[at + index]
                    };
                    let want = R::ONE + (0..30).map(product).sum::<R>();
                    assert_eq!(sum, want, "{width:?}, {taps} taps");
                }
            }
        }
    }

    #[test]
    fn sums_of_every_width_and_number_of_taps_are_exact() {
        every_width::<f32>();
        every_width::<f64>();
    }
}
