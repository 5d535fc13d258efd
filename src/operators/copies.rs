//! The copies that `fallback.py` is given: plain C functions, called through ctypes without Python's lock.

#![allow(unsafe_code)]

use std::ffi::c_int;

use crate::native::context::Stream;
use crate::native::driver::{DriverError, check, driver};

/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED`: what a copy that must be waited for is while a graph is recorded.
const CAPTURE_UNSUPPORTED: DriverError = DriverError(900);

fn stream(handle: u64) -> Stream {
    Stream(handle as _)
}

fn code(result: Result<(), DriverError>) -> c_int {
    result.err().map_or(0, |error| error.0 as c_int)
}

/// Waits for a copy on a stream; refused before it is queued if the stream records a graph.
fn waited(handle: u64, queue: impl FnOnce() -> Result<(), DriverError>) -> Result<(), DriverError> {
    if stream(handle).is_capturing()? {
        return Err(CAPTURE_UNSUPPORTED);
    }
    queue()?;
    stream(handle).synchronize()
}

/// Device to host; the bytes are there when it returns 0, a driver error otherwise.
pub extern "C" fn copy_in(host: u64, device: u64, bytes: usize, handle: u64) -> c_int {
    code(waited(handle, || {
        // SAFETY: `fallback.py` owns `bytes` of host memory there until this returns, which is after the wait.
        check(unsafe { (driver()?.copy_out_of_device)(host as _, device, bytes, stream(handle).0) })
    }))
}

/// Host to device; the host's bytes may be reused when it returns 0.
pub extern "C" fn copy_out(device: u64, host: u64, bytes: usize, handle: u64) -> c_int {
    code(waited(handle, || {
        // SAFETY: as in `copy_in`.
        check(unsafe { (driver()?.copy_to_device)(device, host as _, bytes, stream(handle).0) })
    }))
}

/// Between any two addresses, in the order of the stream; returns at once.
pub extern "C" fn copy_within(target: u64, source: u64, bytes: usize, handle: u64) -> c_int {
    let queue = || {
        // SAFETY: `fallback.py` keeps both tensors alive until the stream has passed the copy.
        check(unsafe { (driver()?.copy_any)(target, source, bytes, stream(handle).0) })
    };
    code(queue())
}
