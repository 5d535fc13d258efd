//! Level 2 products `y ← α·op(A)·x + β·y` with banded, symmetric and Hermitian matrices.
//!
//! β = 0 does not read y; α = 0 reads neither A nor x.

use super::number::Number;
use super::stored::{Stored, Symmetry, Transposition, Triangle};
use super::sums::dot_numbers;
use super::vector::{Vector, VectorMut};
use crate::dtype::Accumulator;
use crate::shape::Conj;

/// `y ← α·op(A)·x + β·y` with a matrix of any form that holds all its non-zero elements: `gbmv`.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-gbmv>.
///
/// # Panics
/// If A reaches beyond its slice, or the vectors do not fit op(A).
pub fn band_product<T: Number>(
    op: Transposition,
    alpha: T,
    a: &[T],
    stored: Stored,
    x: Vector<'_, T>,
    beta: T,
    mut y: VectorMut<'_, T>,
) {
    let (rows, cols) = match op {
        Transposition::None => (stored.rows, stored.cols),
        Transposition::Transposed | Transposition::Adjoint => (stored.cols, stored.rows),
    };
    assert!(x.len() == cols && y.len() == rows, "vectors of {} and {}, {stored:?} {op:?}", x.len(), y.len());
    let mut sums = scaled(beta, &y);
    if alpha != T::zero() {
        stored.check(a.len());
        let x = x.gather();
        for col in 0..stored.cols {
            let column = stored.column(col);
            let elements = &a[column.places()];
            match op {
                Transposition::None => add_multiple(&mut sums[column.rows], alpha * x[col], elements),
                Transposition::Transposed => {
                    sums[col] += alpha * dot_numbers(Conj::No, elements, &x[column.rows]);
                }
                Transposition::Adjoint => {
                    sums[col] += alpha * dot_numbers(Conj::Yes, elements, &x[column.rows]);
                }
            }
        }
    }
    y.scatter(&sums);
}

/// `y ← α·A·x + β·y` with a symmetric or Hermitian matrix of which one triangle is stored: `symv`, `hemv`, `sbmv`,
/// `hbmv`, `spmv`, `hpmv`.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-symv> and its neighbours.
///
/// # Panics
/// If A is not a triangle or reaches beyond its slice, or the vectors do not fit it.
pub fn symmetric_product<T: Number>(
    symmetry: Symmetry,
    alpha: T,
    a: &[T],
    stored: Stored,
    x: Vector<'_, T>,
    beta: T,
    mut y: VectorMut<'_, T>,
) {
    let n = stored.rows;
    assert!(x.len() == n && y.len() == n, "vectors of {} and {}, {stored:?}", x.len(), y.len());
    let mut sums = scaled(beta, &y);
    if alpha != T::zero() {
        stored.check(a.len());
        let x = x.gather();
        let conj = if symmetry == Symmetry::Hermitian { Conj::Yes } else { Conj::No };
        for col in 0..n {
            let split = Split::of(&stored, a, col);
            let diagonal = match symmetry {
                Symmetry::Symmetric => a[split.diagonal],
                Symmetry::Hermitian => a[split.diagonal].real_part(),
            };
            add_multiple(&mut sums[split.rows.clone()], alpha * x[col], split.elements);
            let mirrored = dot_numbers(conj, split.elements, &x[split.rows]);
            sums[col] += alpha * (diagonal * x[col] + mirrored);
        }
    }
    y.scatter(&sums);
}

/// A column of a triangle, its diagonal element apart.
pub(super) struct Split<'a, T> {
    /// Rows of the others.
    pub rows: std::ops::Range<usize>,
    /// The others.
    pub elements: &'a [T],
    /// Where the diagonal element lies.
    pub diagonal: usize,
}

impl<'a, T> Split<'a, T> {
    pub fn of(stored: &Stored, a: &'a [T], col: usize) -> Split<'a, T> {
        let column = stored.column(col);
        let (places, rows) = (column.places(), column.rows);
        match stored.triangle() {
            Some(Triangle::Upper) => Split {
                rows: rows.start..col,
                elements: &a[places.start..places.end - 1],
                diagonal: places.end - 1,
            },
            Some(Triangle::Lower) => Split {
                rows: col + 1..rows.end,
                elements: &a[places.start + 1..places.end],
                diagonal: places.start,
            },
            None => panic!("{stored:?} is no triangle"),
        }
    }
}

/// `y ← y + factor·x`.
pub(super) fn add_multiple<T: Number>(y: &mut [T], factor: T, x: &[T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = Accumulator::add_product(*y, factor, x);
    }
}

/// `β·y`, one element after the other.
fn scaled<T: Number>(beta: T, y: &VectorMut<'_, T>) -> Vec<T> {
    if beta == T::zero() {
        return vec![T::zero(); y.len()];
    }
    let mut sums = y.as_ref().gather();
    sums.iter_mut().for_each(|y| *y = beta * *y);
    sums
}
