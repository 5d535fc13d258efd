//! What tests ask and tell the simulator: functions that no real library has.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};

use crate::core::{copy, counters, device, faults, launch, memory, stream};

fn text<'a>(text: *const c_char) -> &'a str {
    if text.is_null() {
        return "";
    }
    // SAFETY: the test that calls owes a C string.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or("")
}

/// The value of a counter; −1 for an unknown name.
#[unsafe(no_mangle)]
pub extern "C" fn simgpu_counter(name: *const c_char) -> i64 {
    let name = text(name);
    counters::ALL.iter().find(|counter| counter.name == name).map_or(-1, |counter| counter.get())
}

/// Sets every counter but the live ones to 0.
#[unsafe(no_mangle)]
pub extern "C" fn simgpu_reset_counters() {
    counters::ALL
        .iter()
        .filter(|counter| !matches!(counter.name, "live_bytes" | "streams"))
        .for_each(|counter| counter.reset());
}

/// Replaces all faults (see `SIMGPU_FAIL`); 0 if understood.
#[unsafe(no_mangle)]
pub extern "C" fn simgpu_set_fault(specification: *const c_char) -> c_int {
    c_int::from(!faults::set(text(specification)))
}

/// Sets how long every queued operation takes, microseconds.
#[unsafe(no_mangle)]
pub extern "C" fn simgpu_set_delay_us(delay: u64) {
    stream::set_delay_us(delay);
}

/// The mangled name of the kernel that was refused last, "" if none was or it is not registered. The text is
/// this thread's until it asks again.
#[unsafe(no_mangle)]
pub extern "C" fn simgpu_last_refused() -> *const c_char {
    thread_local! {
        static TEXT: RefCell<CString> = RefCell::default();
    }
    TEXT.with_borrow_mut(|text| {
        *text = launch::last_refused().and_then(|name| CString::new(name).ok()).unwrap_or_default();
        text.as_ptr()
    })
}

/// How many kernels are registered now.
#[unsafe(no_mangle)]
pub extern "C" fn simgpu_registered_kernels() -> u64 {
    launch::registered().1 as u64
}

/// Reads device memory as it is now, without waiting for anything; 0 on success.
///
/// # Safety
/// `target` has room for `bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn simgpu_peek(source: u64, target: *mut c_void, bytes: usize) -> c_int {
    move_now(source as usize, target as usize, bytes)
}

/// Writes device memory at once; 0 on success.
///
/// # Safety
/// `source` has `bytes` to read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn simgpu_poke(target: u64, source: *const c_void, bytes: usize) -> c_int {
    move_now(source as usize, target as usize, bytes)
}

/// Waits for everything that is queued on any stream; neither counted nor refused by faults.
#[unsafe(no_mangle)]
pub extern "C" fn simgpu_finish() {
    stream::finish();
}

fn move_now(source: usize, target: usize, bytes: usize) -> c_int {
    let (Ok(source), Ok(target)) = (memory::translate(source, bytes), memory::translate(target, bytes))
    else {
        return 1;
    };
    copy::between(source, target, bytes);
    0
}

/// Writes the counters as JSON where `SIMGPU_COUNTERS` says, when the process ends; a forked child has none.
extern "C" fn write_counters() {
    if device::is_forked() {
        return;
    }
    if let Some(path) = std::env::var_os("SIMGPU_COUNTERS") {
        let _ = std::fs::write(path, counters::json());
    }
}

/// Asks for [`write_counters`] at exit; once.
pub fn arrange_exit() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("SIMGPU_COUNTERS").is_some() {
            // SAFETY: `write_counters` is a plain function that may run at exit.
            unsafe { libc::atexit(write_counters) };
        }
    });
}
