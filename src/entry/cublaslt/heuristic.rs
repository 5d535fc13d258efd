//! `cublasLtMatmulAlgoGetHeuristic`: one honest algorithm.
//!
//! For a product that we serve there is one algorithm, ours: no workspace, no choice. Its opaque 64 bytes
//! begin with [`MARK`], so that `cublasLtMatmul` recognises it and the real library never gets to see it.
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublasltmatmulalgogetheuristic>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};

use cudarc::cublaslt::sys::{
    cublasLtMatmulAlgo_t as Algorithm, cublasLtMatmulHeuristicResult_t as HeuristicResult, cublasStatus_t,
};

use super::matmul::{Args, Problem};
use crate::boundary::status::{Error, SUCCESS};
use crate::entry::route::Served;
use crate::native::find::Library;

macro_rules! cublaslt_heuristic {
    ($symbol:ident) => { export! { $symbol of CublasLt (
        handle: *mut c_void, descriptor: *const c_void,
        a_layout: *const c_void, b_layout: *const c_void, c_layout: *const c_void, d_layout: *const c_void,
        preference: *const c_void,  requested: c_int, results: *mut c_void, returned: *mut c_int)
        compute(
            $crate::handle::registry::is_ours(handle),
            $crate::entry::cublaslt::matmul::types_key(descriptor, a_layout, d_layout))
        judging(|status| $crate::entry::cublaslt::heuristic::judge(status, returned))
        serve $crate::entry::cublaslt::heuristic::serve(requested, results, returned,
            &$crate::entry::cublaslt::matmul::Args {
                handle, descriptor, alpha: ::std::ptr::null(), beta: ::std::ptr::null(), stream: ::std::ptr::null_mut(),
                a: 0, a_layout, b: 0, b_layout, c: 0, c_layout, d: 0, d_layout })
    } };
}

macro_rules! cublaslt_refused_algo {
    ($symbol:ident) => {
        $crate::export! { $symbol of CublasLt (algo: *mut c_void, attribute: c_int, value: *mut c_void, bytes: usize, written: *mut usize)
            managed(native) $crate::entry::cublaslt::heuristic::attribute_of(algo, native) }
    };
}

/// The first word of our algorithm's opaque data: "gpucompa", which no algorithm index of cuBLASLt reaches.
const MARK: u64 = u64::from_le_bytes(*b"gpucompa");

/// Whether `algo` is what [`serve`] handed out.
pub fn is_our_algorithm(algo: *const c_void) -> bool {
    // SAFETY: an algorithm is 64 bytes that the caller owes to be readable; null is ruled out.
    !algo.is_null() && unsafe { algo.cast::<u64>().read_unaligned() } == MARK
}

/// A native heuristic that succeeds with no result has no kernel for this device either.
pub fn judge(status: c_int, returned: *const c_int) -> c_int {
    // SAFETY: after success the real library has written the count; null is ruled out.
    let none = status == SUCCESS && !returned.is_null() && unsafe { returned.read() } == 0;
    if none { Error::NotSupported("heuristic").status(Library::CublasLt) } else { status }
}

/// Hands out our algorithm for a product that we can serve.
///
/// Errors: `INVALID_VALUE` for null results or `requested ≤ 0`; `NOT_SUPPORTED` with a count of 0 where the
/// product has no host form.
pub fn serve(
    requested: c_int,
    results: *mut c_void,
    returned: *mut c_int,
    args: &Args,
) -> Result<Served, Error> {
    if requested <= 0 || results.is_null() || returned.is_null() {
        return Err(Error::InvalidValue("heuristic results"));
    }
    let problem = Problem::read(args);
    // SAFETY: not null; the caller owes a writable count.
    unsafe { returned.write(c_int::from(problem.is_ok())) };
    let problem = problem?;
    let mut data = [0; 8];
    data[0] = MARK;
    let result = HeuristicResult {
        algo: Algorithm { data },
        workspaceSize: 0,
        state: cublasStatus_t::CUBLAS_STATUS_SUCCESS,
        wavesCount: 1.0,
        reserved: [0; 4],
    };
    // SAFETY: not null; the caller owes room for `requested ≥ 1` results.
    unsafe { results.cast::<HeuristicResult>().write_unaligned(result) };
    Ok(Served { what: format!("{problem} algorithms=1"), ..Served::nothing() })
}

/// Attributes of an algorithm: ours has none that the host could honour.
pub fn attribute_of(algo: *const c_void, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    if is_our_algorithm(algo) {
        return Err(Error::NotSupported("attributes of the host algorithm"));
    }
    native.map(|call| call()).ok_or(Error::NotInitialized)
}
