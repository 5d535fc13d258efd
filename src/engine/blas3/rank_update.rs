//! Updates of a symmetric or Hermitian matrix by a product: BLAS's SYRK, HERK, SYR2K, HER2K and cuBLAS's SYRKX,
//! HERKX.
//!
//! The triangle is halved until blocks of [`BLOCK`] are left on its diagonal: the square beside the two halves is
//! one general product in place, a block on the diagonal one into memory of its own, of which the triangle is
//! taken.

use super::field::Field;
use super::view::{Symmetry, Triangle, columns, from, from_mut, shape, transposed};
use crate::dtype::Input;
use crate::gemm::gemm;
use crate::shape::{Conj, MatMut, MatRef};

/// Order of the blocks on the diagonal.
const BLOCK: usize = 96;

/// `C ← α·A·Bᵀ + β·C` (symmetric) or `C ← α·A·Bᴴ + β·C` (Hermitian) in one triangle of the n×n C; A and B are
/// n×k. With B = A it is SYRK, HERK; else the caller knows that the product has the symmetry.
///
/// A Hermitian result has a real diagonal, and imaginary parts there are not read; α and β must then be such
/// that it is Hermitian. With β = 1 and nothing to add (α = 0 or k = 0), C stays as it is.
///
/// # Panics
/// If an operand does not fit its slice.
pub fn rank_k_update<AB: Input<T>, T: Field>(
    triangle: Triangle,
    symmetry: Symmetry,
    n: usize,
    k: usize,
    alpha: T,
    a: MatRef<'_, AB>,
    b: MatRef<'_, AB>,
    beta: T,
    mut c: MatMut<'_, T>,
) {
    let k = if alpha == T::zero() { 0 } else { k };
    if n == 0 || (k == 0 && beta == T::one()) {
        return;
    }
    let b = transposed(b);
    let b = if symmetry == Symmetry::Hermitian { conjugated(b) } else { b };
    let update = Update { triangle, symmetry, k, alpha, beta };
    update.span(0, n, a, b, &mut c);
}

/// `C ← α·A·Bᵀ + α·B·Aᵀ + β·C` (symmetric) or `C ← α·A·Bᴴ + conj(α)·B·Aᴴ + β·C` (Hermitian, β real) in one
/// triangle of the n×n C; A and B are n×k.
///
/// # Panics
/// If an operand does not fit its slice.
pub fn rank_2k_update<AB: Input<T>, T: Field>(
    triangle: Triangle,
    symmetry: Symmetry,
    n: usize,
    k: usize,
    alpha: T,
    a: MatRef<'_, AB>,
    b: MatRef<'_, AB>,
    beta: T,
    mut c: MatMut<'_, T>,
) {
    rank_k_update(triangle, symmetry, n, k, alpha, a, b, beta, from_mut(&mut c, 0, 0));
    let mirrored = if symmetry == Symmetry::Hermitian { alpha.conj() } else { alpha };
    rank_k_update(triangle, symmetry, n, k, mirrored, b, a, T::one(), c);
}

fn conjugated<T>(matrix: MatRef<'_, T>) -> MatRef<'_, T> {
    let conjugate = if matrix.conjugate == Conj::Yes { Conj::No } else { Conj::Yes };
    MatRef { conjugate, ..matrix }
}

struct Update<T> {
    triangle: Triangle,
    symmetry: Symmetry,
    k: usize,
    alpha: T,
    beta: T,
}

impl<T: Field> Update<T> {
    /// The part of the triangle between two places of the diagonal; `b` is k×n.
    fn span<AB: Input<T>>(
        &self,
        first: usize,
        end: usize,
        a: MatRef<'_, AB>,
        b: MatRef<'_, AB>,
        c: &mut MatMut<'_, T>,
    ) {
        if end - first <= BLOCK {
            self.block(first, end - first, a, b, c);
            return;
        }
        let middle = first + (end - first).div_ceil(2 * BLOCK) * BLOCK;
        self.span(first, middle, a, b, c);
        self.span(middle, end, a, b, c);
        let (rows, cols) = match self.triangle {
            Triangle::Lower => (middle..end, first..middle),
            Triangle::Upper => (first..middle, middle..end),
        };
        gemm(
            shape(rows.len(), cols.len(), self.k),
            self.alpha,
            from(a, rows.start, 0),
            from(b, 0, cols.start),
            self.beta,
            from_mut(c, rows.start, cols.start),
        );
    }

    /// A block on the diagonal.
    fn block<AB: Input<T>>(
        &self,
        first: usize,
        size: usize,
        a: MatRef<'_, AB>,
        b: MatRef<'_, AB>,
        c: &mut MatMut<'_, T>,
    ) {
        let mut product = vec![T::zero(); size * size];
        let square = MatMut { data: &mut product, row_stride: 1, col_stride: size, batch_stride: 0 };
        let (rows, cols) = (from(a, first, 0), from(b, 0, first));
        gemm(shape(size, size, self.k), self.alpha, rows, cols, T::zero(), square);
        let product = columns(&product, size);
        for col in 0..size {
            for row in self.triangle.rows(col, size) {
                let index = (first + row) * c.row_stride + (first + col) * c.col_stride;
                let mut sum = product.data[row + col * size];
                if self.beta != T::zero() {
                    sum += self.beta * self.kept(c.data[index], row == col);
                }
                c.data[index] = self.kept(sum, row == col);
            }
        }
    }

    /// An element as it counts: the diagonal of a Hermitian matrix is real.
    fn kept(&self, element: T, on_diagonal: bool) -> T {
        match self.symmetry {
            Symmetry::Hermitian if on_diagonal => T::from_real(element.re()),
            _ => element,
        }
    }
}
