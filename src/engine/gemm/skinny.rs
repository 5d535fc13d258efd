//! Few rows or few columns: limited by how fast the larger operand can be read, so it is read once, as it
//! lies, and never packed.

use std::ops::Range;

use super::lanes_raw::{Rows, add_scaled, dots};
use super::panel::widen;
use super::tiles_raw::Tile;
use crate::dtype::{Accumulator, Input};
use crate::shape::{Conj, GemmShape, MatRef};

/// Depth that is widened at a time: 16 thin rows of f32 stay in the first-level cache.
const RUN: usize = 512;

/// Sums of products of a tile that spans the product's thin side, by rows.
pub fn sums<AB: Input<Acc>, Acc: Accumulator>(
    shape: GemmShape,
    a: &MatRef<'_, AB>,
    b: &MatRef<'_, AB>,
    tile: &Tile,
) -> Vec<Acc> {
    // As wide[r]·thin[t]: rows of A with columns of B, or the other way round.
    let thin_columns = shape.n <= shape.m;
    let (wide, thin, wide_rows, thin_rows) = if thin_columns {
        (*a, transposed(b), tile.rows.clone(), tile.cols.clone())
    } else {
        (transposed(b), *a, tile.cols.clone(), tile.rows.clone())
    };
    let by_depth = wide.col_stride == 1 || wide.row_stride != 1;
    let (height, width) = (wide_rows.len(), thin_rows.len());
    let mut sums = vec![Acc::zero(); height * width];
    if wide.col_stride == 1 && AB::dots_as_they_lie() {
        dots_in_place(shape.k, &wide, &thin, tile.batch, wide_rows, thin_rows, &mut sums);
        return if thin_columns { sums } else { transpose(&sums, width) };
    }
    let mut factors = vec![Acc::zero(); width * RUN.min(shape.k)];
    for start in (0..shape.k).step_by(RUN) {
        let depth = start..(start + RUN).min(shape.k);
        let factors = &mut factors[..width * depth.len()];
        for (row, target) in thin_rows.clone().zip(factors.chunks_exact_mut(depth.len())) {
            let first = index(&thin, [tile.batch, row, depth.start]);
            widen(&thin, first, thin.col_stride, target);
        }
        if by_depth {
            add_dots(&wide, tile.batch, wide_rows.clone(), depth, factors, &mut sums);
        } else {
            add_rows(&wide, tile.batch, wide_rows.clone(), depth, factors, &mut sums);
        }
    }
    // Dots come as [wide][thin], scaled rows as [thin][wide]; the tile wants its own rows first.
    if by_depth == thin_columns { sums } else { transpose(&sums, if by_depth { width } else { height }) }
}

/// The wide operand lies along the depth and its type has dot products of its own.
fn dots_in_place<T: Input<Acc>, Acc: Accumulator>(
    depth: usize,
    wide: &MatRef<'_, T>,
    thin: &MatRef<'_, T>,
    batch: usize,
    wide_rows: Range<usize>,
    thin_rows: Range<usize>,
    sums: &mut [Acc],
) {
    let count = thin_rows.len();
    let mut packed = Vec::with_capacity(count * RUN.min(depth));
    for start in (0..depth).step_by(RUN) {
        let length = RUN.min(depth - start);
        packed.clear();
        for row in thin_rows.clone() {
            let first = index(thin, [batch, row, start]);
            packed.extend((0..length).map(|l| thin.data[first + l * thin.col_stride]));
        }
        for (sums, upper) in sums.chunks_mut(2 * count).zip(wide_rows.clone().step_by(2)) {
            let row = |row: usize| &wide.data[index(wide, [batch, row, start])..][..length];
            if sums.len() == 2 * count {
                T::dots(&[row(upper), row(upper + 1)], &packed, sums);
            } else {
                T::dots(&[row(upper)], &packed, sums);
            }
        }
    }
}

/// The wide operand lies along the depth (or nowhere contiguous): dot products, two rows at a time.
fn add_dots<T: Input<Acc>, Acc: Accumulator>(
    wide: &MatRef<'_, T>,
    batch: usize,
    rows: Range<usize>,
    depth: Range<usize>,
    factors: &[Acc],
    sums: &mut [Acc],
) {
    let thin_rows = factors.len() / depth.len();
    let mut scratch = [vec![Acc::zero(); depth.len()], vec![Acc::zero(); depth.len()]];
    let [upper_scratch, lower_scratch] = &mut scratch;
    for (sums, upper) in sums.chunks_mut(2 * thin_rows).zip(rows.step_by(2)) {
        let first = index(wide, [batch, upper, depth.start]);
        let upper = run(wide, first, upper_scratch);
        if sums.len() == 2 * thin_rows {
            let lower = run(wide, first + wide.row_stride, lower_scratch);
            dots(&[upper, lower], factors, sums);
        } else {
            dots(&[upper], factors, sums);
        }
    }
}

/// The wide operand lies across the depth: its rows at each depth, scaled and added.
fn add_rows<T: Input<Acc>, Acc: Accumulator>(
    wide: &MatRef<'_, T>,
    batch: usize,
    rows: Range<usize>,
    depth: Range<usize>,
    factors: &[Acc],
    sums: &mut [Acc],
) {
    let first = index(wide, [batch, rows.start, depth.start]);
    let length = rows.len();
    match T::as_accumulators(wide.data) {
        Some(data) if wide.conjugate == Conj::No => {
            let rows = Rows { data: &data[first..], stride: wide.col_stride, length };
            add_scaled(rows, factors, depth.len(), sums);
        }
        _ => {
            let mut panel = vec![Acc::zero(); depth.len() * length];
            for (l, target) in panel.chunks_exact_mut(length).enumerate() {
                widen(wide, first + l * wide.col_stride, 1, target);
            }
            add_scaled(Rows { data: &panel, stride: length, length }, factors, depth.len(), sums);
        }
    }
}

/// As much of a row as `scratch` is long, from `first` on: as it lies if nothing need be changed, else a
/// copy in `scratch`.
fn run<'a, T: Input<Acc>, Acc: Accumulator>(
    operand: &MatRef<'a, T>,
    first: usize,
    scratch: &'a mut [Acc],
) -> &'a [Acc] {
    match T::as_accumulators(operand.data) {
        Some(data) if operand.col_stride == 1 && operand.conjugate == Conj::No => {
            &data[first..first + scratch.len()]
        }
        _ => {
            widen(operand, first, operand.col_stride, scratch);
            scratch
        }
    }
}

fn index<T>(operand: &MatRef<'_, T>, [batch, row, col]: [usize; 3]) -> usize {
    batch * operand.batch_stride + row * operand.row_stride + col * operand.col_stride
}

fn transposed<'a, T>(matrix: &MatRef<'a, T>) -> MatRef<'a, T> {
    MatRef { row_stride: matrix.col_stride, col_stride: matrix.row_stride, ..*matrix }
}

/// Rows of `width` elements become columns.
fn transpose<T: Copy>(data: &[T], width: usize) -> Vec<T> {
    (0..width).flat_map(|column| data.iter().skip(column).step_by(width).copied()).collect()
}
