//! Rows to columns of [`LANES`] elements, four by four.

#![allow(unsafe_code)]

use super::lanes::LANES;
use crate::tensor::Real;

/// Rows and columns of a square: it fits the smallest vector registers.
const SQUARE: usize = 4;

/// `columns[i·LANES + l] = rows[l][i]`, for at most [`LANES`] rows as long as there are columns; elements of
/// the lanes beyond are left.
pub fn transpose<R: Real>(rows: &[&[R]], columns: &mut [R]) {
    let count = columns.len() / LANES;
    assert!(rows.len() <= LANES && rows.iter().all(|row| row.len() == count));
    let squares = if count < SQUARE { 0 } else { rows.len() / SQUARE };
    for (number, rows) in rows.chunks_exact(SQUARE).take(squares).enumerate() {
        let sources = [rows[0].as_ptr(), rows[1].as_ptr(), rows[2].as_ptr(), rows[3].as_ptr()];
        let mut column = 0;
        while column < count {
            // The last square overlaps the one before.
            let first = column.min(count - SQUARE);
            // SAFETY: `first + SQUARE ≤ count`, every row has `count` elements, and `columns` has `count`
            // columns of LANES elements, of which those from `number · SQUARE` on are at least SQUARE.
            unsafe {
                let target = columns.as_mut_ptr().add(first * LANES + number * SQUARE);
                square(sources.map(|row| row.add(first)), target);
            }
            column += SQUARE;
        }
    }
    for (lane, row) in rows.iter().enumerate().skip(squares * SQUARE) {
        let targets = columns.iter_mut().skip(lane).step_by(LANES);
        targets.zip(*row).for_each(|(target, &element)| *target = element);
    }
}

/// Four columns of four rows, [`LANES`] apart.
///
/// # Safety
/// Four elements from each pointer on are valid to read; of `target`, four at each of four columns to write.
#[inline]
unsafe fn square<R: Real>(rows: [*const R; SQUARE], target: *mut R) {
    // SAFETY: the caller owes it; an array has its elements' alignment.
    let [a, b, c, d] = rows.map(|row| unsafe { row.cast::<[R; SQUARE]>().read() });
    for column in 0..SQUARE {
        let whole = [a[column], b[column], c[column], d[column]];
        // SAFETY: the caller owes it.
        unsafe { target.add(column * LANES).cast::<[R; SQUARE]>().write(whole) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rows_and_columns_is_transposed() {
        for lanes in 1..=LANES {
            for count in 0..11 {
                let rows: Vec<Vec<f32>> =
                    (0..lanes).map(|lane| (0..count).map(|i| (lane * 100 + i) as f32).collect()).collect();
                let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
                let mut columns = vec![-1.0; count * LANES];
                transpose(&rows, &mut columns);
                for (index, &element) in columns.iter().enumerate() {
                    let (column, lane) = (index / LANES, index % LANES);
                    let want = if lane < lanes { (lane * 100 + column) as f32 } else { -1.0 };
                    assert_eq!(element, want, "{lanes} rows, {count} columns");
                }
            }
        }
    }
}
