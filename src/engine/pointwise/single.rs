//! Elementary functions in single precision without branches, so that loops over them vectorise.
//!
//! Each is within 2 units in the last place. `FUSED` says that the code is compiled for a machine with
//! fused multiply-add. The polynomials interpolate at Chebyshev nodes, computed with 50 digits.

// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]

use std::f32::consts::LOG2_E;

/// a·b + c, rounded once where the machine can.
#[inline(always)]
fn fused<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Σₖ coefficients[k]·xᵏ, by Horner's rule.
#[inline(always)]
fn polynomial<const FUSED: bool, const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let mut sum = coefficients[N - 1];
    for &coefficient in coefficients[..N - 1].iter().rev() {
        sum = fused::<FUSED>(sum, x, coefficient);
    }
    sum
}

/// x = exponent·ln 2 + r with |r| ≤ ln 2/2.
struct Reduced {
    exponent: i32,
    /// eʳ − 1.
    expm1: f32,
}

/// For |x| ≤ 2²⁰; any exponent and NaN for NaN.
#[inline(always)]
fn reduce<const FUSED: bool>(x: f32) -> Reduced {
    // Adding 1.5·2²³ leaves no room for a fraction: the sum's last bits are the nearest integer.
    const SHIFT: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has 9 bits, so its product with an exponent is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -0.000_212_194_44;
    // (eʳ − 1 − r)/r²
    const TAIL: [f32; 6] =
        [0.5, 0.166_666_67, 0.041_666_467, 0.008_333_311, 0.001_393_364_2, 0.000_198_909_81];
    let shifted = fused::<FUSED>(x, LOG2_E, SHIFT);
    let count = shifted - SHIFT;
    let r = fused::<FUSED>(count, -LN_2_LOW, fused::<FUSED>(count, -LN_2_HIGH, x));
    Reduced {
        exponent: shifted.to_bits().wrapping_sub(SHIFT.to_bits()) as i32,
        expm1: fused::<FUSED>(r * r, polynomial::<FUSED, 6>(TAIL, r), r),
    }
}

/// 2ᵏ for −127 < k < 128.
#[inline(always)]
fn power_of_two(k: i32) -> f32 {
    f32::from_bits((k.wrapping_add(127) as u32) << 23)
}

/// x, kept between two numbers; NaN stays.
#[inline(always)]
fn between(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

/// eˣ.
#[inline(always)]
pub fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Beyond these the result is 0 or ∞.
    let Reduced { exponent, expm1 } = reduce::<FUSED>(between(x, -104.0, 89.0));
    // Two factors, since 2¹²⁸ and 2⁻¹⁵⁰ are no numbers themselves. The first product is exact.
    let half = exponent >> 1;
    (1.0 + expm1) * power_of_two(half) * power_of_two(exponent.wrapping_sub(half))
}

/// eˣ − 1, exact to the last places near 0 too.
#[inline(always)]
pub fn exp_m1<const FUSED: bool>(x: f32) -> f32 {
    // Below −30 the result is −1.
    let Reduced { exponent, expm1 } = reduce::<FUSED>(between(x, -30.0, 89.0));
    // Half the scale, since 2¹²⁸ is no number.
    let scale = power_of_two(exponent.wrapping_sub(1));
    2.0 * fused::<FUSED>(scale, expm1, scale - 0.5)
}

/// ln(1 + x) for 0 ≤ x ≤ 1, as 2·artanh(x/(2 + x)).
#[inline(always)]
pub fn ln_1p_unit<const FUSED: bool>(x: f32) -> f32 {
    // (artanh(√z)/√z − 1)/z for 0 ≤ z ≤ 1/9
    const TAIL: [f32; 4] = [0.333_333_2, 0.200_037_8, 0.141_183_1, 0.134_257_5];
    let s = x / (2.0 + x);
    let z = s * s;
    let double = s + s;
    fused::<FUSED>(double * z, polynomial::<FUSED, 4>(TAIL, z), double)
}

/// tanh x: near 0 a polynomial, else (e²ˣ − 1)/(e²ˣ + 1).
#[inline(always)]
pub fn tanh<const FUSED: bool>(x: f32) -> f32 {
    // (tanh(√z)/√z − 1)/z for 0 ≤ z ≤ 0.36
    const NEAR: [f32; 5] = [-0.333_333_3, 0.133_329_15, -0.053_873_95, 0.021_110_96, -0.006_269_12];
    let t = x.abs();
    let square = t * t;
    let near = fused::<FUSED>(t * square, polynomial::<FUSED, 5>(NEAR, square), t);
    // From 10 on the result is 1.
    let power = exp_m1::<FUSED>(2.0 * between(t, 0.0, 10.0));
    let far = power / (power + 2.0);
    let size = if t < 0.6 { near } else { far };
    size.copysign(x)
}

/// erf x = 2/√π·∫₀ˣ e^(−t²) dt.
#[inline(always)]
pub fn erf<const FUSED: bool>(x: f32) -> f32 {
    // erf(√z)/√z − 1 for 0 ≤ z ≤ 1: added to 1 last, so that their errors count little
    const NEAR: [f32; 7] = [
        0.128_379_17,
        -0.376_126_27,
        0.112_835_95,
        -0.026_854_212,
        0.005_189_087_4,
        -0.000_801_686_43,
        0.000_078_758_75,
    ];
    // ln(1 − erf t) for 1 ≤ t ≤ 4
    const FAR: [f32; 9] = [
        0.000_320_138_05,
        -1.130_233_4,
        -0.631_826_05,
        -0.110_080_08,
        0.026_421_136,
        -0.004_759_596,
        0.000_596_805_6,
        -0.000_046_058_04,
        1.637_151_4e-6,
    ];
    let t = x.abs();
    let near = fused::<FUSED>(x, polynomial::<FUSED, 7>(NEAR, t * t), x);
    let far = 1.0 - exp::<FUSED>(polynomial::<FUSED, 9>(FAR, between(t, 1.0, 4.0)));
    if t < 1.0 { near } else { far.copysign(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error over numbers of either sign, in units in the last place of the exact result.
    fn worst(function: fn(f32) -> f32, exact: fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let count = 200_000;
        let error = |index: i32| {
            let x = low + (high - low) * index as f32 / count as f32;
            let want = exact(x.into());
            let rounded = (want as f32).abs();
            let unit = f64::from(f32::from_bits(rounded.to_bits() + 1)) - f64::from(rounded);
            (f64::from(function(x)) - want).abs() / unit
        };
        (0..=count).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn errors_are_small_with_and_without_fused_multiply_add() {
        for (fused, plain, exact, low, high) in [
            (
                exp::<true> as fn(f32) -> f32,
                exp::<false> as fn(f32) -> f32,
                f64::exp as fn(f64) -> f64,
                -104.0,
                88.7,
            ),
            (exp_m1::<true>, exp_m1::<false>, f64::exp_m1, -40.0, 88.7),
            (ln_1p_unit::<true>, ln_1p_unit::<false>, f64::ln_1p, 0.0, 1.0),
            (tanh::<true>, tanh::<false>, f64::tanh, -11.0, 11.0),
            (tanh::<true>, tanh::<false>, f64::tanh, -1.0, 1.0),
        ] {
            let errors = [worst(fused, exact, low, high), worst(plain, exact, low, high)];
            assert!(errors.iter().all(|&error| error <= 2.0), "{errors:?} from {low} to {high}");
        }
    }

    #[test]
    fn the_ends_are_those_of_the_format() {
        assert_eq!([exp::<false>(f32::INFINITY), exp::<false>(f32::NEG_INFINITY)], [f32::INFINITY, 0.0]);
        assert_eq!((exp::<false>(88.73), exp::<false>(-103.97)), (f32::INFINITY, f32::from_bits(1)));
        assert_eq!(
            [tanh::<false>(f32::INFINITY), tanh::<false>(-0.0)].map(f32::to_bits),
            [1f32, -0.0].map(f32::to_bits)
        );
        assert_eq!([exp_m1::<false>(f32::NEG_INFINITY), erf::<false>(f32::NEG_INFINITY)], [-1.0; 2]);
        assert!(exp::<false>(f32::NAN).is_nan() && tanh::<false>(f32::NAN).is_nan());
        assert!(exp_m1::<false>(f32::NAN).is_nan() && erf::<false>(f32::NAN).is_nan());
    }
}
