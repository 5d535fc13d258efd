//! Level 2 updates of low rank: `ger`, `syr`, `her`, `syr2`, `her2` and their packed forms.
//!
//! α = 0 reads and writes nothing. Only stored elements are read or written.

use super::number::{Factor, Number};
use super::stored::{Stored, Symmetry};
use super::vector::Vector;
use crate::dtype::Accumulator;
use crate::shape::Conj;

/// `A ← α·x·yᵀ + A`, or `yᴴ` for `yᵀ`: `ger`, `geru`, `gerc`; with y = x of a triangle `syr`, `spr`, `her`, `hpr`.
/// A Hermitian A keeps a real diagonal: its imaginary parts are set to 0.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-ger>, `#cublas-t-syr`, `#cublas-t-her`.
///
/// # Panics
/// If A reaches beyond its slice, or the vectors do not fit it.
pub fn rank_one<T: Number>(
    conj: Conj,
    alpha: Factor<T>,
    x: Vector<'_, T>,
    y: Vector<'_, T>,
    a: &mut [T],
    stored: Stored,
) {
    if alpha.is_zero() {
        return;
    }
    stored.check(a.len());
    assert!(x.len() == stored.rows && y.len() == stored.cols, "vectors that fit {stored:?}");
    let (x, y) = (x.gather(), y.gather());
    for col in 0..stored.cols {
        let column = stored.column(col);
        let factor = alpha.times(conjugated(conj, y[col]));
        let places = column.places();
        for (a, &x) in a[places.clone()].iter_mut().zip(&x[column.rows.clone()]) {
            *a = Accumulator::add_product(*a, factor, x);
        }
        if conj == Conj::Yes && stored.triangle().is_some() {
            let diagonal = &mut a[places.start + (col - column.rows.start)];
            *diagonal = diagonal.real_part();
        }
    }
}

/// `A ← α·x·yᵀ + α·y·xᵀ + A`, or, Hermitian, `α·x·yᴴ + conj(α)·y·xᴴ + A`: `syr2`, `her2`, `spr2`, `hpr2`.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-syr2>, `#cublas-t-her2`.
///
/// # Panics
/// If A is not a triangle or reaches beyond its slice, or the vectors do not fit it.
pub fn rank_two<T: Number>(
    symmetry: Symmetry,
    alpha: T,
    x: Vector<'_, T>,
    y: Vector<'_, T>,
    a: &mut [T],
    stored: Stored,
) {
    if alpha == T::zero() {
        return;
    }
    stored.check(a.len());
    assert!(stored.triangle().is_some(), "{stored:?} is no triangle");
    assert!(x.len() == stored.rows && y.len() == stored.rows, "vectors that fit {stored:?}");
    let (x, y) = (x.gather(), y.gather());
    let conj = if symmetry == Symmetry::Hermitian { Conj::Yes } else { Conj::No };
    for col in 0..stored.cols {
        let column = stored.column(col);
        let of_x = alpha * conjugated(conj, y[col]);
        let of_y = conjugated(conj, alpha * x[col]);
        let places = column.places();
        let pairs = x[column.rows.clone()].iter().zip(&y[column.rows.clone()]);
        for (a, (&x, &y)) in a[places.clone()].iter_mut().zip(pairs) {
            *a = Accumulator::add_product(Accumulator::add_product(*a, of_x, x), of_y, y);
        }
        if conj == Conj::Yes {
            let diagonal = &mut a[places.start + (col - column.rows.start)];
            *diagonal = diagonal.real_part();
        }
    }
}

fn conjugated<T: Number>(conj: Conj, element: T) -> T {
    if conj == Conj::Yes { Accumulator::conj(element) } else { element }
}
