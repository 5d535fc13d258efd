//! Handles: create, destroy, stream, asynchronous errors.
//!
//! As for cuBLAS the real library is asked first, and ours is handed out where it has none to give.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html#cudnncreate>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};

use crate::boundary::status::{Error, SUCCESS};
use crate::handle::registry::owner;

macro_rules! cudnn_create {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (out: *mut *mut c_void)
        managed(native) $crate::entry::cublas::handle::create(
            $crate::native::find::Library::Cudnn, $crate::handle::object::Interface::Device, out, native) }
    };
}
macro_rules! cudnn_destroy {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void)
        managed(native) $crate::entry::cudnn::handle::destroy(handle, native) }
    };
}
macro_rules! cudnn_set_stream {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, stream: *mut c_void)
        by_owner(handle) $crate::entry::cublas::handle::set_stream(handle, stream) }
    };
}
macro_rules! cudnn_get_stream {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, stream: *mut *mut c_void)
        by_owner(handle) $crate::entry::cublas::handle::get(handle, stream, |state| state.stream.0.cast()) }
    };
}
macro_rules! cudnn_query_runtime_error {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, status: *mut c_int, mode: c_int, tag: *mut c_void)
        by_owner(handle) $crate::entry::cudnn::handle::query_runtime_error(handle, status) }
    };
}

/// Ends a handle; null is none, and that is fine.
pub fn destroy(handle: *mut c_void, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    if handle.is_null() {
        return Ok(native.map_or(SUCCESS, |call| call()));
    }
    crate::entry::cublas::handle::destroy(handle, native)
}

/// `cudnnQueryRuntimeError` for one of our handles: its calls have finished, without error, when they return.
pub fn query_runtime_error(handle: *const c_void, status: *mut c_int) -> Result<(), Error> {
    let _live = owner(handle).ok_or(Error::NotInitialized)?;
    if status.is_null() {
        return Err(Error::InvalidValue("rstatus"));
    }
    // SAFETY: not null; the caller owes a writable status.
    unsafe { status.write(SUCCESS) };
    Ok(())
}
