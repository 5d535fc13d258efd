//! Element types by their bytes: what tests put into device memory and read from it.

use half::{bf16, f16};
use num_complex::Complex;

/// Any element's value.
pub type Number = Complex<f64>;

/// An element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// Half precision.
    F16,
    /// Brain float.
    Bf16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Single-precision complex.
    C32,
    /// Double-precision complex.
    C64,
    /// 8-bit integer.
    I8,
    /// Complex 8-bit integer.
    CI8,
    /// 32-bit integer.
    I32,
    /// 8-bit floating, 4 bits of exponent.
    E4m3,
    /// 8-bit floating, 5 bits of exponent.
    E5m2,
}

/// The value of an 8-bit floating code, from its sign, exponent and mantissa.
fn float8(code: u8, mantissa: i32, bias: i32, infinities: bool) -> f64 {
    let sign = if code >= 0x80 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(code & 0x7f) >> mantissa, i32::from(code & 0x7f) % (1 << mantissa));
    let all_ones = exponent == (0x7f >> mantissa);
    match (infinities, all_ones) {
        (true, true) if fraction == 0 => sign * f64::INFINITY,
        (true, true) => f64::NAN,
        (false, true) if fraction == (1 << mantissa) - 1 => f64::NAN,
        _ if exponent == 0 => sign * f64::from(fraction) * f64::powi(2.0, 1 - bias - mantissa),
        _ => {
            let one_and_fraction = 1.0 + f64::from(fraction) / f64::from(1 << mantissa);
            sign * one_and_fraction * f64::powi(2.0, exponent - bias)
        }
    }
}

/// A single-precision number on the same side of every half-precision number and middle as `value`: what is cut
/// off survives in the last bit. (`from_f64` of the half types looks at the upper half of a double only.)
fn odd_single(value: f64) -> f32 {
    let single = value as f32;
    if f64::from(single) == value || !single.is_finite() || single.to_bits() & 1 == 1 {
        single
    } else if f64::from(single).abs() > value.abs() {
        f32::from_bits(single.to_bits() - 1)
    } else {
        f32::from_bits(single.to_bits() + 1)
    }
}

/// The code nearest to `value`, found by trying all; of two equally near the even one; no code is infinite.
fn nearest_float8(value: f64, decode: impl Fn(u8) -> f64) -> u8 {
    if value.is_nan() {
        return 0x7f;
    }
    let distance = |code: u8| (decode(code) - value.clamp(-1e300, 1e300)).abs();
    let codes =
        (0..=255u8).filter(|&code| decode(code).is_finite() && (code >= 0x80) == value.is_sign_negative());
    codes.min_by(|&x, &y| distance(x).total_cmp(&distance(y)).then((x % 2).cmp(&(y % 2)))).unwrap_or(0)
}

impl Element {
    /// All of them, with the word of the tables and the number of CUDA's `cudaDataType`.
    pub const ALL: [(Element, &'static str, i32); 11] = [
        (Element::F16, "f16", 2),
        (Element::Bf16, "bf16", 14),
        (Element::F32, "f32", 0),
        (Element::F64, "f64", 1),
        (Element::C32, "c32", 4),
        (Element::C64, "c64", 5),
        (Element::I8, "i8", 3),
        (Element::CI8, "ci8", 7),
        (Element::I32, "i32", 10),
        (Element::E4m3, "e4m3", 28),
        (Element::E5m2, "e5m2", 29),
    ];

    /// The word of the tables.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|row| row.0 == self).map_or("?", |row| row.1)
    }

    /// CUDA's `cudaDataType`.
    pub fn cuda(self) -> i32 {
        Self::ALL.iter().find(|row| row.0 == self).map_or(-1, |row| row.2)
    }

    /// From CUDA's `cudaDataType`.
    pub fn from_cuda(number: i32) -> Option<Element> {
        Self::ALL.iter().find(|row| row.2 == number).map(|row| row.0)
    }

    /// From the word of the tables.
    pub fn from_name(name: &str) -> Option<Element> {
        Self::ALL.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Element::I8 | Element::E4m3 | Element::E5m2 => 1,
            Element::F16 | Element::Bf16 | Element::CI8 => 2,
            Element::F32 | Element::I32 => 4,
            Element::F64 | Element::C32 => 8,
            Element::C64 => 16,
        }
    }

    /// Whether it has an imaginary part.
    pub fn is_complex(self) -> bool {
        matches!(self, Element::C32 | Element::C64 | Element::CI8)
    }

    /// Whether it is an integer.
    pub fn is_integer(self) -> bool {
        matches!(self, Element::I8 | Element::CI8 | Element::I32)
    }

    /// Half the distance between 1 and the next number; 0 for integers.
    pub fn rounding(self) -> f64 {
        match self {
            Element::F16 => f64::powi(2.0, -11),
            Element::Bf16 => f64::powi(2.0, -8),
            Element::E4m3 => f64::powi(2.0, -4),
            Element::E5m2 => f64::powi(2.0, -3),
            Element::F32 | Element::C32 => f64::powi(2.0, -24),
            Element::F64 | Element::C64 => f64::powi(2.0, -53),
            Element::I8 | Element::CI8 | Element::I32 => 0.0,
        }
    }

    /// Half the smallest positive number.
    pub fn underflow(self) -> f64 {
        match self {
            Element::F16 => f64::powi(2.0, -25),
            Element::E4m3 => f64::powi(2.0, -10),
            Element::E5m2 => f64::powi(2.0, -17),
            Element::Bf16 | Element::F32 | Element::C32 => f64::powi(2.0, -134),
            _ => 0.0,
        }
    }

    /// Appends the element nearest to `value`.
    pub fn encode(self, value: Number, bytes: &mut Vec<u8>) {
        match self {
            Element::F16 => bytes.extend(f16::from_f32(odd_single(value.re)).to_le_bytes()),
            Element::Bf16 => bytes.extend(bf16::from_f32(odd_single(value.re)).to_le_bytes()),
            Element::F32 => bytes.extend((value.re as f32).to_le_bytes()),
            Element::F64 => bytes.extend(value.re.to_le_bytes()),
            Element::C32 => {
                bytes.extend((value.re as f32).to_le_bytes());
                bytes.extend((value.im as f32).to_le_bytes());
            }
            Element::C64 => {
                bytes.extend(value.re.to_le_bytes());
                bytes.extend(value.im.to_le_bytes());
            }
            Element::I8 => bytes.extend((value.re as i8).to_le_bytes()),
            Element::CI8 => bytes.extend([value.re as i8 as u8, value.im as i8 as u8]),
            Element::I32 => bytes.extend((value.re as i32).to_le_bytes()),
            Element::E4m3 => bytes.push(nearest_float8(value.re, |code| float8(code, 3, 7, false))),
            Element::E5m2 => bytes.push(nearest_float8(value.re, |code| float8(code, 2, 15, true))),
        }
    }

    /// The element that begins at byte `index · self.bytes()`.
    pub fn decode(self, bytes: &[u8], index: usize) -> Number {
        let start = index * self.bytes();
        let raw = &bytes[start..start + self.bytes()];
        let single =
            |at: usize| f64::from(f32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]));
        let double = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&raw[at..at + 8]);
            f64::from_le_bytes(eight)
        };
        match self {
            Element::F16 => Number::new(f16::from_le_bytes([raw[0], raw[1]]).to_f64(), 0.0),
            Element::Bf16 => Number::new(bf16::from_le_bytes([raw[0], raw[1]]).to_f64(), 0.0),
            Element::F32 => Number::new(single(0), 0.0),
            Element::F64 => Number::new(double(0), 0.0),
            Element::C32 => Number::new(single(0), single(4)),
            Element::C64 => Number::new(double(0), double(8)),
            Element::I8 => Number::new(f64::from(raw[0] as i8), 0.0),
            Element::CI8 => Number::new(f64::from(raw[0] as i8), f64::from(raw[1] as i8)),
            Element::E4m3 => Number::new(float8(raw[0], 3, 7, false), 0.0),
            Element::E5m2 => Number::new(float8(raw[0], 2, 15, true), 0.0),
            Element::I32 => Number::new(f64::from(i32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]])), 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_a_round_trip() {
        for (element, name, number) in Element::ALL {
            let value = Number::new(-3.0, if element.is_complex() { 5.0 } else { 0.0 });
            let mut bytes = Vec::new();
            element.encode(value, &mut bytes);
            assert_eq!(bytes.len(), element.bytes());
            assert_eq!(element.decode(&bytes, 0), value);
            assert_eq!(Element::from_name(name), Some(element));
            assert_eq!(Element::from_cuda(number), Some(element));
        }
    }
}
