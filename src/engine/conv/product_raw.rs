//! Products of an [`Operand`] with another, cut into tiles that threads fill independently.
//!
//! `C[g, i, j] = Σ_l A[g, i, l]·B[g, j, l]`. A task fills one tile of C: for each block of the depth it packs
//! its columns of B once and goes through its rows of A a few at a time. Tasks never share an element: tiles
//! partition the rows and columns of each group, and the map from (group, row, column) to places is
//! one-to-one because the output tensor's is. That is what every `SAFETY` comment here leans on.

#![allow(unsafe_code)]

use std::ops::Range;

use super::micro_raw::{Keep, MOST_COLUMNS, MOST_ROWS, Micro, Size};
use super::operand::{Operand, Places};
use crate::gemm::block_raw::SharedOutput;
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

/// Rows and columns of the tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    rows: usize,
    columns: usize,
}

impl Tile {
    /// Tiles as large as caches and scratch memory allow and as many as make work for many threads.
    fn of<R: Real>(shape: Shape, micro: Micro) -> Tile {
        let span = shape.depth.div_ceil(shape.spans);
        let depth = depth_block(span);
        let held = scratch::elements_per_thread::<R>().saturating_sub(depth * micro.rows);
        let fitting = (held / depth.max(1) / micro.columns * micro.columns).clamp(micro.columns, SIDE);
        let (mut rows, mut columns) =
            (even(shape.rows, SIDE, micro.rows), even(shape.columns, fitting, micro.columns));
        let count = |rows: usize, columns: usize| {
            shape.groups * shape.spans * shape.rows.div_ceil(rows) * shape.columns.div_ceil(columns)
        };
        while count(rows, columns) < TASKS && rows * columns * span / 2 > WORTH {
            if columns >= rows && columns > 2 * micro.columns {
                columns = (columns / 2).next_multiple_of(micro.columns);
            } else if rows > 4 * micro.rows {
                rows = (rows / 2).next_multiple_of(micro.rows);
            } else {
                break;
            }
        }
        Tile { rows, columns }
    }
}

/// `length` in equal parts of at most `most`, a multiple of `unit`.
fn even(length: usize, most: usize, unit: usize) -> usize {
    let parts = length.div_ceil(most.max(1)).max(1);
    length.div_ceil(parts).next_multiple_of(unit).max(unit)
}

/// The depth in equal blocks of at most [`DEPTH`].
fn depth_block(depth: usize) -> usize {
    depth.div_ceil(depth.div_ceil(DEPTH).max(1))
}

/// Part `number` of `length` cut every `side`.
fn part(number: usize, side: usize, length: usize) -> Range<usize> {
    number * side..((number + 1) * side).min(length)
}

/// Computes every element of C, whatever it held.
pub fn product<R: Real>(shape: Shape, a: &impl Operand<R>, b: &impl Operand<R>, target: &Target<'_, R>) {
    if shape.groups == 0 || shape.rows == 0 || shape.columns == 0 {
        return;
    }
    let micro = Micro::of::<R>();
    let tile = Tile::of::<R>(shape, micro);
    let (down, across) = (shape.rows.div_ceil(tile.rows), shape.columns.div_ceil(tile.columns));
    threads::for_each(shape.groups * shape.spans * down * across, |task| {
        let (group, span) = (task / (down * across) % shape.groups, task / (down * across) / shape.groups);
        let rows = part(task % down, tile.rows, shape.rows);
        let columns = part(task / down % across, tile.columns, shape.columns);
        let first = target.first + group * target.group_stride + span * target.span_stride;
        let store = Store::of(micro, first, rows.clone(), columns.clone(), target);
        fill(&store, group, shape.span(span), rows, columns, a, b);
    });
}

/// Fills one tile.
fn fill<R: Real>(
    store: &Store<'_, R>,
    group: usize,
    depth: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
    a: &impl Operand<R>,
    b: &impl Operand<R>,
) {
    let micro = store.micro;
    let block = depth_block(depth.len());
    let panels = columns.len().div_ceil(micro.columns);
    let panel_length = block * micro.columns;
    // Rows in equal parts, so that no part is left with a row or two.
    let parts = rows.len().div_ceil(micro.rows);
    let row = |number: usize| number * rows.len() / parts;
    scratch::with(panels * panel_length + block * micro.rows, |scratch: &mut [R]| {
        let (b_panels, a_panel) = scratch.split_at_mut(panels * panel_length);
        for number in 0..depth.len().div_ceil(block.max(1)).max(1) {
            let block = part(number, block, depth.len());
            let depth = depth.start + block.start..depth.start + block.end;
            for panel in 0..panels {
                let columns = panel_columns(&columns, panel, micro);
                let packed = &mut b_panels[panel * panel_length..(panel + 1) * panel_length];
                b.columns(group, columns, depth.clone(), micro.columns, packed);
            }
            let keep = if number == 0 { Keep::Nothing } else { Keep::Sums };
            for number in 0..parts {
                let own = rows.start + row(number)..rows.start + row(number + 1);
                let a = a.rows(group, own.clone(), depth.clone(), a_panel);
                for panel in 0..panels {
                    let packed = &b_panels[panel * panel_length..(panel + 1) * panel_length];
                    let width = panel_columns(&columns, panel, micro).len();
                    let size = Size { rows: own.len(), columns: width, depth: depth.len() };
                    store.product(size, a, packed, keep, row(number), panel);
                }
            }
        }
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
        // SAFETY: as above; the output is borrowed mutably, so the run does not overlap it.
        unsafe { start.copy_from_nonoverlapping(run.as_ptr(), run.len()) };
        return;
    }
    for (index, &element) in run.iter().enumerate() {
        // SAFETY: between the first and the last element, both inside the output.
        unsafe { start.add(index * stride).write(element) };
    }
}

/// The columns of a panel of the tile.
fn panel_columns(columns: &Range<usize>, panel: usize, micro: Micro) -> Range<usize> {
    let first = columns.start + panel * micro.columns;
    first..(first + micro.columns).min(columns.end)
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
    fn product(
        &self,
        size: Size,
        a: super::operand::Panel<'_, R>,
        b: &[R],
        keep: Keep,
        row: usize,
        panel: usize,
    ) {
        let rows = &self.rows[row..row + size.rows];
        let columns = &self.columns[panel * self.micro.columns..][..size.columns];
        let stride = if rows.len() > 1 { rows[1].wrapping_sub(rows[0]) } else { 0 };
        let even =
            rows.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == stride) && stride < usize::MAX / 2;
        let place = self.first + rows[0] + columns[0];
        if even && self.contiguous[panel] {
            // The last element, asserted to be inside before a pointer to the first is used.
            let last = self.first + rows[rows.len() - 1] + columns[columns.len() - 1];
            // SAFETY: this tile's elements are this task's alone (see the module's first lines).
            unsafe { self.output.place(last) };
            // SAFETY: as above; all elements of these rows lie between the first and the last place.
            unsafe { self.micro.product(size, a, b, keep, self.output.place(place), stride) };
            return;
        }
        let mut sums = [R::ZERO; MOST_ROWS * MOST_COLUMNS];
        let pitch = self.micro.columns;
        // SAFETY: `sums` has room for the most rows and columns of any kernel and is ours.
        unsafe { self.micro.product(size, a, b, Keep::Nothing, sums.as_mut_ptr(), pitch) };
        for (&row, sums) in rows.iter().zip(sums.chunks(pitch)) {
            for (&column, &sum) in columns.iter().zip(sums) {
                // SAFETY: this tile's elements are this task's alone.
                let place = unsafe { self.output.place(self.first + row + column) };
                // SAFETY: as above; kept sums were written by an earlier block of the depth.
                unsafe { place.write(if keep == Keep::Sums { place.read() + sum } else { sum }) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_and_whole_units() {
        assert_eq!(even(1000, 512, 32), 512);
        assert_eq!(even(520, 512, 12), 264);
        assert_eq!(even(0, 512, 12), 12);
        assert_eq!(depth_block(576), 288);
        assert_eq!(depth_block(290), 145);
        assert_eq!(depth_block(0), 0);
    }
}
