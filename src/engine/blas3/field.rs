//! The numbers of linear algebra: real and complex, single and double.

use std::ops::{AddAssign, Div, MulAssign, Neg, Sub, SubAssign};

use num_traits::Float;

use crate::dtype::{Accumulator, C32, C64, Input, Output};

/// A real or complex number that can be divided and compared by magnitude.
pub trait Field:
    Accumulator
    + Input<Self>
    + Output<Self>
    + Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
{
    /// Its real and imaginary parts' type.
    type Real: Field<Real = Self::Real> + Float + Div<Output = Self::Real>;

    /// From its parts; the imaginary one is dropped by real numbers.
    fn from_parts(re: Self::Real, im: Self::Real) -> Self;
    /// The real part.
    fn re(self) -> Self::Real;
    /// The imaginary part, 0 of a real number.
    fn im(self) -> Self::Real;
    /// `self / by`, without overflow or underflow inside the quotient (R. L. Smith, Algorithm 116, CACM 5, 1962).
    #[must_use]
    fn divided_by(self, by: Self) -> Self;

    /// A real number.
    #[must_use]
    fn from_real(re: Self::Real) -> Self {
        Self::from_parts(re, Self::Real::zero_real())
    }
    /// `|re| + |im|`: the magnitude that LAPACK chooses pivots by.
    fn magnitude(self) -> Self::Real {
        self.re().abs() + self.im().abs()
    }
    /// Both parts times a real number.
    #[must_use]
    fn scaled(self, by: Self::Real) -> Self {
        Self::from_parts(self.re() * by, self.im() * by)
    }
    /// 1.
    fn one() -> Self {
        Self::from_f64(1.0)
    }
}

/// The zero of a real type; [`Accumulator`] and [`Float`] both have one of the same name.
trait ZeroReal {
    fn zero_real() -> Self;
}
impl<R: Float> ZeroReal for R {
    fn zero_real() -> R {
        <R as num_traits::Zero>::zero()
    }
}

macro_rules! real_field {
    ($ty:ident) => {
        impl Field for $ty {
            type Real = $ty;
            fn from_parts(re: $ty, _: $ty) -> Self {
                re
            }
            fn re(self) -> $ty {
                self
            }
            fn im(self) -> $ty {
                0.0
            }
            fn divided_by(self, by: Self) -> Self {
                self / by
            }
        }
    };
}
real_field!(f32);
real_field!(f64);

macro_rules! complex_field {
    ($ty:ident, $part:ident) => {
        impl Field for $ty {
            type Real = $part;
            fn from_parts(re: $part, im: $part) -> Self {
                $ty::new(re, im)
            }
            fn re(self) -> $part {
                self.re
            }
            fn im(self) -> $part {
                self.im
            }
            fn divided_by(self, by: Self) -> Self {
                if by.im == 0.0 {
                    return $ty::new(self.re / by.re, self.im / by.re);
                }
                if by.re.abs() >= by.im.abs() {
                    let ratio = by.im / by.re;
                    let divisor = by.re + by.im * ratio;
                    $ty::new((self.re + self.im * ratio) / divisor, (self.im - self.re * ratio) / divisor)
                } else {
                    let ratio = by.re / by.im;
                    let divisor = by.re * ratio + by.im;
                    $ty::new((self.re * ratio + self.im) / divisor, (self.im * ratio - self.re) / divisor)
                }
            }
        }
    };
}
complex_field!(C32, f32);
complex_field!(C64, f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complex_quotients_neither_overflow_nor_underflow() {
        for size in [1e30f32, 1e-30] {
            for by in [C32::new(size, size / 2.0), C32::new(size / 2.0, -size), C32::new(-size, 0.0)] {
                let quotient = C32::new(size, 3.0 * size).divided_by(by);
                let wide = |x: C32| C64::new(f64::from(x.re), f64::from(x.im));
                let want = C64::new(f64::from(size), f64::from(3.0 * size)) / wide(by);
                assert!((wide(quotient) - want).norm() < 1e-6 * want.norm(), "{quotient} is not {want}");
            }
        }
    }
}
