//! Devices and contexts: which device a call is for, and making its context current for a while.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};

use cudarc::driver::sys::{
    CUcontext, CUdevice_attribute_enum as Attribute, CUgraph, CUstream,
    CUuserObject_flags_enum as UserObjectFlags, CUuserObjectRetain_flags_enum as RetainFlags,
};

use super::driver::{DriverError, HostFunction, check, driver, graphs};
use super::find::Library;

/// A device's ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device(pub c_int);

/// A context that outlives every use of it: a primary context or one the program keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context(pub CUcontext);

// SAFETY: a `CUcontext` is an opaque token that the driver lets any thread make current.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Device {
    /// The device of the context that is current on this thread; without one, the device the runtime
    /// would take (a fresh thread has none until its first runtime call).
    pub fn current() -> Result<Device, DriverError> {
        let driver = driver()?;
        let mut ordinal = 0;
        // SAFETY: `ordinal` is writable; the driver checks the rest.
        if unsafe { (driver.context_get_device)(&raw mut ordinal) } == 0 {
            return Ok(Device(ordinal));
        }
        Ok(Device(runtime_device().unwrap_or(0)))
    }

    /// How many devices the driver shows.
    pub fn count() -> Result<c_int, DriverError> {
        let driver = driver()?;
        let mut count = 0;
        // SAFETY: `count` is writable; a driver that is not initialised answers with an error.
        check(unsafe { (driver.device_get_count)(&raw mut count) })?;
        Ok(count)
    }

    /// Compute capability without the dot: 12.0 gives 120.
    pub fn sm(self) -> Result<u32, DriverError> {
        let major = self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        Ok((major * 10 + minor) as u32)
    }

    /// Whether the device may touch any host memory by its host address.
    pub fn reads_pageable_memory(self) -> bool {
        self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS).is_ok_and(|yes| yes != 0)
    }

    /// Whether host and device may touch managed memory at the same time.
    pub fn shares_managed_memory(self) -> bool {
        self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS).is_ok_and(|yes| yes != 0)
    }

    /// The device's marketing name; empty if the driver does not tell.
    pub fn name(self) -> String {
        let Ok(driver) = driver() else { return String::new() };
        let mut name = [0u8; 256];
        // SAFETY: the driver writes at most `name.len()` bytes, the terminator included.
        let result = unsafe {
            (driver.device_get_name)(name.as_mut_ptr().cast::<c_char>(), name.len() as c_int, self.0)
        };
        let length = name.iter().position(|&byte| byte == 0).unwrap_or(0);
        if result == 0 { String::from_utf8_lossy(&name[..length]).into_owned() } else { String::new() }
    }

    fn attribute(self, attribute: Attribute) -> Result<c_int, DriverError> {
        let driver = driver()?;
        let mut value = 0;
        // SAFETY: `value` is writable; attribute and ordinal are checked by the driver.
        check(unsafe { (driver.device_get_attribute)(&raw mut value, attribute as u32, self.0) })?;
        Ok(value)
    }

    /// The device's primary context, retained for good (the runtime holds it for good as well).
    pub fn primary_context(self) -> Result<Context, DriverError> {
        let driver = driver()?;
        let mut context = std::ptr::null_mut();
        // SAFETY: `context` is writable; the ordinal is checked by the driver.
        check(unsafe { (driver.primary_context_retain)(&raw mut context, self.0) })?;
        Ok(Context(context))
    }
}

/// What `cudaGetDevice` says, if the process has a runtime.
fn runtime_device() -> Option<c_int> {
    let address = Library::Cudart.find(c"cudaGetDevice")?;
    // SAFETY: the runtime's `cudaGetDevice` has had this prototype since CUDA 2.0.
    let get_device: unsafe extern "C" fn(*mut c_int) -> c_int = unsafe { std::mem::transmute(address) };
    let mut ordinal = 0;
    // SAFETY: `ordinal` is writable.
    (unsafe { get_device(&raw mut ordinal) } == 0).then_some(ordinal)
}

impl Context {
    /// The context current on this thread, or the primary context of the thread's device.
    pub fn current() -> Result<Context, DriverError> {
        let driver = driver()?;
        let mut context = std::ptr::null_mut();
        // SAFETY: `context` is writable.
        check(unsafe { (driver.context_get_current)(&raw mut context) })?;
        if context.is_null() { Device::current()?.primary_context() } else { Ok(Context(context)) }
    }

    /// Device memory of the program's, which [`Context::free`] ends.
    pub fn allocate(self, bytes: usize) -> Result<u64, DriverError> {
        let _entered = self.enter()?;
        let mut address = 0;
        // SAFETY: `address` is writable.
        check(unsafe { (driver()?.mem_alloc)(&raw mut address, bytes) })?;
        Ok(address)
    }

    /// Ends device memory; an address that is none is refused by the driver.
    pub fn free(self, address: u64) -> Result<(), DriverError> {
        let _entered = self.enter()?;
        // SAFETY: the driver looks the address up.
        check(unsafe { (driver()?.mem_free)(address) })
    }

    /// Makes this context current on this thread until the guard goes.
    pub fn enter(self) -> Result<Entered, DriverError> {
        let driver = driver()?;
        let mut current = std::ptr::null_mut();
        // SAFETY: `current` is writable.
        check(unsafe { (driver.context_get_current)(&raw mut current) })?;
        if current == self.0 {
            return Ok(Entered { pushed: false });
        }
        // SAFETY: `self.0` is a context the driver gave us or the program; a destroyed one is refused.
        check(unsafe { (driver.context_push)(self.0) })?;
        Ok(Entered { pushed: true })
    }
}

/// Puts the thread's previous context back when dropped.
#[must_use]
pub struct Entered {
    pushed: bool,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let (true, Ok(driver)) = (self.pushed, driver()) {
            let mut popped = std::ptr::null_mut();
            // SAFETY: pops what `enter` pushed on this thread; the guard is not `Send` across calls.
            let _ = unsafe { (driver.context_pop)(&raw mut popped) };
        }
    }
}

/// A recording of streams into a graph.
#[derive(Clone, Copy, Debug)]
pub struct Capture {
    /// Its number, of which the process has no other.
    pub id: u64,
    graph: CUgraph,
}

impl Capture {
    /// How many nodes its graph has so far.
    pub fn nodes(self) -> Result<usize, DriverError> {
        let graphs = graphs().ok_or(DriverError::NOT_SUPPORTED)?;
        let mut count = 0;
        // SAFETY: no room is given, so that only the number is told; the graph is the driver's.
        check(unsafe { (graphs.graph_nodes)(self.graph, std::ptr::null_mut(), &raw mut count) })?;
        Ok(count)
    }
}

/// A stream as the caller named it: NULL and 1 are the legacy default stream, 2 the per-thread one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream(pub CUstream);

// SAFETY: a `CUstream` is an opaque token that the driver lets any thread use.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// Waits until everything queued so far has run.
    pub fn synchronize(self) -> Result<(), DriverError> {
        // SAFETY: the caller of the entry point owes us a live stream, as the real library would ask.
        check(unsafe { (driver()?.stream_synchronize)(self.0) })
    }

    /// Whether the stream is recording a graph, in which nothing may wait or copy at once.
    pub fn is_capturing(self) -> Result<bool, DriverError> {
        let mut status = 0;
        // SAFETY: `status` is writable; the stream as in `synchronize`.
        check(unsafe { (driver()?.stream_is_capturing)(self.0, &raw mut status) })?;
        Ok(status != 0)
    }

    /// Has the driver call `function` with `argument` on a thread of its own, in the stream's order, or at each launch of the
    /// graph that the stream records.
    ///
    /// # Safety
    /// `argument` is what `function` takes for as long as it may be called; `function` does not call the driver.
    pub unsafe fn launch_host_function(
        self,
        function: HostFunction,
        argument: *mut c_void,
    ) -> Result<(), DriverError> {
        // SAFETY: the stream as in `synchronize`, the rest is the caller's promise.
        check(unsafe { (driver()?.launch_host_function)(self.0, function, argument) })
    }

    /// Gives `what` to the graph that the stream records: `end` is called with it when neither the graph nor anything made of
    /// it exists any more. Errors: NOT_SUPPORTED where the driver is older than CUDA 11.3.
    ///
    /// # Safety
    /// `end` takes `what` on any thread and does not call the driver. After an error `what` is the caller's still.
    pub unsafe fn give_to_graph(self, what: *mut c_void, end: HostFunction) -> Result<(), DriverError> {
        let graphs = graphs().ok_or(DriverError::NOT_SUPPORTED)?;
        let graph = self.capture()?.ok_or(DriverError::NOT_SUPPORTED)?.graph;
        let mut object = std::ptr::null_mut();
        let no_sync = UserObjectFlags::CU_USER_OBJECT_NO_DESTRUCTOR_SYNC as u32;
        // SAFETY: the out-pointer is writable; `what` and `end` are the caller's promise.
        check(unsafe { (graphs.user_object_create)(&raw mut object, what, end, 1, no_sync) })?;
        let moved = RetainFlags::CU_GRAPH_USER_OBJECT_MOVE as u32;
        // SAFETY: graph and object come from the driver.
        // An object that no graph took is kept for good: nodes that are already recorded may use what it holds.
        let _ = unsafe { (graphs.graph_retain)(graph, object, 1, moved) };
        Ok(())
    }

    /// The capture that the stream takes part in. Errors: NOT_SUPPORTED where the driver is older than CUDA 11.3.
    pub fn capture(self) -> Result<Option<Capture>, DriverError> {
        let graphs = graphs().ok_or(DriverError::NOT_SUPPORTED)?;
        let (mut status, mut id, mut graph, mut count) = (0, 0, std::ptr::null_mut(), 0);
        let mut nodes = std::ptr::null();
        // SAFETY: every out-pointer is writable; the stream as in `synchronize`.
        check(unsafe {
            (graphs.capture_info)(
                self.0,
                &raw mut status,
                &raw mut id,
                &raw mut graph,
                &raw mut nodes,
                &raw mut count,
            )
        })?;
        Ok((status != 0 && !graph.is_null()).then_some(Capture { id, graph }))
    }

    /// Whether nothing is left to do on it.
    pub fn is_idle(self) -> bool {
        // SAFETY: as in `synchronize`.
        driver().is_ok_and(|driver| unsafe { (driver.stream_query)(self.0) } == 0)
    }

    /// Whether the stream's context still takes work: a sticky error (an illegal address, say) shows here,
    /// a missing kernel does not.
    pub fn is_healthy(self) -> bool {
        let Ok(driver) = driver() else { return false };
        // SAFETY: as in `synchronize`.
        let answer = unsafe { (driver.stream_query)(self.0) };
        matches!(check(answer), Ok(()) | Err(DriverError::NOT_READY))
    }
}
