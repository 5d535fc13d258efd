//! What a reduction does with elements, and the two ways to go through them.

// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]

use super::Reduction;
use crate::nan_rule::NanRule;
use crate::pointwise::walk::Walk;
use crate::pointwise::widest_raw::Vectorised;
use crate::tensor::Real;

/// Accumulators of a row.
const LANES: usize = 16;

/// One reduction, axes in the order in which x is read.
pub struct Job<'a, R> {
    /// What is computed.
    pub reduction: Reduction,
    /// What becomes of NaN.
    pub nan: NanRule,
    /// The elements.
    pub data: &'a [R],
    /// From output to output.
    pub kept: Walk,
    /// From element to element of one output's set.
    pub reduced: Walk,
    /// How many outputs.
    pub outputs: usize,
    /// How many elements a set has.
    pub elements: usize,
}

/// What is done with a reduction's two functions.
pub trait UseFold {
    /// What comes of it.
    type Output;
    /// `start` is neutral, `map` prepares an element, `merge` joins two prepared or accumulated values.
    fn with(
        self,
        start: f64,
        map: impl Fn(f64) -> f64 + Copy,
        merge: impl Fn(f64, f64) -> f64 + Copy,
    ) -> Self::Output;
}

/// Hands a reduction's functions to their user.
#[inline(always)]
pub fn with_fold<U: UseFold>(reduction: Reduction, nan: NanRule, user: U) -> U::Output {
    let same = |x: f64| x;
    let add = |a: f64, b: f64| a + b;
    let multiply = |a: f64, b: f64| a * b;
    // NaN stays once it is there.
    let least = |a: f64, b: f64| if b < a || b.is_nan() { b } else { a };
    let greatest = |a: f64, b: f64| if b > a || b.is_nan() { b } else { a };
    // NaN gives way to anything.
    let least_number = |a: f64, b: f64| if b < a || a.is_nan() { b } else { a };
    let greatest_number = |a: f64, b: f64| if b > a || a.is_nan() { b } else { a };
    match (reduction, nan) {
        (Reduction::Add | Reduction::Average, _) => user.with(0.0, same, add),
        (Reduction::Norm1, _) => user.with(0.0, f64::abs, add),
        (Reduction::Norm2, _) => user.with(0.0, |x| x * x, add),
        (Reduction::Mul, _) => user.with(1.0, same, multiply),
        (Reduction::MulNoZeros, _) => user.with(1.0, |x| if x == 0.0 { 1.0 } else { x }, multiply),
        (Reduction::Min, NanRule::Propagate) => user.with(f64::INFINITY, same, least),
        (Reduction::Max, NanRule::Propagate) => user.with(f64::NEG_INFINITY, same, greatest),
        (Reduction::Amax, NanRule::Propagate) => user.with(f64::NEG_INFINITY, f64::abs, greatest),
        (Reduction::Min, NanRule::Ignore) => user.with(f64::NAN, same, least_number),
        (Reduction::Max, NanRule::Ignore) => user.with(f64::NAN, same, greatest_number),
        (Reduction::Amax, NanRule::Ignore) => user.with(f64::NAN, f64::abs, greatest_number),
    }
}

/// The neutral value.
pub struct Start;

impl UseFold for Start {
    type Output = f64;
    fn with(self, start: f64, _: impl Fn(f64) -> f64 + Copy, _: impl Fn(f64, f64) -> f64 + Copy) -> f64 {
        start
    }
}

/// Two accumulated values.
pub struct Merge(pub [f64; 2]);

impl UseFold for Merge {
    type Output = f64;
    fn with(self, _: f64, _: impl Fn(f64) -> f64 + Copy, merge: impl Fn(f64, f64) -> f64 + Copy) -> f64 {
        merge(self.0[0], self.0[1])
    }
}

/// A part of one output's set.
pub struct Row<'a, R> {
    /// The reduction.
    pub job: &'a Job<'a, R>,
    /// The place of the set's first element.
    pub first: usize,
    /// Elements of the set before this part.
    pub start: usize,
    /// Elements of this part.
    pub count: usize,
}

impl<R: Real> Vectorised for Row<'_, R> {
    type Output = f64;
    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        with_fold(self.job.reduction, self.job.nan, self)
    }
}

impl<R: Real> UseFold for Row<'_, R> {
    type Output = f64;
    #[inline(always)]
    fn with(
        self,
        start: f64,
        map: impl Fn(f64) -> f64 + Copy,
        merge: impl Fn(f64, f64) -> f64 + Copy,
    ) -> f64 {
        let walk = &self.job.reduced;
        let mut cursor = walk.at(self.start);
        let mut lanes = [start; LANES];
        let mut left = self.count;
        while left > 0 {
            let run = cursor.run(left);
            let data = &self.job.data[self.first + run.place..];
            if walk.step() == 1 {
                let (whole, rest) = data[..run.length].as_chunks::<LANES>();
                for elements in whole {
                    for (lane, element) in lanes.iter_mut().zip(elements) {
                        *lane = merge(*lane, map(element.to_double()));
                    }
                }
                for (lane, element) in lanes.iter_mut().zip(rest) {
                    *lane = merge(*lane, map(element.to_double()));
                }
            } else {
                for index in 0..run.length {
                    let lane = &mut lanes[index % LANES];
                    *lane = merge(*lane, map(data[index * walk.step()].to_double()));
                }
            }
            cursor.advance(run.length);
            left -= run.length;
        }
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] = merge(lanes[lane], lanes[lane + width]);
            }
            width /= 2;
        }
        lanes[0]
    }
}

/// The same part of the sets of neighbouring outputs.
pub struct Columns<'a, R> {
    /// The reduction.
    pub job: &'a Job<'a, R>,
    /// The first output.
    pub first: usize,
    /// Elements of each set before this part.
    pub start: usize,
    /// Elements of this part.
    pub count: usize,
    /// One for each output; overwritten.
    pub sums: &'a mut [f64],
}

impl<R: Real> Vectorised for Columns<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        with_fold(self.job.reduction, self.job.nan, self);
    }
}

impl<R: Real> UseFold for Columns<'_, R> {
    type Output = ();
    #[inline(always)]
    fn with(self, start: f64, map: impl Fn(f64) -> f64 + Copy, merge: impl Fn(f64, f64) -> f64 + Copy) {
        let walk = &self.job.kept;
        let mut outputs = walk.at(self.first);
        let mut sums = self.sums;
        while !sums.is_empty() {
            let run = outputs.run(sums.len());
            let (these, rest) = sums.split_at_mut(run.length);
            these.fill(start);
            let mut cursor = self.job.reduced.at(self.start);
            for _ in 0..self.count {
                let data = &self.job.data[run.place + cursor.run(1).place..];
                if walk.step() == 1 {
                    for (sum, element) in these.iter_mut().zip(&data[..run.length]) {
                        *sum = merge(*sum, map(element.to_double()));
                    }
                } else {
                    for (index, sum) in these.iter_mut().enumerate() {
                        *sum = merge(*sum, map(data[index * walk.step()].to_double()));
                    }
                }
                cursor.advance(1);
            }
            outputs.advance(run.length);
            sums = rest;
        }
    }
}
