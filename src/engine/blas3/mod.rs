//! BLAS level 3 beside the general product, and what LAPACK builds on it: symmetric and triangular operands,
//! factorisations and solutions.
//!
//! All work is led back to [`gemm()`](crate::gemm()) on rectangles; loops of their own have only the blocks on
//! the diagonal. The rules of BLAS hold throughout: a β of 0 does not read the output, an α of 0 reads no other
//! operand, of a triangular or symmetric matrix only its own triangle is read, of a unit triangle not even the
//! diagonal, and of a triangular output only the triangle is written. NaN and infinities propagate; products with
//! the zeros of the other triangle are never formed.

mod batch;
mod copies;
mod factor;
mod field;
mod least_squares;
mod rank_update;
mod symmetric;
mod triangular;
mod view;

pub use batch::{
    System, for_each_matrix, least_squares_batch, lu_factor_batch, lu_invert_batch, lu_solve_batch,
    qr_factor_batch, singular_at_batch,
};
pub use copies::{matrix_add, pack_triangle, scale_by_diagonal, unpack_triangle};
pub use factor::{lu_factor, lu_invert, lu_solve, lu_solve_transposed, pivots_are_valid, singular_at};
pub use field::Field;
pub use least_squares::{least_squares, qr_factor};
pub use rank_update::{rank_2k_update, rank_k_update};
pub use symmetric::symmetric_product;
pub use triangular::{triangular_product, triangular_solve};
pub use view::{Diagonal, Side, Symmetry, Triangle, Triangular};
