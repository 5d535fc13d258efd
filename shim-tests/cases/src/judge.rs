//! How a result is compared with what the reference expects.
//!
//! |got − want| ≤ (k + 8)·u(accumulator)·magnitude + 2·u(output)·|want| + underflow(output), with u half the
//! distance between 1 and the next number. The first term bounds the accumulated rounding of any order of
//! summation, the second the rounding of the result. Integers are exact. NaN equals NaN, an infinity an
//! infinity of the same sign; a want beyond the output's range may come out as that infinity.

use gpucompat_reference::gemm::Expected;

use crate::element::{Element, Number};

/// What the errors are measured by.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// The output's type.
    pub output: Element,
    /// The type that sums are formed in.
    pub accumulator: Element,
    /// Terms in a sum.
    pub k: usize,
}

impl Tolerance {
    /// The largest error allowed.
    pub fn of(self, expected: Expected) -> f64 {
        let sums = (self.k + 8) as f64 * self.accumulator.rounding() * expected.magnitude;
        let components = if self.output.is_complex() { 4.0 } else { 1.0 };
        components * sums + 2.0 * self.output.rounding() * expected.value.norm() + self.output.underflow()
    }

    /// Whether `got` is right.
    pub fn accepts(self, got: Number, expected: Expected) -> bool {
        let allowed = self.of(expected);
        part(got.re, expected.value.re, allowed, self.output)
            && part(got.im, expected.value.im, allowed, self.output)
    }
}

fn part(got: f64, want: f64, allowed: f64, output: Element) -> bool {
    if got == want {
        return true;
    }
    if want.is_nan() || got.is_nan() {
        return want.is_nan() && got.is_nan();
    }
    if want.is_infinite() {
        return false;
    }
    if got.is_infinite() {
        return output == Element::F16 && want.abs() + allowed >= 65_504.0 && got.signum() == want.signum();
    }
    (got - want).abs() <= allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_only_right_where_nan_is_expected() {
        let tolerance = Tolerance { output: Element::F32, accumulator: Element::F32, k: 4 };
        let expected = |value: f64| Expected { value: Number::new(value, 0.0), magnitude: 1.0 };
        let got = |value: f64| Number::new(value, 0.0);
        assert!(tolerance.accepts(got(f64::NAN), expected(f64::NAN)));
        assert!(!tolerance.accepts(got(f64::NAN), expected(1.0)));
        assert!(!tolerance.accepts(got(1.0), expected(f64::NAN)));
        assert!(tolerance.accepts(got(1.0 + 1e-7), expected(1.0)));
        assert!(!tolerance.accepts(got(1.0 + 1e-4), expected(1.0)));
    }
}
