//! Normalisation against the reference, over kinds, layouts and shapes.

mod strided;

use gpucompat_engine::{
    Centering, Layout, Normalization, NormalizationGradients, Real, TensorMut, TensorRef, normalize,
    normalize_backward, statistics,
};
use gpucompat_reference::norm as reference;
use strided::{Random, Tensor, assert_near, assert_threads_do_not_matter};

const CENTERINGS: [(Centering, reference::Centering); 2] =
    [(Centering::Mean, reference::Centering::Mean), (Centering::None, reference::Centering::None)];

/// Sizes of x, of mean, and of scale and bias.
struct Case {
    x: Vec<usize>,
    mean: Vec<usize>,
    scale: Vec<usize>,
}

/// The kinds that libraries know, and axes chosen at random.
fn case(random: &mut Random) -> Case {
    let mut x: Vec<usize> = (0..=random.below(5)).map(|_| 1 + random.below(7)).collect();
    if random.below(8) == 0 {
        let last = x.len() - 1;
        x[last] = 1 + random.below(2500);
        x.iter_mut().take(last).for_each(|size| *size = (*size).min(2));
    }
    let keep = |axes: &dyn Fn(usize) -> bool| -> Vec<usize> {
        x.iter().enumerate().map(|(axis, &size)| if axes(axis) { size } else { 1 }).collect()
    };
    let (any, other) = (random.below(64), random.below(64));
    let (mean, scale) = match random.below(5) {
        0 => (keep(&|axis| axis == 1), keep(&|axis| axis == 1)),
        1 => (keep(&|axis| axis > 0), keep(&|axis| axis > 0)),
        2 => (keep(&|axis| axis == 0), keep(&|axis| axis > 0)),
        3 => (keep(&|axis| axis < 2), keep(&|axis| axis == 1)),
        _ => (keep(&|axis| any >> axis & 1 == 1), keep(&|axis| other >> axis & 1 == 1)),
    };
    Case { x, mean, scale }
}

fn tensor<R: Real>(random: &mut Random, values: &[f64], dims: &[usize]) -> Tensor<R> {
    Tensor::holding(values, random.layout(dims))
}

fn values(near: &[reference::Near]) -> Vec<f64> {
    near.iter().map(|near| near.value).collect()
}

/// How many unit roundoffs a sum of up to `count` terms may be off: sums are formed in double precision,
/// whose own rounding errors show in results of double precision and add up like a random walk.
fn sum_units<R: Real>(count: usize) -> f64 {
    let double = R::epsilon().to_double() <= f64::EPSILON;
    if double { 8.0 + 4.0 * (count as f64).sqrt() } else { 8.0 }
}

/// Statistics, forward and backward of one random case.
fn check<R: Real>(random: &mut Random) {
    let Case { x: dims, mean: groups, scale: spread } = case(random);
    let (count, wide) = (dims.iter().product(), spread.iter().product());
    let units = sum_units::<R>(count);
    let (x, dy) = (random.numbers(count), random.numbers(count));
    let (scale, bias) = (random.numbers(wide), random.numbers(wide));
    let (scaled, biased) = (random.below(4) > 0, random.below(4) > 0);
    let (centering, expected_centering) = CENTERINGS[random.below(2)];
    let context = format!("seed {}: {dims:?} {groups:?} {spread:?} {centering:?}", random.seed);

    let x_tensor: Tensor<R> = tensor(random, &x, &dims);
    let mut mean = Tensor::poisoned(random.layout(&groups));
    let mut variance = Tensor::poisoned(random.layout(&groups));
    statistics(centering, x_tensor.read(), mean.write(), variance.write());
    let expected = reference::statistics(expected_centering, &x, &dims, &groups);
    assert_near::<R>(&mean.elements(), &expected.mean, units, &format!("mean, {context}"));
    assert_near::<R>(&variance.elements(), &expected.variance, units, &format!("variance, {context}"));

    // As the engine sees them: rounded.
    let mean_values: Vec<f64> = mean.elements();
    let exact: Vec<f64> = values(&expected.variance).iter().map(|v| (v + 0.125).sqrt().recip()).collect();
    let inv_std: Tensor<R> = tensor(random, &exact, &groups);
    let inv_values = inv_std.elements();
    let (scale_tensor, bias_tensor): (Tensor<R>, Tensor<R>) =
        (tensor(random, &scale, &spread), tensor(random, &bias, &spread));
    let by = Normalization {
        mean: mean.read(),
        inv_std: inv_std.read(),
        scale: scaled.then(|| scale_tensor.read()),
        bias: biased.then(|| bias_tensor.read()),
    };
    let spread_of = |values, dims| reference::Spread { values, dims };
    let expected_by = reference::Normalization {
        mean: spread_of(&mean_values, &groups),
        inv_std: spread_of(&inv_values, &groups),
        scale: scaled.then_some(spread_of(&scale, &spread)),
        bias: biased.then_some(spread_of(&bias, &spread)),
    };
    let mut y = Tensor::<R>::poisoned(random.layout(&dims));
    normalize(x_tensor.read(), &by, y.write());
    let expected = reference::normalize(&x, &dims, &expected_by);
    assert_near::<R>(&y.elements(), &expected, 8.0, &format!("y, {context}"));

    let dy_tensor: Tensor<R> = tensor(random, &dy, &dims);
    let own_bias = if random.below(3) == 0 { groups.clone() } else { spread.clone() };
    let mut dx = Tensor::<R>::poisoned(random.layout(&dims));
    let mut dscale = Tensor::<R>::poisoned(random.layout(&spread));
    let mut dbias = Tensor::<R>::poisoned(random.layout(&own_bias));
    let (with_scale, with_bias) = (random.below(4) > 0, random.below(4) > 0);
    let out = NormalizationGradients {
        dx: dx.write(),
        dscale: with_scale.then(|| dscale.write()),
        dbias: with_bias.then(|| dbias.write()),
    };
    normalize_backward(centering, x_tensor.read(), dy_tensor.read(), &by, out);
    let expected =
        reference::normalize_backward(expected_centering, &x, &dy, &dims, &expected_by, &spread, &own_bias);
    assert_near::<R>(&dx.elements(), &expected.dx, units, &format!("dx, {context}"));
    if with_scale {
        assert_near::<R>(&dscale.elements(), &expected.dscale, units, &format!("dscale, {context}"));
    }
    if with_bias {
        assert_near::<R>(&dbias.elements(), &expected.dbias, units, &format!("dbias, {context}"));
    }
}

#[test]
fn random_normalisations_agree_with_the_reference_in_single_precision() {
    let mut random = Random::from_clock();
    (0..300).for_each(|_| check::<f32>(&mut random));
}

#[test]
fn random_normalisations_agree_with_the_reference_in_double_precision() {
    let mut random = Random::from_clock();
    (0..300).for_each(|_| check::<f64>(&mut random));
}

fn packed<R: Real>(values: &[f64], dims: &[usize]) -> Tensor<R> {
    Tensor::holding(values, Layout::packed(dims))
}

/// Mean and variance of one group.
fn one_group<R: Real>(centering: Centering, x: &[f64]) -> (f64, f64) {
    let (mut mean, mut variance) =
        (Tensor::<R>::poisoned(Layout::packed(&[1])), Tensor::<R>::poisoned(Layout::packed(&[1])));
    statistics(centering, packed::<R>(x, &[x.len()]).read(), mean.write(), variance.write());
    (mean.elements()[0], variance.elements()[0])
}

#[test]
fn a_mean_far_from_zero_costs_no_digits_of_the_variance() {
    let x: Vec<f64> = (0..100_000).map(|at| 4096.0 + (at % 2) as f64 * 0.25).collect();
    let (mean, variance) = one_group::<f32>(Centering::Mean, &x);
    assert_eq!((mean, variance), (4096.125, 0.015_625));
    let x: Vec<f64> = (0..100_000).map(|at| 1e12 + (at % 2) as f64 * 0.25).collect();
    let (mean, variance) = one_group::<f64>(Centering::Mean, &x);
    assert_eq!((mean, variance), (1e12 + 0.125, 0.015_625));
}

#[test]
fn a_first_element_far_from_the_others_costs_no_digits_in_double_precision() {
    let mut x = vec![0.25; 1 << 16];
    x[0] = 1e6;
    let (_, variance) = one_group::<f64>(Centering::Mean, &x);
    let count = x.len() as f64;
    let want = (count - 1.0) / (count * count) * (x[0] - x[1]).powi(2);
    assert!((variance - want).abs() <= 1e-13 * want, "{variance} {want}");
}

#[test]
fn equal_elements_have_no_variance() {
    for value in [0.1f32, -3.3e7, 1e-30] {
        let (mean, variance) = one_group::<f32>(Centering::Mean, &vec![f64::from(value); 777]);
        assert_eq!((mean, variance), (f64::from(value), 0.0));
    }
}

#[test]
fn without_centering_the_mean_is_zero_and_the_variance_the_mean_square() {
    assert_eq!(one_group::<f32>(Centering::None, &[3.0, 4.0]), (0.0, 12.5));
}

#[test]
fn infinities_make_the_variance_nan_and_stay_in_their_group() {
    for x in [[f64::INFINITY, 1.0, 2.0], [1.0, f64::INFINITY, 2.0]] {
        let (mean, variance) = one_group::<f32>(Centering::Mean, &x);
        assert!(mean == f64::INFINITY && variance.is_nan(), "{mean} {variance}");
        let (mean, variance) = one_group::<f64>(Centering::Mean, &x);
        assert!(mean == f64::INFINITY && variance.is_nan(), "{mean} {variance}");
    }
    let x = packed::<f32>(&[1.0, f64::NAN, 2.0, 4.0], &[2, 2]);
    let mut mean = Tensor::<f32>::poisoned(Layout::packed(&[2, 1]));
    let mut variance = mean.clone();
    statistics(Centering::Mean, x.read(), mean.write(), variance.write());
    let (mean, variance) = (mean.elements(), variance.elements());
    assert!(mean[0].is_nan() && variance[0].is_nan());
    assert_eq!((mean[1], variance[1]), (3.0, 1.0));
}

#[test]
fn nan_in_x_reaches_y_and_no_neighbour() {
    let x = packed::<f32>(&[1.0, f64::NAN, f64::INFINITY, 4.0], &[2, 2]);
    let one = packed::<f32>(&[1.0, 1.0], &[1, 2]);
    let by = Normalization { mean: one.read(), inv_std: one.read(), scale: None, bias: None };
    let mut y = Tensor::<f32>::poisoned(Layout::packed(&[2, 2]));
    normalize(x.read(), &by, y.write());
    let y = y.elements();
    assert!(y[0] == 0.0 && y[1].is_nan() && y[2] == f64::INFINITY && y[3] == 3.0, "{y:?}");
}

#[test]
fn nothing_to_normalise_gives_no_sums_and_no_mean() {
    let x = Tensor::<f32>::poisoned(Layout::packed(&[0, 3, 2]));
    let (mut mean, mut variance) = (
        Tensor::<f32>::poisoned(Layout::packed(&[1, 3, 1])),
        Tensor::<f32>::poisoned(Layout::packed(&[1, 3, 1])),
    );
    statistics(Centering::Mean, x.read(), mean.write(), variance.write());
    assert!(mean.elements().iter().chain(&variance.elements()).all(|value| value.is_nan()));
    let by = Normalization { mean: mean.read(), inv_std: variance.read(), scale: None, bias: None };
    let (mut y, mut dx) = (x.clone(), x.clone());
    normalize(x.read(), &by, y.write());
    let mut dscale = Tensor::<f32>::poisoned(Layout::packed(&[1, 3, 1]));
    let mut dbias = dscale.clone();
    let out =
        NormalizationGradients { dx: dx.write(), dscale: Some(dscale.write()), dbias: Some(dbias.write()) };
    normalize_backward(Centering::Mean, x.read(), x.read(), &by, out);
    assert_eq!((dscale.elements(), dbias.elements()), (vec![0.0; 3], vec![0.0; 3]));
}

#[test]
#[should_panic(expected = "does not spread over x")]
fn a_mean_of_another_shape_is_a_bug_of_the_caller() {
    let x = [0.0f32; 6];
    let (mut mean, mut variance) = ([0.0f32; 2], [0.0f32; 2]);
    let own = Layout::packed(&[1, 2]);
    statistics(
        Centering::Mean,
        TensorRef::new(&x, Layout::packed(&[2, 3])),
        TensorMut::new(&mut mean, own),
        TensorMut::new(&mut variance, own),
    );
}

/// Large enough to be cut into several chunks, in both orders of memory, for all kinds.
fn fingerprint() -> Vec<f64> {
    let dims = [6, 24, 31, 33];
    let mut random = Random::new(5);
    let count = dims.iter().product();
    let (x, dy) = (random.numbers(count), random.numbers(count));
    let mut bits = Vec::new();
    for strides in [[24 * 31 * 33, 31 * 33, 33, 1], [24 * 31 * 33, 1, 24 * 33, 24]] {
        let layout = Layout::new(&dims, &strides);
        let (x, dy) = (Tensor::<f32>::holding(&x, layout), Tensor::<f32>::holding(&dy, layout));
        for (groups, spread) in [
            ([1, 24, 1, 1], [1, 24, 1, 1]),
            ([6, 1, 1, 1], [1, 24, 31, 33]),
            ([6, 24, 1, 1], [1, 24, 1, 1]),
            ([1, 1, 1, 1], [1, 1, 1, 1]),
        ] {
            let poisoned = |dims: &[usize]| Tensor::<f32>::poisoned(Layout::packed(dims));
            let (mut mean, mut variance, mut y) = (poisoned(&groups), poisoned(&groups), poisoned(&dims));
            let (mut dx, mut dscale, mut dbias) = (poisoned(&dims), poisoned(&spread), poisoned(&spread));
            statistics(Centering::Mean, x.read(), mean.write(), variance.write());
            let by = Normalization { mean: mean.read(), inv_std: variance.read(), scale: None, bias: None };
            normalize(x.read(), &by, y.write());
            let out = NormalizationGradients {
                dx: dx.write(),
                dscale: Some(dscale.write()),
                dbias: Some(dbias.write()),
            };
            normalize_backward(Centering::Mean, x.read(), dy.read(), &by, out);
            [mean, variance, y, dx, dscale, dbias].iter().for_each(|tensor| bits.extend(tensor.elements()));
        }
    }
    bits
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    assert_threads_do_not_matter("one_and_two_threads_give_the_same_bits", fingerprint);
}
