//! The runtime's device memory: the device's own, or host memory where `policy::placement` says so.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use crate::boundary::status::{Error, SUCCESS};
use crate::entry::route::{Native, passed_on};
use crate::log;
use crate::memory::hosted;
use crate::native::context::Device;
use crate::native::driver::DriverError;
use crate::policy::placement;

macro_rules! cudart_malloc {
    ($symbol:ident) => {
        export! { $symbol of Cudart (address: *mut *mut c_void, bytes: usize)
        managed(native) $crate::entry::cudart::memory::malloc(address, bytes, native) }
    };
}

macro_rules! cudart_free {
    ($symbol:ident) => {
        export! { $symbol of Cudart (address: *mut c_void)
        managed(native) $crate::entry::cudart::memory::free(address, native) }
    };
}

macro_rules! cudart_mem_get_info {
    ($symbol:ident) => {
        export! { $symbol of Cudart (free: *mut usize, total: *mut usize)
        managed(native) $crate::entry::cudart::memory::mem_get_info(free, native) }
    };
}

macro_rules! cudart_pointer_get_attributes {
    ($symbol:ident) => {
        export! { $symbol of Cudart (attributes: *mut c_int, address: *const c_void)
        managed(native) $crate::entry::cudart::memory::pointer_get_attributes(attributes, address, native) }
    };
}

macro_rules! cudart_ipc_get_mem_handle {
    ($symbol:ident) => {
        export! { $symbol of Cudart (handle: *mut c_void, address: *mut c_void)
        managed(native) $crate::entry::cudart::memory::ipc_get_mem_handle(address, native) }
    };
}

/// Writes an out-argument that is not null.
fn put<T>(address: *mut T, value: T) {
    // SAFETY: the caller of the C function owes a writable place there, as it owes the runtime.
    unsafe { address.write(value) };
}

/// Reads an out-argument that the runtime has just written.
fn take<T: Copy>(address: *mut T) -> T {
    // SAFETY: written by the runtime at this address.
    unsafe { address.read() }
}

/// `cudaErrorMemoryAllocation`.
const OUT_OF_MEMORY: c_int = 2;
/// `cudaMemoryTypeDevice`.
const TYPE_DEVICE: c_int = 2;

/// `cudaMalloc`: host memory where it is placed there; what the runtime answers where host memory cannot be had for
/// another reason than being used up.
pub fn malloc(address: *mut *mut c_void, bytes: usize, native: Native<'_>) -> Result<c_int, Error> {
    if bytes == 0 || address.is_null() || !placement::in_host_memory() {
        return passed_on(native);
    }
    match hosted::allocate(bytes) {
        Ok(place) => {
            put(address, place as *mut c_void);
            Ok(SUCCESS)
        }
        Err(DriverError::OUT_OF_MEMORY) => {
            log::debug(format_args!("refused fn=cudaMalloc bytes={bytes} reason=out_of_memory place=host"));
            Ok(OUT_OF_MEMORY)
        }
        Err(error) => {
            log::debug(format_args!("memory place=device bytes={bytes} reason=driver_error_{}", error.0));
            passed_on(native)
        }
    }
}

/// `cudaFree`.
pub fn free(address: *mut c_void, native: Native<'_>) -> Result<c_int, Error> {
    match hosted::free(address as usize) {
        Some(freed) => Ok(freed.map_or_else(|error| error.0 as c_int, |()| SUCCESS)),
        None => passed_on(native),
    }
}

/// `cudaMemGetInfo`: the device's size, and of what is free no more than could be allocated.
pub fn mem_get_info(free: *mut usize, native: Native<'_>) -> Result<c_int, Error> {
    let status = passed_on(native)?;
    if status == SUCCESS
        && !free.is_null()
        && placement::in_host_memory()
        && let Ok(device) = Device::current()
    {
        // No more than what the runtime said, which is a `usize`.
        put(free, hosted::left(take(free) as u64, device).bytes() as usize);
    }
    Ok(status)
}

/// `cudaPointerGetAttributes`: memory that was asked for as the device's is the device's, wherever it lies.
pub fn pointer_get_attributes(
    attributes: *mut c_int,
    address: *const c_void,
    native: Native<'_>,
) -> Result<c_int, Error> {
    let status = passed_on(native)?;
    if status == SUCCESS
        && !attributes.is_null()
        && let Some(device) = hosted::device_of(address as usize)
    {
        // A `cudaPointerAttributes` begins with the type and the device's number in every version from CUDA 11 on.
        put(attributes, TYPE_DEVICE);
        put(attributes.wrapping_add(1), device.0);
    }
    Ok(status)
}

/// `cudaIpcGetMemHandle`: the runtime's own error for memory that another process cannot open.
pub fn ipc_get_mem_handle(address: *mut c_void, native: Native<'_>) -> Result<c_int, Error> {
    if hosted::device_of(address as usize).is_some() {
        log::warn_once(format_args!(
            "the program shares device memory with another process, which memory that is placed on the host does not \
             allow: set GPU_COMPAT_MEMORY=device"
        ));
    }
    passed_on(native)
}
