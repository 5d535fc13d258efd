//! What tests ask and tell the simulator: functions that no real library has.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::core::{copy, counters, faults, memory, stream};

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

fn move_now(source: usize, target: usize, bytes: usize) -> c_int {
    let (Ok(source), Ok(target)) = (memory::translate(source, bytes), memory::translate(target, bytes))
    else {
        return 1;
    };
    copy::between(source, target, bytes);
    0
}

/// Writes the counters as JSON where `SIMGPU_COUNTERS` says, when the process ends.
extern "C" fn write_counters() {
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
