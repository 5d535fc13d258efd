//! The allocations.
//!
//! Source of the guarantee: with unified addressing, page-locked memory that is allocated as mapped and portable has the
//! same address for the host and every device,
//! <https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__UNIFIED.html>. Where that does not hold, nothing is served.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::c_void;

use cudarc::driver::sys::{CU_MEMHOSTALLOC_DEVICEMAP, CU_MEMHOSTALLOC_PORTABLE};
use parking_lot::RwLock;

use crate::native::context::{Context, Device};
use crate::native::driver::{DriverError, check, driver};
use crate::platform;

/// Part of the host's memory that is left to the host: a sixteenth, and no less than this.
const LEAST_RESERVE: u64 = 256 << 20;

struct Block {
    bytes: usize,
    device: Device,
}

/// By first address. Read for each operand, written by the program's allocator, which keeps what it has.
static BLOCKS: RwLock<BTreeMap<usize, Block>> = RwLock::new(BTreeMap::new());

/// Whether `bytes` from `address` on lie in one allocation of ours.
pub fn holds(address: usize, bytes: usize) -> bool {
    let blocks = BLOCKS.read();
    blocks.range(..=address).next_back().is_some_and(|(base, block)| {
        let offset = address - base;
        offset < block.bytes.max(1) && bytes <= block.bytes - offset
    })
}

/// The device of the allocation that holds `address`, if one of ours does.
pub fn device_of(address: usize) -> Option<Device> {
    let blocks = BLOCKS.read();
    let (base, block) = blocks.range(..=address).next_back()?;
    (address - base < block.bytes.max(1)).then_some(block.device)
}

/// Bytes that a device's allocations take.
fn used_by(device: Device) -> u64 {
    BLOCKS.read().values().filter(|block| block.device == device).map(|block| block.bytes as u64).sum()
}

/// What is left for more on the current device: no more than the device itself has free beside what is already served
/// in its name, nor than the host can spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Of the device's own size.
    pub device: u64,
    /// Of the host's memory; `None` where the system does not tell.
    pub host: Option<u64>,
}

impl Left {
    /// What is left of both.
    pub fn bytes(self) -> u64 {
        self.host.map_or(self.device, |host| host.min(self.device))
    }
}

/// What is left where the device says that `free` bytes are.
pub fn left(free: u64, device: Device) -> Left {
    Left { device: free.saturating_sub(used_by(device)), host: platform::memory().map(spared) }
}

fn spared(memory: platform::Memory) -> u64 {
    memory.available.saturating_sub((memory.total / 16).max(LEAST_RESERVE))
}

/// Memory for the current device.
///
/// # Errors
/// OUT_OF_MEMORY if there is none left or the driver has none; NOT_SUPPORTED where host and device would not know it by
/// one address.
pub fn allocate(bytes: usize) -> Result<usize, DriverError> {
    let driver = driver()?;
    let device = Device::current()?;
    let _entered = device.primary_context()?.enter()?;
    let (mut free, mut total) = (0usize, 0usize);
    // SAFETY: both out-pointers are writable.
    check(unsafe { (driver.mem_get_info)(&raw mut free, &raw mut total) })?;
    if bytes as u64 > left(free as u64, device).bytes() {
        return Err(DriverError::OUT_OF_MEMORY);
    }
    let mut address: *mut c_void = std::ptr::null_mut();
    let flags = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP;
    // SAFETY: the out-pointer is writable.
    check(unsafe { (driver.mem_host_alloc)(&raw mut address, bytes, flags) })?;
    let mut on_device = 0u64;
    // SAFETY: the out-pointer is writable; the memory was allocated as mapped.
    let mapped = check(unsafe { (driver.mem_host_get_device_pointer)(&raw mut on_device, address, 0) });
    if mapped.is_err() || on_device != address as u64 {
        // SAFETY: allocated above and not given to anyone.
        let _ = unsafe { (driver.mem_free_host)(address) };
        return Err(DriverError::NOT_SUPPORTED);
    }
    BLOCKS.write().insert(address as usize, Block { bytes, device });
    Ok(address as usize)
}

/// Ends the allocation that begins at `address`, after all work of its device; `None` if none of ours does.
pub fn free(address: usize) -> Option<Result<(), DriverError>> {
    let device = BLOCKS.read().get(&address)?.device;
    Some(end(address, device))
}

fn end(address: usize, device: Device) -> Result<(), DriverError> {
    let driver = driver()?;
    let context: Context = device.primary_context()?;
    let _entered = context.enter()?;
    // What the program has queued may still use the memory: `cudaFree` waits as well.
    // SAFETY: no arguments.
    check(unsafe { (driver.context_synchronize)() })?;
    // Out of the table first: the address may belong to another allocation as soon as it is freed.
    let block = BLOCKS.write().remove(&address);
    // SAFETY: made by `allocate`; the program gives it up.
    let freed = check(unsafe { (driver.mem_free_host)(address as *mut c_void) });
    if let (Err(_), Some(block)) = (freed, block) {
        BLOCKS.write().insert(address, block);
    }
    freed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_the_least_of_device_and_host() {
        let left = Left { device: 10, host: Some(4) };
        assert_eq!(left.bytes(), 4);
        assert_eq!(Left { device: 10, host: None }.bytes(), 10);
    }

    #[test]
    fn the_host_keeps_a_sixteenth_and_no_less_than_the_least() {
        let gib = 1u64 << 30;
        assert_eq!(spared(platform::Memory { available: 20 * gib, total: 32 * gib }), 18 * gib);
        assert_eq!(spared(platform::Memory { available: gib, total: 2 * gib }), gib - LEAST_RESERVE);
        assert_eq!(spared(platform::Memory { available: 1, total: gib }), 0);
    }

    #[test]
    fn an_address_is_held_only_with_all_its_bytes() {
        let base = 0x7000_0000;
        BLOCKS.write().insert(base, Block { bytes: 64, device: Device(0) });
        assert!(holds(base, 64) && holds(base + 63, 1) && holds(base + 10, 0));
        assert!(!holds(base, 65) && !holds(base + 64, 0) && !holds(base - 1, 1));
        assert_eq!((device_of(base + 1), device_of(base + 64)), (Some(Device(0)), None));
        BLOCKS.write().remove(&base);
    }
}
