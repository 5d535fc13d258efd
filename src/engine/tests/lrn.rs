//! Local response normalisation against the reference.

mod strided;

use gpucompat_engine::{Layout, Lrn, Real, lrn_backward, lrn_forward};
use gpucompat_reference::lrn as reference;
use strided::{Random, Tensor, assert_near, assert_threads_do_not_matter};

fn check<R: Real>(random: &mut Random) {
    let beta = [0.75, 0.5, 1.0, 0.6, 1.7][random.below(5)];
    let lrn = Lrn { n: 1 + random.below(9), alpha: 0.25, beta, k: [1.0, 2.0][random.below(2)] };
    let expected = reference::Lrn { n: lrn.n, alpha: lrn.alpha, beta: lrn.beta, k: lrn.k };
    let mut dims = vec![1 + random.below(3), 1 + random.below(20)];
    dims.extend((0..random.below(4)).map(|_| 1 + random.below(7)));
    if random.below(8) == 0 && dims.len() > 2 {
        dims[2] = 100 + random.below(200);
    }
    let context = format!("seed {}: {lrn:?} {dims:?}", random.seed);
    let sizes = reference::Sizes { channels: dims[1], places: dims[2..].iter().product() };
    let count = dims.iter().product();
    let (x, dy) = (random.numbers(count), random.numbers(count));
    let x_tensor = Tensor::<R>::holding(&x, random.layout(&dims));
    let mut y = Tensor::<R>::poisoned(random.layout(&dims));
    lrn_forward(&lrn, x_tensor.read(), y.write());
    assert_near::<R>(
        &y.elements(),
        &reference::forward(&expected, &x, sizes),
        24.0,
        &format!("y, {context}"),
    );

    let dy_tensor = Tensor::<R>::holding(&dy, random.layout(&dims));
    let mut dx = Tensor::<R>::poisoned(random.layout(&dims));
    lrn_backward(&lrn, x_tensor.read(), y.read(), dy_tensor.read(), dx.write());
    let want = reference::backward(&expected, &x, &dy, sizes);
    assert_near::<R>(&dx.elements(), &want, 64.0, &format!("dx, {context}"));
}

#[test]
fn random_normalisations_agree_with_the_reference_in_single_precision() {
    let mut random = Random::from_clock();
    (0..150).for_each(|_| check::<f32>(&mut random));
}

#[test]
fn random_normalisations_agree_with_the_reference_in_double_precision() {
    let mut random = Random::from_clock();
    (0..150).for_each(|_| check::<f64>(&mut random));
}

#[test]
fn nan_and_infinity_reach_the_windows_that_hold_them() {
    let lrn = Lrn { n: 3, alpha: 1.0, beta: 0.75, k: 1.0 };
    let layout = Layout::packed(&[1, 6]);
    let x = Tensor::<f32>::holding(&[f64::NAN, 1.0, 1.0, 1.0, f64::INFINITY, 1.0], layout);
    let mut y = Tensor::<f32>::poisoned(layout);
    lrn_forward(&lrn, x.read(), y.write());
    let y = y.elements();
    assert!(
        y[0].is_nan() && y[1].is_nan() && y[2] > 0.0 && y[3] == 0.0 && y[4].is_nan() && y[5] == 0.0,
        "{y:?}"
    );
}

#[test]
fn empty_tensors_are_left_alone() {
    let lrn = Lrn { n: 3, alpha: 1.0, beta: 0.75, k: 1.0 };
    for dims in [[0, 3, 2], [2, 0, 2], [2, 3, 0]] {
        let x = Tensor::<f32>::poisoned(Layout::packed(&dims));
        let (mut y, mut dx) = (x.clone(), x.clone());
        lrn_forward(&lrn, x.read(), y.write());
        lrn_backward(&lrn, x.read(), x.read(), x.read(), dx.write());
    }
}

#[test]
#[should_panic(expected = "sizes differ")]
fn another_size_is_a_bug_of_the_caller() {
    let lrn = Lrn { n: 1, alpha: 1.0, beta: 1.0, k: 1.0 };
    let x = Tensor::<f32>::poisoned(Layout::packed(&[1, 2]));
    lrn_forward(&lrn, x.read(), Tensor::<f32>::poisoned(Layout::packed(&[1, 3])).write());
}

fn fingerprint() -> Vec<f64> {
    let mut random = Random::new(11);
    let dims = [2, 48, 43, 37];
    let (x, dy) = (random.numbers(dims.iter().product()), random.numbers(dims.iter().product()));
    let lrn = Lrn { n: 5, alpha: 0.5, beta: 0.75, k: 1.0 };
    let mut numbers = Vec::new();
    for strides in [[48 * 43 * 37, 43 * 37, 37, 1], [48 * 43 * 37, 1, 48 * 37, 48]] {
        let layout = Layout::new(&dims, &strides);
        let (x, dy) = (Tensor::<f32>::holding(&x, layout), Tensor::<f32>::holding(&dy, layout));
        let (mut y, mut dx) = (Tensor::<f32>::poisoned(layout), Tensor::<f32>::poisoned(layout));
        lrn_forward(&lrn, x.read(), y.write());
        lrn_backward(&lrn, x.read(), y.read(), dy.read(), dx.write());
        numbers.extend(y.elements());
        numbers.extend(dx.elements());
    }
    numbers
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    assert_threads_do_not_matter("one_and_two_threads_give_the_same_bits", fingerprint);
}
