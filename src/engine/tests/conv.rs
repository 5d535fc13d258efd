//! Convolutions in their three directions against the reference, in every layout.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gpucompat_engine::{
    Conv, ConvKernel, Filtering, Layout, Real, TensorMut, TensorRef, conv_backward_data,
    conv_backward_filter, conv_forward, set_scratch_bytes, set_threads,
};
use gpucompat_reference::conv::{Expected, Problem, backward_data, backward_filter, forward};

/// Random numbers (xorshift), seeded from the clock unless a seed is to be looked at again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % bound
    }

    fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Between −1 and 1, exact in single precision.
    fn number(&mut self) -> f64 {
        self.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0
    }

    fn numbers(&mut self, length: usize) -> Vec<f64> {
        (0..length).map(|_| self.number()).collect()
    }
}

fn clock() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1
}

/// Runs `body` with fresh random numbers; prints the seed if it fails.
fn with_random(body: impl FnOnce(&mut Random)) {
    let seed = clock();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&mut Random(seed)))) {
        eprintln!("seed {seed}");
        std::panic::resume_unwind(panic);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Arrangement {
    Packed,
    ChannelsLast,
    /// Channels last, with a gap after each position.
    ChannelsLastSliced,
    /// Packed, each axis with a gap.
    Gaps,
    /// Axes in any order, with gaps.
    Any,
}

const ARRANGEMENTS: [Arrangement; 5] = [
    Arrangement::Packed,
    Arrangement::ChannelsLast,
    Arrangement::ChannelsLastSliced,
    Arrangement::Gaps,
    Arrangement::Any,
];

fn arrange(random: &mut Random, dims: &[usize], arrangement: Arrangement) -> Layout {
    let mut order: Vec<usize> = (0..dims.len()).collect();
    match arrangement {
        Arrangement::Packed | Arrangement::Gaps => {}
        Arrangement::ChannelsLast | Arrangement::ChannelsLastSliced => {
            order.remove(1);
            order.push(1);
        }
        Arrangement::Any => {
            for last in (1..dims.len()).rev() {
                order.swap(last, random.below(last + 1));
            }
        }
    }
    let mut strides = vec![0; dims.len()];
    let mut step = if arrangement == Arrangement::Any { random.between(1, 2) } else { 1 };
    for &axis in order.iter().rev() {
        // The stride of an axis of size 1 says nothing.
        strides[axis] = if dims[axis] == 1 { random.one_of(&[step, 0, 1, 999]) } else { step };
        step *= dims[axis].max(1);
        match arrangement {
            Arrangement::Gaps | Arrangement::Any => step += random.below(3),
            Arrangement::ChannelsLastSliced if axis == 1 => step += 3,
            _ => {}
        }
    }
    Layout::new(dims, &strides)
}

/// The packed values laid out; NaN in the gaps.
fn lay<R: Real>(values: &[f64], layout: &Layout) -> Vec<R> {
    let mut data = vec![R::nan(); layout.extent() + 5];
    for (position, &value) in values.iter().enumerate() {
        data[layout.place(&layout.index_of(position)[..layout.rank()])] = R::of(value);
    }
    data
}

const POISON: f64 = -1234.5;

/// One problem with the number of axes it is given as.
#[derive(Clone, Copy, Debug)]
struct Case {
    problem: Problem,
    rank: usize,
}

impl Case {
    fn conv(&self) -> Conv {
        let Problem { groups, pad, stride, dilation, flip, .. } = self.problem;
        let filtering = if flip { Filtering::Convolution } else { Filtering::CrossCorrelation };
        let ahead = |values: [usize; 3]| {
            let mut all = [77; 3];
            all[..self.rank - 2].copy_from_slice(&values[5 - self.rank..]);
            all
        };
        Conv { groups, filtering, pad: ahead(pad), stride: ahead(stride), dilation: ahead(dilation) }
    }

    fn dims(&self, first: usize, second: usize, spatial: [usize; 3]) -> Vec<usize> {
        [&[first, second][..], &spatial[5 - self.rank..]].concat()
    }

    fn x(&self) -> Vec<usize> {
        self.dims(self.problem.n, self.problem.c, self.problem.x)
    }
    fn w(&self) -> Vec<usize> {
        self.dims(self.problem.k, self.problem.c / self.problem.groups, self.problem.w)
    }
    fn y(&self) -> Vec<usize> {
        self.dims(self.problem.n, self.problem.k, self.problem.y)
    }

    fn random(random: &mut Random) -> Case {
        let rank = random.between(3, 5);
        let axis = |random: &mut Random, used: bool, bounds: [usize; 2]| {
            if used { random.between(bounds[0], bounds[1]) } else { 1 }
        };
        let most = [0, 0, 0, 70, 18, 7][rank];
        let mut spatial =
            |low: usize, high: usize| std::array::from_fn(|a| axis(&mut *random, a + rank >= 5, [low, high]));
        let (x, w, stride, dilation): ([usize; 3], [usize; 3], [usize; 3], [usize; 3]) =
            (spatial(1, most), spatial(1, 4), spatial(1, 3), spatial(1, 3));
        let pad: [usize; 3] = std::array::from_fn(|a| if a + rank >= 5 { random.below(5) } else { 0 });
        // Windows that reach beyond the end at times, and input that none reaches at others.
        let y = std::array::from_fn(|a| {
            let reach = (w[a] - 1) * dilation[a] + 1;
            let whole = (x[a] + 2 * pad[a]).saturating_sub(reach) / stride[a] + 1;
            if a + rank < 5 { 1 } else { (whole + random.below(4)).saturating_sub(random.below(2)).max(1) }
        });
        let groups = random.one_of(&[1, 1, 1, 2, 3]);
        let depthwise = random.below(4) == 0;
        let groups = if depthwise { random.between(1, 40) } else { groups };
        let per_group = if depthwise { 1 } else { random.one_of(&[1, 2, 3, 7, 20, 50]) };
        let problem = Problem {
            n: random.between(1, 3),
            c: groups * per_group,
            k: groups * if depthwise { random.between(1, 3) } else { random.one_of(&[1, 2, 5, 16, 37]) },
            groups,
            x,
            w,
            y,
            pad,
            stride,
            dilation,
            flip: random.below(2) == 0,
        };
        Case { problem, rank }
    }
}

/// Rounding errors of a sum of `terms` products stay below this many unit roundoffs of Σ|a|·|b|.
fn unit_roundoffs(terms: usize) -> f64 {
    4.0 + 4.0 * (terms as f64).sqrt()
}

fn compare<R: Real>(what: &str, case: &Case, data: &[R], layout: &Layout, expected: &[Expected]) {
    let mut written = vec![false; data.len()];
    for (position, expected) in expected.iter().enumerate() {
        let place = layout.place(&layout.index_of(position)[..layout.rank()]);
        written[place] = true;
        let got = data[place].to_double();
        let bound = unit_roundoffs(expected.terms) * R::epsilon().to_double() / 2.0 * expected.magnitude;
        let same = got == expected.value || got.is_nan() && expected.value.is_nan();
        assert!(
            same || (got - expected.value).abs() <= bound,
            "{what} {position}: {got} instead of {} ± {bound:e}, {layout:?}, {case:?}",
            expected.value
        );
    }
    for (place, &element) in data.iter().enumerate() {
        assert!(written[place] || element == R::of(POISON), "{what}: gap {place} was written, {case:?}");
    }
}

/// An output of nothing but NaN between poisoned gaps.
fn output<R: Real>(layout: &Layout) -> Vec<R> {
    let mut data = vec![R::of(POISON); layout.extent() + 5];
    for position in 0..layout.elements() {
        data[layout.place(&layout.index_of(position)[..layout.rank()])] = R::nan();
    }
    data
}

/// The three directions of one problem, with these values.
fn check_values<R: Real>(case: &Case, layouts: [Layout; 3], [x, w, dy]: [&[f64]; 3]) {
    let conv = case.conv();
    let [at_x, at_w, at_y] = layouts;
    let (in_x, in_w, in_y) = (lay::<R>(x, &at_x), lay::<R>(w, &at_w), lay::<R>(dy, &at_y));
    let (of_x, of_w, of_y) =
        (TensorRef::new(&in_x, at_x), TensorRef::new(&in_w, at_w), TensorRef::new(&in_y, at_y));

    let mut y = output::<R>(&at_y);
    conv_forward(&conv, of_x, of_w, TensorMut::new(&mut y, at_y));
    compare("y", case, &y, &at_y, &forward(&case.problem, x, w));
    let mut dx = output::<R>(&at_x);
    conv_backward_data(&conv, of_w, of_y, TensorMut::new(&mut dx, at_x));
    compare("dx", case, &dx, &at_x, &backward_data(&case.problem, w, dy));
    let mut dw = output::<R>(&at_w);
    conv_backward_filter(&conv, of_x, of_y, TensorMut::new(&mut dw, at_w));
    compare("dw", case, &dw, &at_w, &backward_filter(&case.problem, x, dy));
}

fn check<R: Real>(random: &mut Random, case: &Case, arrangements: [Arrangement; 3]) {
    let Problem { .. } = case.problem;
    let [x, w, y] = [case.x(), case.w(), case.y()];
    let layouts = [
        arrange(random, &x, arrangements[0]),
        arrange(random, &w, arrangements[1]),
        arrange(random, &y, arrangements[2]),
    ];
    let values =
        [case.problem.x_len(), case.problem.w_len(), case.problem.y_len()].map(|n| random.numbers(n));
    check_values::<R>(case, layouts, [&values[0], &values[1], &values[2]]);
}

/// Problems small enough for the reference.
fn random_case(random: &mut Random) -> Case {
    loop {
        let case = Case::random(random);
        let w: usize = case.problem.w.iter().product();
        if case.problem.y_len() * w * case.problem.c / case.problem.groups < 1_500_000 {
            return case;
        }
    }
}

#[test]
fn random_convolutions_agree_in_every_layout() {
    with_random(|random| {
        for number in 0..160 {
            let case = random_case(random);
            let arrangements = if number % 2 == 0 {
                [random.one_of(&ARRANGEMENTS); 3]
            } else {
                [(); 3].map(|()| random.one_of(&ARRANGEMENTS))
            };
            if number % 4 == 3 {
                check::<f64>(random, &case, arrangements);
            } else {
                check::<f32>(random, &case, arrangements);
            }
        }
    });
}
