//! `cublasLtMatmulAlgoGetHeuristic`: one honest algorithm.
//!
//! For a product that we serve there is one algorithm, ours: no workspace, no choice; see [`super::algorithm`].
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublasltmatmulalgogetheuristic>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};

use cudarc::cublaslt::sys::{cublasLtMatmulHeuristicResult_t as HeuristicResult, cublasStatus_t};

use super::algorithm::OURS;
use super::matmul::Args;
use super::problem::Problem;
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
            &$crate::entry::cublaslt::matmul::Args::of_layouts(
                handle, descriptor, [a_layout, b_layout, c_layout, d_layout]))
    } };
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
    let result = HeuristicResult {
        algo: OURS,
        workspaceSize: 0,
        state: cublasStatus_t::CUBLAS_STATUS_SUCCESS,
        wavesCount: 1.0,
        reserved: [0; 4],
    };
    // SAFETY: not null; the caller owes room for `requested ≥ 1` results.
    unsafe { results.cast::<HeuristicResult>().write_unaligned(result) };
    Ok(Served { what: format!("{problem} algorithms=1"), ..Served::nothing() })
}
