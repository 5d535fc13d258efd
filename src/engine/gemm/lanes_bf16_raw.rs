//! Dot products of bfloat16 runs as they lie, by the instruction that multiplies pairs (AVX512-BF16).
//!
//! Called by [`super::skinny`]: limited by how fast the wide rows can be read, so nothing is widened in memory. On
//! subnormal numbers see [`super::micro_bf16_raw`].

#![allow(unsafe_code)]
// Rows and columns of several arrays are walked side by side.
#![allow(clippy::needless_range_loop)]

use half::bf16;

use super::micro_bf16_raw::MicroBf16;

/// `sums[r·t + i] += Σₗ wide[r][l]·thin[i·depth + l]` for one or two wide rows and t thin ones.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
pub fn dots(_machine: MicroBf16, wide: &[&[bf16]], thin: &[bf16], sums: &mut [f32]) {
    let thin_rows = sums.len() / wide.len();
    let depth = wide[0].len();
    assert!(wide.iter().all(|row| row.len() == depth) && thin.len() >= thin_rows * depth);
    #[cfg(target_arch = "x86_64")]
    for first in (0..thin_rows).step_by(4) {
        let taken = (thin_rows - first).min(4);
        let (thin, sums) = (&thin[first * depth..], &mut sums[first..]);
        // SAFETY: a `MicroBf16` exists only where the instructions do.
        unsafe {
            match (wide, taken) {
                (&[r0, r1], 4) => kernels::block::<2, 4>([r0, r1], thin, sums, thin_rows),
                (&[r0, r1], 3) => kernels::block::<2, 3>([r0, r1], thin, sums, thin_rows),
                (&[r0, r1], 2) => kernels::block::<2, 2>([r0, r1], thin, sums, thin_rows),
                (&[r0, r1], _) => kernels::block::<2, 1>([r0, r1], thin, sums, thin_rows),
                (&[row], 4) => kernels::block::<1, 4>([row], thin, sums, thin_rows),
                (&[row], 3) => kernels::block::<1, 3>([row], thin, sums, thin_rows),
                (&[row], 2) => kernels::block::<1, 2>([row], thin, sums, thin_rows),
                (&[row], _) => kernels::block::<1, 1>([row], thin, sums, thin_rows),
                _ => unreachable!("one or two wide rows"),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod kernels {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_reduce_add_ps, _mm512_setzero_ps,
    };
    use std::array::from_fn;

    use half::bf16;

    /// Numbers in a register.
    const LANES: usize = 32;

    /// R × T dot products at once; what is left over of the depth is filled up with 0.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub fn block<const R: usize, const T: usize>(
        wide: [&[bf16]; R],
        thin: &[bf16],
        sums: &mut [f32],
        sums_stride: usize,
    ) {
        let numbers = |bits: __m512i| -> __m512bh {
            // SAFETY: both are 512 bits, of which any are a value.
            unsafe { std::mem::transmute(bits) }
        };
        let depth = wide[0].len();
        assert!(wide.iter().all(|row| row.len() == depth) && thin.len() >= T * depth);
        let whole = depth / LANES * LANES;
        let mut vectors = [[_mm512_setzero_ps(); T]; R];
        let mut step = |wide: [*const bf16; R], thin: [*const bf16; T]| {
            // SAFETY: the pointers below are to LANES readable numbers.
            let y: [__m512bh; T] = from_fn(|t| numbers(unsafe { _mm512_loadu_si512(thin[t].cast()) }));
            for r in 0..R {
                // SAFETY: as above.
                let x = numbers(unsafe { _mm512_loadu_si512(wide[r].cast()) });
                for t in 0..T {
                    vectors[r][t] = _mm512_dpbf16_ps(vectors[r][t], x, y[t]);
                }
            }
        };
        for start in (0..whole).step_by(LANES) {
            step(
                from_fn(|r| wide[r][start..start + LANES].as_ptr()),
                from_fn(|t| thin[t * depth + start..][..LANES].as_ptr()),
            );
        }
        if whole < depth {
            let filled = |rest: &[bf16]| {
                let mut run = [bf16::ZERO; LANES];
                run[..rest.len()].copy_from_slice(rest);
                run
            };
            let x: [[bf16; LANES]; R] = from_fn(|r| filled(&wide[r][whole..]));
            let y: [[bf16; LANES]; T] = from_fn(|t| filled(&thin[t * depth + whole..(t + 1) * depth]));
            step(x.each_ref().map(|run| run.as_ptr()), y.each_ref().map(|run| run.as_ptr()));
        }
        for r in 0..R {
            for t in 0..T {
                sums[r * sums_stride + t] += _mm512_reduce_add_ps(vectors[r][t]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, so that every order of summation gives the same float.
    fn numbers(length: usize, seed: usize) -> Vec<bf16> {
        (0..length).map(|index| bf16::from_f32(((index * 7 + seed * 3) % 11) as f32 - 5.0)).collect()
    }

    #[test]
    fn dots_of_every_length_and_count_are_exact() {
        let Some(machine) = MicroBf16::available() else { return };
        for depth in [0, 1, 31, 32, 33, 80] {
            for thin_rows in 1..8 {
                let (x, y) = (numbers(depth, 1), numbers(depth, 2));
                let thin = numbers(depth * thin_rows, 3);
                for wide in [&[&x[..]][..], &[&x[..], &y[..]][..]] {
                    let mut sums = vec![1.0f32; wide.len() * thin_rows];
                    dots(machine, wide, &thin, &mut sums);
                    for (index, sum) in sums.into_iter().enumerate() {
                        let (row, t) = (wide[index / thin_rows], index % thin_rows);
                        let products =
                            row.iter().zip(&thin[t * depth..]).map(|(x, y)| x.to_f32() * y.to_f32());
                        assert_eq!(sum, 1.0 + products.sum::<f32>(), "depth {depth}, {thin_rows} thin rows");
                    }
                }
            }
        }
    }
}
