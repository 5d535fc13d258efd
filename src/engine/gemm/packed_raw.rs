//! Products of packed operands: cut into tiles that threads fill independently, each tile summed block by block of
//! the depth by the innermost product, finished and rounded once.
//!
//! The vectors of the innermost product run along the output's rows or along its columns, whichever costs less to
//! pack and to write; the other operand is read as it lies where its depth is contiguous. How a product is cut is a
//! function of its shape, strides and types alone, and every element is summed in the order of the depth, so results
//! do not depend on the number of threads.
//!
//! Tiles of one product, and products of one batch, never share an element: see [`super::tiles_raw`].

#![allow(unsafe_code)]

use std::ops::Range;

use super::block_raw::SharedOutput;
use super::finish_raw::{Finish, Line};
use super::kernel_raw::PackedKernel;
use super::lines::Lines;
use super::micro_raw::{Keep, Size};
use crate::cut::{even, part};
use crate::dtype::{Accumulator, Input, Output};
use crate::shape::{GemmShape, MatMut, MatRef};
use crate::{scratch, threads};

/// The deepest block, packed elements: a panel of columns and one of rows share the first-level cache. A constant,
/// since sums are rounded between blocks.
const DEPTH: usize = 256;
/// The most rows and columns of a tile: its sums and its packed columns share the second-level cache.
const MOST_ROWS: usize = 240;
/// See [`MOST_ROWS`].
const MOST_COLUMNS: usize = 512;
/// Multiplications that make a task worth handing out.
const WORTH: usize = 1 << 19;
/// Tasks that a product is cut into if each of them is worth it.
const TASKS: usize = 16;

/// A product to compute.
pub struct Job<'a, AB, Acc, Out> {
    shape: GemmShape,
    left: Lines<'a, AB>,
    right: Lines<'a, AB>,
    along: Along,
    finish: &'a Finish<'a, Acc, Out>,
    output: SharedOutput<'a, Out>,
    places: Places,
}

/// Which way the vectors of the innermost product run in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Along a row: lines of the left operand are rows of A.
    Row,
    /// Along a column: lines of the left operand are columns of B.
    Column,
}

/// Where elements of the output lie.
#[derive(Clone, Copy)]
struct Places {
    line: usize,
    step: usize,
    batch: usize,
}

/// Computes `D ← act(α·A·B + β·C + bias)` of real numbers; the shape has no size of 0.
pub fn product<AB: Input<Acc>, Out: Output<Acc>, Acc: Accumulator>(
    shape: GemmShape,
    a: MatRef<'_, AB>,
    b: MatRef<'_, AB>,
    finish: &Finish<'_, Acc, Out>,
    d: MatMut<'_, Out>,
) {
    let along = cheaper(shape, &a, &b, &d);
    let (rows, columns) = (Lines::rows(&a), Lines::columns(&b));
    let batch = d.batch_stride;
    let (left, right, places) = match along {
        Along::Row => (rows, columns, Places { line: d.row_stride, step: d.col_stride, batch }),
        Along::Column => (columns, rows, Places { line: d.col_stride, step: d.row_stride, batch }),
    };
    AB::packed_product(&Job { shape, left, right, along, finish, output: SharedOutput::new(d.data), places });
}

/// The direction that has less to pack, and to write against the grain.
fn cheaper<AB, Out>(shape: GemmShape, a: &MatRef<'_, AB>, b: &MatRef<'_, AB>, d: &MatMut<'_, Out>) -> Along {
    // What an element costs, in elements copied along the grain.
    const TURNED: usize = 3;
    let packed = |length: usize, stride: usize| length * shape.k * if stride == 1 { 1 } else { TURNED };
    let written = |stride: usize| shape.m * shape.n * if stride == 1 { 1 } else { TURNED };
    // The left operand is packed as well unless it lies along the depth.
    let left = |length: usize, stride: usize| if stride == 1 { 0 } else { length * shape.k };
    let row = packed(shape.n, b.col_stride) + left(shape.m, a.col_stride) + written(d.col_stride);
    let column = packed(shape.m, a.row_stride) + left(shape.n, b.row_stride) + written(d.row_stride);
    if column < row { Along::Column } else { Along::Row }
}

/// How a product is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    rows: usize,
    columns: usize,
}

impl Tile {
    /// Tiles of `rows` × `columns` of a batch, as large as caches allow and as many as make work for many threads;
    /// whole tiles of the innermost product, `unit_rows` × `unit_columns`.
    fn of([lines, steps]: [usize; 2], shape: GemmShape, [unit_rows, unit_columns]: [usize; 2]) -> Tile {
        let mut rows = even(lines, MOST_ROWS, unit_rows);
        let mut columns = even(steps, MOST_COLUMNS, unit_columns);
        let few = |rows: usize, columns: usize| {
            shape.batch * lines.div_ceil(rows) * steps.div_ceil(columns) < TASKS
                && rows * columns * shape.k / 2 > WORTH
        };
        while few(rows, columns) && columns > 4 * unit_columns {
            columns = (columns / 2).next_multiple_of(unit_columns);
        }
        while few(rows, columns) && rows > 4 * unit_rows {
            rows = (rows / 2).next_multiple_of(unit_rows);
        }
        while few(rows, columns) && columns > unit_columns {
            columns = (columns / 2).next_multiple_of(unit_columns);
        }
        Tile { rows, columns }
    }
}

/// How the right operand is packed: for each matrix and block of the depth, panel by panel.
#[derive(Clone, Copy)]
struct Packing {
    /// Depths of a block.
    block: usize,
    /// Depths in a packed element.
    fold: usize,
    /// Columns of a panel.
    width: usize,
    /// Depth of all.
    depth: usize,
}

impl Packing {
    /// Elements of a full panel of a block.
    fn panel(self) -> usize {
        self.block.div_ceil(self.fold) * self.width
    }

    fn blocks(self) -> usize {
        self.depth.div_ceil(self.block)
    }

    /// Elements of `columns` columns over the whole depth.
    fn whole(self, columns: usize) -> usize {
        self.blocks() * columns.div_ceil(self.width) * self.panel()
    }
}

impl<AB: Input<Acc>, Acc: Accumulator, Out: Output<Acc>> Job<'_, AB, Acc, Out> {
    /// Computes the product by this kernel.
    pub fn run<K: PackedKernel<AB, Acc>>(&self, kernel: K) {
        let GemmShape { m, n, k, batch } = self.shape;
        let [lines, steps] = match self.along {
            Along::Row => [m, n],
            Along::Column => [n, m],
        };
        let deepest = DEPTH * K::FOLD;
        // Equal blocks, of whole pairs.
        let block = k.div_ceil(k.div_ceil(deepest)).next_multiple_of(K::FOLD);
        let packing = Packing { block, fold: K::FOLD, width: kernel.columns(), depth: k };
        let tile = Tile::of([lines, steps], self.shape, [kernel.rows(), kernel.columns()]);
        let matrices = if self.right.is_shared() { 1 } else { batch };
        let all = matrices * packing.whole(steps);
        let several = lines > tile.rows || matrices < batch;
        if several && all <= scratch::elements::<f32>(scratch::Use::Shared) {
            scratch::with(all, |packed: &mut [K::Element]| {
                self.pack(kernel, packing, steps, matrices, packed);
                self.tiles(kernel, packing, tile, [lines, steps], Some(packed));
            });
        } else {
            self.tiles(kernel, packing, tile, [lines, steps], None);
        }
    }

    /// Packs the whole right operand of each matrix.
    fn pack<K: PackedKernel<AB, Acc>>(
        &self,
        kernel: K,
        packing: Packing,
        steps: usize,
        matrices: usize,
        packed: &mut [K::Element],
    ) {
        let panels = steps.div_ceil(packing.width);
        threads::for_each_chunk(packed, packing.panel(), |first, out| {
            let number = first / packing.panel();
            let (panel, number) = (number % panels, number / panels);
            let (block, matrix) = (number % packing.blocks(), number / packing.blocks());
            debug_assert!(matrix < matrices);
            let depth = part(block, packing.block, packing.depth);
            let columns = part(panel, packing.width, steps);
            kernel.right(&self.right.stretch(matrix, columns, depth), out);
        });
    }

    /// Computes every tile, its columns of the right operand from `packed` if they are there.
    fn tiles<K: PackedKernel<AB, Acc>>(
        &self,
        kernel: K,
        packing: Packing,
        tile: Tile,
        [lines, steps]: [usize; 2],
        packed: Option<&[K::Element]>,
    ) {
        let (down, across) = (lines.div_ceil(tile.rows), steps.div_ceil(tile.columns));
        let whole_panels = steps.div_ceil(packing.width);
        threads::for_each(self.shape.batch * down * across, |task| {
            let matrix = task / (down * across);
            let rows = part(task % down, tile.rows, lines);
            let columns = part(task / down % across, tile.columns, steps);
            let panels = columns.len().div_ceil(packing.width);
            let pitch = panels * packing.width;
            let own = if packed.is_some() { 0 } else { panels * packing.panel() };
            let left = kernel.rows() * packing.block.div_ceil(packing.fold);
            scratch::with(own + left, |scratch: &mut [K::Element]| {
                scratch::with(rows.len() * pitch, |sums: &mut [Acc]| {
                    let (own, left) = scratch.split_at_mut(own);
                    for number in 0..packing.blocks() {
                        let depth = part(number, packing.block, packing.depth);
                        let right = if let Some(packed) = packed {
                            let matrix = if self.right.is_shared() { 0 } else { matrix };
                            let first = (matrix * packing.blocks() + number) * whole_panels
                                + columns.start / packing.width;
                            &packed[first * packing.panel()..][..panels * packing.panel()]
                        } else {
                            for (panel, out) in own.chunks_exact_mut(packing.panel()).enumerate() {
                                let own = part(panel, packing.width, columns.len());
                                let own = columns.start + own.start..columns.start + own.end;
                                kernel.right(&self.right.stretch(matrix, own, depth.clone()), out);
                            }
                            &*own
                        };
                        let keep = if number == 0 { Keep::Nothing } else { Keep::Sums };
                        self.block(
                            kernel,
                            packing,
                            matrix,
                            &rows,
                            columns.len(),
                            depth,
                            right,
                            left,
                            keep,
                            sums,
                        );
                    }
                    self.write(matrix, rows.clone(), columns.clone(), sums, pitch);
                });
            });
        });
    }

    /// Adds a block of the depth to the sums of a tile.
    fn block<K: PackedKernel<AB, Acc>>(
        &self,
        kernel: K,
        packing: Packing,
        matrix: usize,
        rows: &Range<usize>,
        columns: usize,
        depth: Range<usize>,
        right: &[K::Element],
        scratch: &mut [K::Element],
        keep: Keep,
        sums: &mut [Acc],
    ) {
        let pitch = columns.div_ceil(packing.width) * packing.width;
        // Rows in equal parts, so that no part is left with a row or two.
        let parts = rows.len().div_ceil(kernel.rows());
        let row = |number: usize| number * rows.len() / parts;
        for number in 0..parts {
            let own = row(number)..row(number + 1);
            let stretch =
                self.left.stretch(matrix, rows.start + own.start..rows.start + own.end, depth.clone());
            let a = kernel.left(&stretch, scratch);
            for (panel, b) in right.chunks_exact(packing.panel()).enumerate() {
                let width = packing.width.min(columns - panel * packing.width);
                let size =
                    Size { rows: own.len(), columns: width, depth: depth.len().div_ceil(packing.fold) };
                let sums = &mut sums[own.start * pitch + panel * packing.width..];
                assert!((own.len() - 1) * pitch + kernel.written(width) <= sums.len());
                // SAFETY: just asserted that the rows fit; the sums are this task's own, and initialised, any bits
                // being a value.
                unsafe { kernel.product(size, a, b, keep, sums.as_mut_ptr(), pitch) };
            }
        }
    }

    /// Finishes the sums of a tile and writes them.
    fn write(
        &self,
        matrix: usize,
        rows: Range<usize>,
        columns: Range<usize>,
        sums: &mut [Acc],
        pitch: usize,
    ) {
        for (line, sums) in rows.zip(sums.chunks_exact_mut(pitch)) {
            let (row, col) = match self.along {
                Along::Row => (line, columns.start),
                Along::Column => (columns.start, line),
            };
            let first =
                matrix * self.places.batch + line * self.places.line + columns.start * self.places.step;
            let line = Line { at: [matrix, row, col], along: self.along, first, stride: self.places.step };
            // SAFETY: this tile's elements are this task's alone.
            unsafe { self.finish.write(line, &mut sums[..columns.len()], &self.output) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_whole_kernels_and_many_where_that_is_worth_it() {
        let shape = |m, n, k| GemmShape { m, n, k, batch: 1 };
        let units = [12, 32];
        assert_eq!(Tile::of([2048, 2048], shape(2048, 2048, 2048), units), Tile { rows: 228, columns: 512 });
        assert_eq!(Tile::of([20, 20], shape(20, 20, 20), units), Tile { rows: 24, columns: 32 });
        let tile = Tile::of([1024, 32], shape(1024, 32, 1024), units);
        assert!(1024usize.div_ceil(tile.rows) >= 8 && tile.columns == 32, "{tile:?}");
    }
}
