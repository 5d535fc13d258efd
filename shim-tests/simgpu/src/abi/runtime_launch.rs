//! The runtime API: kernels, all of which are refused, and the registration that compilers emit.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_uint, c_void};

use super::put_if_asked;
use crate::core::counters::LAUNCHES_REFUSED;
use crate::core::{Code, Outcome};

/// `dim3`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dim3 {
    /// x.
    pub x: c_uint,
    /// y.
    pub y: c_uint,
    /// z.
    pub z: c_uint,
}

type Configuration = (Dim3, Dim3, usize, usize);

thread_local! {
    static CONFIGURATIONS: RefCell<Vec<Configuration>> = const { RefCell::new(Vec::new()) };
}

/// No kernel image is available for execution on the device.
fn refuse() -> Outcome {
    LAUNCHES_REFUSED.add(1);
    Err(Code::NO_KERNEL_IMAGE)
}

export! { runtime TABLE;
    fn cudaLaunchKernel(
        _function: *const c_void, _grid: Dim3, _block: Dim3, _arguments: *mut *mut c_void, _shared: usize, _stream: *mut c_void
    ) { refuse() }
    fn cudaLaunchCooperativeKernel(
        _function: *const c_void, _grid: Dim3, _block: Dim3, _arguments: *mut *mut c_void, _shared: usize, _stream: *mut c_void
    ) { refuse() }
    fn cudaLaunchKernelExC(_config: *const c_void, _function: *const c_void, _arguments: *mut *mut c_void) { refuse() }
    fn cudaFuncGetAttributes(_attributes: *mut c_void, _function: *const c_void) { Err(Code::NO_KERNEL_IMAGE) }
    fn cudaFuncSetAttribute(_function: *const c_void, _attribute: c_int, _value: c_int) { Err(Code::NO_KERNEL_IMAGE) }
    fn cudaOccupancyMaxActiveBlocksPerMultiprocessor(
        _blocks: *mut c_int, _function: *const c_void, _block: c_int, _shared: usize
    ) { Err(Code::NO_KERNEL_IMAGE) }
    fn cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        _blocks: *mut c_int, _function: *const c_void, _block: c_int, _shared: usize, _flags: c_uint
    ) { Err(Code::NO_KERNEL_IMAGE) }
    fn cudaGetSymbolAddress(_address: *mut *mut c_void, _symbol: *const c_void) { Err(Code::NO_KERNEL_IMAGE) }
    fn cudaMemcpyToSymbol(_symbol: *const c_void, _source: *const c_void, _bytes: usize, _offset: usize, _kind: c_int) {
        Err(Code::NO_KERNEL_IMAGE)
    }
}

/// Remembers a launch's configuration between `<<<…>>>` and the launch; 0, or the launch is skipped.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaPushCallConfiguration(
    grid: Dim3,
    block: Dim3,
    shared: usize,
    stream: *mut c_void,
) -> c_uint {
    CONFIGURATIONS.with_borrow_mut(|stack| stack.push((grid, block, shared, stream as usize)));
    0
}

/// Gives the configuration back to the launch stub.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaPopCallConfiguration(
    grid: *mut Dim3,
    block: *mut Dim3,
    shared: *mut usize,
    stream: *mut *mut c_void,
) -> c_int {
    let Some(configuration) = CONFIGURATIONS.with_borrow_mut(Vec::pop) else { return Code::INVALID_VALUE.0 };
    put_if_asked(grid, configuration.0);
    put_if_asked(block, configuration.1);
    put_if_asked(shared, configuration.2);
    put_if_asked(stream, configuration.3 as *mut c_void);
    0
}

/// Takes a library's kernels; the handle is the address of what was given.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaRegisterFatBinary(wrapper: *mut c_void) -> *mut *mut c_void {
    wrapper.cast()
}

/// Ends a registration.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaRegisterFatBinaryEnd(_handle: *mut *mut c_void) {}

/// Gives a library's kernels up.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaUnregisterFatBinary(_handle: *mut *mut c_void) {}

/// Initialises a module, of which there is nothing to initialise.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaInitModule(_handle: *mut *mut c_void) -> c_char {
    1
}

/// Names a kernel; all are refused when launched.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaRegisterFunction(
    _handle: *mut *mut c_void,
    _host: *const c_char,
    _device: *mut c_char,
    _name: *const c_char,
    _limit: c_int,
    _thread: *mut c_void,
    _block: *mut c_void,
    _block_size: *mut c_void,
    _grid_size: *mut c_void,
    _warp: *mut c_int,
) {
}

/// Names a device variable.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaRegisterVar(
    _handle: *mut *mut c_void,
    _host: *mut c_char,
    _address: *mut c_char,
    _name: *const c_char,
    _external: c_int,
    _bytes: usize,
    _constant: c_int,
    _global: c_int,
) {
}
