//! The innermost product, on raw strided memory, and the output that tiles share.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64;
use std::borrow::Cow;
use std::marker::PhantomData;

use super::host_raw::{FortranGemm, HostBlas};
use super::lanes_raw::dots;
use super::vector_raw::Vector;
use crate::contract::extent;
use crate::dtype::{C32, C64};

/// A block and how to walk it.
#[derive(Clone, Copy)]
pub struct Block<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Elements from row to row.
    pub row_stride: usize,
    /// Elements from column to column.
    pub col_stride: usize,
}

/// Types with a kernel for `C ← α·A·B + β·C`.
pub trait BlockProduct: Sized {
    /// A register of 256 bits, for machines with avx2 and fma.
    #[cfg(target_arch = "x86_64")]
    type Vector256: Vector<Self>;
    /// A register of 512 bits, for machines with avx512f.
    #[cfg(target_arch = "x86_64")]
    type Vector512: Vector<Self>;

    /// The function of a BLAS for this type, if it has one.
    fn of_host(_blas: &HostBlas) -> Option<FortranGemm<Self>> {
        None
    }

    /// Computes one block; β = 0 does not read C.
    ///
    /// # Safety
    /// The m×k, k×n and m×n elements at these strides are valid to read (C: to write); C overlaps neither
    /// A nor B, and no other thread touches it.
    unsafe fn product(
        sizes: [usize; 3],
        alpha: Self,
        a: Block<'_, Self>,
        b: Block<'_, Self>,
        beta: Self,
        c: *mut Self,
        c_strides: [usize; 2],
    );
}

macro_rules! matrixmultiply_block {
    ($ty:ty, $vector256:ty, $vector512:ty, $kernel:ident, $scalar:expr $(, $options:ident)?) => {
        impl BlockProduct for $ty {
            #[cfg(target_arch = "x86_64")]
            type Vector256 = $vector256;
            #[cfg(target_arch = "x86_64")]
            type Vector512 = $vector512;

            fn of_host(blas: &HostBlas) -> Option<FortranGemm<$ty>> {
                Some(blas.$kernel)
            }

            unsafe fn product(
                [m, n, k]: [usize; 3],
                alpha: Self,
                a: Block<'_, Self>,
                b: Block<'_, Self>,
                beta: Self,
                c: *mut Self,
                [row_stride, col_stride]: [usize; 2],
            ) {
                let scalar = $scalar;
                // SAFETY: the caller's contract is `matrixmultiply`'s own; strides fit isize since the
                // blocks lie in slices. Complex<T> is laid out as [T; 2] (num-complex's repr(C)).
                unsafe {
                    matrixmultiply::$kernel(
                        $(matrixmultiply::CGemmOption::$options, matrixmultiply::CGemmOption::$options,)?
                        m, k, n,
                        scalar(alpha),
                        a.data.as_ptr().cast(), a.row_stride as isize, a.col_stride as isize,
                        b.data.as_ptr().cast(), b.row_stride as isize, b.col_stride as isize,
                        scalar(beta),
                        c.cast(), row_stride as isize, col_stride as isize,
                    );
                }
            }
        }
    };
}
matrixmultiply_block!(f32, x86_64::__m256, x86_64::__m512, sgemm, |value: f32| value);
matrixmultiply_block!(f64, x86_64::__m256d, x86_64::__m512d, dgemm, |value: f64| value);
matrixmultiply_block!(C32, [C32; 4], [C32; 4], cgemm, |value: C32| [value.re, value.im], Standard);
matrixmultiply_block!(C64, [C64; 4], [C64; 4], zgemm, |value: C64| [value.re, value.im], Standard);

impl BlockProduct for i32 {
    #[cfg(target_arch = "x86_64")]
    type Vector256 = x86_64::__m256i;
    #[cfg(target_arch = "x86_64")]
    type Vector512 = x86_64::__m512i;

    unsafe fn product(
        [m, n, k]: [usize; 3],
        alpha: Self,
        a: Block<'_, Self>,
        b: Block<'_, Self>,
        beta: Self,
        c: *mut Self,
        [row_stride, col_stride]: [usize; 2],
    ) {
        let a = along_depth(a.data, m, k, [a.row_stride, a.col_stride]);
        let b = along_depth(b.data, n, k, [b.col_stride, b.row_stride]);
        let mut sums = vec![0i32; n];
        for i in 0..m {
            sums.fill(0);
            dots(&[&a[i * k..(i + 1) * k]], &b, &mut sums);
            for (j, &sum) in sums.iter().enumerate() {
                // SAFETY: (i, j) is inside the m×n block, which the caller owes to be valid and ours.
                let place = unsafe { c.add(i * row_stride + j * col_stride) };
                // SAFETY: as above; read only where β asks for it.
                let kept = if beta == 0 { 0 } else { beta.wrapping_mul(unsafe { place.read() }) };
                // SAFETY: as above.
                unsafe { place.write(kept.wrapping_add(alpha.wrapping_mul(sum))) };
            }
        }
    }
}

/// Lines of `depth` elements, one after the other: as they lie if they do, else a copy.
fn along_depth(data: &[i32], lines: usize, depth: usize, [line, step]: [usize; 2]) -> Cow<'_, [i32]> {
    if step == 1 && line == depth {
        return Cow::Borrowed(&data[..lines * depth]);
    }
    let element = |index: usize| data[index / depth * line + index % depth * step];
    Cow::Owned((0..lines * depth).map(element).collect())
}

/// `C ← A·B + C·[keep]` on slices, C packed by rows (`n` apart): the accumulating step of a tile.
pub fn accumulate<T: BlockProduct>(
    sizes: [usize; 3],
    one: T,
    a: Block<'_, T>,
    b: Block<'_, T>,
    keep: T,
    c: &mut [T],
) {
    let [m, n, k] = sizes;
    assert!(extent(&[m, k, 1], &[a.row_stride, a.col_stride, 0]) <= a.data.len());
    assert!(extent(&[k, n, 1], &[b.row_stride, b.col_stride, 0]) <= b.data.len());
    assert!(m * n <= c.len());
    // SAFETY: the three extents are asserted; `c` is borrowed mutably, so it overlaps nothing and is ours.
    unsafe { T::product(sizes, one, a, b, keep, c.as_mut_ptr(), [n, 1]) };
}

/// An output slice that several threads fill, each its own elements.
pub struct SharedOutput<'a, T> {
    start: *mut T,
    len: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through the unsafe methods below, whose callers keep the elements apart.
unsafe impl<T: Send> Send for SharedOutput<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedOutput<'_, T> {}

impl<'a, T: Copy> SharedOutput<'a, T> {
    /// Shares `data` for as long as the borrow lasts.
    pub fn new(data: &'a mut [T]) -> SharedOutput<'a, T> {
        SharedOutput { start: data.as_mut_ptr(), len: data.len(), borrowed: PhantomData }
    }

    /// The place of element `index`.
    ///
    /// # Safety
    /// While the pointer is used, no other thread touches the elements reached through it.
    pub unsafe fn place(&self, index: usize) -> *mut T {
        assert!(index < self.len, "output index {index} of {}", self.len);
        // SAFETY: just asserted to be inside the slice.
        unsafe { self.start.add(index) }
    }

    /// Replaces element `index` by what `value` makes of it; `value` decides whether to read.
    ///
    /// # Safety
    /// No other thread touches this element meanwhile.
    pub unsafe fn replace(&self, index: usize, value: impl FnOnce(&dyn Fn() -> T) -> T) {
        // SAFETY: forwarded.
        let place = unsafe { self.place(index) };
        // SAFETY: `place` is inside the slice and ours by this function's contract.
        let read = || unsafe { place.read() };
        let value = value(&read);
        // SAFETY: as above.
        unsafe { place.write(value) };
    }
}
