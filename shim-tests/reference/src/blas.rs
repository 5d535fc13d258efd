//! BLAS levels 1 and 2: where elements lie, and sums of products.

use num_complex::Complex;

use crate::gemm::{Expected, Number};

/// How a matrix lies in memory, column by column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Everything.
    Full {
        /// Leading dimension.
        ld: usize,
    },
    /// Diagonals of a general matrix.
    Band {
        /// Below the main one.
        kl: usize,
        /// Above the main one.
        ku: usize,
        /// Leading dimension.
        ld: usize,
    },
    /// A triangle.
    Triangle {
        /// Whether it is the upper one.
        upper: bool,
        /// Leading dimension.
        ld: usize,
    },
    /// A triangle without gaps.
    Packed {
        /// Whether it is the upper one.
        upper: bool,
        /// Rows and columns.
        n: usize,
    },
    /// Diagonals of a triangle.
    TriangularBand {
        /// Whether it is the upper one.
        upper: bool,
        /// Beside the main one.
        k: usize,
        /// Leading dimension.
        ld: usize,
    },
}

impl Form {
    /// The place of element (i, j), by the formulas of cuBLAS's pages counted from 0; `None` if it is not stored.
    pub fn place(self, i: usize, j: usize) -> Option<usize> {
        let in_triangle = |upper: bool| if upper { i <= j } else { i >= j };
        match self {
            Form::Full { ld } => Some(i + j * ld),
            Form::Band { kl, ku, ld } => (i <= j + kl && j <= i + ku).then(|| ku + i - j + j * ld),
            Form::Triangle { upper, ld } => in_triangle(upper).then_some(i + j * ld),
            Form::Packed { upper: true, .. } => in_triangle(true).then(|| i + j * (j + 1) / 2),
            Form::Packed { upper: false, n } => in_triangle(false).then(|| i + (2 * n - j - 1) * j / 2),
            Form::TriangularBand { upper: true, k, ld } => {
                (in_triangle(true) && j - i <= k).then(|| k + i - j + j * ld)
            }
            Form::TriangularBand { upper: false, k, ld } => {
                (in_triangle(false) && i - j <= k).then(|| i - j + j * ld)
            }
        }
    }
}

/// The place of element i of a vector of n elements: a negative increment counts from the far end.
pub fn vector_place(n: usize, increment: i64, i: usize) -> usize {
    let first = if increment < 0 { (1 - n as i64) * increment } else { 0 };
    (first + i as i64 * increment) as usize
}

/// The sum of products of three numbers each.
pub fn sum(products: impl IntoIterator<Item = [Number; 3]>) -> Expected {
    let mut expected = Expected { value: Complex::new(0.0, 0.0), magnitude: 0.0 };
    for [a, b, c] in products {
        expected.value += a * b * c;
        expected.magnitude += a.norm() * b.norm() * c.norm();
    }
    expected
}

/// `√Σ|x|²`.
pub fn norm(x: impl IntoIterator<Item = Number>) -> Expected {
    let value = x.into_iter().map(|x| x.norm_sqr()).sum::<f64>().sqrt();
    Expected { value: Complex::new(value, 0.0), magnitude: value }
}

/// `Σ |Re x| + |Im x|`.
pub fn magnitudes(x: impl IntoIterator<Item = Number>) -> Expected {
    let value = x.into_iter().map(|x| x.re.abs() + x.im.abs()).sum::<f64>();
    Expected { value: Complex::new(value, 0.0), magnitude: value }
}

/// The position, from 1, of the first element with the largest (or smallest) |Re x| + |Im x|; 0 if there is none.
pub fn extreme(x: impl IntoIterator<Item = Number>, largest: bool) -> usize {
    let mut best: Option<(f64, usize)> = None;
    for (index, x) in x.into_iter().enumerate() {
        let size = x.re.abs() + x.im.abs();
        if best.is_none_or(|(best, _)| if largest { size > best } else { size < best }) {
            best = Some((size, index + 1));
        }
    }
    best.map_or(0, |best| best.1)
}
