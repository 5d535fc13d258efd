//! Small computations in the user's Python, natively and with gpucompat, and what gpucompat's log says of them.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::python;
use crate::platform::{self, PRELOAD, TemporaryFile};

const PROBE: &str = include_str!("probe.py");
const TIMEOUT: Duration = Duration::from_mins(5);

/// How the computations are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How<'a> {
    /// Without gpucompat.
    Native,
    /// With this library, which decides.
    Compat(&'a Path),
    /// With this library, which computes everything on the host.
    Forced(&'a Path),
}

/// How they went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Whether all of them ran and were right.
    pub works: bool,
    /// The first error, or how the process ended.
    pub error: Option<String>,
    /// Each computation on each device.
    pub operations: Vec<Operation>,
    /// Who computes, by library and device.
    pub verdicts: Vec<Verdict>,
    /// Where PyTorch's device memory lies.
    pub memory: Option<String>,
    /// What was computed on the host: operators of PyTorch and functions of NVIDIA's libraries.
    pub served: Vec<String>,
}

/// One computation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The device's number.
    pub device: u32,
    /// What was computed.
    pub name: String,
    /// Whether it agrees with the CPU.
    pub status: Status,
    /// Why not.
    pub error: Option<String>,
}

/// How a computation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As on the CPU.
    Right,
    /// It ran; the result is not the CPU's.
    Wrong,
    /// It did not run.
    Error,
}

/// A line `verdict` of gpucompat's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `operators`, `cublas`, `cublaslt`, `cudnn`.
    pub library: String,
    /// The device's number.
    pub device: i64,
    /// `native` or `compat`.
    pub mode: String,
    /// Why, in the log's words.
    pub reason: String,
    /// What that means.
    pub meaning: String,
}

impl Run {
    /// Whether a computation ran and gave something else than the CPU.
    pub fn differs(&self) -> bool {
        self.operations.iter().any(|operation| operation.status == Status::Wrong)
    }

    /// Whether gpucompat left something native because the device is not a new one.
    pub fn trusted(&self) -> bool {
        self.verdicts
            .iter()
            .any(|verdict| verdict.mode == "native" && verdict.reason.starts_with("trusted_sm_"))
    }
}

/// Runs the computations.
pub fn run(python: &Path, how: How) -> Run {
    match try_run(python, how) {
        Ok(run) => run,
        Err(error) => Run { error: Some(error.to_string()), ..Run::default() },
    }
}

fn try_run(python: &Path, how: How) -> io::Result<Run> {
    let log = TemporaryFile::new()?;
    let (library, force) = match how {
        How::Native => (None, Some("0")),
        How::Compat(library) => (Some(library), None),
        How::Forced(library) => (Some(library), Some("1")),
    };
    let mut variables: Vec<(&str, OsString)> =
        vec![("GPU_COMPAT_QUIET", "1".into()), ("GPU_COMPAT_LOG", log.path.clone().into_os_string())];
    variables.extend(force.map(|force| ("FORCE_GPU_COMPAT_PATCHES", force.into())));
    if let Some(library) = library {
        let preloaded = std::env::var_os(PRELOAD);
        variables.push((PRELOAD, platform::prepend_libraries(PRELOAD, &[library], preloaded.as_deref())));
    }
    let ended = python::run(python, PROBE, TIMEOUT, &variables)?;
    Ok(judged(ended.marked(), ended.failure(), &log.text()))
}

/// What the script's lines, its end and gpucompat's log come to.
fn judged<'a>(lines: impl Iterator<Item = &'a str>, failure: Option<String>, log: &str) -> Run {
    let mut run = Run::default();
    let mut done = false;
    for line in lines {
        match serde_json::from_str::<Operation>(line) {
            Ok(operation) => run.operations.push(operation),
            Err(_) => done |= line.contains("\"done\""),
        }
    }
    let first = run.operations.iter().find_map(|operation| match operation.status {
        Status::Right => None,
        Status::Wrong => Some(format!("{} differs from the CPU's result", operation.name)),
        Status::Error => operation.error.clone(),
    });
    let unfinished = (!done).then(|| "the computations did not end".to_owned());
    run.error = first.or(failure).or(unfinished);
    run.works = run.error.is_none();
    for line in log.lines().filter_map(|line| line.strip_prefix("gpucompat: ")) {
        read_log(line, &mut run);
    }
    run
}

fn read_log(line: &str, run: &mut Run) {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        "verdict" => {
            if let Some(verdict) = verdict(rest) {
                // The last word counts: a probe may be followed by what a native call taught.
                run.verdicts.retain(|old| (&old.library, old.device) != (&verdict.library, verdict.device));
                run.verdicts.push(verdict);
            }
        }
        "memory" => run.memory = value(rest, "place").map(str::to_owned).or(run.memory.take()),
        "served" => {
            if let Some(name) = value(rest, "operator").or_else(|| value(rest, "fn"))
                && !run.served.iter().any(|known| known == name)
            {
                run.served.push(name.to_owned());
            }
        }
        _ => {}
    }
}

fn verdict(line: &str) -> Option<Verdict> {
    // The reason is last and may hold spaces; the device's name is quoted and may hold anything.
    let (fields, reason) = line.rsplit_once(" reason=")?;
    let device = value(fields, "device")?.parse().ok()?;
    let library = value(fields, "library")?.to_owned();
    let mode =
        value(fields.rsplit_once("\" ").map_or(fields, |(_, behind_the_name)| behind_the_name), "mode")?;
    let meaning = meaning(&library, reason);
    Some(Verdict { library, device, mode: mode.to_owned(), reason: reason.to_owned(), meaning })
}

fn value<'a>(fields: &'a str, key: &str) -> Option<&'a str> {
    fields.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('='))
}

/// A sentence for the log's word.
fn meaning(library: &str, reason: &str) -> String {
    let what = match library {
        "operators" => "PyTorch's own kernels",
        "cublas" => "cuBLAS",
        "cublaslt" => "cuBLASLt",
        "cudnn" => "cuDNN",
        other => other,
    };
    let (word, detail) =
        reason.split_once('(').map_or((reason, ""), |(word, rest)| (word, rest.trim_end_matches(')')));
    match (word, detail.split(' ').next().unwrap_or_default()) {
        ("forced_on", _) => "the host computes because it was asked to".to_owned(),
        ("forced_off", _) => "nothing is served because it was asked so".to_owned(),
        ("probe_passed", _) if library == "operators" => format!("{what} can be loaded on this device"),
        ("probe_passed", _) => format!("{what} computed a small problem on the device, and rightly"),
        ("probe_failed", "no_handle") | ("own_handle" | "no_native_handle", _) => {
            format!("{what} does not start on this device")
        }
        ("probe_failed", "library_missing") => format!("the process has not loaded {what}"),
        ("probe_failed", "wrong_result") => format!("{what} computed a small problem wrongly on this device"),
        ("probe_failed", "driver_error") => format!("the driver failed before {what} was asked"),
        ("probe_failed", _) => format!("{what} could not compute a small problem on this device"),
        ("no_device", _) => "the device does not answer".to_owned(),
        ("native_failed", _) => format!("a call of {what} failed for want of a kernel"),
        ("own_kernel_failed", _) => {
            format!("{what} are built for this device, but one that was tried cannot be loaded")
        }
        (word, _) => {
            if let Some(sm) = word.strip_prefix("trusted_sm_") {
                format!("sm_{sm} is not a new architecture and is trusted without a probe")
            } else if let Some(sm) = word.strip_prefix("no_kernel_image_for_sm_") {
                format!("{what} hold no code that runs on sm_{sm}")
            } else {
                format!("{what}: {reason}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
gpucompat: verdict library=operators device=0 name=\"NVIDIA GeForce RTX 5090\" sm=120 mode=compat reason=no_kernel_image_for_sm_120
gpucompat: active device=0 name=\"NVIDIA GeForce RTX 5090\" sm=120 library=operators reason=no_kernel_image_for_sm_120: computing
gpucompat: verdict library=cublas device=0 name=\"odd mode=native\" sm=120 mode=compat reason=probe_failed(no_handle status=1)
gpucompat: memory place=host reason=nothing_computes_on_the_device
gpucompat: served operator=aten::add.Tensor treatment=cpu
gpucompat: served operator=aten::add.Tensor treatment=cpu
gpucompat: verdict library=cublas device=0 name=\"odd mode=native\" sm=120 mode=compat reason=no_native_handle(status=1)
gpucompat: served fn=cublasSgemm_v2 reason=own_handle trans=nn
gpucompat: verdict library=
gpucompat:
something else
";

    const RIGHT: &str = r#"{"device": 0, "name": "add", "status": "right", "error": null}"#;
    const DONE: &str = r#"{"done": true}"#;

    #[test]
    fn the_log_is_read() {
        let run = judged([RIGHT, DONE].into_iter(), None, LOG);
        assert!(run.works && run.error.is_none());
        let verdicts: Vec<(&str, &str, &str)> = run
            .verdicts
            .iter()
            .map(|verdict| (verdict.library.as_str(), verdict.mode.as_str(), verdict.reason.as_str()))
            .collect();
        assert_eq!(
            verdicts,
            [
                ("operators", "compat", "no_kernel_image_for_sm_120"),
                ("cublas", "compat", "no_native_handle(status=1)"),
            ]
        );
        assert_eq!(run.memory.as_deref(), Some("host"));
        assert_eq!(run.served, ["aten::add.Tensor", "cublasSgemm_v2"]);
        assert!(!run.trusted());
    }

    #[test]
    fn a_wrong_result_an_error_and_an_early_end_do_not_work() {
        let wrong = r#"{"device": 0, "name": "matmul", "status": "wrong", "error": null}"#;
        let run = judged([RIGHT, wrong, DONE].into_iter(), None, "");
        assert!(!run.works && run.differs());
        assert_eq!(run.error.as_deref(), Some("matmul differs from the CPU's result"));

        let error = r#"{"device": 0, "name": "add", "status": "error", "error": "RuntimeError: no"}"#;
        let run = judged([error, DONE].into_iter(), None, "");
        assert_eq!((run.works, run.error.as_deref()), (false, Some("RuntimeError: no")));

        let run = judged([RIGHT].into_iter(), Some("killed by signal 11".to_owned()), "");
        assert_eq!((run.works, run.error.as_deref()), (false, Some("killed by signal 11")));
        assert!(!judged([RIGHT].into_iter(), None, "").works);
        assert!(!judged([].into_iter(), None, "").works);
    }

    #[test]
    fn a_crash_after_the_last_result_does_not_work() {
        let run = judged([RIGHT, DONE].into_iter(), Some("exit status 134".to_owned()), "");
        assert!(!run.works);
    }

    #[test]
    fn every_word_of_the_log_has_a_sentence() {
        for (reason, sentence) in [
            ("trusted_sm_89", "sm_89 is not a new architecture and is trusted without a probe"),
            ("probe_failed(no_handle status=1001)", "cuDNN does not start on this device"),
            ("probe_failed(wrong_result)", "cuDNN computed a small problem wrongly on this device"),
            ("native_failed(status=13)", "a call of cuDNN failed for want of a kernel"),
            ("a_new_word", "cuDNN: a_new_word"),
        ] {
            assert_eq!(meaning("cudnn", reason), sentence);
        }
        assert_eq!(
            meaning("operators", "no_kernel_image_for_sm_120"),
            "PyTorch's own kernels hold no code that runs on sm_120"
        );
    }
}
