//! LU factorisation and what is solved with it, in LAPACK's storage: GETRF, GETRS, GETRI.
//!
//! L and U take A's place, `P·A = L·U`, L with a unit diagonal that is not stored. Row i was swapped with row
//! `pivots[i] ≥ i + 1`, counted from 1, one swap after the other. Source: LAPACK Users' Guide, "LU
//! factorization".

use super::field::Field;
use super::triangular::triangular_solve;
use super::view::{Diagonal, Side, Triangle, Triangular, add_scaled, columns};
use crate::shape::{Conj, MatMut, MatRef};

/// Factors the n×n matrix in the columns of `a`, `ld` apart, with partial pivoting if `pivots` is given. The
/// answer counts from 1: the first zero on U's diagonal, 0 if there is none. After such a zero the factorisation
/// goes on with the next column, as LAPACK's does.
///
/// The pivot is the first element with the largest `|re| + |im|` of its column; a NaN is only chosen where it
/// stands on the diagonal.
///
/// # Panics
/// If the matrix or the pivots do not fit their slices.
pub fn lu_factor<T: Field>(n: usize, a: &mut [T], ld: usize, mut pivots: Option<&mut [i32]>) -> i32 {
    let mut info = 0;
    for step in 0..n {
        if let Some(pivots) = pivots.as_deref_mut() {
            let pivot = largest(&a[step * ld + step..step * ld + n]) + step;
            pivots[step] = pivot as i32 + 1;
            swap_rows(n, a, ld, step, pivot);
        }
        let (done, rest) = a.split_at_mut(((step + 1) * ld).min(a.len()));
        let column = &mut done[step * ld..step * ld + n];
        let pivot = column[step];
        if pivot == T::zero() {
            info = if info == 0 { step as i32 + 1 } else { info };
        } else {
            column[step + 1..].iter_mut().for_each(|element| *element = element.divided_by(pivot));
        }
        for other in rest.chunks_mut(ld).take(n - step - 1) {
            let factor = -other[step];
            add_scaled(&mut other[step + 1..n], factor, &column[step + 1..]);
        }
    }
    info
}

/// The first of the largest elements.
fn largest<T: Field>(column: &[T]) -> usize {
    let mut best = 0;
    for (index, element) in column.iter().enumerate() {
        if element.magnitude() > column[best].magnitude() {
            best = index;
        }
    }
    best
}

/// Whether every pivot names a row of an n×n matrix.
pub fn pivots_are_valid(n: usize, pivots: &[i32]) -> bool {
    pivots.iter().all(|&pivot| usize::try_from(pivot).is_ok_and(|pivot| (1..=n).contains(&pivot)))
}

/// The first zero on the diagonal, counted from 1; 0 if there is none.
pub fn singular_at<T: Field>(n: usize, a: &[T], ld: usize) -> i32 {
    (0..n).position(|index| a[index * ld + index] == T::zero()).map_or(0, |index| index as i32 + 1)
}

/// Solves `A·X = B` from A's factors; X takes the place of the n×`cols` B.
///
/// # Panics
/// If an operand does not fit its slice, or a pivot is not valid.
pub fn lu_solve<T: Field>(
    n: usize,
    cols: usize,
    lu: &[T],
    ld: usize,
    pivots: Option<&[i32]>,
    b: &mut [T],
    ldb: usize,
) {
    for (row, &pivot) in pivots.unwrap_or_default().iter().enumerate() {
        swap_rows(cols, b, ldb, row, pivot as usize - 1);
    }
    let lu = columns(lu, ld);
    triangular_solve(Side::Left, n, cols, T::one(), lower(lu), output(b, ldb));
    triangular_solve(Side::Left, n, cols, T::one(), upper(lu), output(b, ldb));
}

/// Solves `Aᵀ·X = B`, or with `conjugate` `Aᴴ·X = B`, from A's factors; X takes B's place.
///
/// # Panics
/// As [`lu_solve`].
pub fn lu_solve_transposed<T: Field>(
    n: usize,
    cols: usize,
    lu: &[T],
    ld: usize,
    conjugate: Conj,
    pivots: Option<&[i32]>,
    b: &mut [T],
    ldb: usize,
) {
    let lu = MatRef { conjugate, ..columns(lu, ld) };
    triangular_solve(Side::Left, n, cols, T::one(), upper(lu).transposed(), output(b, ldb));
    triangular_solve(Side::Left, n, cols, T::one(), lower(lu).transposed(), output(b, ldb));
    for (row, &pivot) in pivots.unwrap_or_default().iter().enumerate().rev() {
        swap_rows(cols, b, ldb, row, pivot as usize - 1);
    }
}

/// Writes A⁻¹ to `inverse` from A's factors, whose U has no zero on its diagonal.
///
/// # Panics
/// As [`lu_solve`].
pub fn lu_invert<T: Field>(
    n: usize,
    lu: &[T],
    ld: usize,
    pivots: Option<&[i32]>,
    inverse: &mut [T],
    ld_inverse: usize,
) {
    for col in 0..n {
        let column = &mut inverse[col * ld_inverse..col * ld_inverse + n];
        column.fill(T::zero());
        column[col] = T::one();
    }
    lu_solve(n, n, lu, ld, pivots, inverse, ld_inverse);
}

fn swap_rows<T>(cols: usize, a: &mut [T], ld: usize, row: usize, other: usize) {
    if row != other {
        (0..cols).for_each(|col| a.swap(col * ld + row, col * ld + other));
    }
}

fn lower<T>(matrix: MatRef<'_, T>) -> Triangular<'_, T> {
    Triangular { matrix, triangle: Triangle::Lower, diagonal: Diagonal::Unit }
}

fn upper<T>(matrix: MatRef<'_, T>) -> Triangular<'_, T> {
    Triangular { matrix, triangle: Triangle::Upper, diagonal: Diagonal::Stored }
}

fn output<T>(data: &mut [T], ld: usize) -> MatMut<'_, T> {
    MatMut { data, row_stride: 1, col_stride: ld, batch_stride: 0 }
}
