//! cuDNN through its C interface: the legacy functions and the graph API.

pub mod algorithms;
pub mod fused;
pub mod graph;
pub mod legacy;
pub mod matrix;
pub mod misuse;
pub mod norm;
pub mod operations;
pub mod placement;
pub mod pointwise;
pub mod policy;
mod workbench;

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::Element;

use crate::call;

/// The statuses of cuDNN 9 that tests use.
pub const SUCCESS: c_int = 0;
pub const NOT_INITIALIZED: c_int = 1001;
pub const BAD_PARAM: c_int = 2000;
pub const NOT_SUPPORTED: c_int = 3000;
pub const EXECUTION_FAILED: c_int = 5000;

/// The library's name in the process.
pub const LIBRARY: &str = "libcudnn.so.9";

/// A new cuDNN handle.
pub fn create() -> *mut c_void {
    let mut handle = std::ptr::null_mut();
    let pointer = &raw mut handle;
    assert_eq!(call!("cudnnCreate", pointer => *mut *mut c_void), SUCCESS);
    assert!(!handle.is_null());
    handle
}

/// Ends a handle.
pub fn destroy(handle: *mut c_void) {
    assert_eq!(call!("cudnnDestroy", handle => *mut c_void), SUCCESS);
}

/// The `cudnnDataType_t` of an element.
pub fn data_type(element: Element) -> c_int {
    match element {
        Element::F32 => 0,
        Element::F64 => 1,
        Element::F16 => 2,
        Element::I8 => 3,
        Element::I32 => 4,
        Element::Bf16 => 9,
        _ => panic!("{element:?} is no type of cuDNN"),
    }
}

/// The type that sums of these elements are formed in.
pub fn compute_type(element: Element) -> c_int {
    data_type(match element {
        Element::F64 => Element::F64,
        Element::I8 => Element::I32,
        _ => Element::F32,
    })
}
