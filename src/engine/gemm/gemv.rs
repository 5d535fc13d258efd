//! One row or one column: a matrix times a vector, limited by how fast the matrix can be read.

use std::ops::Range;

use super::finish::Finish;
use super::tiles_raw::each_output;
use crate::dtype::{Accumulator, Input, Output};
use crate::shape::{Conj, GemmShape, MatMut, MatRef};

/// Partial sums of a dot product, so that the compiler can use vector registers; a fixed order of additions.
const LANES: usize = 16;
/// Elements of a vector that are widened at a time.
const RUN: usize = 1024;

/// `D ← act(α·A·B + β·C + bias)` for m = 1 or n = 1.
pub fn gemv<AB: Input<Acc>, Out: Output<Acc>, Acc: Accumulator>(
    shape: GemmShape,
    a: MatRef<'_, AB>,
    b: MatRef<'_, AB>,
    finish: &Finish<'_, Acc, Out>,
    d: MatMut<'_, Out>,
) {
    // As matrix[i]·vector: rows of A with B's column, or columns of B with A's row.
    let column = shape.n == 1;
    let (matrix, vector, length) =
        if column { (a, b, shape.m) } else { (transposed(b), transposed(a), shape.n) };
    let at = |index: usize| {
        let (batch, position) = (index / length, index % length);
        if column { [batch, position, 0] } else { [batch, 0, position] }
    };
    each_output(length * shape.batch, finish, d, at, |range, sums| {
        products(shape.k, length, &matrix, &vector, range, sums);
    });
}

fn transposed<T>(matrix: MatRef<'_, T>) -> MatRef<'_, T> {
    MatRef { row_stride: matrix.col_stride, col_stride: matrix.row_stride, ..matrix }
}

/// Dot products `range` (of `length` a batch) of the matrix's rows with the batch's vector.
fn products<T: Input<Acc>, Acc: Accumulator>(
    k: usize,
    length: usize,
    matrix: &MatRef<'_, T>,
    vector: &MatRef<'_, T>,
    range: Range<usize>,
    sums: &mut [Acc],
) {
    let mut row = vec![Acc::zero(); RUN.min(k)];
    let mut factors = row.clone();
    sums.fill(Acc::zero());
    for start in (0..k).step_by(RUN) {
        let depth = start..(start + RUN).min(k);
        let mut of_batch = None;
        for (sum, index) in sums.iter_mut().zip(range.clone()) {
            let (batch, position) = (index / length, index % length);
            if of_batch != Some(batch) {
                let first = batch * vector.batch_stride + depth.start * vector.row_stride;
                widen(vector, first, vector.row_stride, &mut factors[..depth.len()]);
                of_batch = Some(batch);
            }
            let first =
                batch * matrix.batch_stride + position * matrix.row_stride + depth.start * matrix.col_stride;
            widen(matrix, first, matrix.col_stride, &mut row[..depth.len()]);
            *sum = dot(*sum, &row[..depth.len()], &factors[..depth.len()]);
        }
    }
}

/// Widens (and conjugates, if asked) `target.len()` elements from `first` on, `stride` apart.
fn widen<T: Input<Acc>, Acc: Accumulator>(
    operand: &MatRef<'_, T>,
    first: usize,
    stride: usize,
    target: &mut [Acc],
) {
    if stride == 1 {
        T::widen_run(&operand.data[first..first + target.len()], target);
    } else {
        for (index, target) in target.iter_mut().enumerate() {
            *target = operand.data[first + index * stride].widen();
        }
    }
    if operand.conjugate == Conj::Yes {
        for element in target {
            *element = element.conj();
        }
    }
}

/// `sum + Σ x·y`.
fn dot<Acc: Accumulator>(sum: Acc, x: &[Acc], y: &[Acc]) -> Acc {
    let one = Acc::from_f64(1.0);
    let mut lanes = [Acc::zero(); LANES];
    let (x_runs, y_runs) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest = x_runs.remainder().iter().zip(y_runs.remainder());
    let total = rest.fold(sum, |total, (&x, &y)| total.add_product(x, y));
    for (x, y) in x_runs.zip(y_runs) {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane].add_product(x[lane], y[lane]);
        }
    }
    lanes.into_iter().fold(total, |total, lane| total.add_product(lane, one))
}
