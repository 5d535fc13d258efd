//! Shapes and strided operands.

/// Sizes of a batch of products `C[m×n] ← A[m×k]·B[k×n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GemmShape {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// How many products.
    pub batch: usize,
}

/// Whether an operand's elements are conjugated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conj {
    /// As they are.
    No,
    /// Conjugated; the same for real elements.
    Yes,
}

/// A batch of matrices to read: element (i, j) of matrix b is
/// `data[b·batch_stride + i·row_stride + j·col_stride]`.
///
/// A transposed operand swaps its strides; a batch stride of 0 is one matrix for the whole batch.
#[derive(Debug)]
pub struct MatRef<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Elements from row to row.
    pub row_stride: usize,
    /// Elements from column to column.
    pub col_stride: usize,
    /// Elements from matrix to matrix.
    pub batch_stride: usize,
    /// Whether to conjugate.
    pub conjugate: Conj,
}

impl<T> Clone for MatRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for MatRef<'_, T> {}

/// A batch of matrices to write; strides as in [`MatRef`]. No two elements may share a place.
#[derive(Debug)]
pub struct MatMut<'a, T> {
    /// The elements.
    pub data: &'a mut [T],
    /// Elements from row to row.
    pub row_stride: usize,
    /// Elements from column to column.
    pub col_stride: usize,
    /// Elements from matrix to matrix.
    pub batch_stride: usize,
}
