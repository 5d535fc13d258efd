//! What cuBLASLt makes of finished products: scales, C, bias, activations and their gradients, one after the
//! other.
//!
//! ```text
//! t = α[i]·s[j]·Σ + β[i]·C[i, j] + bias[i]          kept for a later gradient, if asked
//! D = t, max(0, t), gelu(t), t·mask[i, j], or t·gelu′(x[i, j])
//! ```
//!
//! A factor of 0 leaves its term out. Matrices are packed by columns. Unlike
//! [`gemm_with_epilogue`](crate::gemm_with_epilogue) this is a second pass over the output.
//! Source: `cublasLtEpilogue_t`, <https://docs.nvidia.com/cuda/cublas/#cublasltepilogue-t>.

use crate::shape::MatRef;
use crate::tensor::Real;
use crate::threads;

/// Elements that one task finishes, about.
const CHUNK: usize = 1 << 13;

/// A number for each row of each matrix.
#[derive(Clone, Copy, Debug)]
pub struct PerRow<'a, R> {
    /// The numbers.
    pub values: &'a [R],
    /// From row to row; 0: one for all.
    pub row_stride: usize,
    /// From matrix to matrix.
    pub batch_stride: usize,
}

impl<R: Copy> PerRow<'_, R> {
    fn at(&self, matrix: usize, row: usize) -> R {
        self.values[matrix * self.batch_stride + row * self.row_stride]
    }
}

/// The last step.
#[derive(Clone, Copy, Debug)]
pub enum FusedStep<'a, R> {
    /// None.
    None,
    /// max(0, t), NaN kept.
    Relu,
    /// GELU by the tanh approximation.
    Gelu,
    /// t where the mask is not 0, else 0.
    ReluGradient(&'a [u8]),
    /// t·gelu′(x).
    GeluGradient(&'a [R]),
}

/// All steps.
#[derive(Clone, Copy, Debug)]
pub struct Fused<'a, R> {
    /// Rows, columns, matrices.
    pub shape: [usize; 3],
    /// α.
    pub alpha: PerRow<'a, R>,
    /// s, one number a column; `None`: 1.
    pub column_scale: Option<&'a [R]>,
    /// β.
    pub beta: PerRow<'a, R>,
    /// C; `None` if every β is 0.
    pub c: Option<MatRef<'a, R>>,
    /// The bias.
    pub bias: Option<PerRow<'a, R>>,
    /// The last step.
    pub step: FusedStep<'a, R>,
}

impl<R: Real> Fused<'_, R> {
    /// Takes `values` from Σ to t.
    pub fn combine(&self, values: &mut [R]) {
        self.for_each(values, |[matrix, row, col], _, sum| {
            let factor = self.alpha.at(matrix, row);
            let scaled = self.column_scale.map_or(sum, |scale| sum * scale[col]);
            let mut value = if factor == R::ZERO { R::ZERO } else { factor * scaled };
            let factor = self.beta.at(matrix, row);
            if let (Some(c), true) = (&self.c, factor != R::ZERO) {
                let place = matrix * c.batch_stride + row * c.row_stride + col * c.col_stride;
                value = value + factor * c.data[place];
            }
            self.bias.map_or(value, |bias| value + bias.at(matrix, row))
        });
    }

    /// Takes `values` from t to D.
    pub fn finish(&self, values: &mut [R]) {
        match self.step {
            FusedStep::None => {}
            FusedStep::Relu => self.for_each(values, |_, _, value| value.relu()),
            FusedStep::Gelu => self.for_each(values, |_, _, value| value.gelu()),
            FusedStep::ReluGradient(mask) => {
                self.for_each(values, |_, place, value| if mask[place] == 0 { R::ZERO } else { value });
            }
            FusedStep::GeluGradient(x) => {
                self.for_each(values, |_, place, value| value * gelu_slope(x[place]));
            }
        }
    }

    fn for_each(&self, values: &mut [R], step: impl Fn([usize; 3], usize, R) -> R + Send + Sync) {
        let [rows, cols, _] = self.shape;
        if values.is_empty() {
            return;
        }
        let columns = CHUNK.div_ceil(rows);
        threads::for_each_chunk(values, columns * rows, |start, chunk| {
            for (offset, column) in chunk.chunks_exact_mut(rows).enumerate() {
                let number = start / rows + offset;
                for (row, value) in column.iter_mut().enumerate() {
                    *value = step([number / cols, row, number % cols], number * rows + row, *value);
                }
            }
        });
    }
}

/// d gelu(x)/dx of the tanh approximation.
fn gelu_slope<R: Real>(x: R) -> R {
    let of = R::of;
    let factor = of(std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
    let cubic = of(0.044_715);
    let tanh = (factor * (x + cubic * x * x * x)).tanh();
    let flat = R::ONE - tanh * tanh;
    // Far out the tangent is flat, whatever the infinity that multiplies it.
    let bend = if flat == R::ZERO { R::ZERO } else { x * flat * factor * (R::ONE + of(3.0) * cubic * x * x) };
    of(0.5) * (R::ONE + tanh + bend)
}

/// Which values ReLU lets through, a byte each: those above 0, and NaN.
pub fn relu_mask<R: Real>(values: &[R]) -> Vec<u8> {
    values.iter().map(|&value| u8::from(value.is_nan() || value > R::ZERO)).collect()
}

/// The largest absolute value; NaN if there is one, 0 of nothing.
pub fn largest_magnitude<R: Real>(values: &[R]) -> R {
    values.iter().fold(
        R::ZERO,
        |largest, &value| {
            if value.abs() > largest || value.is_nan() { value.abs() } else { largest }
        },
    )
}

/// The sum of each row of each matrix, over `cols` columns.
pub fn row_sums<R: Real>(matrix: &MatRef<'_, R>, [rows, cols, batch]: [usize; 3]) -> Vec<R> {
    let mut sums = vec![R::ZERO; rows * batch];
    if rows == 0 {
        return sums;
    }
    for (number, sums) in sums.chunks_exact_mut(rows).enumerate() {
        for col in 0..cols {
            let first = number * matrix.batch_stride + col * matrix.col_stride;
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = *sum + matrix.data[first + row * matrix.row_stride];
            }
        }
    }
    sums
}

/// Multiplies each element (row, col) of one packed matrix by a factor of its place.
pub fn scale_by_place<R: Real>(matrix: &mut [R], rows: usize, factor: impl Fn(usize, usize) -> R) {
    if rows > 0 {
        for (col, column) in matrix.chunks_exact_mut(rows).enumerate() {
            for (row, value) in column.iter_mut().enumerate() {
                *value = *value * factor(row, col);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Accumulator;

    #[test]
    fn the_slope_of_gelu_is_its_difference_quotient() {
        for step in -80..=80 {
            let (x, h) = (f64::from(step) / 10.0, 1e-5);
            let want = ((x + h).gelu() - (x - h).gelu()) / (2.0 * h);
            assert!((gelu_slope(x) - want).abs() < 1e-8, "at {x}: {} and {want}", gelu_slope(x));
        }
        assert_eq!([gelu_slope(f32::INFINITY), gelu_slope(f32::NEG_INFINITY)], [1.0, 0.0]);
        assert!(gelu_slope(f32::NAN).is_nan());
    }

    #[test]
    fn factors_of_zero_leave_their_terms_out() {
        let (nan, two) = (f64::NAN, [2.0, 0.0]);
        let per_row = |values| PerRow { values, row_stride: 1, batch_stride: 0 };
        let c = [nan, 5.0];
        let c = MatRef {
            data: &c[..],
            row_stride: 1,
            col_stride: 2,
            batch_stride: 2,
            conjugate: crate::shape::Conj::No,
        };
        let fused = Fused {
            shape: [2, 1, 1],
            alpha: per_row(&two),
            column_scale: Some(&[3.0]),
            beta: per_row(&[0.0, 1.0]),
            c: Some(c),
            bias: Some(per_row(&[0.5, 0.25])),
            step: FusedStep::Relu,
        };
        let mut values = [1.0, nan];
        fused.combine(&mut values);
        assert_eq!(values, [6.5, 5.25]);
    }

    #[test]
    fn masks_and_magnitudes_keep_nan() {
        assert_eq!(relu_mask(&[1.0, 0.0, -1.0, f32::NAN, -0.0]), [1, 0, 0, 1, 0]);
        assert_eq!(largest_magnitude(&[1.0, -3.0, 2.0f32]), 3.0);
        assert!(largest_magnitude(&[1.0, f32::NAN, 2.0]).is_nan());
        assert_eq!(largest_magnitude::<f32>(&[]), 0.0);
    }
}
