//! The output, cut into tiles that threads fill independently.
//!
//! Tiles of one product, and products of one batch, never share an element: tiles partition the m×n
//! rectangle and `contract::check` has asserted that the map from (batch, row, column) to places is
//! one-to-one. That is what every `SAFETY` comment here leans on.

#![allow(unsafe_code)]

use std::ops::Range;

use super::block_raw::{Block, SharedOutput, accumulate};
use super::finish_raw::{Finish, Line};
use super::host_raw::{self, HostBlas, Plan};
use super::packed_raw::Along;
use super::panel::Panel;
use super::select::{strip, tile};
use super::skinny;
use crate::cut::part;
use crate::dtype::{Accumulator, Input, Output};
use crate::shape::{GemmShape, MatMut, MatRef};
use crate::threads;

/// Depth of a panel: with tiles of 256, two panels of f32 take 1 MiB, the second-level cache's size.
const PANEL_DEPTH: usize = 512;

/// One tile of one product.
pub struct Tile {
    /// The product's number in the batch.
    pub batch: usize,
    /// Rows of the output.
    pub rows: Range<usize>,
    /// Columns of the output.
    pub cols: Range<usize>,
}

/// The tiles of a batch of products, numbered.
struct Tiling {
    shape: GemmShape,
    rows: usize,
    cols: usize,
}

impl Tiling {
    fn of(shape: GemmShape, (rows, cols): (usize, usize)) -> Tiling {
        Tiling { shape, rows, cols }
    }

    fn count(&self) -> usize {
        self.shape.m.div_ceil(self.rows) * self.shape.n.div_ceil(self.cols) * self.shape.batch
    }

    fn get(&self, index: usize) -> Tile {
        let down = self.shape.m.div_ceil(self.rows);
        let across = self.shape.n.div_ceil(self.cols);
        Tile {
            batch: index / (down * across),
            rows: part(index % down, self.rows, self.shape.m),
            cols: part(index / down % across, self.cols, self.shape.n),
        }
    }
}

/// Strides of the output: where (batch, row, column) lies.
#[derive(Clone, Copy)]
struct Places {
    row: usize,
    col: usize,
    batch: usize,
}

impl Places {
    fn of<T>(output: &MatMut<'_, T>) -> Places {
        Places { row: output.row_stride, col: output.col_stride, batch: output.batch_stride }
    }

    fn index(self, [batch, row, col]: [usize; 3]) -> usize {
        batch * self.batch + row * self.row + col * self.col
    }
}

/// No product: `D ← act(β·C + bias)`.
pub fn scale<Out: Output<Acc>, Acc: Accumulator>(
    shape: GemmShape,
    finish: &Finish<'_, Acc, Out>,
    d: MatMut<'_, Out>,
) {
    // α does not count: it may be infinite where there is no depth.
    let finish = Finish { alpha: Acc::zero(), ..*finish };
    each_tile(&Tiling::of(shape, tile(shape)), &finish, d, |tile| {
        vec![Acc::zero(); tile.rows.len() * tile.cols.len()]
    });
}

/// One type throughout, and matrices as a BLAS takes them: the process's own BLAS.
pub fn by_host<AB: Input<Acc>, Out: Output<Acc>, Acc: Accumulator>(
    blas: &HostBlas,
    plan: Plan,
    shape: GemmShape,
    a: MatRef<'_, AB>,
    b: MatRef<'_, AB>,
    finish: &Finish<'_, Acc, Out>,
    d: MatMut<'_, Out>,
) {
    let (a, b, d) = as_accumulators(a, b, d);
    host_raw::product(blas, shape, plan, [finish.alpha, finish.beta], a, b, d);
}

/// Operands that were selected for being of the accumulator's type.
fn as_accumulators<'a, AB: Input<Acc>, Out: Output<Acc>, Acc: Accumulator>(
    a: MatRef<'a, AB>,
    b: MatRef<'a, AB>,
    d: MatMut<'a, Out>,
) -> (MatRef<'a, Acc>, MatRef<'a, Acc>, MatMut<'a, Acc>) {
    let of = |matrix: MatRef<'a, AB>| {
        let MatRef { data, row_stride, col_stride, batch_stride, conjugate } = matrix;
        let Some(same) = AB::as_accumulators(data) else {
            unreachable!("selected only for operands of the accumulator's type")
        };
        assert_eq!(same.len(), data.len(), "the same slice as another type");
        MatRef { data: same, row_stride, col_stride, batch_stride, conjugate }
    };
    let MatMut { data, row_stride, col_stride, batch_stride } = d;
    let length = data.len();
    let Some(data) = Out::as_accumulators_mut(data) else {
        unreachable!("selected only for an output of the accumulator's type")
    };
    assert_eq!(length, data.len(), "the same slice as another type");
    (of(a), of(b), MatMut { data, row_stride, col_stride, batch_stride })
}

/// One type throughout: matrixmultiply forms each tile in place.
pub fn direct<AB: Input<Acc>, Out: Output<Acc>, Acc: Accumulator>(
    shape: GemmShape,
    a: MatRef<'_, AB>,
    b: MatRef<'_, AB>,
    finish: &Finish<'_, Acc, Out>,
    d: MatMut<'_, Out>,
) {
    let places = Places::of(&d);
    let (a, b, d) = as_accumulators(a, b, d);
    let (a_data, b_data, d_data) = (a.data, b.data, d.data);
    let output = SharedOutput::new(d_data);
    let tiling = Tiling::of(shape, tile(shape));
    threads::for_each(tiling.count(), |index| {
        let tile = tiling.get(index);
        let a = Block {
            data: &a_data[tile.batch * a.batch_stride + tile.rows.start * a.row_stride..],
            row_stride: a.row_stride,
            col_stride: a.col_stride,
        };
        let b = Block {
            data: &b_data[tile.batch * b.batch_stride + tile.cols.start * b.col_stride..],
            row_stride: b.row_stride,
            col_stride: b.col_stride,
        };
        let sizes = [tile.rows.len(), tile.cols.len(), shape.k];
        let first = places.index([tile.batch, tile.rows.start, tile.cols.start]);
        // SAFETY: this tile's elements are this task's alone.
        let c = unsafe { output.place(first) };
        let strides = [places.row, places.col];
        // SAFETY: `contract::check` has compared the extents of all three operands with their slices; the
        // output is borrowed mutably by `output`, so it overlaps neither A nor B.
        unsafe { Acc::product(sizes, finish.alpha, a, b, finish.beta, c, strides) };
    });
}

/// Any types: panels are widened, each tile is accumulated over the whole depth, finished, and rounded once.
pub fn widened<AB: Input<Acc>, Out: Output<Acc>, Acc: Accumulator>(
    shape: GemmShape,
    a: MatRef<'_, AB>,
    b: MatRef<'_, AB>,
    finish: &Finish<'_, Acc, Out>,
    d: MatMut<'_, Out>,
) {
    each_tile(&Tiling::of(shape, tile(shape)), finish, d, |tile| {
        let (height, width) = (tile.rows.len(), tile.cols.len());
        let (mut panel_a, mut panel_b) = (Panel::new(), Panel::new());
        let mut sums = vec![Acc::zero(); height * width];
        for start in (0..shape.k).step_by(PANEL_DEPTH) {
            let depth = start..(start + PANEL_DEPTH).min(shape.k);
            panel_a.fill(&a, tile.batch, tile.rows.clone(), depth.clone());
            panel_b.fill(&b, tile.batch, depth.clone(), tile.cols.clone());
            let keep = if start == 0 { Acc::zero() } else { Acc::from_f64(1.0) };
            let sizes = [height, width, depth.len()];
            accumulate(sizes, Acc::from_f64(1.0), panel_a.block(), panel_b.block(), keep, &mut sums);
        }
        sums
    });
}

/// Few rows or few columns: see [`skinny`].
pub fn skinny<AB: Input<Acc>, Out: Output<Acc>, Acc: Accumulator>(
    shape: GemmShape,
    a: MatRef<'_, AB>,
    b: MatRef<'_, AB>,
    finish: &Finish<'_, Acc, Out>,
    d: MatMut<'_, Out>,
) {
    each_tile(&Tiling::of(shape, strip(shape)), finish, d, |tile| skinny::sums(shape, &a, &b, tile));
}

/// Finishes and writes the sums of products that `sums` makes of each tile, by rows.
fn each_tile<Out: Output<Acc>, Acc: Accumulator>(
    tiling: &Tiling,
    finish: &Finish<'_, Acc, Out>,
    d: MatMut<'_, Out>,
    sums: impl Fn(&Tile) -> Vec<Acc> + Send + Sync,
) {
    let places = Places::of(&d);
    let output = SharedOutput::new(d.data);
    threads::for_each(tiling.count(), |index| {
        let tile = tiling.get(index);
        let (height, width) = (tile.rows.len(), tile.cols.len());
        // A single column is one line rather than many.
        let (along, length, stride) =
            if width == 1 { (Along::Column, height, places.row) } else { (Along::Row, width, places.col) };
        for (number, sums) in sums(&tile).chunks_exact_mut(length).enumerate() {
            let at = [tile.batch, tile.rows.start + number, tile.cols.start];
            let line = Line { at, along, first: places.index(at), stride };
            // SAFETY: this tile's elements are this task's alone.
            unsafe { finish.write(line, sums, &output) };
        }
    });
}
