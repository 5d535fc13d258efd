//! Panels: a part of an operand, widened to the accumulator's type and conjugated if asked.

use crate::dtype::{Accumulator, Input};
use crate::gemm::block_raw::Block;
use crate::shape::{Conj, MatRef};

/// A packed copy of a rectangle of an operand.
pub struct Panel<Acc> {
    data: Vec<Acc>,
    row_stride: usize,
    col_stride: usize,
}

impl<Acc: Accumulator> Panel<Acc> {
    /// An empty panel, to be filled again and again.
    pub fn new() -> Panel<Acc> {
        Panel { data: Vec::new(), row_stride: 1, col_stride: 1 }
    }

    /// Copies rows `rows` and columns `cols` of matrix `batch`, along the operand's contiguous direction.
    pub fn fill<T: Input<Acc>>(
        &mut self,
        operand: &MatRef<'_, T>,
        batch: usize,
        rows: std::ops::Range<usize>,
        cols: std::ops::Range<usize>,
    ) {
        let (height, width) = (rows.len(), cols.len());
        let by_rows = operand.col_stride == 1 && operand.row_stride != 1;
        (self.row_stride, self.col_stride) = if by_rows { (width, 1) } else { (1, height) };
        self.data.clear();
        self.data.resize(height * width, Acc::zero());
        let origin =
            batch * operand.batch_stride + rows.start * operand.row_stride + cols.start * operand.col_stride;
        // Runs go along columns, or along rows where only those are contiguous.
        let (run, step, stride) = if by_rows {
            (width, operand.row_stride, operand.col_stride)
        } else {
            (height, operand.col_stride, operand.row_stride)
        };
        if run == 0 {
            return;
        }
        for (index, target) in self.data.chunks_exact_mut(run).enumerate() {
            widen(operand, origin + index * step, stride, target);
        }
    }

    /// The panel as a block.
    pub fn block(&self) -> Block<'_, Acc> {
        Block { data: &self.data, row_stride: self.row_stride, col_stride: self.col_stride }
    }
}

/// Widens (and conjugates, if asked) `target.len()` elements from `first` on, `stride` apart.
pub fn widen<T: Input<Acc>, Acc: Accumulator>(
    operand: &MatRef<'_, T>,
    first: usize,
    stride: usize,
    target: &mut [Acc],
) {
    if stride == 1 {
        T::widen_run(&operand.data[first..first + target.len()], target);
    } else {
        for (index, target) in target.iter_mut().enumerate() {
            *target = operand.data[first + index * stride].widen();
        }
    }
    if operand.conjugate == Conj::Yes {
        for element in target {
            *element = element.conj();
        }
    }
}
