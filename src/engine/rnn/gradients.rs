//! The gradients of matrices and biases.

use super::network::Rnn;
use super::sequences::Sequences;
use super::space::{Dropping, all_outputs, lanes, side_by_side};
use super::weights::{Operand, RnnWeights};
use super::{check_states, matrix, multiply};
use crate::dropout_raw::DropoutSeed;
use crate::shape::GemmShape;
use crate::tensor::{Real, TensorRef};

/// Adds the gradients of the weights to `dweights`: `cudnnRNNBackwardWeights_v8` with
/// `CUDNN_WGRAD_MODE_ADD`.
///
/// Operands as in [`super::rnn_forward`]; the reserve is what [`super::rnn_backward_data`] left. Each
/// gradient lies where `weights` has its matrix or bias; other elements of `dweights` stay as they are.
///
/// # Panics
/// If shapes, lengths or places do not fit each other.
pub fn rnn_backward_weights<R: Real>(
    rnn: &Rnn,
    lengths: &[usize],
    weights: &RnnWeights,
    x: TensorRef<'_, R>,
    initial_h: Option<TensorRef<'_, R>>,
    y: TensorRef<'_, R>,
    reserve: &[R],
    dropout: DropoutSeed,
    dweights: &mut [R],
) {
    rnn.check();
    weights.check(rnn, dweights.len());
    let steps = super::check_sequences(rnn, lengths, &x.layout, &y.layout);
    check_states(rnn, lengths.len(), [initial_h.map(|h| h.layout), None]);
    let needed = rnn.reserve_elements(lengths, steps);
    assert!(reserve.len() >= needed, "the reserve has {} of {needed} elements", reserve.len());
    let sequences = Sequences::new(lengths, steps);
    let rows = sequences.rows();
    let lanes = lanes(rnn, rows, reserve);
    let outputs = all_outputs(rnn, &sequences, &lanes, y);
    let dropping = Dropping { rnn, sequences: &sequences, steps, seed: dropout };
    let [hidden, projection, gate_width] = [rnn.hidden, rnn.projection, rnn.gate_width()];
    for layer in 0..rnn.layers {
        let first = layer * rnn.directions();
        let width = rnn.layer_input(layer);
        let mut input = if layer == 0 {
            sequences.gather(x, 0..width)
        } else {
            let below =
                outputs[first - rnn.directions()..first].iter().map(Vec::as_slice).collect::<Vec<_>>();
            side_by_side(&below, projection)
        };
        dropping.apply(layer, &mut input);
        for direction in 0..rnn.directions() {
            let pseudo_layer = first + direction;
            let lane = &lanes[pseudo_layer];
            let initial = sequences.gather_state(initial_h, pseudo_layer, projection);
            let states = sequences.earlier_states(&outputs[pseudo_layer], &initial, projection, direction);
            for (operand, values, width) in
                [(Operand::Input, &input, width), (Operand::State, &states, projection)]
            {
                for run in weights.runs(rnn, pseudo_layer, operand) {
                    let shape = GemmShape { m: run.count * hidden, n: width, k: rows, batch: 1 };
                    let gates = matrix(lane.gates.get(run.column * hidden..).unwrap_or(&[]), 1, gate_width);
                    multiply(shape, gates, matrix(values, width, 1), &mut dweights[run.place..], width);
                }
                for run in weights.biases(rnn, pseudo_layer, operand) {
                    let target = &mut dweights[run.place..run.place + hidden];
                    add_column_sums(lane.gates, gate_width, run.column * hidden, target);
                }
            }
            if rnn.projects() {
                let id = rnn.linear_count() - 1;
                let target = weights.place(pseudo_layer, id).matrix.map(|place| &mut dweights[place..]);
                let shape = GemmShape { m: projection, n: hidden, k: rows, batch: 1 };
                let [projected, wide] =
                    [matrix(lane.projected, 1, projection), matrix(lane.hidden, hidden, 1)];
                multiply(shape, projected, wide, target.unwrap_or_default(), hidden);
            }
        }
    }
}

/// `target[u] += Σ_row rows[row][column + u]`, summed in double precision.
fn add_column_sums<R: Real>(rows: &[R], width: usize, column: usize, target: &mut [R]) {
    let mut sums = vec![0.0; target.len()];
    for row in rows.chunks_exact(width.max(1)) {
        for (sum, &element) in sums.iter_mut().zip(&row[column..]) {
            *sum += element.to_double();
        }
    }
    for (target, sum) in target.iter_mut().zip(sums) {
        *target = *target + R::of(sum);
    }
}
