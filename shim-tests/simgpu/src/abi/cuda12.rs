//! What is CUDA 12's own: its version, the layout of its device properties, and functions that CUDA 11 and 13 have in
//! another form; what it shares with 11 is in [`super::before_cuda13`].

use std::ffi::{c_char, c_int, c_ulonglong, c_void};

pub use cudarc::runtime::sys::cudaDeviceProp as Properties;

use super::properties;
use super::runtime::entry_point;
use super::runtime_stream::CaptureInfo;

/// CUDA 12.8.
pub const VERSION: c_int = 12_080;

/// Bytes of `cudaFuncAttributes`.
pub const FUNCTION_ATTRIBUTES: usize = size_of::<cudarc::runtime::sys::cudaFuncAttributes>();

/// Which form of a driver function a program of this version means by its plain name, best first.
pub const DRIVER_SUFFIXES: &[&str] = &["_v2", ""];

type Handle = *mut c_void;

/// The properties that CUDA 13 has dropped.
pub fn describe_more(properties: &mut Properties, attribute: impl Fn(c_int) -> c_int) {
    properties.memoryPoolsSupported = attribute(115);
    properties.clockRate = attribute(13);
    properties.deviceOverlap = attribute(15);
    properties.memoryClockRate = attribute(36);
}

export! { runtime TABLE;
    fn cudaGetDriverEntryPoint(symbol: *const c_char, function: *mut *mut c_void, _flags: c_ulonglong, status: *mut c_int) {
        entry_point(symbol, function, status)
    }
    fn cudaGetDeviceProperties_v2(place: *mut Properties, ordinal: c_int) { properties::describe(place, ordinal) }
    fn cudaStreamGetCaptureInfo_v3(
        stream: Handle, status: *mut c_int, id: *mut c_ulonglong, graph: *mut Handle,
        dependencies: *mut *const usize, edges: *mut *const c_void, count: *mut usize
    ) {
        CaptureInfo { status, id, graph, dependencies, edges, count }.tell(stream)
    }
}
