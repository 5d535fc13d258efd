//! The legacy interface as a whole: memory, the stream, and errors kept for `cublasGetError`. Its functions are called by
//! the scenarios of the three levels.

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::{Element, Number};

use crate::blas_lab::{Name, PointerMode, Scalars, Vector};
use crate::call;
use crate::lab::{Device, INVALID_VALUE, NOT_INITIALIZED, SUCCESS, bytes, floats};

/// The legacy function that one with a handle corresponds to; the scenario is run with `BLAS_INTERFACE=legacy`.
fn legacy(base: &str) -> Name {
    Name::both(base).swap_remove(0)
}

/// `cublasAlloc` gives device memory that the functions take; `cublasFree` ends it; the version is asked for.
pub fn memory() {
    assert_eq!(call!("cublasInit"), SUCCESS);
    let mut address = 0u64;
    let pointer = &raw mut address;
    let alloc = |n: c_int, size: c_int, out: *mut u64| call!("cublasAlloc", n => c_int, size => c_int, out => *mut u64);
    assert_eq!(alloc(3, 4, pointer), SUCCESS);
    let source = bytes(&[3.0, 0.0, 4.0]);
    let status = call!("cublasSetVector", 3 => c_int, 4 => c_int, source.as_ptr() => *const u8, 1 => c_int,
        address => u64, 1 => c_int);
    assert_eq!(status, SUCCESS);
    let norm = Scalars::new(PointerMode::Host, Element::F32, &[Number::new(f64::NAN, 0.0)]);
    assert_eq!(legacy("cublasSnrm2_v2").call(&[0, 3, address, 1, norm.address()]), SUCCESS);
    assert_eq!(floats(&norm.get()), [5.0]);
    let kept = address;
    for (n, size) in [(0, 4), (-1, 4), (3, 0), (3, -4)] {
        assert_eq!(alloc(n, size, pointer), INVALID_VALUE, "n={n} elemSize={size}");
    }
    assert_eq!(alloc(3, 4, std::ptr::null_mut()), INVALID_VALUE);
    assert_eq!(address, kept, "a refused call writes no address");
    assert_eq!(call!("cublasFree", address => u64), SUCCESS);
    assert_ne!(call!("cublasFree", address => u64), SUCCESS, "once only");
    assert_eq!(call!("cublasFree", 0 => u64), SUCCESS, "nothing to free");
    let mut version: c_int = -1;
    let pointer = &raw mut version;
    assert_eq!(call!("cublasGetVersion", pointer => *mut c_int), NOT_INITIALIZED);
    assert_eq!(version, -1, "no library is there to tell");
    streams();
    assert_eq!(call!("cublasShutdown"), SUCCESS);
}

/// A call on the stream of `cublasSetKernelStream` sees what was queued there before it.
fn streams() {
    let mut stream = std::ptr::null_mut::<c_void>();
    let pointer = &raw mut stream;
    assert_eq!(call!("cudaStreamCreate", pointer => *mut *mut c_void), 0);
    let x = Device::holding(&bytes(&[1.0; 1000]));
    let filled = vec![0u8; 4000];
    let other = Device::holding(&filled);
    assert_eq!(call!("cublasSetKernelStream", stream => *mut c_void), SUCCESS);
    // The copy takes a while on its stream; the call must not overtake it.
    for _ in 0..20 {
        let status = call!("cudaMemcpyAsync", x.address => u64, other.address => u64, 4000 => usize, 3 => c_int,
            stream => *mut c_void);
        assert_eq!(status, 0);
    }
    let sum = Scalars::new(PointerMode::Host, Element::F32, &[Number::new(f64::NAN, 0.0)]);
    assert_eq!(legacy("cublasSasum_v2").call(&[0, 1000, x.address, 1, sum.address()]), SUCCESS);
    assert_eq!(floats(&sum.get()), [0.0]);
    assert_eq!(call!("cublasSetKernelStream", 0 => u64), SUCCESS);
    assert_eq!(call!("cudaStreamDestroy", stream => *mut c_void), 0);
}

/// Misuse of a function of each kind: the error is kept and given once, values are 0, nothing is written.
pub fn bad_input() {
    assert_eq!(call!("cublasInit"), SUCCESS);
    let numbers = |count: usize| vec![Number::new(3.0, 0.0); count];
    let x = Vector::holding(Element::F32, &numbers(16), 1);
    let (alpha, at) = (1.0f32.to_le_bytes(), x.address());
    let one = alpha.as_ptr() as u64;
    let minus = u64::from((-1i32).cast_unsigned());
    let refuse = |what: &str, base: &str, arguments: &[u64]| {
        let all: Vec<u64> = [0].iter().chain(arguments).copied().collect();
        assert_eq!(legacy(base).call(&all), INVALID_VALUE, "{base}: {what}");
        assert_eq!(call!("cublasGetError"), SUCCESS, "{base}: an error is given once");
        x.memory.untouched(what);
    };
    refuse("a letter that is no operation", "cublasSgemv_v2", &[7, 4, 4, one, at, 4, at, 1, one, at, 1]);
    refuse("a short leading dimension", "cublasSgemv_v2", &[0, 4, 4, one, at, 3, at, 1, one, at, 1]);
    refuse("a negative size", "cublasSgemv_v2", &[0, minus, 4, one, at, 4, at, 1, one, at, 1]);
    refuse("an increment of 0", "cublasSgemv_v2", &[0, 4, 4, one, at, 4, at, 0, one, at, 1]);
    refuse("a letter that is no triangle", "cublasSsymv_v2", &[7, 4, one, at, 4, at, 1, one, at, 1]);
    refuse("a letter that is no diagonal", "cublasStrsv_v2", &[0, 0, 7, 4, at, 4, at, 1]);
    refuse("an increment of 0", "cublasStpmv_v2", &[0, 0, 0, 4, at, at, 0]);
    refuse("a band wider than its memory", "cublasStbmv_v2", &[0, 0, 0, 4, 4, at, 4, at, 1]);
    refuse("a short leading dimension", "cublasSger_v2", &[4, 4, one, at, 1, at, 1, at, 3]);
    refuse("a letter that is no side", "cublasSsymm_v2", &[7, 0, 4, 4, one, at, 4, at, 4, one, at, 4]);
    refuse("a letter that is no triangle", "cublasStrmm_v2", &[0, 7, 0, 0, 4, 4, one, at, 4, at, 4]);
    refuse("a short ldb", "cublasStrsm_v2", &[0, 0, 0, 0, 4, 4, one, at, 4, at, 3]);
    refuse("a transposition without conjugation", "cublasCherk_v2", &[0, 1, 2, 2, one, at, 2, one, at, 2]);
    refuse("a short leading dimension", "cublasSgemm_v2", &[0, 0, 4, 4, 4, one, at, 3, at, 4, one, at, 4]);
    refuse("null vectors", "cublasSaxpy_v2", &[4, one, 0, 1, at, 1]);
    refuse("a null rotation", "cublasSrotm_v2", &[4, at, 1, at, 1, 0]);
    refuse("a null scalar", "cublasSrotg_v2", &[0, one, one, one]);
    // A function that returns a number gives 0 with its error, and for what has no elements.
    let wide = |values: &[f64]| {
        Vector::holding(Element::F64, &values.iter().map(|&v| Number::new(v, 0.0)).collect::<Vec<_>>(), 1)
    };
    let y = wide(&[3.0, 4.0]);
    for (base, result) in
        [("cublasDnrm2_v2", 8), ("cublasDasum_v2", 8), ("cublasIdamax_v2", 4), ("cublasIdamin_v2", 4)]
    {
        for (what, n, address, increment, want) in [
            ("null", 2, 0, 1, INVALID_VALUE),
            ("no elements", 0, y.address(), 1, SUCCESS),
            ("fewer than none", minus, y.address(), 1, SUCCESS),
            ("an increment of 0", 2, y.address(), 0, SUCCESS),
            ("a negative increment", 2, y.address(), minus, SUCCESS),
        ] {
            let cell = Scalars::of_bytes(PointerMode::Host, vec![0xEE; 8]);
            assert_eq!(
                legacy(base).call(&[0, n, address, increment, cell.address()]),
                want,
                "{base}: {what}"
            );
            assert!(cell.get()[..result].iter().all(|&byte| byte == 0), "{base}: {what}: {:x?}", cell.get());
        }
    }
    let cell = Scalars::of_bytes(PointerMode::Host, vec![0xEE; 16]);
    assert_eq!(legacy("cublasZdotc_v2").call(&[0, 2, 0, 1, y.address(), 1, cell.address()]), INVALID_VALUE);
    assert_eq!(cell.get(), [0; 16], "a complex result in two registers");
    assert_eq!(
        legacy("cublasDdot_v2").call(&[0, 2, y.address(), 1, y.address(), 1, cell.address()]),
        SUCCESS
    );
    assert_eq!(cell.get()[..8], 25.0f64.to_le_bytes());
    y.memory.untouched("reductions");
    assert_eq!(call!("cublasShutdown"), SUCCESS);
}
