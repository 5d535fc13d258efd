//! `gpucompat doctor`: gathers facts, draws the conclusion, prints both.

mod advice;
mod device;
mod fatbin;
mod probe;
mod python;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use self::advice::Conclusion;
use self::device::Driver;
use self::fatbin::{Architecture, Kind};
use self::probe::{How, Run};
use self::python::Python;
use crate::platform::{self, PRELOAD};
use crate::{failed, print, run};

/// The version of the JSON document; a change that breaks readers raises it.
const SCHEMA: u32 = 1;

/// The options of `gpucompat doctor`.
#[derive(Args)]
pub struct Arguments {
    /// The Python whose PyTorch is asked, instead of the virtual environment's or the search path's
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// The library to try, instead of the one that lies beside this command or in ../lib
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
    /// Print a JSON document (docs/doctor.schema.json)
    #[arg(long)]
    json: bool,
    /// Compute nothing: only look
    #[arg(long)]
    no_probe: bool,
}

/// What is printed.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    gpucompat: &'static str,
    conclusion: &'a Conclusion,
    #[serde(flatten)]
    facts: &'a Facts,
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The driver and its GPUs.
    pub driver: Driver,
    /// The Python and its PyTorch.
    pub python: Python,
    /// The libraries with kernels in them.
    pub binaries: Vec<Binary>,
    /// gpucompat's own library.
    pub library: OwnLibrary,
    /// Variables of the environment that bear on this.
    pub settings: BTreeMap<String, String>,
    /// The computations without gpucompat; none where they were not run.
    pub native: Option<Run>,
    /// The computations with it.
    pub compat: Option<Run>,
    /// The computations with it where it computes everything; only run where it fails by itself.
    pub forced: Option<Run>,
}

/// A library with kernels in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Binary {
    /// Its file name.
    pub file: String,
    /// Where it is.
    pub path: String,
    /// What its kernels are compiled for.
    pub architectures: Vec<Carried>,
    /// Why it could not be read.
    pub error: Option<String>,
}

/// An architecture that a library carries code for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// `sm_90`, `compute_120`, `sm_90a`.
    pub name: String,
    /// Machine code or PTX.
    pub kind: Kind,
    /// The compute capability without the dot.
    pub sm: u32,
    /// In how many pieces.
    pub count: u64,
}

/// gpucompat's own library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnLibrary {
    /// Where it is.
    pub path: Option<String>,
    /// Why it cannot be preloaded.
    pub error: Option<String>,
    /// Whether `--library` named it.
    pub named: bool,
}

/// Finds out, concludes, prints.
pub fn main(arguments: &Arguments) -> ExitCode {
    let facts = gather(arguments);
    let conclusion = advice::conclude(&facts);
    let printed = if arguments.json {
        let document = Document {
            schema: SCHEMA,
            gpucompat: env!("CARGO_PKG_VERSION"),
            conclusion: &conclusion,
            facts: &facts,
        };
        serde_json::to_vec_pretty(&document).map_err(Into::into).and_then(|mut json| {
            json.push(b'\n');
            print(&json)
        })
    } else {
        print(text::page(&facts, &conclusion).as_bytes())
    };
    match printed {
        Err(error) => failed(error),
        Ok(()) if conclusion.works => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
    }
}

fn gather(arguments: &Arguments) -> Facts {
    let driver = device::driver();
    let command = arguments.python.clone().unwrap_or_else(python::default_command);
    let python = python::ask(&command);
    let binaries = python.torch().map(|torch| binaries(&torch.folders)).unwrap_or_default();
    let (path, library) = own_library(arguments.library.as_deref());
    let mut facts = Facts {
        driver,
        python,
        binaries,
        library,
        settings: settings(),
        native: None,
        compat: None,
        forced: None,
    };
    // Where a part is missing, computing would only say so once more.
    let complete =
        !facts.driver.gpus.is_empty() && facts.python.torch().is_some_and(|torch| torch.cuda.is_some());
    if complete && !arguments.no_probe {
        facts.native = Some(probe::run(&command, How::Native));
        if let Some(path) = path {
            let compat = probe::run(&command, How::Compat(&path));
            if !compat.works {
                facts.forced = Some(probe::run(&command, How::Forced(&path)));
            }
            facts.compat = Some(compat);
        }
    }
    facts
}

/// The library if it can be preloaded, and what is said of it.
fn own_library(given: Option<&Path>) -> (Option<PathBuf>, OwnLibrary) {
    let named = given.is_some();
    let found = run::library(given).and_then(|path| {
        run::check(PRELOAD, &path)?;
        Ok(path)
    });
    match found {
        Ok(path) => {
            let shown = path.display().to_string();
            (Some(path), OwnLibrary { path: Some(shown), error: None, named })
        }
        Err(refusal) => (None, OwnLibrary { path: None, error: Some(refusal.to_string()), named }),
    }
}

fn settings() -> BTreeMap<String, String> {
    let bears = |name: &str| {
        ["GPU_COMPAT_", "SIMGPU_"].iter().any(|prefix| name.starts_with(prefix))
            || ["FORCE_GPU_COMPAT_PATCHES", "CUDA_VISIBLE_DEVICES", PRELOAD, platform::AUDIT].contains(&name)
    };
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| bears(name))
        .collect()
}

/// The libraries in these folders that carry the kernels of PyTorch, cuBLAS, cuBLASLt and cuDNN.
fn binaries(folders: &[String]) -> Vec<Binary> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let Some(file) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
                continue;
            };
            // libcudnn.so.9 and libcudnn.so.9.1.0 are one file.
            let mut is_new = || fs::canonicalize(&path).is_ok_and(|real| seen.insert(real));
            if family(&file).is_some() && is_new() {
                found.push(binary(&path, file));
            }
        }
    }
    found
}

/// Whose kernels a file carries; none for a file of no interest.
fn family(file: &str) -> Option<&'static str> {
    let (name, _) = file.split_once(".so")?;
    match name {
        "libtorch_cuda" => Some("libtorch_cuda"),
        "libcublas" => Some("libcublas"),
        "libcublasLt" => Some("libcublasLt"),
        _ => name.starts_with("libcudnn").then_some("libcudnn"),
    }
}

fn binary(path: &Path, file: String) -> Binary {
    let carried = |(architecture, count): (Architecture, u64)| Carried {
        name: architecture.to_string(),
        kind: architecture.kind,
        sm: architecture.sm,
        count,
    };
    let (architectures, error) = match fatbin::of_library(path) {
        Ok(counts) => (counts.into_iter().map(carried).collect(), None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    Binary { file, path: path.display().to_string(), architectures, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::device::{Gpu, State};
    use crate::doctor::probe::{Operation, Status, Verdict};
    use crate::doctor::python::{Build, Interpreter, Torch};

    /// A machine on which gpucompat works and is needed.
    pub fn facts() -> Facts {
        let text = str::to_owned;
        let operation = |status, error: Option<&str>| Operation {
            device: 0,
            name: text("add"),
            status,
            error: error.map(text),
        };
        let error = "RuntimeError: CUDA error: no kernel image";
        let carried = |name: &str, sm| Carried { name: text(name), kind: Kind::Sass, sm, count: 340 };
        Facts {
            driver: Driver {
                state: State::Ready,
                version: Some(text("570.86.10")),
                cuda: Some(text("12.8")),
                gpus: vec![Gpu {
                    device: 0,
                    name: text("NVIDIA GeForce RTX 5090"),
                    sm: 120,
                    memory: 34_190_917_632,
                }],
            },
            python: Python {
                command: text("python3"),
                error: None,
                found: Some(Interpreter {
                    version: text("3.11.7"),
                    executable: text("/usr/bin/python3"),
                    torch: Torch::Found(Build {
                        version: text("2.5.1+cu124"),
                        cuda: Some(text("12.4")),
                        rocm: None,
                        cublas: Some(text("12.4.5")),
                        cudnn: Some(90100),
                        arch_list: vec![text("sm_80"), text("sm_90")],
                        folders: Vec::new(),
                    }),
                }),
            },
            binaries: vec![Binary {
                file: text("libtorch_cuda.so"),
                path: text("/usr/lib/torch/lib/libtorch_cuda.so"),
                architectures: vec![
                    carried("sm_80", 80),
                    carried("sm_90", 90),
                    Carried { count: 1, ..carried("sm_120a", 120) },
                ],
                error: None,
            }],
            library: OwnLibrary { path: Some(text("/opt/lib/libgpucompat.so")), error: None, named: false },
            settings: BTreeMap::new(),
            native: Some(Run {
                error: Some(text(error)),
                operations: vec![operation(Status::Error, Some(error))],
                ..Run::default()
            }),
            compat: Some(Run {
                works: true,
                operations: vec![operation(Status::Right, None)],
                verdicts: vec![Verdict {
                    library: text("operators"),
                    device: 0,
                    mode: text("compat"),
                    reason: text("no_kernel_image_for_sm_120"),
                    meaning: text("PyTorch's own kernels hold no code that runs on sm_120"),
                }],
                memory: Some(text("host")),
                ..Run::default()
            }),
            forced: None,
        }
    }

    #[test]
    fn the_libraries_of_interest_are_known_by_name() {
        assert_eq!(family("libtorch_cuda.so"), Some("libtorch_cuda"));
        assert_eq!(family("libcublas.so.12"), Some("libcublas"));
        assert_eq!(family("libcublasLt.so.13"), Some("libcublasLt"));
        assert_eq!(family("libcudnn_engines_precompiled.so.9"), Some("libcudnn"));
        for other in ["libtorch_cuda_linalg.so", "libtorch.so", "libcublas.a", "libnvblas.so.12"] {
            assert_eq!(family(other), None);
        }
    }
}
