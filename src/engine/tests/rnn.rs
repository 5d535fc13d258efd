//! Recurrent networks against the reference: values, and slopes along random directions.

mod processes;
mod random;
mod rnn_cases;

use gpucompat_engine::{
    Cell, Clip, ClipNan, Layout, LinearPlace, Rnn, RnnBias, RnnDirection, RnnInput, RnnStates, RnnStatesMut,
    RnnWeights, TensorMut, TensorRef, rnn_forward,
};
use gpucompat_reference::rnn::slope;
use random::{Arrangement, Rng};
use rnn_cases::{Case, Results, close, dot};

const CELLS: [Cell; 4] = [Cell::Relu, Cell::Tanh, Cell::Lstm, Cell::Gru];
const BIASES: [RnnBias; 4] = [RnnBias::None, RnnBias::SingleInput, RnnBias::SingleRecurrent, RnnBias::Double];
const DIRECTIONS: [RnnDirection; 2] = [RnnDirection::Unidirectional, RnnDirection::Bidirectional];

/// A network of few elements, by default without anything special.
fn small(cell: Cell, rng: &mut Rng) -> Rnn {
    let hidden = rng.between(1, 5);
    Rnn {
        cell,
        bias: RnnBias::Double,
        direction: RnnDirection::Unidirectional,
        input_mode: RnnInput::Linear,
        input: rng.between(1, 5),
        hidden,
        projection: hidden,
        layers: 1,
        clip: None,
        dropout: 0.0,
    }
}

/// Every cell with 1 to 3 layers, both directions, all biases and inputs; LSTMs projected and clipped too.
fn networks(rng: &mut Rng) -> Vec<Rnn> {
    let mut networks = Vec::new();
    for cell in CELLS {
        for layers in 1..=3 {
            for direction in DIRECTIONS {
                for bias in BIASES {
                    for input_mode in [RnnInput::Linear, RnnInput::Skip] {
                        let mut rnn = Rnn { layers, direction, bias, input_mode, ..small(cell, rng) };
                        if input_mode == RnnInput::Skip {
                            rnn.input = rnn.hidden;
                        }
                        rnn.dropout = [0.0, 0.4][rng.between(0, 1)];
                        networks.push(rnn);
                        if cell == Cell::Lstm {
                            let hidden = rnn.hidden + 1;
                            let input = if input_mode == RnnInput::Skip { hidden } else { rnn.input };
                            let projection = rng.between(1, hidden - 1);
                            let clip = Some(Clip { min: -0.4, max: 0.3, nan: ClipNan::Propagate });
                            networks.push(Rnn { clip, hidden, input, projection, ..rnn });
                            networks.push(Rnn { clip, ..rnn });
                        }
                    }
                }
            }
        }
    }
    networks
}

#[test]
fn outputs_and_states_of_every_network_agree_with_the_reference() {
    let mut rng = Rng::from_clock();
    for rnn in networks(&mut rng) {
        let case = Case::random(rnn, &mut rng);
        let expected = case.reference(&case.operands);
        let results = case.run::<f64>(Arrangement::random(&mut rng));
        let context = format!("{case:?}");
        close(&results.y, &expected.y, 1e-13, &context);
        close(&results.h, &expected.h, 1e-13, &context);
        if rnn.cell == Cell::Lstm {
            close(&results.c, &expected.c, 1e-13, &context);
        }
    }
}

#[test]
fn gradients_of_every_network_agree_with_slopes_of_the_reference() {
    let mut rng = Rng::from_clock();
    let mut refused = 0;
    for rnn in networks(&mut rng) {
        let case = Case::random(rnn, &mut rng);
        let results = case.run::<f64>(Arrangement::random(&mut rng));
        let gradients = results.gradients();
        // Along each operand alone, then along all together.
        for which in 0..=gradients.len() {
            let along = gradients.map(|operand| operand.iter().map(|_| rng.number()).collect::<Vec<_>>());
            let chosen = |operand: usize| which == operand || which == gradients.len();
            let moved =
                |distance: f64| {
                    let operands = case.operands.moved(|operand, index| {
                        if chosen(operand) { distance * along[operand][index] } else { 0.0 }
                    });
                    case.loss(&operands)
                };
            let Some(expected) = slope(moved) else {
                refused += 1;
                continue;
            };
            let parts = (0..gradients.len()).filter(|&operand| chosen(operand));
            let (mut found, mut magnitude) = (0.0, 1.0);
            for operand in parts {
                let (sum, size) = dot(gradients[operand], &along[operand]);
                (found, magnitude) = (found + sum, magnitude + size);
            }
            assert!(
                (found - expected).abs() <= 1e-8 * magnitude,
                "operand {which}: {found}, the slope is {expected}: {case:?}"
            );
        }
    }
    assert!(refused < 100, "{refused} directions crossed a kink");
}

/// Errors of single precision grow with the sums' lengths; all values here are of the order of 1.
#[test]
fn single_precision_agrees_with_double() {
    let mut rng = Rng::from_clock();
    for rnn in networks(&mut rng) {
        // Near a kink the two precisions may take different sides.
        let rnn = Rnn { clip: None, ..rnn };
        if rnn.cell == Cell::Relu {
            continue;
        }
        let case = Case::random(rnn, &mut rng).rounded_to_single();
        let single = case.run::<f32>(Arrangement::random(&mut rng));
        let double = case.run::<f64>(Arrangement::random(&mut rng));
        compare(&single, &double, 200.0 * f64::from(f32::EPSILON) / 2.0, &format!("{case:?}"));
    }
}

fn compare(left: &Results, right: &Results, tolerance: f64, context: &str) {
    close(&left.y, &right.y, tolerance, context);
    close(&left.h, &right.h, tolerance, context);
    close(&left.c, &right.c, tolerance, context);
    for (left, right) in left.gradients().into_iter().zip(right.gradients()) {
        close(left, right, tolerance, context);
    }
}

/// Blocks of units, chunks of rows, tasks that share a step, packed matrices and matrices as they lie.
#[test]
fn larger_networks_agree_with_the_reference() {
    let mut rng = Rng::from_clock();
    for cell in CELLS {
        for (hidden, projection, batch, steps) in
            [(70, 70, 9, 4), (34, 33, 67, 2), (65, 65, 1, 3), (33, 32, 3, 12)]
        {
            let projection = if cell == Cell::Lstm { projection } else { hidden };
            let direction = DIRECTIONS[rng.between(0, 1)];
            let rnn = Rnn { hidden, projection, input: 37, layers: 1, direction, ..small(cell, &mut rng) };
            let case = Case::with_sizes(rnn, batch, steps, &mut rng);
            let expected = case.reference(&case.operands);
            let results = case.run::<f64>(Arrangement::random(&mut rng));
            let context = format!("{rnn:?}, seed {}", rng.seed);
            close(&results.y, &expected.y, 1e-12, &context);
            close(&results.h, &expected.h, 1e-12, &context);
            let single = case.run::<f32>(Arrangement::random(&mut rng));
            close(&single.y, &expected.y, 400.0 * f64::from(f32::EPSILON) / 2.0, &context);
            close(&single.h, &expected.h, 400.0 * f64::from(f32::EPSILON) / 2.0, &context);
            let gradients = results.gradients();
            let along = gradients.map(|operand| operand.iter().map(|_| rng.number()).collect::<Vec<_>>());
            let moved = |distance: f64| {
                case.loss(&case.operands.moved(|operand, index| 0.01 * distance * along[operand][index]))
            };
            let Some(expected) = slope(moved) else { continue };
            let (mut found, mut magnitude) = (0.0, 1.0);
            for (gradient, along) in gradients.iter().zip(&along) {
                let (sum, size) = dot(gradient, along);
                (found, magnitude) = (found + 0.01 * sum, magnitude + 0.01 * size);
            }
            assert!((found - expected).abs() <= 1e-8 * magnitude, "{found}, not {expected}: {context}");
        }
    }
}

#[test]
fn sequences_of_no_steps_pass_their_states_through() {
    let mut rng = Rng::from_clock();
    for cell in CELLS {
        for (batch, steps) in [(0, 3), (2, 0), (3, 2)] {
            let rnn = Rnn { layers: 2, ..small(cell, &mut rng) };
            let mut case = Case::with_sizes(rnn, batch, steps, &mut rng);
            case.lengths.fill(0);
            let results = case.run::<f64>(Arrangement::random(&mut rng));
            assert_eq!(results.h, case.operands.h);
            assert_eq!(results.dh, case.dh);
            assert!(results.dx.iter().chain(&results.dweights).all(|&gradient| gradient == 0.0));
        }
    }
}

#[test]
fn states_may_be_left_out() {
    let mut rng = Rng::from_clock();
    for cell in CELLS {
        let rnn = Rnn { layers: 2, direction: RnnDirection::Bidirectional, ..small(cell, &mut rng) };
        let mut case = Case::random(rnn, &mut rng);
        let mut zeros = case.operands.clone();
        zeros.h.fill(0.0);
        zeros.c.fill(0.0);
        case.operands = zeros;
        let with = case.run::<f64>(Arrangement::Packed);
        let weights = rnn.own_weights();
        let [batch, steps] = [case.lengths.len(), case.steps];
        let x = TensorRef::new(&case.operands.x, Layout::packed(&[steps, batch, rnn.input]));
        let mut y = vec![f64::NAN; steps * batch * rnn.output()];
        let layout = Layout::packed(&[steps, batch, rnn.output()]);
        let none = RnnStates { h: None, c: None };
        let unwanted = RnnStatesMut { h: None, c: None };
        let output = TensorMut::new(&mut y, layout);
        let space = &case.operands.weights;
        rnn_forward(&rnn, &case.lengths, &weights, space, x, none, output, unwanted, None);
        for (left, right) in y.iter().zip(&with.y).filter(|(left, _)| !left.is_nan()) {
            assert_eq!(left, right, "{case:?}");
        }
    }
}

#[test]
fn inference_ignores_dropout() {
    let mut rng = Rng::from_clock();
    let rnn = Rnn { layers: 3, dropout: 0.9, ..small(Cell::Gru, &mut rng) };
    let mut case = Case::random(rnn, &mut rng);
    let inference = case.infer::<f64>();
    case.rnn.dropout = 0.0;
    assert_eq!(inference, case.run::<f64>(Arrangement::Packed).y);
}

#[test]
fn a_nan_stays_in_its_sequence_and_infinities_saturate() {
    let mut rng = Rng::from_clock();
    for cell in [Cell::Tanh, Cell::Lstm, Cell::Gru] {
        let rnn = Rnn { layers: 2, ..small(cell, &mut rng) };
        let mut case = Case::with_sizes(rnn, 3, 4, &mut rng);
        case.lengths.fill(4);
        let clean = case.infer::<f64>();
        case.operands.x[(3 + 1) * rnn.input] = f64::NAN;
        case.operands.x[(3 + 2) * rnn.input] = f64::INFINITY;
        let dirty = case.infer::<f64>();
        for t in 0..4 {
            for b in 0..3 {
                for j in 0..rnn.output() {
                    let place = (t * 3 + b) * rnn.output() + j;
                    match (b, t) {
                        (1, 1..) => assert!(dirty[place].is_nan(), "{case:?}"),
                        (2, 1..) => assert!(dirty[place].abs() <= 1.0, "{case:?}"),
                        _ => assert_eq!(dirty[place], clean[place], "{case:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn clipping_decides_what_becomes_of_nan() {
    let mut rng = Rng::from_clock();
    for nan in [ClipNan::Propagate, ClipNan::Bound] {
        let clip = Some(Clip { min: -0.5, max: 0.5, nan });
        let rnn = Rnn { clip, ..small(Cell::Lstm, &mut rng) };
        let mut case = Case::with_sizes(rnn, 1, 1, &mut rng);
        case.lengths.fill(1);
        case.operands.c.fill(f64::NAN);
        let results = case.run::<f64>(Arrangement::Packed);
        match nan {
            ClipNan::Propagate => assert!(results.c.iter().all(|c| c.is_nan())),
            ClipNan::Bound => assert!(results.c.iter().all(|&c| c == -0.5)),
        }
    }
}

#[test]
fn our_own_weights_join_the_gates_of_one_operand() {
    let mut rng = Rng::from_clock();
    for rnn in networks(&mut rng) {
        let weights = rnn.own_weights();
        let mut used = vec![false; rnn.weight_elements()];
        let mut mark = |place: Option<usize>, elements: usize| {
            let Some(place) = place else { return };
            for element in &mut used[place..place + elements] {
                assert!(!*element, "two weights at one place: {rnn:?}");
                *element = true;
            }
        };
        for pseudo_layer in 0..rnn.pseudo_layers() {
            for id in 0..rnn.linear_count() {
                let LinearPlace { matrix, bias } = weights.place(pseudo_layer, id);
                let shape = rnn.matrix_shape(pseudo_layer, id);
                assert_eq!((matrix.is_some(), bias.is_some()), (shape.is_some(), rnn.has_bias(id)));
                mark(matrix, shape.map_or(0, |[rows, columns]| rows * columns));
                mark(bias, rnn.hidden);
            }
        }
        assert!(used.iter().all(|&used| used), "weights leave gaps: {rnn:?}");
    }
}

#[test]
#[should_panic(expected = "bias 0/3")]
fn a_bias_without_a_place_is_a_bug_of_the_caller() {
    let mut rng = Rng::from_clock();
    let rnn = small(Cell::Gru, &mut rng);
    let own = rnn.own_weights();
    let weights = RnnWeights::new(&rnn, |layer, id| {
        let place = own.place(layer, id);
        if id == 3 { LinearPlace { bias: None, ..place } } else { place }
    });
    let mut y = [0.0; 5];
    let x = TensorRef::new(&[0.0; 5], Layout::packed(&[1, 1, rnn.input]));
    let y = TensorMut::new(&mut y, Layout::packed(&[1, 1, rnn.hidden]));
    let space = vec![0.0; rnn.weight_elements()];
    let states = RnnStates { h: None, c: None };
    rnn_forward(&rnn, &[1], &weights, &space, x, states, y, RnnStatesMut { h: None, c: None }, None);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    processes::same_with_any_number_of_threads("results_do_not_depend_on_the_number_of_threads", || {
        let mut numbers = Vec::new();
        for cell in CELLS {
            let mut rng = Rng::with_seed(7);
            let direction = DIRECTIONS[usize::from(cell == Cell::Gru)];
            let projection = if cell == Cell::Lstm { 70 } else { 160 };
            let sizes =
                Rnn { hidden: 160, projection, input: 50, layers: 2, direction, ..small(cell, &mut rng) };
            let rnn = Rnn { dropout: 0.25, ..sizes };
            let case = Case::with_sizes(rnn, 70, 4, &mut rng);
            let results = case.run::<f32>(Arrangement::Packed);
            numbers.extend([&results.y, &results.h, &results.c].into_iter().flatten());
            numbers.extend(results.gradients().into_iter().flatten());
        }
        numbers
    });
}
