//! Elementary functions of either type: ours in single precision, so that loops vectorise, mostly std's in
//! double precision.
//!
//! `FUSED` says that the code is compiled for a machine with fused multiply-add.

// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::single;
use crate::tensor::Real;

/// One of two functions, by the type.
#[inline(always)]
fn by_type<R: Real>(x: R, single: impl Fn(f32) -> f32, double: impl Fn(f64) -> f64) -> R {
    // Both conversions are exact for the type that takes the branch, and fold away.
    if size_of::<R>() == size_of::<f32>() {
        R::of(single(x.to_double() as f32).into())
    } else {
        R::of(double(x.to_double()))
    }
}

/// eˣ.
#[inline(always)]
pub fn exp<R: Real, const FUSED: bool>(x: R) -> R {
    by_type(x, single::exp::<FUSED>, f64::exp)
}

/// eˣ − 1.
#[inline(always)]
pub fn exp_m1<R: Real, const FUSED: bool>(x: R) -> R {
    by_type(x, single::exp_m1::<FUSED>, f64::exp_m1)
}

/// tanh x.
#[inline(always)]
pub fn tanh<R: Real, const FUSED: bool>(x: R) -> R {
    by_type(x, single::tanh::<FUSED>, f64::tanh)
}

/// erf x.
#[inline(always)]
pub fn erf<R: Real, const FUSED: bool>(x: R) -> R {
    by_type(x, single::erf::<FUSED>, double_erf)
}

/// 1/(1 + e⁻ˣ), by powers that cannot overflow.
#[inline(always)]
pub fn sigmoid<R: Real, const FUSED: bool>(x: R) -> R {
    let power = exp::<R, FUSED>(-x.abs());
    let numerator = if x < R::ZERO { power } else { R::ONE };
    let sum = R::ONE + power;
    let quotient = numerator / sum;
    // What the sum lost in rounding, divided by it; 1/(1 + e) is near enough to 1 − e/2.
    let lost = (power - (sum - R::ONE)) * (R::ONE - R::of(0.5) * power);
    quotient - quotient * lost
}

/// The derivative of [`sigmoid`]: e^−|x|/(1 + e^−|x|)², which does not cancel.
#[inline(always)]
pub fn sigmoid_slope<R: Real, const FUSED: bool>(x: R) -> R {
    let power = exp::<R, FUSED>(-x.abs());
    let sum = R::ONE + power;
    power / (sum * sum)
}

/// ln(1 + eˣ).
#[inline(always)]
pub fn softplus<R: Real, const FUSED: bool>(x: R) -> R {
    let above = if x > R::ZERO { x } else { R::ZERO };
    above + by_type(exp::<R, FUSED>(-x.abs()), single::ln_1p_unit::<FUSED>, f64::ln_1p)
}

/// Φ(x) = (1 + erf(x/√2))/2, the normal distribution.
#[inline(always)]
pub fn normal<R: Real, const FUSED: bool>(x: R) -> R {
    R::of(0.5) * (R::ONE + erf::<R, FUSED>(x * R::FRAC_1_SQRT_2()))
}

/// e^(−x²/2)/√(2π), the density of [`normal`].
#[inline(always)]
pub fn normal_density<R: Real, const FUSED: bool>(x: R) -> R {
    let half = R::of(0.5);
    exp::<R, FUSED>(-half * x * x) * R::of(0.5 * FRAC_2_SQRT_PI) * R::FRAC_1_SQRT_2()
}

/// The factor of x³ in GELU's approximation by tanh.
const GELU_CUBIC: f64 = 0.044_715;

/// √(2/π).
const SQRT_2_OVER_PI: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;

/// tanh(√(2/π)·(x + 0.044715·x³)).
#[inline(always)]
fn gelu_inner<R: Real, const FUSED: bool>(x: R) -> R {
    tanh::<R, FUSED>(R::of(SQRT_2_OVER_PI) * (x + R::of(GELU_CUBIC) * x * x * x))
}

/// GELU's approximation by tanh.
#[inline(always)]
pub fn gelu_tanh<R: Real, const FUSED: bool>(x: R) -> R {
    R::of(0.5) * x * (R::ONE + gelu_inner::<R, FUSED>(x))
}

/// The derivative of [`gelu_tanh`].
#[inline(always)]
pub fn gelu_tanh_slope<R: Real, const FUSED: bool>(x: R) -> R {
    let tanh = gelu_inner::<R, FUSED>(x);
    let inner_slope = R::of(SQRT_2_OVER_PI) * (R::ONE + R::of(3.0 * GELU_CUBIC) * x * x);
    R::of(0.5) * ((R::ONE + tanh) + x * (R::ONE - tanh * tanh) * inner_slope)
}

/// erf in double precision, relative error below 5·10⁻¹⁶. The polynomials interpolate at Chebyshev nodes,
/// computed with 50 digits.
fn double_erf(x: f64) -> f64 {
    // erf(√z)/√z for 0 ≤ z ≤ 1
    const NEAR: [f64; 12] = [
        FRAC_2_SQRT_PI,
        -0.376_126_389_031_835_43,
        0.112_837_916_709_450_06,
        -0.026_866_170_643_237_77,
        0.005_223_977_607_116_422_5,
        -0.000_854_832_597_538_969_2,
        0.000_120_552_949_048_397_07,
        -0.000_014_924_736_907_419_66,
        1.644_742_470_331_736_2e-6,
        -1.620_848_380_187_170_5e-7,
        1.372_006_454_677_768_6e-8,
        -7.795_898_827_002_142e-10,
    ];
    // (1 − erf t)·e^(t²) in s = (t − 3)/(t + 3) for 1 ≤ t ≤ 6
    const FAR: [f64; 16] = [
        0.179_001_151_181_389_96,
        -0.326_233_560_043_037_2,
        0.245_603_801_712_334_87,
        -0.150_115_936_500_778_98,
        0.071_665_837_197_473_08,
        -0.024_392_499_318_915_004,
        0.004_269_136_356_961_225,
        0.000_707_746_466_694_142_5,
        -0.000_597_062_496_492_454_4,
        0.000_045_254_345_589_910_09,
        0.000_064_062_792_260_460_39,
        -0.000_012_845_780_030_775_907,
        -8.009_780_939_076_08e-6,
        2.013_511_142_644_742_7e-6,
        1.275_581_894_962_447_8e-6,
        3.381_355_142_042_904e-9,
    ];
    let horner = |coefficients: &[f64], x: f64| coefficients.iter().rev().fold(0.0, |sum, &c| sum * x + c);
    let t = x.abs();
    if t < 1.0 {
        x * horner(&NEAR, t * t)
    } else if t < 6.0 {
        (1.0 - (-t * t).exp() * horner(&FAR, (t - 3.0) / (t + 3.0))).copysign(x)
    } else {
        // 1 − erf 6 is far below the last place of 1. NaN takes this branch too.
        if x.is_nan() { x } else { 1f64.copysign(x) }
    }
}
