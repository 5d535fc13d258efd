//! Softmax of one group of numbers, from its definition.

use crate::pointwise::Expected;

/// e^(x−m)/Σ e^(x−m), m the greatest. Rounding errors grow with the exponent.
pub fn softmax(x: &[f64]) -> Vec<Expected> {
    let (greatest, sum) = greatest_and_sum(x);
    let one = |&x: &f64| {
        let value = (x - greatest).exp() / sum;
        Expected::with_magnitude(value, value * (1.0 + (x - greatest).abs()))
    };
    x.iter().map(one).collect()
}

/// The logarithm of [`softmax`].
pub fn log_softmax(x: &[f64]) -> Vec<Expected> {
    let (greatest, sum) = greatest_and_sum(x);
    let one =
        |&x: &f64| Expected::with_magnitude(x - greatest - sum.ln(), (x - greatest).abs() + sum.ln() + 1.0);
    x.iter().map(one).collect()
}

/// The greatest m of a group (NaN if one is) and Σ e^(x−m).
fn greatest_and_sum(x: &[f64]) -> (f64, f64) {
    let nan = x.iter().find(|x| x.is_nan());
    let greatest = nan.copied().unwrap_or(x.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    (greatest, x.iter().map(|x| (x - greatest).exp()).sum())
}

/// Σⱼ dyⱼ·∂yⱼ/∂xᵢ with ∂yⱼ/∂xᵢ = yⱼ·((i = j) − yᵢ).
pub fn softmax_backward(y: &[f64], dy: &[f64]) -> Vec<Expected> {
    let same = |i: usize, j: usize| f64::from(u8::from(i == j));
    jacobian_product(dy, |i, j| y[j] * (same(i, j) - y[i]), |i, j| y[j] * (same(i, j) + y[i]))
}

/// Σⱼ dyⱼ·∂yⱼ/∂xᵢ with ∂yⱼ/∂xᵢ = (i = j) − e^(yᵢ).
pub fn log_softmax_backward(y: &[f64], dy: &[f64]) -> Vec<Expected> {
    let same = |i: usize, j: usize| f64::from(u8::from(i == j));
    let size = |i: usize, j: usize| same(i, j) + y[i].exp() * (1.0 + y[i].abs());
    jacobian_product(dy, |i, j| same(i, j) - y[i].exp(), size)
}

fn jacobian_product(
    dy: &[f64],
    slope: impl Fn(usize, usize) -> f64,
    size: impl Fn(usize, usize) -> f64,
) -> Vec<Expected> {
    let one = |i: usize| Expected {
        value: (0..dy.len()).map(|j| dy[j] * slope(i, j)).sum(),
        magnitude: (0..dy.len()).map(|j| dy[j].abs() * size(i, j)).sum(),
    };
    (0..dy.len()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Forward = fn(&[f64]) -> Vec<Expected>;
    type Backward = fn(&[f64], &[f64]) -> Vec<Expected>;

    #[test]
    fn two_numbers_by_hand() {
        let y = softmax(&[0.0, 3f64.ln()]);
        assert!((y[0].value - 0.25).abs() < 1e-15 && (y[1].value - 0.75).abs() < 1e-15);
        let log = log_softmax(&[0.0, 3f64.ln()]);
        assert!((log[0].value - 0.25f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn gradients_are_differences() {
        let (x, dy, step) = ([0.3, -0.8, 1.1], [1.0, -2.0, 0.5], 1e-6);
        let values = |expected: Vec<Expected>| -> Vec<f64> { expected.iter().map(|e| e.value).collect() };
        let loss = |f: fn(&[f64]) -> Vec<Expected>, x: &[f64]| -> f64 {
            f(x).iter().zip(dy).map(|(y, dy)| y.value * dy).sum()
        };
        let forms: [(Forward, Backward); 2] =
            [(softmax, softmax_backward), (log_softmax, log_softmax_backward)];
        for (forward, backward) in forms {
            let dx = values(backward(&values(forward(&x)), &dy));
            for i in 0..3 {
                let (mut up, mut down) = (x, x);
                up[i] += step;
                down[i] -= step;
                let difference = (loss(forward, &up) - loss(forward, &down)) / (2.0 * step);
                assert!((difference - dx[i]).abs() < 1e-8, "{difference} {}", dx[i]);
            }
        }
    }
}
