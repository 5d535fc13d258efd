//! The operands of a packed product: lines (rows of the left one, columns of the right one) over a depth.

use std::ops::Range;

use crate::shape::{Conj, MatRef};

/// A batch of matrices, each of lines over the depth.
#[derive(Debug)]
pub struct Lines<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Elements from line to line.
    pub line_stride: usize,
    /// Elements from one depth to the next.
    pub depth_stride: usize,
    batch_stride: usize,
}

impl<T> Clone for Lines<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Lines<'_, T> {}

impl<'a, T> Lines<'a, T> {
    /// The rows of A.
    pub fn rows(a: &MatRef<'a, T>) -> Lines<'a, T> {
        assert!(a.conjugate == Conj::No, "packed products are of real numbers");
        let MatRef { data, row_stride, col_stride, batch_stride, .. } = *a;
        Lines { data, line_stride: row_stride, depth_stride: col_stride, batch_stride }
    }

    /// The columns of B.
    pub fn columns(b: &MatRef<'a, T>) -> Lines<'a, T> {
        let transposed = MatRef { row_stride: b.col_stride, col_stride: b.row_stride, ..*b };
        Lines::rows(&transposed)
    }

    /// Whether one matrix serves the whole batch.
    pub fn is_shared(&self) -> bool {
        self.batch_stride == 0
    }

    /// These lines over this depth, neither of them empty.
    pub fn stretch(&self, batch: usize, lines: Range<usize>, depth: Range<usize>) -> Stretch<'a, T> {
        let first =
            batch * self.batch_stride + lines.start * self.line_stride + depth.start * self.depth_stride;
        Stretch {
            data: &self.data[first..],
            lines: lines.len(),
            depth: depth.len(),
            line_stride: self.line_stride,
            depth_stride: self.depth_stride,
        }
    }
}

/// Some lines over a part of the depth.
#[derive(Debug)]
pub struct Stretch<'a, T> {
    /// The elements, from the first on.
    pub data: &'a [T],
    /// How many lines.
    pub lines: usize,
    /// How deep.
    pub depth: usize,
    /// Elements from line to line.
    pub line_stride: usize,
    /// Elements from one depth to the next.
    pub depth_stride: usize,
}

impl<T: Copy> Stretch<'_, T> {
    /// Whether lines lie so far apart that the same depth of all of them falls into one set of the first-level cache,
    /// where they would push each other out.
    pub fn crowd(&self) -> bool {
        /// Bytes after which sets come again, halved, so that two sets count as crowded too.
        const AGAIN: usize = 2048;
        self.lines > 4 && (self.line_stride * size_of::<T>()).is_multiple_of(AGAIN)
    }

    /// The element of a line at a depth.
    pub fn at(&self, line: usize, depth: usize) -> T {
        self.data[line * self.line_stride + depth * self.depth_stride]
    }

    /// A line as it lies, where the depth is contiguous.
    pub fn line(&self, line: usize) -> &[T] {
        &self.data[line * self.line_stride..][..self.depth]
    }

    /// All lines at a depth as they lie, where they are contiguous.
    pub fn across(&self, depth: usize) -> &[T] {
        &self.data[depth * self.depth_stride..][..self.lines]
    }
}
