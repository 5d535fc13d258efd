//! Matrices with a structure, element by element, from what is stored of them.

use crate::gemm::Number;

/// Which half is stored, the diagonal included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Row ≥ column.
    Lower,
    /// Row ≤ column.
    Upper,
}

impl Half {
    /// Whether element (i, j) is stored.
    pub fn holds(self, i: usize, j: usize) -> bool {
        match self {
            Half::Lower => i >= j,
            Half::Upper => i <= j,
        }
    }
}

/// What an operand is made of its stored half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// The other half mirrors it.
    Symmetric,
    /// The other half mirrors it conjugated; the diagonal is real.
    Hermitian,
    /// The other half is zero.
    Triangular,
    /// The same, with ones on the diagonal.
    UnitTriangular,
}

/// Element (i, j) of such a matrix; `stored` is asked for elements of `half` alone, and never for a diagonal of
/// ones.
pub fn element(
    structure: Structure,
    half: Half,
    stored: impl Fn(usize, usize) -> Number,
    i: usize,
    j: usize,
) -> Number {
    let real = |x: f64| Number::new(x, 0.0);
    match structure {
        Structure::UnitTriangular if i == j => real(1.0),
        Structure::Hermitian if i == j => real(stored(i, i).re),
        _ if half.holds(i, j) => stored(i, j),
        Structure::Symmetric => stored(j, i),
        Structure::Hermitian => stored(j, i).conj(),
        Structure::Triangular | Structure::UnitTriangular => real(0.0),
    }
}

/// Rows of the identity after the swaps that LAPACK's pivots say, one after another: row i of P·A is row
/// `permutation[i]` of A.
pub fn permutation(n: usize, pivots: &[i32]) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..n).collect();
    for (row, &pivot) in pivots.iter().enumerate() {
        rows.swap(row, pivot as usize - 1);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stored_half_is_asked_for() {
        let stored = |i: usize, j: usize| {
            assert!(i >= j);
            Number::new((i * 10 + j) as f64, 1.0)
        };
        let at = |structure, i, j| element(structure, Half::Lower, stored, i, j);
        assert_eq!(at(Structure::Symmetric, 1, 2), Number::new(21.0, 1.0));
        assert_eq!(at(Structure::Hermitian, 1, 2), Number::new(21.0, -1.0));
        assert_eq!(at(Structure::Hermitian, 2, 2), Number::new(22.0, 0.0));
        assert_eq!(at(Structure::Triangular, 1, 2), Number::new(0.0, 0.0));
        assert_eq!(at(Structure::UnitTriangular, 2, 2), Number::new(1.0, 0.0));
    }

    #[test]
    fn pivots_are_swaps_in_order() {
        assert_eq!(permutation(3, &[3, 3, 3]), [2, 0, 1]);
    }
}
