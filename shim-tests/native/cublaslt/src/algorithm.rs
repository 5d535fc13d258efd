//! The functions of algorithms, and the transform: the stand-in has none of its own beside the heuristic's, so
//! they only count and answer.

use std::ffi::{c_int, c_void};

use native_core::mode::{CUBLASLT, Play};
use native_core::record;

const NOT_SUPPORTED: c_int = 15;

/// A number of an algorithm, which only the stand-in knows.
const ID: c_int = 21;

/// One number.
///
/// # Safety
/// `ids` and `returned` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulAlgoGetIds(
    handle: *mut c_void,
    _compute: c_int,
    _scale: c_int,
    _a: c_int,
    _b: c_int,
    _c: c_int,
    _d: c_int,
    _requested: c_int,
    ids: *mut c_int,
    returned: *mut c_int,
) -> c_int {
    if let Err(status) = record::handle("cublasLtMatmulAlgoGetIds", handle) {
        return status;
    }
    if let Play::Fail(status) = CUBLASLT.play("cublasLtMatmulAlgoGetIds") {
        return status;
    }
    // SAFETY: the caller owes writable places.
    unsafe {
        ids.write(ID);
        returned.write(1);
    }
    0
}

/// Knows no capability; counts, and tells when the algorithm was gpucompat's.
///
/// # Safety
/// `algo` is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulAlgoCapGetAttribute(
    algo: *const u64,
    _attribute: c_int,
    _value: *mut c_void,
    _bytes: usize,
    _written: *mut usize,
) -> c_int {
    record::count("cublasLtMatmulAlgoCapGetAttribute");
    // SAFETY: the caller owes a readable algorithm.
    if unsafe { algo.read_unaligned() } == u64::from_le_bytes(*b"gpucompa") {
        record::count("foreign_algorithm");
    }
    NOT_SUPPORTED
}
