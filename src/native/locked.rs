//! Page-locked host memory, which copies reach in stream order without the host's help.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

use cudarc::driver::sys::{CU_MEMHOSTALLOC_PORTABLE, CUpointer_attribute_enum as Attribute};

use super::capture::Relaxed;
use super::driver::{DriverError, check, driver};

/// `bytes` bytes, more than 0, that every context's copies reach; legal while a stream is captured. What they hold is not
/// said. Needs a current context.
pub fn allocate(bytes: usize) -> Result<NonNull<u8>, DriverError> {
    let driver = driver()?;
    let _relaxed = Relaxed::begin()?;
    let mut address: *mut c_void = std::ptr::null_mut();
    // SAFETY: the out-pointer is writable.
    check(unsafe { (driver.mem_host_alloc)(&raw mut address, bytes, CU_MEMHOSTALLOC_PORTABLE) })?;
    NonNull::new(address.cast()).ok_or(DriverError::OUT_OF_MEMORY)
}

/// The driver's number for the memory at an address, which is never given twice; `None` for memory it does not know.
pub fn identity(start: NonNull<u8>) -> Option<u64> {
    let mut id = 0u64;
    let (out, attribute) = ((&raw mut id).cast(), Attribute::CU_POINTER_ATTRIBUTE_BUFFER_ID as u32);
    // SAFETY: the attribute is written as an unsigned 64-bit number; the driver looks the address up.
    check(unsafe { (driver().ok()?.pointer_get_attribute)(out, attribute, start.as_ptr() as u64) }).ok()?;
    Some(id)
}

/// Ends memory of [`allocate`]'s. Needs a current context.
///
/// # Safety
/// No copy and no reference uses it any more.
pub unsafe fn free(start: NonNull<u8>) {
    let (Ok(driver), Ok(_relaxed)) = (driver(), Relaxed::begin()) else { return };
    // SAFETY: from `allocate`, and unused, as the caller owes.
    let _ = unsafe { (driver.mem_free_host)(start.as_ptr().cast()) };
}
