//! One block of one step backwards: the gradient of the state after it, and of its gates.

#![allow(unsafe_code)]
// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]

use std::ops::Range;

use super::add;
use super::forward_raw::{Earlier, Lane, lane, load, map, store};
use super::functions::tanh;
use super::network::{Cell, Clip, ClipNan};
use super::panels_raw::{Columns, Panels, Rows, WIDTH, add_products, each_block};
use super::widest_raw::{Job, on_widest};
use crate::gemm::vector_raw::Vector;
use crate::tensor::Real;

/// Where the gradient of the state after a step comes from: the output's own, what is carried along, and
/// the gates of the step after it on the walk.
pub(super) struct StateGradient<'a, R> {
    /// Gradients of the outputs, `[count, width]`; without, none.
    pub outputs: Option<&'a [R]>,
    /// Gates' gradients of the step after; its `count` sequences are the first ones.
    pub next: Rows<'a, R>,
    /// Columns of those gates that the state is multiplied into.
    pub parts: [Range<usize>; 2],
    /// The state's matrices, a panel for each block of the state, the parts one below the other.
    pub panels: &'a Panels<R>,
    /// `[batch, width]`, the sequences of this step first: gradients that reach the state past the
    /// matrices; those of a sequence's last state before its walk back begins.
    pub carry: Columns<'a, R>,
    /// Elements of the state.
    pub width: usize,
}

impl<R: Real> StateGradient<'_, R> {
    /// Products of a row and a block, with the cell's functions.
    fn products(&self) -> usize {
        (self.parts.iter().map(Range::len).sum::<usize>() + 64) * WIDTH
    }

    /// The gradient of a block of the state, [`WIDTH`] elements a row.
    ///
    /// # Safety
    /// The machine has V's instruction set; no other task touches this block of these rows.
    #[inline(always)]
    unsafe fn block<V: Vector<R>>(&self, block: usize, rows: Range<usize>) -> Vec<R> {
        let columns = block * WIDTH..self.width.min((block + 1) * WIDTH);
        let mut sums = vec![R::ZERO; rows.len() * WIDTH];
        for (row, sums) in rows.clone().zip(sums.chunks_exact_mut(WIDTH)) {
            // SAFETY: forwarded.
            let carry = unsafe { self.carry.run(row, columns.start, columns.len()) };
            sums[..columns.len()].copy_from_slice(carry);
            if let Some(outputs) = self.outputs {
                let outputs = &outputs[row * self.width..(row + 1) * self.width];
                add(&mut sums[..columns.len()], &outputs[columns.clone()]);
            }
        }
        let count = self.next.count.clamp(rows.start, rows.end) - rows.start;
        let mut panel = self.panels.panel(block);
        if count > 0 {
            for part in &self.parts {
                let data = &self.next.data[rows.start * self.next.stride + part.start..];
                let (above, below) = panel.split_at(part.len() * WIDTH);
                panel = below;
                // SAFETY: forwarded.
                unsafe { add_products::<R, V>(Rows { data, count, ..self.next }, above, &mut sums) };
            }
        }
        sums
    }

    /// Writes the gradient of the state of some rows, `rows.start` on, to packed rows, or with `target`
    /// `None` to where it is carried.
    pub fn write(&self, rows: Range<usize>, target: Option<&Columns<'_, R>>) {
        each_block(self.width, rows.len(), self.products(), |block, chunk| {
            let rows = rows.start + chunk.start..rows.start + chunk.end;
            on_widest(WriteBlock { state: self, target, block, rows });
        });
    }
}

struct WriteBlock<'a, 'b, R> {
    state: &'a StateGradient<'b, R>,
    target: Option<&'a Columns<'b, R>>,
    block: usize,
    rows: Range<usize>,
}

impl<R: Real> Job<R> for WriteBlock<'_, '_, R> {
    #[inline(always)]
    unsafe fn run<V: Vector<R>>(self) {
        let first = self.block * WIDTH;
        let count = WIDTH.min(self.state.width - first);
        // SAFETY: the caller owes V's instruction set; each task has its own blocks and rows.
        let sums = unsafe { self.state.block::<V>(self.block, self.rows.clone()) };
        for (row, sums) in self.rows.zip(sums.chunks_exact(WIDTH)) {
            // SAFETY: as above.
            let target = unsafe { self.target.unwrap_or(&self.state.carry).run(row, first, count) };
            target.copy_from_slice(&sums[..count]);
        }
    }
}

/// A step of one direction of one layer, backwards.
pub(super) struct BackwardStep<'a, R> {
    /// The unit.
    pub cell: Cell,
    /// Clipping of the cell state.
    pub clip: Option<Clip>,
    /// Elements of a gate.
    pub hidden: usize,
    /// Rows of this step.
    pub count: usize,
    /// Where the gradient of the (unprojected) state comes from.
    pub state: StateGradient<'a, R>,
    /// The states h before the step; GRU only.
    pub states_before: Earlier<'a, R>,
    /// The states h after it; Relu and Tanh only.
    pub outputs: &'a [R],
    /// The states c before it; LSTM only.
    pub cells_before: Earlier<'a, R>,
    /// The states c after it; LSTM only.
    pub cells: &'a [R],
    /// What the forward pass left goes in; the gates' gradients come out.
    pub gates: Columns<'a, R>,
    /// `[batch, hidden]`: the gradients of the states c after the step go in, before it come out.
    pub carry_c: Columns<'a, R>,
}

impl<R: Real> BackwardStep<'_, R> {
    /// Computes the step.
    pub fn run(&self) {
        each_block(self.hidden, self.count, self.state.products(), |block, rows| {
            on_widest(BackwardBlock { step: self, block, rows });
        });
    }

    /// The gradients of a block of one row's gates, and what its states carry to the step before.
    ///
    /// # Safety
    /// No other task touches this block of this row.
    #[inline(always)]
    unsafe fn functions(&self, block: usize, row: usize, gradient: Lane<R>) {
        let units = block * WIDTH..self.hidden.min((block + 1) * WIDTH);
        let one = R::ONE;
        // SAFETY: forwarded; columns of a row do not overlap.
        let column =
            |index: usize| unsafe { self.gates.run(row, index * self.hidden + units.start, units.len()) };
        let after = |rows: &[R]| load(&rows[row * self.hidden..(row + 1) * self.hidden][units.clone()]);
        let mut carry = [R::ZERO; WIDTH];
        match self.cell {
            Cell::Relu => {
                let h = after(self.outputs);
                store(column(0), lane(|u| if h[u] <= R::ZERO { R::ZERO } else { gradient[u] }));
            }
            Cell::Tanh => {
                let h = after(self.outputs);
                store(column(0), lane(|u| gradient[u] * (one - h[u] * h[u])));
            }
            Cell::Lstm => {
                let (i, f) = (load(column(0)), load(column(1)));
                let (g, o) = (load(column(2)), load(column(3)));
                let before = load(&self.cells_before.row(row)[units.clone()]);
                let squashed = map(after(self.cells), tanh);
                // SAFETY: forwarded.
                let carry_c = unsafe { self.carry_c.run(row, units.start, units.len()) };
                let later = load(carry_c);
                let mut cell: Lane<R> =
                    lane(|u| later[u] + gradient[u] * o[u] * (one - squashed[u] * squashed[u]));
                if let Some(clip) = &self.clip {
                    let changed = |u: usize| was_clipped(f[u] * before[u] + i[u] * g[u], clip);
                    cell = lane(|u| if changed(u) { R::ZERO } else { cell[u] });
                }
                store(carry_c, lane(|u| cell[u] * f[u]));
                store(column(0), lane(|u| cell[u] * g[u] * i[u] * (one - i[u])));
                store(column(1), lane(|u| cell[u] * before[u] * f[u] * (one - f[u])));
                store(column(2), lane(|u| cell[u] * i[u] * (one - g[u] * g[u])));
                store(column(3), lane(|u| gradient[u] * squashed[u] * o[u] * (one - o[u])));
            }
            Cell::Gru => {
                let (r, i) = (load(column(0)), load(column(1)));
                let (n, m) = (load(column(2)), load(column(3)));
                let before = load(&self.states_before.row(row)[units.clone()]);
                let new: Lane<R> = lane(|u| gradient[u] * (one - i[u]) * (one - n[u] * n[u]));
                carry = lane(|u| gradient[u] * i[u]);
                store(column(0), lane(|u| new[u] * m[u] * r[u] * (one - r[u])));
                store(column(1), lane(|u| gradient[u] * (before[u] - n[u]) * i[u] * (one - i[u])));
                store(column(2), new);
                store(column(3), lane(|u| new[u] * r[u]));
            }
        }
        // SAFETY: forwarded.
        store(unsafe { self.state.carry.run(row, units.start, units.len()) }, carry);
    }
}

/// Whether clipping changed this cell state.
#[inline(always)]
fn was_clipped<R: Real>(cell: R, clip: &Clip) -> bool {
    let outside = cell < R::of(clip.min) || cell > R::of(clip.max);
    outside || (clip.nan == ClipNan::Bound && cell.is_nan())
}

struct BackwardBlock<'a, 'b, R> {
    step: &'a BackwardStep<'b, R>,
    block: usize,
    rows: Range<usize>,
}

impl<R: Real> Job<R> for BackwardBlock<'_, '_, R> {
    #[inline(always)]
    unsafe fn run<V: Vector<R>>(self) {
        // SAFETY: the caller owes V's instruction set; each task has its own blocks and rows.
        let sums = unsafe { self.step.state.block::<V>(self.block, self.rows.clone()) };
        for (row, sums) in self.rows.zip(sums.chunks_exact(WIDTH)) {
            // SAFETY: as above.
            unsafe { self.step.functions(self.block, row, load(sums)) };
        }
    }
}
