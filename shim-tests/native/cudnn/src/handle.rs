//! Handles, the version, status texts, and what tests ask.

use std::ffi::{CStr, c_char, c_int, c_void};

use native_core::mode::CUDNN;
use native_core::record;

use crate::arguments::put;
use crate::status::{BAD_PARAM, NOT_INITIALIZED, SUCCESS, of};

/// How often a function was called.
#[unsafe(no_mangle)]
pub extern "C" fn standin_calls(name: *const c_char) -> u64 {
    // SAFETY: tests pass C strings.
    record::calls(&unsafe { CStr::from_ptr(name) }.to_string_lossy())
}

/// How many handles and descriptors were not the stand-in's own.
#[unsafe(no_mangle)]
pub extern "C" fn standin_foreign_handles() -> u64 {
    record::foreign_handles()
}

/// The handle, if it is the stand-in's own; null is BAD_PARAM, a foreign one is counted.
pub fn own(handle: *mut c_void) -> Result<&'static mut record::Handle, c_int> {
    if handle.is_null() {
        return Err(BAD_PARAM);
    }
    record::own(handle).map_err(|_| NOT_INITIALIZED)
}

/// Counts a call and gives its handle.
pub fn called(name: &str, handle: *mut c_void) -> Result<&'static mut record::Handle, c_int> {
    record::count(name);
    own(handle)
}

/// Makes a handle, or does not.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnCreate(out: *mut *mut c_void) -> c_int {
    record::count("cudnnCreate");
    of(|| match CUDNN.handle_status() {
        SUCCESS if out.is_null() => Err(BAD_PARAM),
        SUCCESS => put([out], [record::create().cast()]),
        status => Err(status),
    })
}

/// Ends a handle; null is fine.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnDestroy(handle: *mut c_void) -> c_int {
    if handle.is_null() {
        record::count("cudnnDestroy");
        return SUCCESS;
    }
    if record::destroy("cudnnDestroy", handle) == 0 { SUCCESS } else { NOT_INITIALIZED }
}

/// Sets the stream.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnSetStream(handle: *mut c_void, stream: u64) -> c_int {
    of(|| {
        called("cudnnSetStream", handle)?.stream = stream;
        Ok(())
    })
}

/// Gets the stream.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetStream(handle: *mut c_void, out: *mut u64) -> c_int {
    of(|| put([out], [called("cudnnGetStream", handle)?.stream]))
}

/// The version: 9.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetVersion() -> usize {
    record::count("cudnnGetVersion");
    90_100
}

/// The version of the CUDA runtime that it was built with.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetCudartVersion() -> usize {
    record::count("cudnnGetCudartVersion");
    12_040
}

/// A part of the version.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetProperty(kind: c_int, value: *mut c_int) -> c_int {
    record::count("cudnnGetProperty");
    let part = usize::try_from(kind).ok().and_then(|kind| [9, 1, 0].get(kind).copied());
    of(|| put([value], [part.ok_or(BAD_PARAM)?]))
}

/// A status's text, told apart from the shim's own.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetErrorString(_status: c_int) -> *const c_char {
    record::count("cudnnGetErrorString");
    c"the stand-in's text".as_ptr()
}
