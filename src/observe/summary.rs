//! The report that a process leaves when it ends: collected here, shaped by `gpucompat-report`.
//!
//! It is written by a handler of `exit`, registered when there is the first thing to tell: a process that never came near a
//! GPU writes nothing, nor does one that ends by a signal or `_exit`. A forked child begins anew, and writes, if it ends by
//! `exit`, a report of its own beside its parent's.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::{Duration, Instant, SystemTime};

use gpucompat_report::{Kind, Report, Row, SCHEMA, Verdict, page, table};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::Ended;
use super::timeline::Timeline;
use crate::boundary::panic::guard;
use crate::config::{Stats, config};
use crate::log;
use crate::platform;

/// How long the end of the process waits for a thread that is just counting a call.
const PATIENCE: Duration = Duration::from_millis(200);

/// What was counted so far.
struct Counted {
    process: u32,
    began: Instant,
    started: f64,
    rows: [FxHashMap<String, Row>; 2],
    timeline: Timeline,
    verdicts: Vec<Verdict>,
    memory: &'static str,
    /// A forked child's: its name has the child's number.
    forked: bool,
}

static COUNTED: Mutex<Option<Counted>> = Mutex::new(None);

impl Counted {
    fn new(process: u32, forked: bool) -> Counted {
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Counted {
            process,
            began: Instant::now(),
            started: started.as_secs_f64(),
            rows: Default::default(),
            timeline: Timeline::default(),
            verdicts: Vec::new(),
            memory: "",
            forked,
        }
    }

    fn report(&self) -> Report {
        let seconds = |row: &Row| row.seconds();
        let mut rows: Vec<Row> = self.rows.iter().flat_map(|rows| rows.values().cloned()).collect();
        rows.sort_by(|a, b| seconds(b).total_cmp(&seconds(a)).then_with(|| a.name.cmp(&b.name)));
        Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: self.process,
            command: platform::command_line(),
            started: self.started,
            seconds: self.began.elapsed().as_secs_f64(),
            peak_host_bytes: platform::peak_bytes(),
            verdicts: self.verdicts.clone(),
            memory: self.memory.to_owned(),
            rows,
            timeline: self.timeline.report(),
        }
    }
}

/// Changes what was counted; begins it, for this process, at the first time.
fn counted(change: impl FnOnce(&mut Counted)) {
    let process = std::process::id();
    let mut guard = COUNTED.lock();
    let known = guard.as_ref().map(|counted| counted.process);
    if known != Some(process) {
        *guard = Some(Counted::new(process, known.is_some()));
        if known.is_none() {
            platform::at_exit(finish);
        }
    }
    if let Some(counted) = guard.as_mut() {
        change(counted);
    }
}

/// A served call.
pub(super) fn count(ended: &Ended<'_>) {
    counted(|counted| {
        let Ended { kind, name, frame, .. } = ended;
        let rows = &mut counted.rows[*kind as usize];
        let row = match rows.get_mut(*name) {
            Some(row) => row,
            None => rows.entry((*name).to_owned()).or_insert_with(|| empty(*kind, name)),
        };
        row.calls += 1;
        row.copy_in += frame.copies[0].as_secs_f64();
        row.compute += ended.computing().as_secs_f64();
        row.copy_out += frame.copies[1].as_secs_f64();
        row.bytes_in += frame.bytes[0];
        row.bytes_out += frame.bytes[1];
        counted.timeline.add(counted.began.elapsed(), frame.bytes);
    });
}

fn empty(kind: Kind, name: &str) -> Row {
    let (copy_in, compute, copy_out) = (0.0, 0.0, 0.0);
    Row { kind, name: name.to_owned(), calls: 0, copy_in, compute, copy_out, bytes_in: 0, bytes_out: 0 }
}

/// Who computes what, and why; `device` in the log's words.
pub fn verdict(library: &str, device: &str, mode: &str, reason: &str) {
    if config().stats.is_some() {
        let [library, device, mode, reason] = [library, device, mode, reason].map(str::to_owned);
        counted(|counted| counted.verdicts.push(Verdict { library, device, mode, reason }));
    }
}

/// Where PyTorch's device memory lies.
pub fn memory(place: &'static str) {
    if config().stats.is_some() {
        counted(|counted| counted.memory = place);
    }
}

/// The end of the process.
extern "C" fn finish() {
    let _ = guard("report", || {
        if let Some(stats) = &config().stats
            && let Some(counted) = COUNTED.try_lock_for(PATIENCE)
            && let Some(counted) = counted.as_ref()
            && counted.process == std::process::id()
        {
            tell(stats, counted);
        }
        Ok(())
    });
}

fn tell(stats: &Stats, counted: &Counted) {
    let report = counted.report();
    let name = |path: &OsStr| file_name(path, counted.process, counted.forked);
    match stats {
        Stats::Table => platform::write_stderr(&table::table(&report)),
        Stats::Json(path) => written(path, platform::write_file(&name(path), &report.to_json())),
        Stats::Html(path) => written(path, platform::write_file(&name(path), &page::page(&report))),
    }
}

/// Warns if a file that was asked for could not be written.
pub(super) fn written(path: &OsStr, outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        log::warn_once(format_args!(
            "{} could not be written: {error}; the report or trace is lost; name a file in a folder that this user may write, \
             which is no symbolic link",
            path.to_string_lossy()
        ));
    }
}

/// The file of a process: `%p` is its number; a forked child's file whose name has none gets it before the ending, so that
/// it does not take its parent's place.
pub(super) fn file_name(path: &OsStr, process: u32, forked: bool) -> OsString {
    let (bytes, number) = (path.as_bytes(), process.to_string());
    if let Some(at) = bytes.windows(2).position(|pair| pair == b"%p") {
        return OsString::from_vec([&bytes[..at], number.as_bytes(), &bytes[at + 2..]].concat());
    }
    if !forked {
        return path.to_owned();
    }
    let file = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let dot = bytes.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > file).unwrap_or(bytes.len());
    OsString::from_vec([&bytes[..dot], b".", number.as_bytes(), &bytes[dot..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_has_a_file_of_its_own() {
        let name = |path: &str, forked| file_name(OsStr::new(path), 7, forked).into_string().unwrap();
        assert_eq!(name("a.d/report.json", false), "a.d/report.json");
        assert_eq!(name("a.d/report.json", true), "a.d/report.7.json");
        assert_eq!(name("a.d/report", true), "a.d/report.7");
        assert_eq!(name("a/%p.html", false), "a/7.html");
        assert_eq!(name("a/%p.html", true), "a/7.html");
    }
}
