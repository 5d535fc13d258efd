//! Products with a triangular matrix and solutions with one: BLAS's TRMM and TRSM.
//!
//! A triangle is cut into blocks of [`BLOCK`] rows. What lies beside the diagonal goes through general products;
//! a block on the diagonal is copied to dense columns, and works on a copy of its rows of B, one column after
//! another, columns shared among the threads.

use super::field::Field;
use super::view::{
    Diagonal, Side, Triangle, Triangular, add_scaled, columns, dense, from, from_mut, read, scale, shape,
    transposed,
};
use crate::gemm::gemm;
use crate::shape::{Conj, MatMut, MatRef};
use crate::threads;

/// Order of the blocks on the diagonal.
const BLOCK: usize = 64;

/// Columns of B that one task takes.
const TASK_COLUMNS: usize = 16;

/// Solves `A·X = α·B` or, with A on the right, `X·A = α·B` for X, which takes B's place; B is m×n. α = 0 gives
/// X = 0 and reads neither operand. A singular A divides by zero, as BLAS does.
///
/// # Panics
/// If an operand does not fit its slice.
pub fn triangular_solve<T: Field>(
    side: Side,
    m: usize,
    n: usize,
    alpha: T,
    a: Triangular<'_, T>,
    mut b: MatMut<'_, T>,
) {
    if side == Side::Right {
        // X·A = B is Aᵀ·Xᵀ = Bᵀ.
        let b = MatMut { row_stride: b.col_stride, col_stride: b.row_stride, ..b };
        return triangular_solve(Side::Left, n, m, alpha, a.transposed(), b);
    }
    scale(&mut b, m, n, alpha);
    if alpha == T::zero() || m == 0 || n == 0 {
        return;
    }
    for first in block_starts(m, a.triangle) {
        let size = BLOCK.min(m - first);
        let block = dense(&a, first, size);
        let mut solution = gather(read(&b), first, size, n);
        threads::for_each_chunk(&mut solution, size * TASK_COLUMNS, |_, task| {
            task.chunks_exact_mut(size).for_each(|column| solve_column(&block, &a, column));
        });
        scatter(&solution, &mut b, first, size);
        // What is known now leaves the other equations.
        let (rest, rows) = match a.triangle {
            Triangle::Lower => (first + size, m - first - size),
            Triangle::Upper => (0, first),
        };
        if rows > 0 {
            gemm(
                shape(rows, n, size),
                -T::one(),
                from(a.matrix, rest, first),
                columns(&solution, size),
                T::one(),
                from_mut(&mut b, rest, 0),
            );
        }
    }
}

/// `C ← α·A·B` or, with A on the right, `C ← α·B·A`; B and C are m×n. α = 0 gives C = 0 and reads neither operand.
///
/// # Panics
/// If an operand does not fit its slice.
pub fn triangular_product<T: Field>(
    side: Side,
    m: usize,
    n: usize,
    alpha: T,
    a: Triangular<'_, T>,
    b: MatRef<'_, T>,
    mut c: MatMut<'_, T>,
) {
    if side == Side::Right {
        // C = B·A is Cᵀ = Aᵀ·Bᵀ.
        let c = MatMut { row_stride: c.col_stride, col_stride: c.row_stride, ..c };
        return triangular_product(Side::Left, n, m, alpha, a.transposed(), transposed(b), c);
    }
    if alpha == T::zero() || m == 0 || n == 0 {
        return scale(&mut c, m, n, T::zero());
    }
    for first in block_starts(m, a.triangle) {
        let size = BLOCK.min(m - first);
        let block = dense(&a, first, size);
        let mut product = gather(b, first, size, n);
        threads::for_each_chunk(&mut product, size * TASK_COLUMNS, |_, task| {
            task.chunks_exact_mut(size).for_each(|column| multiply_column(&block, &a, alpha, column));
        });
        scatter(&product, &mut c, first, size);
        let (beside, depth) = match a.triangle {
            Triangle::Lower => (0, first),
            Triangle::Upper => (first + size, m - first - size),
        };
        if depth > 0 {
            gemm(
                shape(size, n, depth),
                alpha,
                from(a.matrix, first, beside),
                from(b, beside, 0),
                T::one(),
                from_mut(&mut c, first, 0),
            );
        }
    }
}

/// The first rows of the blocks, in the order in which they can be solved.
fn block_starts(m: usize, triangle: Triangle) -> Vec<usize> {
    let mut starts: Vec<usize> = (0..m).step_by(BLOCK).collect();
    if triangle == Triangle::Upper {
        starts.reverse();
    }
    starts
}

/// One column of the solution, in place of the right-hand side.
fn solve_column<T: Field>(block: &[T], a: &Triangular<'_, T>, column: &mut [T]) {
    let size = column.len();
    let mut eliminate = |pivot: usize| {
        let entries = &block[pivot * size..(pivot + 1) * size];
        if a.diagonal == Diagonal::Stored {
            column[pivot] = column[pivot].divided_by(entries[pivot]);
        }
        let known = -column[pivot];
        match a.triangle {
            Triangle::Lower => add_scaled(&mut column[pivot + 1..], known, &entries[pivot + 1..]),
            Triangle::Upper => add_scaled(&mut column[..pivot], known, &entries[..pivot]),
        }
    };
    match a.triangle {
        Triangle::Lower => (0..size).for_each(&mut eliminate),
        Triangle::Upper => (0..size).rev().for_each(&mut eliminate),
    }
}

/// α times the block times one column, in the column's place: each element is used before it is replaced.
fn multiply_column<T: Field>(block: &[T], a: &Triangular<'_, T>, alpha: T, column: &mut [T]) {
    let size = column.len();
    let mut step = |pivot: usize| {
        let entries = &block[pivot * size..(pivot + 1) * size];
        let factor = alpha * column[pivot];
        column[pivot] = if a.diagonal == Diagonal::Unit { factor } else { factor * entries[pivot] };
        match a.triangle {
            Triangle::Lower => add_scaled(&mut column[pivot + 1..], factor, &entries[pivot + 1..]),
            Triangle::Upper => add_scaled(&mut column[..pivot], factor, &entries[..pivot]),
        }
    };
    match a.triangle {
        Triangle::Lower => (0..size).rev().for_each(&mut step),
        Triangle::Upper => (0..size).for_each(&mut step),
    }
}

/// Some rows of all columns, packed column by column.
fn gather<T: Field>(b: MatRef<'_, T>, first: usize, size: usize, n: usize) -> Vec<T> {
    let MatRef { data, row_stride, col_stride, conjugate, .. } = b;
    let mut packed = Vec::with_capacity(size * n);
    for col in 0..n {
        let start = first * row_stride + col * col_stride;
        if row_stride == 1 {
            packed.extend_from_slice(&data[start..start + size]);
        } else {
            packed.extend(data[start..].iter().step_by(row_stride).take(size));
        }
    }
    if conjugate == Conj::Yes {
        packed.iter_mut().for_each(|element| *element = element.conj());
    }
    packed
}

/// Puts packed columns back into their rows.
fn scatter<T: Field>(packed: &[T], b: &mut MatMut<'_, T>, first: usize, size: usize) {
    for (col, column) in packed.chunks_exact(size).enumerate() {
        let start = first * b.row_stride + col * b.col_stride;
        let places = b.data[start..].iter_mut().step_by(b.row_stride);
        places.zip(column).for_each(|(place, &element)| *place = element);
    }
}
