//! The statuses that the stand-in answers, as C integers.

use std::ffi::c_int;

use cudarc::cudnn::sys::cudnnStatus_t as Status;

/// All is well.
pub const SUCCESS: c_int = Status::CUDNN_STATUS_SUCCESS as c_int;
/// A handle that was not made here, or a graph descriptor that is read before it is finalized.
pub const NOT_INITIALIZED: c_int = Status::CUDNN_STATUS_NOT_INITIALIZED as c_int;
/// A bad value, a null pointer, a descriptor of another kind.
pub const BAD_PARAM: c_int = Status::CUDNN_STATUS_BAD_PARAM as c_int;
/// A descriptor that is needed finalized.
pub const NOT_FINALIZED: c_int = Status::CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED as c_int;
/// An attribute of another type.
pub const ATTRIBUTE_TYPE: c_int = Status::CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE as c_int;
/// What the stand-in, or cuDNN, does not do.
pub const NOT_SUPPORTED: c_int = Status::CUDNN_STATUS_NOT_SUPPORTED as c_int;
/// The answer to a kind of graph descriptor that does not exist.
pub const NO_SUCH_DESCRIPTOR: c_int = Status::CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED as c_int;
/// The device's memory could not be read or written.
pub const EXECUTION_FAILED: c_int = Status::CUDNN_STATUS_EXECUTION_FAILED as c_int;

/// The status of an entry point's work.
pub fn of(work: impl FnOnce() -> Result<(), c_int>) -> c_int {
    work().err().unwrap_or(SUCCESS)
}
