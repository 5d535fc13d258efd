//! The innermost product: a few rows by one or two registers of columns, over a stretch of the depth.
//!
//! Called by [`super::packed_raw`] and by the convolutions' products. Every element is summed in the order of the depth whatever the shape
//! of the tile around it, so tiles may be cut in any way without changing a bit.

#![allow(unsafe_code)]
// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]
// Rows and registers of several arrays are walked side by side.
#![allow(clippy::needless_range_loop)]

use std::array::from_fn;

use super::lanes_raw::Width;
use super::vector_raw::Vector;
use crate::dtype::Accumulator;

/// Registers across a full panel of columns.
const ACROSS: usize = 2;

/// The most rows and columns that any kernel takes.
pub const MOST_ROWS: usize = 12;
/// See [`MOST_ROWS`].
pub const MOST_COLUMNS: usize = 32;

/// Which kernel runs, and the tile it computes.
#[derive(Clone, Copy, Debug)]
pub struct Micro {
    width: Width,
    /// The most rows of a tile.
    pub rows: usize,
    /// Columns of a panel of the right operand.
    pub columns: usize,
}

impl Micro {
    /// The widest kernel that this machine has for a type.
    pub fn of<R: Accumulator>() -> Micro {
        Micro::with::<R>(Width::widest())
    }

    fn with<R: Accumulator>(width: Width) -> Micro {
        // Sums, one row of columns and one factor fill the machine's registers.
        let (rows, bytes) = match width {
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => (12, 64),
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => (6, 32),
            Width::Plain => (4, 4 * size_of::<R>()),
        };
        Micro { width, rows, columns: ACROSS * bytes / size_of::<R>() }
    }

    /// `C ← A·B`, or `C ← C + A·B` to [`Keep::Sums`], for `rows` rows of A and the first register of
    /// columns, or all, as `columns` asks for; `b` is a packed panel of `depth` rows of columns.
    ///
    /// # Safety
    /// `c` has room for `rows` rows `c_stride` apart, each of [`Micro::written`] elements, that no other
    /// thread touches and that overlap neither operand; to keep the sums, they are initialised.
    pub unsafe fn product<R: Accumulator>(
        self,
        size: Size,
        a: Panel<'_, R>,
        b: &[R],
        keep: Keep,
        c: *mut R,
        c_stride: usize,
    ) {
        let Size { rows, columns, depth } = size;
        assert!(0 < rows && rows <= self.rows && columns <= self.columns && self.width.is_available());
        if depth > 0 {
            assert!((rows - 1) * a.row_stride + (depth - 1) * a.depth_stride < a.data.len());
            assert!(depth * self.columns <= b.len());
        }
        let job = Job { rows, depth, a, b, pitch: self.columns, keep, c, c_stride };
        let narrow = self.written(columns) < self.columns;
        // SAFETY: the extents of A and B are just asserted, the instruction set is available, and the
        // caller owes C.
        unsafe {
            match self.width {
                Width::Plain if narrow => four_rows::<R, [R; 4], 1>(job),
                Width::Plain => four_rows::<R, [R; 4], ACROSS>(job),
                #[cfg(target_arch = "x86_64")]
                Width::Avx2 if narrow => avx2::<R, 1>(job),
                #[cfg(target_arch = "x86_64")]
                Width::Avx2 => avx2::<R, ACROSS>(job),
                #[cfg(target_arch = "x86_64")]
                Width::Avx512 if narrow => avx512::<R, 1>(job),
                #[cfg(target_arch = "x86_64")]
                Width::Avx512 => avx512::<R, ACROSS>(job),
            }
        }
    }

    /// How many columns [`Micro::product`] writes where `columns` are asked for: whole registers.
    pub fn written(self, columns: usize) -> usize {
        let half = self.columns / ACROSS;
        if columns <= half { half } else { self.columns }
    }
}

/// A few rows of the left operand over a stretch of the depth.
#[derive(Clone, Copy)]
pub struct Panel<'a, R> {
    /// The elements.
    pub data: &'a [R],
    /// Elements from row to row.
    pub row_stride: usize,
    /// Elements from one depth to the next.
    pub depth_stride: usize,
}

/// Sizes of one product.
#[derive(Clone, Copy)]
pub struct Size {
    /// Rows of A.
    pub rows: usize,
    /// Columns of B that count.
    pub columns: usize,
    /// Columns of A, rows of B.
    pub depth: usize,
}

/// What happens to the sums that C holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// C is overwritten and not read.
    Nothing,
    /// The product is added.
    Sums,
}

/// Operands whose extents have been checked.
#[derive(Clone, Copy)]
struct Job<'a, R> {
    rows: usize,
    depth: usize,
    a: Panel<'a, R>,
    b: &'a [R],
    pitch: usize,
    keep: Keep,
    c: *mut R,
    c_stride: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<R: Accumulator, const S: usize>(job: Job<'_, R>) {
    // SAFETY: this function is compiled for avx2 and fma, so its caller has them; the rest is forwarded.
    unsafe { six_rows::<R, R::Vector256, S>(job) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<R: Accumulator, const S: usize>(job: Job<'_, R>) {
    // SAFETY: this function is compiled for avx512f, so its caller has it; the rest is forwarded.
    unsafe { twelve_rows::<R, R::Vector512, S>(job) };
}

#[inline(always)]
unsafe fn four_rows<R: Accumulator, V: Vector<R>, const S: usize>(job: Job<'_, R>) {
    // SAFETY: forwarded.
    unsafe {
        match job.rows {
            1 => strided::<R, V, S, 1>(job),
            2 => strided::<R, V, S, 2>(job),
            3 => strided::<R, V, S, 3>(job),
            _ => strided::<R, V, S, 4>(job),
        }
    }
}

#[inline(always)]
unsafe fn six_rows<R: Accumulator, V: Vector<R>, const S: usize>(job: Job<'_, R>) {
    // SAFETY: forwarded.
    unsafe {
        match job.rows {
            5 => strided::<R, V, S, 5>(job),
            6 => strided::<R, V, S, 6>(job),
            _ => four_rows::<R, V, S>(job),
        }
    }
}

#[inline(always)]
unsafe fn twelve_rows<R: Accumulator, V: Vector<R>, const S: usize>(job: Job<'_, R>) {
    // SAFETY: forwarded.
    unsafe {
        match job.rows {
            7 => strided::<R, V, S, 7>(job),
            8 => strided::<R, V, S, 8>(job),
            9 => strided::<R, V, S, 9>(job),
            10 => strided::<R, V, S, 10>(job),
            11 => strided::<R, V, S, 11>(job),
            12 => strided::<R, V, S, 12>(job),
            _ => six_rows::<R, V, S>(job),
        }
    }
}

/// Rows that lie next to each other get addresses that the compiler knows.
#[inline(always)]
unsafe fn strided<R: Accumulator, V: Vector<R>, const S: usize, const M: usize>(job: Job<'_, R>) {
    // SAFETY: forwarded.
    unsafe {
        if job.a.row_stride == 1 {
            tile::<R, V, S, M>(job, 1);
        } else {
            tile::<R, V, S, M>(job, job.a.row_stride);
        }
    }
}

/// M rows of S registers each, kept over the whole depth.
#[inline(always)]
unsafe fn tile<R: Accumulator, V: Vector<R>, const S: usize, const M: usize>(
    job: Job<'_, R>,
    row_stride: usize,
) {
    // SAFETY: the caller owes V's instruction set.
    let zero = unsafe { V::splat(R::zero()) };
    let mut sums = [[zero; S]; M];
    let (mut a, mut b) = (job.a.data.as_ptr(), job.b.as_ptr());
    for _ in 0..job.depth {
        // SAFETY: `Micro::product` has asserted that B has depth rows of pitch ≥ S·LANES elements.
        let columns: [V; S] = from_fn(|s| unsafe { V::load(b.add(s * V::LANES)) });
        for m in 0..M {
            // SAFETY: it has asserted A's extent as well; M is at most the number of rows.
            let factor = unsafe { V::splat(*a.add(m * row_stride)) };
            for s in 0..S {
                // SAFETY: the caller owes V's instruction set.
                sums[m][s] = unsafe { sums[m][s].add_product(factor, columns[s]) };
            }
        }
        a = a.wrapping_add(job.a.depth_stride);
        b = b.wrapping_add(job.pitch);
    }
    // SAFETY: the caller owes V's instruction set.
    let one = unsafe { V::splat(R::from_f64(1.0)) };
    for m in 0..M {
        for s in 0..S {
            // SAFETY: the caller owes M rows of S·LANES elements, initialised if they are kept.
            unsafe {
                let place = job.c.add(m * job.c_stride + s * V::LANES);
                match job.keep {
                    Keep::Nothing => sums[m][s].store(place),
                    Keep::Sums => V::load(place).add_product(one, sums[m][s]).store(place),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Real;

    /// Small integers, so that every order of summation gives the same number.
    fn numbers<R: Real>(length: usize, seed: usize) -> Vec<R> {
        (0..length).map(|index| R::of(((index * 7 + seed * 3) % 11) as f64 - 5.0)).collect()
    }

    fn every_tile<R: Real>() {
        for width in Width::ALL.iter().copied().filter(|width| width.is_available()) {
            let micro = Micro::with::<R>(width);
            assert!(micro.rows <= MOST_ROWS && micro.columns <= MOST_COLUMNS);
            for rows in 1..=micro.rows {
                for (columns, depth) in [(1, 3), (micro.columns / 2, 5), (micro.columns - 1, 4), (2, 0)] {
                    let (a, b) = (numbers::<R>(rows * depth, 1), numbers::<R>(depth * micro.columns, 2));
                    for (row_stride, depth_stride) in [(1, rows), (depth, 1)] {
                        let panel = Panel { data: &a, row_stride, depth_stride };
                        let written = micro.written(columns);
                        let mut c = vec![R::nan(); rows * (written + 1)];
                        for pass in 1..=2 {
                            let keep = if pass == 1 { Keep::Nothing } else { Keep::Sums };
                            let size = Size { rows, columns, depth };
                            // SAFETY: C has `rows` rows of `written` elements and is borrowed by us alone.
                            unsafe { micro.product(size, panel, &b, keep, c.as_mut_ptr(), written + 1) };
                            for (index, &sum) in c.iter().enumerate() {
                                let (i, j) = (index / (written + 1), index % (written + 1));
                                let term = |l: usize| {
                                    a[i * row_stride + l * depth_stride] * b[l * micro.columns + j]
                                };
                                if j == written {
                                    assert!(sum.is_nan(), "a gap was written");
                                } else {
                                    let want = (0..depth).map(term).sum::<R>() * R::of(pass.into());
                                    assert_eq!(sum, want, "{micro:?} {rows} rows, depth {depth}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_tile_of_every_width_is_exact() {
        every_tile::<f32>();
        every_tile::<f64>();
    }
}
