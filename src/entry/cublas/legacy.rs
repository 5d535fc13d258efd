//! The legacy interface (`cublas.h`): no handle, operations as characters, scalars by value, errors kept
//! until `cublasGetError` asks.
//!
//! `cublasSgemm` without `_v2` is this interface's function in the exported library, whatever the macros
//! of `cublas_v2.h` make of the name in source text: alpha and beta arrive by value in registers.
//! Source: <https://docs.nvidia.com/cuda/cublas/#appendix-b-legacy-cublas-api>.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

use super::product::{Args, Batch, Problem, serve};
use super::types::LegacyScalar;
use crate::boundary::args::Op;
use crate::boundary::status::{Error, SUCCESS};
use crate::entry::call::{Call, PointerMode};
use crate::entry::route::Served;
use crate::native::context::Stream;
use crate::native::find::{Library, Slot};
use crate::native::inside::calling_native;
use crate::policy::verdict::forced_off;

macro_rules! cublas_legacy_init {
    ($symbol:ident) => {
        export! { $symbol of Cublas () managed(native) $crate::entry::cublas::legacy::init(native) }
    };
}
macro_rules! cublas_legacy_shutdown {
    ($symbol:ident) => {
        export! { $symbol of Cublas () managed(native) $crate::entry::cublas::legacy::shutdown(native) }
    };
}
macro_rules! cublas_legacy_get_error {
    ($symbol:ident) => {
        export! { $symbol of Cublas () managed(native) $crate::entry::cublas::legacy::take_error(native) }
    };
}
macro_rules! cublas_legacy_set_stream {
    ($symbol:ident) => {
        export! { $symbol of Cublas (stream: *mut c_void)
        managed(native) $crate::entry::cublas::legacy::set_stream(stream, native) }
    };
}
macro_rules! cublas_legacy_gemm {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        transa: c_char, transb: c_char,  m: c_int, n: c_int, k: c_int,
        alpha: <$T as $crate::entry::cublas::types::LegacyScalar>::ByValue,
        a: *const c_void, lda: c_int,  b: *const c_void, ldb: c_int,
        beta: <$T as $crate::entry::cublas::types::LegacyScalar>::ByValue,  c: *mut c_void, ldc: c_int)
        legacy serve $crate::entry::cublas::legacy::gemm::<$T>(transa, transb, (&raw const alpha), (&raw const beta),
            $crate::entry::cublas::product::Args {
                handle: ::std::ptr::null_mut(), transa: 0, transb: 0, m: m.into(), n: n.into(), k: k.into(),
                alpha: ::std::ptr::null(), beta: ::std::ptr::null(),
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into(),
                batch: $crate::entry::cublas::product::Batch::One })
    } };
}

/// The error that `cublasGetError` will give, once.
static ERROR: AtomicI32 = AtomicI32::new(SUCCESS);
/// What `cublasSetKernelStream` set.
static STREAM: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
/// Whether `cublasInit` was answered by us.
static INITIALISED_BY_US: AtomicBool = AtomicBool::new(false);

/// `cublasInit`: the real library's, or, where it cannot start, ours.
pub fn init(native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    let status = native.map_or(Error::NotInitialized.status(Library::Cublas), |call| call());
    if status != SUCCESS {
        let _ = crate::native::context::Context::current()?;
        let _ = crate::policy::verdict::no_native_handle(Library::Cublas, status);
        INITIALISED_BY_US.store(true, Ordering::Relaxed);
    }
    Ok(SUCCESS)
}

/// `cublasShutdown`.
pub fn shutdown(native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    STREAM.store(std::ptr::null_mut(), Ordering::Relaxed);
    if INITIALISED_BY_US.swap(false, Ordering::Relaxed) {
        return Ok(SUCCESS);
    }
    native.map(|call| call()).ok_or(Error::NotInitialized)
}

/// `cublasGetError`: the last error, which it clears.
pub fn take_error(native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    let ours = ERROR.swap(SUCCESS, Ordering::Relaxed);
    let native = native.map_or(SUCCESS, |call| call());
    let not_started = Error::NotInitialized.status(Library::Cublas);
    let of_real_library =
        if INITIALISED_BY_US.load(Ordering::Relaxed) && native == not_started { SUCCESS } else { native };
    Ok(if ours == SUCCESS { of_real_library } else { ours })
}

/// `cublasSetKernelStream`.
pub fn set_stream(stream: *mut c_void, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    STREAM.store(stream, Ordering::Relaxed);
    let native = native.map_or(SUCCESS, |call| call());
    Ok(if INITIALISED_BY_US.load(Ordering::Relaxed) { SUCCESS } else { native })
}

/// Keeps the status of a legacy call for `cublasGetError`.
pub fn keep_error(status: c_int) {
    if status != SUCCESS {
        ERROR.store(status, Ordering::Relaxed);
    }
}

/// The error that a native legacy call has just left in the real library; with everything forced off it is
/// left there for the program.
pub fn native_error() -> c_int {
    static SLOT: Slot = Slot::new(Library::Cublas, c"cublasGetError");
    if forced_off() {
        return SUCCESS;
    }
    SLOT.real().map_or(SUCCESS, |real| {
        // SAFETY: the slot names `cublasStatus cublasGetError(void)`.
        calling_native(|| unsafe {
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(real)()
        })
    })
}

/// `C ← α·op(A)·op(B) + β·C` on the legacy stream, scalars by value. Errors as for `cublas<t>gemm`.
pub fn gemm<T: super::product::Uniform + LegacyScalar>(
    transa: std::ffi::c_char,
    transb: std::ffi::c_char,
    alpha: *const T::ByValue,
    beta: *const T::ByValue,
    args: Args,
) -> Result<Served, Error> {
    let ops = (Op::from_char(transa, "transa")?, Op::from_char(transb, "transb")?);
    let args = Args { alpha: alpha.cast(), beta: beta.cast(), batch: Batch::One, ..args };
    let problem = Problem::validate(ops, &args, super::legal::Types::uniform(T::TYPE))?;
    let stream = Stream(STREAM.load(Ordering::Relaxed).cast());
    serve(&Call::on_stream(std::ptr::null(), stream, PointerMode::Host)?, &problem)
}
