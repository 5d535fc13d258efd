//! The kernels of the program's own binaries: one of each is remembered, to be asked about later.
//!
//! `cudaFuncGetAttributes` loads a kernel's image and tells whether the device can run it, without running it.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use parking_lot::Mutex;

use super::find::{Library, Slot};
use super::real::clear_missing_kernel_error;
use crate::platform;

/// The binary that registered last, and the first kernel of each, as addresses.
static FIRST_KERNELS: Mutex<(usize, Vec<usize>)> = Mutex::new((0, Vec::new()));

/// How many binaries of a library are asked about: they may be built for different devices.
const ASKED: usize = 8;

/// Remembers `kernel` if it is the first of `binary`.
pub fn note(binary: *const c_void, kernel: *const c_void) {
    let mut kernels = FIRST_KERNELS.lock();
    if kernels.0 != binary as usize {
        kernels.0 = binary as usize;
        kernels.1.push(kernel as usize);
    }
}

/// Whether the current device can run the kernels of the library whose file name begins with `library`;
/// `None` if it registered none, or there is no runtime to ask.
pub fn runnable(library: &str) -> Option<bool> {
    static SLOT: Slot = Slot::new(Library::Cudart, c"cudaFuncGetAttributes");
    type GetAttributes = unsafe extern "C" fn(*mut c_void, *const c_void) -> c_int;
    const NO_KERNEL_IMAGE: c_int = 209;
    const INVALID_DEVICE_FUNCTION: c_int = 98;
    let real = SLOT.real()?;
    // SAFETY: the runtime's function of this name has this prototype.
    let get_attributes: GetAttributes = unsafe { std::mem::transmute(real) };
    let kernels: Vec<usize> = FIRST_KERNELS.lock().1.clone();
    let of_library =
        kernels.into_iter().filter(|&kernel| platform::image_is(kernel as *const c_void, library));
    let mut asked = of_library.take(ASKED).map(|kernel| {
        // Larger than the struct of any runtime version.
        let mut attributes = [0u64; 64];
        // SAFETY: the buffer has room; the kernel is one that the library registered and has not been unloaded
        // (its image was just found).
        let status = unsafe { get_attributes(attributes.as_mut_ptr().cast(), kernel as *const c_void) };
        status != NO_KERNEL_IMAGE && status != INVALID_DEVICE_FUNCTION
    });
    let first = asked.next()?;
    let all = first && asked.all(|runs| runs);
    clear_missing_kernel_error();
    Some(all)
}
