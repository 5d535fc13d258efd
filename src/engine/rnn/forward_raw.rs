//! One block of one step forwards: the state's products and the cell's functions.

#![allow(unsafe_code)]
// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]

use std::ops::Range;

use super::add;
use super::functions::{relu, sigmoid, tanh};
use super::network::{Cell, Clip, ClipNan};
use super::panels_raw::{Columns, Panels, Rows, WIDTH, add_products, each_block};
use super::widest_raw::{Job, on_widest};
use crate::gemm::vector_raw::Vector;
use crate::tensor::Real;

/// Elements of one row of a block.
pub(super) type Lane<R> = [R; WIDTH];

/// The state that each row of a step begins with: that of the step before for the first `kept` sequences,
/// the initial one for the others.
#[derive(Clone, Copy)]
pub(super) struct Earlier<'a, R> {
    /// Rows of the step before.
    pub previous: &'a [R],
    /// Initial states of all sequences.
    pub initial: &'a [R],
    /// How many come from the step before.
    pub kept: usize,
    /// Elements of a state.
    pub width: usize,
}

impl<'a, R: Real> Earlier<'a, R> {
    /// The state of one row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [R] {
        let source = if row < self.kept { self.previous } else { self.initial };
        &source[row * self.width..(row + 1) * self.width]
    }

    /// Rows in up to two pieces that each lie together.
    pub fn pieces(&self, rows: Range<usize>) -> [Rows<'a, R>; 2] {
        let split = self.kept.clamp(rows.start, rows.end);
        let piece = |source: &'a [R], rows: Range<usize>| {
            let data = if rows.is_empty() { &[][..] } else { &source[rows.start * self.width..] };
            Rows { data, stride: self.width, count: rows.len() }
        };
        [piece(self.previous, rows.start..split), piece(self.initial, split..rows.end)]
    }
}

/// A step of one direction of one layer.
pub(super) struct ForwardStep<'a, R> {
    /// The unit.
    pub cell: Cell,
    /// Clipping of the cell state.
    pub clip: Option<Clip>,
    /// Elements of a gate.
    pub hidden: usize,
    /// Rows of this step.
    pub count: usize,
    /// The states h before it.
    pub states: Earlier<'a, R>,
    /// The states c before it; LSTM only.
    pub cells_before: Earlier<'a, R>,
    /// The state's matrices, panel `block·gates + gate`; `None` if the products are in the gates already.
    pub panels: Option<&'a Panels<R>>,
    /// What is added up so far goes in; what the backward pass needs comes out.
    pub gates: Columns<'a, R>,
    /// The states c after the step; LSTM only.
    pub cells: Columns<'a, R>,
    /// The states h after it, before any projection.
    pub outputs: Columns<'a, R>,
}

impl<R: Real> ForwardStep<'_, R> {
    /// Computes the step.
    pub fn run(&self) {
        let depth = if self.panels.is_some() { self.states.width } else { 0 };
        let products = (depth + 16) * WIDTH * self.cell.gates();
        each_block(self.hidden, self.count, products, |block, rows| {
            on_widest(ForwardBlock { step: self, block, rows });
        });
    }
}

/// One block of hidden units and some rows of a step; no other task touches their elements.
struct ForwardBlock<'a, 'b, R> {
    step: &'a ForwardStep<'b, R>,
    block: usize,
    rows: Range<usize>,
}

impl<R: Real> Job<R> for ForwardBlock<'_, '_, R> {
    #[inline(always)]
    unsafe fn run<V: Vector<R>>(self) {
        let ForwardBlock { step, block, rows } = self;
        let gates = step.cell.gates();
        if let Some(panels) = step.panels {
            let mut sums = vec![R::ZERO; rows.len() * WIDTH];
            for gate in 0..gates {
                sums.fill(R::ZERO);
                let panel = panels.panel(block * gates + gate);
                let [kept, begun] = step.states.pieces(rows.clone());
                let (kept_sums, begun_sums) = sums.split_at_mut(kept.count * WIDTH);
                // SAFETY: the caller owes V's instruction set.
                unsafe {
                    add_products::<R, V>(kept, panel, kept_sums);
                    add_products::<R, V>(begun, panel, begun_sums);
                }
                let column = step.cell.recurrent_column(gate);
                for (row, sums) in rows.clone().zip(sums.chunks_exact(WIDTH)) {
                    // SAFETY: this block's elements of these rows are this task's alone.
                    let target = unsafe { step.column(block, row, column) };
                    add(target, &sums[..target.len()]);
                }
            }
        }
        for row in rows {
            // SAFETY: as above.
            unsafe { step.functions(block, row) };
        }
    }
}

impl<R: Real> ForwardStep<'_, R> {
    fn units(&self, block: usize) -> Range<usize> {
        block * WIDTH..self.hidden.min((block + 1) * WIDTH)
    }

    /// A block of one of a row's vectors.
    ///
    /// # Safety
    /// No other task touches it.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    unsafe fn column(&self, block: usize, row: usize, column: usize) -> &mut [R] {
        let units = self.units(block);
        // SAFETY: forwarded.
        unsafe { self.gates.run(row, column * self.hidden + units.start, units.len()) }
    }

    /// The cell's functions of a block of one row.
    ///
    /// # Safety
    /// No other task touches this block of this row.
    #[inline(always)]
    unsafe fn functions(&self, block: usize, row: usize) {
        let units = self.units(block);
        // SAFETY: forwarded; columns of a row do not overlap.
        let column = |index: usize| unsafe { self.column(block, row, index) };
        // SAFETY: forwarded.
        let output = unsafe { self.outputs.run(row, units.start, units.len()) };
        match self.cell {
            Cell::Relu => store(output, map(load(column(0)), relu)),
            Cell::Tanh => store(output, map(load(column(0)), tanh)),
            Cell::Lstm => {
                let before = load(&self.cells_before.row(row)[units.clone()]);
                let input = map(load(column(0)), sigmoid);
                let forget = map(load(column(1)), sigmoid);
                let new = map(load(column(2)), tanh);
                let output_gate = map(load(column(3)), sigmoid);
                let mut cell: Lane<R> = lane(|u| forget[u] * before[u] + input[u] * new[u]);
                if let Some(clip) = &self.clip {
                    cell = map(cell, |cell| clipped(cell, clip));
                }
                let squashed = map(cell, tanh);
                store(output, lane(|u| output_gate[u] * squashed[u]));
                // SAFETY: forwarded.
                store(unsafe { self.cells.run(row, units.start, units.len()) }, cell);
                for (gate, values) in [input, forget, new, output_gate].into_iter().enumerate() {
                    store(column(gate), values);
                }
            }
            Cell::Gru => {
                let before = load(&self.states.row(row)[units]);
                let reset = map(load(column(0)), sigmoid);
                let update = map(load(column(1)), sigmoid);
                let (sum, recurrent) = (load(column(2)), load(column(3)));
                let new = lane(|u| tanh(sum[u] + reset[u] * recurrent[u]));
                store(output, lane(|u| (R::ONE - update[u]) * new[u] + update[u] * before[u]));
                for (gate, values) in [reset, update, new].into_iter().enumerate() {
                    store(column(gate), values);
                }
            }
        }
    }
}

/// A cell state brought into the range.
#[inline(always)]
fn clipped<R: Real>(cell: R, clip: &Clip) -> R {
    let (min, max) = (R::of(clip.min), R::of(clip.max));
    let cell = if cell < min { min } else { cell };
    let cell = if cell > max { max } else { cell };
    if clip.nan == ClipNan::Bound && cell.is_nan() { min } else { cell }
}

/// A lane of what `value` gives for each element. Unlike the array methods of std it is sure to be
/// inlined, and so compiled for the instruction set of its caller.
#[inline(always)]
pub(super) fn lane<R: Real>(value: impl Fn(usize) -> R) -> Lane<R> {
    let mut lane = [R::ZERO; WIDTH];
    for (u, element) in lane.iter_mut().enumerate() {
        *element = value(u);
    }
    lane
}

/// A function of each element.
#[inline(always)]
pub(super) fn map<R: Real>(elements: Lane<R>, function: impl Fn(R) -> R) -> Lane<R> {
    lane(|u| function(elements[u]))
}

/// Up to [`WIDTH`] elements, zeros behind.
#[inline(always)]
pub(super) fn load<R: Real>(run: &[R]) -> Lane<R> {
    if let Ok(whole) = <&Lane<R>>::try_from(run) {
        return *whole;
    }
    let mut lane = [R::ZERO; WIDTH];
    lane[..run.len()].copy_from_slice(run);
    lane
}

/// As many elements as the run is long.
#[inline(always)]
pub(super) fn store<R: Real>(run: &mut [R], lane: Lane<R>) {
    if let Ok(whole) = <&mut Lane<R>>::try_from(&mut *run) {
        *whole = lane;
    } else {
        run.copy_from_slice(&lane[..run.len()]);
    }
}

/// `outputs ← rows·matrix` for a matrix in panels: the projection of a step.
pub(super) fn project<R: Real>(rows: Rows<'_, R>, panels: &Panels<R>, outputs: &mut [R], columns: usize) {
    let outputs = Columns::new(outputs, columns);
    each_block(columns, rows.count, rows.stride * WIDTH, |block, range| {
        on_widest(ProductBlock { rows, panels, outputs: &outputs, columns, block, range });
    });
}

struct ProductBlock<'a, 'b, R> {
    rows: Rows<'a, R>,
    panels: &'a Panels<R>,
    outputs: &'a Columns<'b, R>,
    columns: usize,
    block: usize,
    range: Range<usize>,
}

impl<R: Real> Job<R> for ProductBlock<'_, '_, R> {
    #[inline(always)]
    unsafe fn run<V: Vector<R>>(self) {
        let mut sums = vec![R::ZERO; self.range.len() * WIDTH];
        let data = &self.rows.data[self.range.start * self.rows.stride..];
        let rows = Rows { data, count: self.range.len(), ..self.rows };
        // SAFETY: the caller owes V's instruction set.
        unsafe { add_products::<R, V>(rows, self.panels.panel(self.block), &mut sums) };
        let first = self.block * WIDTH;
        let count = WIDTH.min(self.columns - first);
        for (row, sums) in self.range.zip(sums.chunks_exact(WIDTH)) {
            // SAFETY: each task has its own blocks and rows.
            unsafe { self.outputs.run(row, first, count) }.copy_from_slice(&sums[..count]);
        }
    }
}
