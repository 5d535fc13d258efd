//! Factorisations of batches: matrices packed one after another, shared among the threads.

use super::factor::{lu_factor, lu_invert, lu_solve, lu_solve_transposed, singular_at};
use super::field::Field;
use super::least_squares::{least_squares, qr_factor};
use crate::shape::Conj;
use crate::threads;

/// Runs `body(i, matrix)` for each matrix of a batch, `elements` each.
pub fn for_each_matrix<T: Send>(
    batch: &mut [T],
    elements: usize,
    body: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    let elements = elements.max(1);
    threads::for_each_chunk(batch, elements, |start, matrix| body(start / elements, matrix));
}

/// Which system a solution is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// A·X = B.
    Plain,
    /// Aᵀ·X = B.
    Transposed,
    /// Aᴴ·X = B.
    Adjoint,
}

/// What one matrix of a batch writes beside itself.
struct Task<'a, T, U> {
    matrix: &'a mut [T],
    beside: &'a mut [U],
    info: &'a mut i32,
}

/// [`lu_factor`] of each n×n matrix; with pivoting if `pivots` (n a matrix) is given. One `info` a matrix.
///
/// # Panics
/// If there are fewer matrices or pivots than `info` says.
pub fn lu_factor_batch<T: Field>(n: usize, a: &mut [T], pivots: Option<&mut [i32]>, info: &mut [i32]) {
    assert!(a.len() >= n * n * info.len(), "{} elements of {} matrices", a.len(), info.len());
    if n == 0 {
        return info.fill(0);
    }
    let matrices = a.chunks_exact_mut(n * n).zip(info);
    let Some(pivots) = pivots else {
        let task = |(matrix, info)| Task { matrix, beside: &mut [] as &mut [i32], info };
        let mut tasks: Vec<_> = matrices.map(task).collect();
        return for_each_matrix(&mut tasks, 1, |_, tasks| {
            tasks.iter_mut().for_each(|task| *task.info = lu_factor(n, task.matrix, n, None));
        });
    };
    assert!(pivots.len() >= n * matrices.len(), "{} pivots", pivots.len());
    let task = |((matrix, info), beside)| Task { matrix, beside, info };
    let mut tasks: Vec<_> = matrices.zip(pivots.chunks_exact_mut(n)).map(task).collect();
    for_each_matrix(&mut tasks, 1, |_, tasks| {
        tasks.iter_mut().for_each(|task| *task.info = lu_factor(n, task.matrix, n, Some(task.beside)));
    });
}

/// [`singular_at`] of each n×n matrix.
pub fn singular_at_batch<T: Field>(n: usize, lu: &[T], info: &mut [i32]) {
    info.fill(0);
    for (info, lu) in info.iter_mut().zip(lu.chunks_exact((n * n).max(1))) {
        *info = singular_at(n, lu, n);
    }
}

/// [`lu_invert`] of each n×n matrix whose `info` is 0; the other inverses stay as they are.
///
/// # Panics
/// If an operand does not fit its slice, or a pivot is not valid.
pub fn lu_invert_batch<T: Field>(
    n: usize,
    lu: &[T],
    pivots: Option<&[i32]>,
    info: &[i32],
    inverse: &mut [T],
) {
    for_each_matrix(inverse, n * n, |index, inverse| {
        if info[index] == 0 {
            let pivots = pivots.map(|pivots| &pivots[index * n..(index + 1) * n]);
            lu_invert(n, &lu[index * n * n..(index + 1) * n * n], n, pivots, inverse, n);
        }
    });
}

/// [`lu_solve`] or [`lu_solve_transposed`] of each pair of an n×n matrix and an n×`cols` right-hand side.
///
/// # Panics
/// If an operand does not fit its slice, or a pivot is not valid.
pub fn lu_solve_batch<T: Field>(
    system: System,
    n: usize,
    cols: usize,
    lu: &[T],
    pivots: Option<&[i32]>,
    b: &mut [T],
) {
    for_each_matrix(b, n * cols, |index, b| {
        let pivots = pivots.map(|pivots| &pivots[index * n..(index + 1) * n]);
        let lu = &lu[index * n * n..(index + 1) * n * n];
        match system {
            System::Plain => lu_solve(n, cols, lu, n, pivots, b, n),
            System::Transposed => lu_solve_transposed(n, cols, lu, n, Conj::No, pivots, b, n),
            System::Adjoint => lu_solve_transposed(n, cols, lu, n, Conj::Yes, pivots, b, n),
        }
    });
}

/// [`qr_factor`] of each m×n matrix; `tau` has min(m, n) scalars a matrix.
///
/// # Panics
/// If an operand does not fit its slice.
pub fn qr_factor_batch<T: Field>(m: usize, n: usize, a: &mut [T], tau: &mut [T]) {
    let few = m.min(n);
    if few == 0 {
        return;
    }
    let mut tasks: Vec<_> = a.chunks_exact_mut(m * n).zip(tau.chunks_exact_mut(few)).collect();
    for_each_matrix(&mut tasks, 1, |_, tasks| {
        tasks.iter_mut().for_each(|(a, tau)| qr_factor(m, n, a, m, tau));
    });
}

/// [`least_squares`] of each pair of an m×n matrix and an m×`cols` right-hand side, one `info` each.
///
/// # Panics
/// As [`least_squares`].
pub fn least_squares_batch<T: Field>(
    m: usize,
    n: usize,
    cols: usize,
    a: &mut [T],
    b: &mut [T],
    info: &mut [i32],
) {
    info.fill(0);
    if n == 0 {
        return;
    }
    // Without right-hand sides A is factored all the same.
    let mut sides: Vec<&mut [T]> = b.chunks_exact_mut((m * cols).max(1)).collect();
    sides.resize_with(info.len(), Default::default);
    let task = |((matrix, beside), info)| Task { matrix, beside, info };
    let mut tasks: Vec<_> = a.chunks_exact_mut(m * n).zip(sides).zip(info).map(task).collect();
    for_each_matrix(&mut tasks, 1, |_, tasks| {
        tasks.iter_mut().for_each(|task| {
            *task.info = least_squares(m, n, cols, task.matrix, m, task.beside, m);
        });
    });
}
