//! What a forward pass leaves for the backward passes, and the inputs of layers.

use parking_lot::Mutex;

use super::network::{Cell, Rnn};
use super::sequences::Sequences;
use crate::dropout_raw::{DropoutSeed, drop_run};
use crate::philox::Philox;
use crate::tensor::{Real, TensorRef};
use crate::threads;

/// The part of one pseudo layer, packed rows each.
#[derive(Debug)]
pub(super) struct Lane<S> {
    /// `[rows, columns·hidden]`: the gates, from the backward pass on their gradients.
    pub gates: S,
    /// `[rows, hidden]`: the states c of an LSTM, after clipping.
    pub cells: S,
    /// `[rows, hidden]`: the states h before they are projected, if they are.
    pub hidden: S,
    /// `[rows, projection]`: the gradients of projected states.
    pub projected: S,
    /// `[rows, projection]`: the outputs, except those of the last layer, which are y.
    pub outputs: S,
}

/// Elements of each part of a pseudo layer.
fn parts(rnn: &Rnn, rows: usize, pseudo_layer: usize) -> Lane<usize> {
    let counted = |wanted: bool, width: usize| if wanted { rows * width } else { 0 };
    let last = pseudo_layer / rnn.directions() + 1 == rnn.layers;
    Lane {
        gates: rows * rnn.gate_width(),
        cells: counted(rnn.cell == Cell::Lstm, rnn.hidden),
        hidden: counted(rnn.projects(), rnn.hidden),
        projected: counted(rnn.projects(), rnn.projection),
        outputs: counted(!last, rnn.projection),
    }
}

fn total(rnn: &Rnn, rows: usize, pseudo_layers: std::ops::Range<usize>) -> usize {
    let elements = |pseudo_layer: usize| {
        let Lane { gates, cells, hidden, projected, outputs } = parts(rnn, rows, pseudo_layer);
        gates + cells + hidden + projected + outputs
    };
    pseudo_layers.map(elements).sum()
}

impl Rnn {
    /// Elements that a training pass over sequences of these lengths (of at most `steps` steps) keeps for
    /// the backward passes, what `cudnnGetRNNTempSpaceSizes` calls the reserve space.
    ///
    /// # Panics
    /// If a length exceeds `steps`.
    pub fn reserve_elements(&self, lengths: &[usize], steps: usize) -> usize {
        assert!(lengths.iter().all(|&length| length <= steps), "lengths {lengths:?}, {steps} steps");
        total(self, lengths.iter().sum(), 0..self.pseudo_layers())
    }

    /// Elements that one layer takes while it is computed.
    pub(super) fn layer_elements(&self, rows: usize, layer: usize) -> usize {
        let first = layer * self.directions();
        total(self, rows, first..first + self.directions())
    }
}

/// Cuts the space of some pseudo layers, to write.
pub(super) fn lanes_mut<'a, R>(
    rnn: &Rnn,
    rows: usize,
    pseudo_layers: std::ops::Range<usize>,
    mut space: &'a mut [R],
) -> Vec<Lane<&'a mut [R]>> {
    let mut take = |elements: usize| {
        let (taken, rest) = std::mem::take(&mut space).split_at_mut(elements);
        space = rest;
        taken
    };
    let mut lane = |pseudo_layer: usize| {
        let parts = parts(rnn, rows, pseudo_layer);
        Lane {
            gates: take(parts.gates),
            cells: take(parts.cells),
            hidden: take(parts.hidden),
            projected: take(parts.projected),
            outputs: take(parts.outputs),
        }
    };
    pseudo_layers.map(&mut lane).collect()
}

/// Cuts the space of all pseudo layers, to read.
pub(super) fn lanes<'a, R>(rnn: &Rnn, rows: usize, mut space: &'a [R]) -> Vec<Lane<&'a [R]>> {
    let mut take = |elements: usize| {
        let (taken, rest) = space.split_at(elements);
        space = rest;
        taken
    };
    let mut lane = |pseudo_layer: usize| {
        let parts = parts(rnn, rows, pseudo_layer);
        Lane {
            gates: take(parts.gates),
            cells: take(parts.cells),
            hidden: take(parts.hidden),
            projected: take(parts.projected),
            outputs: take(parts.outputs),
        }
    };
    (0..rnn.pseudo_layers()).map(&mut lane).collect()
}

/// The outputs of a layer's directions, `[rows, projection]` each, side by side.
pub(super) fn side_by_side<R: Real>(outputs: &[&[R]], width: usize) -> Vec<R> {
    let [one] = outputs else {
        let rows = outputs[0].len() / width.max(1);
        let row = |row: usize| outputs.iter().flat_map(move |rows| &rows[row * width..(row + 1) * width]);
        return (0..rows).flat_map(row).copied().collect();
    };
    one.to_vec()
}

/// Which elements of layers' inputs a training pass drops.
#[derive(Clone, Copy)]
pub(super) struct Dropping<'a> {
    /// The network.
    pub rnn: &'a Rnn,
    /// Its sequences.
    pub sequences: &'a Sequences,
    /// Steps of x, existing or not.
    pub steps: usize,
    /// Where the random numbers start.
    pub seed: DropoutSeed,
}

impl Dropping<'_> {
    /// Drops elements of the packed input of a layer, or of that input's gradient, and scales the others.
    ///
    /// The element of step t, sequence b and column j has position
    /// `(((layer − 1)·steps + t)·batch + b)·width + j`, whatever the other lengths are.
    pub fn apply<R: Real>(&self, layer: usize, values: &mut [R]) {
        const TOGETHER: usize = 64;
        let width = self.rnn.output();
        if layer == 0 || self.rnn.dropout == 0.0 || values.is_empty() {
            return;
        }
        let philox = Philox::new(self.seed.seed);
        let batch = self.sequences.batch();
        let rows = self.sequences.each_row().collect::<Vec<_>>();
        let chunks = values.chunks_mut(TOGETHER * width).map(Mutex::new).collect::<Vec<_>>();
        threads::for_each(chunks.len(), |chunk| {
            let mut values = chunks[chunk].lock();
            for (row, &[_, time, sequence]) in values.chunks_exact_mut(width).zip(&rows[chunk * TOGETHER..]) {
                let position = (((layer - 1) * self.steps + time) * batch + sequence) * width;
                let first = self.seed.offset.wrapping_add(position as u64);
                drop_run(philox, self.rnn.dropout, first, row);
            }
        });
    }
}

/// The outputs of each pseudo layer, `[rows, projection]`: what was kept, and for the last layer y.
pub(super) fn all_outputs<R: Real>(
    rnn: &Rnn,
    sequences: &Sequences,
    lanes: &[Lane<&[R]>],
    y: TensorRef<'_, R>,
) -> Vec<Vec<R>> {
    let last = (rnn.layers - 1) * rnn.directions();
    let outputs = |(pseudo_layer, lane): (usize, &Lane<&[R]>)| {
        if pseudo_layer < last {
            return lane.outputs.to_vec();
        }
        let first = (pseudo_layer - last) * rnn.projection;
        sequences.gather(y, first..first + rnn.projection)
    };
    lanes.iter().enumerate().map(outputs).collect()
}
