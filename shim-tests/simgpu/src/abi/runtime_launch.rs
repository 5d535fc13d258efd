//! The runtime API: kernels, which are refused or do nothing, and the registration that compilers emit.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_uint, c_void};

use cudarc::runtime::sys::cudaFuncAttributes;

use super::versioned::FUNCTION_ATTRIBUTES;
use super::{put, put_if_asked, take};
use crate::core::{Code, device, launch};

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

/// `cudaLaunchConfig_t`, as far as it is read.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LaunchConfiguration {
    grid: Dim3,
    block: Dim3,
    shared: usize,
    stream: *mut c_void,
}

/// What an accepted kernel looks like: one that any block size suits.
fn attributes() -> cudaFuncAttributes {
    let (major, minor) = device::model().capability;
    // SAFETY: integers and sizes only: all zeros is a value.
    let mut attributes: cudaFuncAttributes = unsafe { std::mem::zeroed() };
    attributes.maxThreadsPerBlock = 1024;
    attributes.numRegs = 32;
    attributes.ptxVersion = major * 10 + minor;
    attributes.binaryVersion = major * 10 + minor;
    attributes.maxDynamicSharedSizeBytes = 49_152;
    attributes
}

/// Blocks of `threads` that a multiprocessor holds.
fn occupancy(threads: c_int) -> c_int {
    device::attribute(39, 0).unwrap_or(0) / threads.max(1)
}

export! { runtime TABLE;
    fn cudaLaunchKernel(
        kernel: *const c_void, _grid: Dim3, _block: Dim3, _arguments: *mut *mut c_void, _shared: usize, stream: *mut c_void
    ) { launch::launch(kernel as usize, stream as usize) }
    fn cudaLaunchCooperativeKernel(
        kernel: *const c_void, _grid: Dim3, _block: Dim3, _arguments: *mut *mut c_void, _shared: usize, stream: *mut c_void
    ) { launch::launch(kernel as usize, stream as usize) }
    fn cudaLaunchKernelExC(configuration: *const LaunchConfiguration, kernel: *const c_void, _arguments: *mut *mut c_void) {
        launch::launch(kernel as usize, take(configuration)?.stream as usize)
    }
    fn cudaFuncGetAttributes(place: *mut cudaFuncAttributes, _kernel: *const c_void) {
        launch::check_image()?;
        if place.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let attributes = attributes();
        let bytes = FUNCTION_ATTRIBUTES.min(size_of_val(&attributes));
        // SAFETY: not null; the caller owes a place for its version's struct, of which later ones are longer.
        unsafe { std::ptr::copy_nonoverlapping((&raw const attributes).cast::<u8>(), place.cast(), bytes) };
        Ok(())
    }
    fn cudaFuncSetAttribute(_kernel: *const c_void, _attribute: c_int, _value: c_int) { launch::check_image() }
    fn cudaOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks: *mut c_int, _kernel: *const c_void, threads: c_int, _shared: usize
    ) {
        launch::check_image()?;
        put(blocks, occupancy(threads))
    }
    fn cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        blocks: *mut c_int, _kernel: *const c_void, threads: c_int, _shared: usize, _flags: c_uint
    ) {
        launch::check_image()?;
        put(blocks, occupancy(threads))
    }
    fn cudaGetSymbolAddress(_address: *mut *mut c_void, _symbol: *const c_void) { Err(Code::NO_KERNEL_IMAGE) }
    fn cudaMemcpyToSymbol(_symbol: *const c_void, _source: *const c_void, _bytes: usize, _offset: usize, _kind: c_int) {
        launch::check_image()
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
    launch::register_binary(wrapper as usize);
    wrapper.cast()
}

/// Ends a registration.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaRegisterFatBinaryEnd(_handle: *mut *mut c_void) {}

/// Gives a library's kernels up.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaUnregisterFatBinary(handle: *mut *mut c_void) {
    launch::unregister_binary(handle as usize);
}

/// Initialises a module, of which there is nothing to initialise.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaInitModule(_handle: *mut *mut c_void) -> c_char {
    1
}

/// Names a kernel.
#[unsafe(no_mangle)]
pub extern "C" fn __cudaRegisterFunction(
    handle: *mut *mut c_void,
    host: *const c_char,
    _device: *mut c_char,
    name: *const c_char,
    _limit: c_int,
    _thread: *mut c_void,
    _block: *mut c_void,
    _block_size: *mut c_void,
    _grid_size: *mut c_void,
    _warp: *mut c_int,
) {
    launch::register_kernel(handle as usize, host as usize, name);
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
