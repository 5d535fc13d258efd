//! Windows along lines of the last spatial axis.

#![allow(clippy::inline_always)]

use std::marker::PhantomData;
use std::ops::Range;

use super::combine::{Combine, SPAN};
use super::geometry::Geometry;
use crate::norm::wide_raw::Kernel;
use crate::tensor::Real;

/// Fewer windows than this are done one after the other, not side by side.
const FEW: usize = 8;

/// `into[i] = combine(into[i], row[i])`.
pub struct Join<'a, R, C> {
    /// A row of x.
    pub row: &'a [R],
    /// The rows before.
    pub into: &'a mut [R],
    /// How.
    pub combine: PhantomData<C>,
}

impl<R: Real, C: Combine> Kernel for Join<'_, R, C> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (into, &element) in self.into.iter_mut().zip(self.row) {
            *into = C::with(*into, element);
        }
    }
}

/// `y[o] = combine over window o of joined, divided by its divisor`.
pub struct Slide<'a, R, C> {
    /// The rows of a window, joined.
    pub joined: &'a [R],
    /// How windows lie.
    pub geometry: &'a Geometry,
    /// How many rows were joined.
    pub rows: usize,
    /// The result.
    pub y: &'a mut [R],
    /// How.
    pub combine: PhantomData<C>,
}

impl<R: Real, C: Combine> Slide<'_, R, C> {
    #[inline(always)]
    fn one(&self, position: usize) -> R {
        let range = self.geometry.clip(2, position);
        if range.is_empty() {
            return C::of_none();
        }
        let divisor = R::of(self.geometry.divisor(range.len() * self.rows) as f64);
        let part = |part: &[R]| part.iter().fold(C::start(), |before: R, &element| C::with(before, element));
        let parts = self.joined[range].chunks(SPAN).map(|elements| part(elements).to_double());
        R::of(parts.fold(C::start(), C::with::<f64>)) / divisor
    }

    /// Windows that lie wholly inside, element by element of the window.
    #[inline(always)]
    fn side_by_side(&mut self, windows: Range<usize>) {
        let (window, stride) = (self.geometry.window[2], self.geometry.stride[2]);
        let first = windows.start * stride - self.geometry.pad[2];
        let y = &mut self.y[windows];
        y.fill(C::start());
        for offset in first..first + window {
            let elements = &self.joined[offset..];
            match stride {
                1 => {
                    for (y, &element) in y.iter_mut().zip(elements) {
                        *y = C::with(*y, element);
                    }
                }
                2 => {
                    let (last, others) = y.split_last_mut().expect("there are windows");
                    let pairs = elements.chunks_exact(2);
                    for (y, pair) in others.iter_mut().zip(pairs) {
                        *y = C::with(*y, pair[0]);
                    }
                    *last = C::with(*last, elements[2 * others.len()]);
                }
                _ => {
                    for (y, &element) in y.iter_mut().zip(elements.iter().step_by(stride)) {
                        *y = C::with(*y, element);
                    }
                }
            }
        }
        let divisor = R::of(self.geometry.divisor(window * self.rows) as f64);
        for y in y {
            *y = *y / divisor;
        }
    }
}

impl<R: Real, C: Combine> Kernel for Slide<'_, R, C> {
    type Output = ();
    #[inline(always)]
    fn run(mut self) {
        let whole = self.geometry.whole(2);
        let whole = if whole.len() < FEW { 0..0 } else { whole };
        if !whole.is_empty() {
            self.side_by_side(whole.clone());
        }
        for position in (0..whole.start).chain(whole.end..self.y.len()) {
            self.y[position] = self.one(position);
        }
    }
}

/// `spread[i] = Σ over the windows o that hold i of dy[o] / divisor of o`.
pub struct Scatter<'a, R> {
    /// A row of dy.
    pub dy: &'a [R],
    /// How windows lie.
    pub geometry: &'a Geometry,
    /// How many rows of dx the windows hold.
    pub rows: usize,
    /// The result, a row of dx.
    pub spread: &'a mut [R],
}

impl<R: Real> Scatter<'_, R> {
    /// What each element of a window gets that has this many of them in a row.
    #[inline(always)]
    fn divisor(&self, elements: usize) -> R {
        R::of(self.geometry.divisor(elements * self.rows) as f64)
    }

    /// Windows that lie wholly inside, element by element of the window.
    #[inline(always)]
    fn side_by_side(&mut self, windows: Range<usize>) {
        let (window, stride) = (self.geometry.window[2], self.geometry.stride[2]);
        let first = windows.start * stride - self.geometry.pad[2];
        let divisor = self.divisor(window);
        let dy = &self.dy[windows];
        for offset in first..first + window {
            let spread = &mut self.spread[offset..];
            if stride == 1 {
                for (sum, &dy) in spread.iter_mut().zip(dy) {
                    *sum = *sum + dy / divisor;
                }
            } else {
                for (sum, &dy) in spread.iter_mut().step_by(stride).zip(dy) {
                    *sum = *sum + dy / divisor;
                }
            }
        }
    }
}

impl<R: Real> Kernel for Scatter<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run(mut self) {
        self.spread.fill(R::ZERO);
        let whole = self.geometry.whole(2);
        let whole = if whole.len() < FEW { 0..0 } else { whole };
        if !whole.is_empty() {
            self.side_by_side(whole.clone());
        }
        for position in (0..whole.start).chain(whole.end..self.dy.len()) {
            let range = self.geometry.clip(2, position);
            let share = self.dy[position] / self.divisor(range.len());
            for sum in &mut self.spread[range] {
                *sum = *sum + share;
            }
        }
    }
}
