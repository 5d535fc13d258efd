//! The CUDA driver functions that we call, loaded once from the process's own driver.
//!
//! Source: <https://docs.nvidia.com/cuda/cuda-driver-api/>. Types are cudarc's; results stay integers,
//! because a newer driver may return a value that a Rust enum does not have.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint, c_void};
use std::sync::OnceLock;

use cudarc::driver::sys::{CUDA_MEMCPY2D_st, CUcontext, CUgraph, CUstream, CUuserObject};

/// A `CUresult` that is not `CUDA_SUCCESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverError(pub c_uint);

impl DriverError {
    /// `CUDA_ERROR_OUT_OF_MEMORY`.
    pub const OUT_OF_MEMORY: DriverError = DriverError(2);
    /// `CUDA_ERROR_NOT_INITIALIZED`, also our answer when there is no driver at all.
    pub const NOT_INITIALIZED: DriverError = DriverError(3);
    /// `CUDA_ERROR_INVALID_DEVICE`.
    pub const INVALID_DEVICE: DriverError = DriverError(101);
    /// `CUDA_ERROR_NOT_SUPPORTED`.
    pub const NOT_SUPPORTED: DriverError = DriverError(801);
    /// `CUDA_ERROR_NOT_READY`: work is pending, nothing is wrong.
    pub const NOT_READY: DriverError = DriverError(600);
}

/// `Ok` for `CUDA_SUCCESS`.
pub fn check(result: c_uint) -> Result<(), DriverError> {
    if result == 0 { Ok(()) } else { Err(DriverError(result)) }
}

/// Stamps a table's struct and its loader out of one list of `field: "symbol" (argument types)` rows.
macro_rules! driver_table {
    ($(#[$table_doc:meta])* $table:ident; $($(#[$doc:meta])* $field:ident: $symbol:literal ($($arg:ty),*);)*) => {
        $(#[$table_doc])*
        pub struct $table {
            $($(#[$doc])* pub $field: unsafe extern "C" fn($($arg),*) -> c_uint,)*
        }

        impl $table {
            fn load(library: &libloading::Library) -> Result<$table, libloading::Error> {
                Ok($table {
                    // SAFETY: each type above restates the prototype on the driver API's page for that
                    // symbol; NVIDIA keeps the ABI of a suffixed name for good.
                    $($field: unsafe {
                        *library.get::<unsafe extern "C" fn($($arg),*) -> c_uint>($symbol)?
                    },)*
                })
            }
        }
    };
}

driver_table! {
    /// Addresses of driver functions; every one takes what NVIDIA's page of that name says.
    Driver;
    /// `cuInit`.
    init: b"cuInit\0" (c_uint);
    /// `cuDeviceGetCount`.
    device_get_count: b"cuDeviceGetCount\0" (*mut c_int);
    /// `cuDeviceGet`.
    device_get: b"cuDeviceGet\0" (*mut c_int, c_int);
    /// `cuDeviceGetName`.
    device_get_name: b"cuDeviceGetName\0" (*mut std::ffi::c_char, c_int, c_int);
    /// `cuDeviceGetAttribute`.
    device_get_attribute: b"cuDeviceGetAttribute\0" (*mut c_int, c_uint, c_int);
    /// `cuDevicePrimaryCtxRetain`.
    primary_context_retain: b"cuDevicePrimaryCtxRetain\0" (*mut CUcontext, c_int);
    /// `cuCtxGetCurrent`.
    context_get_current: b"cuCtxGetCurrent\0" (*mut CUcontext);
    /// `cuCtxPushCurrent`.
    context_push: b"cuCtxPushCurrent_v2\0" (CUcontext);
    /// `cuCtxPopCurrent`.
    context_pop: b"cuCtxPopCurrent_v2\0" (*mut CUcontext);
    /// `cuCtxGetDevice`.
    context_get_device: b"cuCtxGetDevice\0" (*mut c_int);
    /// `cuCtxSynchronize`.
    context_synchronize: b"cuCtxSynchronize\0" ();
    /// `cuPointerGetAttribute`.
    pointer_get_attribute: b"cuPointerGetAttribute\0" (*mut c_void, c_uint, u64);
    /// `cuMemGetAddressRange`.
    mem_get_address_range: b"cuMemGetAddressRange_v2\0" (*mut u64, *mut usize, u64);
    /// `cuMemAlloc`.
    mem_alloc: b"cuMemAlloc_v2\0" (*mut u64, usize);
    /// `cuMemFree`.
    mem_free: b"cuMemFree_v2\0" (u64);
    /// `cuMemGetInfo`: free, then all.
    mem_get_info: b"cuMemGetInfo_v2\0" (*mut usize, *mut usize);
    /// `cuMemHostAlloc`.
    mem_host_alloc: b"cuMemHostAlloc\0" (*mut *mut c_void, usize, c_uint);
    /// `cuMemHostGetDevicePointer`.
    mem_host_get_device_pointer: b"cuMemHostGetDevicePointer_v2\0" (*mut u64, *mut c_void, c_uint);
    /// `cuMemFreeHost`.
    mem_free_host: b"cuMemFreeHost\0" (*mut c_void);
    /// `cuMemcpyDtoHAsync`.
    copy_out_of_device: b"cuMemcpyDtoHAsync_v2\0" (*mut c_void, u64, usize, CUstream);
    /// `cuMemcpyHtoDAsync`.
    copy_to_device: b"cuMemcpyHtoDAsync_v2\0" (u64, *const c_void, usize, CUstream);
    /// `cuMemcpyAsync`: between any two addresses.
    copy_any: b"cuMemcpyAsync\0" (u64, u64, usize, CUstream);
    /// `cuMemcpy2DAsync`.
    copy_2d: b"cuMemcpy2DAsync_v2\0" (*const CUDA_MEMCPY2D_st, CUstream);
    /// `cuStreamCreate`.
    stream_create: b"cuStreamCreate\0" (*mut CUstream, c_uint);
    /// `cuStreamDestroy`.
    stream_destroy: b"cuStreamDestroy_v2\0" (CUstream);
    /// `cuStreamSynchronize`.
    stream_synchronize: b"cuStreamSynchronize\0" (CUstream);
    /// `cuStreamQuery`.
    stream_query: b"cuStreamQuery\0" (CUstream);
    /// `cuStreamIsCapturing`.
    stream_is_capturing: b"cuStreamIsCapturing\0" (CUstream, *mut c_uint);
    /// `cuLaunchHostFunc`.
    launch_host_function: b"cuLaunchHostFunc\0" (CUstream, HostFunction, *mut c_void);
    /// `cuThreadExchangeStreamCaptureMode`.
    exchange_capture_mode: b"cuThreadExchangeStreamCaptureMode\0" (*mut c_uint);
}

driver_table! {
    /// What came with CUDA 11.3: things whose life a graph shares.
    Graphs;
    /// `cuStreamGetCaptureInfo_v2`: status, identifier, graph, its nodes to depend on and their number.
    capture_info: b"cuStreamGetCaptureInfo_v2\0" (
        CUstream, *mut c_uint, *mut u64, *mut CUgraph, *mut *const c_void, *mut usize
    );
    /// `cuGraphGetNodes`: graph, room for nodes or null, their number.
    graph_nodes: b"cuGraphGetNodes\0" (CUgraph, *mut c_void, *mut usize);
    /// `cuUserObjectCreate`: object, what it is, its destructor, references, flags.
    user_object_create: b"cuUserObjectCreate\0" (*mut CUuserObject, *mut c_void, HostFunction, c_uint, c_uint);
    /// `cuGraphRetainUserObject`: graph, object, references, flags.
    graph_retain: b"cuGraphRetainUserObject\0" (CUgraph, CUuserObject, c_uint, c_uint);
}

/// A function that the driver calls on a thread of its own; it must not call the driver.
pub type HostFunction = unsafe extern "C" fn(*mut c_void);

/// The library and its tables; it stays loaded for as long as the addresses are used: for good.
struct Loaded {
    driver: Driver,
    graphs: Option<Graphs>,
    _library: libloading::Library,
}

fn loaded() -> Option<&'static Loaded> {
    static LOADED: OnceLock<Option<Loaded>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            // SAFETY: loading the driver runs its initialisers, which every CUDA program does anyway; by
            // the time we are asked, the program has normally loaded it and this only counts a reference.
            let library = unsafe { libloading::Library::new("libcuda.so.1") }.ok()?;
            Some(Loaded {
                driver: Driver::load(&library).ok()?,
                graphs: Graphs::load(&library).ok(),
                _library: library,
            })
        })
        .as_ref()
}

/// The process's driver; `NOT_INITIALIZED` where there is none.
pub fn driver() -> Result<&'static Driver, DriverError> {
    loaded().map(|loaded| &loaded.driver).ok_or(DriverError::NOT_INITIALIZED)
}

/// The functions of CUDA 11.3, if the driver is as new.
pub fn graphs() -> Option<&'static Graphs> {
    loaded()?.graphs.as_ref()
}
