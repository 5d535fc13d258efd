//! The runtime API: devices, versions, errors.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

pub use super::versioned::VERSION;
use super::{driver, driver_memory, driver_unsupported, put, put_if_asked, put_text, versioned};
use crate::core::{Code, Outcome, device, stream};

export! { runtime TABLE;
    fn cudaGetDeviceCount(count: *mut c_int) { super::control::arrange_exit(); put(count, device::count()) }
    fn cudaGetDevice(ordinal: *mut c_int) { put(ordinal, device::current()) }
    fn cudaSetDevice(ordinal: c_int) { device::set_current(ordinal) }
    fn cudaDeviceSynchronize() { stream::synchronize_device(device::ensure_current()) }
    fn cudaDeviceGetAttribute(value: *mut c_int, attribute: c_int, ordinal: c_int) {
        put(value, device::attribute(attribute, ordinal)?)
    }
    fn cudaDeviceCanAccessPeer(can: *mut c_int, ordinal: c_int, peer: c_int) {
        let (ordinal, peer) = (device::checked(ordinal)?, device::checked(peer)?);
        put(can, c_int::from(ordinal != peer))
    }
    fn cudaDeviceEnablePeerAccess(peer: c_int, _flags: c_uint) { device::checked(peer).map(|_| ()) }
    fn cudaDeviceGetPCIBusId(buffer: *mut c_char, capacity: c_int, ordinal: c_int) {
        let text = format!("0000:{:02X}:00.0", device::checked(ordinal)? + 1);
        put_text(&text, buffer.cast(), capacity.max(0) as usize)
    }
    fn cudaDeviceGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) {
        put_if_asked(least, 0);
        put_if_asked(greatest, -5);
        Ok(())
    }
    fn cudaDriverGetVersion(version: *mut c_int) { put(version, VERSION) }
    fn cudaRuntimeGetVersion(version: *mut c_int) { put(version, VERSION) }
    fn cudaProfilerStart() { Ok(()) }
    fn cudaProfilerStop() { Ok(()) }
    fn cudaGetDriverEntryPoint(symbol: *const c_char, function: *mut *mut c_void, _flags: c_ulonglong, status: *mut c_int) {
        entry_point(symbol, function, status)
    }
    fn cudaGetDriverEntryPointByVersion(
        symbol: *const c_char, function: *mut *mut c_void, _version: c_uint, _flags: c_ulonglong, status: *mut c_int
    ) {
        entry_point(symbol, function, status)
    }
}

/// The last error of this thread, which it clears.
#[unsafe(no_mangle)]
pub extern "C" fn cudaGetLastError() -> c_int {
    device::last_error(true)
}

/// The last error of this thread.
#[unsafe(no_mangle)]
pub extern "C" fn cudaPeekAtLastError() -> c_int {
    device::last_error(false)
}

/// The name of a code.
#[unsafe(no_mangle)]
pub extern "C" fn cudaGetErrorName(code: c_int) -> *const c_char {
    Code(code).texts().0.as_ptr()
}

/// The text of a code.
#[unsafe(no_mangle)]
pub extern "C" fn cudaGetErrorString(code: c_int) -> *const c_char {
    Code(code).texts().1.as_ptr()
}

/// The address of a driver function by name, a C string or null; the newest version of it that there is.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // called by exported functions only, which carry the contract
pub fn driver_function(symbol: *const c_char) -> Option<usize> {
    if symbol.is_null() {
        return None;
    }
    // SAFETY: not null; the caller owes a C string.
    let name = unsafe { std::ffi::CStr::from_ptr(symbol) }.to_str().ok()?;
    let find = |name: &str| {
        [driver::TABLE, driver_memory::TABLE, driver_unsupported::TABLE]
            .into_iter()
            .flatten()
            .find(|row| row.0 == name)
            .map(|row| (row.1)())
    };
    versioned::DRIVER_SUFFIXES.iter().find_map(|suffix| find(&format!("{name}{suffix}")))
}

/// A name that is not there is a success with a null address and a status.
fn entry_point(symbol: *const c_char, function: *mut *mut c_void, status: *mut c_int) -> Outcome {
    const FOUND: c_int = 0;
    const NOT_FOUND: c_int = 1;
    let address = driver_function(symbol);
    put_if_asked(status, if address.is_some() { FOUND } else { NOT_FOUND });
    put(function, address.unwrap_or(0) as *mut c_void)
}
