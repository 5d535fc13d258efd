//! Batched factorisations and grouped products through every entry point.

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::{Element, Number};
use gpucompat_reference::gemm::{Activation, Expected, Problem, gemm};
use gpucompat_reference::structured::{Half, Structure, element, permutation};

use crate::call;
use crate::lab::{Device, INVALID_VALUE, NOT_SUPPORTED, SUCCESS};
use crate::linear::{Bench, LETTERS, Matrix, ONE, ZERO, addresses, close, int, integers};

const LD: usize = 40;

fn everywhere(_: usize, _: usize) -> bool {
    true
}

fn nowhere(_: usize, _: usize) -> bool {
    false
}

fn product(
    [m, n, k]: [usize; 3],
    a: impl Fn(usize, usize) -> Number,
    b: impl Fn(usize, usize) -> Number,
) -> Vec<Expected> {
    let problem = Problem { m, n, k, alpha: ONE, beta: ZERO, activation: Activation::None };
    gemm(problem, a, b, |_, _| ZERO, |_| 0.0)
}

/// Well-conditioned matrices in memory with gaps: random, a large diagonal that is not where pivots come from.
fn batch(bench: &mut Bench, scalar: Element, [rows, cols]: [usize; 2], count: usize) -> Vec<Matrix> {
    let one = |bench: &mut Bench| {
        let ld = LD - rows.min(LD) + rows;
        let mut matrix = Matrix::holding(scalar, [rows, cols], ld, vec![0xff; ld * cols * scalar.bytes()]);
        for col in 0..cols {
            for row in 0..rows {
                let shift = if rows > 0 && row == (col + 1) % rows { 3.0 } else { 0.0 };
                let value = bench.value(scalar) + Number::new(shift, 0.0);
                let mut rounded = Vec::new();
                scalar.encode(value, &mut rounded);
                matrix.set(row, col, scalar.decode(&rounded, 0));
            }
        }
        matrix
    };
    (0..count).map(|_| one(bench)).collect()
}

/// Device memory for integers, poisoned.
fn numbers(count: usize) -> Device {
    Device::holding(&vec![0x77; count * 4])
}

/// All of them; prints their names.
pub fn matrix() {
    let mut bench = Bench::new();
    for (letter, scalar) in LETTERS {
        for _ in 0..4 {
            lu(&mut bench, letter, scalar);
            inverse(&mut bench, letter, scalar);
            qr(&mut bench, letter, scalar);
            least_squares(&mut bench, letter, scalar);
        }
    }
    for wide in [false, true] {
        for _ in 0..4 {
            for (letter, scalar) in &LETTERS[..2] {
                let name = bench.name(format!("cublas{letter}gemmGroupedBatched"), wide);
                grouped(&mut bench, &name, *scalar, None, wide);
            }
            for (scalar, compute) in
                [(Element::F16, 68), (Element::Bf16, 68), (Element::F32, 77), (Element::F64, 70)]
            {
                let name = bench.name("cublasGemmGroupedBatchedEx".to_owned(), wide);
                grouped(&mut bench, &name, scalar, Some(compute), wide);
            }
        }
    }
    bench.finish();
}

/// getrf, getrs and getri, with pivots and without.
fn lu(bench: &mut Bench, letter: char, scalar: Element) {
    let (n, cols, count) = (bench.pick(&[1, 2, 7, 33]), bench.pick(&[1, 4]), bench.pick(&[1, 3]));
    let with_pivots = bench.pick(&[true, false]);
    let handle = bench.handle;
    let mut a = batch(bench, scalar, [n, n], count);
    if !with_pivots {
        // Without pivots only a dominant diagonal keeps the factors small.
        for a in &mut a {
            (0..n).for_each(|i| a.set(i, i, Number::new(4.0 + n as f64, 0.0)));
        }
    }
    let (list, pivots, info) = (addresses(&a), numbers(n * count), numbers(count));
    let pivots_at = if with_pivots { pivots.address } else { 0 };
    let ld = int(false, a[0].ld);
    let name = bench.name(format!("cublas{letter}getrfBatched"), false);
    let (n_at, count_at) = (int(false, n), int(false, count));
    let status = call!(&name, handle => *mut c_void, n_at => i64, list.address => u64, ld => i64, pivots_at => u64,
        info.address => u64, count_at => i64);
    assert_eq!(status, SUCCESS, "{name}");
    assert!(integers(&info.get()).iter().all(|&info| info == 0));
    let pivot_rows = integers(&pivots.get());
    for (index, a) in a.iter().enumerate() {
        let lu = a.now(everywhere);
        let lower = |i, j| element(Structure::UnitTriangular, Half::Lower, &lu, i, j);
        let upper = |i, j| element(Structure::Triangular, Half::Upper, &lu, i, j);
        let rows = if with_pivots {
            permutation(n, &pivot_rows[index * n..(index + 1) * n])
        } else {
            (0..n).collect()
        };
        for (place, want) in product([n, n, n], lower, upper).into_iter().enumerate() {
            close(scalar, &name, a.at(rows[place % n], place / n), want, n);
        }
    }

    let trans = bench.pick(&[0, 1, 2]);
    let b = batch(bench, scalar, [n, cols], count);
    let right = addresses(&b);
    let mut host_info: c_int = 77;
    let pointer = &raw mut host_info;
    let name = bench.name(format!("cublas{letter}getrsBatched"), false);
    let status = call!(&name, handle => *mut c_void, trans => c_int, n_at => i64, int(false, cols) => i64,
        list.address => u64, ld => i64, pivots_at => u64, right.address => u64, int(false, b[0].ld) => i64,
        pointer => *mut c_int, count_at => i64);
    assert_eq!((status, host_info), (SUCCESS, 0), "{name}");
    for (a, b) in a.iter().zip(&b) {
        let x = b.now(everywhere);
        let op = |i: usize, j: usize| match trans {
            0 => a.at(i, j),
            1 => a.at(j, i),
            _ => a.at(j, i).conj(),
        };
        for (place, mut want) in product([n, cols, n], op, &x).into_iter().enumerate() {
            want.magnitude = 8.0 * n as f64 * (0..n).map(|i| x(i, place / n).norm()).sum::<f64>();
            close(scalar, &name, b.at(place % n, place / n), want, n);
        }
    }

    let c = batch(bench, scalar, [n, n], count);
    let target = addresses(&c);
    let info = numbers(count);
    let name = bench.name(format!("cublas{letter}getriBatched"), false);
    let status = call!(&name, handle => *mut c_void, n_at => i64, list.address => u64, ld => i64, pivots_at => u64,
        target.address => u64, int(false, c[0].ld) => i64, info.address => u64, count_at => i64);
    assert_eq!(status, SUCCESS, "{name}");
    assert!(integers(&info.get()).iter().all(|&info| info == 0));
    a.iter().zip(&c).for_each(|(a, c)| is_inverse(&name, a, c));
}

fn is_inverse(name: &str, a: &Matrix, c: &Matrix) {
    let (n, inverse) = (a.rows, c.now(everywhere));
    for (place, mut want) in product([n, n, n], |i, j| a.at(i, j), &inverse).into_iter().enumerate() {
        want.magnitude = 8.0 * n as f64 * (0..n).map(|i| inverse(i, place / n).norm()).sum::<f64>();
        close(a.element, name, if place % n == place / n { ONE } else { ZERO }, want, n);
    }
}

/// matinv; a singular matrix among the others is told and its inverse left alone.
fn inverse(bench: &mut Bench, letter: char, scalar: Element) {
    let (n, count) = (bench.pick(&[1, 3, 32]), 3);
    let mut a = batch(bench, scalar, [n, n], count);
    (0..n).for_each(|row| a[1].set(row, n - 1, ZERO));
    let c = batch(bench, scalar, [n, n], count);
    let (list, target, info) = (addresses(&a), addresses(&c), numbers(count));
    let name = bench.name(format!("cublas{letter}matinvBatched"), false);
    let (handle, ld) = (bench.handle, int(false, a[0].ld));
    let status = call!(&name, handle => *mut c_void, int(false, n) => i64, list.address => u64, ld => i64,
        target.address => u64, ld => i64, info.address => u64, int(false, count) => i64);
    assert_eq!(status, SUCCESS, "{name}");
    assert_eq!(integers(&info.get()), [0, n as i32, 0], "{name}");
    is_inverse(&name, &a[0], &c[0]);
    c[1].is_untouched();
    is_inverse(&name, &a[2], &c[2]);
    a.iter().for_each(Matrix::is_untouched);
}

fn qr(bench: &mut Bench, letter: char, scalar: Element) {
    let (m, n, count) = (bench.pick(&[1, 2, 9, 33]), bench.pick(&[1, 3, 20]), bench.pick(&[1, 3]));
    let few = m.min(n);
    let a = batch(bench, scalar, [m, n], count);
    let tau: Vec<Matrix> = (0..count).map(|_| bench.matrix(scalar, [few, 1], nowhere)).collect();
    let (list, scalars) = (addresses(&a), addresses(&tau));
    let mut info: c_int = 77;
    let pointer = &raw mut info;
    let name = bench.name(format!("cublas{letter}geqrfBatched"), false);
    let status = call!(&name, bench.handle => *mut c_void, int(false, m) => i64, int(false, n) => i64,
        list.address => u64, int(false, a[0].ld) => i64, scalars.address => u64, pointer => *mut c_int,
        int(false, count) => i64);
    assert_eq!((status, info), (SUCCESS, 0), "{name}");
    for (a, tau) in a.iter().zip(&tau) {
        let (qr, tau) = (a.now(everywhere), tau.now(everywhere));
        for col in 0..n {
            let mut column: Vec<Number> = (0..m).map(|i| if i <= col { qr(i, col) } else { ZERO }).collect();
            let magnitude = column.iter().map(|x| x.norm()).sum::<f64>();
            for step in (0..few).rev() {
                let v = |i: usize| if i == step { ONE } else { qr(i, step) };
                let dot: Number = (step..m).map(|i| v(i).conj() * column[i]).sum();
                (step..m).for_each(|i| column[i] -= tau(step, 0) * dot * v(i));
            }
            for (row, &value) in column.iter().enumerate() {
                close(scalar, &name, a.at(row, col), Expected { value, magnitude }, 4 * m);
            }
        }
    }
}

fn least_squares(bench: &mut Bench, letter: char, scalar: Element) {
    let (n, cols, count) = (bench.pick(&[1, 3, 12]), bench.pick(&[1, 2]), 2);
    let m = n + bench.pick(&[0, 1, 20]);
    let a = batch(bench, scalar, [m, n], count);
    let b = batch(bench, scalar, [m, cols], count);
    let (list, rights, ranks) = (addresses(&a), addresses(&b), numbers(count));
    let ranks_at = bench.pick(&[ranks.address, 0]);
    let mut info: c_int = 77;
    let pointer = &raw mut info;
    let name = bench.name(format!("cublas{letter}gelsBatched"), false);
    let handle = bench.handle;
    let status = call!(&name, handle => *mut c_void, 0 => c_int, int(false, m) => i64, int(false, n) => i64,
        int(false, cols) => i64, list.address => u64, int(false, a[0].ld) => i64, rights.address => u64,
        int(false, b[0].ld) => i64, pointer => *mut c_int, ranks_at => u64, int(false, count) => i64);
    assert_eq!((status, info), (SUCCESS, 0), "{name}");
    let told = integers(&ranks.get());
    assert!(if ranks_at == 0 { told[0] != 0 } else { told == [0, 0] }, "{name}: {told:?}");
    for (a, b) in a.iter().zip(&b) {
        let x = b.now(everywhere);
        let ax = product([m, cols, n], |i, j| a.at(i, j), &x);
        let residual = |i: usize, j: usize| b.at(i, j) - ax[i + j * m].value;
        for (place, mut want) in
            product([n, cols, m], |i, l| a.at(l, i).conj(), residual).into_iter().enumerate()
        {
            let size = (0..n).map(|i| x(i, place / n).norm()).sum::<f64>() + m as f64;
            want.magnitude = 16.0 * m as f64 * size;
            close(scalar, &name, ZERO, want, m);
        }
    }
}

/// Two to three groups, each with its own sizes, operations and scalars; the pointer mode does not count.
fn grouped(bench: &mut Bench, name: &str, scalar: Element, compute: Option<c_int>, wide: bool) {
    let groups = bench.pick(&[2, 3]);
    let mode = bench.pick(&[0, 1]);
    assert_eq!(call!("cublasSetPointerMode_v2", bench.handle => *mut c_void, mode => c_int), SUCCESS);
    let single = if scalar == Element::F64 { Element::F64 } else { Element::F32 };
    let (mut sizes, mut ops) = (vec![Vec::new(); 7], vec![Vec::<c_int>::new(); 2]);
    let (mut scalars, mut values) = (vec![Vec::new(); 2], Vec::new());
    let (mut a, mut b, mut c): (Vec<Matrix>, Vec<Matrix>, Vec<Matrix>) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..groups {
        let (m, n, k) = (bench.pick(&[1, 4, 9]), bench.pick(&[1, 5]), bench.pick(&[1, 8]));
        let (ta, tb, count) = (bench.pick(&[0, 1]), bench.pick(&[0, 1]), bench.pick(&[0, 1, 2]));
        let [alpha, beta] = [bench.value(single), bench.pick(&[ZERO, Number::new(0.5, 0.0)])];
        scalars.iter_mut().zip([alpha, beta]).for_each(|(bytes, value)| single.encode(value, bytes));
        ops.iter_mut().zip([ta, tb]).for_each(|(ops, op)| ops.push(op));
        let of = |op: c_int, rows: usize, cols: usize| if op == 0 { [rows, cols] } else { [cols, rows] };
        let fixed = |bench: &mut Bench, [rows, cols]: [usize; 2], list: &mut Vec<Matrix>, holds: bool| {
            for _ in 0..count {
                let one = bench.matrix(scalar, [rows, cols], |_, _| holds);
                let mut bytes = vec![0xff; 12 * cols * scalar.bytes()];
                for index in (0..12 * cols).filter(|index| index % 12 < rows && holds) {
                    let mut element = Vec::new();
                    scalar.encode(one.at(index % 12, index / 12), &mut element);
                    bytes[index * element.len()..(index + 1) * element.len()].copy_from_slice(&element);
                }
                list.push(Matrix::holding(scalar, [rows, cols], 12, bytes));
            }
        };
        fixed(bench, of(ta, m, k), &mut a, true);
        fixed(bench, of(tb, k, n), &mut b, true);
        fixed(bench, [m, n], &mut c, beta != ZERO);
        let numbers = [m, n, k, 12, 12, 12, count];
        sizes.iter_mut().zip(numbers).for_each(|(list, number)| list.push(number as i64));
        values.extend((0..count).map(|_| ([m, n, k], [ta, tb], [alpha, beta])));
    }
    let narrow: Vec<Vec<c_int>> =
        sizes.iter().map(|list| list.iter().map(|&number| number as c_int).collect()).collect();
    let at = |index: usize| {
        if wide { sizes[index].as_ptr() as u64 } else { narrow[index].as_ptr() as u64 }
    };
    let (a_list, b_list, c_list) = (addresses(&a), addresses(&b), addresses(&c));
    let (ta, tb) = (ops[0].as_ptr() as u64, ops[1].as_ptr() as u64);
    let (alpha, beta) = (scalars[0].as_ptr() as u64, scalars[1].as_ptr() as u64);
    let (handle, groups, cuda) = (bench.handle, int(wide, groups), scalar.cuda());
    let status = match compute {
        None => {
            call!(name, handle => *mut c_void, ta => u64, tb => u64, at(0) => u64, at(1) => u64, at(2) => u64,
            alpha => u64, a_list.address => u64, at(3) => u64, b_list.address => u64, at(4) => u64, beta => u64,
            c_list.address => u64, at(5) => u64, groups => i64, at(6) => u64)
        }
        Some(compute) => call!(name, handle => *mut c_void, ta => u64, tb => u64, at(0) => u64, at(1) => u64,
            at(2) => u64, alpha => u64, a_list.address => u64, cuda => c_int, at(3) => u64, b_list.address => u64,
            cuda => c_int, at(4) => u64, beta => u64, c_list.address => u64, cuda => c_int, at(5) => u64,
            groups => i64, at(6) => u64, compute => c_int),
    };
    assert_eq!(status, SUCCESS, "{name}");
    for (index, ([m, n, k], [ta, tb], [alpha, beta])) in values.into_iter().enumerate() {
        let op = |op: c_int, x: &Matrix, i: usize, j: usize| if op == 0 { x.at(i, j) } else { x.at(j, i) };
        let (a, b, c) = (&a[index], &b[index], &c[index]);
        let problem = Problem { m, n, k, alpha, beta, activation: Activation::None };
        let (x, y) = (|i, l| op(ta, a, i, l), |l, j| op(tb, b, l, j));
        c.check(name, &gemm(problem, x, y, |i, j| c.at(i, j), |_| 0.0), k, everywhere);
    }
}

/// Documented misuse: the status, the host's info, and nothing touched.
pub fn bad_input() {
    let mut bench = Bench::new();
    let handle = bench.handle;
    let a = batch(&mut bench, Element::F32, [4, 4], 1);
    let b = batch(&mut bench, Element::F32, [4, 4], 1);
    let (a_list, b_list) = (addresses(&a), addresses(&b));
    let ones = Device::holding(&[1, 2, 3, 9].map(i32::to_le_bytes).concat());
    let info = numbers(1);
    let mut told: c_int = 77;
    let pointer = &raw mut told;
    for (what, [trans, n, cols, lda, ldb, count], want) in [
        ("unknown op", [3, 4, 4, 40, 40, 1], -1),
        ("n < 0", [0, -1, 4, 40, 40, 1], -2),
        ("nrhs < 0", [0, 4, -1, 40, 40, 1], -3),
        ("lda < n", [0, 4, 4, 3, 40, 1], -5),
        ("ldb < n", [0, 4, 4, 40, 3, 1], -8),
        ("batchSize < 0", [0, 4, 4, 40, 40, -1], -10),
        ("a pivot that is no row", [0, 4, 4, 40, 40, 1], 0),
    ] {
        let status = call!("cublasSgetrsBatched", handle => *mut c_void, trans => c_int, n => c_int, cols => c_int,
            a_list.address => u64, lda => c_int, ones.address => u64, b_list.address => u64, ldb => c_int,
            pointer => *mut c_int, count => c_int);
        // SAFETY: `told` lives; the call has written it through the same pointer.
        assert_eq!((status, unsafe { pointer.read() }), (INVALID_VALUE, want), "{what}");
        b[0].is_untouched();
    }
    let gels = |trans: c_int, m: c_int, n: c_int| {
        call!("cublasSgelsBatched", handle => *mut c_void, trans => c_int, m => c_int, n => c_int, 1 => c_int,
            a_list.address => u64, 40 => c_int, b_list.address => u64, 40 => c_int, pointer => *mut c_int, 0 => u64,
            1 => c_int)
    };
    assert_eq!(gels(1, 4, 4), NOT_SUPPORTED, "a transposed system");
    assert_eq!(gels(0, 3, 4), NOT_SUPPORTED, "an underdetermined system");
    let getrf = |n: c_int, lda: c_int, info: u64| {
        call!("cublasSgetrfBatched", handle => *mut c_void, n => c_int, a_list.address => u64, lda => c_int, 0 => u64,
            info => u64, 1 => c_int)
    };
    assert_eq!(getrf(-1, 40, info.address), INVALID_VALUE, "n < 0");
    assert_eq!(getrf(4, 3, info.address), INVALID_VALUE, "lda < n");
    assert_eq!(getrf(4, 40, 0), INVALID_VALUE, "null info");
    let matinv = call!("cublasSmatinvBatched", handle => *mut c_void, 33 => c_int, a_list.address => u64, 40 => c_int,
        b_list.address => u64, 40 => c_int, info.address => u64, 1 => c_int);
    assert_eq!(matinv, INVALID_VALUE, "an order beyond 32");
    a[0].is_untouched();
    b[0].is_untouched();
    assert_eq!(integers(&info.get()), [0x7777_7777]);
    bench.finish();
}
