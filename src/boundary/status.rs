//! Our errors, and the integers the libraries call them by.

use std::ffi::c_int;
use std::fmt;

use cudarc::cublas::sys::cublasStatus_t as CublasStatus;
use cudarc::cudnn::sys::cudnnStatus_t as CudnnStatus;

use crate::native::driver::DriverError;
use crate::native::find::Library;
use crate::native::real::{RealError, cudnn_major};

/// `CUBLAS_STATUS_SUCCESS`, the one value all libraries share.
pub const SUCCESS: c_int = 0;

/// Why a call was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No handle, a foreign one, or one that was destroyed.
    NotInitialized,
    /// This argument is not one the library's page allows.
    InvalidValue(&'static str),
    /// A descriptor that this refers to is not finalized.
    NotFinalized(&'static str),
    /// An attribute is not of the type that was given.
    AttributeType,
    /// A combination the library, or we, do not have; the text names it.
    NotSupported(&'static str),
    /// A stream is captured into a graph, which cannot contain this; the text names it. The real library is not asked: it
    /// would be captured although it cannot compute.
    Captured(&'static str),
    /// Host or device memory ran out.
    AllocFailed,
    /// A driver call failed.
    ExecutionFailed(DriverError),
    /// An operand's address is no memory that the device could reach.
    BadAddress(&'static str),
    /// A copy between the host and the device failed.
    Mapping,
    /// A bug of ours, caught.
    Internal,
    /// No error: the call goes on in stream order after it has returned. Never leaves the entry points.
    Deferred,
}

impl Error {
    /// The status that `library` documents for this error.
    pub fn status(self, library: Library) -> c_int {
        // `cudaErrorInitializationError`: all that a missing or broken runtime can be blamed for.
        const INITIALIZATION_ERROR: c_int = 3;
        let status = match (library, self) {
            (Library::Cudart, _) => return INITIALIZATION_ERROR,
            (Library::Cudnn, error) => return cudnn_status(error, cudnn_major()),
            (Library::Cublas | Library::CublasLt, error) => match error {
                Error::NotInitialized => CublasStatus::CUBLAS_STATUS_NOT_INITIALIZED,
                Error::InvalidValue(_) | Error::NotFinalized(_) | Error::AttributeType => {
                    CublasStatus::CUBLAS_STATUS_INVALID_VALUE
                }
                Error::NotSupported(_) | Error::Captured(_) => CublasStatus::CUBLAS_STATUS_NOT_SUPPORTED,
                Error::AllocFailed | Error::ExecutionFailed(DriverError::OUT_OF_MEMORY) => {
                    CublasStatus::CUBLAS_STATUS_ALLOC_FAILED
                }
                Error::ExecutionFailed(_) | Error::BadAddress(_) => {
                    CublasStatus::CUBLAS_STATUS_EXECUTION_FAILED
                }
                Error::Mapping => CublasStatus::CUBLAS_STATUS_MAPPING_ERROR,
                Error::Internal | Error::Deferred => CublasStatus::CUBLAS_STATUS_INTERNAL_ERROR,
            },
        };
        status as c_int
    }
}

/// The status of cuDNN 9, or of cuDNN 8, whose numbers (not in cudarc beside those of 9) are on its page of
/// `cudnnStatus_t`.
fn cudnn_status(error: Error, major: usize) -> c_int {
    let (nine, eight) = match error {
        Error::NotInitialized => (CudnnStatus::CUDNN_STATUS_NOT_INITIALIZED, 1),
        Error::InvalidValue(_) => (CudnnStatus::CUDNN_STATUS_BAD_PARAM, 3),
        Error::NotFinalized(_) => (CudnnStatus::CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, 3),
        Error::AttributeType => (CudnnStatus::CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, 3),
        Error::NotSupported(_) | Error::Captured(_) => (CudnnStatus::CUDNN_STATUS_NOT_SUPPORTED, 9),
        Error::AllocFailed => (CudnnStatus::CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED, 2),
        Error::ExecutionFailed(DriverError::OUT_OF_MEMORY) => {
            (CudnnStatus::CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED, 2)
        }
        Error::ExecutionFailed(_) | Error::BadAddress(_) | Error::Mapping => {
            (CudnnStatus::CUDNN_STATUS_EXECUTION_FAILED, 8)
        }
        Error::Internal | Error::Deferred => (CudnnStatus::CUDNN_STATUS_INTERNAL_ERROR, 4),
    };
    if major < 9 { eight } else { nine as c_int }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotInitialized => write!(f, "not_initialized"),
            Error::InvalidValue(what) => write!(f, "invalid_value argument={what}"),
            Error::NotFinalized(what) => write!(f, "not_finalized descriptor={what}"),
            Error::AttributeType => write!(f, "invalid_value argument=attributeType"),
            Error::NotSupported(what) => write!(f, "not_supported what={what:?}"),
            Error::Captured(what) => write!(f, "not_supported_in_a_capture what={what:?}"),
            Error::AllocFailed => write!(f, "alloc_failed"),
            Error::ExecutionFailed(error) => write!(f, "execution_failed driver_error={}", error.0),
            Error::BadAddress(operand) => write!(f, "execution_failed unreachable_operand={operand}"),
            Error::Mapping => write!(f, "mapping_error"),
            Error::Internal => write!(f, "internal_error"),
            Error::Deferred => write!(f, "deferred"),
        }
    }
}

impl From<DriverError> for Error {
    fn from(error: DriverError) -> Error {
        Error::ExecutionFailed(error)
    }
}

impl From<RealError> for Error {
    fn from(_: RealError) -> Error {
        Error::NotInitialized
    }
}

/// The name of a cuBLAS status; both cuBLAS and cuBLASLt print these.
pub fn cublas_status_name(status: c_int) -> &'static std::ffi::CStr {
    match status {
        0 => c"CUBLAS_STATUS_SUCCESS",
        1 => c"CUBLAS_STATUS_NOT_INITIALIZED",
        3 => c"CUBLAS_STATUS_ALLOC_FAILED",
        7 => c"CUBLAS_STATUS_INVALID_VALUE",
        8 => c"CUBLAS_STATUS_ARCH_MISMATCH",
        11 => c"CUBLAS_STATUS_MAPPING_ERROR",
        13 => c"CUBLAS_STATUS_EXECUTION_FAILED",
        14 => c"CUBLAS_STATUS_INTERNAL_ERROR",
        15 => c"CUBLAS_STATUS_NOT_SUPPORTED",
        16 => c"CUBLAS_STATUS_LICENSE_ERROR",
        _ => c"CUBLAS_STATUS_UNKNOWN",
    }
}

/// Whether a native failure can mean "this library has no kernel for this device".
///
/// `ARCH_MISMATCH` and `NOT_SUPPORTED` say so; `NOT_INITIALIZED` is how a library whose kernels cannot be
/// loaded refuses to make a handle; `EXECUTION_FAILED` needs a second look (see `entry::route`).
pub fn may_mean_missing_kernel(library: Library, status: c_int) -> bool {
    if library == Library::Cudnn {
        return cudnn_may_lack_a_kernel(status, cudnn_major());
    }
    [
        CublasStatus::CUBLAS_STATUS_ARCH_MISMATCH,
        CublasStatus::CUBLAS_STATUS_NOT_SUPPORTED,
        CublasStatus::CUBLAS_STATUS_EXECUTION_FAILED,
    ]
    .iter()
    .any(|&candidate| candidate as c_int == status)
}

/// How much a native failure says of missing kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing: the call was wrong, or memory ran out.
    None,
    /// The function has no such combination, or no kernel: cuDNN's NOT_SUPPORTED is how one algorithm of many is
    /// turned down on healthy devices as well.
    Weak,
    /// The library has no kernel for this device, or its kernel failed.
    Strong,
}

/// What a native status says.
pub fn evidence(library: Library, status: c_int) -> Evidence {
    const ARCH_MISMATCH: c_int = CudnnStatus::CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH as c_int;
    const NOT_SUPPORTED_8: c_int = 9;
    if !may_mean_missing_kernel(library, status) {
        return Evidence::None;
    }
    let weak = match library {
        Library::Cudnn if cudnn_major() < 9 => status == NOT_SUPPORTED_8,
        Library::Cudnn => (3000..=3999).contains(&status) && status != ARCH_MISMATCH,
        Library::Cublas | Library::CublasLt | Library::Cudart => false,
    };
    if weak { Evidence::Weak } else { Evidence::Strong }
}

/// Whether a library that makes no handle says why, and that it is not for want of kernels: memory, licence, or parts
/// of the library that do not fit together.
pub fn explains_missing_handle(library: Library, status: c_int) -> bool {
    match library {
        Library::Cudnn if cudnn_major() < 9 => [2, 10, 14].contains(&status),
        Library::Cudnn => [1002, 1003, 1005, 1008, 4003, 4004].contains(&status),
        Library::Cublas | Library::CublasLt | Library::Cudart => [3, 16].contains(&status),
    }
}

/// The same for cuDNN: NOT_SUPPORTED, EXECUTION_FAILED and what they are subdivided into since version 9, and a
/// fused kernel that could not be compiled for the device.
fn cudnn_may_lack_a_kernel(status: c_int, major: usize) -> bool {
    const COMPILATION_FAILED: c_int = CudnnStatus::CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED as c_int;
    const ARCH_MISMATCH_8: c_int = 6;
    const EXECUTION_FAILED_8: c_int = 8;
    const NOT_SUPPORTED_8: c_int = 9;
    if major < 9 {
        [ARCH_MISMATCH_8, EXECUTION_FAILED_8, NOT_SUPPORTED_8].contains(&status)
    } else {
        matches!(status, 3000..=3999 | 5000..=5999 | COMPILATION_FAILED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_status_of_the_cudnn_in_the_process() {
        let rows = [
            (Error::NotInitialized, 1001, 1),
            (Error::InvalidValue("x"), 2000, 3),
            (Error::NotFinalized("x"), 2004, 3),
            (Error::AttributeType, 2010, 3),
            (Error::NotSupported("types"), 3000, 9),
            (Error::AllocFailed, 4003, 2),
            (Error::ExecutionFailed(DriverError(700)), 5000, 8),
            (Error::Internal, 4000, 4),
        ];
        for (error, nine, eight) in rows {
            assert_eq!((cudnn_status(error, 9), cudnn_status(error, 8)), (nine, eight), "{error:?}");
        }
        assert!(cudnn_may_lack_a_kernel(3007, 9) && cudnn_may_lack_a_kernel(6, 8));
        assert!(explains_missing_handle(Library::Cublas, 3) && !explains_missing_handle(Library::Cublas, 1));
        assert!(!cudnn_may_lack_a_kernel(2000, 9) && !cudnn_may_lack_a_kernel(3, 8));
    }

    #[test]
    fn every_error_has_the_status_cublas_documents() {
        let rows = [
            (Error::NotInitialized, 1),
            (Error::AllocFailed, 3),
            (Error::ExecutionFailed(DriverError::OUT_OF_MEMORY), 3),
            (Error::InvalidValue("m"), 7),
            (Error::ExecutionFailed(DriverError(700)), 13),
            (Error::BadAddress("a"), 13),
            (Error::Internal, 14),
            (Error::NotSupported("types"), 15),
        ];
        for (error, status) in rows {
            assert_eq!(error.status(Library::Cublas), status, "{error:?}");
            assert_eq!(error.status(Library::CublasLt), status, "{error:?}");
        }
    }
}
