//! Questions put to the real libraries about objects that are theirs.
//!
//! Each function here passes on only what the real library itself handed out.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use super::context::Stream;
use super::find::{Library, Slot};
use super::inside::calling_native;

/// A status of the real library that is not success, or the function is missing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealError {
    /// The process has no such function.
    Missing,
    /// The library answered with this status.
    Status(c_int),
}

/// `f(handle, out)` of the real library.
fn ask<T: Default>(slot: &Slot, handle: *mut c_void) -> Result<T, RealError> {
    type Getter = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
    let address = slot.real().ok_or(RealError::Missing)?;
    // SAFETY: every slot below names a getter of the form `status f(handle, T *out)`.
    let getter: Getter = unsafe { std::mem::transmute(address) };
    let mut value = T::default();
    let out = (&raw mut value).cast();
    // SAFETY: `handle` is the real library's (the caller looked it up in the registry); `out` is writable.
    match calling_native(|| unsafe { getter(handle, out) }) {
        0 => Ok(value),
        status => Err(RealError::Status(status)),
    }
}

/// The stream of a real cuBLAS handle.
pub fn cublas_stream(handle: *mut c_void) -> Result<Stream, RealError> {
    static SLOT: Slot = Slot::new(Library::Cublas, c"cublasGetStream_v2");
    ask::<usize>(&SLOT, handle).map(|stream| Stream(stream as _))
}

/// The pointer mode of a real cuBLAS handle: 0 host, 1 device.
pub fn cublas_pointer_mode(handle: *mut c_void) -> Result<c_int, RealError> {
    static SLOT: Slot = Slot::new(Library::Cublas, c"cublasGetPointerMode_v2");
    ask(&SLOT, handle)
}

/// The stream of a real cuDNN handle.
pub fn cudnn_stream(handle: *mut c_void) -> Result<Stream, RealError> {
    static SLOT: Slot = Slot::new(Library::Cudnn, c"cudnnGetStream");
    ask::<usize>(&SLOT, handle).map(|stream| Stream(stream as _))
}

/// The first number of the version of the process's cuDNN, which decides what its statuses are called: 8 or 9.
/// 9 where there is no cuDNN.
pub fn cudnn_major() -> usize {
    type GetVersion = unsafe extern "C" fn() -> usize;
    static SLOT: Slot = Slot::new(Library::Cudnn, c"cudnnGetVersion");
    let Some(real) = SLOT.real() else { return 9 };
    // SAFETY: cuDNN's function of this name takes nothing and returns its version, 8xxx or 9xxxx.
    let version = calling_native(|| unsafe { std::mem::transmute::<*mut c_void, GetVersion>(real)() });
    if version < 10_000 { version / 1000 } else { version / 10_000 }
}

/// Takes back the runtime's "no kernel image" error that a failed native call left behind, so that the
/// program's next error check does not report a call that we have served after all. True if there was one.
pub fn clear_missing_kernel_error() -> bool {
    type Peek = unsafe extern "C" fn() -> c_int;
    const NO_KERNEL_IMAGE: c_int = 209;
    const INVALID_DEVICE_FUNCTION: c_int = 98;
    static PEEK: Slot = Slot::new(Library::Cudart, c"cudaPeekAtLastError");
    static GET: Slot = Slot::new(Library::Cudart, c"cudaGetLastError");
    let (Some(peek), Some(get)) = (PEEK.real(), GET.real()) else { return false };
    // SAFETY: both runtime functions take nothing and return an error code.
    let (peek, get): (Peek, Peek) = unsafe { (std::mem::transmute(peek), std::mem::transmute(get)) };
    // SAFETY: as above.
    let left = unsafe { peek() };
    let missing = left == NO_KERNEL_IMAGE || left == INVALID_DEVICE_FUNCTION;
    if missing {
        // SAFETY: as above.
        let _ = unsafe { get() };
    }
    missing
}
