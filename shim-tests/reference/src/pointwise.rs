//! Pointwise functions of one number, from their definitions.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

/// What a result may be compared with.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The result in double precision.
    pub value: f64,
    /// What rounding errors are proportional to: the largest of the terms that are added up.
    pub magnitude: f64,
}

impl Expected {
    /// A result without cancellation.
    pub fn exact(value: f64) -> Expected {
        Expected { value, magnitude: value.abs() }
    }

    /// A result whose errors are proportional to `magnitude`.
    pub fn with_magnitude(value: f64, magnitude: f64) -> Expected {
        Expected { value, magnitude: magnitude.abs().max(value.abs()) }
    }
}

/// erf x: near 0 the power series, beyond that 1 minus the continued fraction of erfc.
pub fn erf(x: f64) -> f64 {
    let t = x.abs();
    if x.is_nan() || t < 1.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return FRAC_2_SQRT_PI * sum;
    }
    // erfc t = e^(−t²)/√π · 1/(t + (1/2)/(t + (2/2)/(t + (3/2)/(t + …))))
    let mut denominator = t;
    for n in (1..400).rev() {
        denominator = t + f64::from(n) / 2.0 / denominator;
    }
    (1.0 - (-t * t).exp() / PI.sqrt() / denominator).copysign(x)
}

/// The standard normal distribution.
pub fn normal(x: f64) -> f64 {
    0.5 * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// lower + slope·(x − lower) below `lower`, at most `upper`.
pub fn relu(x: f64, lower: f64, upper: f64, slope: f64) -> Expected {
    if x.is_nan() {
        Expected::exact(x)
    } else if x < lower {
        let below = if slope == 0.0 { 0.0 } else { slope * (x - lower) };
        Expected::with_magnitude(lower + below, lower.abs() + below.abs())
    } else {
        Expected::exact(x.min(upper))
    }
}

/// dy times the derivative of [`relu`]; the bounds themselves count as outside.
pub fn relu_backward(dy: f64, x: f64, lower: f64, upper: f64, slope: f64) -> Expected {
    let passed = if x <= lower {
        if slope == 0.0 { 0.0 } else { slope * dy }
    } else if x >= upper && upper != f64::INFINITY {
        0.0
    } else {
        dy
    };
    Expected::exact(passed)
}

/// 1/(1 + e⁻ˣ).
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The derivative of [`sigmoid`], (e^(x/2) + e^(−x/2))⁻².
pub fn sigmoid_slope(x: f64) -> f64 {
    let sum = (x / 2.0).exp() + (-x / 2.0).exp();
    1.0 / sum / sum
}

/// The derivative of tanh, 1/cosh².
pub fn tanh_slope(x: f64) -> f64 {
    1.0 / x.cosh() / x.cosh()
}

/// x for x > 0, else α·(eˣ − 1).
pub fn elu(x: f64, alpha: f64) -> f64 {
    if x > 0.0 { x } else { alpha * x.exp_m1() }
}

/// The derivative of [`elu`].
pub fn elu_slope(x: f64, alpha: f64) -> f64 {
    if x > 0.0 { 1.0 } else { alpha * x.exp() }
}

/// x·Φ(x).
pub fn gelu(x: f64) -> Expected {
    Expected::with_magnitude(x * normal(x), x)
}

/// The derivative of [`gelu`].
pub fn gelu_slope(x: f64) -> Expected {
    let density = (-x * x / 2.0).exp() / (2.0 * PI).sqrt();
    // The exponent's rounding error counts as often as it is large.
    Expected::with_magnitude(normal(x) + x * density, 1.0 + (x * density).abs() * (1.0 + x * x))
}

/// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
pub fn gelu_tanh(x: f64) -> Expected {
    Expected::with_magnitude(0.5 * x * (1.0 + gelu_inner(x).tanh()), x)
}

fn gelu_inner(x: f64) -> f64 {
    (2.0 / PI).sqrt() * (x + 0.044_715 * x.powi(3))
}

/// The derivative of [`gelu_tanh`].
pub fn gelu_tanh_slope(x: f64) -> Expected {
    let inner_slope = (2.0 / PI).sqrt() * (1.0 + 3.0 * 0.044_715 * x * x);
    let value = 0.5 * (1.0 + gelu_inner(x).tanh()) + 0.5 * x * tanh_slope(gelu_inner(x)) * inner_slope;
    // 1 − tanh² cancels where it is small.
    Expected::with_magnitude(value, 1.0 + (x * inner_slope).abs())
}

/// ln(1 + e^(βx))/β.
pub fn softplus(x: f64, beta: f64) -> f64 {
    let z = beta * x;
    if z > 40.0 { x } else { z.exp().ln_1p() / beta }
}

/// x/(1 + e^(−βx)).
pub fn swish(x: f64, beta: f64) -> f64 {
    x * sigmoid(beta * x)
}

/// The derivative of [`swish`].
pub fn swish_slope(x: f64, beta: f64) -> Expected {
    let z = beta * x;
    Expected::with_magnitude(sigmoid(z) + z * sigmoid_slope(z), sigmoid(z) + (z * sigmoid_slope(z)).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_erf_agree_with_published_values() {
        // Abramowitz and Stegun, table 7.1.
        for (x, want) in [(0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9), (1.8, 0.989_090_501_6)] {
            assert!((erf(x) - want).abs() < 1e-10 && erf(-x) == -erf(x), "erf {x} = {}", erf(x));
        }
    }

    #[test]
    fn derivatives_are_differences() {
        let step = 1e-6;
        let difference = |f: &dyn Fn(f64) -> f64, x: f64| (f(x + step) - f(x - step)) / (2.0 * step);
        for x in [-3.0, -0.7, 0.2, 1.9] {
            for (f, slope) in [
                (&sigmoid as &dyn Fn(f64) -> f64, sigmoid_slope(x)),
                (&f64::tanh, tanh_slope(x)),
                (&|x| elu(x, 1.5), elu_slope(x, 1.5)),
                (&|x| gelu(x).value, gelu_slope(x).value),
                (&|x| gelu_tanh(x).value, gelu_tanh_slope(x).value),
                (&|x| softplus(x, 2.0), sigmoid(2.0 * x)),
                (&|x| swish(x, 2.0), swish_slope(x, 2.0).value),
            ] {
                assert!((difference(f, x) - slope).abs() < 1e-8, "at {x}");
            }
        }
    }
}
