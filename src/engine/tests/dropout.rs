//! Dropout against the definition, element by element.

mod processes;
mod random;

use gpucompat_engine::{
    DropoutSeed, Layout, Philox, Real, TensorMut, TensorRef, dropout_backward, dropout_forward,
};
use random::{Arrangement, Rng, Tensor};

/// Whether the element at a position is kept.
fn kept(probability: f64, seed: DropoutSeed, position: usize) -> bool {
    let number = seed.offset.wrapping_add(position as u64);
    let random = Philox::new(seed.seed).block(number / 4)[(number % 4) as usize];
    f64::from(random) / 4_294_967_296.0 >= probability
}

fn check<R: Real>(dims: [usize; 3], probability: f64, rng: &mut Rng) {
    let seed = DropoutSeed { seed: rng.next(), offset: rng.next() };
    let context = format!("{dims:?}, p = {probability}, {seed:?}, seed {}", rng.seed);
    let elements = dims.iter().product();
    let values = rng.numbers(elements);
    let x = Tensor::<R>::filled(dims, Arrangement::random(rng), &values);
    let mut y = Tensor::<R>::poisoned(dims, Arrangement::random(rng));
    let mut reserve = vec![7; elements];
    dropout_forward(probability, seed, x.view(), y.view_mut(), &mut reserve);
    let mut dx = Tensor::<R>::poisoned(dims, Arrangement::random(rng));
    dropout_backward(probability, x.view(), dx.view_mut(), &reserve);
    let (y, dx) = (y.values(), dx.values());
    for position in 0..elements {
        let kept = kept(probability, seed, position);
        let expected = if kept { R::of(values[position]).to_double() / (1.0 - probability) } else { 0.0 };
        let error = (y[position] - expected).abs();
        // The factor is rounded once, the product once.
        assert!(error <= R::epsilon().to_double() * expected.abs(), "element {position}: {context}");
        assert_eq!((dx[position], reserve[position]), (y[position], u8::from(kept)), "{position}: {context}");
    }
}

#[test]
fn every_element_follows_its_own_random_number() {
    let mut rng = Rng::from_clock();
    for dims in [[1, 1, 1], [2, 3, 5], [7, 1, 64], [0, 3, 2], [3, 0, 1], [5, 50, 151], [1, 1, 40_000]] {
        for probability in [0.0, 0.1, 0.5, 1.0 - 1e-9] {
            check::<f32>(dims, probability, &mut rng);
            check::<f64>(dims, probability, &mut rng);
        }
    }
}

#[test]
fn one_drops_everything_and_nan_is_dropped_too() {
    let (layout, seed) = (Layout::packed(&[200]), DropoutSeed { seed: 1, offset: 2 });
    let x = vec![f32::NAN; 200];
    let mut y = vec![f32::NAN; 200];
    let mut reserve = vec![7; 200];
    dropout_forward(1.0, seed, TensorRef::new(&x, layout), TensorMut::new(&mut y, layout), &mut reserve);
    assert!(y.iter().all(|&y| y == 0.0) && reserve.iter().all(|&kept| kept == 0));
    y.fill(f32::NAN);
    dropout_backward(1.0, TensorRef::new(&x, layout), TensorMut::new(&mut y, layout), &reserve);
    assert!(y.iter().all(|&y| y == 0.0));
    dropout_forward(0.5, seed, TensorRef::new(&x, layout), TensorMut::new(&mut y, layout), &mut reserve);
    let follows = |(y, &kept): (&f32, &u8)| if kept == 1 { y.is_nan() } else { *y == 0.0 };
    assert!(y.iter().zip(&reserve).all(follows) && reserve.contains(&0) && reserve.contains(&1));
}

#[test]
fn a_broadcast_input_is_read_where_it_lies() {
    let (layout, seed) = (Layout::new(&[3, 5], &[1, 0]), DropoutSeed { seed: 3, offset: 0 });
    let (mut y, mut reserve) = ([f64::NAN; 15], [7; 15]);
    let output = TensorMut::new(&mut y, Layout::packed(&[3, 5]));
    dropout_forward(0.0, seed, TensorRef::new(&[1.0, 2.0, 3.0], layout), output, &mut reserve);
    assert_eq!(y, [1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0]);
}

/// Of a million elements, p·10⁶ ± 6 standard deviations are dropped.
#[test]
fn about_as_many_are_dropped_as_asked_for() {
    let mut rng = Rng::from_clock();
    let layout = Layout::packed(&[1_000_000]);
    let x = vec![1.0f32; 1_000_000];
    let (mut y, mut reserve) = (x.clone(), vec![7; 1_000_000]);
    for probability in [0.05, 0.3, 0.5, 0.9] {
        let seed = DropoutSeed { seed: rng.next(), offset: rng.next() };
        let output = TensorMut::new(&mut y, layout);
        dropout_forward(probability, seed, TensorRef::new(&x, layout), output, &mut reserve);
        let dropped = 1e6 - reserve.iter().map(|&kept| f64::from(kept)).sum::<f64>();
        let deviation = (1e6 * probability * (1.0 - probability)).sqrt();
        assert!((dropped - 1e6 * probability).abs() < 6.0 * deviation, "{dropped} of 10⁶, {seed:?}");
    }
}

#[test]
#[should_panic(expected = "one byte for each element")]
fn a_short_reserve_is_a_bug_of_the_caller() {
    let layout = Layout::packed(&[4]);
    let mut y = [0.0f32; 4];
    let seed = DropoutSeed { seed: 1, offset: 0 };
    let output = TensorMut::new(&mut y, layout);
    dropout_forward(0.5, seed, TensorRef::new(&[0.0; 4], layout), output, &mut [0; 3]);
}

#[test]
fn masks_do_not_depend_on_the_number_of_threads() {
    processes::same_with_any_number_of_threads("masks_do_not_depend_on_the_number_of_threads", || {
        let layout = Layout::packed(&[100_000]);
        let x = Rng::with_seed(5).numbers(100_000);
        let (mut y, mut reserve) = (vec![f64::NAN; 100_000], vec![7; 100_000]);
        let seed = DropoutSeed { seed: 9, offset: 77 };
        let output = TensorMut::new(&mut y, layout);
        dropout_forward(0.3, seed, TensorRef::new(&x, layout), output, &mut reserve);
        y.extend(reserve.into_iter().map(f64::from));
        y
    });
}
