//! The product of a step: few rows of states with a matrix that stays the same for all steps.
//!
//! The matrix is packed once into panels of [`WIDTH`] columns, so that each step reads it from end to end.
//! Every sum runs over the depth in order, whichever rows and columns are computed together.

#![allow(unsafe_code)]
// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]
// Rows, columns and registers of several arrays are walked side by side.
#![allow(clippy::needless_range_loop)]

use std::array::from_fn;

use parking_lot::Mutex;

use crate::gemm::block_raw::SharedOutput;
use crate::gemm::vector_raw::Vector;
use crate::tensor::Real;
use crate::threads;

/// Columns of a panel: two registers of 512 bits of the smallest type.
pub(super) const WIDTH: usize = 32;

/// A matrix `[depth, columns]` in panels: element (l, j) is `panel(j / WIDTH)[l·WIDTH + j % WIDTH]`, with
/// zeros beyond the last column.
pub(super) struct Panels<R> {
    data: Vec<R>,
    depth: usize,
}

impl<R: Real> Panels<R> {
    /// `count` panels of this depth, each filled from zeros by `fill(panel, elements)`.
    pub fn new(count: usize, depth: usize, fill: impl Fn(usize, &mut [R]) + Send + Sync) -> Panels<R> {
        let mut data = vec![R::ZERO; count * depth * WIDTH];
        if !data.is_empty() {
            let panels = data.chunks_exact_mut(depth * WIDTH).map(Mutex::new).collect::<Vec<_>>();
            threads::for_each(count, |panel| fill(panel, &mut panels[panel].lock()));
        }
        Panels { data, depth }
    }

    /// One panel, `depth·WIDTH` elements.
    pub fn panel(&self, index: usize) -> &[R] {
        &self.data[index * self.depth * WIDTH..(index + 1) * self.depth * WIDTH]
    }
}

/// Columns `first..first + count` of rows of a matrix `[rows, columns]`, transposed into a panel.
pub(super) fn fill_transposed<R: Real>(panel: &mut [R], rows: &[R], depth: usize) {
    if depth == 0 {
        return;
    }
    for (column, row) in rows.chunks_exact(depth).enumerate() {
        for (l, &element) in row.iter().enumerate() {
            panel[l * WIDTH + column] = element;
        }
    }
}

/// Up to [`WIDTH`] columns from `first` on of a matrix with this many columns, copied into a panel.
pub(super) fn fill_straight<R: Real>(panel: &mut [R], matrix: &[R], columns: usize, first: usize) {
    let count = WIDTH.min(columns - first);
    for (row, target) in matrix.chunks_exact(columns).zip(panel.chunks_exact_mut(WIDTH)) {
        target[..count].copy_from_slice(&row[first..first + count]);
    }
}

/// Rows of equal length, `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, R> {
    /// The elements, from the first row's first on.
    pub data: &'a [R],
    /// Elements from row to row.
    pub stride: usize,
    /// How many rows.
    pub count: usize,
}

/// `sums[r·WIDTH + j] += Σₗ rows[r][l]·panel[l·WIDTH + j]`.
///
/// # Safety
/// The machine has V's instruction set.
#[inline(always)]
pub(super) unsafe fn add_products<R: Real, V: Vector<R>>(rows: Rows<'_, R>, panel: &[R], sums: &mut [R]) {
    let mut first = 0;
    while first < rows.count {
        let left = rows.count - first;
        let data = &rows.data[first * rows.stride..];
        let sums = &mut sums[first * WIDTH..];
        // SAFETY: the caller owes V's instruction set.
        first += unsafe {
            match WIDTH / V::LANES {
                2 if left >= 8 => block::<R, V, 2, 8>(data, rows.stride, panel, sums),
                2 if left >= 4 => block::<R, V, 2, 4>(data, rows.stride, panel, sums),
                2 if left >= 2 => block::<R, V, 2, 2>(data, rows.stride, panel, sums),
                2 => block::<R, V, 2, 1>(data, rows.stride, panel, sums),
                4 if left >= 2 => block::<R, V, 4, 2>(data, rows.stride, panel, sums),
                4 => block::<R, V, 4, 1>(data, rows.stride, panel, sums),
                _ => block::<R, V, 8, 1>(data, rows.stride, panel, sums),
            }
        };
    }
}

/// T rows of sums, S registers each, kept over the whole depth; how many rows that was.
#[inline(always)]
unsafe fn block<R: Real, V: Vector<R>, const S: usize, const T: usize>(
    data: &[R],
    stride: usize,
    panel: &[R],
    sums: &mut [R],
) -> usize {
    let depth = panel.len() / WIDTH;
    assert!(S * V::LANES == WIDTH && sums.len() >= T * WIDTH);
    assert!(data.len() >= (T - 1) * stride + depth);
    let place = |t: usize, s: usize| t * WIDTH + s * V::LANES;
    // SAFETY: S registers are a row of WIDTH sums and there are T rows, by the assertion.
    let mut kept: [[V; S]; T] = from_fn(|t| from_fn(|s| unsafe { V::load(sums.as_ptr().add(place(t, s))) }));
    for l in 0..depth {
        // SAFETY: l < depth, and the panel has `depth` rows of WIDTH elements.
        let weights: [V; S] = from_fn(|s| unsafe { V::load(panel.as_ptr().add(l * WIDTH + s * V::LANES)) });
        for t in 0..T {
            // SAFETY: t·stride + l ≤ (T − 1)·stride + depth − 1, inside the data by the assertion.
            let factor = unsafe { V::splat(*data.get_unchecked(t * stride + l)) };
            for s in 0..S {
                // SAFETY: the caller owes V's instruction set.
                kept[t][s] = unsafe { kept[t][s].add_product(factor, weights[s]) };
            }
        }
    }
    for t in 0..T {
        for s in 0..S {
            // SAFETY: as where they were loaded.
            unsafe { kept[t][s].store(sums.as_mut_ptr().add(place(t, s))) };
        }
    }
    T
}

/// Rows that tasks write apart from each other, each its own columns.
pub(super) struct Columns<'a, R> {
    output: SharedOutput<'a, R>,
    stride: usize,
}

impl<'a, R: Real> Columns<'a, R> {
    /// Shares packed rows of this many elements.
    pub fn new(rows: &'a mut [R], stride: usize) -> Columns<'a, R> {
        Columns { output: SharedOutput::new(rows), stride }
    }

    /// `count` elements of a row from `column` on.
    ///
    /// # Safety
    /// While the slice lives, nobody else touches these elements.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn run(&self, row: usize, column: usize, count: usize) -> &mut [R] {
        assert!(count > 0 && column + count <= self.stride, "columns {column}+{count} of {}", self.stride);
        // SAFETY: the last element is asserted to be inside the output by `place`, so all are.
        unsafe {
            let last = self.output.place(row * self.stride + column + count - 1);
            std::slice::from_raw_parts_mut(last.sub(count - 1), count)
        }
    }
}

/// Runs `task(block, rows)` for blocks of [`WIDTH`] columns and chunks of rows; neighbouring blocks go to
/// one task until it has work enough to be worth a thread. `products` counts those of one row and block.
pub(super) fn each_block(
    columns: usize,
    rows: usize,
    products: usize,
    task: impl Fn(usize, std::ops::Range<usize>) + Send + Sync,
) {
    const CHUNK: usize = 64;
    const WORTH: usize = 1 << 18;
    let blocks = columns.div_ceil(WIDTH);
    let together = WORTH.div_ceil((products * rows.min(CHUNK)).max(1)).clamp(1, blocks.max(1));
    let tasks = blocks.div_ceil(together);
    threads::for_each(tasks * rows.div_ceil(CHUNK), |index| {
        let first = index / tasks * CHUNK;
        for block in index % tasks * together..(index % tasks * together + together).min(blocks) {
            task(block, first..(first + CHUNK).min(rows));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rnn::widest_raw::{Job, on_every_width};

    /// Compares the products of some rows with sums one by one.
    struct Comparison<R> {
        rows: usize,
        depth: usize,
        number: fn(usize) -> R,
    }

    impl<R: Real> Job<R> for Comparison<R> {
        #[inline(always)]
        unsafe fn run<V: Vector<R>>(self) {
            let Comparison { rows, depth, number } = self;
            let stride = depth + 3;
            let data = (0..rows * stride).map(number).collect::<Vec<_>>();
            let panel = (7..7 + depth * WIDTH).map(number).collect::<Vec<_>>();
            let mut sums = vec![R::ONE; rows * WIDTH];
            // SAFETY: the caller owes V's instruction set.
            unsafe { add_products::<R, V>(Rows { data: &data, stride, count: rows }, &panel, &mut sums) };
            for (index, &sum) in sums.iter().enumerate() {
                let (row, column) = (index / WIDTH, index % WIDTH);
                let product = |l: usize| data[row * stride + l] * panel[l * WIDTH + column];
                let expected = R::ONE + (0..depth).map(product).sum::<R>();
                assert_eq!(sum, expected, "row {row} of {rows}, column {column}, depth {depth}");
            }
        }
    }

    /// Small integers, so that every order of summation gives the same float.
    #[test]
    fn products_of_every_count_and_width_are_exact() {
        for rows in 0..20 {
            for depth in [0, 1, 2, 33] {
                let number = |index: usize| (index * 7 % 11) as f32 - 5.0;
                on_every_width(|| Comparison { rows, depth, number });
                let number = |index: usize| (index * 7 % 11) as f64 - 5.0;
                on_every_width(|| Comparison { rows, depth, number });
            }
        }
    }
}
