//! What the simulated device does: no C types here beyond integers and addresses.

pub mod copy;
pub mod counters;
pub mod device;
pub mod event;
pub mod faults;
pub mod graph;
pub mod handles;
pub mod memory;
pub mod stream;

/// A CUDA error code. Runtime and driver agree on those that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub i32);

/// The error codes used here, by the runtime's names.
impl Code {
    /// `cudaErrorInvalidValue`.
    pub const INVALID_VALUE: Code = Code(1);
    /// `cudaErrorMemoryAllocation`.
    pub const OUT_OF_MEMORY: Code = Code(2);
    /// `cudaErrorInitializationError`.
    pub const INITIALIZATION: Code = Code(3);
    /// `cudaErrorInvalidDevice`.
    pub const INVALID_DEVICE: Code = Code(101);
    /// `cudaErrorDeviceUninitialized`, the driver's `CUDA_ERROR_INVALID_CONTEXT`.
    pub const INVALID_CONTEXT: Code = Code(201);
    /// `cudaErrorNoKernelImageForDevice`.
    pub const NO_KERNEL_IMAGE: Code = Code(209);
    /// `cudaErrorInvalidResourceHandle`.
    pub const INVALID_HANDLE: Code = Code(400);
    /// `cudaErrorSymbolNotFound`.
    pub const NOT_FOUND: Code = Code(500);
    /// `cudaErrorNotReady`.
    pub const NOT_READY: Code = Code(600);
    /// `cudaErrorHostMemoryAlreadyRegistered`.
    pub const ALREADY_REGISTERED: Code = Code(712);
    /// `cudaErrorHostMemoryNotRegistered`.
    pub const NOT_REGISTERED: Code = Code(713);
    /// `cudaErrorNotSupported`.
    pub const NOT_SUPPORTED: Code = Code(801);
    /// `cudaErrorStreamCaptureUnsupported`.
    pub const CAPTURE_UNSUPPORTED: Code = Code(900);
    /// `cudaErrorStreamCaptureInvalidated`.
    pub const CAPTURE_INVALIDATED: Code = Code(901);
    /// `cudaErrorStreamCaptureImplicit`.
    pub const CAPTURE_IMPLICIT: Code = Code(906);
    /// `cudaErrorUnknown`.
    pub const UNKNOWN: Code = Code(999);

    /// The name and the text that CUDA gives the code.
    pub fn texts(self) -> (&'static std::ffi::CStr, &'static std::ffi::CStr) {
        match self.0 {
            0 => (c"cudaSuccess", c"no error"),
            1 => (c"cudaErrorInvalidValue", c"invalid argument"),
            2 => (c"cudaErrorMemoryAllocation", c"out of memory"),
            3 => (c"cudaErrorInitializationError", c"initialization error"),
            98 => (c"cudaErrorInvalidDeviceFunction", c"invalid device function"),
            100 => (c"cudaErrorNoDevice", c"no CUDA-capable device is detected"),
            101 => (c"cudaErrorInvalidDevice", c"invalid device ordinal"),
            201 => (c"cudaErrorDeviceUninitialized", c"invalid device context"),
            209 => (
                c"cudaErrorNoKernelImageForDevice",
                c"no kernel image is available for execution on the device",
            ),
            400 => (c"cudaErrorInvalidResourceHandle", c"invalid resource handle"),
            500 => (c"cudaErrorSymbolNotFound", c"named symbol not found"),
            600 => (c"cudaErrorNotReady", c"device not ready"),
            712 => (
                c"cudaErrorHostMemoryAlreadyRegistered",
                c"part or all of the requested memory range is already mapped",
            ),
            713 => (
                c"cudaErrorHostMemoryNotRegistered",
                c"pointer does not correspond to a registered memory region",
            ),
            801 => (c"cudaErrorNotSupported", c"operation not supported"),
            900 => {
                (c"cudaErrorStreamCaptureUnsupported", c"operation not permitted when stream is capturing")
            }
            901 => (
                c"cudaErrorStreamCaptureInvalidated",
                c"operation failed due to a previous error during capture",
            ),
            906 => (
                c"cudaErrorStreamCaptureImplicit",
                c"operation would make the legacy stream depend on a capturing blocking stream",
            ),
            _ => (c"cudaErrorUnknown", c"unknown error"),
        }
    }
}

/// What every operation here returns.
pub type Outcome<T = ()> = Result<T, Code>;
