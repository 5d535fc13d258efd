//! A trace of served calls, in the format that chrome://tracing and Perfetto read, beside PyTorch's profiler: complete
//! events, in microseconds since 1970. The array is not closed, which the format allows: the process may end at any moment.
//! Source: "Trace Event Format", <https://chromium.googlesource.com/catapult>.

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use gpucompat_report::json_text;
use parking_lot::Mutex;

use super::Ended;
use super::summary::{file_name, written};
use crate::boundary::panic::guard;
use crate::config::config;
use crate::platform;

/// Characters that are written at once.
const FULL: usize = 64 << 10;
/// How long the end of the process waits for a thread that is just noting a call.
const PATIENCE: Duration = Duration::from_millis(200);

/// Events that are not written yet.
struct Pending {
    process: u32,
    forked: bool,
    text: String,
    begun: bool,
}

static PENDING: Mutex<Option<Pending>> = Mutex::new(None);

/// Microseconds since 1970.
fn microseconds(at: Instant) -> f64 {
    static EPOCH: OnceLock<(Instant, Duration)> = OnceLock::new();
    let (instant, since_1970) = *EPOCH.get_or_init(|| {
        (Instant::now(), SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    });
    let ago = instant.saturating_duration_since(at).as_secs_f64();
    (since_1970.as_secs_f64() - ago + at.saturating_duration_since(instant).as_secs_f64()) * 1e6
}

/// Notes a call and its copies.
pub(super) fn write(ended: &Ended<'_>) {
    let process = std::process::id();
    let mut guard = PENDING.lock();
    let known = guard.as_ref().map(|pending| pending.process);
    if known != Some(process) {
        *guard = Some(Pending { process, forked: known.is_some(), text: String::new(), begun: false });
        if known.is_none() {
            platform::at_exit(finish);
        }
    }
    let Some(pending) = guard.as_mut() else { return };
    let thread = platform::thread_number();
    let mut event = |name: &str, category: &str, started: Instant, took: Duration, what: &str| {
        let (at, duration) = (microseconds(started), took.as_secs_f64() * 1e6);
        let (name, what) = (json_text(name), json_text(what));
        // Writing to a String cannot fail.
        let _ = writeln!(
            pending.text,
            "{{\"name\":{name},\"cat\":\"gpucompat,{category}\",\"ph\":\"X\",\"ts\":{at:.3},\"dur\":{duration:.3},\
             \"pid\":{process},\"tid\":{thread},\"args\":{{\"detail\":{what}}}}},"
        );
    };
    let [bytes_in, bytes_out] = ended.frame.bytes;
    let what = format!("{} bytes_in={bytes_in} bytes_out={bytes_out}", ended.what);
    event(ended.name, ended.kind.name(), ended.frame.started, ended.took, what.trim_start());
    for span in &ended.frame.spans {
        event(span.copy.name(), "copy", span.started, span.took, ended.name);
    }
    if pending.text.len() >= FULL {
        flush(pending);
    }
}

fn flush(pending: &mut Pending) {
    let Some(path) = &config().trace else { return };
    let path = file_name(path, pending.process, pending.forked);
    let text = std::mem::take(&mut pending.text);
    if pending.begun {
        platform::append_to_file(&path, &text);
    } else {
        pending.begun = true;
        written(&path, platform::write_file(&path, &format!("[\n{text}")));
    }
}

/// The end of the process.
extern "C" fn finish() {
    let _ = guard("trace", || {
        if let Some(mut pending) = PENDING.try_lock_for(PATIENCE)
            && let Some(pending) = pending.as_mut()
            && pending.process == std::process::id()
        {
            flush(pending);
        }
        Ok(())
    });
}
