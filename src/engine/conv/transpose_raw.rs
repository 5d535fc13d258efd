//! Rows to columns of [`LANES`] elements, four by four.

#![allow(unsafe_code)]

use super::lanes::LANES;
use crate::tensor::Real;

/// Rows and columns of a square: it fits the smallest vector registers.
const SQUARE: usize = 4;

/// `columns[i·LANES + l] = data[rows[l] + i]`, for at most [`LANES`] rows as long as there are columns;
/// elements of the lanes beyond are left. `farthest` is no less than any of the rows.
pub fn transpose<R: Real>(data: &[R], rows: &[usize], farthest: usize, columns: &mut [R]) {
    let count = columns.len() / LANES;
    assert!(rows.len() <= LANES && farthest + count <= data.len(), "a row ends beyond its tensor");
    let squares = if count < SQUARE { 0 } else { rows.len() / SQUARE };
    for column in (0..count).step_by(SQUARE) {
        // The last square overlaps the one before.
        let first = column.min(count.saturating_sub(SQUARE));
        for (number, rows) in rows.chunks_exact(SQUARE).take(squares).enumerate() {
            assert!(rows.iter().all(|&row| row <= farthest));
            // SAFETY: `first + SQUARE ≤ count` where there are squares, so that each row has SQUARE elements
            // from there on by both assertions; `columns` has `count` columns of LANES elements, of which
            // those from `number · SQUARE` on are at least SQUARE.
            unsafe {
                let target = columns.as_mut_ptr().add(first * LANES + number * SQUARE);
                let row = |number: usize| data.as_ptr().add(rows[number] + first);
                square([row(0), row(1), row(2), row(3)], target, LANES);
            }
        }
    }
    for (lane, &row) in rows.iter().enumerate().skip(squares * SQUARE) {
        let targets = columns.iter_mut().skip(lane).step_by(LANES);
        targets.zip(&data[row..row + count]).for_each(|(target, &element)| *target = element);
    }
}

/// `rows[l·count + i] = columns[i·LANES + l]` for `count` columns and [`LANES`] rows.
pub fn transpose_back<R: Real>(columns: &[R], rows: &mut [R]) {
    let count = columns.len() / LANES;
    assert!(columns.len() == count * LANES && rows.len() == columns.len());
    if count < SQUARE {
        for (index, &element) in columns.iter().enumerate() {
            rows[index % LANES * count + index / LANES] = element;
        }
        return;
    }
    for column in (0..count).step_by(SQUARE) {
        // The last square overlaps the one before.
        let first = column.min(count - SQUARE);
        for lane in (0..LANES).step_by(SQUARE) {
            // SAFETY: `first + SQUARE ≤ count` and `lane + SQUARE ≤ LANES`: the square lies inside both.
            unsafe {
                let source = |number: usize| columns.as_ptr().add((first + number) * LANES + lane);
                let target = rows.as_mut_ptr().add(lane * count + first);
                square([source(0), source(1), source(2), source(3)], target, count);
            }
        }
    }
}

/// Four columns of four rows, `pitch` apart.
///
/// # Safety
/// Four elements from each pointer on are valid to read; of `target`, four at each of four columns to write.
#[inline]
unsafe fn square<R: Real>(rows: [*const R; SQUARE], target: *mut R, pitch: usize) {
    // SAFETY: the caller owes it; an array has its elements' alignment.
    let [a, b, c, d] = rows.map(|row| unsafe { row.cast::<[R; SQUARE]>().read() });
    for column in 0..SQUARE {
        let whole = [a[column], b[column], c[column], d[column]];
        // SAFETY: the caller owes it.
        unsafe { target.add(column * pitch).cast::<[R; SQUARE]>().write(whole) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rows_and_columns_is_transposed() {
        for lanes in 1..=LANES {
            for count in 0..11 {
                let data: Vec<f32> = (0..lanes * 100).map(|index| index as f32).collect();
                let rows: Vec<usize> = (0..lanes).map(|lane| lane * 100).collect();
                let mut columns = vec![-1.0; count * LANES];
                transpose(&data, &rows, (lanes - 1) * 100, &mut columns);
                for (index, &element) in columns.iter().enumerate() {
                    let (column, lane) = (index / LANES, index % LANES);
                    let want = if lane < lanes { (lane * 100 + column) as f32 } else { -1.0 };
                    assert_eq!(element, want, "{lanes} rows, {count} columns");
                }
            }
        }
    }

    #[test]
    fn transposing_back_undoes_it() {
        for count in 0..11 {
            let data: Vec<f64> = (0..LANES * count).map(|index| index as f64).collect();
            let rows: Vec<usize> = (0..LANES).map(|lane| lane * count).collect();
            let (mut columns, mut back) = (vec![-1.0; data.len()], vec![-1.0; data.len()]);
            transpose(&data, &rows, (LANES - 1) * count, &mut columns);
            transpose_back(&columns, &mut back);
            assert_eq!(back, data);
        }
    }
}
