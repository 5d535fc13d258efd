//! What the simulated device does: no C types here beyond integers and addresses.

pub mod bus;
pub mod capture;
pub mod copy;
pub mod counters;
pub mod device;
pub mod event;
pub mod faults;
pub mod graph;
pub mod handles;
pub mod launch;
pub mod memory;
pub mod pool;
pub mod signal;
pub mod stream;
pub mod texts;
pub mod user_object;

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
    /// `cudaErrorInvalidMemcpyDirection`.
    pub const INVALID_DIRECTION: Code = Code(21);
    /// `cudaErrorNoDevice`.
    pub const NO_DEVICE: Code = Code(100);
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
    /// `cudaErrorUnsupportedLimit`.
    pub const UNSUPPORTED_LIMIT: Code = Code(215);
    /// `cudaErrorHostMemoryNotRegistered`.
    pub const NOT_REGISTERED: Code = Code(713);
    /// `cudaErrorNotSupported`.
    pub const NOT_SUPPORTED: Code = Code(801);
    /// `cudaErrorStreamCaptureUnsupported`.
    pub const CAPTURE_UNSUPPORTED: Code = Code(900);
    /// `cudaErrorStreamCaptureInvalidated`.
    pub const CAPTURE_INVALIDATED: Code = Code(901);
    /// `cudaErrorStreamCaptureMerge`.
    pub const CAPTURE_MERGE: Code = Code(902);
    /// `cudaErrorStreamCaptureUnmatched`.
    pub const CAPTURE_UNMATCHED: Code = Code(903);
    /// `cudaErrorStreamCaptureUnjoined`.
    pub const CAPTURE_UNJOINED: Code = Code(904);
    /// `cudaErrorStreamCaptureIsolation`.
    pub const CAPTURE_ISOLATION: Code = Code(905);
    /// `cudaErrorStreamCaptureImplicit`.
    pub const CAPTURE_IMPLICIT: Code = Code(906);
    /// `cudaErrorCapturedEvent`.
    pub const CAPTURED_EVENT: Code = Code(907);
    /// `cudaErrorStreamCaptureWrongThread`.
    pub const CAPTURE_WRONG_THREAD: Code = Code(908);
    /// `cudaErrorUnknown`.
    pub const UNKNOWN: Code = Code(999);
}

/// What every operation here returns.
pub type Outcome<T = ()> = Result<T, Code>;

/// Tests share one simulated device: each holds this while it runs.
#[cfg(test)]
pub fn test_lock() -> parking_lot::MutexGuard<'static, ()> {
    static ONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
    ONE.lock()
}
