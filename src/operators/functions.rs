//! The functions that `fallback/` is given beside `fast`'s: copies, and a line for the log.
//!
//! `_read(host, device, bytes, number, stream)`, `_write(device, host, bytes, number, stream)` and
//! `_move(target, source, bytes, number, stream)` take addresses, a device's number and a stream of its; they return
//! 0 or the driver's error. `_note(text)` writes a line.

#![allow(unsafe_code)]

use std::ffi::CStr;

use super::copies::Queue;
use super::fast;
use super::python::{Method, Namespace, Object, Python};
use crate::log;
use crate::native::driver::DriverError;

/// Our own answer to a wrong number of arguments: `CUDA_ERROR_INVALID_VALUE`.
const INVALID_VALUE: DriverError = DriverError(1);

static READ: Method = Method::new(c"read", read);
static WRITE: Method = Method::new(c"write", write);
static MOVE: Method = Method::new(c"move", move_within);
static NOTE: Method = Method::new(c"note", note);

/// Puts the functions into the layer's namespace.
pub fn define(namespace: &Namespace) -> Result<(), String> {
    let functions = [
        (c"_read", &READ),
        (c"_write", &WRITE),
        (c"_move", &MOVE),
        (c"_note", &NOTE),
        (c"_accelerate", &fast::ACCELERATE),
        (c"_calibrate", &fast::CALIBRATE),
    ];
    functions
        .into_iter()
        .try_for_each(|(name, method)| namespace.define(name, method))
        .ok_or_else(|| "Python could not make a function".to_owned())
}

/// The five integers of a copy, then the copy without Python's lock; its error as a Python integer.
///
/// # Safety
/// As Python calls: `given` points to `count` live objects.
unsafe fn copy(
    given: *const Object,
    count: isize,
    run: impl FnOnce([usize; 3], &Queue) -> Result<(), DriverError>,
) -> Object {
    let Some(python) = Python::find() else { return std::ptr::null_mut() };
    let result = if count == 5 {
        // SAFETY: five live objects.
        let given = unsafe { std::slice::from_raw_parts(given, 5) };
        // SAFETY: the lock is held; what is no integer leaves an exception, which ends the call below.
        let numbers = [0, 1, 2, 3, 4].map(|place| unsafe { (python.address_value)(given[place]) } as usize);
        // SAFETY: the lock is held.
        if !unsafe { (python.error_occurred)() }.is_null() {
            return std::ptr::null_mut();
        }
        let [first, second, bytes, device, stream] = numbers;
        python.unlocked(|| run([first, second, bytes], &Queue::of(device as i32, stream)?))
    } else {
        Err(INVALID_VALUE)
    };
    // SAFETY: the lock is held.
    unsafe { (python.long_from)(result.err().map_or(0, |error| error.0.into())) }
}

/// Refuses a copy that must be waited for while the stream records a graph.
fn waited(queue: &Queue, run: impl FnOnce() -> Result<(), DriverError>) -> Result<(), DriverError> {
    queue.refuse_capture()?;
    run()?;
    queue.wait()
}

unsafe extern "C" fn read(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let run = |[host, device, bytes]: [usize; 3], queue: &Queue| {
        // SAFETY: `staging.py` owns the host memory until the call returns, which is after the wait.
        waited(queue, || unsafe { queue.read(host, device, bytes) })
    };
    // SAFETY: Python's call.
    unsafe { copy(given, count, run) }
}

unsafe extern "C" fn write(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let run = |[device, host, bytes]: [usize; 3], queue: &Queue| {
        // SAFETY: as in `read`.
        waited(queue, || unsafe { queue.write(device, host, bytes) })
    };
    // SAFETY: Python's call.
    unsafe { copy(given, count, run) }
}

unsafe extern "C" fn move_within(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let run = |[target, source, bytes]: [usize; 3], queue: &Queue| {
        // SAFETY: `copy.py` keeps both tensors alive until the stream has passed the copy.
        unsafe { queue.copy(target, source, bytes) }
    };
    // SAFETY: Python's call.
    unsafe { copy(given, count, run) }
}

unsafe extern "C" fn note(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let Some(python) = Python::find() else { return std::ptr::null_mut() };
    if count == 1 {
        // SAFETY: one live object; null with an exception for what is no text.
        let text = unsafe { (python.text_bytes)(*given) };
        if text.is_null() {
            return std::ptr::null_mut();
        }
        // SAFETY: a C string that lives as long as the object.
        let text = unsafe { CStr::from_ptr(text) };
        log::debug(format_args!("served operator={}", text.to_string_lossy()));
    }
    // SAFETY: the lock is held.
    unsafe { (python.long_from)(0) }
}
