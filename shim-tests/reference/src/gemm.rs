//! `D ← act(α·A·B + β·C + bias)` as three nested loops.

use num_complex::Complex;

/// A number of any type that is multiplied anywhere, exactly.
pub type Number = Complex<f64>;

/// What the result may be compared with.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The result in double precision.
    pub value: Number,
    /// |α|·Σ|a|·|b| + |β|·|c| + |bias|: rounding errors are proportional to this, not to the result.
    pub magnitude: f64,
}

/// The activation of an epilogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// None.
    None,
    /// max(0, x).
    Relu,
    /// GELU, tanh approximation.
    Gelu,
}

/// Sizes and scalars of one product.
#[derive(Clone, Copy, Debug)]
pub struct Problem {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Depth.
    pub k: usize,
    /// α.
    pub alpha: Number,
    /// β.
    pub beta: Number,
    /// Last step.
    pub activation: Activation,
}

/// The expected result at (row, column), column by column. `a(i, l)`, `b(l, j)` and `c(i, j)` give the
/// elements of op(A), op(B) and C; with β = 0 `c` is never asked, with α = 0 neither `a` nor `b`.
pub fn gemm(
    problem: Problem,
    a: impl Fn(usize, usize) -> Number,
    b: impl Fn(usize, usize) -> Number,
    c: impl Fn(usize, usize) -> Number,
    bias: impl Fn(usize) -> f64,
) -> Vec<Expected> {
    let Problem { m, n, k, alpha, beta, activation } = problem;
    let zero = Number::new(0.0, 0.0);
    let mut expected = Vec::with_capacity(m * n);
    for j in 0..n {
        for i in 0..m {
            let (mut value, mut magnitude) = (zero, 0.0);
            if alpha != zero && k > 0 {
                for l in 0..k {
                    let (x, y) = (a(i, l), b(l, j));
                    value += multiply(x, y);
                    magnitude += x.norm() * y.norm();
                }
                value = multiply(alpha, value);
                magnitude *= alpha.norm();
            }
            if beta != zero {
                let old = c(i, j);
                value += multiply(beta, old);
                magnitude += beta.norm() * old.norm();
            }
            value.re += bias(i);
            magnitude += bias(i).abs();
            expected.push(Expected { value: activate(activation, value), magnitude });
        }
    }
    expected
}

/// A product in which real numbers stay real, NaN and infinities included.
fn multiply(x: Number, y: Number) -> Number {
    if x.im == 0.0 && y.im == 0.0 { Number::new(x.re * y.re, 0.0) } else { x * y }
}

fn activate(activation: Activation, x: Number) -> Number {
    let value = match activation {
        Activation::None => return x,
        Activation::Relu if x.re.is_nan() => x.re,
        Activation::Relu => x.re.max(0.0),
        Activation::Gelu => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x.re + 0.044_715 * x.re.powi(3));
            0.5 * x.re * (1.0 + inner.tanh())
        }
    };
    Number::new(value, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_two_by_two_product_by_hand() {
        let real = |x: f64| Number::new(x, 0.0);
        let problem =
            Problem { m: 2, n: 2, k: 2, alpha: real(2.0), beta: real(1.0), activation: Activation::None };
        let a = |i: usize, l: usize| real([[1.0, 2.0], [3.0, 4.0]][i][l]);
        let b = |l: usize, j: usize| real([[5.0, 6.0], [7.0, 8.0]][l][j]);
        let result = gemm(problem, a, b, |_, _| real(1.0), |_| 0.0);
        let values: Vec<f64> = result.iter().map(|expected| expected.value.re).collect();
        assert_eq!(values, [39.0, 87.0, 45.0, 101.0]);
        assert_eq!(result[0].magnitude, 39.0);
    }

    #[test]
    fn without_depth_alpha_does_not_count() {
        let real = |x: f64| Number::new(x, 0.0);
        let activation = Activation::None;
        let problem = Problem { m: 1, n: 1, k: 0, alpha: real(f64::NAN), beta: real(2.0), activation };
        let nothing = |_, _| panic!("there is nothing to ask for");
        let result = gemm(problem, nothing, nothing, |_, _| real(3.0), |_| 0.0);
        assert_eq!((result[0].value.re, result[0].magnitude), (6.0, 6.0));
    }
}
