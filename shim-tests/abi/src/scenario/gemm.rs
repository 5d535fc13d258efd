//! Products through every entry point.

use std::ffi::{c_char, c_int, c_void};

use gpucompat_cases::element::Element;
use gpucompat_cases::gemm::{GemmCase, Types};

use crate::blas::{case_for, entries, invoke, run, scalar, sgemm};
use crate::call;
use crate::lab::{Device, INVALID_VALUE, SUCCESS, bytes, create, floats};

/// Random cases over all entries; `GEMM_CASES` says how many an entry, `GEMM_SEED` where to begin.
pub fn matrix() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (each, seed) = (number("GEMM_CASES", 20), number("GEMM_SEED", 1));
    let handle = create();
    let entries = entries();
    for (index, entry) in entries.iter().enumerate() {
        for round in 0..each {
            run(entry, handle, &case_for(entry, seed + index as u64 * 1000 + round));
        }
    }
    let names: std::collections::BTreeSet<_> = entries.iter().map(|entry| entry.symbol.as_str()).collect();
    println!("symbols {}", names.into_iter().collect::<Vec<_>>().join(" "));
    println!("cases {}", entries.len() as u64 * each);
    assert_eq!(call!("cublasDestroy_v2", handle => *mut c_void), SUCCESS);
}

/// One case again: `scenario gemm_one SYMBOL COMPUTE 'f32->f32:f32 nt m7 …'`.
pub fn one() {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [symbol, compute, case @ ..] = &arguments[..] else {
        panic!("usage: scenario gemm_one SYMBOL COMPUTE CASE")
    };
    let case: GemmCase = case.join(" ").parse().unwrap();
    let compute: c_int = compute.parse().unwrap();
    let fits = |entry: &crate::blas::Entry| {
        entry.symbol == *symbol && entry.compute == compute && entry.types == case.types
    };
    let entry = entries().into_iter().find(fits).expect("a served symbol that takes these types");
    run(&entry, create(), &case);
}

/// α and β in device memory, as `CUBLAS_POINTER_MODE_DEVICE` has them.
pub fn device_scalars() {
    let handle = create();
    assert_eq!(call!("cublasSetPointerMode_v2", handle => *mut c_void, 1 => c_int), SUCCESS);
    for entry in entries() {
        for seed in 0..3 {
            let case = case_for(&entry, 77_000 + seed);
            let data = case.data();
            let (a, b, c) = (Device::holding(&data.a), Device::holding(&data.b), Device::holding(&data.c));
            let (alpha, beta) =
                (Device::holding(&scalar(&case, case.alpha)), Device::holding(&scalar(&case, case.beta)));
            let status = invoke(
                &entry,
                handle,
                &case,
                [alpha.address, beta.address],
                [a.address, b.address, c.address],
            );
            assert_eq!(status, SUCCESS, "{} {case}", entry.symbol);
            case.check(&data.c, &c.get(), &data.expected)
                .unwrap_or_else(|wrong| panic!("{}: {wrong}", entry.symbol));
        }
    }
}

/// Sizes of zero succeed and touch nothing; with k = 0 β is still applied.
pub fn zero_sizes() {
    let handle = create();
    let entry = sgemm();
    for (m, n, k, beta, want) in [
        (0, 4, 4, 0.0, 3.0f32),
        (4, 0, 4, 0.0, 3.0),
        (4, 4, 0, 2.0, 6.0),
        (4, 4, 0, 0.0, 0.0),
        (4, 4, 0, 1.0, 3.0),
    ] {
        let text =
            format!("f32->f32:f32 nn m{m} n{n} k{k} lda4 ldb4 ldc4 alpha1 beta{beta} batch1 gap0 seed1");
        let case: GemmCase = text.parse().unwrap();
        let c = Device::holding(&bytes(&[3.0; 16]));
        let (alpha, beta) = (scalar(&case, 1.0), scalar(&case, case.beta));
        // With nothing to read, the addresses of A and B may be anything.
        let status =
            invoke(&entry, handle, &case, [alpha.as_ptr() as u64, beta.as_ptr() as u64], [0, 0, c.address]);
        assert_eq!(status, SUCCESS, "{text}");
        assert!(floats(&c.get()).iter().all(|&value| value == want), "{text}: {:?}", floats(&c.get()));
    }
    // Nothing to write: C may be null as well.
    let case: GemmCase =
        "f32->f32:f32 nn m0 n0 k0 lda1 ldb1 ldc1 alpha1 beta0 batch1 gap0 seed1".parse().unwrap();
    let one = scalar(&case, 1.0);
    assert_eq!(invoke(&entry, handle, &case, [one.as_ptr() as u64; 2], [0, 0, 0]), SUCCESS);
}

/// The legacy interface: characters, scalars by value, errors kept for `cublasGetError`.
pub fn legacy() {
    assert_eq!(call!("cublasInit"), SUCCESS);
    for (symbol, element) in [
        ("cublasSgemm", Element::F32),
        ("cublasDgemm", Element::F64),
        ("cublasCgemm", Element::C32),
        ("cublasZgemm", Element::C64),
    ] {
        if std::env::var("STANDIN_DIR").is_ok() && symbol != "cublasSgemm" {
            continue; // the stand-in has but the one
        }
        for seed in 0..40 {
            let case = GemmCase::random(Types::uniform(element), 1, 5_000 + seed);
            let data = case.data();
            let (a, b, c) = (Device::holding(&data.a), Device::holding(&data.b), Device::holding(&data.c));
            call_legacy(symbol, &case, [a.address, b.address, c.address]);
            assert_eq!(call!("cublasGetError"), SUCCESS, "{symbol} {case}");
            case.check(&data.c, &c.get(), &data.expected).unwrap_or_else(|wrong| panic!("{symbol}: {wrong}"));
        }
    }
    if std::env::var("STANDIN_DIR").is_err() {
        let case: GemmCase =
            "f32->f32:f32 nn m4 n4 k4 lda3 ldb4 ldc4 alpha1 beta0 batch1 gap0 seed1".parse().unwrap();
        let c = Device::holding(&bytes(&[3.0; 16]));
        call_legacy("cublasSgemm", &case, [c.address; 3]);
        assert_eq!(call!("cublasGetError"), INVALID_VALUE, "a short leading dimension");
        assert_eq!(call!("cublasGetError"), SUCCESS, "an error is given once");
        assert!(floats(&c.get()).iter().all(|&value| value == 3.0));
    }
    assert_eq!(call!("cublasShutdown"), SUCCESS);
}

/// Two floats, or doubles, passed by value as C passes them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Pair<T>(T, T);

fn call_legacy(symbol: &str, case: &GemmCase, [a, b, c]: [u64; 3]) {
    let (ta, tb) = (case.transa as c_char, case.transb as c_char);
    let (m, n, k) = (case.m as c_int, case.n as c_int, case.k as c_int);
    let [lda, ldb, ldc] = case.ld.map(|ld| ld as c_int);
    let (alpha, beta) = (case.scalar(case.alpha), case.scalar(case.beta));
    macro_rules! with {
        ($ty:ty, $alpha:expr, $beta:expr) => {
            call!(symbol, ta => c_char, tb => c_char, m => c_int, n => c_int, k => c_int, $alpha => $ty, a => u64, lda => c_int,
                b => u64, ldb => c_int, $beta => $ty, c => u64, ldc => c_int)
        };
    }
    match case.types.ab {
        Element::F32 => with!(f32, alpha.re as f32, beta.re as f32),
        Element::F64 => with!(f64, alpha.re, beta.re),
        Element::C32 => {
            let pair = |value: gpucompat_cases::element::Number| Pair(value.re as f32, value.im as f32);
            with!(Pair<f32>, pair(alpha), pair(beta))
        }
        _ => {
            let pair = |value: gpucompat_cases::element::Number| Pair(value.re, value.im);
            with!(Pair<f64>, pair(alpha), pair(beta))
        }
    };
}
