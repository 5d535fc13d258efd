//! Random convolutions and the tensors they are laid out in.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gpucompat_engine::{Conv, Filtering, Layout, Real};
use gpucompat_reference::conv::Problem;

/// Random numbers (xorshift), seeded from the clock unless a seed is to be looked at again.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % bound
    }

    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Between −1 and 1, exact in single precision.
    pub fn number(&mut self) -> f64 {
        self.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0
    }

    pub fn numbers(&mut self, length: usize) -> Vec<f64> {
        (0..length).map(|_| self.number()).collect()
    }
}

pub fn clock() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1
}

/// Runs `body` with fresh random numbers; prints the seed if it fails.
pub fn with_random(body: impl FnOnce(&mut Random)) {
    let seed = clock();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&mut Random(seed)))) {
        eprintln!("seed {seed}");
        std::panic::resume_unwind(panic);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrangement {
    Packed,
    ChannelsLast,
    /// Channels last, with a gap after each position.
    ChannelsLastSliced,
    /// Packed, each axis with a gap.
    Gaps,
    /// Axes in any order, with gaps.
    Any,
}

pub const ARRANGEMENTS: [Arrangement; 5] = [
    Arrangement::Packed,
    Arrangement::ChannelsLast,
    Arrangement::ChannelsLastSliced,
    Arrangement::Gaps,
    Arrangement::Any,
];

pub fn arrange(random: &mut Random, dims: &[usize], arrangement: Arrangement) -> Layout {
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
pub fn lay<R: Real>(values: &[f64], layout: &Layout) -> Vec<R> {
    let mut data = vec![R::nan(); layout.extent() + 5];
    for (position, &value) in values.iter().enumerate() {
        data[layout.place(&layout.index_of(position)[..layout.rank()])] = R::of(value);
    }
    data
}

/// What gaps of an output hold.
pub const POISON: f64 = -1234.5;

/// One problem with the number of axes it is given as.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub problem: Problem,
    pub rank: usize,
}

impl Case {
    pub fn conv(&self) -> Conv {
        let Problem { groups, pad, stride, dilation, flip, .. } = self.problem;
        let filtering = if flip { Filtering::Convolution } else { Filtering::CrossCorrelation };
        let ahead = |values: [usize; 3]| {
            let mut all = [77; 3];
            all[..self.rank - 2].copy_from_slice(&values[5 - self.rank..]);
            all
        };
        Conv { groups, filtering, pad: ahead(pad), stride: ahead(stride), dilation: ahead(dilation) }
    }

    pub fn dims(&self, first: usize, second: usize, spatial: [usize; 3]) -> Vec<usize> {
        [&[first, second][..], &spatial[5 - self.rank..]].concat()
    }

    pub fn x(&self) -> Vec<usize> {
        self.dims(self.problem.n, self.problem.c, self.problem.x)
    }
    pub fn w(&self) -> Vec<usize> {
        self.dims(self.problem.k, self.problem.c / self.problem.groups, self.problem.w)
    }
    pub fn y(&self) -> Vec<usize> {
        self.dims(self.problem.n, self.problem.k, self.problem.y)
    }

    pub fn random(random: &mut Random) -> Case {
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

/// An output of nothing but NaN between poisoned gaps.
pub fn output<R: Real>(layout: &Layout) -> Vec<R> {
    let mut data = vec![R::of(POISON); layout.extent() + 5];
    for position in 0..layout.elements() {
        data[layout.place(&layout.index_of(position)[..layout.rank()])] = R::nan();
    }
    data
}

/// Problems small enough for the reference.
pub fn random_case(random: &mut Random) -> Case {
    loop {
        let case = Case::random(random);
        let w: usize = case.problem.w.iter().product();
        if case.problem.y_len() * w * case.problem.c / case.problem.groups < 300_000 {
            return case;
        }
    }
}

/// Sizes of a plane-shaped problem, padded by half the filter.
pub fn plane(n: usize, [c, k, groups]: [usize; 3], side: [usize; 2], filter: usize, stride: usize) -> Case {
    let out = |side: usize| (side + filter / 2 * 2 - filter) / stride + 1;
    let pad = filter / 2;
    let problem = Problem {
        n,
        c,
        k,
        groups,
        x: [1, side[0], side[1]],
        w: [1, filter, filter],
        y: [1, out(side[0]), out(side[1])],
        pad: [0, pad, pad],
        stride: [1, stride, stride],
        dilation: [1; 3],
        flip: false,
    };
    Case { problem, rank: 4 }
}

/// A line; `stride` as in a transposed convolution that lengthens it.
pub fn line(c: usize, k: usize, length: usize, filter: usize, stride: usize) -> Case {
    let out = (length + filter - stride - filter) / stride + 1;
    let problem = Problem {
        x: [1, 1, length],
        w: [1, 1, filter],
        y: [1, 1, out],
        pad: [0, 0, (filter - stride) / 2],
        stride: [1, 1, stride],
        ..plane(1, [c, k, 1], [1, 1], 1, 1).problem
    };
    Case { problem, rank: 3 }
}
