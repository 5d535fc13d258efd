//! Recurrent networks, element by element from cuDNN's equations.

/// The unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// max(0, x).
    Relu,
    /// tanh.
    Tanh,
    /// Linear layers 0–3 and 4–7: input, forget, new memory, output; 8: projection.
    Lstm,
    /// Linear layers 0–2 and 3–5: reset, update, new.
    Gru,
}

/// Sizes of a network and of a batch of sequences.
#[derive(Clone, Debug)]
pub struct Network {
    /// The unit.
    pub unit: Unit,
    /// Layers.
    pub layers: usize,
    /// 1 or 2.
    pub directions: usize,
    /// Elements of x at each step.
    pub input: usize,
    /// Elements of a gate.
    pub hidden: usize,
    /// Elements of h; projected where it differs from `hidden`.
    pub projection: usize,
    /// Whether x counts as each gate's product in the first layer.
    pub skips_input: bool,
    /// Range of the cell state.
    pub clip: Option<(f64, f64)>,
    /// Steps of x.
    pub steps: usize,
    /// Steps of each sequence.
    pub lengths: Vec<usize>,
}

/// Numbers by their indices.
pub type Numbers<'a, const N: usize> = &'a dyn Fn([usize; N]) -> f64;

/// What a network is applied to.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// `[pseudo layer, linear layer, row, column]`.
    pub matrix: Numbers<'a, 4>,
    /// `[pseudo layer, linear layer, row]`; 0 where there is no bias.
    pub bias: Numbers<'a, 3>,
    /// `[steps, batch, input]`.
    pub x: &'a [f64],
    /// `[layers·directions, batch, projection]`.
    pub h: &'a [f64],
    /// `[layers·directions, batch, hidden]`.
    pub c: &'a [f64],
    /// `[layer, step, sequence, column]`: the factor of an element of a layer's input.
    pub dropout: Numbers<'a, 4>,
}

/// Outputs and last states, by rows.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `[steps, batch, directions·projection]`, 0 beyond each length.
    pub y: Vec<f64>,
    /// `[layers·directions, batch, projection]`.
    pub h: Vec<f64>,
    /// `[layers·directions, batch, hidden]`.
    pub c: Vec<f64>,
}

/// Applies a network.
pub fn forward(network: &Network, operands: Operands<'_>) -> Outcome {
    let Network { layers, directions, hidden, projection, steps, .. } = *network;
    let batch = network.lengths.len();
    let output = directions * projection;
    let mut outcome = Outcome { y: Vec::new(), h: operands.h.to_vec(), c: operands.c.to_vec() };
    let (mut below, mut width) = (operands.x.to_vec(), network.input);
    for layer in 0..layers {
        let mut above = vec![0.0; steps * batch * output];
        for direction in 0..directions {
            let pseudo = layer * directions + direction;
            for (b, &length) in network.lengths.iter().enumerate() {
                let h_place = (pseudo * batch + b) * projection;
                let c_place = (pseudo * batch + b) * hidden;
                let mut h = operands.h[h_place..h_place + projection].to_vec();
                let mut c = operands.c[c_place..c_place + hidden].to_vec();
                for position in 0..length {
                    let t = if direction == 0 { position } else { length - 1 - position };
                    let x: Vec<f64> = (0..width)
                        .map(|j| below[(t * batch + b) * width + j] * (operands.dropout)([layer, t, b, j]))
                        .collect();
                    h = step(network, operands, pseudo, &x, &h, &mut c);
                    let place = (t * batch + b) * output + direction * projection;
                    above[place..place + projection].copy_from_slice(&h);
                }
                outcome.h[h_place..h_place + projection].copy_from_slice(&h);
                outcome.c[c_place..c_place + hidden].copy_from_slice(&c);
            }
        }
        (below, width) = (above, output);
    }
    outcome.y = below;
    outcome
}

/// The state after one step; the cell state is replaced.
fn step(
    network: &Network,
    operands: Operands<'_>,
    pseudo: usize,
    x: &[f64],
    h: &[f64],
    c: &mut [f64],
) -> Vec<f64> {
    let gates = match network.unit {
        Unit::Relu | Unit::Tanh => 1,
        Unit::Lstm => 4,
        Unit::Gru => 3,
    };
    let skips = network.skips_input && pseudo < network.directions;
    let product = |id: usize, row: usize, vector: &[f64]| -> f64 {
        (0..vector.len()).map(|column| (operands.matrix)([pseudo, id, row, column]) * vector[column]).sum()
    };
    let from_input = |gate: usize, row: usize| {
        let sum = if skips { x[row] } else { product(gate, row, x) };
        sum + (operands.bias)([pseudo, gate, row])
    };
    let from_state = |gate: usize, row: usize| {
        product(gates + gate, row, h) + (operands.bias)([pseudo, gates + gate, row])
    };
    let both = |gate: usize, row: usize| from_input(gate, row) + from_state(gate, row);
    let unprojected: Vec<f64> = (0..network.hidden)
        .map(|row| match network.unit {
            Unit::Relu => both(0, row).max(0.0),
            Unit::Tanh => both(0, row).tanh(),
            Unit::Lstm => {
                c[row] = logistic(both(1, row)) * c[row] + logistic(both(0, row)) * both(2, row).tanh();
                if let Some((min, max)) = network.clip {
                    c[row] = c[row].clamp(min, max);
                }
                logistic(both(3, row)) * c[row].tanh()
            }
            Unit::Gru => {
                let new = (from_input(2, row) + logistic(both(0, row)) * from_state(2, row)).tanh();
                let update = logistic(both(1, row));
                (1.0 - update) * new + update * h[row]
            }
        })
        .collect();
    if network.projection == network.hidden {
        return unprojected;
    }
    (0..network.projection).map(|row| product(2 * gates, row, &unprojected)).collect()
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The slope of a function at 0 by central differences, extrapolated; `None` where it has a kink nearby.
pub fn slope(f: impl Fn(f64) -> f64) -> Option<f64> {
    const REACH: f64 = 1e-4;
    let [far_left, left, middle, right, far_right] = [-2.0, -1.0, 0.0, 1.0, 2.0].map(|step| f(step * REACH));
    let (wide, narrow) = ((far_right - far_left) / (4.0 * REACH), (right - left) / (2.0 * REACH));
    // A smooth function's second difference grows with the square of the reach, a kink's with the reach.
    let second = (far_left - 2.0 * middle + far_right) - 4.0 * (left - 2.0 * middle + right);
    let bends = (second / REACH).abs();
    let scale = 1.0 + narrow.abs();
    let smooth = (wide - narrow).abs() <= 1e-5 * scale && bends <= 1e-6 * scale;
    smooth.then_some((4.0 * narrow - wide) / 3.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_step_of_a_tanh_unit_by_hand() {
        let network = Network {
            unit: Unit::Tanh,
            layers: 1,
            directions: 1,
            input: 1,
            hidden: 1,
            projection: 1,
            skips_input: false,
            clip: None,
            steps: 2,
            lengths: vec![1],
        };
        let operands = Operands {
            matrix: &|[_, id, _, _]| [2.0, 3.0][id],
            bias: &|_| 0.25,
            x: &[0.5, 9.0],
            h: &[-1.0],
            c: &[0.0],
            dropout: &|_| 1.0,
        };
        let outcome = forward(&network, operands);
        let h = (2.0f64 * 0.5 - 3.0 + 0.5).tanh();
        assert_eq!((outcome.y, outcome.h), (vec![h, 0.0], vec![h]));
    }

    #[test]
    fn slopes_of_smooth_functions_are_found_and_kinks_refused() {
        assert!((slope(|x| (0.3 + x).sin()).unwrap() - 0.3f64.cos()).abs() < 1e-11);
        assert_eq!(slope(f64::abs), None);
        assert_eq!(slope(|x| (x - 1.3e-4).max(0.0)), None);
    }
}
