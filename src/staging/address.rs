//! What kind of memory an operand's address is.

#![allow(unsafe_code)]

use std::ffi::c_void;

use cudarc::driver::sys::CUpointer_attribute_enum as Attribute;

use crate::native::context::Device;
use crate::native::driver::{DriverError, check, driver};

/// Where an address points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Only the device reaches it: copies are needed.
    Device,
    /// The host reaches it at the same address, `bytes` from there on to the end of its allocation.
    Host {
        /// Bytes from the address to the end of its allocation; `None` where the driver does not know.
        bytes: Option<usize>,
    },
    /// The driver knows no such memory and the device could not reach it either.
    Unreachable,
}

const MEMORYTYPE_HOST: u32 = 1;

/// Asks the driver what `address` is, for work on `device`.
pub fn classify(address: u64, device: Device) -> Result<Memory, DriverError> {
    let Some(kind) = attribute::<u32>(Attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address)? else {
        // Memory that no CUDA call made: legal only where the device walks the host's page tables.
        return Ok(if device.reads_pageable_memory() {
            Memory::Host { bytes: None }
        } else {
            Memory::Unreachable
        });
    };
    let managed = attribute::<u32>(Attribute::CU_POINTER_ATTRIBUTE_IS_MANAGED, address)?.unwrap_or(0) != 0;
    if managed && device.shares_managed_memory() || !managed && kind == MEMORYTYPE_HOST {
        return Ok(Memory::Host { bytes: bytes_from(address) });
    }
    Ok(Memory::Device)
}

/// Whether the driver says that the host reaches all of `bytes` from `address` on, for work on `device`.
pub fn host_reaches(address: u64, bytes: usize, device: Device) -> bool {
    matches!(classify(address, device), Ok(Memory::Host { bytes: Some(all) }) if all >= bytes)
}

/// An attribute of the memory at `address`; `None` if the driver does not know the address.
fn attribute<T: Default>(attribute: Attribute, address: u64) -> Result<Option<T>, DriverError> {
    const INVALID_VALUE: DriverError = DriverError(1);
    let driver = driver()?;
    let mut value = T::default();
    let out = (&raw mut value).cast::<c_void>();
    // SAFETY: both attributes asked for above are written as one unsigned int, the size of `T`.
    match check(unsafe { (driver.pointer_get_attribute)(out, attribute as u32, address) }) {
        Ok(()) => Ok(Some(value)),
        Err(INVALID_VALUE) => Ok(None),
        Err(error) => Err(error),
    }
}

fn bytes_from(address: u64) -> Option<usize> {
    let driver = driver().ok()?;
    let (mut base, mut size) = (0u64, 0usize);
    // SAFETY: both out-pointers are writable; an unknown address is refused.
    check(unsafe { (driver.mem_get_address_range)(&raw mut base, &raw mut size, address) }).ok()?;
    usize::try_from((base + size as u64).checked_sub(address)?).ok()
}
