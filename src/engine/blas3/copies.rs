//! Sums, scalings and changes of storage of whole matrices: cuBLAS's GEAM, DGMM, TPTTR and TRTTP.

use super::field::Field;
use super::view::{Side, Triangle, at};
use crate::shape::{MatMut, MatRef};

/// `C ← α·A + β·B`, m×n; A and B are views of op(A) and op(B). A scalar of 0 does not read its matrix.
///
/// # Panics
/// If an operand does not fit its slice.
pub fn matrix_add<T: Field>(
    m: usize,
    n: usize,
    alpha: T,
    a: MatRef<'_, T>,
    beta: T,
    b: MatRef<'_, T>,
    c: MatMut<'_, T>,
) {
    let zero = T::zero();
    for col in 0..n {
        for row in 0..m {
            let left = (alpha != zero).then(|| alpha * at(&a, row, col));
            let right = (beta != zero).then(|| beta * at(&b, row, col));
            c.data[row * c.row_stride + col * c.col_stride] = match (left, right) {
                (Some(left), Some(right)) => left.plus(right),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => zero,
            };
        }
    }
}

/// `C ← diag(x)·A` (left) or `C ← A·diag(x)` (right), m×n; `x` has m or n elements.
///
/// # Panics
/// If an operand does not fit its slice.
pub fn scale_by_diagonal<T: Field>(
    side: Side,
    m: usize,
    n: usize,
    a: MatRef<'_, T>,
    x: &[T],
    c: MatMut<'_, T>,
) {
    for col in 0..n {
        for row in 0..m {
            let factor = x[if side == Side::Left { row } else { col }];
            c.data[row * c.row_stride + col * c.col_stride] = factor * at(&a, row, col);
        }
    }
}

/// A packed triangle, column after column, into its places of an n×n matrix; the other triangle stays.
///
/// # Panics
/// If an operand does not fit its slice.
pub fn unpack_triangle<T: Field>(triangle: Triangle, n: usize, packed: &[T], a: MatMut<'_, T>) {
    let mut packed = packed.iter();
    for col in 0..n {
        for (row, &element) in triangle.rows(col, n).zip(packed.by_ref()) {
            a.data[row * a.row_stride + col * a.col_stride] = element;
        }
    }
}

/// A triangle of an n×n matrix into packed storage, column after column.
///
/// # Panics
/// If an operand does not fit its slice.
pub fn pack_triangle<T: Field>(triangle: Triangle, n: usize, a: MatRef<'_, T>, packed: &mut [T]) {
    let mut packed = packed.iter_mut();
    for col in 0..n {
        for (row, place) in triangle.rows(col, n).zip(packed.by_ref()) {
            *place = at(&a, row, col);
        }
    }
}
