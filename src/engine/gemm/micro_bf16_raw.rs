//! The innermost product of bfloat16 pairs, by the instruction that multiplies them (AVX512-BF16).
//!
//! `VDPBF16PS` adds the products of two neighbouring depths to single-precision sums, rounding to nearest even; it
//! takes subnormal operands for 0 and flushes subnormal results to 0, as GPUs' and oneDNN's bfloat16 products do.
//! Source: Intel's instruction set reference.

#![allow(unsafe_code)]
// The bodies must be inlined into the function that switches the instruction set on, or they run without.
#![allow(clippy::inline_always)]
// Rows and registers of several arrays are walked side by side.
#![allow(clippy::needless_range_loop)]

use super::micro_raw::{Keep, Panel, Size};

/// The kernel, on a machine that has it.
#[derive(Clone, Copy, Debug)]
pub struct MicroBf16(());

impl MicroBf16 {
    /// The most rows of a tile.
    pub const ROWS: usize = 12;
    /// Columns of a panel: two registers of sums.
    pub const COLUMNS: usize = 32;

    /// The kernel, if this machine has its instructions.
    pub fn available() -> Option<MicroBf16> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512f") {
            return Some(MicroBf16(()));
        }
        None
    }

    /// How many columns [`MicroBf16::product`] writes where `columns` are asked for: whole registers.
    pub fn written(columns: usize) -> usize {
        if columns <= Self::COLUMNS / 2 { Self::COLUMNS / 2 } else { Self::COLUMNS }
    }

    #[allow(clippy::unused_self)] // the value is the proof that the instructions are there
    /// As [`super::micro_raw::Micro::product`], of pairs: the size's depth counts pairs.
    ///
    /// # Safety
    /// `c` has room for the size's rows `c_stride` apart, each of [`MicroBf16::written`] elements, that no other
    /// thread touches and that overlap neither operand; to keep the sums, they are initialised.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    pub unsafe fn product(
        self,
        size: Size,
        a: Panel<'_, u32>,
        b: &[u32],
        keep: Keep,
        c: *mut f32,
        c_stride: usize,
    ) {
        let Size { rows, columns, depth } = size;
        assert!(0 < rows && rows <= Self::ROWS && columns <= Self::COLUMNS);
        if depth > 0 {
            assert!((rows - 1) * a.row_stride + (depth - 1) * a.depth_stride < a.data.len());
            assert!(depth * Self::COLUMNS <= b.len());
        }
        #[cfg(target_arch = "x86_64")]
        {
            let job = kernels::Job { rows, depth, a, b, keep, c, c_stride };
            // SAFETY: a value of this type exists only where the instructions do; the extents of A and B are just
            // asserted, and the caller owes C.
            unsafe {
                if Self::written(columns) < Self::COLUMNS {
                    kernels::run::<1>(job);
                } else {
                    kernels::run::<2>(job);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod kernels {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512,
        _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
    };
    use std::array::from_fn;

    use super::{Keep, MicroBf16, Panel};

    /// Operands whose extents have been checked.
    #[derive(Clone, Copy)]
    pub struct Job<'a> {
        pub rows: usize,
        pub depth: usize,
        pub a: Panel<'a, u32>,
        pub b: &'a [u32],
        pub keep: Keep,
        pub c: *mut f32,
        pub c_stride: usize,
    }

    /// # Safety
    /// The extents of the job's operands hold, and C is the caller's.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub unsafe fn run<const S: usize>(job: Job<'_>) {
        // SAFETY: forwarded; this function is compiled for the instructions.
        unsafe {
            match job.rows {
                1 => tile::<S, 1>(job),
                2 => tile::<S, 2>(job),
                3 => tile::<S, 3>(job),
                4 => tile::<S, 4>(job),
                5 => tile::<S, 5>(job),
                6 => tile::<S, 6>(job),
                7 => tile::<S, 7>(job),
                8 => tile::<S, 8>(job),
                9 => tile::<S, 9>(job),
                10 => tile::<S, 10>(job),
                11 => tile::<S, 11>(job),
                _ => tile::<S, 12>(job),
            }
        }
    }

    /// M rows of S registers each, kept over the whole depth.
    #[target_feature(enable = "avx512f,avx512bf16")]
    #[inline]
    unsafe fn tile<const S: usize, const M: usize>(job: Job<'_>) {
        let pairs = |bits: __m512i| -> __m512bh {
            // SAFETY: both are 512 bits, of which any are a value.
            unsafe { std::mem::transmute(bits) }
        };
        let mut sums = [[_mm512_setzero_ps(); S]; M];
        let (mut a, mut b) = (job.a.data.as_ptr(), job.b.as_ptr());
        for _ in 0..job.depth {
            // SAFETY: `MicroBf16::product` has asserted that B has depth rows of COLUMNS ≥ 16·S elements.
            let columns: [__m512bh; S] =
                from_fn(|s| pairs(unsafe { _mm512_loadu_si512(b.add(16 * s).cast()) }));
            for m in 0..M {
                // SAFETY: it has asserted A's extent as well; M is at most the number of rows.
                let factor = pairs(_mm512_set1_epi32(unsafe { *a.add(m * job.a.row_stride) } as i32));
                for s in 0..S {
                    sums[m][s] = _mm512_dpbf16_ps(sums[m][s], factor, columns[s]);
                }
            }
            a = a.wrapping_add(job.a.depth_stride);
            b = b.wrapping_add(MicroBf16::COLUMNS);
        }
        for m in 0..M {
            for s in 0..S {
                // SAFETY: the caller owes M rows of 16·S elements, initialised if they are kept.
                unsafe {
                    let place = job.c.add(m * job.c_stride + 16 * s);
                    match job.keep {
                        Keep::Nothing => _mm512_storeu_ps(place, sums[m][s]),
                        Keep::Sums => {
                            let kept = _mm512_loadu_ps(place);
                            _mm512_storeu_ps(place, _mm512_add_ps(kept, sums[m][s]));
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    fn number(index: usize, seed: usize) -> f32 {
        ((index * 7 + seed * 3) % 11) as f32 - 5.0
    }

    /// Pairs of small integers, of which every order of summation gives the same number.
    fn packed(length: usize, seed: usize) -> Vec<u32> {
        let bits = |index| u32::from(bf16::from_f32(number(index, seed)).to_bits());
        (0..length).map(|index| bits(2 * index) | bits(2 * index + 1) << 16).collect()
    }

    #[test]
    fn every_tile_is_exact() {
        let Some(micro) = MicroBf16::available() else { return };
        for rows in 1..=MicroBf16::ROWS {
            for (columns, depth) in [(1, 3), (16, 5), (31, 4), (2, 0)] {
                let (a, b) = (packed(rows * depth, 1), packed(depth * MicroBf16::COLUMNS, 2));
                for (row_stride, depth_stride) in [(1, rows), (depth, 1)] {
                    let panel = Panel { data: &a, row_stride, depth_stride };
                    let written = MicroBf16::written(columns);
                    let mut c = vec![f32::NAN; rows * (written + 1)];
                    for pass in 1..=2 {
                        let keep = if pass == 1 { Keep::Nothing } else { Keep::Sums };
                        let size = Size { rows, columns, depth };
                        // SAFETY: C has `rows` rows of `written` elements and is borrowed by us alone.
                        unsafe { micro.product(size, panel, &b, keep, c.as_mut_ptr(), written + 1) };
                        for (index, &sum) in c.iter().enumerate() {
                            let (i, j) = (index / (written + 1), index % (written + 1));
                            let term = |l: usize| {
                                let (a, b) = (i * row_stride + l * depth_stride, l * MicroBf16::COLUMNS + j);
                                number(2 * a, 1) * number(2 * b, 2)
                                    + number(2 * a + 1, 1) * number(2 * b + 1, 2)
                            };
                            if j == written {
                                assert!(sum.is_nan(), "a gap was written");
                            } else {
                                assert_eq!(
                                    sum,
                                    (0..depth).map(term).sum::<f32>() * pass as f32,
                                    "{rows} rows"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
