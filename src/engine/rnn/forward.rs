//! The forward pass.

use parking_lot::Mutex;

use super::forward_raw::{Earlier, ForwardStep, project};
use super::network::{Cell, Rnn};
use super::panels_raw::{Columns, Panels, Rows, WIDTH, fill_transposed};
use super::sequences::{Sequences, neighbours};
use super::space::{Dropping, Lane, lanes_mut, side_by_side};
use super::weights::{Operand, RnnWeights};
use super::{RnnStates, RnnStatesMut, RnnTraining, add, check_states, matrix, multiply};
use crate::shape::GemmShape;
use crate::tensor::{Real, TensorMut, TensorRef};
use crate::threads;

/// From this many rows on a matrix is packed for the steps; for fewer, packing costs more than it saves.
const WORTH_PACKING: usize = 32;

/// y, and the states after the last step of each sequence: `cudnnRNNForward`. The equations stand in
/// [`crate::rnn`].
///
/// x is `[steps, batch, input]`, y `[steps, batch, directions·projection]`, states h and c are
/// `[layers·directions, batch, projection]` and `[…, hidden]`; c counts for an LSTM only. Sequence b ends
/// after `lengths[b]` steps; y beyond its length stays as it is. A sequence of no steps ends in its initial
/// state.
///
/// # Panics
/// If shapes, lengths or places do not fit each other.
pub fn rnn_forward<R: Real>(
    rnn: &Rnn,
    lengths: &[usize],
    weights: &RnnWeights,
    weight_space: &[R],
    x: TensorRef<'_, R>,
    initial: RnnStates<'_, R>,
    mut y: TensorMut<'_, R>,
    mut last: RnnStatesMut<'_, R>,
    training: Option<RnnTraining<'_, R>>,
) {
    rnn.check();
    weights.check(rnn, weight_space.len());
    let steps = super::check_sequences(rnn, lengths, &x.layout, &y.layout);
    check_states(rnn, lengths.len(), initial.layouts());
    check_states(rnn, lengths.len(), last.layouts());
    let sequences = Sequences::new(lengths, steps);
    let rows = sequences.rows();
    let pass = Pass { rnn, weights, weight_space, sequences: &sequences };
    let (mut reserve, dropping) = match training {
        Some(RnnTraining { reserve, dropout }) => {
            let needed = rnn.reserve_elements(lengths, steps);
            assert!(reserve.len() >= needed, "the reserve has {} of {needed} elements", reserve.len());
            (reserve, Some(Dropping { rnn, sequences: &sequences, steps, seed: dropout }))
        }
        None => (&mut [][..], None),
    };
    let mut input = sequences.gather(x, 0..rnn.input);
    for layer in 0..rnn.layers {
        let directions = rnn.directions();
        let elements = rnn.layer_elements(rows, layer);
        let mut scratch = Vec::new();
        let space = if let Some(dropping) = dropping {
            dropping.apply(layer, &mut input);
            let (space, rest) = std::mem::take(&mut reserve).split_at_mut(elements);
            reserve = rest;
            space
        } else {
            scratch.resize(elements, R::ZERO);
            &mut scratch[..]
        };
        let first = layer * directions;
        let mut outputs = vec![vec![R::ZERO; rows * rnn.projection]; directions];
        let mut walks = Vec::new();
        let lanes = lanes_mut(rnn, rows, first..first + directions, space);
        for (direction, (mut lane, outputs)) in lanes.into_iter().zip(&mut outputs).enumerate() {
            let pseudo_layer = first + direction;
            pass.input_products(pseudo_layer, &input, lane.gates);
            walks.push(Mutex::new(Walk {
                pseudo_layer,
                direction,
                initial_h: sequences.gather_state(initial.h, pseudo_layer, rnn.projection),
                initial_c: sequences.gather_state(initial.c, pseudo_layer, pass.cell_width()),
                outputs,
                lane: Lane { outputs: std::mem::take(&mut lane.outputs), ..lane },
            }));
        }
        in_parallel(&walks, |walk| pass.walk(walk));
        for walk in walks {
            let walk = walk.into_inner();
            let (direction, pseudo_layer) = (walk.direction, walk.pseudo_layer);
            let h = sequences.last_states(walk.outputs, &walk.initial_h, rnn.projection, direction);
            sequences.scatter_state(&h, rnn.projection, last.h.as_mut(), pseudo_layer);
            if rnn.cell == Cell::Lstm {
                let c = sequences.last_states(walk.lane.cells, &walk.initial_c, rnn.hidden, direction);
                sequences.scatter_state(&c, rnn.hidden, last.c.as_mut(), pseudo_layer);
            }
            if layer + 1 == rnn.layers {
                sequences.scatter(walk.outputs, rnn.projection, &mut y, direction * rnn.projection);
            } else {
                walk.lane.outputs.copy_from_slice(walk.outputs);
            }
        }
        let outputs = outputs.iter().map(Vec::as_slice).collect::<Vec<_>>();
        input = side_by_side(&outputs, rnn.projection);
    }
}

/// Runs the directions of a layer, side by side where there are two.
///
/// Even one direction enters the thread pool here, once for all its steps: work forked inside the pool
/// starts without waking anybody from outside, which every step would otherwise pay for.
pub(super) fn in_parallel<T: Send>(walks: &[Mutex<T>], body: impl Fn(&mut T) + Send + Sync) {
    threads::for_each(walks.len().max(2), |index| {
        if let Some(walk) = walks.get(index) {
            body(&mut walk.lock());
        }
    });
}

/// One direction of one layer on its way along the sequences.
struct Walk<'a, R> {
    pseudo_layer: usize,
    direction: usize,
    initial_h: Vec<R>,
    initial_c: Vec<R>,
    outputs: &'a mut [R],
    lane: Lane<&'a mut [R]>,
}

struct Pass<'a, R> {
    rnn: &'a Rnn,
    weights: &'a RnnWeights,
    weight_space: &'a [R],
    sequences: &'a Sequences,
}

impl<R: Real> Pass<'_, R> {
    /// Elements of a state c.
    fn cell_width(&self) -> usize {
        if self.rnn.cell == Cell::Lstm { self.rnn.hidden } else { 0 }
    }

    /// Fills the gates of all steps with biases and the input's products.
    fn input_products(&self, pseudo_layer: usize, input: &[R], gates: &mut [R]) {
        let (rnn, hidden) = (self.rnn, self.rnn.hidden);
        if gates.is_empty() {
            return;
        }
        let mut bias = vec![R::ZERO; rnn.gate_width()];
        for operand in [Operand::Input, Operand::State] {
            for run in self.weights.biases(rnn, pseudo_layer, operand) {
                let target = &mut bias[run.column * hidden..(run.column + 1) * hidden];
                add(target, &self.weight_space[run.place..run.place + hidden]);
            }
        }
        gates.chunks_exact_mut(bias.len()).for_each(|row| row.copy_from_slice(&bias));
        let width = rnn.layer_input(pseudo_layer / rnn.directions());
        let runs = self.weights.runs(rnn, pseudo_layer, Operand::Input);
        if runs.is_empty() {
            for (row, input) in gates.chunks_exact_mut(bias.len()).zip(input.chunks_exact(hidden)) {
                for gate in row[..rnn.cell.gates() * hidden].chunks_exact_mut(hidden) {
                    add(gate, input);
                }
            }
        }
        let rows = gates.len() / bias.len();
        for run in runs {
            let weights = matrix(&self.weight_space[run.place..], 1, width);
            let shape = GemmShape { m: rows, n: run.count * hidden, k: width, batch: 1 };
            let target = &mut gates[run.column * hidden..];
            multiply(shape, matrix(input, width, 1), weights, target, bias.len());
        }
    }

    /// Computes the steps in order.
    fn walk(&self, walk: &mut Walk<'_, R>) {
        let (rnn, sequences) = (self.rnn, self.sequences);
        let (hidden, projection) = (rnn.hidden, rnn.projection);
        let packed = sequences.rows() >= WORTH_PACKING;
        let panels = packed.then(|| self.pack_state(walk.pseudo_layer));
        let projecting = self.weights.projection(rnn, walk.pseudo_layer, self.weight_space);
        let project_panels =
            projecting.filter(|_| packed).map(|matrix| transposed(matrix, projection, hidden));
        let gate_width = rnn.gate_width();
        for step in sequences.walk(walk.direction) {
            let (previous, outputs) = neighbours(walk.outputs, projection, step);
            let states = Earlier { previous, initial: &walk.initial_h, kept: step.kept, width: projection };
            let (previous, cells) = neighbours(walk.lane.cells, self.cell_width(), step);
            let cells_before =
                Earlier { previous, initial: &walk.initial_c, kept: step.kept, width: self.cell_width() };
            let rows = step.start..step.start + step.count;
            let gates = &mut walk.lane.gates[rows.start * gate_width..rows.end * gate_width];
            if panels.is_none() {
                self.state_products(walk.pseudo_layer, &states, step.count, gates);
            }
            let (unprojected, projected) = if projecting.is_some() {
                (&mut walk.lane.hidden[rows.start * hidden..rows.end * hidden], outputs)
            } else {
                (outputs, &mut [][..])
            };
            let forward = ForwardStep {
                cell: rnn.cell,
                clip: rnn.clip,
                hidden,
                count: step.count,
                states,
                cells_before,
                panels: panels.as_ref(),
                gates: Columns::new(gates, gate_width),
                cells: Columns::new(cells, self.cell_width()),
                outputs: Columns::new(unprojected, hidden),
            };
            forward.run();
            if let Some(weights) = projecting {
                if let Some(panels) = &project_panels {
                    let rows = Rows { data: unprojected, stride: hidden, count: step.count };
                    project(rows, panels, projected, projection);
                } else {
                    projected.fill(R::ZERO);
                    let shape = GemmShape { m: step.count, n: projection, k: hidden, batch: 1 };
                    let weights = matrix(weights, 1, hidden);
                    multiply(shape, matrix(unprojected, hidden, 1), weights, projected, projection);
                }
            }
        }
    }

    /// Adds the state's products to the gates of a step, the matrices as they lie.
    fn state_products(&self, pseudo_layer: usize, states: &Earlier<'_, R>, count: usize, gates: &mut [R]) {
        let (rnn, width) = (self.rnn, self.rnn.gate_width());
        for run in self.weights.runs(rnn, pseudo_layer, Operand::State) {
            let weights = matrix(&self.weight_space[run.place..], 1, rnn.projection);
            let mut first = 0;
            for rows in states.pieces(0..count).into_iter().filter(|rows| rows.count > 0) {
                let shape =
                    GemmShape { m: rows.count, n: run.count * rnn.hidden, k: rnn.projection, batch: 1 };
                let target = &mut gates[first * width + run.column * rnn.hidden..];
                multiply(shape, matrix(rows.data, rows.stride, 1), weights, target, width);
                first += rows.count;
            }
        }
    }

    /// The state's matrices in panels: number `block·gates + gate`.
    fn pack_state(&self, pseudo_layer: usize) -> Panels<R> {
        let (rnn, gates) = (self.rnn, self.rnn.cell.gates());
        let [hidden, depth] = [rnn.hidden, rnn.projection];
        Panels::new(hidden.div_ceil(WIDTH) * gates, depth, |index, panel| {
            let (first, gate) = (index / gates * WIDTH, index % gates);
            let rows = first..hidden.min(first + WIDTH);
            let matrix = self.weights.state_matrix(rnn, pseudo_layer, gate, self.weight_space);
            fill_transposed(panel, &matrix[rows.start * depth..rows.end * depth], depth);
        })
    }
}

/// A matrix `[rows, columns]`, transposed, in panels.
fn transposed<R: Real>(matrix: &[R], rows: usize, columns: usize) -> Panels<R> {
    Panels::new(rows.div_ceil(WIDTH), columns, |block, panel| {
        let rows = block * WIDTH..rows.min((block + 1) * WIDTH);
        fill_transposed(panel, &matrix[rows.start * columns..rows.end * columns], columns);
    })
}
