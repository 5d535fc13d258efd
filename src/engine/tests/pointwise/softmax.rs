//! Softmax and its gradient against the reference.

use gpucompat_engine::{
    Layout, Real, SoftmaxAlgorithm, SoftmaxMode, TensorMut, TensorRef, softmax, softmax_backward,
};
use gpucompat_reference::pointwise::Expected;
use gpucompat_reference::softmax as reference;

use crate::operands::{Random, Tensor, agrees};

const ALGORITHMS: [SoftmaxAlgorithm; 3] =
    [SoftmaxAlgorithm::Fast, SoftmaxAlgorithm::Accurate, SoftmaxAlgorithm::Log];
const MODES: [SoftmaxMode; 2] = [SoftmaxMode::Instance, SoftmaxMode::Channel];

/// The indices of each group's elements.
fn groups(mode: SoftmaxMode, dims: &[usize]) -> Vec<Vec<Vec<usize>>> {
    let key = |index: &[usize]| match mode {
        SoftmaxMode::Instance => index[..1].to_vec(),
        SoftmaxMode::Channel => [&index[..1], &index[2..]].concat(),
    };
    let whole = Layout::packed(dims);
    let mut groups = std::collections::BTreeMap::<Vec<usize>, Vec<Vec<usize>>>::new();
    for position in 0..whole.elements() {
        let index = whole.index_of(position)[..dims.len()].to_vec();
        groups.entry(key(&index)).or_default().push(index);
    }
    groups.into_values().collect()
}

fn forward(algorithm: SoftmaxAlgorithm, x: &[f64]) -> Vec<Expected> {
    if algorithm == SoftmaxAlgorithm::Log { reference::log_softmax(x) } else { reference::softmax(x) }
}

fn backward(algorithm: SoftmaxAlgorithm, y: &[f64], dy: &[f64]) -> Vec<Expected> {
    if algorithm == SoftmaxAlgorithm::Log {
        reference::log_softmax_backward(y, dy)
    } else {
        reference::softmax_backward(y, dy)
    }
}

/// Both directions on tensors of these sizes, of x up to `scale`.
fn check<R: Real>(random: &mut Random, dims: &[usize], scale: f64) {
    let x_layout = random.layout(dims);
    let x = Tensor::<R>::filled(x_layout, || random.number() * scale);
    let dy_layout = random.layout(dims);
    let dy = Tensor::<R>::filled(dy_layout, || random.number());
    for (algorithm, mode) in ALGORITHMS.into_iter().flat_map(|a| MODES.map(|mode| (a, mode))) {
        let mut y = Tensor::<R>::poisoned(random.layout(dims));
        softmax(algorithm, mode, x.as_ref(), TensorMut::new(&mut y.data, y.layout));
        let mut dx = Tensor::<R>::poisoned(random.layout(dims));
        let out = TensorMut::new(&mut dx.data, dx.layout);
        softmax_backward(algorithm, mode, y.as_ref(), dy.as_ref(), out);
        for group in groups(mode, dims) {
            let values =
                |tensor: &Tensor<R>| -> Vec<f64> { group.iter().map(|index| tensor.get(index)).collect() };
            let context = format!("{algorithm:?} {mode:?} of {dims:?}: {:?}", group[0]);
            // Sums are in double precision: in single precision that is one rounding.
            let roundoffs = if size_of::<R>() == 4 { 8.0 } else { 8.0 + group.len() as f64 };
            // Without the maximum, the exponent is as large as x itself.
            let factor = if algorithm == SoftmaxAlgorithm::Fast { 1.0 + scale } else { 1.0 };
            for (result, want) in values(&y).into_iter().zip(forward(algorithm, &values(&x))) {
                assert!(agrees(R::of(result), want, roundoffs * factor), "{context}: {result}, not {want:?}");
            }
            for (result, want) in values(&dx).into_iter().zip(backward(algorithm, &values(&y), &values(&dy)))
            {
                assert!(agrees(R::of(result), want, roundoffs), "{context}: gradient {result}, not {want:?}");
            }
        }
        assert!(y.gaps_are_untouched() && dx.gaps_are_untouched(), "{algorithm:?} {mode:?} of {dims:?}");
    }
}

#[test]
fn random_tensors_in_random_layouts_agree_with_the_reference() {
    let mut random = Random::new();
    for round in 0..80 {
        let rank = 2 + random.below(3);
        let mut dims: Vec<usize> = (0..rank).map(|_| 1 + random.below(4)).collect();
        if round % 3 == 0 {
            dims[random.below(rank)] = 1 + random.below(40);
        }
        if round % 10 == 0 {
            dims[random.below(rank)] = 0;
        }
        check::<f32>(&mut random, &dims, 8.0);
        check::<f64>(&mut random, &dims, 8.0);
    }
}

#[test]
fn many_groups_and_long_groups_cross_tiles() {
    let mut random = Random::new();
    for dims in [&[2, 21, 41, 43][..], &[3, 700, 1, 5], &[9000, 3], &[2, 1300]] {
        let (x_layout, y_layout) = (random.layout(dims), random.layout(dims));
        let x = Tensor::<f32>::filled(x_layout, || random.number() * 5.0);
        let mut y = Tensor::<f32>::poisoned(y_layout);
        let mode = SoftmaxMode::Channel;
        softmax(SoftmaxAlgorithm::Accurate, mode, x.as_ref(), TensorMut::new(&mut y.data, y_layout));
        for group in groups(mode, dims) {
            let x: Vec<f64> = group.iter().map(|index| x.get(index)).collect();
            for (index, want) in group.iter().zip(reference::softmax(&x)) {
                assert!(agrees(y.get(index) as f32, want, 8.0), "{dims:?} {index:?}");
            }
        }
    }
}

#[test]
fn large_numbers_overflow_only_the_fast_form() {
    let mut random = Random::new();
    for (algorithm, want) in [
        (SoftmaxAlgorithm::Accurate, [0.5f32, 0.5]),
        (SoftmaxAlgorithm::Log, [-std::f32::consts::LN_2; 2]),
        (SoftmaxAlgorithm::Fast, [f32::NAN; 2]),
    ] {
        let layout = random.layout(&[1, 2]);
        let x = Tensor::<f32>::filled(layout, || 1000.0);
        let mut y = Tensor::<f32>::poisoned(layout);
        softmax(algorithm, SoftmaxMode::Channel, x.as_ref(), TensorMut::new(&mut y.data, layout));
        for (channel, want) in want.into_iter().enumerate() {
            let result = y.get(&[0, channel]) as f32;
            assert!(result == want || (result.is_nan() && want.is_nan()), "{algorithm:?}: {result}");
        }
    }
}

#[test]
fn nan_and_infinity_spoil_their_group_only_and_minus_infinity_has_no_share() {
    let layouts = [Layout::packed(&[1, 3, 4]), Layout::new(&[1, 3, 4], &[12, 1, 3])];
    for layout in layouts {
        let mut x = Tensor::<f32>::filled(layout, || 1.0);
        x.data[layout.place(&[0, 1, 0])] = f32::NAN;
        x.data[layout.place(&[0, 1, 1])] = f32::INFINITY;
        x.data[layout.place(&[0, 1, 2])] = f32::NEG_INFINITY;
        let mut y = Tensor::<f32>::poisoned(layout);
        let output = TensorMut::new(&mut y.data, layout);
        softmax(SoftmaxAlgorithm::Accurate, SoftmaxMode::Channel, x.as_ref(), output);
        for channel in 0..3 {
            assert!(y.get(&[0, channel, 0]).is_nan() && y.get(&[0, channel, 1]).is_nan());
            assert_eq!(y.get(&[0, channel, 2]), if channel == 1 { 0.0 } else { 0.5 });
            assert_eq!(y.get(&[0, channel, 3]) as f32, 1.0 / 3.0);
        }
    }
}

#[test]
#[should_panic(expected = "[1, 2] and [1, 3]")]
fn tensors_of_different_sizes_are_a_bug_of_the_caller() {
    let (x, mut y) = ([0.0f32; 2], [0.0f32; 3]);
    let x = TensorRef::new(&x, Layout::packed(&[1, 2]));
    let y = TensorMut::new(&mut y, Layout::packed(&[1, 3]));
    softmax(SoftmaxAlgorithm::Accurate, SoftmaxMode::Channel, x, y);
}
