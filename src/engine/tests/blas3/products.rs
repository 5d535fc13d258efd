//! symm, hemm, syrk and its kin, trmm, geam, dgmm, tpttr, trttp.

use gpucompat_engine::{
    C32, C64, Conj, Diagonal, Field, MatMut, MatRef, Side, Symmetry, Triangle, Triangular, matrix_add,
    pack_triangle, rank_2k_update, rank_k_update, scale_by_diagonal, symmetric_product, triangular_product,
    unpack_triangle,
};
use gpucompat_reference::gemm::{Activation, Expected, Number, Problem, gemm};
use gpucompat_reference::structured::{Structure, element};

use crate::operand::{Matrix, Op, Random, close, half, number};

const SIZES: [usize; 9] = [0, 1, 2, 7, 63, 64, 65, 100, 131];
const TRIANGLES: [Triangle; 2] = [Triangle::Lower, Triangle::Upper];
const SIDES: [Side; 2] = [Side::Left, Side::Right];

fn product(sizes: [usize; 3], alpha: Number, beta: Number) -> Problem {
    let [m, n, k] = sizes;
    Problem { m, n, k, alpha, beta, activation: Activation::None }
}

fn compare<T: Field>(
    got: &Matrix<T>,
    want: &[Expected],
    terms: usize,
    written: impl Fn(usize, usize) -> bool,
) {
    for (index, &want) in want.iter().enumerate() {
        let (row, col) = (index % got.rows, index / got.rows);
        if written(row, col) {
            close::<T>(got.at(row, col), want, terms);
        }
    }
}

/// α and β: anything, and the values that read nothing.
fn scalars<T: Field>(random: &mut Random) -> [T; 2] {
    let (alpha, beta) = (random.element(), random.element());
    random.pick(&[
        [alpha, beta],
        [alpha, T::zero()],
        [alpha, T::one()],
        [T::zero(), beta],
        [T::zero(), T::zero()],
    ])
}

/// Everything of A and B that is not read is NaN, and so is C where β = 0.
fn prepared<T: Field>(
    random: &mut Random,
    beta: T,
    m: usize,
    n: usize,
    triangle: Option<Triangle>,
) -> Matrix<T> {
    Matrix::random(random, m, n, |row, col| {
        beta != T::zero() && triangle.is_none_or(|triangle| half(triangle).holds(row, col))
    })
}

fn symmetric<T: Field>(random: &mut Random) {
    let (m, n) = (random.pick(&SIZES), random.pick(&SIZES));
    let (side, triangle) = (random.pick(&SIDES), random.pick(&TRIANGLES));
    let symmetry = random.pick(&[Symmetry::Symmetric, Symmetry::Hermitian]);
    let [alpha, beta] = scalars::<T>(random);
    let order = if side == Side::Left { m } else { n };
    let read = alpha != T::zero();
    let a = Matrix::<T>::random(random, order, order, |row, col| read && half(triangle).holds(row, col));
    let b = Matrix::<T>::random(random, m, n, |_, _| read);
    let before = prepared(random, beta, m, n, None);
    let mut c = before.clone();
    symmetric_product(side, triangle, symmetry, m, n, alpha, a.view(), b.view(), beta, c.output());
    let structure = if symmetry == Symmetry::Symmetric { Structure::Symmetric } else { Structure::Hermitian };
    let full = |i: usize, j: usize| element(structure, half(triangle), |i, j| a.at(i, j), i, j);
    let problem = product([m, n, order], number(alpha), number(beta));
    let old = |i: usize, j: usize| before.at(i, j);
    let want = match side {
        Side::Left => gemm(problem, full, |l, j| b.at(l, j), old, |_| 0.0),
        Side::Right => gemm(problem, |i, l| b.at(i, l), full, old, |_| 0.0),
    };
    compare(&c, &want, order, |_, _| true);
    c.keeps(&before, |_, _| true);
}

fn rank_update<T: Field>(random: &mut Random) {
    let (n, k) = (random.pick(&[0, 1, 5, 95, 96, 97, 200]), random.pick(&[0, 1, 33]));
    let (triangle, symmetry) =
        (random.pick(&TRIANGLES), random.pick(&[Symmetry::Symmetric, Symmetry::Hermitian]));
    let hermitian = symmetry == Symmetry::Hermitian;
    let op = if hermitian { random.pick(&[Op::N, Op::C]) } else { random.pick(&[Op::N, Op::T]) };
    // 1: A with itself, 2: A with B, 3: both mirrored products.
    let form = random.pick(&[1, 2, 3]);
    let [mut alpha, mut beta] = scalars::<T>(random);
    if hermitian {
        beta = T::from_real(beta.re());
        alpha = if form == 1 { T::from_real(alpha.re()) } else { alpha };
    }
    let [rows, cols] = op.stored(n, k);
    let read = alpha != T::zero();
    let a = Matrix::<T>::random(random, rows, cols, |_, _| read);
    let b = if form == 1 { a.clone() } else { Matrix::random(random, rows, cols, |_, _| read) };
    let before = prepared(random, beta, n, n, Some(triangle));
    let mut c = before.clone();
    let (left, right) = (op.view(&a), op.view(&b));
    if form == 3 {
        rank_2k_update(triangle, symmetry, n, k, alpha, left, right, beta, c.output());
    } else {
        rank_k_update(triangle, symmetry, n, k, alpha, left, right, beta, c.output());
    }
    let inside = |row: usize, col: usize| half(triangle).holds(row, col);
    c.keeps(&before, inside);
    let x = |i: usize, l: usize| op.at(|i, j| a.at(i, j), i, l);
    let y = |i: usize, l: usize| op.at(|i, j| b.at(i, j), i, l);
    let mirrored = |value: Number| if hermitian { value.conj() } else { value };
    let unread = beta == T::one() && (k == 0 || alpha == T::zero());
    let old = |i: usize, j: usize| {
        let stored = before.at(i, j);
        let stored = if inside(i, j) { stored } else { Number::new(0.0, 0.0) };
        if hermitian && i == j && !unread { Number::new(stored.re, 0.0) } else { stored }
    };
    let problem = product([n, n, k], number(alpha), number(beta));
    let mut want = gemm(problem, x, |l, j| mirrored(y(j, l)), old, |_| 0.0);
    if form == 3 {
        let problem = product([n, n, k], mirrored(number(alpha)), Number::new(0.0, 0.0));
        let second = gemm(problem, y, |l, j| mirrored(x(j, l)), old, |_| 0.0);
        for (sum, second) in want.iter_mut().zip(second) {
            sum.value += second.value;
            sum.magnitude += second.magnitude;
        }
    }
    if hermitian && !unread {
        (0..n).for_each(|i| want[i * n + i].value.im = 0.0);
        (0..n).for_each(|i| assert!(c.at(i, i).im == 0.0, "a complex diagonal"));
    }
    compare(&c, &want, 2 * k, inside);
}

fn triangular<T: Field>(random: &mut Random) {
    let (m, n) = (random.pick(&SIZES), random.pick(&SIZES));
    let (side, triangle) = (random.pick(&SIDES), random.pick(&TRIANGLES));
    let (op, diagonal) = (random.pick(&Op::ALL), random.pick(&[Diagonal::Stored, Diagonal::Unit]));
    let [alpha, _] = scalars::<T>(random);
    let order = if side == Side::Left { m } else { n };
    let read = alpha != T::zero();
    let unit = diagonal == Diagonal::Unit;
    let a = Matrix::<T>::random(random, order, order, |row, col| {
        read && half(triangle).holds(row, col) && !(unit && row == col)
    });
    let b = Matrix::<T>::random(random, m, n, |_, _| read);
    let before = prepared(random, T::zero(), m, n, None);
    let mut c = before.clone();
    let of_op = if op == Op::N { triangle } else { triangle.transposed() };
    let operand = Triangular { matrix: op.view(&a), triangle: of_op, diagonal };
    triangular_product(side, m, n, alpha, operand, b.view(), c.output());
    let structure = if unit { Structure::UnitTriangular } else { Structure::Triangular };
    let stored = |i: usize, j: usize| element(structure, half(triangle), |i, j| a.at(i, j), i, j);
    let full = |i: usize, j: usize| op.at(stored, i, j);
    let problem = product([m, n, order], number(alpha), Number::new(0.0, 0.0));
    let nothing = |_, _| Number::new(0.0, 0.0);
    let want = match side {
        Side::Left => gemm(problem, full, |l, j| b.at(l, j), nothing, |_| 0.0),
        Side::Right => gemm(problem, |i, l| b.at(i, l), full, nothing, |_| 0.0),
    };
    compare(&c, &want, order, |_, _| true);
    c.keeps(&before, |_, _| true);
}

fn sums_and_scalings<T: Field>(random: &mut Random) {
    let (m, n) = (random.pick(&SIZES), random.pick(&SIZES));
    let (op_a, op_b) = (random.pick(&Op::ALL), random.pick(&Op::ALL));
    let [alpha, beta] = scalars::<T>(random);
    let [rows, cols] = op_a.stored(m, n);
    let a = Matrix::<T>::random(random, rows, cols, |_, _| alpha != T::zero());
    let [rows, cols] = op_b.stored(m, n);
    let b = Matrix::<T>::random(random, rows, cols, |_, _| beta != T::zero());
    let before = prepared(random, T::zero(), m, n, None);
    let mut c = before.clone();
    matrix_add(m, n, alpha, op_a.view(&a), beta, op_b.view(&b), c.output());
    let times = |scalar: T, op: Op, x: &Matrix<T>, i: usize, j: usize| {
        let x = if scalar == T::zero() { Number::new(0.0, 0.0) } else { op.at(|i, j| x.at(i, j), i, j) };
        (number(scalar) * x, number(scalar).norm() * x.norm())
    };
    for col in 0..n {
        for row in 0..m {
            let (left, right) = (times(alpha, op_a, &a, row, col), times(beta, op_b, &b, row, col));
            let want = Expected { value: left.0 + right.0, magnitude: left.1 + right.1 };
            close::<T>(c.at(row, col), want, 2);
        }
    }
    c.keeps(&before, |_, _| true);

    let side = random.pick(&SIDES);
    let a = Matrix::<T>::random(random, m, n, |_, _| true);
    let x: Vec<T> = (0..m.max(n)).map(|_| random.element()).collect();
    let mut c = before.clone();
    scale_by_diagonal(side, m, n, a.view(), &x, c.output());
    for col in 0..n {
        for row in 0..m {
            let value = number(x[if side == Side::Left { row } else { col }]) * a.at(row, col);
            close::<T>(c.at(row, col), Expected { value, magnitude: value.norm() }, 1);
        }
    }
    c.keeps(&before, |_, _| true);
}

fn packing<T: Field>(random: &mut Random) {
    let (n, triangle) = (random.pick(&SIZES), random.pick(&TRIANGLES));
    let inside = |row: usize, col: usize| half(triangle).holds(row, col);
    let a = Matrix::<T>::random(random, n, n, inside);
    let mut packed = vec![T::zero(); n * (n + 1) / 2];
    pack_triangle(triangle, n, a.view(), &mut packed);
    for col in 0..n {
        for row in (0..n).filter(|&row| inside(row, col)) {
            // The formulas of BLAS's packed storage.
            let index = match triangle {
                Triangle::Upper => row + col * (col + 1) / 2,
                Triangle::Lower => row + (2 * n - col - 1) * col / 2,
            };
            assert_eq!(number(packed[index]), a.at(row, col));
        }
    }
    let before = Matrix::<T>::random(random, n, n, |_, _| false);
    let mut back = before.clone();
    unpack_triangle(triangle, n, &packed, back.output());
    back.keeps(&before, inside);
    for col in 0..n {
        (0..n).filter(|&row| inside(row, col)).for_each(|row| assert_eq!(back.at(row, col), a.at(row, col)));
    }
}

/// Each of the functions above with fresh random cases of each type.
fn many(cases: usize, body: [fn(&mut Random); 4]) {
    let mut random = Random::from_clock();
    println!("seed {}", random.seed);
    for _ in 0..cases {
        body.iter().for_each(|body| body(&mut random));
    }
}

#[test]
fn products_with_symmetric_and_hermitian_matrices_read_one_triangle() {
    many(40, [symmetric::<f32>, symmetric::<f64>, symmetric::<C32>, symmetric::<C64>]);
}

#[test]
fn rank_updates_touch_one_triangle() {
    many(60, [rank_update::<f32>, rank_update::<f64>, rank_update::<C32>, rank_update::<C64>]);
}

#[test]
fn products_with_triangular_matrices_read_one_triangle() {
    many(60, [triangular::<f32>, triangular::<f64>, triangular::<C32>, triangular::<C64>]);
}

#[test]
fn sums_and_diagonal_scalings_agree_with_the_formula() {
    let bodies = [
        sums_and_scalings::<f32>,
        sums_and_scalings::<f64>,
        sums_and_scalings::<C32>,
        sums_and_scalings::<C64>,
    ];
    many(20, bodies);
}

#[test]
fn packed_triangles_lie_as_blas_says() {
    many(20, [packing::<f32>, packing::<f64>, packing::<C32>, packing::<C64>]);
}

#[test]
fn an_infinity_stays_in_the_rows_that_it_belongs_to() {
    // The last row of B is infinite: only the last row of a lower triangle times B may be.
    let a = [1.0f32, 2.0, 3.0, f32::NAN, 5.0, 6.0, f32::NAN, f32::NAN, 9.0];
    let b = [1.0f32, 1.0, f32::INFINITY];
    let mut c = [f32::NAN; 3];
    let view = |data| MatRef { data, row_stride: 1, col_stride: 3, batch_stride: 0, conjugate: Conj::No };
    let operand = Triangular { matrix: view(&a[..]), triangle: Triangle::Lower, diagonal: Diagonal::Stored };
    let output = MatMut { data: &mut c[..], row_stride: 1, col_stride: 3, batch_stride: 0 };
    triangular_product(Side::Left, 3, 1, 1.0, operand, view(&b[..]), output);
    assert_eq!(c, [1.0, 7.0, f32::INFINITY]);
}
