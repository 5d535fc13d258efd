//! Operands with a structure, and the small steps on strided views that all of this folder shares.

use super::field::Field;
pub use crate::blas::{Diagonal, Triangle};
use crate::shape::{Conj, GemmShape, MatMut, MatRef};

/// On which side of the general operand the structured one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A·B.
    Left,
    /// B·A.
    Right,
}

impl Triangle {
    /// That of the transposed matrix.
    #[must_use]
    pub fn transposed(self) -> Triangle {
        match self {
            Triangle::Lower => Triangle::Upper,
            Triangle::Upper => Triangle::Lower,
        }
    }

    /// Its rows in column `column` of an n×n matrix.
    pub fn rows(self, column: usize, n: usize) -> std::ops::Range<usize> {
        match self {
            Triangle::Lower => column..n,
            Triangle::Upper => 0..column + 1,
        }
    }
}

/// How the other triangle follows from the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symmetry {
    /// `a(j, i) = a(i, j)`.
    Symmetric,
    /// `a(j, i) = conj(a(i, j))`, imaginary parts of the diagonal taken as 0.
    Hermitian,
}

/// A triangular matrix to read.
#[derive(Debug)]
pub struct Triangular<'a, T> {
    /// The elements.
    pub matrix: MatRef<'a, T>,
    /// Where they are.
    pub triangle: Triangle,
    /// What the diagonal is.
    pub diagonal: Diagonal,
}

impl<T> Clone for Triangular<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Triangular<'_, T> {}

impl<T> Triangular<'_, T> {
    /// The transposed matrix: strides swapped, the other triangle.
    #[must_use]
    pub fn transposed(self) -> Self {
        Triangular { matrix: transposed(self.matrix), triangle: self.triangle.transposed(), ..self }
    }
}

/// The transposed view.
pub fn transposed<T>(matrix: MatRef<'_, T>) -> MatRef<'_, T> {
    MatRef { row_stride: matrix.col_stride, col_stride: matrix.row_stride, ..matrix }
}

/// A column-major view.
pub fn columns<T>(data: &[T], ld: usize) -> MatRef<'_, T> {
    MatRef { data, row_stride: 1, col_stride: ld, batch_stride: 0, conjugate: Conj::No }
}

/// The part of a matrix that begins at this row and column; the matrix itself where nothing is left.
pub fn from<T>(matrix: MatRef<'_, T>, row: usize, col: usize) -> MatRef<'_, T> {
    let start = row * matrix.row_stride + col * matrix.col_stride;
    MatRef { data: matrix.data.get(start..).unwrap_or(&[]), ..matrix }
}

/// The same of a matrix that is written, borrowed anew.
pub fn from_mut<'b, T>(matrix: &'b mut MatMut<'_, T>, row: usize, col: usize) -> MatMut<'b, T> {
    let (row_stride, col_stride) = (matrix.row_stride, matrix.col_stride);
    let data = matrix.data.get_mut(row * row_stride + col * col_stride..).unwrap_or_default();
    MatMut { data, row_stride, col_stride, batch_stride: 0 }
}

/// A matrix that is written, to be read for a moment.
pub fn read<'b, T>(matrix: &'b MatMut<'_, T>) -> MatRef<'b, T> {
    let MatMut { data, row_stride, col_stride, batch_stride } = matrix;
    let (row_stride, col_stride, batch_stride) = (*row_stride, *col_stride, *batch_stride);
    MatRef { data, row_stride, col_stride, batch_stride, conjugate: Conj::No }
}

/// One element, conjugated if the view says so.
pub fn at<T: Field>(matrix: &MatRef<'_, T>, row: usize, col: usize) -> T {
    let element = matrix.data[row * matrix.row_stride + col * matrix.col_stride];
    if matrix.conjugate == Conj::Yes { element.conj() } else { element }
}

/// One product of this shape.
pub fn shape(m: usize, n: usize, k: usize) -> GemmShape {
    GemmShape { m, n, k, batch: 1 }
}

/// `target += factor · source`, along both.
pub fn add_scaled<T: Field>(target: &mut [T], factor: T, source: &[T]) {
    for (target, &source) in target.iter_mut().zip(source) {
        *target += factor * source;
    }
}

/// `C ← β·C`; a β of 0 does not read C, one of 1 does nothing.
pub fn scale<T: Field>(c: &mut MatMut<'_, T>, m: usize, n: usize, beta: T) {
    if beta == T::one() {
        return;
    }
    for col in 0..n {
        for row in 0..m {
            let place = &mut c.data[row * c.row_stride + col * c.col_stride];
            *place = if beta == T::zero() { T::zero() } else { beta * *place };
        }
    }
}

/// An n×n triangle as columns one after another, conjugated where the view says so, zeros in the other
/// triangle, ones on a unit diagonal.
pub fn dense<T: Field>(a: &Triangular<'_, T>, first: usize, size: usize) -> Vec<T> {
    let mut block = vec![T::zero(); size * size];
    for (col, column) in block.chunks_exact_mut(size.max(1)).enumerate() {
        for row in a.triangle.rows(col, size) {
            column[row] = if row == col && a.diagonal == Diagonal::Unit {
                T::one()
            } else {
                at(&a.matrix, first + row, first + col)
            };
        }
    }
    block
}
