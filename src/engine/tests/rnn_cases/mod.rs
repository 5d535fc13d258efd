//! Random networks and operands, run by the engine and by the reference.

use std::fmt::{Debug, Formatter};

use crate::random::{Arrangement, Rng, Tensor};
use gpucompat_engine::{
    Cell, DropoutSeed, LinearPlace, Philox, Real, Rnn, RnnInput, RnnStates, RnnStatesMut, RnnTraining,
    RnnWeights, rnn_backward_data, rnn_backward_weights, rnn_forward,
};
use gpucompat_reference::rnn::{Network, Operands as Referenced, Outcome, Unit, forward};

/// What a network is applied to, in our own places and packed.
#[derive(Clone)]
pub struct Operands {
    pub weights: Vec<f64>,
    pub x: Vec<f64>,
    pub h: Vec<f64>,
    pub c: Vec<f64>,
}

impl Operands {
    /// Every element moved by `by(operand, index)`, operands in the order of [`Results::gradients`].
    pub fn moved(&self, by: impl Fn(usize, usize) -> f64) -> Operands {
        let moved = |operand: usize, values: &[f64]| {
            values.iter().enumerate().map(|(index, value)| value + by(operand, index)).collect()
        };
        Operands {
            weights: moved(0, &self.weights),
            x: moved(1, &self.x),
            h: moved(2, &self.h),
            c: moved(3, &self.c),
        }
    }
}

/// What the engine computed, packed; gradients in our own places.
pub struct Results {
    pub y: Vec<f64>,
    pub h: Vec<f64>,
    pub c: Vec<f64>,
    pub dweights: Vec<f64>,
    pub dx: Vec<f64>,
    pub dh: Vec<f64>,
    pub dc: Vec<f64>,
}

impl Results {
    pub fn gradients(&self) -> [&[f64]; 4] {
        [&self.dweights, &self.dx, &self.dh, &self.dc]
    }
}

/// A network, its operands, and the gradients of what comes out.
pub struct Case {
    pub rnn: Rnn,
    pub lengths: Vec<usize>,
    pub steps: usize,
    pub operands: Operands,
    pub dy: Vec<f64>,
    pub dh: Vec<f64>,
    pub dc: Vec<f64>,
    pub dropout: DropoutSeed,
    seed: u64,
}

impl Debug for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, lengths {:?}, {:?}, seed {}", self.rnn, self.lengths, self.dropout, self.seed)
    }
}

impl Case {
    pub fn random(rnn: Rnn, rng: &mut Rng) -> Case {
        let (batch, steps) = (rng.between(1, 4), rng.between(1, 4));
        Case::with_sizes(rnn, batch, steps, rng)
    }

    pub fn with_sizes(rnn: Rnn, batch: usize, steps: usize, rng: &mut Rng) -> Case {
        let states = rnn.pseudo_layers() * batch;
        let cells = if rnn.cell == Cell::Lstm { states * rnn.hidden } else { 0 };
        let scale = 1.5 / (rnn.hidden.max(rnn.input) as f64).sqrt();
        let weights = rng.numbers(rnn.weight_elements()).into_iter().map(|weight| scale * weight).collect();
        Case {
            rnn,
            lengths: (0..batch).map(|_| rng.between(steps.min(1), steps)).collect(),
            steps,
            operands: Operands {
                weights,
                x: rng.numbers(steps * batch * rnn.input),
                h: rng.numbers(states * rnn.projection),
                c: rng.numbers(cells),
            },
            dy: rng.numbers(steps * batch * rnn.output()),
            dh: rng.numbers(states * rnn.projection),
            dc: rng.numbers(cells),
            dropout: DropoutSeed { seed: rng.next(), offset: rng.next() >> 20 },
            seed: rng.seed,
        }
    }

    /// The same with every number in single precision.
    pub fn rounded_to_single(mut self) -> Case {
        let Operands { weights, x, h, c } = &mut self.operands;
        for numbers in [weights, x, h, c, &mut self.dy, &mut self.dh, &mut self.dc] {
            numbers.iter_mut().for_each(|number| *number = f64::from(*number as f32));
        }
        self
    }

    pub fn reference(&self, operands: &Operands) -> Outcome {
        let rnn = &self.rnn;
        let network = Network {
            unit: match rnn.cell {
                Cell::Relu => Unit::Relu,
                Cell::Tanh => Unit::Tanh,
                Cell::Lstm => Unit::Lstm,
                Cell::Gru => Unit::Gru,
            },
            layers: rnn.layers,
            directions: rnn.directions(),
            input: rnn.input,
            hidden: rnn.hidden,
            projection: rnn.projection,
            skips_input: rnn.input_mode == RnnInput::Skip,
            clip: rnn.clip.map(|clip| (clip.min, clip.max)),
            steps: self.steps,
            lengths: self.lengths.clone(),
        };
        let own = rnn.own_weights();
        let philox = Philox::new(self.dropout.seed);
        let batch = self.lengths.len();
        let no_cells = vec![0.0; rnn.pseudo_layers() * batch * rnn.hidden];
        let dropped = |[layer, t, b, j]: [usize; 4]| {
            if layer == 0 {
                return 1.0;
            }
            let position = (((layer - 1) * self.steps + t) * batch + b) * rnn.output() + j;
            let number = self.dropout.offset + position as u64;
            let random = philox.block(number / 4)[(number % 4) as usize];
            if f64::from(random) / 4_294_967_296.0 < rnn.dropout { 0.0 } else { 1.0 / (1.0 - rnn.dropout) }
        };
        let referenced = Referenced {
            matrix: &|[pseudo, id, row, column]| {
                let [_, columns] = rnn.matrix_shape(pseudo, id).unwrap();
                operands.weights[own.place(pseudo, id).matrix.unwrap() + row * columns + column]
            },
            bias: &|[pseudo, id, row]| {
                own.place(pseudo, id).bias.map_or(0.0, |place| operands.weights[place + row])
            },
            x: &operands.x,
            h: &operands.h,
            c: if rnn.cell == Cell::Lstm { &operands.c } else { &no_cells },
            dropout: &dropped,
        };
        forward(&network, referenced)
    }

    /// What the gradients are gradients of: y·dy + h·dh + c·dc.
    pub fn loss(&self, operands: &Operands) -> f64 {
        let outcome = self.reference(operands);
        let cells = if self.rnn.cell == Cell::Lstm { dot(&outcome.c, &self.dc).0 } else { 0.0 };
        dot(&outcome.y, &self.dy).0 + dot(&outcome.h, &self.dh).0 + cells
    }

    /// Places of the weights, and how many elements that takes.
    fn places(&self, arrangement: Arrangement) -> (RnnWeights, usize) {
        let rnn = &self.rnn;
        if arrangement == Arrangement::Packed {
            return (rnn.own_weights(), rnn.weight_elements());
        }
        // From the last to the first, bias before matrix, with gaps.
        let mut end = 1;
        let mut places = vec![];
        for pseudo in (0..rnn.pseudo_layers()).rev() {
            for id in (0..rnn.linear_count()).rev() {
                let bias = rnn.has_bias(id).then_some(end);
                end += rnn.hidden + 1;
                let shape = rnn.matrix_shape(pseudo, id);
                let matrix = shape.map(|_| end);
                end += shape.map_or(0, |[rows, columns]| rows * columns + 2);
                places.push(LinearPlace { matrix, bias });
            }
        }
        let place = |pseudo: usize, id: usize| {
            places[(rnn.pseudo_layers() - 1 - pseudo) * rnn.linear_count() + rnn.linear_count() - 1 - id]
        };
        (RnnWeights::new(rnn, place), end)
    }

    /// Pairs of places: (our own, those of `places`).
    fn moves(&self, places: &RnnWeights) -> Vec<(usize, usize)> {
        let (rnn, own) = (&self.rnn, self.rnn.own_weights());
        let mut moves = Vec::new();
        for pseudo in 0..rnn.pseudo_layers() {
            for id in 0..rnn.linear_count() {
                let (from, to) = (own.place(pseudo, id), places.place(pseudo, id));
                let size = rnn.matrix_shape(pseudo, id).map_or(0, |[rows, columns]| rows * columns);
                let pairs = [(from.matrix, to.matrix, size), (from.bias, to.bias, rnn.hidden)];
                for (from, to, size) in pairs {
                    let (Some(from), Some(to)) = (from, to) else { continue };
                    moves.extend((0..size).map(|index| (from + index, to + index)));
                }
            }
        }
        moves
    }

    /// y of an inference pass, packed; 0 beyond each length.
    pub fn infer<R: Real>(&self) -> Vec<f64> {
        let (rnn, batch) = (&self.rnn, self.lengths.len());
        let convert = |values: &[f64]| values.iter().map(|&value| R::of(value)).collect::<Vec<_>>();
        let state = |width: usize| [rnn.pseudo_layers(), batch, width];
        let x = Tensor::filled([self.steps, batch, rnn.input], Arrangement::Packed, &self.operands.x);
        let h = Tensor::filled(state(rnn.projection), Arrangement::Packed, &self.operands.h);
        let c = Tensor::filled(state(rnn.hidden), Arrangement::Packed, &self.operands.c);
        let mut y = Tensor::filled([self.steps, batch, rnn.output()], Arrangement::Packed, &[]);
        y.data.fill(R::ZERO);
        let initial = RnnStates { h: Some(h.view()), c: Some(c.view()) };
        let unwanted = RnnStatesMut { h: None, c: None };
        let space = convert(&self.operands.weights);
        let (lengths, weights) = (&self.lengths, rnn.own_weights());
        rnn_forward(rnn, lengths, &weights, &space, x.view(), initial, y.view_mut(), unwanted, None);
        let elements = y.layout.elements();
        y.data[..elements].iter().map(|element| element.to_double()).collect()
    }

    /// A training pass and both backward passes; y is 0 beyond each length, where it must stay as it was.
    pub fn run<R: Real>(&self, arrangement: Arrangement) -> Results {
        let (rnn, lengths, batch) = (&self.rnn, &self.lengths, self.lengths.len());
        let sequence = |width: usize| [self.steps, batch, width];
        let state = |width: usize| [rnn.pseudo_layers(), batch, width];
        let filled = |dims, values: &[f64]| Tensor::<R>::filled(dims, arrangement, values);
        let poisoned = |dims| Tensor::<R>::poisoned(dims, arrangement);
        let lstm = rnn.cell == Cell::Lstm;

        let (places, elements) = self.places(arrangement);
        let moves = self.moves(&places);
        let mut space = vec![R::nan(); elements];
        moves.iter().for_each(|&(own, place)| space[place] = R::of(self.operands.weights[own]));

        let x = filled(sequence(rnn.input), &self.operands.x);
        let h = filled(state(rnn.projection), &self.operands.h);
        let c = filled(state(rnn.hidden), &self.operands.c);
        let initial = RnnStates { h: Some(h.view()), c: lstm.then_some(c.view()) };
        let mut y = poisoned(sequence(rnn.output()));
        let (mut last_h, mut last_c) = (poisoned(state(rnn.projection)), poisoned(state(rnn.hidden)));
        let last =
            RnnStatesMut { h: Some(last_h.view_mut()), c: if lstm { Some(last_c.view_mut()) } else { None } };
        let mut reserve = vec![R::nan(); rnn.reserve_elements(lengths, self.steps)];
        let training = Some(RnnTraining { reserve: &mut reserve, dropout: self.dropout });
        rnn_forward(rnn, lengths, &places, &space, x.view(), initial, y.view_mut(), last, training);

        let dy = filled(sequence(rnn.output()), &self.dy);
        let dlast_h = filled(state(rnn.projection), &self.dh);
        let dlast_c = filled(state(rnn.hidden), &self.dc);
        let dlast = RnnStates { h: Some(dlast_h.view()), c: lstm.then_some(dlast_c.view()) };
        let mut dx = poisoned(sequence(rnn.input));
        let (mut dh, mut dc) = (poisoned(state(rnn.projection)), poisoned(state(rnn.hidden)));
        let dinitial =
            RnnStatesMut { h: Some(dh.view_mut()), c: if lstm { Some(dc.view_mut()) } else { None } };
        rnn_backward_data(
            rnn,
            lengths,
            &places,
            &space,
            initial,
            y.view(),
            dy.view(),
            dlast,
            dx.view_mut(),
            dinitial,
            &mut reserve,
            self.dropout,
        );

        // Gradients are added: to 0.5 at the weights' places, to nothing between them.
        let mut dspace = vec![R::nan(); elements];
        moves.iter().for_each(|&(_, place)| dspace[place] = R::of(0.5));
        let initial_h = Some(h.view());
        rnn_backward_weights(
            rnn,
            lengths,
            &places,
            x.view(),
            initial_h,
            y.view(),
            &reserve,
            self.dropout,
            &mut dspace,
        );
        let mut dweights = vec![0.0; rnn.weight_elements()];
        for &(own, place) in &moves {
            dweights[own] = dspace[place].to_double() - 0.5;
            dspace[place] = R::nan();
        }
        assert!(dspace.iter().all(|element| element.is_nan()), "a gap between the weights was written");

        let cells = |values: Vec<f64>| if lstm { values } else { Vec::new() };
        Results {
            y: self.within_lengths(y.values()),
            h: last_h.values(),
            c: cells(last_c.values()),
            dweights,
            dx: dx.values(),
            dh: dh.values(),
            dc: cells(dc.values()),
        }
    }

    /// y with 0 beyond each length, where it must still be NaN.
    fn within_lengths(&self, mut y: Vec<f64>) -> Vec<f64> {
        let (batch, width) = (self.lengths.len(), self.rnn.output());
        for (index, element) in y.iter_mut().enumerate() {
            let (t, b) = (index / width / batch, index / width % batch);
            if t >= self.lengths[b] {
                assert!(element.is_nan(), "y was written beyond a length: {self:?}");
                *element = 0.0;
            }
        }
        y
    }
}

/// Σ xᵢ·yᵢ and Σ |xᵢ·yᵢ|.
pub fn dot(x: &[f64], y: &[f64]) -> (f64, f64) {
    assert_eq!(x.len(), y.len());
    let products = x.iter().zip(y).map(|(x, y)| x * y);
    products.fold((0.0, 0.0), |(sum, size), product| (sum + product, size + product.abs()))
}

/// Panics unless all numbers agree, within the tolerance times the largest.
pub fn close(found: &[f64], expected: &[f64], tolerance: f64, context: &str) {
    assert_eq!(found.len(), expected.len(), "{context}");
    let largest = expected.iter().fold(1.0f64, |largest, number| largest.max(number.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= tolerance * largest, "element {index} is {found}, not {expected}: {context}");
    }
}
