//! The report that a process leaves when it ends: collected here, shaped by `gpucompat-report`.
//!
//! It is written by a handler of `exit`, registered when there is the first thing to tell: a process that never came near a
//! GPU writes nothing, nor does one that ends by a signal or `_exit`. A forked child begins anew, and writes, if it ends by
//! `exit`, a report of its own beside its parent's.

use std::ffi::OsStr;
use std::time::{Instant, SystemTime};

use gpucompat_report::{Kind, Report, Row, SCHEMA, Verdict, page, table};
use rustc_hash::FxHashMap;

use super::Ended;
use super::files::{note_outcome, own_file};
use super::per_process::PerProcess;
use super::timeline::Timeline;
use crate::config::{Stats, config};
use crate::platform;

/// What was counted so far.
struct Counted {
    began: Instant,
    started: f64,
    rows: [FxHashMap<String, Row>; 2],
    timeline: Timeline,
    verdicts: Vec<Verdict>,
    memory: &'static str,
}

static COUNTED: PerProcess<Counted> = PerProcess::new(finish);

impl Default for Counted {
    fn default() -> Counted {
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Counted {
            began: Instant::now(),
            started: started.as_secs_f64(),
            rows: Default::default(),
            timeline: Timeline::default(),
            verdicts: Vec::new(),
            memory: "",
        }
    }
}

impl Counted {
    fn report(&self) -> Report {
        let seconds = |row: &Row| row.seconds();
        let mut rows: Vec<Row> = self.rows.iter().flat_map(|rows| rows.values().cloned()).collect();
        rows.sort_by(|a, b| seconds(b).total_cmp(&seconds(a)).then_with(|| a.name.cmp(&b.name)));
        Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
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

/// Changes what was counted.
fn counted(change: impl FnOnce(&mut Counted)) {
    change(&mut COUNTED.get().lock());
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
        let verdict = Verdict { library, device, mode, reason };
        counted(|counted| {
            // One that is not remembered is reached again at each call.
            if !counted.verdicts.contains(&verdict) {
                counted.verdicts.push(verdict);
            }
        });
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
    COUNTED.at_the_end("report", |counted| {
        if let Some(stats) = &config().stats {
            tell(stats, &counted.report());
        }
    });
}

fn tell(stats: &Stats, report: &Report) {
    let put = |path: &OsStr, text: &str| {
        let path = own_file(path);
        note_outcome(&path, platform::write_file(&path, text));
    };
    match stats {
        Stats::Table => platform::write_stderr(&table::table(report)),
        Stats::Json(path) => put(path, &report.to_json()),
        Stats::Html(path) => put(path, &page::page(report)),
    }
}
