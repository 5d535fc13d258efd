//! Reductions against the reference.

use gpucompat_engine::{Layout, NanRule, Real, Reduction, TensorMut, reduce, reduce_with_indices};
use gpucompat_reference::pointwise::Expected;
use gpucompat_reference::reduce::{self as reference, Winner};

use crate::operands::{Random, Tensor, agrees};

const REDUCTIONS: [Reduction; 9] = [
    Reduction::Add,
    Reduction::Mul,
    Reduction::Min,
    Reduction::Max,
    Reduction::Amax,
    Reduction::Average,
    Reduction::Norm1,
    Reduction::Norm2,
    Reduction::MulNoZeros,
];

/// The set of each element of y, both in row-major order.
fn sets<R: Real>(x: &Tensor<R>, y: &Layout) -> Vec<Vec<f64>> {
    let mut sets = vec![Vec::new(); y.elements()];
    let (whole, packed) = (Layout::packed(x.layout.dims()), Layout::packed(y.dims()));
    for position in 0..whole.elements() {
        let index = &whole.index_of(position)[..whole.rank()];
        let at: Vec<usize> =
            index.iter().zip(y.dims()).map(|(&at, &size)| if size == 1 { 0 } else { at }).collect();
        sets[packed.place(&at)].push(x.get(index));
    }
    sets
}

/// The winner of a set, of the reductions that have one.
fn winner(reduction: Reduction, nan: NanRule, set: &[f64]) -> Option<Winner> {
    let set: Vec<f64> = set.iter().map(|x| if reduction == Reduction::Amax { x.abs() } else { *x }).collect();
    let beats = |a: f64, b: f64| if reduction == Reduction::Min { a < b } else { a > b };
    match nan {
        NanRule::Propagate => reference::winner_with_nan(&set, beats),
        NanRule::Ignore => reference::winner_without_nan(&set, beats),
    }
}

fn expected(reduction: Reduction, nan: NanRule, set: &[f64]) -> Expected {
    match reduction {
        Reduction::Add => reference::sum(set),
        Reduction::Mul => reference::product(set),
        Reduction::MulNoZeros => reference::product_without_zeros(set),
        Reduction::Average => reference::average(set),
        Reduction::Norm1 => reference::norm1(set),
        Reduction::Norm2 => reference::norm2(set),
        Reduction::Min | Reduction::Max | Reduction::Amax => {
            let nothing = match (nan, reduction) {
                (NanRule::Ignore, _) => f64::NAN,
                (NanRule::Propagate, Reduction::Min) => f64::INFINITY,
                (NanRule::Propagate, _) => f64::NEG_INFINITY,
            };
            Expected::exact(winner(reduction, nan, set).map_or(nothing, |winner| winner.value))
        }
    }
}

/// Reduces a tensor in both ways and compares.
fn check<R: Real>(random: &mut Random, x: &Tensor<R>, y_dims: &[usize]) {
    let layout = random.layout(y_dims);
    let sets = sets(x, &layout);
    let packed = Layout::packed(y_dims);
    for reduction in REDUCTIONS {
        for nan in [NanRule::Propagate, NanRule::Ignore] {
            let context = format!("{reduction:?} {nan:?} of {:?} to {layout:?}", x.layout);
            let mut y = Tensor::<R>::poisoned(layout);
            reduce(reduction, nan, x.as_ref(), TensorMut::new(&mut y.data, layout));
            // Sums in double precision: one rounding in single; a chunk, a few hundred of a lane, and pairs.
            let roundoffs = if R::epsilon().to_double() > 1e-10 { 2.0 } else { 300.0 };
            for (position, set) in sets.iter().enumerate() {
                let result = R::of(y.get(&packed.index_of(position)[..packed.rank()]));
                let want = expected(reduction, nan, set);
                // A product rounds once for each factor.
                let product = matches!(reduction, Reduction::Mul | Reduction::MulNoZeros);
                let roundoffs = roundoffs + if product { set.len() as f64 } else { 0.0 };
                assert!(agrees(result, want, roundoffs), "{context}: {result:?}, not {want:?}, of {set:?}");
            }
            assert!(y.gaps_are_untouched(), "{context}");
            let has_winner = winner(reduction, nan, &[1.0]).is_some()
                && matches!(reduction, Reduction::Min | Reduction::Max | Reduction::Amax);
            if has_winner && sets.iter().all(|set| !set.is_empty()) {
                let (values, mut indices) = (y.data.clone(), vec![u32::MAX; sets.len()]);
                y.data.fill(R::nan());
                let again = TensorMut::new(&mut y.data, layout);
                reduce_with_indices(reduction, nan, x.as_ref(), again, &mut indices);
                let same = |a: &R, b: &R| a == b || (a.is_nan() && b.is_nan());
                assert!(values.iter().zip(&y.data).all(|(a, b)| same(a, b)), "{context}");
                for (index, set) in indices.iter().zip(&sets) {
                    let want = winner(reduction, nan, set).unwrap().index;
                    assert_eq!(*index as usize, want, "{context} of {set:?}");
                }
            }
        }
    }
}

fn random_reductions<R: Real>(random: &mut Random) {
    let rank = random.below(6);
    let mut dims: Vec<usize> = (0..rank).map(|_| 1 + random.below(6)).collect();
    if rank > 0 && random.below(3) == 0 {
        dims[random.below(rank)] = 1 + random.below(700);
    }
    if rank > 0 && random.below(10) == 0 {
        dims[random.below(rank)] = 0;
    }
    let y_dims: Vec<usize> = dims.iter().map(|&size| if random.below(2) == 0 { 1 } else { size }).collect();
    let layout = random.layout(&dims);
    let special = [0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, -1.0];
    let many_special = random.below(3);
    let x = Tensor::<R>::filled(layout, || match random.below(10) {
        0 if many_special == 0 => special[random.below(6)],
        // Numbers that tie.
        1..6 if many_special < 2 => (random.number() * 3.0).round(),
        _ => random.number(),
    });
    check(random, &x, &y_dims);
}

#[test]
fn random_reductions_on_random_layouts_agree_with_the_reference() {
    let mut random = Random::new();
    for _ in 0..150 {
        random_reductions::<f32>(&mut random);
        random_reductions::<f64>(&mut random);
    }
}

#[test]
fn long_sets_cross_chunks_and_tasks_in_both_directions() {
    let mut random = Random::new();
    for (dims, y_dims) in [
        ([1, 1, 70_001], [1, 1, 1]),
        ([3, 9001, 2], [3, 1, 2]),
        ([2, 9001, 3], [1, 1, 3]),
        ([5000, 2, 7], [1, 2, 1]),
        ([700, 3, 50], [1, 3, 50]),
        ([2, 40_000, 2], [1, 40_000, 1]),
    ] {
        let x = Tensor::<f32>::filled(random.layout(&dims), || random.number());
        check(&mut random, &x, &y_dims);
    }
}

#[test]
fn a_sum_of_ten_million_ones_and_small_numbers_keeps_every_one() {
    let x = Tensor::<f32>::filled(Layout::packed(&[1, 10_000_001]), || 1.0);
    let mut y = [f32::NAN];
    let layout = Layout::packed(&[1, 1]);
    reduce(Reduction::Add, NanRule::Propagate, x.as_ref(), TensorMut::new(&mut y, layout));
    assert_eq!(y[0], 10_000_001.0);
}

#[test]
fn squares_that_overflow_single_precision_have_a_norm() {
    let x = Tensor::<f32>::filled(Layout::packed(&[2]), || 1e30);
    let mut y = [f32::NAN];
    let layout = Layout::packed(&[1]);
    reduce(Reduction::Norm2, NanRule::Propagate, x.as_ref(), TensorMut::new(&mut y, layout));
    assert_eq!(y[0], (2f64.sqrt() * f64::from(1e30f32)) as f32);
}

#[test]
#[should_panic(expected = "does not reduce")]
fn sizes_that_are_neither_kept_nor_reduced_are_a_bug_of_the_caller() {
    let x = Tensor::<f32>::filled(Layout::packed(&[6]), || 1.0);
    let mut y = [0.0; 2];
    let y = TensorMut::new(&mut y, Layout::packed(&[2]));
    reduce(Reduction::Add, NanRule::Propagate, x.as_ref(), y);
}

#[test]
#[should_panic(expected = "has no winner")]
fn a_sum_has_no_index() {
    let x = Tensor::<f32>::filled(Layout::packed(&[6]), || 1.0);
    let mut y = [0.0; 1];
    let y = TensorMut::new(&mut y, Layout::packed(&[1]));
    reduce_with_indices(Reduction::Add, NanRule::Propagate, x.as_ref(), y, &mut [0]);
}
