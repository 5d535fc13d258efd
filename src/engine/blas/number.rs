//! Numbers that BLAS computes with, and the elements that hold them.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

use half::{bf16, f16};
use num_complex::Complex;

use crate::dtype::{Accumulator, C32, C64, Input, Output};
use crate::tensor::Real;

/// A real or complex number in single or double precision.
pub trait Number:
    Accumulator
    + Input<Self>
    + Output<Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + std::fmt::Debug
{
    /// The type of the real and the imaginary part.
    type Part: Real + Number<Part = Self::Part>;
    /// re + i·im; a real type drops `im`.
    fn of_parts(re: Self::Part, im: Self::Part) -> Self;
    /// The real part.
    fn re(self) -> Self::Part;
    /// The imaginary part, 0 of a real number.
    fn im(self) -> Self::Part;
    /// The product with a real number, part by part: an infinite part leaves the other one alone.
    #[must_use]
    fn scaled(self, factor: Self::Part) -> Self;
    /// The quotient; of complex numbers by Smith's method, which neither overflows nor underflows on the way
    /// (R. Smith, Algorithm 116, CACM 1962).
    #[must_use]
    fn over(self, divisor: Self) -> Self;
    /// √(re² + im²), without overflow on the way.
    fn modulus(self) -> Self::Part;
    /// The same number, or the nearest, as another type; towards a real type the imaginary part is dropped.
    fn convert<T: Number>(self) -> T {
        T::of_parts(T::Part::of(self.re().to_double()), T::Part::of(self.im().to_double()))
    }
    /// The number without its imaginary part.
    #[must_use]
    fn real_part(self) -> Self {
        Self::of_parts(self.re(), Self::Part::ZERO)
    }
    /// |re| + |im|, which BLAS takes for the size of a complex number.
    fn size(self) -> Self::Part {
        if Self::COMPLEX {
            num_traits::Float::abs(self.re()) + num_traits::Float::abs(self.im())
        } else {
            num_traits::Float::abs(self.re())
        }
    }
}

macro_rules! number {
    ($real:ident, $complex:ident) => {
        impl Number for $real {
            type Part = $real;
            fn of_parts(re: $real, _: $real) -> Self {
                re
            }
            fn re(self) -> $real {
                self
            }
            fn im(self) -> $real {
                0.0
            }
            fn scaled(self, factor: $real) -> Self {
                self * factor
            }
            fn over(self, divisor: Self) -> Self {
                self / divisor
            }
            fn modulus(self) -> $real {
                self.abs()
            }
        }
        impl Number for $complex {
            type Part = $real;
            fn of_parts(re: $real, im: $real) -> Self {
                Complex::new(re, im)
            }
            fn re(self) -> $real {
                self.re
            }
            fn im(self) -> $real {
                self.im
            }
            fn scaled(self, factor: $real) -> Self {
                Complex::new(self.re * factor, self.im * factor)
            }
            fn over(self, divisor: Self) -> Self {
                let (Complex { re: a, im: b }, Complex { re: c, im: d }) = (self, divisor);
                if d.abs() <= c.abs() {
                    let ratio = d / c;
                    let below = c + d * ratio;
                    Complex::new((a + b * ratio) / below, (b - a * ratio) / below)
                } else {
                    let ratio = c / d;
                    let below = c * ratio + d;
                    Complex::new((a * ratio + b) / below, (b * ratio - a) / below)
                }
            }
            fn modulus(self) -> $real {
                self.re.hypot(self.im)
            }
        }
    };
}
number!(f32, C32);
number!(f64, C64);

/// An element of a vector in memory: f16, bf16, f32, f64, C32 or C64.
pub trait BlasElement: Copy + Send + Sync + 'static {
    /// What it is computed as: single precision for the half ones, itself otherwise.
    type Exec: Number;
    /// The element that holds a real result: a norm, a sum of magnitudes.
    type RealElement: BlasElement;
    /// The value.
    fn value(self) -> Self::Exec;
    /// The element nearest to a value.
    fn nearest(value: Self::Exec) -> Self;
}

macro_rules! element {
    ($($ty:ident as $exec:ident, $real:ident),*) => {$(
        impl BlasElement for $ty {
            type Exec = $exec;
            type RealElement = $real;
            fn value(self) -> $exec {
                Input::<$exec>::widen(self)
            }
            fn nearest(value: $exec) -> Self {
                Output::<$exec>::round(value)
            }
        }
    )*};
}
element!(
    f16 as f32,
    f16,
    bf16 as f32,
    bf16,
    f32 as f32,
    f32,
    f64 as f64,
    f64,
    C32 as C32,
    f32,
    C64 as C64,
    f64
);

/// A scalar factor. A real factor of a complex vector multiplies the parts one by one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Factor<T: Number> {
    /// A real number.
    Real(T::Part),
    /// A number of the vector's own kind.
    Full(T),
}

impl<T: Number> Factor<T> {
    /// A scalar of type `S` as a factor of numbers of type `T`.
    pub fn of<S: Number>(scalar: S) -> Factor<T> {
        let value = scalar.convert::<T>();
        if S::COMPLEX { Factor::Full(value) } else { Factor::Real(value.re()) }
    }

    /// Whether it is 0.
    pub fn is_zero(self) -> bool {
        match self {
            Factor::Real(factor) => factor == T::Part::ZERO,
            Factor::Full(factor) => factor == T::zero(),
        }
    }

    /// The factor times `value`.
    pub fn times(self, value: T) -> T {
        match self {
            Factor::Real(factor) => value.scaled(factor),
            Factor::Full(factor) => factor * value,
        }
    }

    /// The factor's conjugate.
    #[must_use]
    pub fn conj(self) -> Factor<T> {
        match self {
            Factor::Real(factor) => Factor::Real(factor),
            Factor::Full(factor) => Factor::Full(Accumulator::conj(factor)),
        }
    }
}
