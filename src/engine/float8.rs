//! 8-bit floating point: E4M3 and E5M2 as the device computes with them, and the power of two UE8M0.
//!
//! | type | exponent bits, bias | mantissa bits | largest | infinity | NaN            |
//! |------|---------------------|---------------|---------|----------|----------------|
//! | E4M3 | 4, 7                | 3             | 448     | none     | `0x7f`, `0xff` |
//! | E5M2 | 5, 15               | 2             | 57344   | `0x7c`   | `0x7d` … `0x7f` and negative |
//! | UE8M0 | 8, 127             | 0             | 2^127   | none     | `0xff`         |
//!
//! Rounded to nearest even; what lies beyond the largest number, infinities included, becomes that number
//! (`__NV_SATFINITE`), and any NaN becomes `0x7f`.
//! Source: <https://docs.nvidia.com/cuda/cuda-math-api/cuda_math_api/group__CUDA__MATH__INTRINSIC__FP8.html>.

use crate::convert::Element;
use crate::tensor::Real;

/// `CUDA_R_8F_E4M3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct E4m3(pub u8);

/// `CUDA_R_8F_E5M2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct E5m2(pub u8);

/// `CUDA_R_8F_UE8M0`: a scale, never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Ue8m0(pub u8);

/// What tells the signed formats apart.
struct Format {
    mantissa: i32,
    bias: i32,
    /// Code of the largest finite number.
    largest: u8,
}

const E4M3: Format = Format { mantissa: 3, bias: 7, largest: 0x7e };
const E5M2: Format = Format { mantissa: 2, bias: 15, largest: 0x7b };
const NAN: u8 = 0x7f;

impl Format {
    /// The value of a code that is neither infinite nor NaN.
    fn finite(&self, code: u8) -> f64 {
        let magnitude = i32::from(code & 0x7f);
        let (exponent, fraction) = (magnitude >> self.mantissa, magnitude & ((1 << self.mantissa) - 1));
        let (significand, exponent) =
            if exponent == 0 { (fraction, 1) } else { (fraction + (1 << self.mantissa), exponent) };
        let value = f64::from(significand) * power_of_two(exponent - self.bias - self.mantissa);
        if code & 0x80 == 0 { value } else { -value }
    }

    fn round(&self, value: f64) -> u8 {
        if value.is_nan() {
            return NAN;
        }
        let sign = if value.is_sign_negative() { 0x80 } else { 0 };
        let size = value.abs();
        if size >= self.finite(self.largest) {
            return sign | self.largest;
        }
        let exponent = ((size.to_bits() >> 52) as i32 - 1023).max(1 - self.bias);
        // The significand may round up to the next power of two: then it carries into the exponent.
        let significand = (size / power_of_two(exponent - self.mantissa)).round_ties_even() as i32;
        sign | (((exponent + self.bias - 1) << self.mantissa) + significand) as u8
    }
}

/// 2^exponent, for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

impl E4m3 {
    /// The value.
    pub fn to_f64(self) -> f64 {
        if self.0 & 0x7f == NAN { f64::NAN } else { E4M3.finite(self.0) }
    }

    /// The nearest number, saturated.
    pub fn from_f64(value: f64) -> E4m3 {
        E4m3(E4M3.round(value))
    }
}

impl E5m2 {
    /// The value.
    pub fn to_f64(self) -> f64 {
        const INFINITY: u8 = 0x7c;
        match self.0 & 0x7f {
            INFINITY if self.0 & 0x80 == 0 => f64::INFINITY,
            INFINITY => f64::NEG_INFINITY,
            code if code > INFINITY => f64::NAN,
            _ => E5M2.finite(self.0),
        }
    }

    /// The nearest number, saturated.
    pub fn from_f64(value: f64) -> E5m2 {
        E5m2(E5M2.round(value))
    }
}

impl Ue8m0 {
    /// The value.
    pub fn to_f64(self) -> f64 {
        if self.0 == 0xff { f64::NAN } else { power_of_two(i32::from(self.0) - 127) }
    }
}

macro_rules! element {
    ($($ty:ident),*) => {$(
        impl Element for $ty {
            fn to_real<R: Real>(self) -> R {
                R::of(self.to_f64())
            }
            fn from_real<R: Real>(value: R) -> Self {
                $ty::from_f64(value.to_double())
            }
        }
    )*};
}
element!(E4m3, E5m2);

#[cfg(test)]
mod tests {
    use super::*;

    type Code = fn(u8) -> f64;
    type Round = fn(f64) -> u8;

    fn formats() -> [(Code, Round, f64); 2] {
        [
            (|code| E4m3(code).to_f64(), |value| E4m3::from_f64(value).0, 448.0),
            (|code| E5m2(code).to_f64(), |value| E5m2::from_f64(value).0, 57_344.0),
        ]
    }

    #[test]
    fn landmarks_have_the_values_of_the_formats_tables() {
        let e4m3 = |code| E4m3(code).to_f64();
        assert_eq!([e4m3(0x00), e4m3(0x01), e4m3(0x07)], [0.0, 1.0 / 512.0, 7.0 / 512.0]);
        assert_eq!([e4m3(0x08), e4m3(0x38), e4m3(0x7e), e4m3(0xfe)], [1.0 / 64.0, 1.0, 448.0, -448.0]);
        let e5m2 = |code| E5m2(code).to_f64();
        assert_eq!([e5m2(0x01), e5m2(0x04), e5m2(0x3c)], [f64::powi(2.0, -16), f64::powi(2.0, -14), 1.0]);
        assert_eq!([e5m2(0x7b), e5m2(0x7c), e5m2(0xfc)], [57_344.0, f64::INFINITY, f64::NEG_INFINITY]);
        assert!(e4m3(0x7f).is_nan() && e4m3(0xff).is_nan() && (0x7d..=0x7f).all(|code| e5m2(code).is_nan()));
        assert_eq!([Ue8m0(127).to_f64(), Ue8m0(0).to_f64()], [1.0, f64::powi(2.0, -127)]);
        assert!(Ue8m0(255).to_f64().is_nan());
    }

    #[test]
    fn every_finite_code_survives_a_round_trip() {
        for (value, round, _) in formats() {
            for code in 0..=255u8 {
                if value(code).is_finite() {
                    assert_eq!(round(value(code)), code, "code {code:#x}");
                }
            }
        }
    }

    #[test]
    fn between_two_neighbours_the_nearer_wins_and_the_even_one_in_the_middle() {
        for (value, round, largest) in formats() {
            let codes = (0..0x7fu8).take_while(|&code| value(code + 1) <= largest);
            for low in codes {
                let (below, above) = (value(low), value(low + 1));
                let middle = f64::midpoint(below, above);
                let even = if low % 2 == 0 { low } else { low + 1 };
                assert_eq!(round(middle), even, "middle of {below} and {above}");
                assert_eq!(round(-middle), even | 0x80);
                assert_eq!(round(middle.next_down()), low);
                assert_eq!(round(middle.next_up()), low + 1);
            }
        }
    }

    #[test]
    fn beyond_the_largest_number_there_is_only_it() {
        for (value, round, largest) in formats() {
            for far in [largest * 1.01, largest * 1e9, f64::MAX, f64::INFINITY] {
                assert_eq!([value(round(far)), value(round(-far))], [largest, -largest]);
            }
            assert_eq!([round(f64::NAN), round(-f64::NAN)], [NAN, NAN]);
            assert_eq!([round(0.0), round(-0.0), round(1e-300), round(-5e-324)], [0, 0x80, 0, 0x80]);
        }
    }
}
