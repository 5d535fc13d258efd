//! Our errors, and the integers the libraries call them by.

use std::ffi::c_int;
use std::fmt;

use cudarc::cublas::sys::cublasStatus_t as CublasStatus;

use crate::native::driver::DriverError;
use crate::native::find::Library;
use crate::native::real::RealError;

/// `CUBLAS_STATUS_SUCCESS`, the one value all libraries share.
pub const SUCCESS: c_int = 0;

/// Why a call was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No handle, a foreign one, or one that was destroyed.
    NotInitialized,
    /// This argument is not one the library's page allows.
    InvalidValue(&'static str),
    /// A combination the library, or we, do not have; the text names it.
    NotSupported(&'static str),
    /// Host or device memory ran out.
    AllocFailed,
    /// A driver call failed.
    ExecutionFailed(DriverError),
    /// An operand's address is no memory that the device could reach.
    BadAddress(&'static str),
    /// A bug of ours, caught.
    Internal,
}

impl Error {
    /// The status that `library` documents for this error.
    pub fn status(self, library: Library) -> c_int {
        // `cudaErrorInitializationError`: all that a missing or broken runtime can be blamed for.
        const INITIALIZATION_ERROR: c_int = 3;
        let status = match (library, self) {
            (Library::Cudart, _) => return INITIALIZATION_ERROR,
            (Library::Cublas | Library::CublasLt, error) => match error {
                Error::NotInitialized => CublasStatus::CUBLAS_STATUS_NOT_INITIALIZED,
                Error::InvalidValue(_) => CublasStatus::CUBLAS_STATUS_INVALID_VALUE,
                Error::NotSupported(_) => CublasStatus::CUBLAS_STATUS_NOT_SUPPORTED,
                Error::AllocFailed | Error::ExecutionFailed(DriverError::OUT_OF_MEMORY) => {
                    CublasStatus::CUBLAS_STATUS_ALLOC_FAILED
                }
                Error::ExecutionFailed(_) | Error::BadAddress(_) => {
                    CublasStatus::CUBLAS_STATUS_EXECUTION_FAILED
                }
                Error::Internal => CublasStatus::CUBLAS_STATUS_INTERNAL_ERROR,
            },
        };
        status as c_int
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotInitialized => write!(f, "not_initialized"),
            Error::InvalidValue(what) => write!(f, "invalid_value argument={what}"),
            Error::NotSupported(what) => write!(f, "not_supported what={what:?}"),
            Error::AllocFailed => write!(f, "alloc_failed"),
            Error::ExecutionFailed(error) => write!(f, "execution_failed driver_error={}", error.0),
            Error::BadAddress(operand) => write!(f, "execution_failed unreachable_operand={operand}"),
            Error::Internal => write!(f, "internal_error"),
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
pub fn may_mean_missing_kernel(status: c_int) -> bool {
    [
        CublasStatus::CUBLAS_STATUS_ARCH_MISMATCH,
        CublasStatus::CUBLAS_STATUS_NOT_SUPPORTED,
        CublasStatus::CUBLAS_STATUS_EXECUTION_FAILED,
    ]
    .iter()
    .any(|&candidate| candidate as c_int == status)
}

#[cfg(test)]
mod tests {
    use super::*;

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
