//! The CUDA runtime: two functions are watched, and device memory is served where it lies on the host (`memory`).
//!
//! Libraries name their kernels while they are loaded; `native::kernels` remembers one of each binary.
//!
//! PyTorch asks for the device's properties at the end of its lazy initialisation, before its first operator
//! and with Python's lock held: the moment for `operators` to attach.

use std::ffi::c_int;

use crate::boundary::status::{Error, SUCCESS};
use crate::entry::route::{Native, passed_on};
use crate::operators::attach;

#[macro_use]
pub mod memory;

macro_rules! cudart_get_device_properties {
    ($symbol:ident) => {
        export! { $symbol of Cudart (properties: *mut c_void, device: c_int)
        managed(native) $crate::entry::cudart::get_device_properties(native) }
    };
}

macro_rules! cudart_register_function {
    ($symbol:ident) => { export! { $symbol of Cudart (
        binary: *mut c_void, host: *const c_void, device: *mut c_void, name: *const c_char, threads: c_int,
        thread: *mut c_void, block: *mut c_void, block_size: *mut c_void, grid_size: *mut c_void, warp: *mut c_int)
        watched($crate::native::kernels::note(binary, host)) } };
}

/// The real answer; after it, the operator layer may attach.
pub fn get_device_properties(native: Native<'_>) -> Result<c_int, Error> {
    let status = passed_on(native)?;
    if status == SUCCESS {
        attach::consider();
    }
    Ok(status)
}
