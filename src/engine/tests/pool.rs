//! Pooling against the reference, over modes, layouts and shapes.

mod strided;

use gpucompat_engine::{Layout, NanRule, Pool, PoolMode, Real, pool_backward, pool_forward};
use gpucompat_reference::pool as reference;
use strided::{Random, Tensor, assert_near, assert_threads_do_not_matter};

const MODES: [(PoolMode, NanRule, reference::Mode); 5] = [
    (PoolMode::Max, NanRule::Propagate, reference::Mode::Max),
    (PoolMode::Max, NanRule::Ignore, reference::Mode::MaxOfNumbers),
    (PoolMode::AverageIncludingPadding, NanRule::Ignore, reference::Mode::AverageIncludingPadding),
    (PoolMode::AverageExcludingPadding, NanRule::Ignore, reference::Mode::AverageExcludingPadding),
    (PoolMode::AverageExcludingPadding, NanRule::Propagate, reference::Mode::AverageExcludingPadding),
];

struct Case {
    pool: Pool,
    expected: reference::Pool,
    x: Vec<usize>,
    y: Vec<usize>,
}

fn case(random: &mut Random) -> Case {
    let axes = 1 + random.below(3);
    let (mode, nan, expected_mode) = MODES[random.below(MODES.len())];
    let mut pool = Pool { mode, nan, window: [0; 3], pad: [0; 3], stride: [0; 3] };
    let channels = if random.below(3) == 0 { 30 + random.below(40) } else { 1 + random.below(4) };
    let (mut x, mut y) = (vec![1 + random.below(3), channels], vec![]);
    let size = [40, 14, 7][axes - 1];
    y.extend_from_slice(&x);
    for axis in 0..axes {
        let window = 1 + random.below(4);
        (pool.window[axis], pool.pad[axis], pool.stride[axis]) =
            (window, random.below(window + 1), 1 + random.below(4));
        x.push(1 + random.below(size));
        // What the usual formula gives, one fewer, or windows beyond the padding.
        let fits = (x[axis + 2] + 2 * pool.pad[axis]).saturating_sub(window) / pool.stride[axis] + 1;
        y.push((fits + random.below(3)).saturating_sub(1).max(1));
    }
    let expected = reference::Pool {
        mode: expected_mode,
        window: pool.window[..axes].to_vec(),
        pad: pool.pad[..axes].to_vec(),
        stride: pool.stride[..axes].to_vec(),
    };
    Case { pool, expected, x, y }
}

/// Few different numbers, so that windows hold the largest several times; sometimes NaN and infinities.
fn numbers(random: &mut Random, count: usize) -> Vec<f64> {
    let special = random.below(3) == 0;
    let number = |random: &mut Random| match random.below(if special { 24 } else { 18 }) {
        small @ 0..18 => small as f64 * 0.5 - 4.5,
        18 => f64::INFINITY,
        19 => f64::NEG_INFINITY,
        _ => f64::NAN,
    };
    (0..count).map(|_| number(random)).collect()
}

fn check<R: Real>(random: &mut Random) {
    let Case { pool, expected, x: x_dims, y: y_dims } = case(random);
    let context = format!("seed {}: {pool:?} {x_dims:?} {y_dims:?}", random.seed);
    let x = numbers(random, x_dims.iter().product());
    let same_order = random.below(2) == 0;
    let last = |dims: &[usize]| {
        let mut strides = vec![0; dims.len()];
        let mut step = 1;
        for axis in std::iter::once(1).chain((2..dims.len()).rev()).chain([0]) {
            strides[axis] = step;
            step *= dims[axis];
        }
        Layout::new(dims, &strides)
    };
    let layout =
        |random: &mut Random, dims: &[usize]| if same_order { last(dims) } else { random.layout(dims) };
    let x_tensor = Tensor::<R>::holding(&x, layout(random, &x_dims));
    let mut y = Tensor::<R>::poisoned(layout(random, &y_dims));
    pool_forward(&pool, x_tensor.read(), y.write());
    let of_window = pool.window.iter().map(|&size| size.max(1)).product::<usize>() as f64;
    let want = reference::forward(&expected, &x, &x_dims, &y_dims);
    assert_near::<R>(&y.elements(), &want, of_window + 2.0, &format!("y, {context}"));

    let dy = random.numbers(y_dims.iter().product());
    let dy_tensor = Tensor::<R>::holding(&dy, layout(random, &y_dims));
    let mut dx = Tensor::<R>::poisoned(layout(random, &x_dims));
    pool_backward(&pool, x_tensor.read(), y.read(), dy_tensor.read(), dx.write());
    let want = reference::backward(&expected, &x, &dy, &x_dims, &y_dims);
    assert_near::<R>(&dx.elements(), &want, of_window + 2.0, &format!("dx, {context}"));
}

#[test]
fn random_poolings_agree_with_the_reference_in_single_precision() {
    let mut random = Random::from_clock();
    (0..500).for_each(|_| check::<f32>(&mut random));
}

#[test]
fn random_poolings_agree_with_the_reference_in_double_precision() {
    let mut random = Random::from_clock();
    (0..500).for_each(|_| check::<f64>(&mut random));
}

/// y and dx of a row, with dy all 1.
fn row(pool: &Pool, x: &[f64], outputs: usize) -> [Vec<f64>; 2] {
    let x = Tensor::<f32>::holding(x, Layout::packed(&[1, 1, x.len()]));
    let mut y = Tensor::<f32>::poisoned(Layout::packed(&[1, 1, outputs]));
    let dy = Tensor::<f32>::holding(&vec![1.0; outputs], Layout::packed(&[1, 1, outputs]));
    let mut dx = x.clone();
    pool_forward(pool, x.read(), y.write());
    pool_backward(pool, x.read(), y.read(), dy.read(), dx.write());
    [y.elements(), dx.elements()]
}

fn pool(mode: PoolMode, nan: NanRule, window: usize, pad: usize, stride: usize) -> Pool {
    Pool { mode, nan, window: [window, 9, 9], pad: [pad, 9, 9], stride: [stride, 9, 9] }
}

#[test]
fn nan_wins_or_is_passed_over() {
    let x = [f64::NAN, 2.0, f64::NAN, f64::NAN, 1.0, 1.0];
    let [y, dx] = row(&pool(PoolMode::Max, NanRule::Propagate, 2, 0, 2), &x, 3);
    assert!(y[0].is_nan() && y[1].is_nan() && y[2] == 1.0, "{y:?}");
    assert_eq!(dx, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    let [y, dx] = row(&pool(PoolMode::Max, NanRule::Ignore, 2, 0, 2), &x, 3);
    assert!(y[0] == 2.0 && y[1].is_nan() && y[2] == 1.0, "{y:?}");
    assert_eq!(dx, [0.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
}

#[test]
fn a_window_in_the_padding_is_the_least_maximum_or_a_zero_average() {
    for nan in [NanRule::Propagate, NanRule::Ignore] {
        let [y, dx] = row(&pool(PoolMode::Max, nan, 2, 2, 2), &[-7.0, -8.0], 3);
        assert_eq!((&y[..], &dx[..]), (&[f64::NEG_INFINITY, -7.0, f64::NEG_INFINITY][..], &[1.0, 0.0][..]));
    }
    for mode in [PoolMode::AverageIncludingPadding, PoolMode::AverageExcludingPadding] {
        let [y, dx] = row(&pool(mode, NanRule::Ignore, 2, 2, 2), &[-7.0, -8.0], 3);
        assert_eq!((y, dx), (vec![0.0, -7.5, 0.0], vec![0.5, 0.5]));
    }
}

#[test]
fn minus_infinity_is_an_element_as_any_other() {
    let [y, dx] = row(&pool(PoolMode::Max, NanRule::Ignore, 2, 1, 1), &[f64::NEG_INFINITY], 2);
    assert_eq!((y, dx), (vec![f64::NEG_INFINITY; 2], vec![2.0]));
}

#[test]
fn empty_tensors_are_left_alone_and_no_windows_give_no_gradient() {
    let pool = pool(PoolMode::Max, NanRule::Propagate, 2, 0, 1);
    let mut y = Tensor::<f32>::poisoned(Layout::packed(&[2, 0, 3]));
    pool_forward(&pool, Tensor::<f32>::poisoned(Layout::packed(&[2, 0, 4])).read(), y.write());
    let x = Tensor::<f32>::holding(&[1.0, 2.0, 3.0, 4.0], Layout::packed(&[2, 2, 1]));
    let y = Tensor::<f32>::poisoned(Layout::packed(&[2, 2, 0]));
    let mut dx = Tensor::<f32>::poisoned(Layout::packed(&[2, 2, 1]));
    pool_backward(&pool, x.read(), y.read(), y.read(), dx.write());
    assert_eq!(dx.elements(), [0.0; 4]);
    let mut dx = Tensor::<f32>::poisoned(Layout::packed(&[0, 2, 1]));
    let (x, y) = (dx.clone(), Tensor::<f32>::poisoned(Layout::packed(&[0, 2, 2])));
    pool_backward(&pool, x.read(), y.read(), y.read(), dx.write());
}

#[test]
fn long_averages_stay_exact() {
    let count = 1 << 20;
    let x = vec![f64::from(0.1f32); count];
    let shape = pool(PoolMode::AverageIncludingPadding, NanRule::Ignore, count, 0, 1);
    let [y, _] = row(&shape, &x, 1);
    assert!((y[0] - x[0]).abs() < 1e-6, "{}", y[0]);
    let x = Tensor::<f32>::holding(&x, Layout::new(&[1, 2, count / 2], &[count, 1, 2]));
    let mut y = Tensor::<f32>::poisoned(Layout::packed(&[1, 2, 1]));
    pool_forward(&Pool { window: [count / 2; 3], ..shape }, x.read(), y.write());
    assert!(y.elements().iter().all(|y| (y - f64::from(0.1f32)).abs() < 1e-6), "{:?}", y.elements());
}

#[test]
#[should_panic(expected = "N and C differ")]
fn another_number_of_channels_is_a_bug_of_the_caller() {
    let mut y = Tensor::<f32>::poisoned(Layout::packed(&[1, 2, 3]));
    let x = Tensor::<f32>::poisoned(Layout::packed(&[1, 3, 3]));
    pool_forward(&pool(PoolMode::Max, NanRule::Ignore, 1, 0, 1), x.read(), y.write());
}

fn fingerprint() -> Vec<f64> {
    let mut random = Random::new(7);
    let (x_dims, y_dims) = ([3, 40, 37, 41], [3, 40, 19, 21]);
    let (x, dy) = (random.numbers(x_dims.iter().product()), random.numbers(y_dims.iter().product()));
    let mut numbers = Vec::new();
    for (mode, nan, _) in MODES {
        let pool = Pool { mode, nan, window: [3, 3, 0], pad: [1, 1, 0], stride: [2, 2, 0] };
        for last in [false, true] {
            let layout = |dims: &[usize; 4]| {
                let [_, c, h, w] = *dims;
                let strides = if last { [c * h * w, 1, c * w, c] } else { [c * h * w, h * w, w, 1] };
                Layout::new(dims, &strides)
            };
            let x = Tensor::<f32>::holding(&x, layout(&x_dims));
            let dy = Tensor::<f32>::holding(&dy, layout(&y_dims));
            let mut y = Tensor::<f32>::poisoned(layout(&y_dims));
            let mut dx = Tensor::<f32>::poisoned(layout(&x_dims));
            pool_forward(&pool, x.read(), y.write());
            pool_backward(&pool, x.read(), y.read(), dy.read(), dx.write());
            numbers.extend(y.elements());
            numbers.extend(dx.elements());
        }
    }
    numbers
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    assert_threads_do_not_matter("one_and_two_threads_give_the_same_bits", fingerprint);
}
