//! trsm: the product of the matrix with what was solved is the right-hand side.

use gpucompat_engine::{C32, C64, Diagonal, Field, Side, Triangle, Triangular, triangular_solve};
use gpucompat_reference::gemm::{Activation, Number, Problem, gemm};
use gpucompat_reference::structured::{Structure, element};

use crate::operand::{Matrix, Op, Random, close, from_number, half, number};

/// A triangular matrix that is far from singular; all that is not read is NaN.
fn well_conditioned<T: Field>(
    random: &mut Random,
    n: usize,
    triangle: Triangle,
    diagonal: Diagonal,
) -> Matrix<T> {
    let unit = diagonal == Diagonal::Unit;
    let mut a =
        Matrix::<T>::random(random, n, n, |row, col| half(triangle).holds(row, col) && !(unit && row == col));
    for index in 0..n * n {
        let (row, col) = (index % n, index / n);
        let shrunk = a.at(row, col) * 0.1;
        if row != col && half(triangle).holds(row, col) {
            a.set(row, col, from_number(shrunk));
        }
    }
    if !unit {
        (0..n).for_each(|i| a.set(i, i, from_number(a.at(i, i) + Number::new(2.0, 0.0))));
    }
    a
}

fn solve<T: Field>(random: &mut Random) {
    let sizes = [0, 1, 2, 7, 63, 64, 65, 100, 131];
    let (m, n) = (random.pick(&sizes), random.pick(&sizes));
    let side = random.pick(&[Side::Left, Side::Right]);
    let triangle = random.pick(&[Triangle::Lower, Triangle::Upper]);
    let (op, diagonal) = (random.pick(&Op::ALL), random.pick(&[Diagonal::Stored, Diagonal::Unit]));
    let alpha: T = random.element();
    let alpha = random.pick(&[alpha, T::one(), T::zero()]);
    let order = if side == Side::Left { m } else { n };
    let a = if alpha == T::zero() {
        Matrix::<T>::random(random, order, order, |_, _| false)
    } else {
        well_conditioned(random, order, triangle, diagonal)
    };
    let before = Matrix::<T>::random(random, m, n, |_, _| alpha != T::zero());
    let mut x = before.clone();
    let of_op = if op == Op::N { triangle } else { triangle.transposed() };
    let operand = Triangular { matrix: op.view(&a), triangle: of_op, diagonal };
    triangular_solve(side, m, n, alpha, operand, x.output());
    x.keeps(&before, |_, _| true);
    if alpha == T::zero() {
        return (0..m * n).for_each(|i| assert_eq!(x.at(i % m, i / m), Number::new(0.0, 0.0)));
    }
    let unit = diagonal == Diagonal::Unit;
    let structure = if unit { Structure::UnitTriangular } else { Structure::Triangular };
    let stored = |i: usize, j: usize| element(structure, half(triangle), |i, j| a.at(i, j), i, j);
    let full = |i: usize, j: usize| op.at(stored, i, j);
    let one = Number::new(1.0, 0.0);
    let problem = Problem { m, n, k: order, alpha: one, beta: -number(alpha), activation: Activation::None };
    let old = |i: usize, j: usize| before.at(i, j);
    let residual = match side {
        Side::Left => gemm(problem, full, |l, j| x.at(l, j), old, |_| 0.0),
        Side::Right => gemm(problem, |i, l| x.at(i, l), full, old, |_| 0.0),
    };
    residual.into_iter().for_each(|residual| close::<T>(Number::new(0.0, 0.0), residual, order));
}

#[test]
fn solutions_satisfy_their_equations() {
    let mut random = Random::from_clock();
    println!("seed {}", random.seed);
    for _ in 0..60 {
        solve::<f32>(&mut random);
        solve::<f64>(&mut random);
        solve::<C32>(&mut random);
        solve::<C64>(&mut random);
    }
}

#[test]
fn a_nan_spoils_only_the_equations_that_it_stands_in() {
    let mut random = Random::from_clock();
    let a = well_conditioned::<f64>(&mut random, 70, Triangle::Lower, Diagonal::Stored);
    let mut b = Matrix::<f64>::random(&mut random, 70, 2, |_, _| true);
    b.set(66, 1, f64::NAN);
    let operand = Triangular { matrix: a.view(), triangle: Triangle::Lower, diagonal: Diagonal::Stored };
    triangular_solve(Side::Left, 70, 2, 1.0, operand, b.output());
    for row in 0..70 {
        assert!(!b.at(row, 0).re.is_nan());
        assert_eq!(b.at(row, 1).re.is_nan(), row >= 66, "row {row}");
    }
}

#[test]
fn solutions_do_not_depend_on_the_number_of_threads() {
    crate::processes::same_with_any_number_of_threads(
        "solutions::solutions_do_not_depend_on_the_number_of_threads",
        || {
            let mut random = Random::with_seed(7);
            let a = well_conditioned::<f32>(&mut random, 300, Triangle::Upper, Diagonal::Stored);
            let mut b = Matrix::<f32>::random(&mut random, 300, 90, |_, _| true);
            let operand =
                Triangular { matrix: a.view(), triangle: Triangle::Upper, diagonal: Diagonal::Stored };
            triangular_solve(Side::Left, 300, 90, 1.5, operand, b.output());
            (0..300 * 90).map(|i| b.at(i % 300, i / 300).re).collect()
        },
    );
}
