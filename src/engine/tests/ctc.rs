//! CTC costs against the sum over all paths, gradients against its slopes.

mod processes;
mod random;

use gpucompat_engine::{CtcNormalization, Real, ctc_loss};
use gpucompat_reference::ctc::{probability, probability_by_prefixes, softmax};
use gpucompat_reference::rnn::slope;
use random::{Arrangement, Rng, Tensor};

struct Case {
    alphabet: usize,
    steps: usize,
    labels: Vec<Vec<usize>>,
    input_lengths: Vec<usize>,
    /// `[steps, batch, alphabet]`.
    activations: Vec<f64>,
    seed: u64,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case { alphabet, steps, labels, input_lengths, seed, .. } = self;
        write!(f, "{alphabet} symbols, {steps} steps, {labels:?} in {input_lengths:?}, seed {seed}")
    }
}

impl Case {
    fn random(batch: usize, steps: usize, alphabet: usize, most_labels: usize, rng: &mut Rng) -> Case {
        let label = |rng: &mut Rng| rng.between(1, alphabet - 1);
        let labels = |rng: &mut Rng| (0..rng.between(0, most_labels)).map(|_| label(rng)).collect();
        Case {
            alphabet,
            steps,
            labels: (0..batch).map(|_| labels(rng)).collect(),
            input_lengths: (0..batch).map(|_| rng.between(0, steps)).collect(),
            activations: rng.numbers(steps * batch * alphabet).into_iter().map(|x| 3.0 * x).collect(),
            seed: rng.seed,
        }
    }

    /// Activations of one example's steps.
    fn example(&self, example: usize, activations: &[f64]) -> Vec<f64> {
        let row = |t: usize| (t * self.labels.len() + example) * self.alphabet;
        let rows = (0..self.input_lengths[example]).map(|t| &activations[row(t)..row(t) + self.alphabet]);
        rows.flatten().copied().collect()
    }

    fn cost(&self, example: usize, activations: &[f64]) -> f64 {
        let y = softmax(&self.example(example, activations), self.alphabet);
        -probability_by_prefixes(&y, self.alphabet, &self.labels[example]).ln()
    }

    fn run<R: Real>(
        &self,
        normalization: CtcNormalization,
        arrangement: Arrangement,
    ) -> (Vec<f64>, Vec<f64>) {
        let batch = self.labels.len();
        let dims = [self.steps, batch, self.alphabet];
        let values = match normalization {
            CtcNormalization::Softmax => self.activations.clone(),
            CtcNormalization::None => softmax(&self.activations, self.alphabet),
        };
        let activations = Tensor::<R>::filled(dims, arrangement, &values);
        let mut gradients = Tensor::<R>::poisoned(dims, arrangement);
        let labels = self.labels.iter().flatten().map(|&label| label as i32).collect::<Vec<_>>();
        let label_lengths = self.labels.iter().map(Vec::len).collect::<Vec<_>>();
        let mut costs = vec![R::nan(); batch];
        let inputs = (activations.view(), &labels[..], &label_lengths[..], &self.input_lengths[..]);
        let (activations, labels, label_lengths, input_lengths) = inputs;
        let wanted = Some(gradients.view_mut());
        ctc_loss(normalization, activations, labels, label_lengths, input_lengths, &mut costs, wanted);
        let mut alone = vec![R::nan(); batch];
        ctc_loss(normalization, activations, labels, label_lengths, input_lengths, &mut alone, None);
        let costs = costs.into_iter().map(Real::to_double).collect::<Vec<_>>();
        let same =
            costs.iter().zip(&alone).all(|(cost, alone)| cost.to_bits() == alone.to_double().to_bits());
        assert!(same, "costs depend on whether gradients are wanted: {self:?}");
        (costs, gradients.values())
    }

    /// Panics unless costs and gradients agree with the reference. `tolerance` is that of a cost of 1.
    fn check<R: Real>(&self, tolerance: f64, rng: &mut Rng) {
        for normalization in [CtcNormalization::Softmax, CtcNormalization::None] {
            let (costs, gradients) = self.run::<R>(normalization, Arrangement::random(rng));
            for (example, &found) in costs.iter().enumerate() {
                let expected = self.cost(example, &self.activations);
                let agrees = found == expected || (found - expected).abs() <= tolerance * (1.0 + expected);
                assert!(agrees, "cost {example} is {found}, not {expected}: {self:?}");
            }
            for (index, &gradient) in gradients.iter().enumerate() {
                let (t, example) =
                    (index / self.alphabet / self.labels.len(), index / self.alphabet % self.labels.len());
                if t >= self.input_lengths[example] {
                    assert_eq!(gradient, 0.0, "beyond the input length: {self:?}");
                } else if costs[example].is_infinite() {
                    assert_eq!(gradient, 0.0, "{self:?}");
                }
            }
            // Only activations before the softmax move freely.
            let along = rng.numbers(self.activations.len());
            let possible = |example: &usize| costs[*example].is_finite();
            let moved = |distance: f64| {
                let activations = self.activations.iter().zip(&along).map(|(x, along)| x + distance * along);
                let activations = activations.collect::<Vec<_>>();
                (0..costs.len()).filter(possible).map(|example| self.cost(example, &activations)).sum()
            };
            let expected = slope(moved).expect("the cost is smooth");
            let products = gradients.iter().zip(&along).map(|(gradient, along)| gradient * along);
            let products = products.filter(|product| !product.is_nan()).collect::<Vec<_>>();
            let magnitude = 1.0 + products.iter().map(|product| product.abs()).sum::<f64>();
            let found = products.iter().sum::<f64>();
            assert!(
                (found - expected).abs() <= tolerance.max(1e-9) * magnitude,
                "{normalization:?}: {found}, the slope is {expected}: {self:?}"
            );
        }
    }
}

#[test]
fn costs_are_the_sum_over_all_paths() {
    let mut rng = Rng::from_clock();
    for _ in 0..40 {
        let case = Case::random(2, 5, 4, 4, &mut rng);
        let (costs, _) = case.run::<f64>(CtcNormalization::Softmax, Arrangement::random(&mut rng));
        for (example, cost) in costs.into_iter().enumerate() {
            let y = softmax(&case.example(example, &case.activations), case.alphabet);
            let expected = -probability(&y, case.alphabet, &case.labels[example]).ln();
            let agrees = cost == expected || (cost - expected).abs() <= 1e-13 * (1.0 + expected);
            assert!(agrees, "{cost}, not {expected}: {case:?}");
        }
    }
}

#[test]
fn costs_and_gradients_agree_with_the_reference() {
    let mut rng = Rng::from_clock();
    for (batch, steps, alphabet, most_labels) in [
        (1, 1, 2, 1),
        (3, 4, 2, 3),
        (5, 12, 6, 5),
        (4, 40, 30, 15),
        (0, 3, 4, 2),
        (3, 0, 4, 1),
        (70, 6, 5, 3),
    ] {
        let case = Case::random(batch, steps, alphabet, most_labels, &mut rng);
        case.check::<f64>(1e-12, &mut rng);
        // The operands are rounded once, the results once more.
        case.check::<f32>(16.0 * f64::from(f32::EPSILON), &mut rng);
    }
}

#[test]
fn impossible_examples_cost_infinity_and_have_no_gradient() {
    let mut rng = Rng::from_clock();
    let mut case = Case::random(3, 4, 3, 2, &mut rng);
    // Repeated labels need a blank between them: 3 steps do not spell two pairs.
    case.labels = vec![vec![1, 1, 2], vec![1, 2], vec![1]];
    case.input_lengths = vec![3, 4, 0];
    let (costs, gradients) = case.run::<f32>(CtcNormalization::Softmax, Arrangement::Packed);
    assert_eq!([costs[0], costs[2]], [f64::INFINITY; 2]);
    assert!(costs[1].is_finite() && costs[1] > 0.0);
    for t in 0..4 {
        let row = &gradients[t * 9..t * 9 + 9];
        assert_eq!((&row[..3], &row[6..]), (&[0.0; 3][..], &[0.0; 3][..]));
        assert!(row[3..6].iter().any(|&gradient| gradient != 0.0));
    }
}

#[test]
fn long_sequences_of_unlikely_labels_do_not_underflow() {
    let mut rng = Rng::from_clock();
    let mut case = Case::random(1, 400, 3, 0, &mut rng);
    case.labels = vec![vec![1, 2, 1]];
    case.input_lengths = vec![400];
    // Symbols 0 to 2 have logarithms of about −20, 0 and −20 at every step.
    case.activations = [0.0, 20.0, 0.0].repeat(400);
    let (costs, _) = case.run::<f32>(CtcNormalization::Softmax, Arrangement::Packed);
    // One step has to be a 2: 398 places for it, each at the price of 20.
    assert!((costs[0] - (20.0 - 398f64.ln())).abs() < 1e-3, "{}", costs[0]);
}

#[test]
fn a_nan_stays_in_its_example() {
    let mut rng = Rng::from_clock();
    let mut case = Case::random(2, 5, 4, 0, &mut rng);
    case.labels = vec![vec![1, 2], vec![3]];
    case.input_lengths = vec![5, 5];
    let clean = case.run::<f32>(CtcNormalization::Softmax, Arrangement::Packed);
    case.activations[2 * 8 + 3] = f64::NAN;
    let dirty = case.run::<f32>(CtcNormalization::Softmax, Arrangement::Packed);
    assert!(dirty.0[0].is_nan() && dirty.0[1] == clean.0[1]);
    for (index, (dirty, clean)) in dirty.1.iter().zip(&clean.1).enumerate() {
        assert!(if index / 4 % 2 == 0 { dirty.is_nan() } else { dirty == clean }, "gradient {index}");
    }
}

#[test]
#[should_panic(expected = "a label outside the alphabet")]
fn labels_outside_the_alphabet_are_a_bug_of_the_caller() {
    let mut case = Case::random(1, 2, 3, 0, &mut Rng::from_clock());
    case.labels = vec![vec![3]];
    case.run::<f32>(CtcNormalization::Softmax, Arrangement::Packed);
}

#[test]
fn costs_do_not_depend_on_the_number_of_threads() {
    processes::same_with_any_number_of_threads("costs_do_not_depend_on_the_number_of_threads", || {
        let case = Case::random(30, 20, 7, 8, &mut Rng::with_seed(11));
        let (mut costs, gradients) = case.run::<f32>(CtcNormalization::Softmax, Arrangement::Packed);
        costs.extend(gradients);
        costs
    });
}
