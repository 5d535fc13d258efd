//! Where cuBLASLt's memory orders put the elements of a matrix.
//!
//! The tiled orders cut a matrix into groups of 32 columns, `ld` elements apart, and a group into tiles from
//! top to bottom. With c = col mod 32, an element's place within its group is:
//!
//! | order          | tile, rows × columns | place                                                        |
//! |----------------|-------|-----------------------------------------------------------------------------|
//! | `COL32`        | 1×32  | row·32 + c                                                                  |
//! | `COL4_4R2_8C`  | 8×32  | ⌊row/8⌋·256 + (((row mod 2)·4 + ⌊c/8⌋)·8 + ⌊(c mod 8)/4⌋·4 + ⌊(row mod 8)/2⌋)·4 + c mod 4 |
//! | `COL32_2R_4R4` | 32×32 | ⌊row/32⌋·1024 + ((⌊(r mod 8)/2⌋·4 + ⌊r/8⌋)·2 + r mod 2)·32 + c, r = row mod 32 |
//!
//! The last is the formula of NVIDIA's page. For `COL4_4R2_8C` the page has words only ("interleaved inner
//! tiles of 4 columns within 4 even or odd rows"); the formula is what NVIDIA's FasterTransformer packs
//! weights by.
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublasltorder-t>.

use crate::dtype::Accumulator;
use crate::shape::{Conj, MatRef};
use crate::threads;

/// Columns of a group.
const GROUP: usize = 32;
/// Elements that one task gathers, about.
const CHUNK: usize = 1 << 14;

/// A `cublasLtOrder_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatrixOrder {
    /// Columns one after the other.
    Col,
    /// Rows one after the other.
    Row,
    /// Groups of 32 columns, row by row.
    Col32,
    /// Tiles of 8 rows and 32 columns, even rows before odd ones.
    Col4x4R2x8C,
    /// Tiles of 32 rows and 32 columns.
    Col32x2Rx4R4,
}

impl MatrixOrder {
    /// Whether it is one of the tiled orders.
    pub fn is_tiled(self) -> bool {
        !matches!(self, MatrixOrder::Col | MatrixOrder::Row)
    }

    /// Rows and columns as runs in memory: the length of a run and how many there are, `ld` apart. `None`
    /// beyond the address space.
    pub fn runs(self, rows: usize, cols: usize) -> Option<(usize, usize)> {
        let tiled = |height: usize| {
            let run = rows.checked_next_multiple_of(height)?.checked_mul(GROUP)?;
            Some((run, cols.div_ceil(GROUP)))
        };
        match self {
            MatrixOrder::Col => Some((rows, cols)),
            MatrixOrder::Row => Some((cols, rows)),
            MatrixOrder::Col32 => tiled(1),
            MatrixOrder::Col4x4R2x8C => tiled(8),
            MatrixOrder::Col32x2Rx4R4 => tiled(32),
        }
    }

    /// Where element (row, col) lies; `ld` elements from run to run.
    pub fn index(self, row: usize, col: usize, ld: usize) -> usize {
        let c = col % GROUP;
        let within = match self {
            MatrixOrder::Col => return col * ld + row,
            MatrixOrder::Row => return row * ld + col,
            MatrixOrder::Col32 => row * GROUP + c,
            MatrixOrder::Col4x4R2x8C => {
                row / 8 * 256 + (((row % 2) * 4 + c / 8) * 8 + c % 8 / 4 * 4 + row % 8 / 2) * 4 + c % 4
            }
            MatrixOrder::Col32x2Rx4R4 => {
                let r = row % 32;
                row / 32 * 1024 + ((r % 8 / 2 * 4 + r / 8) * 2 + r % 2) * GROUP + c
            }
        };
        col / GROUP * ld + within
    }
}

/// A batch of matrices in some order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderedLayout {
    /// The order of each.
    pub order: MatrixOrder,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from run to run.
    pub ld: usize,
    /// Matrices.
    pub batch: usize,
    /// Elements from matrix to matrix.
    pub batch_stride: usize,
}

impl OrderedLayout {
    fn index(&self, matrix: usize, row: usize, col: usize) -> usize {
        matrix * self.batch_stride + self.order.index(row, col, self.ld)
    }

    /// The elements, converted, packed column after column and matrix after matrix.
    pub fn gather<T: Copy + Sync, V: Copy + Default + Send>(
        &self,
        data: &[T],
        convert: impl Fn(T) -> V + Sync,
    ) -> Vec<V> {
        let mut packed = vec![V::default(); self.rows * self.cols * self.batch];
        if packed.is_empty() {
            return packed;
        }
        let columns = CHUNK.div_ceil(self.rows);
        threads::for_each_chunk(&mut packed, columns * self.rows, |start, chunk| {
            for (offset, column) in chunk.chunks_exact_mut(self.rows).enumerate() {
                let number = start / self.rows + offset;
                let (matrix, col) = (number / self.cols, number % self.cols);
                for (row, value) in column.iter_mut().enumerate() {
                    *value = convert(data[self.index(matrix, row, col)]);
                }
            }
        });
        packed
    }

    /// Puts packed elements, converted, to their places; what lies between them is left alone.
    ///
    /// # Panics
    /// If there are not as many as the layout has.
    pub fn scatter<V: Copy, T>(&self, packed: &[V], data: &mut [T], convert: impl Fn(V) -> T) {
        assert_eq!(packed.len(), self.rows * self.cols * self.batch, "as many values as places");
        if packed.is_empty() {
            return;
        }
        for (number, column) in packed.chunks_exact(self.rows).enumerate() {
            let (matrix, col) = (number / self.cols, number % self.cols);
            for (row, &value) in column.iter().enumerate() {
                data[self.index(matrix, row, col)] = convert(value);
            }
        }
    }
}

/// `sum ← sum + α·X` for a batch of matrices packed by columns.
pub fn add_scaled_matrix<V: Accumulator>(
    alpha: V,
    x: &MatRef<'_, V>,
    rows: usize,
    cols: usize,
    sum: &mut [V],
) {
    if sum.is_empty() {
        return;
    }
    let columns = CHUNK.div_ceil(rows);
    threads::for_each_chunk(sum, columns * rows, |start, chunk| {
        for (offset, column) in chunk.chunks_exact_mut(rows).enumerate() {
            let number = start / rows + offset;
            let first = number / cols * x.batch_stride + number % cols * x.col_stride;
            for (row, value) in column.iter_mut().enumerate() {
                let element = x.data[first + row * x.row_stride];
                let element = if x.conjugate == Conj::Yes { element.conj() } else { element };
                *value = value.add_product(alpha, element);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: [MatrixOrder; 5] = [
        MatrixOrder::Col,
        MatrixOrder::Row,
        MatrixOrder::Col32,
        MatrixOrder::Col4x4R2x8C,
        MatrixOrder::Col32x2Rx4R4,
    ];

    #[test]
    fn every_element_has_a_place_of_its_own_within_its_run() {
        for order in ORDERS {
            for (rows, cols) in [(1, 33), (2, 33), (64, 64), (37, 70), (9, 1)] {
                let (run, count) = order.runs(rows, cols).unwrap();
                let ld = run + 3;
                let mut seen = vec![false; ld * count];
                for row in 0..rows {
                    for col in 0..cols {
                        let place = order.index(row, col, ld);
                        assert!(place % ld < run, "{order:?} {rows}x{cols} ({row}, {col}) in the padding");
                        assert!(!std::mem::replace(&mut seen[place], true), "{order:?} ({row}, {col})");
                    }
                }
            }
        }
    }

    #[test]
    fn leading_dimensions_are_those_of_the_examples_on_nvidias_page() {
        assert_eq!(MatrixOrder::Col32.runs(2, 33), Some((64, 2)));
        assert_eq!(MatrixOrder::Col4x4R2x8C.runs(1, 33), Some((256, 2)));
        assert_eq!(MatrixOrder::Col32x2Rx4R4.runs(1, 33), Some((1024, 2)));
        assert_eq!(MatrixOrder::Col32.runs(usize::MAX, 33), None);
    }

    #[test]
    fn tiles_keep_their_inner_order() {
        let order = MatrixOrder::Col4x4R2x8C;
        // Four columns of the even rows, then the next four, then the odd rows half a tile later.
        let places = [(0, 0), (0, 3), (2, 0), (6, 0), (0, 4), (0, 8), (1, 0), (8, 0), (0, 32)];
        let found = places.map(|(row, col)| order.index(row, col, 5000));
        assert_eq!(found, [0, 3, 4, 12, 16, 32, 128, 256, 5000]);
        let order = MatrixOrder::Col32x2Rx4R4;
        let found = [(0, 0), (1, 0), (8, 0), (2, 0), (31, 31), (32, 0)].map(|(r, c)| order.index(r, c, 0));
        assert_eq!(found, [0, 32, 64, 256, 1023, 1024]);
    }

    #[test]
    fn what_was_scattered_is_gathered_again() {
        for order in ORDERS {
            let (rows, cols, batch) = (37, 45, 3);
            let (run, count) = order.runs(rows, cols).unwrap();
            let (ld, batch_stride) = (run + 2, (run + 2) * count + 5);
            let layout = OrderedLayout { order, rows, cols, ld, batch, batch_stride };
            let packed: Vec<i32> = (0..rows * cols * batch).map(|i| i as i32 + 1).collect();
            let mut data = vec![0i64; batch_stride * batch];
            layout.scatter(&packed, &mut data, i64::from);
            assert_eq!(data.iter().filter(|&&value| value != 0).count(), packed.len());
            assert_eq!(layout.gather(&data, |value| value as i32), packed);
        }
    }
}
