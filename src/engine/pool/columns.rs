//! Windows whose elements are lines of neighbouring channels.

#![allow(clippy::inline_always)]
#![allow(clippy::needless_range_loop)]

use std::marker::PhantomData;

use super::combine::{Combine, SPAN};
use crate::norm::wide_raw::Kernel;
use crate::tensor::Real;

/// Channels that registers hold at once.
const LANES: usize = 32;

/// `y[c] = combine over places p of x[p + c], divided by the divisor`.
pub struct Columns<'a, R, C> {
    /// x from the first channel on.
    pub x: &'a [R],
    /// Where in it the elements of the window begin; at least one.
    pub places: &'a [usize],
    /// What the result is divided by.
    pub divisor: R,
    /// The result, a channel each.
    pub y: &'a mut [R],
    /// How.
    pub combine: PhantomData<C>,
}

impl<R: Real, C: Combine> Columns<'_, R, C> {
    #[inline(always)]
    fn step<const N: usize>(&mut self, start: usize) {
        let mut total = [C::start::<f64>(); N];
        let mut part = [C::start::<R>(); N];
        for (span, places) in self.places.chunks(SPAN).enumerate() {
            if span > 0 {
                for i in 0..N {
                    total[i] = C::with(total[i], part[i].to_double());
                }
                part = [C::start::<R>(); N];
            }
            for &place in places {
                let x = &self.x[place + start..place + start + N];
                for i in 0..N {
                    part[i] = C::with(part[i], x[i]);
                }
            }
        }
        if self.places.len() > SPAN {
            for i in 0..N {
                part[i] = R::of(C::with(total[i], part[i].to_double()));
            }
        }
        let y = &mut self.y[start..start + N];
        for i in 0..N {
            y[i] = part[i] / self.divisor;
        }
    }
}

impl<R: Real, C: Combine> Kernel for Columns<'_, R, C> {
    type Output = ();
    #[inline(always)]
    fn run(mut self) {
        let whole = self.y.len() / LANES * LANES;
        for start in (0..whole).step_by(LANES) {
            self.step::<LANES>(start);
        }
        for start in whole..self.y.len() {
            self.step::<1>(start);
        }
    }
}

/// An element of a window: where it begins in x, and in the block of dx.
#[derive(Clone, Copy)]
pub struct Place {
    /// In x.
    pub x: usize,
    /// In the block.
    pub dx: usize,
}

/// `dx[c] += dy[c]` at the first place where x is y.
pub struct Winners<'a, R> {
    /// x from the first channel on.
    pub x: &'a [R],
    /// The elements of the window.
    pub places: &'a [Place],
    /// y, a channel each.
    pub y: &'a [R],
    /// dy, a channel each.
    pub dy: &'a [R],
    /// The block of dx.
    pub dx: &'a mut [R],
}

impl<R: Real> Winners<'_, R> {
    #[inline(always)]
    fn step<const N: usize>(&mut self, start: usize) {
        let mut left = [R::ZERO; N];
        left.copy_from_slice(&self.dy[start..start + N]);
        let y = &self.y[start..start + N];
        for place in self.places {
            let x = &self.x[place.x + start..place.x + start + N];
            let dx = &mut self.dx[place.dx + start..place.dx + start + N];
            for i in 0..N {
                let wins = x[i] == y[i] || (x[i].is_nan() && y[i].is_nan());
                dx[i] = dx[i] + if wins { left[i] } else { R::ZERO };
                left[i] = if wins { R::ZERO } else { left[i] };
            }
        }
    }
}

impl<R: Real> Kernel for Winners<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run(mut self) {
        let whole = self.y.len() / LANES * LANES;
        for start in (0..whole).step_by(LANES) {
            self.step::<LANES>(start);
        }
        for start in whole..self.y.len() {
            self.step::<1>(start);
        }
    }
}

/// `dx[c] += dy[c] / divisor` at every place.
pub struct Shares<'a, R> {
    /// The elements of the window.
    pub places: &'a [Place],
    /// dy, a channel each.
    pub dy: &'a [R],
    /// What it is divided by.
    pub divisor: R,
    /// The block of dx.
    pub dx: &'a mut [R],
}

impl<R: Real> Kernel for Shares<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for place in self.places {
            let dx = &mut self.dx[place.dx..place.dx + self.dy.len()];
            for (dx, &dy) in dx.iter_mut().zip(self.dy) {
                *dx = *dx + dy / self.divisor;
            }
        }
    }
}
