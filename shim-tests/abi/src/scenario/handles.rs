//! Handles: their state, their lives, and functions that are not served.

use std::ffi::{c_int, c_void};

use crate::call;
use crate::lab::{
    Device, INVALID_VALUE, NOT_INITIALIZED, NOT_SUPPORTED, SUCCESS, bytes, calls, create, floats,
    foreign_handles,
};

/// What is set is given back; bad values are refused and change nothing.
pub fn state() {
    let handle = create();
    let get = |name: &str| {
        let mut value: c_int = -7;
        let pointer = &raw mut value;
        assert_eq!(call!(name, handle => *mut c_void, pointer => *mut c_int), SUCCESS, "{name}");
        value
    };
    for (setter, getter, value, bad) in [
        ("cublasSetPointerMode_v2", "cublasGetPointerMode_v2", 1, 2),
        ("cublasSetMathMode", "cublasGetMathMode", 3, -1),
        ("cublasSetAtomicsMode", "cublasGetAtomicsMode", 1, 5),
        ("cublasSetSmCountTarget", "cublasGetSmCountTarget", 8, -2),
    ] {
        assert_eq!(get(getter), 0, "{getter} of a new handle");
        assert_eq!(call!(setter, handle => *mut c_void, value => c_int), SUCCESS, "{setter}");
        assert_eq!(get(getter), value, "{getter}");
        assert_eq!(call!(setter, handle => *mut c_void, bad => c_int), INVALID_VALUE, "{setter}({bad})");
        assert_eq!(get(getter), value, "{getter} after a bad value");
        let null = std::ptr::null_mut();
        assert_eq!(call!(getter, handle => *mut c_void, null => *mut c_int), INVALID_VALUE, "{getter}(null)");
    }
    let mut stream: *mut c_void = std::ptr::null_mut();
    let pointer = &raw mut stream;
    assert_eq!(call!("cudaStreamCreate", pointer => *mut *mut c_void), SUCCESS);
    assert_eq!(call!("cublasSetStream_v2", handle => *mut c_void, stream => *mut c_void), SUCCESS);
    let mut got: *mut c_void = std::ptr::null_mut();
    let pointer = &raw mut got;
    assert_eq!(call!("cublasGetStream_v2", handle => *mut c_void, pointer => *mut *mut c_void), SUCCESS);
    assert_eq!(got, stream);
    assert_eq!(call!("cublasSetWorkspace_v2", handle => *mut c_void, 512 => u64, 1024 => usize), SUCCESS);
    assert_eq!(
        call!("cublasSetWorkspace_v2", handle => *mut c_void, 100 => u64, 1024 => usize),
        INVALID_VALUE
    );
    let mut value: c_int = -7;
    let pointer = &raw mut value;
    let version = call!("cublasGetVersion_v2", handle => *mut c_void, pointer => *mut c_int);
    if std::env::var("STANDIN_DIR").is_ok() {
        assert_eq!((version, value), (SUCCESS, 120_804), "the real library's version");
        let pointer = &raw mut value;
        assert_eq!(call!("cublasGetProperty", 0 => c_int, pointer => *mut c_int), SUCCESS);
        assert_eq!(value, 12);
    } else {
        assert_eq!(version, NOT_INITIALIZED, "no library, no version");
    }
    assert_eq!(call!("cublasGetProperty", 9 => c_int, pointer => *mut c_int), INVALID_VALUE);
    assert_eq!(
        status_name(13),
        if std::env::var("STANDIN_DIR").is_ok() {
            "STANDIN_STATUS"
        } else {
            "CUBLAS_STATUS_EXECUTION_FAILED"
        }
    );
    assert_eq!(call!("cublasDestroy_v2", handle => *mut c_void), SUCCESS);
}

fn status_name(status: c_int) -> String {
    // SAFETY: cuBLAS's function of this name has this prototype.
    let function: unsafe extern "C" fn(c_int) -> *const libc::c_char =
        unsafe { std::mem::transmute(crate::lab::symbol("cublasGetStatusName")) };
    // SAFETY: any integer is fine; the text is static.
    unsafe { std::ffi::CStr::from_ptr(function(status)) }.to_string_lossy().into_owned()
}

/// Null, destroyed and invented handles are NOT_INITIALIZED everywhere, and nothing is touched.
pub fn lives() {
    let dead = create();
    assert_eq!(call!("cublasDestroy_v2", dead => *mut c_void), SUCCESS);
    let invented = std::ptr::without_provenance_mut::<c_void>(0x1234_5678);
    let null = std::ptr::null_mut();
    let c = Device::holding(&bytes(&[3.0; 4]));
    let one = 1.0f32;
    let pointer = &raw const one;
    for handle in [dead, invented, null] {
        let status = call!("cublasSgemm_v2", handle => *mut c_void, 0 => c_int, 0 => c_int, 2 => c_int, 2 => c_int, 2 => c_int,
            pointer => *const f32, c.address => u64, 2 => c_int, c.address => u64, 2 => c_int,
            pointer => *const f32, c.address => u64, 2 => c_int);
        assert_eq!(status, NOT_INITIALIZED, "{handle:?}");
    }
    assert_eq!(call!("cublasDestroy_v2", null => *mut c_void), NOT_INITIALIZED);
    assert_eq!(call!("cublasCreate_v2", null => *mut c_void), INVALID_VALUE);
    assert!(floats(&c.get()).iter().all(|&value| value == 3.0));
    // Many handles at once are told apart.
    let handles: Vec<_> = (0..50).map(|_| create()).collect();
    for (index, &handle) in handles.iter().enumerate() {
        assert_eq!(call!("cublasSetMathMode", handle => *mut c_void, index as c_int => c_int), SUCCESS);
    }
    for (index, &handle) in handles.iter().enumerate() {
        let mut mode: c_int = -1;
        let pointer = &raw mut mode;
        assert_eq!(call!("cublasGetMathMode", handle => *mut c_void, pointer => *mut c_int), SUCCESS);
        assert_eq!(mode, index as c_int);
        assert_eq!(call!("cublasDestroy_v2", handle => *mut c_void), SUCCESS);
    }
}

/// A function without a host form refuses our handle, and the native library never sees it.
pub fn refused() {
    let handle = create();
    let y = Device::holding(&bytes(&[3.0; 4]));
    let status = call!("cublasUint8gemmBias", handle => *mut c_void, 0 => c_int, 0 => c_int, 0 => c_int, 1 => c_int, 1 => c_int,
        1 => c_int, y.address => u64, 0 => c_int, 1 => c_int, y.address => u64, 0 => c_int, 1 => c_int, y.address => u64,
        0 => c_int, 1 => c_int, 0 => c_int, 0 => c_int);
    assert_eq!(status, NOT_SUPPORTED);
    assert!(floats(&y.get()).iter().all(|&value| value == 3.0));
    assert_eq!(foreign_handles(), 0);
}

/// With a handle of the native library's, such a function goes straight on, every argument in its place.
pub fn forwarded() {
    let handle = create();
    let status = call!("cublasUint8gemmBias", handle => *mut c_void, 1 => c_int, 2 => c_int, 3 => c_int, 4 => c_int, 5 => u64, 6 => u64,
        7 => c_int, 8 => u64, 9 => u64, 10 => c_int, 11 => u64, 12 => c_int);
    assert_eq!(status, SUCCESS, "thirteen arguments, in registers and on the stack");
    let two = 2.0f32;
    let pointer = &raw const two;
    let (x, y) = (Device::holding(&bytes(&[1.0, 2.0])), Device::holding(&bytes(&[10.0, 20.0])));
    let status = call!("cublasSaxpy_v2", handle => *mut c_void, 2 => c_int, pointer => *const f32, x.address => u64, 1 => c_int,
        y.address => u64, 1 => c_int);
    assert_eq!(status, SUCCESS);
    assert_eq!(floats(&y.get()), [12.0, 24.0]);
    assert_eq!(calls("libcublas.so.12", "cublasUint8gemmBias"), 1);
}
