//! Softmax of a tile of groups, in place.

// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]

use super::SoftmaxAlgorithm;
use crate::pointwise::math::exp;
use crate::pointwise::widest_raw::Vectorised;
use crate::tensor::Real;

/// How groups lie in a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Across {
    /// One after the other.
    Rows,
    /// Side by side: first the first element of each.
    Columns,
}

/// A tile's shape.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How groups lie.
    pub across: Across,
    /// Elements of a group.
    pub length: usize,
    /// How many groups.
    pub groups: usize,
}

impl Shape {
    /// Lines of the tile, and elements of each.
    pub fn sizes(self) -> (usize, usize) {
        match self.across {
            Across::Rows => (self.groups, self.length),
            Across::Columns => (self.length, self.groups),
        }
    }
}

/// Softmax in place.
pub struct Forward<'a, R> {
    /// Which form.
    pub algorithm: SoftmaxAlgorithm,
    /// The tile's shape.
    pub shape: Shape,
    /// x before, y after.
    pub values: &'a mut [R],
}

impl<R: Real> Vectorised for Forward<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Forward { algorithm, shape, values } = self;
        let (_, width) = shape.sizes();
        match shape.across {
            Across::Rows => {
                for row in values.chunks_exact_mut(width) {
                    forward_row::<R, FUSED>(algorithm, row);
                }
            }
            Across::Columns => forward_columns::<R, FUSED>(algorithm, width, values),
        }
    }
}

/// The gradient in place.
pub struct Backward<'a, R> {
    /// Of which form.
    pub algorithm: SoftmaxAlgorithm,
    /// The tile's shape.
    pub shape: Shape,
    /// The result of the forward function.
    pub y: &'a [R],
    /// dy before, dx after.
    pub values: &'a mut [R],
}

impl<R: Real> Vectorised for Backward<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Backward { algorithm, shape, y, values } = self;
        let (_, width) = shape.sizes();
        match shape.across {
            Across::Rows => {
                for (row, y) in values.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
                    let sum = R::of(sum_of(row, y, |dy, y| weight(algorithm, dy, y)));
                    for (value, &y) in row.iter_mut().zip(y) {
                        *value = gradient::<R, FUSED>(algorithm, *value, y, sum);
                    }
                }
            }
            Across::Columns => {
                let mut sums = vec![0.0; width];
                for (row, y) in values.chunks_exact(width).zip(y.chunks_exact(width)) {
                    for ((sum, &dy), &y) in sums.iter_mut().zip(row).zip(y) {
                        *sum += weight(algorithm, dy, y);
                    }
                }
                let sums: Vec<R> = sums.into_iter().map(R::of).collect();
                for (row, y) in values.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
                    for ((value, &y), &sum) in row.iter_mut().zip(y).zip(&sums) {
                        *value = gradient::<R, FUSED>(algorithm, *value, y, sum);
                    }
                }
            }
        }
    }
}

/// What an element adds to the sum of its group.
#[inline(always)]
fn weight<R: Real>(algorithm: SoftmaxAlgorithm, dy: R, y: R) -> f64 {
    if algorithm == SoftmaxAlgorithm::Log { dy.to_double() } else { dy.to_double() * y.to_double() }
}

/// dx of an element, with the sum over its group.
#[inline(always)]
fn gradient<R: Real, const FUSED: bool>(algorithm: SoftmaxAlgorithm, dy: R, y: R, sum: R) -> R {
    if algorithm == SoftmaxAlgorithm::Log { dy - exp::<R, FUSED>(y) * sum } else { y * (dy - sum) }
}

/// Accumulators of a row.
const LANES: usize = 16;

/// Σ f(x, y), in lanes.
#[inline(always)]
fn sum_of<R: Real>(x: &[R], y: &[R], f: impl Fn(R, R) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let ((x_whole, x_rest), (y_whole, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x_whole.iter().zip(y_whole) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += f(x, y);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane += f(x, y);
    }
    lanes.iter().sum()
}

/// The greatest number; −∞ if there is none.
#[inline(always)]
fn greatest_of<R: Real>(x: &[R]) -> R {
    let greater = |a: R, b: R| if b > a { b } else { a };
    let mut lanes = [R::neg_infinity(); LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane = greater(*lane, x);
        }
    }
    rest.iter().chain(&lanes).fold(R::neg_infinity(), |a, &b| greater(a, b))
}

#[inline(always)]
fn forward_row<R: Real, const FUSED: bool>(algorithm: SoftmaxAlgorithm, row: &mut [R]) {
    let shift = if algorithm == SoftmaxAlgorithm::Fast { R::ZERO } else { greatest_of(row) };
    if algorithm == SoftmaxAlgorithm::Log {
        let sum = sum_of(row, row, |x, _| exp::<R, FUSED>(x - shift).to_double());
        let log = R::of(sum.ln());
        for value in row {
            *value = (*value - shift) - log;
        }
        return;
    }
    for value in &mut *row {
        *value = exp::<R, FUSED>(*value - shift);
    }
    let sum = R::of(sum_of(row, row, |x, _| x.to_double()));
    for value in row {
        *value = *value / sum;
    }
}

#[inline(always)]
fn forward_columns<R: Real, const FUSED: bool>(algorithm: SoftmaxAlgorithm, width: usize, values: &mut [R]) {
    let mut shifts = vec![R::ZERO; width];
    if algorithm != SoftmaxAlgorithm::Fast {
        shifts.fill(R::neg_infinity());
        for row in values.chunks_exact(width) {
            for (shift, &value) in shifts.iter_mut().zip(row) {
                *shift = if value > *shift { value } else { *shift };
            }
        }
    }
    let mut sums = vec![0.0; width];
    for row in values.chunks_exact_mut(width) {
        for ((value, &shift), sum) in row.iter_mut().zip(&shifts).zip(&mut sums) {
            let power = exp::<R, FUSED>(*value - shift);
            *sum += power.to_double();
            *value = if algorithm == SoftmaxAlgorithm::Log { *value - shift } else { power };
        }
    }
    let finish = |sum: f64| R::of(if algorithm == SoftmaxAlgorithm::Log { sum.ln() } else { sum });
    let sums: Vec<R> = sums.into_iter().map(finish).collect();
    for row in values.chunks_exact_mut(width) {
        for (value, &sum) in row.iter_mut().zip(&sums) {
            *value = if algorithm == SoftmaxAlgorithm::Log { *value - sum } else { *value / sum };
        }
    }
}
