//! A trace of served calls, in the format that chrome://tracing and Perfetto read, beside PyTorch's profiler: complete
//! events, in microseconds since 1970. The array is not closed, which the format allows: the process may end at any moment.
//! Source: "Trace Event Format", <https://chromium.googlesource.com/catapult>.

use std::ffi::OsString;
use std::fmt::Write;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use gpucompat_report::json_text;

use super::Ended;
use super::files::{note_outcome, own_file};
use super::per_process::PerProcess;
use crate::config::config;
use crate::platform;

/// Characters that are written at once.
const FULL: usize = 64 << 10;

/// Events that are not written yet.
#[derive(Default)]
struct Pending {
    text: String,
    /// Where the first ones were written.
    file: Option<OsString>,
}

static PENDING: PerProcess<Pending> = PerProcess::new(finish);

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
    let mut pending = PENDING.get().lock();
    let process = std::process::id();
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
        event(span.way.name(), "copy", span.started, span.took, ended.name);
    }
    if pending.text.len() >= FULL {
        flush(&mut pending);
    }
}

fn flush(pending: &mut Pending) {
    let Some(path) = &config().trace else { return };
    let text = std::mem::take(&mut pending.text);
    let fresh = pending.file.is_none();
    let file = pending.file.get_or_insert_with(|| own_file(path));
    let outcome = if fresh {
        platform::write_file(file, &format!("[\n{text}"))
    } else {
        platform::append_to_file(file, &text)
    };
    note_outcome(file, outcome);
}

/// The end of the process.
extern "C" fn finish() {
    PENDING.at_the_end("trace", flush);
}
