//! Connectionist temporal classification.
//!
//! A. Graves, S. Fernández, F. Gomez, J. Schmidhuber, "Connectionist temporal classification: labelling
//! unsegmented sequence data with recurrent neural networks", ICML 2006,
//! <https://doi.org/10.1145/1143844.1143891>.
//!
//! With l′ the labels of an example, a blank before, between and behind them, and y the probabilities:
//!
//! ```text
//! α(t, s) = y(t, l′ₛ)·(α(t−1, s) + α(t−1, s−1) [+ α(t−1, s−2) where l′ₛ is no blank and differs from l′ₛ₋₂])
//! P = α(T−1, last) + α(T−1, last − 1)        cost = −ln P
//! ```
//!
//! and β the same from the end. All in logarithms and double precision.

use parking_lot::Mutex;

use crate::tensor::{Real, TensorMut, TensorRef};
use crate::threads;

/// The blank's label.
const BLANK: usize = 0;

/// What the activations are, `cudnnLossNormalizationMode_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtcNormalization {
    /// Anything: their softmax over the alphabet are the probabilities.
    Softmax,
    /// The probabilities themselves, which came out of a softmax. The gradients are those of that
    /// softmax's input nevertheless, as cuDNN documents for `CUDNN_LOSS_NORMALIZATION_NONE`.
    None,
}

/// Costs and gradients of a batch of examples: `cudnnCTCLoss`.
///
/// Activations are `[steps, batch, alphabet]`, label 0 the blank; `labels` has the labels of all examples
/// one after the other. Example n uses its first `input_lengths[n]` steps. `costs[n]` becomes −ln P of its
/// labels. The gradients, of the same shape as the activations, are those of the costs with respect to the
/// activations before the softmax: y(t, a) − Σ over s with l′ₛ = a of α(t, s)·β(t, s)/(y(t, a)·P), and 0
/// beyond the input length. An example whose labels no path of its length spells costs ∞ and has gradients
/// of 0, so that a program that leaves such examples out is right without looking. An activation that is NaN makes the cost and the gradients of its example NaN.
///
/// # Panics
/// If shapes and lengths do not fit each other, or a label is outside the alphabet.
pub fn ctc_loss<R: Real>(
    normalization: CtcNormalization,
    activations: TensorRef<'_, R>,
    labels: &[i32],
    label_lengths: &[usize],
    input_lengths: &[usize],
    costs: &mut [R],
    gradients: Option<TensorMut<'_, R>>,
) {
    let &[steps, batch, alphabet] = activations.layout.dims() else {
        panic!("activations are [steps, batch, alphabet], not {:?}", activations.layout)
    };
    let counts = [label_lengths.len(), input_lengths.len(), costs.len()];
    assert_eq!(counts, [batch; 3], "lengths and costs of {batch} examples");
    assert_eq!(label_lengths.iter().sum::<usize>(), labels.len(), "as many labels as the lengths say");
    assert!(input_lengths.iter().all(|&length| length <= steps), "{input_lengths:?} of {steps} steps");
    assert!(
        labels.iter().all(|&label| usize::try_from(label).is_ok_and(|label| label < alphabet)),
        "a label outside the alphabet of {alphabet}"
    );
    if let Some(gradients) = &gradients {
        assert_eq!(gradients.layout.dims(), activations.layout.dims(), "gradients of all activations");
    }
    let mut end = 0;
    let spans = label_lengths.iter().map(|&length| {
        end += length;
        &labels[end - length..end]
    });
    let spans = spans.collect::<Vec<_>>();
    let wanted = gradients.is_some();
    let results = costs.iter_mut().map(|cost| Mutex::new((cost, Vec::new()))).collect::<Vec<_>>();
    threads::for_each(batch, |example| {
        let steps = input_lengths[example];
        let logarithms = log_probabilities(normalization, activations, example, steps);
        let lattice = Lattice::new(&logarithms, alphabet, spans[example], steps);
        let alphas = lattice.alphas();
        let total = lattice.total(&alphas);
        let mut result = results[example].lock();
        let possible = total != f64::NEG_INFINITY;
        *result.0 = R::of(-total);
        result.1 = match (wanted, possible) {
            (false, _) => Vec::new(),
            (true, true) if total.is_nan() => vec![R::nan(); steps * alphabet],
            (true, true) => lattice.gradients(&alphas, total),
            (true, false) => vec![R::ZERO; steps * alphabet],
        };
    });
    if let Some(mut gradients) = gradients {
        for (example, result) in results.into_iter().enumerate() {
            let values = result.into_inner().1;
            for step in 0..steps {
                let row = values.get(step * alphabet..(step + 1) * alphabet);
                write_row(&mut gradients, [step, example, 0], row);
            }
        }
    }
}

/// A row of the gradients; zeros without values.
fn write_row<R: Real>(gradients: &mut TensorMut<'_, R>, index: [usize; 3], values: Option<&[R]>) {
    let (place, stride) = (gradients.layout.place(&index), gradients.layout.strides()[2]);
    for position in 0..gradients.layout.dims()[2] {
        gradients.data[place + position * stride] = values.map_or(R::ZERO, |values| values[position]);
    }
}

/// ln y of an example, `[steps, alphabet]`.
fn log_probabilities<R: Real>(
    normalization: CtcNormalization,
    activations: TensorRef<'_, R>,
    example: usize,
    steps: usize,
) -> Vec<f64> {
    let (alphabet, stride) = (activations.layout.dims()[2], activations.layout.strides()[2]);
    let mut logarithms = Vec::with_capacity(steps * alphabet);
    for step in 0..steps {
        let place = activations.layout.place(&[step, example, 0]);
        let start = logarithms.len();
        logarithms.extend((0..alphabet).map(|a| activations.data[place + a * stride].to_double()));
        let row = &mut logarithms[start..];
        match normalization {
            CtcNormalization::None => row.iter_mut().for_each(|value| *value = value.ln()),
            CtcNormalization::Softmax => {
                let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum = row.iter().map(|value| (value - most).exp()).sum::<f64>();
                let shift = most + sum.ln();
                row.iter_mut().for_each(|value| *value -= shift);
            }
        }
    }
    logarithms
}

/// The states that spell an example's labels, over its steps.
struct Lattice<'a> {
    /// ln y, `[steps, alphabet]`.
    logarithms: &'a [f64],
    alphabet: usize,
    steps: usize,
    /// l′.
    states: Vec<usize>,
    /// Whether a state can be reached from the last but one.
    skips: Vec<bool>,
}

impl<'a> Lattice<'a> {
    fn new(logarithms: &'a [f64], alphabet: usize, labels: &[i32], steps: usize) -> Lattice<'a> {
        let with_blank = labels.iter().flat_map(|&label| [label as usize, BLANK]);
        let states = std::iter::once(BLANK).chain(with_blank).collect::<Vec<_>>();
        let skip = |s: usize| s % 2 == 1 && s >= 2 && states[s] != states[s - 2];
        let skips = (0..states.len()).map(skip).collect();
        Lattice { logarithms, alphabet, steps, states, skips }
    }

    /// ln y(t, l′ₛ).
    fn log_probability(&self, step: usize, state: usize) -> f64 {
        self.logarithms[step * self.alphabet + self.states[state]]
    }

    /// ln α, `[steps, states]`.
    fn alphas(&self) -> Vec<f64> {
        let count = self.states.len();
        let mut alphas = vec![f64::NEG_INFINITY; self.steps * count];
        for step in 0..self.steps {
            let (before, rest) = alphas.split_at_mut(step * count);
            let before = before.rchunks_exact(count).next();
            for (s, alpha) in rest[..count].iter_mut().enumerate() {
                let sum = match before {
                    None if s < 2 => 0.0,
                    None => f64::NEG_INFINITY,
                    Some(before) => {
                        let earlier =
                            |back: usize| s.checked_sub(back).map_or(f64::NEG_INFINITY, |s| before[s]);
                        let skipped = if self.skips[s] { earlier(2) } else { f64::NEG_INFINITY };
                        log_sum([before[s], earlier(1), skipped])
                    }
                };
                *alpha = sum + self.log_probability(step, s);
            }
        }
        alphas
    }

    /// ln P. Without steps only an example without labels is spelled.
    fn total(&self, alphas: &[f64]) -> f64 {
        let count = self.states.len();
        match alphas.rchunks_exact(count).next() {
            Some(last) if count > 1 => log_sum([last[count - 1], last[count - 2], f64::NEG_INFINITY]),
            Some(last) => last[0],
            None if count == 1 => 0.0,
            None => f64::NEG_INFINITY,
        }
    }

    /// The gradient of the cost with respect to the softmax's input, `[steps, alphabet]`.
    fn gradients<R: Real>(&self, alphas: &[f64], total: f64) -> Vec<R> {
        let count = self.states.len();
        let mut gradients = vec![R::ZERO; self.steps * self.alphabet];
        let mut betas = vec![f64::NEG_INFINITY; count];
        let mut occupied = vec![0.0; self.alphabet];
        for step in (0..self.steps).rev() {
            let last_step = step + 1 == self.steps;
            occupied.fill(0.0);
            // β(t, s) needs β(t + 1, ·) of s and the states behind it: replaced in order.
            for s in 0..count {
                let later = |ahead: usize| betas.get(s + ahead).copied().unwrap_or(f64::NEG_INFINITY);
                let sum = if last_step {
                    if s + 2 >= count { 0.0 } else { f64::NEG_INFINITY }
                } else {
                    let skips = self.skips.get(s + 2).is_some_and(|&skips| skips);
                    log_sum([betas[s], later(1), if skips { later(2) } else { f64::NEG_INFINITY }])
                };
                // `sum` is β(t, s)/y(t, l′ₛ).
                occupied[self.states[s]] += (alphas[step * count + s] + sum - total).exp();
                betas[s] = sum + self.log_probability(step, s);
            }
            let row = step * self.alphabet..(step + 1) * self.alphabet;
            let values = self.logarithms[row.clone()].iter().zip(&occupied);
            for (gradient, (logarithm, occupied)) in gradients[row].iter_mut().zip(values) {
                *gradient = R::of(logarithm.exp() - occupied);
            }
        }
        gradients
    }
}

/// ln(eᵃ + eᵇ + eᶜ); −∞ stands for ln 0, NaN stays NaN.
fn log_sum(terms: [f64; 3]) -> f64 {
    let most = terms.into_iter().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return terms.into_iter().sum();
    }
    most + terms.into_iter().map(|term| (term - most).exp()).sum::<f64>().ln()
}
