//! Who computed: counted by the stand-in, the *native* library next in the chain.

use std::ffi::{c_int, c_void};

use crate::blas::{run, sgemm};
use crate::call;
use crate::lab::{Device, SUCCESS, bytes, calls, create, foreign_handles};

/// A right result, and `EXPECT_NATIVE` products by the native library (beside the probe's).
pub fn native_calls() {
    let expected: u64 = std::env::var("EXPECT_NATIVE").unwrap().parse().unwrap();
    let before = calls("libcublas.so.12", "cublasSgemm_v2");
    let handle = create();
    let entry = sgemm();
    for seed in 0..5 {
        // Not empty, whatever the seed: an empty product needs nobody.
        let text = format!("f32->f32:f32 nt m7 n5 k3 lda9 ldb6 ldc8 alpha1.5 beta1 batch1 gap0 seed{seed}");
        run(&entry, handle, &text.parse().unwrap());
    }
    let native = calls("libcublas.so.12", "cublasSgemm_v2") - before;
    // The probe runs when the first handle is made.
    let probes = u64::from(std::env::var("EXPECT_PROBE").is_ok());
    assert_eq!(native, expected + probes);
    assert_eq!(foreign_handles(), 0, "the native library saw a handle of ours");
}

/// A native call that fails for want of a kernel is served, and the function stays with us; others do not.
pub fn learned() {
    let handle = create();
    let case = "f32->f32:f32 nt m7 n5 k3 lda9 ldb6 ldc8 alpha1.5 beta1 batch1 gap0 seed1".parse().unwrap();
    for _ in 0..3 {
        run(&sgemm(), handle, &case);
    }
    assert_eq!(calls("libcublas.so.12", "cublasSgemm_v2"), 1, "tried natively once");
    let double = crate::blas::Entry {
        symbol: "cublasDgemm_v2".to_owned(),
        types: gpucompat_cases::gemm::Types::uniform(gpucompat_cases::element::Element::F64),
        ..sgemm()
    };
    let case = "f64->f64:f64 nt m7 n5 k3 lda9 ldb6 ldc8 alpha1.5 beta1 batch1 gap0 seed1".parse().unwrap();
    for _ in 0..3 {
        run(&double, handle, &case);
    }
    assert_eq!(calls("libcublas.so.12", "cublasDgemm_v2"), 3, "the healthy function stays native");
    // One function, two types: only the broken combination is ours.
    for (types, native) in [("f16->f32:f32", "cublasGemmEx"), ("f32->f32:f32", "cublasGemmEx")] {
        let case: gpucompat_cases::gemm::GemmCase =
            format!("{types} nt m7 n5 k3 lda9 ldb6 ldc8 alpha1.5 beta1 batch1 gap0 seed1").parse().unwrap();
        let entry = crate::blas::Entry {
            symbol: native.to_owned(),
            form: crate::blas::Form::Ex,
            types: case.types,
            compute: 68,
            wide: false,
        };
        run(&entry, handle, &case);
    }
    assert_eq!(foreign_handles(), 0);
}

/// The native library calls `cublasLtMatmul` through the global scope, where ours is first: it goes
/// straight on to the native one.
pub fn recursion() {
    let handle = create();
    let case = "f32->f32:f32 nt m7 n5 k3 lda9 ldb6 ldc8 alpha1.5 beta1 batch1 gap0 seed1".parse().unwrap();
    run(&sgemm(), handle, &case);
    assert!(calls("libcublasLt.so.12", "cublasLtMatmul") >= 1, "the native cuBLASLt did the work");
    assert_eq!(foreign_handles(), 0);
}

/// Nanoseconds that an intercepted call of a healthy library costs over a direct one; printed, not judged.
pub fn overhead() {
    type Set = unsafe extern "C" fn(*mut c_void, c_int) -> c_int;
    type Sgemm = unsafe extern "C" fn(
        *mut c_void,
        c_int,
        c_int,
        c_int,
        c_int,
        c_int,
        *const f32,
        u64,
        c_int,
        u64,
        c_int,
        *const f32,
        u64,
        c_int,
    ) -> c_int;
    let handle = create();
    let c = Device::holding(&bytes(&[0.0; 4]));
    let one = 1.0f32;
    run(
        &sgemm(),
        handle,
        &"f32->f32:f32 nn m2 n2 k2 lda2 ldb2 ldc2 alpha1 beta0 batch1 gap0 seed1".parse().unwrap(),
    );
    let time = |function: *mut c_void| {
        // SAFETY: both addresses are a `cublasSgemm_v2`.
        let function: Sgemm = unsafe { std::mem::transmute(function) };
        let rounds = 2_000_000u32;
        let started = std::time::Instant::now();
        for _ in 0..rounds {
            // An empty product: the stand-in returns at once.
            // SAFETY: sizes of zero touch nothing.
            unsafe {
                function(
                    handle,
                    0,
                    0,
                    0,
                    0,
                    0,
                    &raw const one,
                    c.address,
                    1,
                    c.address,
                    1,
                    &raw const one,
                    c.address,
                    1,
                )
            };
        }
        started.elapsed().as_nanos() as f64 / f64::from(rounds)
    };
    let setter = |function: *mut c_void| {
        // SAFETY: both addresses are a `cublasSetMathMode`.
        let function: Set = unsafe { std::mem::transmute(function) };
        let rounds = 2_000_000u32;
        let started = std::time::Instant::now();
        for _ in 0..rounds {
            // SAFETY: the handle is live.
            unsafe { function(handle, 0) };
        }
        started.elapsed().as_nanos() as f64 / f64::from(rounds)
    };
    for name in ["cublasSgemm_v2", "cublasSetMathMode"] {
        let (ours, direct) = (crate::lab::symbol(name), crate::lab::native("libcublas.so.12", name));
        let best = |function| {
            let once = || if name == "cublasSgemm_v2" { time(function) } else { setter(function) };
            (0..5).map(|_| once()).fold(f64::INFINITY, f64::min)
        };
        let (direct, ours) = (best(direct), best(ours));
        println!("{name}: direct {direct:.1} ns, intercepted {ours:.1} ns, overhead {:.1} ns", ours - direct);
    }
}

/// What a small served product costs: `cublasSgemm_v2` of 32×32 matrices, microseconds, the best of five.
pub fn served_overhead() {
    const N: c_int = 32;
    let handle = crate::lab::create();
    let matrix = || Device::holding(&vec![0u8; (N * N) as usize * 4]);
    let (a, b, c) = (matrix(), matrix(), matrix());
    let (one, zero) = (1.0f32, 0.0f32);
    let (alpha, beta) = (&raw const one, &raw const zero);
    let once = || {
        let status = call!("cublasSgemm_v2", handle => *mut c_void, 0 => c_int, 0 => c_int, N => c_int, N => c_int, N => c_int,
            alpha => *const f32, a.address => u64, N => c_int, b.address => u64, N => c_int,
            beta => *const f32, c.address => u64, N => c_int);
        assert_eq!(status, SUCCESS);
    };
    (0..100).for_each(|_| once());
    let round = || {
        let started = std::time::Instant::now();
        (0..2000).for_each(|_| once());
        started.elapsed().as_secs_f64() / 2000.0
    };
    let best = (0..5).map(|_| round()).fold(f64::INFINITY, f64::min);
    println!("served cublasSgemm_v2 32x32x32: {:.2} us", best * 1e6);
}
