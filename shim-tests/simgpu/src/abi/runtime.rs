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
    fn cudaDeviceDisablePeerAccess(peer: c_int) { device::checked(peer).map(|_| ()) }
    fn cudaDeviceGetPCIBusId(buffer: *mut c_char, capacity: c_int, ordinal: c_int) {
        put_text(&bus_id(device::checked(ordinal)?), buffer.cast(), capacity.max(0) as usize)
    }
    fn cudaDeviceGetByPCIBusId(ordinal: *mut c_int, text: *const c_char) {
        if text.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null; the caller owes a C string.
        let asked = unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().to_uppercase();
        let found = (0..device::count()).find(|&ordinal| bus_id(ordinal) == asked);
        put(ordinal, found.ok_or(Code::INVALID_VALUE)?)
    }
    fn cudaDeviceGetLimit(value: *mut usize, limit: c_int) {
        put(value, *LIMITS.lock().get(usize::try_from(limit).unwrap_or(usize::MAX)).ok_or(Code::UNSUPPORTED_LIMIT)?)
    }
    fn cudaDeviceSetLimit(limit: c_int, value: usize) {
        *LIMITS.lock().get_mut(usize::try_from(limit).unwrap_or(usize::MAX)).ok_or(Code::UNSUPPORTED_LIMIT)? = value;
        Ok(())
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
    fn cudaGetDriverEntryPointByVersion(
        symbol: *const c_char, function: *mut *mut c_void, _version: c_uint, _flags: c_ulonglong, status: *mut c_int
    ) {
        entry_point(symbol, function, status)
    }
}

/// Limits of kernels (stack, printf buffer, heap, …) as a device starts with them; no kernel runs to feel them.
static LIMITS: parking_lot::Mutex<[usize; 7]> =
    parking_lot::Mutex::new([1024, 1 << 20, 8 << 20, 2, 2048, 128, 0]);

/// A device's place on the bus.
fn bus_id(ordinal: i32) -> String {
    format!("0000:{:02X}:00.0", ordinal + 1)
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

/// The address of a driver function by name, a C string or null: the form that a program of CUDA `version`
/// (1000 major + 10 minor) means by it.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // called by exported functions only, which carry the contract
pub fn driver_function(symbol: *const c_char, version: c_int) -> Option<usize> {
    const FIRST_WITH_STATUS: c_int = 12_000;
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
    if name == "cuGetProcAddress" && version < FIRST_WITH_STATUS {
        return find(name);
    }
    versioned::DRIVER_SUFFIXES.iter().find_map(|suffix| find(&format!("{name}{suffix}")))
}

/// A name that is not there is a success with a null address and a status.
pub fn entry_point(symbol: *const c_char, function: *mut *mut c_void, status: *mut c_int) -> Outcome {
    const FOUND: c_int = 0;
    const NOT_FOUND: c_int = 1;
    let address = driver_function(symbol, VERSION);
    put_if_asked(status, if address.is_some() { FOUND } else { NOT_FOUND });
    put(function, address.unwrap_or(0) as *mut c_void)
}
