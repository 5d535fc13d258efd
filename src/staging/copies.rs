//! Rectangles queued on the call's stream, or moved by the host where it reaches both sides.

#![allow(unsafe_code)]

use std::ffi::c_void;

use cudarc::driver::sys::{CUDA_MEMCPY2D_st, CUmemorytype_enum as MemoryType};

use super::address::{Memory, classify};
use super::host_buffer::Plain;
use super::region::Rectangle;
use super::staged::{Elements, Staged};
use super::transfer::Transfer;
use super::visible::copy_visible;
use crate::boundary::status::Error;
use crate::native::driver::{DriverError, check, driver};

/// The widest pitch that `cuMemcpy2D` takes on every device; wider rectangles go run by run.
const MAX_PITCH_BYTES: usize = i32::MAX as usize;

impl Transfer {
    /// What kind of memory an operand's address is.
    pub(super) fn memory(&self, address: u64) -> Result<Memory, DriverError> {
        match classify(address, self.device)? {
            Memory::Unreachable if self.host_operands => Ok(Memory::Host { bytes: None }),
            memory => Ok(memory),
        }
    }

    /// Queues a copy of bytes between the device and `host`, the caller's own memory, whose rectangle begins there.
    ///
    /// # Safety
    /// `host` has the rectangle's extent, readable or writable as the direction asks, until the stream has been waited
    /// for.
    pub unsafe fn copy_bytes(
        &self,
        name: &'static str,
        copy: &Rectangle,
        direction: Direction,
        host: *mut u8,
    ) -> Result<(), Error> {
        self.copy_rectangle(name, copy, direction, host)
    }

    /// Queues every copy of a staged operand's plan.
    pub(super) fn run_plan<T: Plain>(
        &self,
        name: &'static str,
        staged: &mut Staged<'_, T>,
        direction: Direction,
    ) -> Result<(), Error> {
        let host = match &mut staged.elements {
            Elements::Copied(buffer) => buffer.as_mut_ptr(),
            Elements::Lent { start, .. } => start.as_ptr(),
            Elements::InPlace(..) => return Ok(()),
        };
        staged
            .plan
            .rectangles
            .iter()
            .try_for_each(|copy| self.copy_rectangle(name, copy, direction, host.wrapping_add(copy.host)))
    }

    /// Moves one rectangle between the device (or host-visible memory) and `host`.
    fn copy_rectangle<T: Plain>(
        &self,
        name: &'static str,
        copy: &Rectangle,
        direction: Direction,
        host: *mut T,
    ) -> Result<(), Error> {
        match self.memory(copy.device)? {
            Memory::Unreachable => Err(Error::BadAddress(name)),
            Memory::Device => {
                self.pending.set(true);
                Ok(self.queue_rectangle(copy, direction, host)?)
            }
            Memory::Host { bytes } => {
                let extent = ((copy.height - 1) * copy.device_pitch + copy.width) * size_of::<T>();
                if bytes.is_some_and(|bytes| bytes < extent) {
                    return Err(Error::BadAddress(name));
                }
                if self.is_captured() {
                    return Err(Error::Captured("a copy by the host while the stream is captured"));
                }
                self.wait_now()?;
                copy_visible(copy, direction, host);
                Ok(())
            }
        }
    }

    /// Queues a copy between the device and `host`, which lives until it has run.
    pub(super) fn queue_rectangle<T: Plain>(
        &self,
        copy: &Rectangle,
        direction: Direction,
        host: *mut T,
    ) -> Result<(), DriverError> {
        let size = size_of::<T>();
        if copy.height == 1 {
            return self.queue_run(copy.device, host.cast(), copy.width * size, direction);
        }
        if copy.device_pitch * size > MAX_PITCH_BYTES {
            return (0..copy.height).try_for_each(|run| {
                let device = copy.device + (run * copy.device_pitch * size) as u64;
                self.queue_run(
                    device,
                    host.wrapping_add(run * copy.host_pitch).cast(),
                    copy.width * size,
                    direction,
                )
            });
        }
        let (device_pitch, host_pitch) = (copy.device_pitch * size, copy.host_pitch * size);
        let (source, target) = (MemoryType::CU_MEMORYTYPE_DEVICE, MemoryType::CU_MEMORYTYPE_HOST);
        let into_host = direction == Direction::In;
        let (source, target) = if into_host { (source, target) } else { (target, source) };
        let copy = CUDA_MEMCPY2D_st {
            srcXInBytes: 0,
            srcY: 0,
            srcMemoryType: source,
            srcHost: host.cast(),
            srcDevice: copy.device,
            srcArray: std::ptr::null_mut(),
            srcPitch: if into_host { device_pitch } else { host_pitch },
            dstXInBytes: 0,
            dstY: 0,
            dstMemoryType: target,
            dstHost: host.cast(),
            dstDevice: copy.device,
            dstArray: std::ptr::null_mut(),
            dstPitch: if into_host { host_pitch } else { device_pitch },
            WidthInBytes: copy.width * size,
            Height: copy.height,
        };
        // SAFETY: `host` has room for the rectangle (the plan sized the buffer) and lives until the copy has
        // run, for which a dropped `Staged` waits; the device side is checked by the driver against its
        // allocations.
        check(unsafe { (driver()?.copy_2d)(&raw const copy, self.stream.0) })
    }

    fn queue_run(
        &self,
        device: u64,
        host: *mut c_void,
        bytes: usize,
        direction: Direction,
    ) -> Result<(), DriverError> {
        let driver = driver()?;
        // SAFETY: as in `queue_rectangle`, one run.
        check(unsafe {
            match direction {
                Direction::In => (driver.copy_out_of_device)(host, device, bytes, self.stream.0),
                Direction::Out => (driver.copy_to_device)(device, host, bytes, self.stream.0),
            }
        })
    }
}

/// Which way a copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Device to host.
    In,
    /// Host to device.
    Out,
}
