//! Level 2 with triangular matrices: `x ← op(A)·x` and `x ← op(A)⁻¹·x`.
//!
//! Nothing is skipped for a zero in x: NaN and infinities of A propagate. A zero on the diagonal divides.

use super::number::Number;
use super::stored::{Diagonal, Stored, Transposition, Triangle};
use super::structured::{Split, add_multiple};
use super::sums::dot_numbers;
use super::vector::VectorMut;
use crate::dtype::Accumulator;
use crate::shape::Conj;

/// `x ← op(A)·x`: `trmv`, `tbmv`, `tpmv`.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-trmv> and its neighbours.
///
/// # Panics
/// If A is not a triangle or reaches beyond its slice, or x does not fit it.
pub fn triangular_product<T: Number>(
    op: Transposition,
    diagonal: Diagonal,
    a: &[T],
    stored: Stored,
    mut x: VectorMut<'_, T>,
) {
    check(a, &stored, &x);
    let mut values = x.as_ref().gather();
    let times = |element: T, value: T| match diagonal {
        Diagonal::Stored => element * value,
        Diagonal::Unit => value,
    };
    // Elements that later columns need are still the old ones when their column comes.
    let ascending = (stored.triangle() == Some(Triangle::Upper)) == (op == Transposition::None);
    each_column(stored.cols, ascending, |col| {
        let split = Split::of(&stored, a, col);
        let value = values[col];
        match conj_of(op) {
            None => {
                add_multiple(&mut values[split.rows], value, split.elements);
                values[col] = times(a[split.diagonal], value);
            }
            Some(conj) => {
                let rest = dot_numbers(conj, split.elements, &values[split.rows]);
                values[col] = times(conjugated(conj, a[split.diagonal]), value) + rest;
            }
        }
    });
    x.scatter(&values);
}

/// `x ← op(A)⁻¹·x`: `trsv`, `tbsv`, `tpsv`. Singular matrices are not looked for.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-trsv> and its neighbours.
///
/// # Panics
/// As [`triangular_product`].
pub fn triangular_solve<T: Number>(
    op: Transposition,
    diagonal: Diagonal,
    a: &[T],
    stored: Stored,
    mut x: VectorMut<'_, T>,
) {
    check(a, &stored, &x);
    let mut values = x.as_ref().gather();
    let over = |value: T, element: T| match diagonal {
        Diagonal::Stored => value.over(element),
        Diagonal::Unit => value,
    };
    let ascending = (stored.triangle() == Some(Triangle::Upper)) != (op == Transposition::None);
    each_column(stored.cols, ascending, |col| {
        let split = Split::of(&stored, a, col);
        match conj_of(op) {
            None => {
                let value = over(values[col], a[split.diagonal]);
                values[col] = value;
                add_multiple(&mut values[split.rows], -value, split.elements);
            }
            Some(conj) => {
                let rest = dot_numbers(conj, split.elements, &values[split.rows]);
                values[col] = over(values[col] - rest, conjugated(conj, a[split.diagonal]));
            }
        }
    });
    x.scatter(&values);
}

fn check<T: Number>(a: &[T], stored: &Stored, x: &VectorMut<'_, T>) {
    stored.check(a.len());
    assert_eq!(x.len(), stored.rows, "a vector that fits {stored:?}");
}

fn each_column(cols: usize, ascending: bool, mut body: impl FnMut(usize)) {
    for position in 0..cols {
        body(if ascending { position } else { cols - 1 - position });
    }
}

/// Of a transposed product, whether the elements are conjugated.
fn conj_of(op: Transposition) -> Option<Conj> {
    match op {
        Transposition::None => None,
        Transposition::Transposed => Some(Conj::No),
        Transposition::Adjoint => Some(Conj::Yes),
    }
}

fn conjugated<T: Number>(conj: Conj, element: T) -> T {
    if conj == Conj::Yes { Accumulator::conj(element) } else { element }
}
