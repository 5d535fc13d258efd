//! Copies between host and device for PyTorch's tensors, in the order of PyTorch's stream: by the driver, or on the
//! host, after a wait for the stream, where the device's memory is placed there.

#![allow(unsafe_code)]

use std::sync::OnceLock;

use crate::memory::hosted;
use crate::native::context::{Capture, Context, Device, Entered, Stream};
use crate::native::driver::{DriverError, check, driver};
use crate::staging::address::host_reaches;

/// Copies bytes that may overlap.
///
/// # Safety
/// Both are `bytes` long, the host may touch them, and nobody writes them meanwhile.
pub unsafe fn copy_on_host(target: usize, source: usize, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy(source as *const u8, target as *mut u8, bytes) };
}

/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED`: what a copy that must be waited for is while a graph is recorded.
const CAPTURE_UNSUPPORTED: DriverError = DriverError(900);

/// A stream of a device's, with that device's context current while it is used.
pub struct Queue {
    stream: Stream,
    device: Device,
    reads_pageable_memory: bool,
    _entered: Entered,
}

impl Queue {
    /// The stream `handle` of device number `device`; a null handle is that device's default stream.
    pub fn of(device: i32, handle: usize) -> Result<Queue, DriverError> {
        let (context, reads_pageable_memory) = primary(device)?;
        let entered = context.enter()?;
        Ok(Queue {
            stream: Stream(handle as _),
            device: Device(device),
            reads_pageable_memory,
            _entered: entered,
        })
    }

    /// An error if the stream records a graph: what is computed on the host cannot be part of one.
    pub fn refuse_capture(&self) -> Result<(), DriverError> {
        if self.stream.is_capturing()? { Err(CAPTURE_UNSUPPORTED) } else { Ok(()) }
    }

    /// The capture that the stream takes part in.
    pub fn capture(&self) -> Result<Option<Capture>, DriverError> {
        self.stream.capture()
    }

    /// Queues a copy from the device; the bytes are there after [`Queue::wait`].
    ///
    /// # Safety
    /// `host` points to `bytes` of writable memory that is kept until then.
    pub unsafe fn read(&self, host: usize, device: usize, bytes: usize) -> Result<(), DriverError> {
        if hosted::holds(device, bytes) {
            self.wait()?;
            // SAFETY: the caller's promise for the host's side; the other is memory that the host reaches, of which
            // nothing is queued any more.
            unsafe { copy_on_host(host, device, bytes) };
            return Ok(());
        }
        // SAFETY: the caller's promise; the driver checks the device address.
        check(unsafe { (driver()?.copy_out_of_device)(host as _, device as u64, bytes, self.stream.0) })
    }

    /// Queues a copy to the device. From pageable memory, which is what PyTorch's host tensors are, the bytes
    /// have been read when this returns: at once, or after a wait where the device reads pageable memory by itself.
    /// Source: <https://docs.nvidia.com/cuda/cuda-driver-api/api-sync-behavior.html>.
    ///
    /// # Safety
    /// `host` points to `bytes` of readable memory, kept until [`Queue::wait`] if it is page-locked.
    pub unsafe fn write(&self, device: usize, host: usize, bytes: usize) -> Result<(), DriverError> {
        if hosted::holds(device, bytes) {
            self.wait()?;
            // SAFETY: as in `read`.
            unsafe { copy_on_host(device, host, bytes) };
            return Ok(());
        }
        // SAFETY: the caller's promise; the driver checks the device address.
        check(unsafe { (driver()?.copy_to_device)(device as u64, host as _, bytes, self.stream.0) })?;
        if self.reads_pageable_memory { self.wait() } else { Ok(()) }
    }

    /// Queues a copy between any two addresses.
    ///
    /// # Safety
    /// Both are `bytes` long and kept until the stream has passed the copy.
    pub unsafe fn copy(&self, target: usize, source: usize, bytes: usize) -> Result<(), DriverError> {
        if self.host_sees(target, source, bytes) && !self.stream.is_capturing()? {
            self.wait()?;
            // SAFETY: the caller's promise; the host sees both.
            unsafe { copy_on_host(target, source, bytes) };
            return Ok(());
        }
        // SAFETY: the caller's promise.
        check(unsafe { (driver()?.copy_any)(target as u64, source as u64, bytes, self.stream.0) })
    }

    /// Whether one of two runs of bytes is memory of a device's that lies on the host, and the host sees the other too.
    fn host_sees(&self, target: usize, source: usize, bytes: usize) -> bool {
        let visible = |address: usize| {
            hosted::holds(address, bytes) || host_reaches(address as u64, bytes, self.device)
        };
        (hosted::holds(target, bytes) || hosted::holds(source, bytes)) && visible(target) && visible(source)
    }

    /// Whether nothing is queued.
    pub fn is_idle(&self) -> bool {
        self.stream.is_idle()
    }

    /// Waits for everything queued so far.
    pub fn wait(&self) -> Result<(), DriverError> {
        self.stream.synchronize()
    }
}

/// The context that PyTorch uses a device by, and whether the device reads pageable memory by itself. Behind no lock: a child may be forked at any moment.
fn primary(device: i32) -> Result<(Context, bool), DriverError> {
    const DEVICES: usize = 64;
    static CONTEXTS: [OnceLock<(Context, bool)>; DEVICES] = [const { OnceLock::new() }; DEVICES];
    let slot = usize::try_from(device).ok().and_then(|index| CONTEXTS.get(index));
    let slot = slot.ok_or(DriverError::INVALID_DEVICE)?;
    match slot.get() {
        Some(known) => Ok(*known),
        None => Ok(*slot.get_or_init({
            let device = Device(device);
            let known = (device.primary_context()?, device.reads_pageable_memory());
            move || known
        })),
    }
}
