//! LU, QR and least squares: LAPACK's storage by hand, and the factors multiplied out.

use gpucompat_engine::{
    C32, C64, Field, System, least_squares, least_squares_batch, lu_factor, lu_factor_batch, lu_invert_batch,
    lu_solve_batch, pivots_are_valid, qr_factor, qr_factor_batch, singular_at_batch,
};
use gpucompat_reference::gemm::{Activation, Expected, Number, Problem, gemm};
use gpucompat_reference::structured::{Half, Structure, element, permutation};

use crate::operand::{Matrix, Op, Random, close, number, roundoff};

const ZERO: Number = Number::new(0.0, 0.0);
const ONE: Number = Number::new(1.0, 0.0);

fn product(
    [m, n, k]: [usize; 3],
    a: impl Fn(usize, usize) -> Number,
    b: impl Fn(usize, usize) -> Number,
) -> Vec<Expected> {
    let problem = Problem { m, n, k, alpha: ONE, beta: ZERO, activation: Activation::None };
    gemm(problem, a, b, |_, _| ZERO, |_| 0.0)
}

fn lu<T: Field>(random: &mut Random) {
    let n = random.pick(&[0, 1, 2, 5, 17, 70]);
    let before = Matrix::<T>::random(random, n, n, |_, _| true);
    for with_pivots in [true, false] {
        let mut factored = before.clone();
        let mut pivots = vec![0; n];
        let info = lu_factor(n, &mut factored.data, factored.ld, with_pivots.then_some(&mut pivots[..]));
        assert_eq!(info, 0);
        factored.keeps(&before, |_, _| true);
        let stored = |i: usize, j: usize| factored.at(i, j);
        let lower = |i, j| element(Structure::UnitTriangular, Half::Lower, stored, i, j);
        let upper = |i, j| element(Structure::Triangular, Half::Upper, stored, i, j);
        let rows = if with_pivots { permutation(n, &pivots) } else { (0..n).collect() };
        for (index, want) in product([n, n, n], lower, upper).into_iter().enumerate() {
            let (row, col) = (index % n, index / n);
            close::<T>(before.at(rows[row], col), want, n);
        }
        if with_pivots {
            assert!(pivots_are_valid(n, &pivots));
            assert!(pivots.iter().enumerate().all(|(row, &pivot)| pivot as usize > row));
            // Partial pivoting: |re| + |im| of the pivot is the largest, so that no multiplier is beyond √2.
            let largest = f64::sqrt(2.0) * (1.0 + 8.0 * roundoff::<T>());
            (0..n * n).for_each(|i| assert!(lower(i % n, i / n).norm() <= largest));
        }
    }
}

fn solve<T: Field>(random: &mut Random) {
    let (n, cols, count) =
        (random.pick(&[1, 2, 5, 33, 70]), random.pick(&[0, 1, 3]), random.pick(&[0, 1, 4]));
    let before: Vec<T> = (0..n * n * count).map(|_| random.element()).collect();
    let right: Vec<T> = (0..n * cols * count).map(|_| random.element()).collect();
    let mut lu = before.clone();
    let (mut pivots, mut info) = (vec![0; n * count], vec![9; count]);
    let with_pivots = random.pick(&[true, false]);
    lu_factor_batch(n, &mut lu, with_pivots.then_some(&mut pivots[..]), &mut info);
    assert!(info.iter().all(|&info| info == 0));
    let chosen = with_pivots.then_some(&pivots[..]);
    let mut inverse = vec![T::from_f64(f64::NAN); n * n * count];
    lu_invert_batch(n, &lu, chosen, &info, &mut inverse);
    for (system, op) in [(System::Plain, Op::N), (System::Transposed, Op::T), (System::Adjoint, Op::C)] {
        let mut x = right.clone();
        lu_solve_batch(system, n, cols, &lu, chosen, &mut x);
        for matrix in 0..count {
            let a = |i: usize, j: usize| number(before[matrix * n * n + i + j * n]);
            let x = |i: usize, j: usize| number(x[matrix * n * cols + i + j * n]);
            let l = |i: usize, j: usize| number(lu[matrix * n * n + i + j * n]);
            // The bound is by |L|·|U|·|x|, which without pivoting may be far above |A|·|x|.
            let growth = (0..n * n).map(|i| l(i % n, i / n).norm()).fold(1.0, f64::max);
            for (index, mut want) in product([n, cols, n], |i, l| op.at(a, i, l), x).into_iter().enumerate() {
                want.magnitude = growth * growth * (0..n).map(|i| x(i, index / n).norm()).sum::<f64>();
                close::<T>(number(right[matrix * n * cols + index]), want, n * n);
            }
        }
    }
    for matrix in 0..count {
        let a = |i: usize, j: usize| number(before[matrix * n * n + i + j * n]);
        let inverse = |i: usize, j: usize| number(inverse[matrix * n * n + i + j * n]);
        let l = |i: usize, j: usize| number(lu[matrix * n * n + i + j * n]);
        let growth = (0..n * n).map(|i| l(i % n, i / n).norm()).fold(1.0, f64::max);
        for (index, mut want) in product([n, n, n], a, inverse).into_iter().enumerate() {
            want.magnitude = growth * growth * (0..n).map(|i| inverse(i, index / n).norm()).sum::<f64>();
            close::<T>(if index % n == index / n { ONE } else { ZERO }, want, n * n);
        }
    }
}

/// Q·C by the reflectors as they are stored.
fn apply_q<T: Field>(m: usize, few: usize, qr: &Matrix<T>, tau: &[T], c: &mut [Number]) {
    for column in c.chunks_exact_mut(m.max(1)) {
        for step in (0..few).rev() {
            let v = |i: usize| if i == step { ONE } else { qr.at(i, step) };
            let dot: Number = (step..m).map(|i| v(i).conj() * column[i]).sum();
            (step..m).for_each(|i| column[i] -= number(tau[step]) * dot * v(i));
        }
    }
}

fn qr<T: Field>(random: &mut Random) {
    let (m, n) = (random.pick(&[0, 1, 2, 9, 40]), random.pick(&[0, 1, 3, 9, 30]));
    let few = m.min(n);
    let before = Matrix::<T>::random(random, m, n, |_, _| true);
    let mut factored = before.clone();
    let mut tau = vec![T::from_f64(f64::NAN); few];
    qr_factor(m, n, &mut factored.data, factored.ld, &mut tau);
    factored.keeps(&before, |_, _| true);
    let upper = |i: usize, j: usize| if i <= j { factored.at(i, j) } else { ZERO };
    let mut back: Vec<Number> = (0..m * n).map(|i| upper(i % m, i / m)).collect();
    apply_q(m, few, &factored, &tau, &mut back);
    let norm = back.iter().map(Number::norm_sqr).sum::<f64>().sqrt();
    for (index, &value) in back.iter().enumerate() {
        close::<T>(before.at(index % m, index / m), Expected { value, magnitude: norm }, m);
    }
    // Q is unitary.
    let mut square: Vec<Number> = (0..m * m).map(|i| if i % m == i / m { ONE } else { ZERO }).collect();
    apply_q(m, few, &factored, &tau, &mut square);
    let q = |i: usize, j: usize| square[i + j * m];
    for (index, mut want) in product([m, m, m], |i, l| q(l, i).conj(), q).into_iter().enumerate() {
        want.magnitude = 1.0;
        close::<T>(if index % m == index / m { ONE } else { ZERO }, want, m * few);
    }
    for (step, &tau) in tau.iter().enumerate() {
        let (new, old) = (factored.at(step, step), number(tau));
        assert!(new.im == 0.0 || old == ZERO, "R's diagonal is real");
    }
}

fn least<T: Field>(random: &mut Random) {
    let n = random.pick(&[1, 2, 9, 20]);
    let (m, cols) = (n + random.pick(&[0, 1, 15]), random.pick(&[0, 1, 3]));
    let a = Matrix::<T>::random(random, m, n, |_, _| true);
    let b = Matrix::<T>::random(random, m, cols, |_, _| true);
    let (mut qr, mut x) = (a.clone(), b.clone());
    assert_eq!(least_squares(m, n, cols, &mut qr.data, qr.ld, &mut x.data, x.ld), 0);
    x.keeps(&b, |_, _| true);
    let residual: Vec<Number> = product([m, cols, n], |i, l| a.at(i, l), |l, j| x.at(l, j))
        .iter()
        .enumerate()
        .map(|(index, ax)| b.at(index % m, index / m) - ax.value)
        .collect();
    let size = |col: usize| {
        let solution: f64 = (0..n).map(|row| x.at(row, col).norm()).sum();
        (m as f64) * (solution + (m as f64))
    };
    // The residual is orthogonal to A's columns, and its norm is what the rest of the solution says.
    for (index, mut want) in
        product([n, cols, m], |i, l| a.at(l, i).conj(), |l, j| residual[l + j * m]).into_iter().enumerate()
    {
        want.magnitude = size(index / n);
        close::<T>(ZERO, want, m);
    }
    for col in 0..cols {
        let norm = |values: &[Number]| values.iter().map(Number::norm_sqr).sum::<f64>().sqrt();
        let rest: Vec<Number> = (n..m).map(|row| x.at(row, col)).collect();
        let value = Number::new(norm(&residual[col * m..(col + 1) * m]), 0.0);
        close::<T>(Number::new(norm(&rest), 0.0), Expected { value, magnitude: size(col) }, m);
    }
}

fn many(cases: usize, body: [fn(&mut Random); 4]) {
    let mut random = Random::from_clock();
    println!("seed {}", random.seed);
    for _ in 0..cases {
        body.iter().for_each(|body| body(&mut random));
    }
}

#[test]
fn l_times_u_is_the_permuted_matrix() {
    many(30, [lu::<f32>, lu::<f64>, lu::<C32>, lu::<C64>]);
}

#[test]
fn factors_solve_all_three_systems_and_invert() {
    many(30, [solve::<f32>, solve::<f64>, solve::<C32>, solve::<C64>]);
}

#[test]
fn q_times_r_is_the_matrix_and_q_is_unitary() {
    many(40, [qr::<f32>, qr::<f64>, qr::<C32>, qr::<C64>]);
}

#[test]
fn least_squares_leave_a_residual_orthogonal_to_the_columns() {
    many(40, [least::<f32>, least::<f64>, least::<C32>, least::<C64>]);
}

#[test]
fn pivots_are_lapacks_one_based_swaps() {
    // Columns (2 4 8), (1 3 7), (1 3 9): by hand, the third row first, then the third again.
    let mut a = [2.0, 4.0, 8.0, 1.0, 3.0, 7.0, 1.0, 3.0, 9.0];
    let mut pivots = [0; 3];
    assert_eq!(lu_factor(3, &mut a, 3, Some(&mut pivots)), 0);
    assert_eq!(pivots, [3, 3, 3]);
    assert_eq!(a[..8], [8.0, 0.25, 0.5, 7.0, -0.75, 2.0 / 3.0, 9.0, -1.25]);
    assert!((a[8] + 2.0 / 3.0f64).abs() < 1e-15);
}

#[test]
fn equal_candidates_leave_the_first_and_a_zero_pivot_is_told_from_one() {
    let mut a = [1.0f32, -1.0, 1.0, 1.0];
    let mut pivots = [0; 2];
    assert_eq!(lu_factor(2, &mut a, 2, Some(&mut pivots)), 0);
    assert_eq!((pivots, a), ([1, 2], [1.0, -1.0, 1.0, 2.0]));
    let mut singular = [0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 3.0, 5.0, 6.0f64];
    let mut pivots = [0; 3];
    assert_eq!(lu_factor(3, &mut singular, 3, Some(&mut pivots)), 1, "the first zero of U");
    assert_eq!(pivots, [1, 3, 3]);
    let mut info = [7; 2];
    singular_at_batch(2, &[1.0, 5.0, 5.0, 0.0, 1.0, 5.0, 5.0, 1.0f32], &mut info);
    assert_eq!(info, [2, 0]);
    let mut inverse = [3.0; 8];
    lu_invert_batch(2, &[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 4.0f64], None, &info, &mut inverse);
    assert_eq!(inverse, [3.0, 3.0, 3.0, 3.0, 0.5, 0.0, 0.0, 0.25], "a singular matrix has no inverse");
}

#[test]
fn reflectors_are_lapacks() {
    // (3 4): β = −5, τ = 8/5, v₂ = 4/(3 + 5).
    let (mut a, mut tau) = ([3.0f64, 4.0], [f64::NAN]);
    qr_factor(2, 1, &mut a, 2, &mut tau);
    assert_eq!((a, tau), ([-5.0, 0.5], [1.6]));
    // A column that is done already: H = I.
    let (mut a, mut tau) = ([3.0f32, 0.0, 1.0, 2.0], [f32::NAN; 2]);
    qr_factor_batch(2, 2, &mut a, &mut tau);
    assert_eq!((a, tau), ([3.0, 0.0, 1.0, 2.0], [0.0, 0.0]));
    // A complex number alone is turned real: (0 + i) has β = −1, τ = (β − 0)/β − i/β.
    let (mut a, mut tau) = ([C64::new(0.0, 1.0)], [C64::new(f64::NAN, 0.0)]);
    qr_factor(1, 1, &mut a, 1, &mut tau);
    assert_eq!((a, tau), ([C64::new(-1.0, 0.0)], [C64::new(1.0, 1.0)]));
}

#[test]
fn tiny_and_huge_columns_keep_their_digits() {
    for size in [1e-310f64, 1e-160, 1e160, 1e307] {
        let (mut a, mut tau) = ([3.0 * size, 4.0 * size], [f64::NAN]);
        qr_factor(2, 1, &mut a, 2, &mut tau);
        let near = |got: f64, want: f64| (got / want - 1.0).abs() < 1e-13;
        assert!(near(tau[0], 1.6) && near(a[1], 0.5), "{size}: {a:?} {tau:?}");
        assert!((a[0] / (-5.0 * size) - 1.0).abs() < 1e-12, "{size}: {a:?}");
    }
}

#[test]
fn the_smallest_numbers_there_are_make_an_orthogonal_reflector() {
    // (1 1) in units of the smallest number, where √2 has no digits: τ = 1 + 1/√2, v₂ = 1/(1 + √2) all the same.
    let (mut a, mut tau) = ([5e-324f64; 2], [f64::NAN]);
    qr_factor(2, 1, &mut a, 2, &mut tau);
    assert!((tau[0] - 1.0 - 0.5f64.sqrt()).abs() < 1e-15 && (a[1] - 2f64.sqrt() + 1.0).abs() < 1e-15);
}

#[test]
fn a_rank_deficient_matrix_is_told_and_not_solved() {
    let mut a = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0f64];
    let (mut b, mut info) = ([7.0, 8.0, 9.0], [0]);
    least_squares_batch(3, 2, 1, &mut a, &mut b, &mut info);
    assert_eq!((info, b), ([2], [7.0, 8.0, 9.0]));
    let mut nothing: [f64; 0] = [];
    least_squares_batch(3, 2, 0, &mut a, &mut nothing, &mut info);
    assert_eq!(info, [2], "factored without a right-hand side");
}
