//! The loops along a piece, for parameters that are the same all along it or differ from element to element.

// The loops must be inlined into the function that switches wider registers on.
#![allow(clippy::inline_always)]
// Lanes of several arrays are walked side by side.
#![allow(clippy::needless_range_loop)]

use super::wide_raw::Kernel;
use crate::tensor::Real;

/// How many partial sums a loop keeps, so that additions need not wait for each other.
const LANES: usize = 16;

/// Values along a piece.
pub trait Along<R>: Copy {
    /// The values of elements `start` to `start + N`.
    fn chunk<const N: usize>(self, start: usize) -> [R; N];
}

/// The same for all elements.
#[derive(Clone, Copy)]
pub struct Same<R>(pub R);

impl<R: Copy> Along<R> for Same<R> {
    #[inline(always)]
    fn chunk<const N: usize>(self, _: usize) -> [R; N] {
        [self.0; N]
    }
}

impl<R: Real> Along<R> for &[R] {
    #[inline(always)]
    fn chunk<const N: usize>(self, start: usize) -> [R; N] {
        let mut chunk = [R::ZERO; N];
        chunk.copy_from_slice(&self[start..start + N]);
        chunk
    }
}

/// `y = (x − mean)·inv_std·scale + bias`.
pub struct Normalize<'a, R, P, Q> {
    /// x.
    pub x: &'a [R],
    /// The mean.
    pub mean: P,
    /// The inverse standard deviation.
    pub inv_std: P,
    /// The scale.
    pub scale: Q,
    /// The bias.
    pub bias: Q,
    /// The result.
    pub y: &'a mut [R],
}

impl<R: Real, P: Along<R>, Q: Along<R>> Normalize<'_, R, P, Q> {
    #[inline(always)]
    fn step<const N: usize>(&mut self, start: usize) {
        let (x, mean, inv_std) =
            (self.x.chunk::<N>(start), self.mean.chunk::<N>(start), self.inv_std.chunk::<N>(start));
        let (scale, bias) = (self.scale.chunk::<N>(start), self.bias.chunk::<N>(start));
        let mut y = [R::ZERO; N];
        for i in 0..N {
            y[i] = (x[i] - mean[i]) * inv_std[i] * scale[i] + bias[i];
        }
        self.y[start..start + N].copy_from_slice(&y);
    }
}

impl<R: Real, P: Along<R>, Q: Along<R>> Kernel for Normalize<'_, R, P, Q> {
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

/// `dx = dy·scale·inv_std + (x − mean)·slope + offset`.
pub struct Gradient<'a, R, P, Q> {
    /// x.
    pub x: &'a [R],
    /// dy.
    pub dy: &'a [R],
    /// The mean.
    pub mean: P,
    /// The inverse standard deviation.
    pub inv_std: P,
    /// The factor of x − mean.
    pub slope: P,
    /// What is added.
    pub offset: P,
    /// The scale.
    pub scale: Q,
    /// The result.
    pub dx: &'a mut [R],
}

impl<R: Real, P: Along<R>, Q: Along<R>> Gradient<'_, R, P, Q> {
    #[inline(always)]
    fn step<const N: usize>(&mut self, start: usize) {
        let (x, dy, scale) =
            (self.x.chunk::<N>(start), self.dy.chunk::<N>(start), self.scale.chunk::<N>(start));
        let (mean, inv_std) = (self.mean.chunk::<N>(start), self.inv_std.chunk::<N>(start));
        let (slope, offset) = (self.slope.chunk::<N>(start), self.offset.chunk::<N>(start));
        let mut dx = [R::ZERO; N];
        for i in 0..N {
            dx[i] = dy[i] * scale[i] * inv_std[i] + ((x[i] - mean[i]) * slope[i] + offset[i]);
        }
        self.dx[start..start + N].copy_from_slice(&dx);
    }
}

impl<R: Real, P: Along<R>, Q: Along<R>> Kernel for Gradient<'_, R, P, Q> {
    type Output = ();
    #[inline(always)]
    fn run(mut self) {
        let whole = self.dx.len() / LANES * LANES;
        for start in (0..whole).step_by(LANES) {
            self.step::<LANES>(start);
        }
        for start in whole..self.dx.len() {
            self.step::<1>(start);
        }
    }
}

/// Pairs of terms to add up along a piece.
pub trait Terms {
    /// How many.
    fn count(&self) -> usize;
    /// Terms `start` to `start + N` of the first and of the second sum.
    fn chunk<const N: usize>(&self, start: usize) -> [[f64; N]; 2];
}

/// x − shift and its square.
pub struct Moments<'a, R, P> {
    /// x.
    pub x: &'a [R],
    /// What is subtracted.
    pub shift: P,
}

impl<R: Real, P: Along<R>> Terms for Moments<'_, R, P> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.x.len()
    }
    #[inline(always)]
    fn chunk<const N: usize>(&self, start: usize) -> [[f64; N]; 2] {
        let (x, shift) = (self.x.chunk::<N>(start), self.shift.chunk::<N>(start));
        let mut terms = [[0.0; N]; 2];
        for i in 0..N {
            let distance = x[i].to_double() - shift[i].to_double();
            terms[0][i] = distance;
            terms[1][i] = distance * distance;
        }
        terms
    }
}

/// g = dy·scale, and g·(x − mean)·inv_std.
pub struct Products<'a, R, P, Q> {
    /// x.
    pub x: &'a [R],
    /// dy.
    pub dy: &'a [R],
    /// The mean.
    pub mean: P,
    /// The inverse standard deviation.
    pub inv_std: P,
    /// The scale.
    pub scale: Q,
}

impl<R: Real, P: Along<R>, Q: Along<R>> Terms for Products<'_, R, P, Q> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.x.len()
    }
    #[inline(always)]
    fn chunk<const N: usize>(&self, start: usize) -> [[f64; N]; 2] {
        let (x, dy, scale) =
            (self.x.chunk::<N>(start), self.dy.chunk::<N>(start), self.scale.chunk::<N>(start));
        let (mean, inv_std) = (self.mean.chunk::<N>(start), self.inv_std.chunk::<N>(start));
        let mut terms = [[0.0; N]; 2];
        for i in 0..N {
            let gradient = (dy[i] * scale[i]).to_double();
            terms[0][i] = gradient;
            terms[1][i] = gradient * ((x[i] - mean[i]) * inv_std[i]).to_double();
        }
        terms
    }
}

/// Adds all terms to one pair of sums.
pub struct AddAll<'a, T> {
    /// The terms.
    pub terms: T,
    /// The sums.
    pub sums: [&'a mut f64; 2],
}

impl<T: Terms> Kernel for AddAll<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let AddAll { terms, sums: [first, second] } = self;
        let count = terms.count();
        let whole = count / LANES * LANES;
        let mut lanes = [[0.0; LANES]; 2];
        for start in (0..whole).step_by(LANES) {
            let chunk = terms.chunk::<LANES>(start);
            for i in 0..LANES {
                lanes[0][i] += chunk[0][i];
                lanes[1][i] += chunk[1][i];
            }
        }
        for start in whole..count {
            let [[one], [other]] = terms.chunk::<1>(start);
            lanes[0][start - whole] += one;
            lanes[1][start - whole] += other;
        }
        let mut width = LANES;
        while width > 1 {
            width /= 2;
            for i in 0..width {
                lanes[0][i] += lanes[0][i + width];
                lanes[1][i] += lanes[1][i + width];
            }
        }
        *first += lanes[0][0];
        *second += lanes[1][0];
    }
}

/// Adds each pair of terms to sums of its own.
pub struct AddEach<'a, T> {
    /// The terms.
    pub terms: T,
    /// The sums, an element for each term.
    pub sums: [&'a mut [f64]; 2],
}

impl<T: Terms> AddEach<'_, T> {
    #[inline(always)]
    fn step<const N: usize>(&mut self, start: usize) {
        let chunk = self.terms.chunk::<N>(start);
        for (sums, terms) in self.sums.iter_mut().zip(&chunk) {
            let sums = &mut sums[start..start + N];
            for i in 0..N {
                sums[i] += terms[i];
            }
        }
    }
}

impl<T: Terms> Kernel for AddEach<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(mut self) {
        let count = self.terms.count();
        let whole = count / LANES * LANES;
        for start in (0..whole).step_by(LANES) {
            self.step::<LANES>(start);
        }
        for start in whole..count {
            self.step::<1>(start);
        }
    }
}
