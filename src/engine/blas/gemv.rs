//! `y ← α·op(A)·x + β·y`, batched: a product of matrices one column wide.

use crate::dtype::{Accumulator, Input, Output};
use crate::gemm::{Kernel, gemm};
use crate::shape::{Conj, GemmShape, MatMut, MatRef};

/// A batch of vectors to read: element i of vector b is `data[b·batch_stride + i·step]`; with a negative step BLAS
/// counts from the far end.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Elements in a vector.
    pub len: usize,
    /// Places from element to element; not 0.
    pub step: isize,
    /// Places from vector to vector.
    pub batch_stride: usize,
}

/// A batch of vectors to write, as [`Vectors`]. No two elements may share a place.
#[derive(Debug)]
pub struct VectorsMut<'a, T> {
    /// The elements.
    pub data: &'a mut [T],
    /// Elements in a vector.
    pub len: usize,
    /// Places from element to element; not 0.
    pub step: isize,
    /// Places from vector to vector.
    pub batch_stride: usize,
}

/// `y ← α·A·x + β·y` for each of `batch` matrices, with `a` as it stands for op(A); the kernel that computed it.
/// β = 0 does not read y, α = 0 neither A nor x.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-gemv>, `#cublas-t-gemvbatched`.
///
/// # Panics
/// If an operand does not fit its slice or elements of y share a place.
pub fn gemv<AB: Input<Acc>, Out: Output<Acc>, Acc: Accumulator>(
    alpha: Acc,
    a: MatRef<'_, AB>,
    x: Vectors<'_, AB>,
    beta: Acc,
    y: VectorsMut<'_, Out>,
    batch: usize,
) -> Kernel {
    let shape = GemmShape { m: y.len, n: 1, k: x.len, batch };
    // Products know no negative strides: such vectors are turned round.
    let reversed;
    let x = if x.step < 0 && alpha != Acc::zero() {
        reversed = forwards(x, batch);
        Vectors { data: &reversed, step: 1, batch_stride: x.len, ..x }
    } else {
        x
    };
    let x_matrix = MatRef {
        data: x.data,
        row_stride: x.step.unsigned_abs(),
        col_stride: 0,
        batch_stride: x.batch_stride,
        conjugate: Conj::No,
    };
    let matrix = |data, row_stride, batch_stride| MatMut { data, row_stride, col_stride: 0, batch_stride };
    if y.step > 0 {
        return gemm(shape, alpha, a, x_matrix, beta, matrix(y.data, y.step as usize, y.batch_stride));
    }
    let (len, step, stride) = (y.len, y.step, y.batch_stride);
    let mut turned = forwards(Vectors { data: &*y.data, len, step, batch_stride: stride }, batch);
    let kernel = gemm(shape, alpha, a, x_matrix, beta, matrix(&mut turned, 1, len));
    for (index, &value) in turned.iter().enumerate() {
        let (vector, element) = (index / len, index % len);
        y.data[vector * stride + (len - 1 - element) * step.unsigned_abs()] = value;
    }
    kernel
}

/// The vectors one after the other, first element first.
fn forwards<T: Copy>(x: Vectors<'_, T>, batch: usize) -> Vec<T> {
    let step = x.step.unsigned_abs();
    let element = |vector: usize, index: usize| x.data[vector * x.batch_stride + (x.len - 1 - index) * step];
    (0..batch)
        .flat_map(|vector| (0..x.len).map(move |index| (vector, index)))
        .map(|(vector, index)| element(vector, index))
        .collect()
}
