//! Matrices in the forms that BLAS stores: full, banded, triangular, packed.
//!
//! In every form the stored elements of a column are neighbours in memory, which is all that the algorithms ask.

use std::ops::Range;

/// Which triangle of a square matrix is stored, its diagonal included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triangle {
    /// Row ≤ column.
    Upper,
    /// Row ≥ column.
    Lower,
}

/// What stands on the diagonal of a triangular matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagonal {
    /// The stored elements.
    Stored,
    /// Ones; the stored elements are not read.
    Unit,
}

/// Which product with a stored matrix is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transposition {
    /// A.
    None,
    /// Aᵀ.
    Transposed,
    /// Aᴴ.
    Adjoint,
}

/// What the other triangle holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symmetry {
    /// The same elements.
    Symmetric,
    /// Their conjugates; imaginary parts of the diagonal are taken for 0 and not read.
    Hermitian,
}

/// Where the elements lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// All of them: (i, j) at i + j·ld.
    Full {
        /// Elements from column to column.
        ld: usize,
    },
    /// `below` diagonals below the main one and `above` above it: (i, j) at above + i − j + j·ld.
    Band {
        /// Diagonals below.
        below: usize,
        /// Diagonals above.
        above: usize,
        /// Elements from column to column.
        ld: usize,
    },
    /// One triangle of a full matrix: (i, j) at i + j·ld.
    Triangular {
        /// Which.
        triangle: Triangle,
        /// Elements from column to column.
        ld: usize,
    },
    /// One triangle, its columns one after the other without gaps.
    Packed {
        /// Which.
        triangle: Triangle,
    },
    /// The main diagonal and `diagonals` others of one triangle: (i, j) at `diagonals` + i − j + j·ld of the upper one,
    /// at i − j + j·ld of the lower one.
    TriangularBand {
        /// Which.
        triangle: Triangle,
        /// Diagonals beside the main one.
        diagonals: usize,
        /// Elements from column to column.
        ld: usize,
    },
}

/// Sizes of a matrix and where its elements lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Form.
    pub storage: Storage,
}

/// The stored elements of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Their rows.
    pub rows: Range<usize>,
    /// Where the first of them lies.
    pub start: usize,
}

impl Column {
    /// Where they lie.
    pub fn places(&self) -> Range<usize> {
        self.start..self.start + self.rows.len()
    }
}

impl Stored {
    /// The stored elements of column `col`.
    pub fn column(&self, col: usize) -> Column {
        let n = self.rows;
        let (first, end, start) = match self.storage {
            Storage::Full { ld } => (0, n, col * ld),
            Storage::Band { below, above, ld } => {
                let first = col.saturating_sub(above).min(n);
                let end = col.saturating_add(below).saturating_add(1).min(n).max(first);
                (first, end, if first < end { above + first + col * ld - col } else { 0 })
            }
            Storage::Triangular { triangle: Triangle::Upper, ld } => (0, col + 1, col * ld),
            Storage::Triangular { triangle: Triangle::Lower, ld } => (col, n, col * ld + col),
            Storage::Packed { triangle: Triangle::Upper } => (0, col + 1, col * (col + 1) / 2),
            // Columns of n, n − 1, … elements stand before it.
            Storage::Packed { triangle: Triangle::Lower } => (col, n, col * (2 * n - col + 1) / 2),
            Storage::TriangularBand { triangle: Triangle::Upper, diagonals, ld } => {
                let first = col.saturating_sub(diagonals);
                (first, col + 1, diagonals + first + col * ld - col)
            }
            Storage::TriangularBand { triangle: Triangle::Lower, diagonals, ld } => {
                (col, col.saturating_add(diagonals).saturating_add(1).min(n), col * ld)
            }
        };
        Column { rows: first..end, start }
    }

    /// One past the last place that an element lies at.
    pub fn extent(&self) -> usize {
        (0..self.cols)
            .map(|col| self.column(col))
            .filter(|column| !column.rows.is_empty())
            .map(|column| column.places().end)
            .max()
            .unwrap_or(0)
    }

    /// Neighbouring places that hold one column of the form in memory, or, packed, all of them.
    pub fn height(&self) -> usize {
        match self.storage {
            Storage::Full { .. } | Storage::Triangular { .. } => self.rows,
            Storage::Band { below, above, .. } => below.saturating_add(above).saturating_add(1),
            Storage::TriangularBand { diagonals, .. } => diagonals.saturating_add(1),
            Storage::Packed { .. } => self.rows.saturating_mul(self.rows + 1) / 2,
        }
    }

    /// Elements from column to column in memory; `None` of a packed matrix.
    pub fn leading_dimension(&self) -> Option<usize> {
        match self.storage {
            Storage::Full { ld }
            | Storage::Band { ld, .. }
            | Storage::Triangular { ld, .. }
            | Storage::TriangularBand { ld, .. } => Some(ld),
            Storage::Packed { .. } => None,
        }
    }

    /// The same matrix with another distance between columns.
    #[must_use]
    pub fn with_leading_dimension(mut self, new: usize) -> Stored {
        match &mut self.storage {
            Storage::Full { ld }
            | Storage::Band { ld, .. }
            | Storage::Triangular { ld, .. }
            | Storage::TriangularBand { ld, .. } => *ld = new,
            Storage::Packed { .. } => {}
        }
        self
    }

    /// Which triangle is stored, if only one is.
    pub fn triangle(&self) -> Option<Triangle> {
        match self.storage {
            Storage::Triangular { triangle, .. }
            | Storage::Packed { triangle }
            | Storage::TriangularBand { triangle, .. } => Some(triangle),
            Storage::Full { .. } | Storage::Band { .. } => None,
        }
    }

    /// Asserts that all elements lie in a slice of `length`, and that a triangle is one of a square.
    pub(super) fn check(&self, length: usize) {
        assert!(self.triangle().is_none() || self.rows == self.cols, "a triangle is square: {self:?}");
        assert!(self.extent() <= length, "{self:?} reaches beyond {length} elements");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(rows: usize, cols: usize, storage: Storage) -> Vec<(usize, usize, usize)> {
        let stored = Stored { rows, cols, storage };
        let column = |col| {
            let column = stored.column(col);
            column.rows.clone().zip(column.places()).map(move |(row, place)| (row, col, place))
        };
        (0..cols).flat_map(column).collect()
    }

    #[test]
    fn packed_columns_follow_each_other() {
        for triangle in [Triangle::Upper, Triangle::Lower] {
            let places = places(5, 5, Storage::Packed { triangle });
            assert_eq!(
                places.iter().map(|element| element.2).collect::<Vec<_>>(),
                (0..15).collect::<Vec<_>>()
            );
            assert!(
                places
                    .iter()
                    .all(|&(row, col, _)| (row <= col) == (triangle == Triangle::Upper) || row == col)
            );
        }
    }

    #[test]
    fn bands_hold_each_diagonal_in_a_row_of_its_own() {
        for (row, col, place) in places(6, 9, Storage::Band { below: 2, above: 1, ld: 5 }) {
            assert!(row <= col + 2 && col <= row + 1);
            assert_eq!(place, (1 + row) - col + col * 5);
        }
        assert_eq!(places(6, 9, Storage::Band { below: 2, above: 1, ld: 5 }).len(), 6 + 6 + 5 + 4);
        let upper = Storage::TriangularBand { triangle: Triangle::Upper, diagonals: 2, ld: 3 };
        assert_eq!(places(2, 2, upper), [(0, 0, 2), (0, 1, 4), (1, 1, 5)]);
        let lower = Storage::TriangularBand { triangle: Triangle::Lower, diagonals: 1, ld: 3 };
        assert_eq!(places(2, 2, lower), [(0, 0, 0), (1, 0, 1), (1, 1, 3)]);
    }
}
