//! Which algorithm to take: where the host computes there is one for each direction, deterministic and without a
//! workspace, and it is what these functions answer.
//!
//! Source: `cudnnGetConvolutionForwardAlgorithm_v7`, `cudnnFindConvolutionForwardAlgorithm(Ex)` and those of the other
//! directions, <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-cnn-library.html>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::{
    cudnnConvolutionBwdDataAlgo_t as DataAlgorithm, cudnnConvolutionBwdFilterAlgo_t as FilterAlgorithm,
    cudnnConvolutionFwdAlgo_t as ForwardAlgorithm, cudnnConvolutionFwdAlgoPerfStruct as Performance,
    cudnnDeterminism_t as Determinism, cudnnMathType_t as MathType,
};

use super::descriptor::ConvolutionDesc;
use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::entry::route::Served;

macro_rules! cudnn_convolution_algorithm_count {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, count: *mut c_int)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::algorithms::write(count, 1, "count") }
    };
}
macro_rules! cudnn_convolution_workspace_size {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void,
        first: *const c_void, second: *const c_void, conv_desc: *const c_void, third: *const c_void,
        algo: c_int, bytes: *mut usize)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::algorithms::workspace_size(conv_desc, bytes) }
    };
}
macro_rules! cudnn_convolution_algorithms {
    ($symbol:ident, $direction:ident) => { export! { $symbol of Cudnn (handle: *mut c_void,
        first: *const c_void, second: *const c_void, conv_desc: *const c_void, third: *const c_void,
        requested: c_int, returned: *mut c_int, results: *mut c_void)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::algorithms::answer(handle,
            $crate::entry::cudnn::algorithms::Direction::$direction, conv_desc, requested, returned, results) } };
}
macro_rules! cudnn_find_convolution_algorithm {
    ($symbol:ident, $direction:ident) => {
        cudnn_convolution_algorithms!($symbol, $direction);
    };
}
macro_rules! cudnn_find_convolution_algorithm_ex {
    ($symbol:ident, $direction:ident) => { export! { $symbol of Cudnn (handle: *mut c_void,
        first_desc: *const c_void, first: *const c_void, second_desc: *const c_void, second: *const c_void,
        conv_desc: *const c_void, third_desc: *const c_void, third: *mut c_void,
        requested: c_int, returned: *mut c_int, results: *mut c_void, workspace: *mut c_void, bytes: usize)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::algorithms::answer(handle,
            $crate::entry::cudnn::algorithms::Direction::$direction, conv_desc, requested, returned, results) } };
}

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// y.
    Forward,
    /// dx.
    BackwardData,
    /// dw.
    BackwardFilter,
}

impl Direction {
    /// The algorithm whose name promises what the host does: GEMM, deterministic, no workspace.
    fn algorithm(self) -> c_int {
        match self {
            Direction::Forward => ForwardAlgorithm::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM as c_int,
            Direction::BackwardData => DataAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1 as c_int,
            Direction::BackwardFilter => FilterAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 as c_int,
        }
    }
}

/// Writes an answer where the caller wants it; `INVALID_VALUE` for null.
pub fn write<T>(out: *mut T, value: T, argument: &'static str) -> Result<Served, Error> {
    if out.is_null() {
        return Err(Error::InvalidValue(argument));
    }
    // SAFETY: not null; the caller owes a writable variable of the function's type.
    unsafe { out.write(value) };
    Ok(Served::nothing())
}

/// No workspace.
pub fn workspace_size(conv: *const c_void, bytes: *mut usize) -> Result<Served, Error> {
    ConvolutionDesc::read(conv)?;
    write(bytes, 0, "sizeInBytes")
}

/// The one algorithm, as the first of the results.
pub fn answer(
    handle: *mut c_void,
    direction: Direction,
    conv: *const c_void,
    requested: c_int,
    returned: *mut c_int,
    results: *mut c_void,
) -> Result<Served, Error> {
    let _known = Call::on_cudnn(handle)?;
    ConvolutionDesc::read(conv)?;
    if requested < 1 || results.is_null() {
        return Err(Error::InvalidValue("perfResults"));
    }
    write(returned, 1, "returnedAlgoCount")?;
    let results = results.cast::<Performance>();
    // SAFETY: not null; the caller owes room for `requested ≥ 1` results. The three directions' structures are the
    // same, their first field an integer of its own numbering, which is why it is written by itself.
    unsafe {
        results.write(Performance {
            algo: ForwardAlgorithm::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
            status: cudarc::cudnn::sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS,
            time: 1.0,
            memory: 0,
            determinism: Determinism::CUDNN_DETERMINISTIC,
            mathType: MathType::CUDNN_DEFAULT_MATH,
            reserved: [0; 3],
        });
        results.cast::<c_int>().write(direction.algorithm());
    }
    Ok(Served::nothing())
}
