//! Products of an [`Operand`] with another, cut into tiles that threads fill independently.
//!
//! `C[g, i, j] = Σ_l A[g, i, l]·B[g, j, l]`. A task fills one tile of C: for each block of the depth it packs
//! its columns of B once and goes through its rows of A a few at a time. Tasks never share an element: tiles
//! partition the rows and columns of each group, and the map from (group, row, column) to places is
//! one-to-one because the output tensor's is. That is what every `SAFETY` comment here leans on.

#![allow(unsafe_code)]

use std::ops::Range;

use super::operand::{Operand, Panels, Places, copy_run};
use crate::cut::{even, part};
use crate::gemm::block_raw::SharedOutput;
use crate::gemm::micro_raw::{Keep, MOST_COLUMNS, MOST_ROWS, Micro, Panel, Size};
use crate::tensor::Real;
use crate::{scratch, threads};

/// The deepest block: a panel of columns and one of rows share the first-level cache. A constant, since
/// sums are rounded between blocks.
const DEPTH: usize = 288;
/// The most rows and columns of a tile.
const SIDE: usize = 512;
/// Multiplications that make a task worth handing out.
const WORTH: usize = 1 << 21;
/// Tasks that a product is cut into if each of them is worth it.
const TASKS: usize = 16;

/// Sizes of a product.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Independent products.
    pub groups: usize,
    /// Rows of C.
    pub rows: usize,
    /// Columns of C.
    pub columns: usize,
    /// What is summed over.
    pub depth: usize,
    /// Parts that the depth is cut into; each has a C of its own.
    pub spans: usize,
}

impl Shape {
    /// The part of the depth that a span sums.
    fn span(&self, span: usize) -> Range<usize> {
        part(span, self.depth.div_ceil(self.spans), self.depth)
    }
}

/// Where C lies.
pub struct Target<'a, R> {
    /// The elements.
    pub output: &'a SharedOutput<'a, R>,
    /// Place of the first.
    pub first: usize,
    /// Elements from group to group.
    pub group_stride: usize,
    /// Elements from span to span.
    pub span_stride: usize,
    /// Where rows lie.
    pub rows: Places,
    /// Where columns lie.
    pub columns: Places,
}

/// How a product is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    rows: usize,
    columns: usize,
    packing: Packing,
}

/// When the columns of B are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    /// By each tile for itself.
    ByTile,
    /// All of them, before: several tiles of rows share them.
    Before,
}

impl Tile {
    /// Tiles as large as caches and scratch memory allow and as many as make work for many threads.
    fn of<R: Real>(shape: Shape, micro: Micro) -> Tile {
        let span = shape.depth.div_ceil(shape.spans);
        let depth = depth_block(span);
        let held = scratch::elements::<R>(scratch::Use::Task).saturating_sub(depth * micro.rows);
        let fitting = (held / depth.max(1) / micro.columns * micro.columns).clamp(micro.columns, SIDE);
        let mut rows = even(shape.rows, SIDE, micro.rows);
        let mut columns = even(shape.columns, fitting, micro.columns);
        let count = |rows: usize, columns: usize| {
            shape.groups * shape.spans * shape.rows.div_ceil(rows) * shape.columns.div_ceil(columns)
        };
        let few =
            |rows: usize, columns: usize| count(rows, columns) < TASKS && rows * columns * span / 2 > WORTH;
        while few(rows, columns) && columns > 8 * micro.columns {
            columns = (columns / 2).next_multiple_of(micro.columns);
        }
        while few(rows, columns) && rows > 4 * micro.rows {
            rows = (rows / 2).next_multiple_of(micro.rows);
        }
        while few(rows, columns) && columns > 2 * micro.columns {
            columns = (columns / 2).next_multiple_of(micro.columns);
        }
        let packed = shape.groups * shape.columns.next_multiple_of(micro.columns) * shape.depth;
        let fits = packed <= scratch::elements::<R>(scratch::Use::Shared);
        let packing = if rows < shape.rows && fits { Packing::Before } else { Packing::ByTile };
        Tile { rows, columns, packing }
    }
}

/// The depth in equal blocks of at most [`DEPTH`].
fn depth_block(depth: usize) -> usize {
    depth.div_ceil(depth.div_ceil(DEPTH).max(1))
}

/// Computes every element of C, whatever it held.
pub fn product<R: Real>(shape: Shape, a: &impl Operand<R>, b: &impl Operand<R>, target: &Target<'_, R>) {
    if shape.groups == 0 || shape.rows == 0 || shape.columns == 0 {
        return;
    }
    let micro = Micro::of::<R>();
    let tile = Tile::of::<R>(shape, micro);
    match tile.packing {
        Packing::Before if shape.depth > 0 => {
            let whole = Packed { micro, shape };
            scratch::with(shape.groups * shape.spans * whole.matrix(), |packed: &mut [R]| {
                whole.pack(b, packed);
                tiles(micro, shape, tile, a, b, Some(packed), target);
            });
        }
        _ => tiles(micro, shape, tile, a, b, None, target),
    }
}

/// All columns of B, packed: for each group and span block by block of the depth, each panel by panel.
#[derive(Clone, Copy)]
struct Packed {
    micro: Micro,
    shape: Shape,
}

impl Packed {
    /// The depth of a block.
    fn block(self) -> usize {
        depth_block(self.shape.depth.div_ceil(self.shape.spans))
    }

    fn panels(self) -> usize {
        self.shape.columns.div_ceil(self.micro.columns)
    }

    /// Elements of a block.
    fn length(self) -> usize {
        self.panels() * self.micro.columns * self.block()
    }

    /// Elements of a group and span.
    fn matrix(self) -> usize {
        self.blocks() * self.length()
    }

    fn blocks(self) -> usize {
        self.shape.depth.div_ceil(self.shape.spans).div_ceil(self.block().max(1))
    }

    fn pack<R: Real>(self, b: &impl Operand<R>, packed: &mut [R]) {
        /// Panels that a task packs.
        const TOGETHER: usize = 4;
        let (stride, parts) = (self.micro.columns * self.block(), self.panels().div_ceil(TOGETHER));
        let shared = SharedOutput::new(packed);
        let count = self.shape.groups * self.shape.spans * self.blocks();
        threads::for_each(count * parts, |task| {
            let (part_of_block, block) = (task % parts, task / parts);
            let (number, matrix) = (block % self.blocks(), block / self.blocks());
            let (group, span) = (matrix % self.shape.groups, self.shape.span(matrix / self.shape.groups));
            let depth = block_of(&span, number, self.block());
            let panels = part(part_of_block, TOGETHER, self.panels());
            let columns =
                panels.start * self.micro.columns..(panels.end * self.micro.columns).min(self.shape.columns);
            let length = panels.len() * stride;
            let first = block * self.length() + panels.start * stride;
            // SAFETY: the place is only asserted to be inside the output.
            unsafe { shared.place(first + length - 1) };
            // SAFETY: these panels are this task's alone, and inside `packed`; scratch memory is initialised.
            let out = unsafe { std::slice::from_raw_parts_mut(shared.place(first), length) };
            let panels = Panels { width: self.micro.columns, stride };
            b.columns(group, columns, &b.depth(depth), panels, out);
        });
    }
}

/// Block `number` of a span of the depth.
fn block_of(span: &Range<usize>, number: usize, block: usize) -> Range<usize> {
    let own = part(number, block, span.len());
    span.start + own.start..span.start + own.end
}

/// Computes every tile, its columns of B from `packed` if they are there.
fn tiles<R: Real>(
    micro: Micro,
    shape: Shape,
    tile: Tile,
    a: &impl Operand<R>,
    b: &impl Operand<R>,
    packed: Option<&[R]>,
    target: &Target<'_, R>,
) {
    let (down, across) = (shape.rows.div_ceil(tile.rows), shape.columns.div_ceil(tile.columns));
    let whole = Packed { micro, shape };
    let block = whole.block();
    let stride = block * micro.columns;
    threads::for_each(shape.groups * shape.spans * down * across, |task| {
        let matrix = task / (down * across);
        let (group, span) = (matrix % shape.groups, matrix / shape.groups);
        let rows = part(task % down, tile.rows, shape.rows);
        let columns = part(task / down % across, tile.columns, shape.columns);
        let first = target.first + group * target.group_stride + span * target.span_stride;
        let store = Store::of(micro, first, rows.clone(), columns.clone(), target);
        let span = shape.span(span);
        let panels = columns.len().div_ceil(micro.columns);
        let own = if packed.is_some() { 0 } else { panels * stride };
        // Rows in equal parts, so that no part is left with a row or two.
        let parts = rows.len().div_ceil(micro.rows);
        let row = |number: usize| number * rows.len() / parts;
        scratch::with(own + block * micro.rows, |scratch: &mut [R]| {
            let (own, a_panel) = scratch.split_at_mut(own);
            for number in 0..span.len().div_ceil(block.max(1)).max(1) {
                let depth = block_of(&span, number, block);
                let b_panels = if let Some(packed) = packed {
                    let first = columns.start / micro.columns * stride;
                    &packed[matrix * whole.matrix() + number * whole.length() + first..]
                } else {
                    let panels = Panels { width: micro.columns, stride };
                    if !depth.is_empty() {
                        b.columns(group, columns.clone(), &b.depth(depth.clone()), panels, own);
                    }
                    &*own
                };
                let keep = if number == 0 { Keep::Nothing } else { Keep::Sums };
                let of_a = (!depth.is_empty()).then(|| a.depth(depth.clone()));
                for number in 0..parts {
                    let own = rows.start + row(number)..rows.start + row(number + 1);
                    let a = match &of_a {
                        Some(depth) => a.rows(group, own.clone(), depth, a_panel),
                        None => Panel { data: &[], row_stride: 1, depth_stride: 1 },
                    };
                    for panel in 0..panels {
                        let width = micro.columns.min(columns.len() - panel * micro.columns);
                        let size = Size { rows: own.len(), columns: width, depth: depth.len() };
                        store.product(size, a, &b_panels[panel * stride..], keep, row(number), panel);
                    }
                }
            }
        });
    });
}

/// C as the sum of the spans' matrices, which lie one after the other: those of all groups, then the next
/// span's.
pub fn add_spans<R: Real>(shape: Shape, sums: &[R], target: &Target<'_, R>) {
    let matrices = shape.groups * shape.rows;
    threads::for_each(matrices, |line| {
        let (group, row) = (line / shape.rows, line % shape.rows);
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        target.rows.list(row..row + 1, &mut rows);
        target.columns.list(0..shape.columns, &mut columns);
        let first = target.first + group * target.group_stride + rows[0];
        for (index, column) in columns.into_iter().enumerate() {
            let of_spans = sums[line * shape.columns + index..].iter().step_by(matrices * shape.columns);
            let sum = of_spans.fold(R::ZERO, |sum, &part| sum + part);
            // SAFETY: this row's elements are this task's alone.
            unsafe { target.output.replace(first + column, |_| sum) };
        }
    });
}

/// Writes a run of the output, `stride` apart; its elements must be the calling task's alone.
pub fn write_run<R: Real>(output: &SharedOutput<'_, R>, first: usize, stride: usize, run: &[R]) {
    if run.is_empty() {
        return;
    }
    // The last element, asserted to be inside before pointers to the others are used.
    // SAFETY: this run's elements are this task's alone.
    unsafe { output.place(first + (run.len() - 1) * stride) };
    // SAFETY: as above.
    let start = unsafe { output.place(first) };
    if stride == 1 {
        // SAFETY: as above; all of the run lies between the two places.
        copy_run(run, unsafe { std::slice::from_raw_parts_mut(start, run.len()) });
        return;
    }
    for (index, &element) in run.iter().enumerate() {
        // SAFETY: between the first and the last element, both inside the output.
        unsafe { start.add(index * stride).write(element) };
    }
}

/// The places of one tile.
struct Store<'a, R> {
    micro: Micro,
    output: &'a SharedOutput<'a, R>,
    first: usize,
    rows: Vec<usize>,
    columns: Vec<usize>,
    /// Whether the columns of each panel fill it and lie next to each other.
    contiguous: Vec<bool>,
}

impl<'a, R: Real> Store<'a, R> {
    fn of(
        micro: Micro,
        first: usize,
        rows: Range<usize>,
        columns: Range<usize>,
        target: &Target<'a, R>,
    ) -> Store<'a, R> {
        let (mut row_places, mut column_places) = (Vec::new(), Vec::new());
        target.rows.list(rows, &mut row_places);
        target.columns.list(columns, &mut column_places);
        let whole = |places: &[usize]| {
            micro.written(places.len()) == places.len()
                && places.windows(2).all(|pair| pair[1] == pair[0] + 1)
        };
        let farthest = |places: &[usize]| places.iter().copied().max().unwrap_or(0);
        // SAFETY: the place is only asserted to be inside the output, not used.
        unsafe { target.output.place(first + farthest(&row_places) + farthest(&column_places)) };
        Store {
            micro,
            output: target.output,
            first,
            contiguous: column_places.chunks(micro.columns).map(whole).collect(),
            rows: row_places,
            columns: column_places,
        }
    }

    /// Computes the rows from `row` on of one panel, in place if they are evenly spaced and its columns
    /// contiguous.
    fn product(&self, size: Size, a: Panel<'_, R>, b: &[R], keep: Keep, row: usize, panel: usize) {
        let rows = &self.rows[row..row + size.rows];
        let columns = &self.columns[panel * self.micro.columns..][..size.columns];
        let stride = if rows.len() > 1 { rows[1].wrapping_sub(rows[0]) } else { 0 };
        let even =
            rows.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == stride) && stride < usize::MAX / 2;
        let place = self.first + rows[0] + columns[0];
        if even && self.contiguous[panel] {
            // SAFETY: this tile's elements are this task's alone (see the module's first lines), and all of
            // them lie inside the output, as `Store::of` has asserted.
            unsafe { self.micro.product(size, a, b, keep, self.output.place(place), stride) };
            return;
        }
        let mut sums = [R::ZERO; MOST_ROWS * MOST_COLUMNS];
        let pitch = self.micro.columns;
        // SAFETY: `sums` has room for the most rows and columns of any kernel and is ours.
        unsafe { self.micro.product(size, a, b, Keep::Nothing, sums.as_mut_ptr(), pitch) };
        // SAFETY: this tile's elements are this task's alone.
        let start = unsafe { self.output.place(self.first) };
        for (&row, sums) in rows.iter().zip(sums.chunks(pitch)) {
            for (&column, &sum) in columns.iter().zip(sums) {
                // SAFETY: `Store::of` has asserted that the tile's farthest element is inside the output;
                // kept sums were written by an earlier block of the depth.
                unsafe {
                    let place = start.add(row + column);
                    place.write(if keep == Keep::Sums { place.read() + sum } else { sum });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_is_cut_into_equal_blocks() {
        assert_eq!(depth_block(576), 288);
        assert_eq!(depth_block(290), 145);
        assert_eq!(depth_block(0), 0);
    }
}
