//! Spatial transformers against the reference.

mod strided;

use gpucompat_engine::{Layout, Real, affine_grid, affine_grid_backward, sample_grid, sample_grid_backward};
use gpucompat_reference::sampler as reference;
use strided::{Random, Tensor, assert_near, assert_threads_do_not_matter};

fn sizes(random: &mut Random) -> reference::Sizes {
    let many = random.below(8) == 0;
    reference::Sizes {
        n: 1 + random.below(3),
        channels: 1 + random.below(if many { 40 } else { 4 }),
        image_height: 1 + random.below(6),
        image_width: 1 + random.below(6),
        height: 1 + random.below(7),
        width: 1 + random.below(if many { 200 } else { 7 }),
    }
}

fn check_affine<R: Real>(random: &mut Random) {
    let sizes = sizes(random);
    let context = format!("seed {}: {sizes:?}", random.seed);
    let (theta_dims, grid_dims) = ([sizes.n, 2, 3], [sizes.n, sizes.height, sizes.width, 2]);
    let theta = random.numbers(theta_dims.iter().product());
    let mut grid = Tensor::<R>::poisoned(random.layout(&grid_dims));
    affine_grid(Tensor::<R>::holding(&theta, random.layout(&theta_dims)).read(), grid.write());
    assert_near::<R>(&grid.elements(), &reference::affine_grid(&theta, sizes), 6.0, &context);
    let dgrid = random.numbers(grid_dims.iter().product());
    let mut dtheta = Tensor::<R>::poisoned(random.layout(&theta_dims));
    affine_grid_backward(Tensor::<R>::holding(&dgrid, random.layout(&grid_dims)).read(), dtheta.write());
    let units = 8.0 + (sizes.height * sizes.width) as f64;
    assert_near::<R>(&dtheta.elements(), &reference::affine_grid_backward(&dgrid, sizes), units, &context);
}

/// Coordinates that are exact in pixels: multiples of 1/8 from −2 to 2; sometimes what is no place at all.
fn coordinates(random: &mut Random, count: usize) -> Vec<f64> {
    let special = random.below(3) == 0;
    let coordinate = |random: &mut Random| match random.below(if special { 40 } else { 33 }) {
        eighths @ 0..33 => eighths as f64 / 8.0 - 2.0,
        33 => f64::INFINITY,
        34 => f64::NEG_INFINITY,
        35 => 1e30,
        36 => -1e30,
        _ => f64::NAN,
    };
    (0..count).map(|_| coordinate(random)).collect()
}

fn check_samples<R: Real>(random: &mut Random) {
    let sizes = sizes(random);
    let context = format!("seed {}: {sizes:?}", random.seed);
    let grid_dims = [sizes.n, sizes.height, sizes.width, 2];
    let x_dims = [sizes.n, sizes.channels, sizes.image_height, sizes.image_width];
    let y_dims = [sizes.n, sizes.channels, sizes.height, sizes.width];
    let x = random.numbers(x_dims.iter().product());
    let dy = random.numbers(y_dims.iter().product());
    let grid = coordinates(random, grid_dims.iter().product());
    let x_tensor = Tensor::<R>::holding(&x, random.layout(&x_dims));
    let grid_tensor = Tensor::<R>::holding(&grid, random.layout(&grid_dims));
    let mut y = Tensor::<R>::poisoned(random.layout(&y_dims));
    sample_grid(x_tensor.read(), grid_tensor.read(), y.write());
    assert_near::<R>(&y.elements(), &reference::sample(&x, &grid, sizes), 8.0, &format!("y, {context}"));

    let dy_tensor = Tensor::<R>::holding(&dy, random.layout(&y_dims));
    let mut dx = Tensor::<R>::poisoned(random.layout(&x_dims));
    let mut dgrid = Tensor::<R>::poisoned(random.layout(&grid_dims));
    let inputs = (x_tensor.read(), dy_tensor.read(), grid_tensor.read());
    sample_grid_backward(inputs.0, inputs.1, inputs.2, dx.write(), dgrid.write());
    let want = reference::sample_backward(&x, &dy, &grid, sizes);
    let points = (sizes.height * sizes.width) as f64;
    assert_near::<R>(&dx.elements(), &want.dx, 8.0 + points, &format!("dx, {context}"));
    assert_near::<R>(&dgrid.elements(), &want.dgrid, 40.0, &format!("dgrid, {context}"));
}

#[test]
fn random_grids_agree_with_the_reference() {
    let mut random = Random::from_clock();
    for _ in 0..200 {
        check_affine::<f32>(&mut random);
        check_affine::<f64>(&mut random);
    }
}

#[test]
fn random_samples_agree_with_the_reference() {
    let mut random = Random::from_clock();
    for _ in 0..200 {
        check_samples::<f32>(&mut random);
        check_samples::<f64>(&mut random);
    }
}

#[test]
fn the_identity_samples_the_image_itself() {
    let dims = [1, 2, 5, 9];
    let values = Random::from_clock().numbers(90);
    let x = Tensor::<f64>::holding(&values, Layout::packed(&dims));
    let theta = Tensor::<f64>::holding(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], Layout::packed(&[1, 2, 3]));
    let mut grid = Tensor::<f64>::poisoned(Layout::packed(&[1, 5, 9, 2]));
    let mut y = Tensor::<f64>::poisoned(Layout::packed(&dims));
    affine_grid(theta.read(), grid.write());
    sample_grid(x.read(), grid.read(), y.write());
    assert_eq!(y.elements(), values);
}

/// Samples of a 2×2 image of ones but for its last pixel.
fn samples(last: f64, points: &[f64]) -> Vec<f64> {
    let x = Tensor::<f32>::holding(&[1.0, 1.0, 1.0, last], Layout::packed(&[1, 1, 2, 2]));
    let count = points.len() / 2;
    let grid = Tensor::<f32>::holding(points, Layout::packed(&[1, 1, count, 2]));
    let mut y = Tensor::<f32>::poisoned(Layout::packed(&[1, 1, 1, count]));
    sample_grid(x.read(), grid.read(), y.write());
    y.elements()
}

#[test]
fn coordinates_that_are_no_place_reach_no_pixel() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let y = samples(1.0, &[inf, 0.0, 0.0, -inf, 1e38, 1e38, -1e38, 0.0, nan, 0.0, 0.0, nan, 3.5, 0.0]);
    assert_eq!((&y[..4], y[6]), (&[0.0; 4][..], 0.0));
    assert!(y[4].is_nan() && y[5].is_nan());
}

#[test]
fn an_infinite_pixel_counts_even_with_weight_0_but_not_beyond_the_border() {
    let y = samples(f64::INFINITY, &[1.0, 1.0, -1.0, -1.0, 0.0, 0.0]);
    assert!(y[0] == f64::INFINITY && y[1].is_nan() && y[2] == f64::INFINITY, "{y:?}");
}

#[test]
fn empty_images_and_grids_work() {
    let empty = |dims: &[usize]| Tensor::<f32>::poisoned(Layout::packed(dims));
    for (channels, size, points) in [(0, 2, 3), (2, 0, 3), (2, 2, 0)] {
        let x =
            Tensor::<f32>::holding(&vec![1.0; channels * size * 2], Layout::packed(&[1, channels, 2, size]));
        let grid = Tensor::<f32>::holding(&vec![0.0; points * 2], Layout::packed(&[1, 1, points, 2]));
        let (mut y, mut dx) = (empty(&[1, channels, 1, points]), empty(&[1, channels, 2, size]));
        let mut dgrid = empty(&[1, 1, points, 2]);
        sample_grid(x.read(), grid.read(), y.write());
        sample_grid_backward(x.read(), y.read(), grid.read(), dx.write(), dgrid.write());
        assert!(y.elements().iter().all(|&y| y == if size == 0 { 0.0 } else { 1.0 }));
        assert!(dx.elements().iter().chain(&dgrid.elements()).all(|value| value.is_finite()));
    }
    let mut dtheta = empty(&[1, 2, 3]);
    affine_grid_backward(empty(&[1, 0, 4, 2]).read(), dtheta.write());
    assert_eq!(dtheta.elements(), [0.0; 6]);
}

#[test]
#[should_panic(expected = "a grid is [N, H, W, 2]")]
fn a_grid_without_pairs_is_a_bug_of_the_caller() {
    let theta = Tensor::<f32>::poisoned(Layout::packed(&[1, 2, 3]));
    affine_grid(theta.read(), Tensor::<f32>::poisoned(Layout::packed(&[1, 2, 3, 3])).write());
}

fn fingerprint() -> Vec<f64> {
    let mut random = Random::new(13);
    let (x_dims, y_dims, grid_dims) = ([2, 40, 31, 17], [2, 40, 61, 53], [2, 61, 53, 2]);
    let layout = |dims: &[usize]| Layout::packed(dims);
    let x = Tensor::<f32>::holding(&random.numbers(x_dims.iter().product()), layout(&x_dims));
    let dy = Tensor::<f32>::holding(&random.numbers(y_dims.iter().product()), layout(&y_dims));
    let theta = Tensor::<f32>::holding(&random.numbers(12), layout(&[2, 2, 3]));
    let (mut grid, mut y) =
        (Tensor::<f32>::poisoned(layout(&grid_dims)), Tensor::<f32>::poisoned(layout(&y_dims)));
    affine_grid(theta.read(), grid.write());
    sample_grid(x.read(), grid.read(), y.write());
    let mut dx = Tensor::<f32>::poisoned(layout(&x_dims));
    let (mut dgrid, mut dtheta) = (grid.clone(), theta.clone());
    sample_grid_backward(x.read(), dy.read(), grid.read(), dx.write(), dgrid.write());
    affine_grid_backward(dgrid.read(), dtheta.write());
    [grid, y, dx, dgrid, dtheta].iter().flat_map(Tensor::elements).collect()
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    assert_threads_do_not_matter("one_and_two_threads_give_the_same_bits", fingerprint);
}
