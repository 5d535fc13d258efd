//! Sums of shifted runs, `out[m][p] (+)= Σ_t w[m][t]·source[offset_t + p]`: a convolution of staged planes.
//!
//! Called by [`super::direct`]; knows neither tensors nor padding.

#![allow(unsafe_code)]
// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]
// Outputs and registers of several arrays are walked side by side.
#![allow(clippy::needless_range_loop)]

use crate::gemm::lanes_raw::Width;
use crate::gemm::micro_raw::Keep;
use crate::gemm::vector_raw::Vector;
use crate::tensor::Real;

/// The most outputs of one sweep.
pub const MOST_OUTPUTS: usize = 4;

/// What runs are rounded up to, elements: the widest register of the smallest type.
pub const UNIT: usize = 16;

/// Runs and what they are multiplied with.
#[derive(Clone, Copy)]
pub struct Sweep<'a, R> {
    /// The runs' elements.
    pub source: &'a [R],
    /// Where each tap's run starts.
    pub offsets: &'a [usize],
    /// The taps' factors, output by output.
    pub weights: &'a [R],
    /// Outputs, at most [`MOST_OUTPUTS`].
    pub outputs: usize,
    /// Length of a run, a multiple of [`UNIT`].
    pub length: usize,
}

/// `out[m·length + p] = [old] + Σ_t weights[m·taps + t]·source[offsets[t] + p]`.
pub fn sweep<R: Real>(sweep: Sweep<'_, R>, keep: Keep, out: &mut [R]) {
    sweep_with(Width::widest(), sweep, keep, out);
}

fn sweep_with<R: Real>(width: Width, sweep: Sweep<'_, R>, keep: Keep, out: &mut [R]) {
    let Sweep { source, offsets, weights, outputs, length } = sweep;
    assert!(width.is_available() && length % UNIT == 0 && (1..=MOST_OUTPUTS).contains(&outputs));
    assert!(offsets.iter().all(|offset| offset + length <= source.len()), "a run ends beyond its source");
    assert!(weights.len() == outputs * offsets.len() && out.len() >= outputs * length);
    // SAFETY: the instruction set is available, and the extents are just asserted.
    unsafe {
        match width {
            Width::Plain => body::<R, [R; 4]>(sweep, keep, out),
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => avx2(sweep, keep, out),
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => avx512(sweep, keep, out),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<R: Real>(sweep: Sweep<'_, R>, keep: Keep, out: &mut [R]) {
    // SAFETY: this function is compiled for avx2 and fma, so its caller has them; the rest is forwarded.
    unsafe { body::<R, R::Vector256>(sweep, keep, out) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<R: Real>(sweep: Sweep<'_, R>, keep: Keep, out: &mut [R]) {
    // SAFETY: this function is compiled for avx512f, so its caller has it; the rest is forwarded.
    unsafe { body::<R, R::Vector512>(sweep, keep, out) };
}

#[inline(always)]
unsafe fn body<R: Real, V: Vector<R>>(sweep: Sweep<'_, R>, keep: Keep, out: &mut [R]) {
    // SAFETY: forwarded.
    unsafe {
        match sweep.outputs {
            1 => strips::<R, V, 1, 4>(sweep, keep, out),
            2 => strips::<R, V, 2, 4>(sweep, keep, out),
            3 => strips::<R, V, 3, 2>(sweep, keep, out),
            _ => strips::<R, V, 4, 2>(sweep, keep, out),
        }
    }
}

/// Strips of S registers as long as there are any, then single registers.
#[inline(always)]
unsafe fn strips<R: Real, V: Vector<R>, const M: usize, const S: usize>(
    sweep: Sweep<'_, R>,
    keep: Keep,
    out: &mut [R],
) {
    let mut start = 0;
    // SAFETY: V's lanes divide UNIT, which divides the length; `strip` stays below it. Else forwarded.
    unsafe {
        while start + S * V::LANES <= sweep.length {
            strip::<R, V, M, S>(sweep, keep, start, out);
            start += S * V::LANES;
        }
        while start < sweep.length {
            strip::<R, V, M, 1>(sweep, keep, start, out);
            start += V::LANES;
        }
    }
}

/// M × S registers from `start` on, kept over all taps.
#[inline(always)]
unsafe fn strip<R: Real, V: Vector<R>, const M: usize, const S: usize>(
    sweep: Sweep<'_, R>,
    keep: Keep,
    start: usize,
    out: &mut [R],
) {
    let taps = sweep.offsets.len();
    // SAFETY: the caller owes V's instruction set.
    let mut sums = [[unsafe { V::splat(R::ZERO) }; S]; M];
    if keep == Keep::Sums {
        for m in 0..M {
            for s in 0..S {
                // SAFETY: start + S·LANES ≤ length, and `out` has M·length elements.
                sums[m][s] = unsafe { V::load(out.as_ptr().add(m * sweep.length + start + s * V::LANES)) };
            }
        }
    }
    for t in 0..taps {
        // SAFETY: each run has `length` elements inside the source, as `sweep_with` has asserted.
        let run = unsafe { sweep.source.as_ptr().add(*sweep.offsets.get_unchecked(t) + start) };
        // SAFETY: as above.
        let elements: [V; S] = std::array::from_fn(|s| unsafe { V::load(run.add(s * V::LANES)) });
        for m in 0..M {
            // SAFETY: there are M·taps weights, as asserted there too.
            let weight = unsafe { V::splat(*sweep.weights.get_unchecked(m * taps + t)) };
            for s in 0..S {
                // SAFETY: the caller owes V's instruction set.
                sums[m][s] = unsafe { sums[m][s].add_product(weight, elements[s]) };
            }
        }
    }
    for m in 0..M {
        for s in 0..S {
            // SAFETY: as where they were loaded.
            unsafe { sums[m][s].store(out.as_mut_ptr().add(m * sweep.length + start + s * V::LANES)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_of_every_width_are_exact() {
        let source: Vec<f32> = (0..400).map(|index| (index * 7 % 11) as f32 - 5.0).collect();
        let offsets = [0, 3, 17, 40];
        for width in Width::ALL.iter().copied().filter(|width| width.is_available()) {
            for outputs in 1..=MOST_OUTPUTS {
                for length in [0, 16, 48, 208] {
                    let weights: Vec<f32> = (0..outputs * 4).map(|index| (index % 5) as f32 - 2.0).collect();
                    let mut out = vec![f32::NAN; outputs * length];
                    let job =
                        Sweep { source: &source, offsets: &offsets, weights: &weights, outputs, length };
                    sweep_with(width, job, Keep::Nothing, &mut out);
                    sweep_with(width, job, Keep::Sums, &mut out);
                    for (index, &sum) in out.iter().enumerate() {
                        let (m, p) = (index / length, index % length);
                        let want: f32 = (0..4).map(|t| weights[m * 4 + t] * source[offsets[t] + p]).sum();
                        assert_eq!(sum, 2.0 * want, "{width:?}, {outputs} outputs, length {length}");
                    }
                }
            }
        }
    }
}
