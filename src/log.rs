//! One line, one prefix, `key=value`.
//!
//! Who calls it: every layer but the engine. A leaf beside `config`: nothing here decides anything.
//! Debug lines go to standard error (`GPU_COMPAT_DEBUG=1`) and to a file (`GPU_COMPAT_LOG`); warnings
//! always reach standard error, each at most once.

use std::collections::HashSet;
use std::fmt::Arguments;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::config::config;
use crate::platform;

static ACTIVE_SAID: AtomicBool = AtomicBool::new(false);
static WARNED: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Whether anybody reads debug lines; callers skip formatting when not.
pub fn debug_enabled() -> bool {
    let config = config();
    config.debug || config.log_file.is_some()
}

/// A line for `GPU_COMPAT_DEBUG=1` and `GPU_COMPAT_LOG`.
pub fn debug(line: Arguments<'_>) {
    if debug_enabled() {
        let line = format!("gpucompat: {line}\n");
        if config().debug {
            platform::write_stderr(&line);
        }
        to_file(&line);
    }
}

/// A warning: what happened, what it means, what to do. The same words are said once a process.
pub fn warn_once(line: Arguments<'_>) {
    let line = format!("gpucompat: warning: {line}\n");
    if WARNED.lock().get_or_insert_default().insert(line.clone()) {
        platform::write_stderr(&line);
        to_file(&line);
    }
}

/// Says once a process that gpucompat is active and why, unless debug lines say more or it was silenced.
pub fn active_once(line: Arguments<'_>) {
    if ACTIVE_SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    unless_quiet(&format!("gpucompat: active {line}\n"));
}

/// Says once a process, and not after [`active_once`], that native kernels work where they were in doubt.
pub fn idle_once(line: Arguments<'_>) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if ACTIVE_SAID.load(Ordering::Relaxed) || SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    unless_quiet(&format!("gpucompat: idle {line}\n"));
}

/// Prints what the configuration could not understand; called before the first verdict.
pub fn config_complaints() {
    for complaint in &config().complaints {
        warn_once(format_args!("{complaint}; docs/environment.md lists what it accepts"));
    }
}

fn unless_quiet(line: &str) {
    if !config().quiet || config().debug {
        platform::write_stderr(line);
    }
    to_file(line);
}

fn to_file(line: &str) {
    if let Some(path) = &config().log_file {
        let _ = platform::append_to_file(path, line);
    }
}

/// A byte count as people read it: `154KiB`, `1.8MiB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count}B"),
        1024..0x10_0000 => format!("{:.1}KiB", count as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1}MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.2}GiB", count as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn byte_counts_carry_their_unit() {
        assert_eq!(bytes(12), "12B");
        assert_eq!(bytes(1536), "1.5KiB");
        assert_eq!(bytes(3 << 20), "3.0MiB");
        assert_eq!(bytes(5 << 29), "2.50GiB");
    }
}
