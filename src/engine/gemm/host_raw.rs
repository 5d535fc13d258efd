//! Products by a BLAS that the process already holds, where that is asked for.
//!
//! The engine never looks for one: whoever knows the process hands in the functions. They are those of Fortran's BLAS,
//! matrices by columns, sizes and leading dimensions of 32 bits. Source: <https://netlib.org/blas/#_level_3>.
//!
//! Such a library brings threads of its own, and its results may depend on their number.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::dtype::{Accumulator, C32, C64};
use crate::shape::{GemmShape, MatMut, MatRef};

/// Fortran's `?gemm(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)`, with the lengths of its two texts
/// at the end, as compilers pass them.
pub type FortranGemm<T> = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const c_int,
    *const c_int,
    *const c_int,
    *const T,
    *const T,
    *const c_int,
    *const T,
    *const c_int,
    *const T,
    *mut T,
    *const c_int,
    usize,
    usize,
);

/// The functions of a BLAS.
#[derive(Clone, Copy, Debug)]
pub struct HostBlas {
    /// Single precision.
    pub sgemm: FortranGemm<f32>,
    /// Double precision.
    pub dgemm: FortranGemm<f64>,
    /// Single-precision complex.
    pub cgemm: FortranGemm<C32>,
    /// Double-precision complex.
    pub zgemm: FortranGemm<C64>,
}

/// Who multiplies matrices that are neither thin nor empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Backend {
    /// Packed operands and our innermost product for real numbers, matrixmultiply for complex ones.
    Own = 0,
    /// matrixmultiply wherever it has the type.
    Matrixmultiply = 1,
    /// The BLAS that was handed in, for products that it can take as they lie; others as [`Backend::Own`].
    Host = 2,
}

static BACKEND: AtomicU8 = AtomicU8::new(Backend::Own as u8);
static BLAS: OnceLock<HostBlas> = OnceLock::new();

/// Chooses who multiplies; counts from the next product on.
pub fn set_gemm_backend(backend: Backend) {
    BACKEND.store(backend as u8, Ordering::Relaxed);
}

/// Who multiplies.
pub fn backend() -> Backend {
    match BACKEND.load(Ordering::Relaxed) {
        1 => Backend::Matrixmultiply,
        2 => Backend::Host,
        _ => Backend::Own,
    }
}

/// Hands in a BLAS, once, and makes it the backend.
///
/// # Safety
/// The functions are what [`FortranGemm`] says and stay callable from any thread.
pub unsafe fn set_host_blas(blas: HostBlas) {
    let _ = BLAS.set(blas);
    set_gemm_backend(Backend::Host);
}

/// The BLAS, if it is to be used.
pub fn host_blas() -> Option<&'static HostBlas> {
    if backend() == Backend::Host { BLAS.get() } else { None }
}

/// One product in the terms of Fortran's BLAS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    swapped: bool,
    trans: [u8; 2],
    ld: [c_int; 3],
}

impl Plan {
    /// How to ask for the product, if its matrices lie as a BLAS wants them.
    pub fn of<A, B, C>(
        shape: GemmShape,
        a: &MatRef<'_, A>,
        b: &MatRef<'_, B>,
        c: &MatMut<'_, C>,
    ) -> Option<Plan> {
        let GemmShape { m, n, k, .. } = shape;
        // Rows × columns with these strides: as it lies, or transposed, and the leading dimension.
        let lies = |rows: usize, columns: usize, row: usize, column: usize| {
            if (row == 1 || rows == 1) && (column >= rows || columns == 1) {
                Some((b'N', column.max(rows)))
            } else if (column == 1 || columns == 1) && (row >= columns || rows == 1) {
                Some((b'T', row.max(columns)))
            } else {
                None
            }
        };
        let (order, ldc) = lies(m, n, c.row_stride, c.col_stride)?;
        let swapped = order == b'T';
        let (first, second) = if swapped {
            // Cᵀ = Bᵀ·Aᵀ.
            (lies(n, k, b.col_stride, b.row_stride)?, lies(k, m, a.col_stride, a.row_stride)?)
        } else {
            (lies(m, k, a.row_stride, a.col_stride)?, lies(k, n, b.row_stride, b.col_stride)?)
        };
        let small = |number: usize| c_int::try_from(number).ok();
        small(m).and(small(n)).and(small(k))?;
        let ld = [small(first.1)?, small(second.1)?, small(ldc)?];
        Some(Plan { swapped, trans: [first.0, second.0], ld })
    }
}

/// `C ← α·A·B + β·C` for each matrix of the batch, as the plan says.
pub fn product<Acc: Accumulator>(
    blas: &HostBlas,
    shape: GemmShape,
    plan: Plan,
    [alpha, beta]: [Acc; 2],
    a: MatRef<'_, Acc>,
    b: MatRef<'_, Acc>,
    c: MatMut<'_, Acc>,
) {
    let Some(gemm) = Acc::of_host(blas) else { unreachable!("planned only for types that a BLAS has") };
    let [m, n, k] = [shape.m, shape.n, shape.k].map(|size| size as c_int);
    let [m, n] = if plan.swapped { [n, m] } else { [m, n] };
    let text = |letter: &u8| std::ptr::from_ref(letter).cast::<c_char>();
    for number in 0..shape.batch {
        let (a, b) = (&a.data[number * a.batch_stride..], &b.data[number * b.batch_stride..]);
        let (left, right) = if plan.swapped { (b, a) } else { (a, b) };
        let c = &mut c.data[number * c.batch_stride..];
        // SAFETY: `contract::check` has compared the extents of all operands with their slices, and the plan
        // describes exactly those; C is borrowed mutably and overlaps nothing. The function is what
        // `set_host_blas`'s caller promised.
        unsafe {
            gemm(
                text(&plan.trans[0]),
                text(&plan.trans[1]),
                &raw const m,
                &raw const n,
                &raw const k,
                &raw const alpha,
                left.as_ptr(),
                &raw const plan.ld[0],
                right.as_ptr(),
                &raw const plan.ld[1],
                &raw const beta,
                c.as_mut_ptr(),
                &raw const plan.ld[2],
                1,
                1,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Conj;

    fn plan(shape: [usize; 3], a: [usize; 2], b: [usize; 2], c: [usize; 2]) -> Option<Plan> {
        let [m, n, k] = shape;
        let matrix = |strides: [usize; 2]| MatRef::<f32> {
            data: &[],
            row_stride: strides[0],
            col_stride: strides[1],
            batch_stride: 0,
            conjugate: Conj::No,
        };
        let c = MatMut::<f32> { data: &mut [], row_stride: c[0], col_stride: c[1], batch_stride: 0 };
        Plan::of(GemmShape { m, n, k, batch: 1 }, &matrix(a), &matrix(b), &c)
    }

    #[test]
    fn matrices_by_columns_and_by_rows_are_taken_and_others_are_not() {
        let by_columns = plan([20, 30, 40], [1, 25], [41, 1], [1, 20]).unwrap();
        assert_eq!(by_columns, Plan { swapped: false, trans: *b"NT", ld: [25, 41, 20] });
        let by_rows = plan([20, 30, 40], [40, 1], [1, 45], [30, 1]).unwrap();
        assert_eq!(by_rows, Plan { swapped: true, trans: *b"TN", ld: [45, 40, 30] });
        assert_eq!(plan([20, 30, 40], [2, 50], [1, 40], [1, 20]), None);
        assert_eq!(plan([20, 30, 40], [1, 20], [1, 40], [2, 50]), None);
        assert_eq!(plan([20, 30, 40], [1, 0], [1, 40], [1, 20]), None, "a column for all");
        assert_eq!(plan([20, 30, 1 << 40], [1, 20], [1, 1 << 40], [1, 20]), None);
    }
}
