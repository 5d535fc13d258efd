//! The functions that `fallback/` is given beside `fast`'s: copies, and a line for the log.
//!
//! `_read(host, device, bytes, number, stream)`, `_write(device, host, bytes, number, stream)` and
//! `_move(target, source, bytes, number, stream)` take addresses, a device's number and a stream of its; they return
//! 0 or the driver's error. `_on_host(address, bytes)` tells whether device memory lies on the host, where it may be
//! touched after `_await(number, stream)`, which returns as the copies do. `_capture(number, stream)` is the number of the
//! capture that a stream takes part in, `_captured_nodes(number, stream)` that of its graph's nodes; 0 for none. While
//! `_recording(1)` holds, every operator is left to Python. `_leave_products(few, types)` says which products are the fast
//! path's ([`products::leave`]).
//! `_begin()`, whose answer `_end(name, answer)` is given, stands before a served operator whose cost is counted; nothing is
//! counted while `_uncounted(1)` holds. `_note(text)` writes a line.

#![allow(unsafe_code)]

use std::ffi::CStr;

use super::copies::Queue;
use super::python::{Method, Namespace, Object, Python};
use super::{fast, products};
use crate::log;
use crate::memory::hosted;
use crate::native::context::Capture;
use crate::native::driver::DriverError;
use crate::observe::{self, Way, copying, moved};

static READ: Method = Method::new(c"read", read);
static WRITE: Method = Method::new(c"write", write);
static MOVE: Method = Method::new(c"move", move_within);
static ON_HOST: Method = Method::new(c"on_host", on_host);
static AWAIT: Method = Method::new(c"await", wait);
static CAPTURE: Method = Method::new(c"capture", capture);
static CAPTURED_NODES: Method = Method::new(c"captured_nodes", captured_nodes);
static RECORDING: Method = Method::new(c"recording", recording);
static LEAVE_PRODUCTS: Method = Method::new(c"leave_products", leave_products);
static BEGIN: Method = Method::new(c"begin", begin);
static END: Method = Method::new(c"end", end);
static UNCOUNTED: Method = Method::new(c"uncounted", uncounted);
static NOTE: Method = Method::new(c"note", note);

/// Puts the functions into the layer's namespace.
pub fn define(namespace: &Namespace) -> Result<(), String> {
    let functions = [
        (c"_read", &READ),
        (c"_write", &WRITE),
        (c"_move", &MOVE),
        (c"_on_host", &ON_HOST),
        (c"_await", &AWAIT),
        (c"_capture", &CAPTURE),
        (c"_captured_nodes", &CAPTURED_NODES),
        (c"_recording", &RECORDING),
        (c"_leave_products", &LEAVE_PRODUCTS),
        (c"_begin", &BEGIN),
        (c"_end", &END),
        (c"_uncounted", &UNCOUNTED),
        (c"_note", &NOTE),
        (c"_accelerate", &fast::ACCELERATE),
        (c"_calibrate", &fast::CALIBRATE),
    ];
    functions
        .into_iter()
        .try_for_each(|(name, method)| namespace.define(name, method))
        .ok_or_else(|| "Python could not make a function".to_owned())
}

/// Calls `run` with the integers that Python hands over, and answers with its number; null with an exception pending
/// for another count of them, and for what is none.
///
/// # Safety
/// As Python calls: `given` points to `count` live objects.
unsafe fn with_integers<const COUNT: usize>(
    given: *const Object,
    count: isize,
    run: impl FnOnce(&Python, [usize; COUNT]) -> i64,
) -> Object {
    let Some(python) = Python::find() else { return std::ptr::null_mut() };
    if count != COUNT as isize {
        python.raise(c"gpucompat: a function got another number of arguments than it takes");
        return std::ptr::null_mut();
    }
    // SAFETY: as many live objects.
    let given = unsafe { std::slice::from_raw_parts(given, COUNT) };
    // SAFETY: the lock is held; what is no integer leaves an exception.
    let numbers = std::array::from_fn(|place| unsafe { (python.address_value)(given[place]) } as usize);
    // SAFETY: the lock is held.
    if !unsafe { (python.error_occurred)() }.is_null() {
        return std::ptr::null_mut();
    }
    fast::guarded(python, || {
        let answer = run(python, numbers);
        // SAFETY: the lock is held.
        Some(unsafe { (python.long_from)(answer) })
    })
}

/// The driver's error, 0 for none.
fn code(result: Result<(), DriverError>) -> i64 {
    result.err().map_or(0, |error| error.0.into())
}

/// The five integers of a copy, then the copy without Python's lock; its error as a Python integer.
///
/// # Safety
/// As Python calls: `given` points to `count` live objects.
unsafe fn copy(
    given: *const Object,
    count: isize,
    way: Way,
    run: impl FnOnce([usize; 3], &Queue) -> Result<(), DriverError>,
) -> Object {
    let copy = |python: &Python, [first, second, bytes, device, stream]: [usize; 5]| {
        let run = || python.unlocked(|| run([first, second, bytes], &Queue::of(device as i32, stream)?));
        let outcome = copying(way, run);
        if outcome.is_ok() {
            moved(way, bytes as u64);
        }
        code(outcome)
    };
    // SAFETY: Python's call.
    unsafe { with_integers(given, count, copy) }
}

unsafe extern "C" fn on_host(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let ask = |_: &Python, [address, bytes]: [usize; 2]| hosted::holds(address, bytes).into();
    // SAFETY: Python's call.
    unsafe { with_integers(given, count, ask) }
}

unsafe extern "C" fn wait(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let wait = |python: &Python, [device, stream]: [usize; 2]| {
        code(python.unlocked(|| waited(&Queue::of(device as i32, stream)?, || Ok(()))))
    };
    // SAFETY: Python's call.
    unsafe { with_integers(given, count, wait) }
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
    unsafe { copy(given, count, Way::In, run) }
}

unsafe extern "C" fn write(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let run = |[device, host, bytes]: [usize; 3], queue: &Queue| {
        // SAFETY: as in `read`.
        waited(queue, || unsafe { queue.write(device, host, bytes) })
    };
    // SAFETY: Python's call.
    unsafe { copy(given, count, Way::Out, run) }
}

unsafe extern "C" fn move_within(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let move_bytes = |python: &Python, [target, source, bytes, device, stream]: [usize; 5]| {
        code(python.unlocked(|| {
            let queue = Queue::of(device as i32, stream)?;
            // SAFETY: `copy.py` keeps both tensors alive until the stream has passed the copy.
            unsafe { queue.copy(target, source, bytes) }
        }))
    };
    // SAFETY: Python's call.
    unsafe { with_integers(given, count, move_bytes) }
}

fn capture_of(device: usize, stream: usize) -> Option<Capture> {
    Queue::of(device as i32, stream).and_then(|queue| queue.capture()).ok().flatten()
}

unsafe extern "C" fn capture(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let ask = |_: &Python, [device, stream]: [usize; 2]| {
        capture_of(device, stream).map_or(0, |capture| capture.id as i64)
    };
    // SAFETY: Python's call.
    unsafe { with_integers(given, count, ask) }
}

unsafe extern "C" fn captured_nodes(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let ask = |_: &Python, [device, stream]: [usize; 2]| {
        capture_of(device, stream).and_then(|capture| capture.nodes().ok()).map_or(0, |nodes| nodes as i64)
    };
    // SAFETY: Python's call.
    unsafe { with_integers(given, count, ask) }
}

unsafe extern "C" fn recording(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let set = |_: &Python, [on]: [usize; 1]| {
        fast::set_recording(on != 0);
        0
    };
    // SAFETY: Python's call.
    unsafe { with_integers(given, count, set) }
}

unsafe extern "C" fn leave_products(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let leave = |_: &Python, [few, types]: [usize; 2]| {
        products::leave(few, types as u64);
        0
    };
    // SAFETY: Python's call.
    unsafe { with_integers(given, count, leave) }
}

unsafe extern "C" fn begin(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let begin = |_: &Python, []: [usize; 0]| observe::begin() as i64;
    // SAFETY: Python's call.
    unsafe { with_integers(given, count, begin) }
}

unsafe extern "C" fn end(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let end = |python: &Python, name: &str, rest: &[Object]| {
        if let [place] = rest {
            observe::end(python.number(*place) as usize, observe::Kind::Operator, name, "");
        }
    };
    // SAFETY: Python's call.
    unsafe { with_text(given, count, end) }
}

unsafe extern "C" fn uncounted(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let set = |_: &Python, [on]: [usize; 1]| {
        observe::pause(on != 0);
        0
    };
    // SAFETY: Python's call.
    unsafe { with_integers(given, count, set) }
}

unsafe extern "C" fn note(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let note = |_: &Python, text: &str, _: &[Object]| log::debug(format_args!("served operator={text}"));
    // SAFETY: Python's call.
    unsafe { with_text(given, count, note) }
}

/// Calls `run` with the text that Python hands over first, and with the rest, and answers with 0; null with an exception
/// pending for what is no text.
///
/// # Safety
/// As Python calls: `given` points to `count` live objects.
unsafe fn with_text(
    given: *const Object,
    count: isize,
    run: impl FnOnce(&Python, &str, &[Object]),
) -> Object {
    let Some(python) = Python::find() else { return std::ptr::null_mut() };
    fast::guarded(python, || {
        if count > 0 {
            // SAFETY: as many live objects.
            let given = unsafe { std::slice::from_raw_parts(given, count as usize) };
            // SAFETY: a live object; null with an exception for what is no text.
            let text = unsafe { (python.text_bytes)(given[0]) };
            if text.is_null() {
                return None;
            }
            // SAFETY: a C string that lives as long as the object.
            run(python, &unsafe { CStr::from_ptr(text) }.to_string_lossy(), &given[1..]);
        }
        // SAFETY: the lock is held.
        Some(unsafe { (python.long_from)(0) })
    })
}
