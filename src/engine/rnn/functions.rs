//! The gates' functions, without branches or tables, so that loops over them vectorise.

// Inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]

use crate::tensor::Real;

/// eˣ = s·(1 + p) with s a power of two and |p| < 0.42; p keeps its relative accuracy near 0. |x| may be
/// as large as the exponent's range allows; NaN gives p = NaN.
#[inline(always)]
fn split_exponential<R: Real>(x: R) -> (R, R) {
    // ln 2 in two parts; products of the first with small integers are exact.
    let (high, low) = if single::<R>() {
        (R::of(0.693_359_375), R::of(-2.121_944_400_546_905_8e-4))
    } else {
        (R::of(6.931_471_803_691_238e-1), R::of(1.908_214_929_270_587_7e-10))
    };
    // Adding and taking away a number whose unit in the last place is 1 rounds to an integer.
    let rounder = R::of(1.5) / R::epsilon();
    let k = (x * R::LOG2_E() + rounder) - rounder;
    let r = (x - k * high) - k * low;
    // Taylor's series of (eʳ − 1 − r)/r² for |r| ≤ ln 2/2; the first term left out is below a quarter of
    // the unit roundoff.
    let factors: &[f64] = if single::<R>() { &INVERSE_FACTORIALS[8..] } else { &INVERSE_FACTORIALS[1..] };
    let mut sum = R::ZERO;
    for &factor in factors {
        sum = sum * r + R::of(factor);
    }
    let p = r + r * r * sum;
    // 2ᵏ: k + 1023, brought to the lowest bits of the mantissa, moved to the exponent.
    let exponent = k.to_double() + (6_755_399_441_055_744.0 + 1023.0);
    let s = R::of(f64::from_bits(exponent.to_bits() << 52));
    (s, p)
}

/// 1/n! for n from 16 down to 2.
const INVERSE_FACTORIALS: [f64; 15] = {
    let mut table = [0.0; 15];
    let (mut n, mut factorial) = (2, 2.0);
    while n <= 16 {
        table[16 - n] = 1.0 / factorial;
        n += 1;
        factorial *= n as f64;
    }
    table
};

#[inline(always)]
fn single<R>() -> bool {
    size_of::<R>() == 4
}

/// x, but no further from 0 than `limit`; NaN stays NaN.
#[inline(always)]
fn within<R: Real>(x: R, limit: R) -> R {
    let x = if x > limit { limit } else { x };
    if x < -limit { -limit } else { x }
}

/// The logistic function 1/(1 + e⁻ˣ).
#[inline(always)]
pub(super) fn sigmoid<R: Real>(x: R) -> R {
    let limit = if single::<R>() { R::of(87.0) } else { R::of(708.0) };
    let (s, p) = split_exponential(within(-x, limit));
    R::ONE / (R::ONE + (s + s * p))
}

/// tanh x = e/(e + 2) with e = e²ˣ − 1.
#[inline(always)]
pub(super) fn tanh<R: Real>(x: R) -> R {
    let (s, p) = split_exponential(within(x + x, R::of(40.0)));
    let e = s * p + (s - R::ONE);
    e / (e + R::of(2.0))
}

/// max(0, x), NaN kept.
#[inline(always)]
pub(super) fn relu<R: Real>(x: R) -> R {
    if x < R::ZERO { R::ZERO } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error over a range, in units of the roundoff times the value.
    fn worst<R: Real>(ours: impl Fn(R) -> R, exact: impl Fn(f64) -> f64, reach: f64) -> f64 {
        let roundoff = R::epsilon().to_double() / 2.0;
        let error = |index: i32| {
            let x = R::of(reach * f64::from(index) / 20_011.0);
            let want = exact(x.to_double());
            (ours(x).to_double() - want).abs() / (roundoff * want.abs().max(1e-300))
        };
        (-20_011..=20_011).filter(|&index| index != 0).map(error).fold(0.0, f64::max)
    }

    fn logistic(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    #[test]
    fn sigmoid_and_tanh_are_accurate_to_a_few_roundoffs() {
        for reach in [1e-4, 0.1, 1.0, 20.0, 86.0] {
            let errors = [
                worst(tanh::<f32>, f64::tanh, reach),
                worst(sigmoid::<f32>, logistic, reach),
                worst(tanh::<f64>, f64::tanh, reach),
                worst(sigmoid::<f64>, logistic, reach),
            ];
            assert!(errors.iter().all(|&error| error < 8.0), "|x| ≤ {reach}: {errors:?} roundoffs");
        }
    }

    #[test]
    fn infinities_reach_the_limits_and_nan_stays() {
        for x in [f32::INFINITY, 1e30, 100.0] {
            assert_eq!((tanh(x), tanh(-x), sigmoid(x)), (1.0, -1.0, 1.0));
            assert!(sigmoid(-x) < 2e-38);
        }
        assert_eq!((tanh(0.0f64), sigmoid(0.0f64)), (0.0, 0.5));
        assert_eq!((tanh(f64::INFINITY), tanh(f64::NEG_INFINITY)), (1.0, -1.0));
        assert!(tanh(f32::NAN).is_nan() && sigmoid(f64::NAN).is_nan() && relu(f32::NAN).is_nan());
    }
}
