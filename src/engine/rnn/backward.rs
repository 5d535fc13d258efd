//! The gradients of x and of the initial states.

use std::ops::Range;

use parking_lot::Mutex;

use super::backward_raw::{BackwardStep, StateGradient};
use super::forward::in_parallel;
use super::forward_raw::Earlier;
use super::network::{Cell, Rnn};
use super::panels_raw::{Columns, Panels, Rows, WIDTH, fill_straight};
use super::sequences::{Sequences, Step, neighbours};
use super::space::{Dropping, Lane, all_outputs, lanes, lanes_mut};
use super::weights::{Operand, RnnWeights};
use super::{RnnStates, RnnStatesMut, add, check_states, matrix, multiply};
use crate::dropout_raw::DropoutSeed;
use crate::shape::GemmShape;
use crate::tensor::{Real, TensorMut, TensorRef};

/// dx and the gradients of the initial states: `cudnnRNNBackwardData_v8`.
///
/// Operands as in [`super::rnn_forward`]: `initial`, y, `reserve` and `dropout` those of the training pass;
/// dy and `dlast` the gradients of y and of the last states. dx is 0 beyond a sequence's length; dy is not
/// read there. The reserve then holds the gradients of the gates, for [`super::rnn_backward_weights`] alone.
///
/// # Panics
/// If shapes, lengths or places do not fit each other.
pub fn rnn_backward_data<R: Real>(
    rnn: &Rnn,
    lengths: &[usize],
    weights: &RnnWeights,
    weight_space: &[R],
    initial: RnnStates<'_, R>,
    y: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    dlast: RnnStates<'_, R>,
    mut dx: TensorMut<'_, R>,
    mut dinitial: RnnStatesMut<'_, R>,
    reserve: &mut [R],
    dropout: DropoutSeed,
) {
    rnn.check();
    weights.check(rnn, weight_space.len());
    let steps = super::check_sequences(rnn, lengths, &dx.layout, &y.layout);
    assert_eq!(dy.layout.dims(), y.layout.dims(), "dy is as large as y");
    for layouts in [initial.layouts(), dlast.layouts(), dinitial.layouts()] {
        check_states(rnn, lengths.len(), layouts);
    }
    let needed = rnn.reserve_elements(lengths, steps);
    assert!(reserve.len() >= needed, "the reserve has {} of {needed} elements", reserve.len());
    let sequences = Sequences::new(lengths, steps);
    let rows = sequences.rows();
    let outputs = all_outputs(rnn, &sequences, &lanes(rnn, rows, reserve), y);
    let directions = rnn.directions();
    let dropping = Dropping { rnn, sequences: &sequences, steps, seed: dropout };
    let pass = Pass { rnn, weights, weight_space, sequences: &sequences };
    let direction_columns = |direction: usize| direction * rnn.projection..(direction + 1) * rnn.projection;
    let mut gradients = (0..directions)
        .map(|direction| sequences.gather(dy, direction_columns(direction)))
        .collect::<Vec<_>>();
    let mut all_lanes = lanes_mut(rnn, rows, 0..rnn.pseudo_layers(), reserve);
    for layer in (0..rnn.layers).rev() {
        let first = layer * directions;
        let mut walks = Vec::new();
        for (direction, lane) in all_lanes.drain(first..).enumerate() {
            let pseudo_layer = first + direction;
            walks.push(Mutex::new(Walk {
                pseudo_layer,
                direction,
                initial_h: sequences.gather_state(initial.h, pseudo_layer, rnn.projection),
                initial_c: sequences.gather_state(initial.c, pseudo_layer, pass.cell_width()),
                outputs: &outputs[pseudo_layer],
                gradients: &gradients[direction],
                carry_h: sequences.gather_state(dlast.h, pseudo_layer, rnn.projection),
                carry_c: sequences.gather_state(dlast.c, pseudo_layer, pass.cell_width()),
                lane,
            }));
        }
        in_parallel(&walks, |walk| pass.walk(walk));
        let width = rnn.layer_input(layer);
        let mut dinput = vec![R::ZERO; rows * width];
        for walk in walks {
            let walk = walk.into_inner();
            let pseudo_layer = walk.pseudo_layer;
            sequences.scatter_state(&walk.carry_h, rnn.projection, dinitial.h.as_mut(), pseudo_layer);
            if rnn.cell == Cell::Lstm {
                sequences.scatter_state(&walk.carry_c, rnn.hidden, dinitial.c.as_mut(), pseudo_layer);
            }
            pass.input_gradient(pseudo_layer, walk.lane.gates, &mut dinput);
        }
        if layer == 0 {
            sequences.scatter(&dinput, width, &mut dx, 0);
            sequences.clear_rest(&mut dx);
        } else {
            dropping.apply(layer, &mut dinput);
            gradients = (0..directions)
                .map(|direction| columns(&dinput, width, direction_columns(direction)))
                .collect();
        }
    }
}

/// Some columns of packed rows.
fn columns<R: Real>(rows: &[R], width: usize, columns: Range<usize>) -> Vec<R> {
    rows.chunks_exact(width.max(1)).flat_map(|row| &row[columns.clone()]).copied().collect()
}

/// The states that a step began with.
fn earlier<'a, R>(step: Step, rows: &'a [R], initial: &'a [R], width: usize) -> Earlier<'a, R> {
    let previous = &rows[step.previous * width..(step.previous + step.kept) * width];
    Earlier { previous, initial, kept: step.kept, width }
}

/// One direction of one layer on its way back.
struct Walk<'a, R> {
    pseudo_layer: usize,
    direction: usize,
    initial_h: Vec<R>,
    initial_c: Vec<R>,
    outputs: &'a [R],
    gradients: &'a [R],
    carry_h: Vec<R>,
    carry_c: Vec<R>,
    lane: Lane<&'a mut [R]>,
}

struct Pass<'a, R> {
    rnn: &'a Rnn,
    weights: &'a RnnWeights,
    weight_space: &'a [R],
    sequences: &'a Sequences,
}

/// What stays the same for all steps of a direction.
struct Matrices<R> {
    state: Panels<R>,
    /// Gates' columns that the state is multiplied into.
    parts: [Range<usize>; 2],
    projection: Option<Panels<R>>,
}

impl<R: Real> Pass<'_, R> {
    fn cell_width(&self) -> usize {
        if self.rnn.cell == Cell::Lstm { self.rnn.hidden } else { 0 }
    }

    /// Computes the steps, the last of the walk first.
    fn walk(&self, walk: &mut Walk<'_, R>) {
        let matrices = self.matrices(walk.pseudo_layer);
        let steps = self.sequences.walk(walk.direction);
        for (position, &step) in steps.iter().enumerate().rev() {
            let next = steps.get(position + 1);
            self.step(walk, &matrices, step, next.map_or((0, 0), |next| (next.start, next.kept)));
            self.finish(walk, &matrices, step);
        }
    }

    /// The state's matrices and the projection in panels.
    fn matrices(&self, pseudo_layer: usize) -> Matrices<R> {
        let rnn = self.rnn;
        let [hidden, width, gates] = [rnn.hidden, rnn.projection, rnn.cell.gates()];
        let state = Panels::new(width.div_ceil(WIDTH), gates * hidden, |block, panel| {
            for gate in 0..gates {
                let matrix = self.weights.state_matrix(rnn, pseudo_layer, gate, self.weight_space);
                let target = &mut panel[gate * hidden * WIDTH..(gate + 1) * hidden * WIDTH];
                fill_straight(target, matrix, width, block * WIDTH);
            }
        });
        let parts = match rnn.cell {
            Cell::Gru => [0..2 * hidden, 3 * hidden..4 * hidden],
            _ => [0..gates * hidden, 0..0],
        };
        let projection = self.weights.projection(rnn, pseudo_layer, self.weight_space).map(|matrix| {
            Panels::new(hidden.div_ceil(WIDTH), width, |block, panel| {
                fill_straight(panel, matrix, hidden, block * WIDTH);
            })
        });
        Matrices { state, parts, projection }
    }

    /// The gates' gradients of a step. `next` is the row of the step after it on the walk and how many
    /// sequences go on to there.
    fn step(
        &self,
        walk: &mut Walk<'_, R>,
        matrices: &Matrices<R>,
        step: Step,
        (next_start, next_count): (usize, usize),
    ) {
        let rnn = self.rnn;
        let [hidden, width, gate_width] = [rnn.hidden, rnn.projection, rnn.gate_width()];
        let rows = step.start..step.start + step.count;
        let around = Step { previous: next_start, kept: next_count, ..step };
        let (next, gates) = neighbours(walk.lane.gates, gate_width, around);
        let mut state = StateGradient {
            outputs: Some(&walk.gradients[rows.start * width..rows.end * width]),
            next: Rows { data: next, stride: gate_width, count: next_count },
            parts: matrices.parts.clone(),
            panels: &matrices.state,
            carry: Columns::new(&mut walk.carry_h, width),
            width,
        };
        let mut nothing = Vec::new();
        if let Some(panels) = &matrices.projection {
            let projected = &mut walk.lane.projected[rows.start * width..rows.end * width];
            state.write(0..step.count, Some(&Columns::new(projected, width)));
            walk.carry_h[..step.count * width].fill(R::ZERO);
            nothing.resize(step.count * hidden, R::ZERO);
            state = StateGradient {
                outputs: None,
                next: Rows { data: projected, stride: width, count: step.count },
                parts: [0..width, 0..0],
                panels,
                carry: Columns::new(&mut nothing, hidden),
                width: hidden,
            };
        }
        let cell_width = self.cell_width();
        let backward = BackwardStep {
            cell: rnn.cell,
            clip: rnn.clip,
            hidden,
            count: step.count,
            state,
            states_before: earlier(step, walk.outputs, &walk.initial_h, width),
            outputs: &walk.outputs[rows.start * width..rows.end * width],
            cells_before: earlier(step, walk.lane.cells, &walk.initial_c, cell_width),
            cells: &walk.lane.cells[rows.start * cell_width..rows.end * cell_width],
            gates: Columns::new(gates, gate_width),
            carry_c: Columns::new(&mut walk.carry_c, cell_width),
        };
        backward.run();
    }

    /// Completes the gradients of the initial states of sequences that began with this step.
    fn finish(&self, walk: &mut Walk<'_, R>, matrices: &Matrices<R>, step: Step) {
        let [width, gate_width] = [self.rnn.projection, self.rnn.gate_width()];
        let rows = step.start * gate_width..(step.start + step.count) * gate_width;
        let state = StateGradient {
            outputs: None,
            next: Rows { data: &walk.lane.gates[rows], stride: gate_width, count: step.count },
            parts: matrices.parts.clone(),
            panels: &matrices.state,
            carry: Columns::new(&mut walk.carry_h, width),
            width,
        };
        state.write(step.kept..step.count, None);
    }

    /// Adds the gradient of a layer's input through one direction's gates.
    fn input_gradient(&self, pseudo_layer: usize, gates: &[R], dinput: &mut [R]) {
        let (rnn, hidden, gate_width) = (self.rnn, self.rnn.hidden, self.rnn.gate_width());
        let width = rnn.layer_input(pseudo_layer / rnn.directions());
        if dinput.is_empty() {
            return;
        }
        let runs = self.weights.runs(rnn, pseudo_layer, Operand::Input);
        if runs.is_empty() {
            for (row, gates) in dinput.chunks_exact_mut(width).zip(gates.chunks_exact(gate_width)) {
                for gate in gates[..rnn.cell.gates() * hidden].chunks_exact(hidden) {
                    add(row, gate);
                }
            }
        }
        for run in runs {
            let shape = GemmShape { m: self.sequences.rows(), n: width, k: run.count * hidden, batch: 1 };
            let gates = matrix(&gates[run.column * hidden..], gate_width, 1);
            let weights = matrix(&self.weight_space[run.place..], width, 1);
            multiply(shape, gates, weights, dinput, width);
        }
    }
}
