//! Handles, their state, status texts, and what tests ask.

use std::ffi::{CStr, c_char, c_int, c_void};

use native_core::mode::{CUBLAS, Play};
use native_core::record;

fn text(text: *const c_char) -> String {
    // SAFETY: tests pass C strings.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Looks a name up as the real library looks names up in its parts: from its own code.
///
/// # Safety
/// `library` is a live handle, `name` a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn standin_lookup(library: *mut c_void, name: *const c_char) -> *mut c_void {
    // SAFETY: the caller's promise.
    let found = unsafe { libc::dlsym(library, name) };
    // Not the last thing done here, or the compiler would let our caller's code make the call.
    std::hint::black_box(found)
}

/// How often a function was called.
#[unsafe(no_mangle)]
pub extern "C" fn standin_calls(name: *const c_char) -> u64 {
    record::calls(&text(name))
}

/// How many handles were not the stand-in's own.
#[unsafe(no_mangle)]
pub extern "C" fn standin_foreign_handles() -> u64 {
    record::foreign_handles()
}

/// Makes a handle, or does not.
///
/// # Safety
/// `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasCreate_v2(out: *mut *mut c_void) -> c_int {
    record::count("cublasCreate_v2");
    let status = CUBLAS.handle_status();
    if status == 0 {
        // SAFETY: the caller owes a writable place.
        unsafe { out.write(record::create().cast()) };
    }
    status
}

/// Ends a handle.
#[unsafe(no_mangle)]
pub extern "C" fn cublasDestroy_v2(handle: *mut c_void) -> c_int {
    record::destroy("cublasDestroy_v2", handle)
}

/// Makes a handle of cublasXt, or does not. Functions of cuBLAS do not know it and count it as foreign.
///
/// # Safety
/// `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasXtCreate(out: *mut *mut c_void) -> c_int {
    record::count("cublasXtCreate");
    let status = CUBLAS.handle_status();
    if status == 0 {
        // SAFETY: the caller owes a writable place.
        unsafe { out.write(Box::into_raw(Box::new([0u64; 8])).cast()) };
    }
    status
}

/// A product of cublasXt, which computes nothing: it fails where it is asked to.
#[unsafe(no_mangle)]
pub extern "C" fn cublasXtSgemm(_handle: *mut c_void) -> c_int {
    record::count("cublasXtSgemm");
    match CUBLAS.play("cublasXtSgemm") {
        Play::Fail(status) => status,
        Play::Compute | Play::Garble => 0,
    }
}

/// Ends a handle of cublasXt.
///
/// # Safety
/// `handle` is one that `cublasXtCreate` made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasXtDestroy(handle: *mut c_void) -> c_int {
    record::count("cublasXtDestroy");
    // SAFETY: the caller owes what `cublasXtCreate` made of a box of this type, and gives it back once.
    drop(unsafe { Box::from_raw(handle.cast::<[u64; 8]>()) });
    0
}

macro_rules! setter {
    ($name:ident, $field:ident, $ty:ty) => {
        /// Sets a field of the handle.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(handle: *mut c_void, value: $ty) -> c_int {
            record::handle(stringify!($name), handle).map_or_else(
                |status| status,
                |it| {
                    it.$field = value;
                    0
                },
            )
        }
    };
}
macro_rules! getter {
    ($name:ident, $field:ident, $ty:ty) => {
        /// Gets a field of the handle.
        ///
        /// # Safety
        /// `out` is writable.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(handle: *mut c_void, out: *mut $ty) -> c_int {
            record::handle(stringify!($name), handle).map_or_else(
                |status| status,
                |it| {
                    // SAFETY: the caller owes a writable place.
                    unsafe { out.write(it.$field) };
                    0
                },
            )
        }
    };
}
setter!(cublasSetStream_v2, stream, u64);
getter!(cublasGetStream_v2, stream, u64);
setter!(cublasSetPointerMode_v2, pointer_mode, c_int);
getter!(cublasGetPointerMode_v2, pointer_mode, c_int);
setter!(cublasSetMathMode, math_mode, c_int);
getter!(cublasGetMathMode, math_mode, c_int);
setter!(cublasSetAtomicsMode, atomics_mode, c_int);
getter!(cublasGetAtomicsMode, atomics_mode, c_int);

/// The workspace, of which the stand-in needs none.
#[unsafe(no_mangle)]
pub extern "C" fn cublasSetWorkspace_v2(
    handle: *mut c_void,
    _workspace: *mut c_void,
    _bytes: usize,
) -> c_int {
    record::handle("cublasSetWorkspace_v2", handle).err().unwrap_or(0)
}

/// The version; a null handle is fine.
///
/// # Safety
/// `version` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasGetVersion_v2(_handle: *mut c_void, version: *mut c_int) -> c_int {
    record::count("cublasGetVersion_v2");
    // SAFETY: the caller owes a writable place.
    unsafe { version.write(120_804) };
    0
}

/// A part of the version.
///
/// # Safety
/// `value` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasGetProperty(kind: c_int, value: *mut c_int) -> c_int {
    // SAFETY: the caller owes a writable place.
    unsafe { value.write([12, 8, 4][kind as usize % 3]) };
    0
}

/// A status's name, told apart from the shim's own by its prefix.
#[unsafe(no_mangle)]
pub extern "C" fn cublasGetStatusName(_status: c_int) -> *const c_char {
    c"STANDIN_STATUS".as_ptr()
}

/// A status's text.
#[unsafe(no_mangle)]
pub extern "C" fn cublasGetStatusString(_status: c_int) -> *const c_char {
    c"the stand-in's text".as_ptr()
}
