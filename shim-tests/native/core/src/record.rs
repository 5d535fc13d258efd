//! Handles and counts.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// `CUBLAS_STATUS_NOT_INITIALIZED`.
pub const NOT_INITIALIZED: i32 = 1;
/// The first word of a stand-in's handle.
const COOKIE: u64 = 0x5354_414e_4449_4e21;

/// What a handle points to.
#[repr(C)]
pub struct Handle {
    cookie: u64,
    /// `cublasSetStream`.
    pub stream: u64,
    /// `cublasSetPointerMode`.
    pub pointer_mode: i32,
    /// `cublasSetMathMode`.
    pub math_mode: i32,
    /// `cublasSetAtomicsMode`.
    pub atomics_mode: i32,
}

static CALLS: Mutex<Option<HashMap<String, u64>>> = Mutex::new(None);
static FOREIGN: AtomicU64 = AtomicU64::new(0);

/// Makes a handle.
pub fn create() -> *mut Handle {
    Box::into_raw(Box::new(Handle {
        cookie: COOKIE,
        stream: 0,
        pointer_mode: 0,
        math_mode: 0,
        atomics_mode: 0,
    }))
}

/// Counts a call and gives the handle, if it is a stand-in's own; a foreign one is counted.
pub fn handle(name: &str, handle: *mut c_void) -> Result<&'static mut Handle, i32> {
    count(name);
    own(handle)
}

/// The handle, if it is a stand-in's own; a foreign one is counted.
pub fn own(handle: *mut c_void) -> Result<&'static mut Handle, i32> {
    let handle = handle.cast::<Handle>();
    // SAFETY: tests pass null, a stand-in's handle or one of gpucompat's, all of which are readable if not
    // null; a handle that was destroyed has lost its cookie before its memory went.
    let own = !handle.is_null() && unsafe { (*handle).cookie } == COOKIE;
    if !own {
        if !handle.is_null() {
            count_foreign();
        }
        return Err(NOT_INITIALIZED);
    }
    // SAFETY: just recognised as ours; tests use a handle from one thread at a time.
    Ok(unsafe { &mut *handle })
}

/// Counts an object that the stand-in did not make.
pub fn count_foreign() {
    FOREIGN.fetch_add(1, Ordering::Relaxed);
}

/// Counts a call without a handle.
pub fn count(name: &str) {
    *CALLS.lock().get_or_insert_default().entry(name.to_owned()).or_insert(0) += 1;
}

/// Ends a handle.
pub fn destroy(name: &str, pointer: *mut c_void) -> i32 {
    match handle(name, pointer) {
        Ok(handle) => {
            handle.cookie = 0;
            // SAFETY: made by `create` as a box; its cookie is gone, so nobody uses it again.
            drop(unsafe { Box::from_raw(std::ptr::from_mut(handle)) });
            0
        }
        Err(status) => status,
    }
}

/// How often `name` was called.
pub fn calls(name: &str) -> u64 {
    CALLS.lock().as_ref().and_then(|calls| calls.get(name).copied()).unwrap_or(0)
}

/// How many foreign handles, and descriptors where the stand-in checks them, were seen.
pub fn foreign_handles() -> u64 {
    FOREIGN.load(Ordering::Relaxed)
}
