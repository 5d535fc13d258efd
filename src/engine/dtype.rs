//! Element and accumulator types.
//!
//! | A, B      | accumulated in | C         | cuBLAS compute type   |
//! |-----------|----------------|-----------|-----------------------|
//! | f32       | f32            | f32       | 32F and its FAST forms |
//! | f64       | f64            | f64       | 64F                   |
//! | C32       | C32            | C32       | 32F                   |
//! | C64       | C64            | C64       | 64F                   |
//! | f16       | f32            | f16, f32  | 32F; 16F (at least as exact) |
//! | bf16      | f32            | bf16, f32 | 32F                   |
//! | i8        | i32, wrapping  | i32       | 32I                   |
//! | i8        | f32            | f32       | 32F                   |
//! | complex i8 | C32           | C32       | 32F                   |
//!
//! Half-precision products accumulate in single precision over the whole depth and are rounded once.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use num_complex::Complex;

use crate::gemm::block_raw::BlockProduct;
use crate::gemm::lanes_bf16_raw;
use crate::gemm::micro_bf16_raw::MicroBf16;
use crate::gemm::micro_raw::Micro;
use crate::gemm::packed_raw::Job;
use crate::scratch::AnyBits;

/// Single-precision complex.
pub type C32 = Complex<f32>;
/// Double-precision complex.
pub type C64 = Complex<f64>;

/// A type that products are accumulated in; also that of alpha and beta.
pub trait Accumulator: BlockProduct + AnyBits + Copy + PartialEq + Send + Sync + 'static {
    /// 0.
    fn zero() -> Self;
    /// The nearest value.
    fn from_f64(value: f64) -> Self;
    /// Whether [`Accumulator::conj`] changes anything.
    const COMPLEX: bool;
    /// `self + a·b`.
    #[must_use]
    fn add_product(self, a: Self, b: Self) -> Self;
    /// `self + other`.
    #[must_use]
    fn plus(self, other: Self) -> Self;
    /// The complex conjugate; itself if real.
    #[must_use]
    fn conj(self) -> Self;
    /// max(0, x) of a real value, NaN kept.
    #[must_use]
    fn relu(self) -> Self;
    /// GELU by the tanh approximation, as cuBLASLt computes it.
    #[must_use]
    fn gelu(self) -> Self;
}

/// An element of A and B that is accumulated in `Acc`.
pub trait Input<Acc: Accumulator>: Copy + Send + Sync + 'static {
    /// The same value as an accumulator.
    fn widen(self) -> Acc;

    /// The slice itself where the types are the same, so that nothing need be converted.
    fn as_accumulators(_: &[Self]) -> Option<&[Acc]> {
        None
    }

    /// Computes a product by the packed kernel that suits the type on this machine.
    fn packed_product<Out: Output<Acc>>(job: &Job<'_, Self, Acc, Out>) {
        job.run(Micro::of::<Acc>());
    }

    /// Whether this machine has dot products of the type that need no widening ([`Input::dots`]).
    fn dots_as_they_lie() -> bool {
        false
    }

    /// `sums[r·t + i] += Σₗ wide[r][l]·thin[i·depth + l]` for one or two wide rows and t thin ones, where
    /// [`Input::dots_as_they_lie`].
    fn dots(_wide: &[&[Self]], _thin: &[Self], _sums: &mut [Acc]) {
        unreachable!("asked only of types that have it")
    }

    /// Converts a contiguous run.
    fn widen_run(source: &[Self], target: &mut [Acc]) {
        for (target, &source) in target.iter_mut().zip(source) {
            *target = source.widen();
        }
    }
}

/// An element of C for a product accumulated in `Acc`.
pub trait Output<Acc: Accumulator>: Copy + Send + Sync + 'static {
    /// The accumulated value, rounded to nearest even.
    fn round(value: Acc) -> Self;
    /// The same for a contiguous run.
    fn round_run(source: &[Acc], target: &mut [Self]) {
        for (target, &source) in target.iter_mut().zip(source) {
            *target = Self::round(source);
        }
    }
    /// The same value as an accumulator.
    fn widen(self) -> Acc;

    /// The slice itself where the types are the same, so that the product can be formed in place.
    fn as_accumulators_mut(_: &mut [Self]) -> Option<&mut [Acc]> {
        None
    }
}

macro_rules! real_accumulator {
    ($ty:ident) => {
        impl Accumulator for $ty {
            fn zero() -> Self {
                0.0
            }
            fn from_f64(value: f64) -> Self {
                value as $ty
            }
            const COMPLEX: bool = false;
            fn add_product(self, a: Self, b: Self) -> Self {
                self + a * b
            }
            fn plus(self, other: Self) -> Self {
                self + other
            }
            fn conj(self) -> Self {
                self
            }
            fn relu(self) -> Self {
                if self < 0.0 { 0.0 } else { self }
            }
            fn gelu(self) -> Self {
                // 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
                let sqrt_2_over_pi = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
                let inner = sqrt_2_over_pi as $ty * (self + 0.044_715 * self * self * self);
                0.5 * self * (1.0 + inner.tanh())
            }
        }
        same_type!($ty);
    };
}

macro_rules! complex_accumulator {
    ($ty:ident, $part:ident) => {
        impl Accumulator for $ty {
            fn zero() -> Self {
                Complex::new(0.0, 0.0)
            }
            fn from_f64(value: f64) -> Self {
                Complex::new(value as $part, 0.0)
            }
            const COMPLEX: bool = true;
            fn add_product(self, a: Self, b: Self) -> Self {
                self + a * b
            }
            fn plus(self, other: Self) -> Self {
                self + other
            }
            fn conj(self) -> Self {
                Complex::conj(&self)
            }
            fn relu(self) -> Self {
                self
            }
            fn gelu(self) -> Self {
                self
            }
        }
        same_type!($ty);
    };
}

macro_rules! same_type {
    ($ty:ident) => {
        impl Input<$ty> for $ty {
            fn widen(self) -> $ty {
                self
            }
            fn as_accumulators(data: &[Self]) -> Option<&[$ty]> {
                Some(data)
            }
        }
        impl Output<$ty> for $ty {
            fn round(value: $ty) -> Self {
                value
            }
            fn widen(self) -> $ty {
                self
            }
            fn as_accumulators_mut(data: &mut [Self]) -> Option<&mut [$ty]> {
                Some(data)
            }
        }
    };
}

real_accumulator!(f32);
real_accumulator!(f64);
complex_accumulator!(C32, f32);
complex_accumulator!(C64, f64);

impl Accumulator for i32 {
    fn zero() -> Self {
        0
    }
    fn from_f64(value: f64) -> Self {
        value as i32
    }
    const COMPLEX: bool = false;
    fn add_product(self, a: Self, b: Self) -> Self {
        self.wrapping_add(a.wrapping_mul(b))
    }
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    fn conj(self) -> Self {
        self
    }
    fn relu(self) -> Self {
        self.max(0)
    }
    fn gelu(self) -> Self {
        self
    }
}
same_type!(i32);

macro_rules! half_type {
    ($ty:ident, $widen_run:expr, $round_run:expr $(, $product:item)*) => {
        impl Input<f32> for $ty {
            fn widen(self) -> f32 {
                self.to_f32()
            }
            $($product)*
            fn widen_run(source: &[Self], target: &mut [f32]) {
                $widen_run(source, target);
            }
        }
        impl Output<f32> for $ty {
            fn round(value: f32) -> Self {
                $ty::from_f32(value)
            }
            fn round_run(source: &[f32], target: &mut [Self]) {
                $round_run(source, target);
            }
            fn widen(self) -> f32 {
                self.to_f32()
            }
        }
    };
}
half_type!(f16, HalfFloatSliceExt::convert_to_f32_slice, |source: &[f32], target: &mut [f16]| {
    target.convert_from_f32_slice(source);
});
half_type!(
    bf16,
    widen_bf16,
    round_bf16,
    fn packed_product<Out: Output<f32>>(job: &Job<'_, Self, f32, Out>) {
        match MicroBf16::available() {
            Some(kernel) => job.run(kernel),
            None => job.run(Micro::of::<f32>()),
        }
    },
    fn dots_as_they_lie() -> bool {
        MicroBf16::available().is_some()
    },
    fn dots(wide: &[&[Self]], thin: &[Self], sums: &mut [f32]) {
        if let Some(machine) = MicroBf16::available() {
            lanes_bf16_raw::dots(machine, wide, thin, sums);
        }
    }
);

/// Rounds to nearest even; a NaN becomes quiet. Without a branch, so that it vectorises.
fn round_bf16(source: &[f32], target: &mut [bf16]) {
    for (target, source) in target.iter_mut().zip(source) {
        let bits = source.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        let quiet = bits >> 16 | 0x40;
        *target = bf16::from_bits(if source.is_nan() { quiet } else { rounded } as u16);
    }
}

/// A bf16 is the upper half of an f32. Unlike `to_f32` without a branch for NaN, so that it vectorises; a
/// signalling NaN stays one until the first product quiets it.
fn widen_bf16(source: &[bf16], target: &mut [f32]) {
    for (target, source) in target.iter_mut().zip(source) {
        *target = f32::from_bits(u32::from(source.to_bits()) << 16);
    }
}

impl Input<i32> for i8 {
    fn widen(self) -> i32 {
        self.into()
    }
}
impl Input<f32> for i8 {
    fn widen(self) -> f32 {
        self.into()
    }
}
impl Input<C32> for Complex<i8> {
    fn widen(self) -> C32 {
        Complex::new(self.re.into(), self.im.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relu_and_gelu_keep_nan() {
        assert!(f32::NAN.relu().is_nan() && f64::NAN.gelu().is_nan());
        assert_eq!((-3.0f32).relu(), 0.0);
        assert_eq!(2.5f32.relu(), 2.5);
    }

    #[test]
    fn gelu_agrees_with_known_values() {
        for (x, want) in
            [(0.0f64, 0.0), (1.0, 0.841_191_990_6), (-1.0, -0.158_808_009_4), (3.0, 2.996_362_607_9)]
        {
            assert!((x.gelu() - want).abs() < 1e-9, "gelu({x}) = {}", x.gelu());
        }
    }

    #[test]
    fn runs_are_rounded_as_single_numbers_are() {
        let mut values: Vec<f32> =
            (0..=u16::MAX).map(|bits| f32::from_bits(u32::from(bits) << 16 | 0x8000)).collect();
        values.extend((0..=u16::MAX).map(|bits| f32::from_bits(u32::from(bits) << 16 | 0x7fff)));
        values.extend((0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32() * 1.000_488_3));
        let (mut brain, mut half) = (vec![bf16::ZERO; values.len()], vec![f16::ZERO; values.len()]);
        <bf16 as Output<f32>>::round_run(&values, &mut brain);
        <f16 as Output<f32>>::round_run(&values, &mut half);
        for (index, &value) in values.iter().enumerate() {
            assert_eq!(brain[index].to_bits(), bf16::from_f32(value).to_bits(), "{value:e}");
            assert!(
                half[index] == f16::from_f32(value) || value.is_nan() && half[index].is_nan(),
                "{value:e}"
            );
        }
    }

    #[test]
    fn integers_wrap_as_the_device_does() {
        assert_eq!(i32::MAX.add_product(1, 1), i32::MIN);
    }
}
