//! Level 1, element by element: `axpy`, `copy`, `swap`, `scal`.

use super::number::{BlasElement, Factor, Number};
use super::vector::{Vector, VectorMut};
use crate::threads;

/// Elements that one task updates.
const CHUNK: usize = 1 << 16;

/// `y ← α·x + y`. Half-precision sums are formed in single precision and rounded once.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-axpy>.
///
/// # Panics
/// If the vectors differ in length.
pub fn axpy<S: BlasElement>(alpha: Factor<S::Exec>, x: Vector<'_, S>, y: VectorMut<'_, S>) {
    match alpha {
        Factor::Real(alpha) => {
            update(x, y, |x, y| S::nearest(x.value().scaled(alpha) + y.value()));
        }
        Factor::Full(alpha) => update(x, y, |x, y| S::nearest(alpha * x.value() + y.value())),
    }
}

/// `y ← x`, bit for bit.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-copy>.
///
/// # Panics
/// If the vectors differ in length.
pub fn copy<S: Copy + Send + Sync>(x: Vector<'_, S>, y: VectorMut<'_, S>) {
    update(x, y, |x, _| x);
}

/// `x ↔ y`, bit for bit.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-swap>.
///
/// # Panics
/// If the vectors differ in length.
pub fn swap<S: Copy + Send + Sync>(x: VectorMut<'_, S>, y: VectorMut<'_, S>) {
    update_both(x, y, |x, y| (y, x));
}

/// `x ← α·x`; NaN and infinities propagate with α = 0 as well.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-scal>.
pub fn scal<S: BlasElement>(alpha: Factor<S::Exec>, mut x: VectorMut<'_, S>) {
    if let Some(slice) = x.slice_mut() {
        threads::for_each_chunk(slice, CHUNK, |_, chunk| {
            chunk.iter_mut().for_each(|x| *x = S::nearest(alpha.times(x.value())));
        });
        return;
    }
    for index in 0..x.len() {
        x.set(index, S::nearest(alpha.times(x.get(index).value())));
    }
}

fn update<S: Copy + Send + Sync>(
    x: Vector<'_, S>,
    mut y: VectorMut<'_, S>,
    new: impl Fn(S, S) -> S + Send + Sync,
) {
    assert_eq!(x.len(), y.len(), "vectors of the same length");
    if let (Some(x), Some(y)) = (x.slice(), y.slice_mut()) {
        threads::for_each_chunk(y, CHUNK, |start, chunk| {
            for (y, &x) in chunk.iter_mut().zip(&x[start..]) {
                *y = new(x, *y);
            }
        });
        return;
    }
    for index in 0..x.len() {
        y.set(index, new(x.get(index), y.get(index)));
    }
}

/// Replaces each pair of elements, in order.
pub(super) fn update_both<S: Copy>(
    mut x: VectorMut<'_, S>,
    mut y: VectorMut<'_, S>,
    new: impl Fn(S, S) -> (S, S),
) {
    assert_eq!(x.len(), y.len(), "vectors of the same length");
    if let (Some(x), Some(y)) = (x.slice_mut(), y.slice_mut()) {
        for (x, y) in x.iter_mut().zip(y) {
            (*x, *y) = new(*x, *y);
        }
        return;
    }
    for index in 0..x.len() {
        let (new_x, new_y) = new(x.get(index), y.get(index));
        x.set(index, new_x);
        y.set(index, new_y);
    }
}
