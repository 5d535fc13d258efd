//! Products with a symmetric or Hermitian matrix: BLAS's SYMM and HEMM.

use super::field::Field;
use super::view::{Side, Symmetry, Triangle, at, columns};
use crate::gemm::{Kernel, gemm};
use crate::shape::{GemmShape, MatMut, MatRef};

/// `C ← α·A·B + β·C`, or `C ← α·B·A + β·C` with A on the right; B and C are m×n, A is symmetric or Hermitian and
/// given by one triangle. The kernel of the product.
///
/// The other triangle is written out once, so that one general product does the rest.
///
/// # Panics
/// If an operand does not fit its slice.
pub fn symmetric_product<T: Field>(
    side: Side,
    triangle: Triangle,
    symmetry: Symmetry,
    m: usize,
    n: usize,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: MatMut<'_, T>,
) -> Kernel {
    let order = if side == Side::Left { m } else { n };
    let depth = if alpha == T::zero() { 0 } else { order };
    let full = if depth == 0 { Vec::new() } else { expand(&a, triangle, symmetry, order) };
    let full = columns(&full, order);
    let shape = GemmShape { m, n, k: depth, batch: 1 };
    let (left, right) = if side == Side::Left { (full, b) } else { (b, full) };
    gemm(shape, alpha, left, right, beta, c)
}

/// All n×n elements, column by column.
fn expand<T: Field>(a: &MatRef<'_, T>, triangle: Triangle, symmetry: Symmetry, n: usize) -> Vec<T> {
    let mut full = vec![T::zero(); n * n];
    for col in 0..n {
        for row in triangle.rows(col, n) {
            let element = at(a, row, col);
            let (element, mirrored) = match symmetry {
                Symmetry::Symmetric => (element, element),
                Symmetry::Hermitian if row == col => (T::from_real(element.re()), T::from_real(element.re())),
                Symmetry::Hermitian => (element, element.conj()),
            };
            full[row * n + col] = mirrored;
            full[col * n + row] = element;
        }
    }
    full
}
