//! cublasXt: the products that level 3 of the other interfaces has not, handles with their settings and lives, and misuse.

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::Element;
use gpucompat_reference::gemm::gemm;
use gpucompat_reference::structured::{Half, Structure, element};

use crate::call;
use crate::lab::{Device, INVALID_VALUE, NOT_INITIALIZED, SUCCESS, bytes, calls, floats, foreign_handles};
use crate::level3::{HALVES, SIZES, everywhere, op_at, product, random_scalars, stored};
use crate::linear::{Bench, Matrix, ZERO};

/// The general product, and the product with a packed symmetric matrix.
pub fn products(bench: &mut Bench, letter: char, scalar: Element) {
    general(bench, letter, scalar);
    packed(bench, letter, scalar);
}

fn general(bench: &mut Bench, letter: char, scalar: Element) {
    let Some(name) = bench.name_of(format!("cublas{letter}gemm_v2"), true) else { return };
    let [m, n, k] = [(); 3].map(|()| bench.pick(&SIZES));
    let (ta, tb) = (bench.pick(&[0, 1, 2]), bench.pick(&[0, 1, 2]));
    let [alpha, beta] = random_scalars(bench, scalar);
    let read = alpha != ZERO;
    let a = bench.matrix(scalar, stored(ta, m, k), |_, _| read);
    let b = bench.matrix(scalar, stored(tb, k, n), |_, _| read);
    let c = bench.matrix(scalar, [m, n], |_, _| beta != ZERO);
    let [alpha_at, beta_at] = bench.scalars([(scalar, alpha), (scalar, beta)]);
    let status = call!(&name.symbol, bench.handle => *mut c_void, ta => c_int, tb => c_int, m => usize, n => usize,
        k => usize, alpha_at.address() => u64, a.address() => u64, a.ld => usize, b.address() => u64, b.ld => usize,
        beta_at.address() => u64, c.address() => u64, c.ld => usize);
    assert_eq!(status, SUCCESS, "{} m={m} n={n} k={k} trans={ta}{tb}", name.symbol);
    let left = |i: usize, l: usize| op_at(ta, |i, j| a.at(i, j), i, l);
    let right = |l: usize, j: usize| op_at(tb, |i, j| b.at(i, j), l, j);
    let want = gemm(product([m, n, k], alpha, beta), left, right, |i, j| c.at(i, j), |_| 0.0);
    c.check(&name.symbol, &want, k, everywhere);
    a.is_untouched();
    b.is_untouched();
}

fn packed(bench: &mut Bench, letter: char, scalar: Element) {
    let Some(name) = bench.name_of(format!("cublas{letter}spmm"), true) else { return };
    let (m, n, side) = (bench.pick(&SIZES), bench.pick(&SIZES), bench.pick(&[0, 1]));
    let (uplo, half) = bench.pick(&HALVES);
    let [alpha, beta] = random_scalars(bench, scalar);
    let (order, read) = (if side == 0 { m } else { n }, alpha != ZERO);
    let a = triangle(bench, scalar, order, read);
    let b = bench.matrix(scalar, [m, n], |_, _| read);
    let c = bench.matrix(scalar, [m, n], |_, _| beta != ZERO);
    let [alpha_at, beta_at] = bench.scalars([(scalar, alpha), (scalar, beta)]);
    let status = call!(&name.symbol, bench.handle => *mut c_void, side => c_int, uplo => c_int, m => usize, n => usize,
        alpha_at.address() => u64, a.address() => u64, b.address() => u64, b.ld => usize, beta_at.address() => u64,
        c.address() => u64, c.ld => usize);
    assert_eq!(status, SUCCESS, "{} side={side} uplo={uplo} m={m} n={n}", name.symbol);
    let at = |i: usize, j: usize| a.at(place(half, order, i, j), 0);
    let full = |i: usize, j: usize| element(Structure::Symmetric, half, at, i, j);
    let (x, y) = (|i, j| b.at(i, j), |i, j| c.at(i, j));
    let problem = product([m, n, order], alpha, beta);
    let want =
        if side == 0 { gemm(problem, full, x, y, |_| 0.0) } else { gemm(problem, x, full, y, |_| 0.0) };
    c.check(&name.symbol, &want, order, everywhere);
    a.is_untouched();
}

/// Memory of a packed triangle; NaN if it is not read.
fn triangle(bench: &mut Bench, scalar: Element, order: usize, read: bool) -> Matrix {
    bench.matrix(scalar, [order * (order + 1) / 2, 1], |_, _| read)
}

/// Where element (i, j) of a packed triangle lies: NVIDIA's formulas, counted from 0.
fn place(half: Half, n: usize, i: usize, j: usize) -> usize {
    match half {
        Half::Lower => i + (2 * n - j - 1) * j / 2,
        Half::Upper => i + j * (j + 1) / 2,
    }
}

/// Products that the real library has begun to fail at are ours from then on, on its own handle.
pub fn learned() {
    let mut bench = Bench::new();
    for _ in 0..20 {
        general(&mut bench, 'S', Element::F32);
    }
    assert_eq!(calls("libcublas.so.12", "cublasXtSgemm"), 1, "tried natively once");
    assert_eq!(calls("libcublas.so.12", "cublasXtCreate"), 1);
    bench.finish();
    assert_eq!(calls("libcublas.so.12", "cublasXtDestroy"), 1);
    assert_eq!(foreign_handles(), 0, "cuBLAS was asked about a handle of cublasXt's");
}

/// Settings are given back, bad ones refused; devices and boards are counted; a destroyed handle is none.
pub fn handles() {
    let mut handle = std::ptr::null_mut::<c_void>();
    let out = &raw mut handle;
    assert_eq!(call!("cublasXtCreate", out => *mut *mut c_void), SUCCESS);
    let nobody = std::ptr::null_mut::<c_void>();
    assert_eq!(call!("cublasXtCreate", nobody => *mut c_void), INVALID_VALUE);
    for (set, get, good, bad) in [
        ("cublasXtSetBlockDim", "cublasXtGetBlockDim", 512, [0, -1]),
        ("cublasXtSetPinningMemMode", "cublasXtGetPinningMemMode", 1, [2, -1]),
    ] {
        let mut value: c_int = -7;
        let at = &raw mut value;
        assert_eq!(call!(set, handle => *mut c_void, good => c_int), SUCCESS, "{set}");
        bad.into_iter().for_each(|bad| {
            assert_eq!(call!(set, handle => *mut c_void, bad => c_int), INVALID_VALUE, "{set} {bad}");
        });
        assert_eq!(call!(get, handle => *mut c_void, at => *mut c_int), SUCCESS, "{get}");
        assert_eq!(value, good, "{get}");
        assert_eq!(call!(get, handle => *mut c_void, 0 => u64), INVALID_VALUE, "{get} to null");
    }
    let select = |count: c_int, list: &[c_int]| call!("cublasXtDeviceSelect", handle => *mut c_void, count => c_int, list.as_ptr() => *const c_int);
    assert_eq!(select(1, &[0]), SUCCESS);
    assert_eq!(select(2, &[0, 1]), SUCCESS);
    assert_eq!(select(1, &[2]), INVALID_VALUE, "a device that is not there");
    assert_eq!(select(1, &[-1]), INVALID_VALUE);
    assert_eq!(select(0, &[0]), INVALID_VALUE);
    assert_eq!(call!("cublasXtDeviceSelect", handle => *mut c_void, 1 => c_int, 0 => u64), INVALID_VALUE);
    let mut boards: c_int = 0;
    let at = &raw mut boards;
    assert_eq!(call!("cublasXtMaxBoards", at => *mut c_int), SUCCESS);
    assert_eq!(boards, 1024);
    let list: [c_int; 2] = [1, 1];
    assert_eq!(
        call!("cublasXtGetNumBoards", 2 => c_int, list.as_ptr() => *const c_int, at => *mut c_int),
        SUCCESS
    );
    assert_eq!(boards, 1, "one device, named twice");
    assert_eq!(
        call!("cublasXtGetNumBoards", 0 => c_int, list.as_ptr() => *const c_int, at => *mut c_int),
        INVALID_VALUE
    );
    assert_eq!(call!("cublasXtMaxBoards", 0 => u64), INVALID_VALUE);
    let share = |operation: c_int, ty: c_int| call!("cublasXtSetCpuRatio", handle => *mut c_void, operation => c_int, ty => c_int, 0.5 => f32);
    assert_eq!(share(0, 3), SUCCESS);
    for (operation, ty) in [(12, 0), (-1, 0), (0, 4)] {
        assert_eq!(share(operation, ty), INVALID_VALUE, "{operation} {ty}");
    }
    let routine = |operation: c_int| call!("cublasXtSetCpuRoutine", handle => *mut c_void, operation => c_int, 0 => c_int, 0 => u64);
    assert_eq!((routine(11), routine(12)), (SUCCESS, INVALID_VALUE));
    bad_products(handle);
    assert_eq!(call!("cublasXtDestroy", handle => *mut c_void), SUCCESS);
    assert_eq!(call!("cublasXtDestroy", handle => *mut c_void), NOT_INITIALIZED);
    assert_eq!(call!("cublasXtSetBlockDim", handle => *mut c_void, 512 => c_int), NOT_INITIALIZED);
    let names = ["Create", "Destroy", "SetBlockDim", "GetBlockDim", "SetPinningMemMode", "GetPinningMemMode"];
    let more = ["DeviceSelect", "MaxBoards", "GetNumBoards", "SetCpuRatio", "SetCpuRoutine"];
    let names: Vec<_> = names.iter().chain(&more).map(|name| format!("cublasXt{name}")).collect();
    println!("symbols {}", names.join(" "));
}

/// Misuse gets its status and writes neither kind of memory.
fn bad_products(handle: *mut c_void) {
    let one = 1.0f32;
    let one = &raw const one;
    let host = [3.0f32; 16];
    let device = Device::holding(&bytes(&[3.0; 16]));
    for c in [host.as_ptr() as u64, device.address] {
        let gemm = |m: usize, k: usize, lda: usize, alpha: *const f32, a: u64| {
            call!("cublasXtSgemm", handle => *mut c_void, 0 => c_int, 0 => c_int, m => usize, 4 => usize, k => usize,
                alpha => *const f32, a => u64, lda => usize, c => u64, 4 => usize, one => *const f32, c => u64, 4 => usize)
        };
        assert_eq!(gemm(4, 4, 3, one, c), INVALID_VALUE, "a short leading dimension");
        assert_eq!(gemm(usize::MAX, 4, usize::MAX, one, c), INVALID_VALUE, "a size that no matrix has");
        assert_eq!(gemm(4, 4, 4, std::ptr::null(), c), INVALID_VALUE, "no alpha");
        assert_eq!(gemm(4, 4, 4, one, 0), INVALID_VALUE, "no A");
        let spmm = |side: c_int, ap: u64| {
            call!("cublasXtSspmm", handle => *mut c_void, side => c_int, 0 => c_int, 4 => usize, 4 => usize,
                one => *const f32, ap => u64, c => u64, 4 => usize, one => *const f32, c => u64, 4 => usize)
        };
        assert_eq!(spmm(2, c), INVALID_VALUE, "an unknown side");
        assert_eq!(spmm(0, 0), INVALID_VALUE, "no triangle");
    }
    assert!(host == [3.0; 16] && floats(&device.get()) == [3.0; 16]);
    let foreign = 64u64;
    let status = call!("cublasXtSgemm", foreign => u64, 0 => c_int, 0 => c_int, 0 => usize, 4 => usize, 4 => usize,
        one => *const f32, 0 => u64, 4 => usize, 0 => u64, 4 => usize, one => *const f32, 0 => u64, 4 => usize);
    assert_eq!(status, NOT_INITIALIZED, "a handle of nobody's");
}
