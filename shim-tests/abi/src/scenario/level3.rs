//! symm, hemm, syrk and its kin, trmm, trsm, geam, dgmm, tpttr, trttp through every entry point.

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::{Element, Number};
use gpucompat_reference::gemm::{Activation, Expected, Problem, gemm};
use gpucompat_reference::structured::{Half, Structure, element};

use crate::call;
use crate::interface::Interface;
use crate::lab::{INVALID_VALUE, NOT_INITIALIZED, NOT_SUPPORTED, SUCCESS};
use crate::linear::{Bench, LETTERS, Matrix, ONE, ZERO, addresses, close, int, signed};
use crate::xt;

pub const HALVES: [(c_int, Half); 2] = [(0, Half::Lower), (1, Half::Upper)];
pub const SIZES: [usize; 6] = [0, 1, 3, 8, 33, 70];

pub fn product(sizes: [usize; 3], alpha: Number, beta: Number) -> Problem {
    let [m, n, k] = sizes;
    Problem { m, n, k, alpha, beta, activation: Activation::None }
}

pub fn op_at(op: c_int, x: impl Fn(usize, usize) -> Number, i: usize, j: usize) -> Number {
    match op {
        0 => x(i, j),
        1 => x(j, i),
        _ => x(j, i).conj(),
    }
}

pub fn stored(op: c_int, rows: usize, cols: usize) -> [usize; 2] {
    if op == 0 { [rows, cols] } else { [cols, rows] }
}

pub fn everywhere(_: usize, _: usize) -> bool {
    true
}

/// All functions, both widths, all types; prints their names.
pub fn matrix() {
    let mut bench = Bench::new();
    let handles = Interface::chosen() == Interface::Handles;
    for (letter, element) in LETTERS {
        for wide in [false, true] {
            for _ in 0..6 {
                symmetric(&mut bench, letter, element, wide);
                rank_updates(&mut bench, letter, element, wide);
                triangular(&mut bench, letter, element, wide);
                if Interface::chosen() == Interface::Xt {
                    xt::products(&mut bench, letter, element);
                }
                if handles {
                    copies(&mut bench, letter, element, wide);
                }
            }
        }
        if handles {
            (0..4).for_each(|_| packing(&mut bench, letter, element));
        }
    }
    bench.finish();
}

pub fn random_scalars(bench: &mut Bench, element: Element) -> [Number; 2] {
    let (alpha, beta) = (bench.value(element), bench.value(element));
    bench.pick(&[[alpha, beta], [alpha, ZERO], [alpha, ONE], [ZERO, beta]])
}

fn symmetric(bench: &mut Bench, letter: char, scalar: Element, wide: bool) {
    for (word, structure) in [("symm", Structure::Symmetric), ("hemm", Structure::Hermitian)] {
        if structure == Structure::Hermitian && !scalar.is_complex() {
            continue;
        }
        let Some(name) = bench.name_of(format!("cublas{letter}{word}_v2"), wide) else { continue };
        let (m, n, side) = (bench.pick(&SIZES), bench.pick(&SIZES), bench.pick(&[0, 1]));
        let (uplo, half) = bench.pick(&HALVES);
        let [alpha, beta] = random_scalars(bench, scalar);
        let order = if side == 0 { m } else { n };
        let read = alpha != ZERO;
        let a = bench.matrix(scalar, [order; 2], |i, j| read && half.holds(i, j));
        let b = bench.matrix(scalar, [m, n], |_, _| read);
        let c = bench.matrix(scalar, [m, n], |_, _| beta != ZERO);
        let [alpha_at, beta_at] = bench.scalars([(scalar, alpha), (scalar, beta)]);
        let status = name.call(&[
            bench.handle as u64,
            side as u64,
            uplo as u64,
            name.int(m as i64),
            name.int(n as i64),
            alpha_at.address(),
            a.address(),
            name.int(a.ld as i64),
            b.address(),
            name.int(b.ld as i64),
            beta_at.address(),
            c.address(),
            name.int(c.ld as i64),
        ]);
        let name = name.symbol;
        assert_eq!(status, SUCCESS, "{name} m={m} n={n}");
        let full = |i: usize, j: usize| element(structure, half, |i, j| a.at(i, j), i, j);
        let (x, y) = (|i, j| b.at(i, j), |i, j| c.at(i, j));
        let problem = product([m, n, order], alpha, beta);
        let want =
            if side == 0 { gemm(problem, full, x, y, |_| 0.0) } else { gemm(problem, x, full, y, |_| 0.0) };
        c.check(&name, &want, order, everywhere);
    }
}

/// One function of the family of syrk.
struct Rank {
    name: String,
    hermitian: bool,
    /// A with itself, A with B, both mirrored.
    products: usize,
    /// Element type of A in the Ex forms.
    typed: Option<Element>,
}

fn rank_updates(bench: &mut Bench, letter: char, scalar: Element, wide: bool) {
    let mut forms = Vec::new();
    for (word, hermitian, products) in [
        ("syrk_v2", false, 1),
        ("syrkx", false, 2),
        ("syr2k_v2", false, 3),
        ("herk_v2", true, 1),
        ("herkx", true, 2),
        ("her2k_v2", true, 3),
    ] {
        if scalar.is_complex() || !hermitian {
            forms.push(Rank { name: format!("cublas{letter}{word}"), hermitian, products, typed: None });
        }
    }
    if letter == 'C' {
        for (word, hermitian) in
            [("syrkEx", false), ("syrk3mEx", false), ("herkEx", true), ("herk3mEx", true)]
        {
            for typed in [Element::C32, Element::CI8] {
                let name = format!("cublasC{word}");
                forms.push(Rank { name, hermitian, products: 1, typed: Some(typed) });
            }
        }
    }
    forms.into_iter().for_each(|form| rank_update(bench, form, scalar, wide));
}

fn rank_update(bench: &mut Bench, form: Rank, scalar: Element, wide: bool) {
    let Rank { name, hermitian, products, typed } = form;
    let Some(name) = bench.name_of(name, wide) else { return };
    let (n, k) = (bench.pick(&[0, 1, 5, 96, 101]), bench.pick(&[0, 1, 20]));
    let (uplo, half) = bench.pick(&HALVES);
    let trans = if hermitian { bench.pick(&[0, 2]) } else { bench.pick(&[0, 1]) };
    let real = if scalar == Element::C64 { Element::F64 } else { Element::F32 };
    let [mut alpha, mut beta] = random_scalars(bench, scalar);
    let (mut alpha_type, mut beta_type) = (scalar, scalar);
    if hermitian {
        (beta.im, beta_type) = (0.0, real);
        if products == 1 {
            (alpha.im, alpha_type) = (0.0, real);
        }
    }
    let input = typed.unwrap_or(scalar);
    let read = alpha != ZERO;
    let a = bench.matrix(input, stored(trans, n, k), |_, _| read);
    let b = bench.matrix(input, stored(trans, n, k), |_, _| read);
    let c = bench.matrix(scalar, [n, n], |i, j| beta != ZERO && half.holds(i, j));
    let [alpha_at, beta_at] = bench.scalars([(alpha_type, alpha), (beta_type, beta)]);
    let int = |value: usize| name.int(value as i64);
    let mut arguments =
        vec![bench.handle as u64, uplo as u64, trans as u64, int(n), int(k), alpha_at.address()];
    let typed_as = |element: Element| typed.map(|_| element.cuda() as u64);
    arguments.push(a.address());
    arguments.extend(typed_as(input));
    arguments.push(int(a.ld));
    if products > 1 {
        arguments.extend([b.address(), int(b.ld)]);
    }
    arguments.extend([beta_at.address(), c.address()]);
    arguments.extend(typed_as(scalar));
    arguments.push(int(c.ld));
    let status = name.call(&arguments);
    let name = name.symbol;
    assert_eq!(status, SUCCESS, "{name} n={n} k={k}");
    let b = if products == 1 { &a } else { &b };
    let x = |i: usize, l: usize| op_at(trans, |i, j| a.at(i, j), i, l);
    let y = |i: usize, l: usize| op_at(trans, |i, j| b.at(i, j), i, l);
    let mirrored = |value: Number| if hermitian { value.conj() } else { value };
    let untouched = beta == ONE && (k == 0 || alpha == ZERO);
    let old = |i: usize, j: usize| match half.holds(i, j) {
        true if hermitian && i == j && !untouched => Number::new(c.at(i, i).re, 0.0),
        true => c.at(i, j),
        false => ZERO,
    };
    let mut want = gemm(product([n, n, k], alpha, beta), x, |l, j| mirrored(y(j, l)), old, |_| 0.0);
    if products == 3 {
        let second =
            gemm(product([n, n, k], mirrored(alpha), ZERO), y, |l, j| mirrored(x(j, l)), old, |_| 0.0);
        for (sum, second) in want.iter_mut().zip(second) {
            sum.value += second.value;
            sum.magnitude += second.magnitude;
        }
    }
    if hermitian && !untouched {
        (0..n).for_each(|i| want[i + i * n].value.im = 0.0);
    }
    c.check(&name, &want, 2 * k, |i, j| half.holds(i, j));
}

fn triangular(bench: &mut Bench, letter: char, scalar: Element, wide: bool) {
    for word in ["trmm_v2", "trsm_v2", "trsmBatched"] {
        let Some(name) = bench.name_of(format!("cublas{letter}{word}"), wide) else { continue };
        let (m, n, side) = (bench.pick(&SIZES), bench.pick(&SIZES), bench.pick(&[0, 1]));
        let (uplo, half) = bench.pick(&HALVES);
        let (trans, diag) = (bench.pick(&[0, 1, 2]), bench.pick(&[0, 1]));
        let [alpha, _] = random_scalars(bench, scalar);
        let order = if side == 0 { m } else { n };
        let read = alpha != ZERO;
        let count = if word == "trsmBatched" { bench.pick(&[0, 1, 3]) } else { 1 };
        let held = |i: usize, j: usize| read && half.holds(i, j) && !(diag == 1 && i == j);
        let mut matrices: Vec<Matrix> = (0..count).map(|_| bench.matrix(scalar, [order; 2], held)).collect();
        matrices.iter_mut().for_each(|a| well_conditioned(a, held));
        // All matrices of a batch have the same leading dimension.
        let ld = matrices.first().map_or(order.max(1), |a| a.ld);
        let matrices: Vec<Matrix> = matrices.into_iter().map(|a| with_ld(&a, ld)).collect();
        let ldb = m.max(1) + 2;
        let rights: Vec<Matrix> =
            (0..count).map(|_| with_ld(&bench.matrix(scalar, [m, n], |_, _| read), ldb)).collect();
        let results: Vec<Matrix> = (0..count).map(|_| bench.matrix(scalar, [m, n], |_, _| false)).collect();
        // trmm may write its result over B, and of the legacy interface can do nothing else.
        let in_place = bench.pick(&[false, true]) || Interface::chosen() == Interface::Legacy;
        let targets = if in_place { &rights } else { &results };
        let [alpha_at] = bench.scalars([(scalar, alpha)]);
        let int = |value: usize| name.int(value as i64);
        let modes = [side, uplo, trans, diag].map(|mode: c_int| mode as u64);
        let lists = (addresses(&matrices), addresses(&rights));
        let mut arguments = vec![bench.handle as u64];
        arguments.extend(modes);
        arguments.extend([int(m), int(n), alpha_at.address()]);
        if word == "trsmBatched" {
            arguments.extend([lists.0.address, int(ld), lists.1.address, int(ldb), int(count)]);
        } else {
            arguments.extend([matrices[0].address(), int(ld), rights[0].address(), int(ldb)]);
        }
        if word == "trmm_v2" {
            arguments.extend([targets[0].address(), int(targets[0].ld)]);
        }
        let status = name.call(&arguments);
        let name = name.symbol;
        assert_eq!(status, SUCCESS, "{name} m={m} n={n}");
        let structure = if diag == 1 { Structure::UnitTriangular } else { Structure::Triangular };
        for index in 0..count {
            let (a, b) = (&matrices[index], &rights[index]);
            let kept = |i: usize, j: usize| element(structure, half, |i, j| a.at(i, j), i, j);
            let full = |i: usize, j: usize| op_at(trans, kept, i, j);
            let old = |i: usize, j: usize| b.at(i, j);
            let by = |problem: Problem, x: &dyn Fn(usize, usize) -> Number| match side {
                0 => gemm(problem, full, x, old, |_| 0.0),
                _ => gemm(problem, x, full, old, |_| 0.0),
            };
            if word == "trmm_v2" {
                let want = by(product([m, n, order], alpha, ZERO), &old);
                targets[index].check(&name, &want, order, everywhere);
                if !in_place {
                    b.is_untouched();
                }
            } else if read {
                let x = b.now(everywhere);
                let residual = by(product([m, n, order], ONE, -alpha), &x);
                residual.into_iter().for_each(|residual| close(scalar, &name, ZERO, residual, order));
            } else {
                let zeros = vec![Expected { value: ZERO, magnitude: 0.0 }; m * n];
                b.check(&name, &zeros, 0, everywhere);
            }
        }
    }
}

/// Small elements beside the diagonal, large ones on it.
fn well_conditioned(a: &mut Matrix, held: impl Fn(usize, usize) -> bool) {
    for col in 0..a.cols {
        for row in (0..a.rows).filter(|&row| held(row, col)) {
            let value = a.at(row, col);
            a.set(row, col, if row == col { value + Number::new(2.0, 0.0) } else { value * 0.1 });
        }
    }
}

/// The same elements at another leading dimension; NaN elsewhere.
fn with_ld(a: &Matrix, ld: usize) -> Matrix {
    let mut bytes = vec![0xff; ld * a.cols * a.element.bytes()];
    for (index, element) in bytes.chunks_exact_mut(a.element.bytes()).enumerate() {
        let (row, col) = (index % ld, index / ld);
        if row < a.rows {
            let mut one = Vec::new();
            a.element.encode(a.at(row, col), &mut one);
            element.copy_from_slice(&one);
        }
    }
    Matrix::holding(a.element, [a.rows, a.cols], ld, bytes).moved(a.is_on_host())
}

fn copies(bench: &mut Bench, letter: char, scalar: Element, wide: bool) {
    let name = bench.name(format!("cublas{letter}geam"), wide);
    let (m, n) = (bench.pick(&SIZES), bench.pick(&SIZES));
    let (ta, tb) = (bench.pick(&[0, 1, 2]), bench.pick(&[0, 1, 2]));
    let [alpha, beta] = random_scalars(bench, scalar);
    // In place of A where it may be.
    let in_place = ta == 0 && bench.pick(&[false, true]);
    let a = bench.matrix(scalar, stored(ta, m, n), |_, _| alpha != ZERO);
    let b = bench.matrix(scalar, stored(tb, m, n), |_, _| beta != ZERO);
    let apart = bench.matrix(scalar, [m, n], |_, _| false);
    let c = if in_place { &a } else { &apart };
    let [alpha_at, beta_at] = bench.scalars([(scalar, alpha), (scalar, beta)]);
    let (handle, m_at, n_at) = (bench.handle, int(wide, m), int(wide, n));
    let status = call!(&name, handle => *mut c_void, ta => c_int, tb => c_int, m_at => i64, n_at => i64,
        alpha_at.address() => u64, a.address() => u64, int(wide, a.ld) => i64, beta_at.address() => u64,
        b.address() => u64, int(wide, b.ld) => i64, c.address() => u64, int(wide, c.ld) => i64);
    assert_eq!(status, SUCCESS, "{name}");
    let times = |scalar: Number, op: c_int, x: &Matrix, i: usize, j: usize| {
        let x = if scalar == ZERO { ZERO } else { op_at(op, |i, j| x.at(i, j), i, j) };
        scalar * x
    };
    let sum = |index: usize| {
        let (left, right) =
            (times(alpha, ta, &a, index % m, index / m), times(beta, tb, &b, index % m, index / m));
        Expected { value: left + right, magnitude: left.norm() + right.norm() }
    };
    c.check(&name, &(0..m * n).map(sum).collect::<Vec<_>>(), 2, everywhere);

    let name = bench.name(format!("cublas{letter}dgmm"), wide);
    let (side, incx) = (bench.pick(&[0, 1]), bench.pick(&[1i64, 2, -1, -3, 0]));
    let length = if side == 0 { m } else { n };
    let a = bench.matrix(scalar, [m, n], everywhere);
    let x = bench.matrix(scalar, [incx.unsigned_abs().max(1) as usize, length], |row, _| row == 0);
    // The gaps of x, but not those of its own leading dimension, are between its elements.
    let x = with_ld(&x, x.rows);
    let c = bench.matrix(scalar, [m, n], |_, _| false);
    let status = call!(&name, handle => *mut c_void, side => c_int, m_at => i64, n_at => i64, a.address() => u64,
        int(wide, a.ld) => i64, x.address() => u64, signed(wide, incx) => i64, c.address() => u64,
        int(wide, c.ld) => i64);
    assert_eq!(status, SUCCESS, "{name} incx={incx}");
    let factor = |index: usize| match incx {
        0 => x.at(0, 0),
        1.. => x.at(0, index),
        _ => x.at(0, length - 1 - index),
    };
    let scaled = |index: usize| {
        let (row, col) = (index % m, index / m);
        let value = factor(if side == 0 { row } else { col }) * a.at(row, col);
        Expected { value, magnitude: value.norm() }
    };
    c.check(&name, &(0..m * n).map(scaled).collect::<Vec<_>>(), 1, everywhere);
}

fn packing(bench: &mut Bench, letter: char, scalar: Element) {
    let n = bench.pick(&SIZES);
    let (uplo, half) = bench.pick(&HALVES);
    let inside = |i: usize, j: usize| half.holds(i, j);
    let full = bench.matrix(scalar, [n, n], inside);
    let length = n * (n + 1) / 2;
    let packed = bench.matrix(scalar, [length, 1], |_, _| false);
    let name = bench.name(format!("cublas{letter}trttp"), false);
    let (handle, n_at) = (bench.handle, int(false, n));
    let status = call!(&name, handle => *mut c_void, uplo => c_int, n_at => i64, full.address() => u64,
        int(false, full.ld) => i64, packed.address() => u64);
    assert_eq!(status, SUCCESS, "{name}");
    let columns = (0..n).flat_map(|col| (0..n).map(move |row| (row, col))).filter(|&(i, j)| inside(i, j));
    let exact = |(row, col)| Expected { value: full.at(row, col), magnitude: 0.0 };
    packed.check(&name, &columns.map(exact).collect::<Vec<_>>(), 0, everywhere);

    let name = bench.name(format!("cublas{letter}tpttr"), false);
    let back = bench.matrix(scalar, [n, n], |_, _| false);
    let status = call!(&name, handle => *mut c_void, uplo => c_int, n_at => i64, packed.address() => u64,
        back.address() => u64, int(false, back.ld) => i64);
    assert_eq!(status, SUCCESS, "{name}");
    let all = (0..n * n).map(|index| exact((index % n, index / n))).collect::<Vec<_>>();
    back.check(&name, &all, 0, inside);
}

/// Each documented misuse of one function of each family: the status, and nothing touched.
pub fn bad_input() {
    let mut bench = Bench::new();
    let handle = bench.handle;
    let scalar = Element::F32;
    let [a, b, c] = [(); 3].map(|()| bench.matrix(scalar, [4, 4], everywhere));
    let one = 1.0f32.to_le_bytes();
    let one = one.as_ptr() as u64;
    let trsm = |what: &str,
                want: c_int,
                [side, uplo, trans, diag, m, n, lda, ldb]: [c_int; 8],
                scalar: u64,
                at: u64| {
        let status = call!("cublasStrsm_v2", handle => *mut c_void, side => c_int, uplo => c_int, trans => c_int,
            diag => c_int, m => c_int, n => c_int, scalar => u64, at => u64, lda => c_int, b.address() => u64,
            ldb => c_int);
        assert_eq!(status, want, "trsm: {what}");
        b.is_untouched();
    };
    let at = a.address();
    trsm("unknown side", INVALID_VALUE, [2, 0, 0, 0, 4, 4, 7, 7], one, at);
    trsm("a full matrix is no triangle", INVALID_VALUE, [0, 2, 0, 0, 4, 4, 7, 7], one, at);
    trsm("unknown op", INVALID_VALUE, [0, 0, 3, 0, 4, 4, 7, 7], one, at);
    trsm("unknown diagonal", INVALID_VALUE, [0, 0, 0, 2, 4, 4, 7, 7], one, at);
    trsm("m < 0", INVALID_VALUE, [0, 0, 0, 0, -1, 4, 7, 7], one, at);
    trsm("n < 0", INVALID_VALUE, [0, 0, 0, 0, 4, -1, 7, 7], one, at);
    trsm("lda < m", INVALID_VALUE, [0, 0, 0, 0, 4, 4, 3, 7], one, at);
    trsm("ldb < m", INVALID_VALUE, [0, 0, 0, 0, 4, 4, 7, 3], one, at);
    trsm("null alpha", INVALID_VALUE, [0, 0, 0, 0, 4, 4, 4, 4], 0, at);
    trsm("null A", INVALID_VALUE, [0, 0, 0, 0, 4, 4, 4, 4], one, 0);
    trsm("nothing to do", SUCCESS, [0, 0, 0, 0, 0, 4, 4, 4], one, 0);
    let geam = |what: &str, want: c_int, ta: c_int, c: u64, ldc: c_int| {
        let status = call!("cublasSgeam", handle => *mut c_void, ta => c_int, 0 => c_int, 4 => c_int, 4 => c_int,
            one => u64, a.address() => u64, 4 => c_int, one => u64, b.address() => u64, 4 => c_int, c => u64,
            ldc => c_int);
        assert_eq!(status, want, "geam: {what}");
        a.is_untouched();
    };
    geam("in place and transposed", INVALID_VALUE, 1, a.address(), 4);
    geam("in place at another leading dimension", INVALID_VALUE, 0, a.address(), 5);
    geam("null C", INVALID_VALUE, 0, 0, 4);
    let herk = |what: &str, want: c_int, name: &str, trans: c_int| {
        let status = call!(name, handle => *mut c_void, 0 => c_int, trans => c_int, 2 => c_int, 2 => c_int, one => u64,
            a.address() => u64, 2 => c_int, one => u64, c.address() => u64, 2 => c_int);
        assert_eq!(status, want, "{name}: {what}");
        c.is_untouched();
    };
    herk("a transposition without conjugation", INVALID_VALUE, "cublasCherk_v2", 1);
    herk("a conjugation in a symmetric product", INVALID_VALUE, "cublasCsyrk_v2", 2);
    let status = call!("cublasCsyrkEx", handle => *mut c_void, 0 => c_int, 0 => c_int, 2 => c_int, 2 => c_int, one => u64,
        a.address() => u64, 0 => c_int, 2 => c_int, one => u64, c.address() => u64, 4 => c_int, 2 => c_int);
    assert_eq!(status, NOT_SUPPORTED, "real elements in a complex product");
    let nobody = std::ptr::null_mut();
    let status = call!("cublasStrttp", nobody => *mut c_void, 0 => c_int, 4 => c_int, a.address() => u64, 4 => c_int,
        c.address() => u64);
    assert_eq!(status, NOT_INITIALIZED);
    c.is_untouched();
    bench.finish();
}
