//! Every environment variable gpucompat reads, one row each.
//!
//! What lives here: the rows ([`VARIABLES`]), the parsed [`Config`], and the one moment it is read.
//! Who calls it: anybody but the engine. It is a leaf: it imports nothing of ours and never logs; a
//! value that cannot be understood is kept as a [`Config::complaints`] line for the log to print.
//!
//! The environment is noted when the library is loaded and never looked at again, so a program that
//! changes its own environment later cannot race with us.

use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;

/// One environment variable: what it is called, what it accepts, what it does.
pub struct Variable {
    /// The name, exactly as in the environment.
    pub name: &'static str,
    /// Accepted values, in words.
    pub values: &'static str,
    /// What an unset variable means.
    pub default: &'static str,
    /// One sentence for the documentation.
    pub doc: &'static str,
}

/// All variables, in the order of the documentation (`docs/environment.md` is printed from this).
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "FORCE_GPU_COMPAT_PATCHES",
        values: "1 or 0",
        default: "unset: decide by probe",
        doc: "1 serves every supported call on the host; 0 passes every call to the native library unchanged.",
    },
    Variable {
        name: "GPU_COMPAT_MIN_SM",
        values: "a compute capability without the dot, e.g. 120",
        default: "120",
        doc: "From this compute capability on, a device is suspect: native kernels must pass a probe first.",
    },
    Variable {
        name: "GPU_COMPAT_DEBUG",
        values: "1 or 0",
        default: "0",
        doc: "1 logs every verdict with its reason and every served call to standard error.",
    },
    Variable {
        name: "GPU_COMPAT_LOG",
        values: "a file's path",
        default: "unset: no file",
        doc: "Appends what GPU_COMPAT_DEBUG=1 would print to this file (created with mode 0600, links not followed).",
    },
    Variable {
        name: "GPU_COMPAT_STATS",
        values: "1, or a file's path that ends in .json or .html",
        default: "unset: no report",
        doc: "What was served, how long it took and how much was moved: when the process ends by exit, as a table on standard \
              error, or in this file (put in its place with mode 0600, no link followed). It holds the command line. %p in the \
              file's name becomes the process's number; a process whose file another has written meanwhile adds its own.",
    },
    Variable {
        name: "GPU_COMPAT_TRACE",
        values: "a file's path",
        default: "unset: no trace",
        doc: "Writes each served call with its copies to this file (as above), as events that chrome://tracing and Perfetto \
              show, in microseconds since 1970.",
    },
    Variable {
        name: "GPU_COMPAT_QUIET",
        values: "1 or 0",
        default: "0",
        doc: "1 silences the one line that says gpucompat is active, or that it is not needed.",
    },
    Variable {
        name: "GPU_COMPAT_THREADS",
        values: "a number from 1",
        default: "OMP_NUM_THREADS, or every core the process may use",
        doc: "How many threads compute on the host.",
    },
    Variable {
        name: "GPU_COMPAT_PRODUCTS",
        values: "auto, library or cpu",
        default: "auto",
        doc: "Who multiplies matrices for PyTorch where the operator layer is attached: cuBLAS (native, or served by the \
              engine), PyTorch's CPU kernel, or the faster one, measured once a type.",
    },
    Variable {
        name: "GPU_COMPAT_CUDNN",
        values: "auto, library or cpu",
        default: "auto",
        doc: "Who computes PyTorch's convolutions, batch norms, recurrent networks and CTC where the operator layer is \
              attached: cuDNN (native, or served by the engine), PyTorch's CPU kernels, or cuDNN if it is native.",
    },
    Variable {
        name: "GPU_COMPAT_GEMM",
        values: "auto, matrixmultiply or host",
        default: "auto",
        doc: "Who multiplies matrices on the host: gpucompat's own kernels (matrixmultiply for complex numbers), \
              matrixmultiply for every type it has, or the BLAS that the process has loaded (MKL, OpenBLAS, BLIS), whose \
              results may depend on its number of threads. Thin matrices are always gpucompat's own.",
    },
    Variable {
        name: "GPU_COMPAT_ASYNC",
        values: "auto, always or never",
        default: "auto",
        doc: "Which calls of cuBLAS, cuBLASLt and cuDNN return before they are computed, and are computed in stream order, like \
              the real ones: those that move more than 256 KiB or whose stream is busy, all, or none but those that a CUDA \
              graph records, which are computed at each launch.",
    },
    Variable {
        name: "GPU_COMPAT_MEMORY",
        values: "auto, device or host",
        default: "auto",
        doc: "Where PyTorch's device memory lies where the operator layer is attached: on the device, whose bytes are copied \
              to the host and back, in host memory that both reach, so that nothing is copied, or in host memory if neither \
              cuBLAS nor cuDNN is native.",
    },
    Variable {
        name: "GPU_COMPAT_SCRATCH_MB",
        values: "a number from 1",
        default: "64",
        doc: "The most memory, MiB, that one convolution takes on the host beside its operands.",
    },
    Variable {
        name: "GPU_COMPAT_STAGING_MB",
        values: "a number; 0: none",
        default: "256",
        doc: "The most host memory, MiB, that stands by between calls for operands that are copied (page-locked) and for what is \
              computed with; calls that would be put off with more than this in all are computed at once.",
    },
];

/// What `FORCE_GPU_COMPAT_PATCHES` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// `1`: serve everything we can.
    On,
    /// `0`: pass everything through.
    Off,
    /// Unset: the policy decides.
    Unset,
}

/// What `GPU_COMPAT_STATS` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stats {
    /// `1`: a table on standard error.
    Table,
    /// A `.json` file.
    Json(OsString),
    /// A `.html` file.
    Html(OsString),
}

/// What `GPU_COMPAT_PRODUCTS` and `GPU_COMPAT_CUDNN` ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Unset or `auto`: whoever is faster.
    Auto,
    /// `library`: NVIDIA's library, native or served.
    Library,
    /// `cpu`: PyTorch's CPU kernel.
    Cpu,
}

impl Provider {
    /// The word in the environment.
    pub const fn name(self) -> &'static str {
        match self {
            Provider::Auto => "auto",
            Provider::Library => "library",
            Provider::Cpu => "cpu",
        }
    }
}

/// What `GPU_COMPAT_GEMM` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gemm {
    /// Unset or `auto`: our own kernels.
    Auto,
    /// `matrixmultiply`.
    Matrixmultiply,
    /// `host`: a BLAS that the process has loaded.
    Host,
}

/// What `GPU_COMPAT_ASYNC` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Async {
    /// Unset or `auto`: where it is useful.
    Auto,
    /// `always`.
    Always,
    /// `never`.
    Never,
}

/// What `GPU_COMPAT_MEMORY` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Unset or `auto`: host memory if nothing computes on the device.
    Auto,
    /// `device`.
    Device,
    /// `host`.
    Host,
}

/// The parsed environment.
#[derive(Debug)]
pub struct Config {
    /// `FORCE_GPU_COMPAT_PATCHES`.
    pub force: Force,
    /// `GPU_COMPAT_MIN_SM`.
    pub min_sm: u32,
    /// `GPU_COMPAT_DEBUG`.
    pub debug: bool,
    /// `GPU_COMPAT_LOG`.
    pub log_file: Option<OsString>,
    /// `GPU_COMPAT_STATS`.
    pub stats: Option<Stats>,
    /// `GPU_COMPAT_TRACE`.
    pub trace: Option<OsString>,
    /// `GPU_COMPAT_QUIET`.
    pub quiet: bool,
    /// `GPU_COMPAT_THREADS`, or what the process's own thread settings say; `None`: all cores.
    pub threads: Option<usize>,
    /// `GPU_COMPAT_PRODUCTS`.
    pub products: Provider,
    /// `GPU_COMPAT_CUDNN`.
    pub cudnn: Provider,
    /// `GPU_COMPAT_GEMM`.
    pub gemm: Gemm,
    /// `GPU_COMPAT_ASYNC`.
    pub asynchronous: Async,
    /// `GPU_COMPAT_MEMORY`.
    pub memory: Memory,
    /// `GPU_COMPAT_SCRATCH_MB`.
    pub scratch_mb: Option<u32>,
    /// `GPU_COMPAT_STAGING_MB`.
    pub staging_mb: Option<u32>,
    /// One sentence for each value that was not understood and is treated as unset.
    pub complaints: Vec<String>,
}

static CONFIG: OnceLock<Config> = OnceLock::new();

/// The configuration; read from the environment at the first call.
pub fn config() -> &'static Config {
    CONFIG.get_or_init(|| Config::parse(&|name| std::env::var_os(name)))
}

impl Config {
    /// Parses the variables that `lookup` yields.
    pub fn parse(lookup: &dyn Fn(&str) -> Option<OsString>) -> Config {
        let mut complaints = Vec::new();
        let force = match flag("FORCE_GPU_COMPAT_PATCHES", lookup, &mut complaints) {
            Some(true) => Force::On,
            Some(false) => Force::Off,
            None => Force::Unset,
        };
        Config {
            force,
            min_sm: number("GPU_COMPAT_MIN_SM", lookup, &mut complaints).unwrap_or(120),
            debug: flag("GPU_COMPAT_DEBUG", lookup, &mut complaints).unwrap_or(false),
            log_file: file("GPU_COMPAT_LOG", lookup),
            stats: stats("GPU_COMPAT_STATS", lookup, &mut complaints),
            trace: file("GPU_COMPAT_TRACE", lookup),
            quiet: flag("GPU_COMPAT_QUIET", lookup, &mut complaints).unwrap_or(false),
            threads: number("GPU_COMPAT_THREADS", lookup, &mut complaints)
                .filter(|&threads| threads > 0)
                .or_else(|| number("OMP_NUM_THREADS", lookup, &mut Vec::new()).filter(|&threads| threads > 0))
                .map(|threads| threads as usize),
            products: one_of("GPU_COMPAT_PRODUCTS", PROVIDERS, lookup, &mut complaints),
            cudnn: one_of("GPU_COMPAT_CUDNN", PROVIDERS, lookup, &mut complaints),
            gemm: one_of(
                "GPU_COMPAT_GEMM",
                &[("auto", Gemm::Auto), ("matrixmultiply", Gemm::Matrixmultiply), ("host", Gemm::Host)],
                lookup,
                &mut complaints,
            ),
            asynchronous: one_of(
                "GPU_COMPAT_ASYNC",
                &[("auto", Async::Auto), ("always", Async::Always), ("never", Async::Never)],
                lookup,
                &mut complaints,
            ),
            memory: one_of(
                "GPU_COMPAT_MEMORY",
                &[("auto", Memory::Auto), ("device", Memory::Device), ("host", Memory::Host)],
                lookup,
                &mut complaints,
            ),
            scratch_mb: number("GPU_COMPAT_SCRATCH_MB", lookup, &mut complaints)
                .filter(|&megabytes| megabytes > 0),
            staging_mb: number("GPU_COMPAT_STAGING_MB", lookup, &mut complaints),
            complaints,
        }
    }
}

fn text(name: &str, lookup: &dyn Fn(&str) -> Option<OsString>) -> Option<String> {
    lookup(name).map(|value| value.to_string_lossy().trim().to_owned()).filter(|value| !value.is_empty())
}

fn flag(name: &str, lookup: &dyn Fn(&str) -> Option<OsString>, complaints: &mut Vec<String>) -> Option<bool> {
    match text(name, lookup)?.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        other => {
            complaints.push(format!("{name}={other:?} is neither 1 nor 0 and is treated as unset"));
            None
        }
    }
}

/// A file's path, made absolute: the program may go to another folder.
fn file(name: &str, lookup: &dyn Fn(&str) -> Option<OsString>) -> Option<OsString> {
    let path = lookup(name).filter(|path| !path.is_empty())?;
    Some(std::path::absolute(&path).map_or(path, Into::into))
}

fn stats(
    name: &str,
    lookup: &dyn Fn(&str) -> Option<OsString>,
    complaints: &mut Vec<String>,
) -> Option<Stats> {
    let value = lookup(name)?;
    let ending = Path::new(&value).extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match (value.to_string_lossy().trim(), ending.as_deref()) {
        ("" | "0", _) => None,
        ("1", _) => Some(Stats::Table),
        (_, Some("json")) => file(name, lookup).map(Stats::Json),
        (_, Some("html")) => file(name, lookup).map(Stats::Html),
        (other, _) => {
            complaints.push(format!(
                "{name}={other:?} is neither 1 nor a .json or .html file and is treated as unset"
            ));
            None
        }
    }
}

const PROVIDERS: &[(&str, Provider)] = &[
    (Provider::Auto.name(), Provider::Auto),
    (Provider::Library.name(), Provider::Library),
    (Provider::Cpu.name(), Provider::Cpu),
];

/// What one of three words stands for, the first for an unset variable.
fn one_of<T: Copy>(
    name: &str,
    words: &[(&str, T)],
    lookup: &dyn Fn(&str) -> Option<OsString>,
    complaints: &mut Vec<String>,
) -> T {
    let (_, unset) = words[0];
    let Some(value) = text(name, lookup) else { return unset };
    words.iter().find(|(word, _)| *word == value).map_or_else(
        || {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            complaints
                .push(format!("{name}={value:?} is none of {} and is treated as unset", words.join(", ")));
            unset
        },
        |(_, meaning)| *meaning,
    )
}

fn number(
    name: &str,
    lookup: &dyn Fn(&str) -> Option<OsString>,
    complaints: &mut Vec<String>,
) -> Option<u32> {
    let value = text(name, lookup)?;
    if let Ok(number) = value.parse() {
        return Some(number);
    }
    complaints.push(format!("{name}={value:?} is not a number and is treated as unset"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rows: &[(&str, &str)]) -> Config {
        let rows: Vec<(String, OsString)> =
            rows.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        Config::parse(&move |name| rows.iter().find(|row| row.0 == name).map(|row| row.1.clone()))
    }

    #[test]
    fn an_empty_environment_gives_the_documented_defaults() {
        let config = parse(&[]);
        assert_eq!(config.force, Force::Unset);
        assert_eq!(config.min_sm, 120);
        assert!(!config.debug && !config.quiet);
        assert!(config.log_file.is_none() && config.threads.is_none() && config.complaints.is_empty());
    }

    #[test]
    fn force_accepts_one_and_zero_and_complains_about_the_rest() {
        assert_eq!(parse(&[("FORCE_GPU_COMPAT_PATCHES", "1")]).force, Force::On);
        assert_eq!(parse(&[("FORCE_GPU_COMPAT_PATCHES", " 0 ")]).force, Force::Off);
        let odd = parse(&[("FORCE_GPU_COMPAT_PATCHES", "yes")]);
        assert_eq!(odd.force, Force::Unset);
        assert_eq!(odd.complaints.len(), 1);
    }

    #[test]
    fn who_computes_is_one_of_three_words() {
        assert_eq!((parse(&[]).products, parse(&[]).cudnn), (Provider::Auto, Provider::Auto));
        assert_eq!(parse(&[("GPU_COMPAT_PRODUCTS", "library")]).products, Provider::Library);
        assert_eq!(parse(&[("GPU_COMPAT_CUDNN", "cpu")]).cudnn, Provider::Cpu);
        assert_eq!((parse(&[]).gemm, parse(&[("GPU_COMPAT_GEMM", "host")]).gemm), (Gemm::Auto, Gemm::Host));
        assert_eq!(
            (parse(&[]).memory, parse(&[("GPU_COMPAT_MEMORY", "device")]).memory),
            (Memory::Auto, Memory::Device)
        );
        let odd = parse(&[("GPU_COMPAT_GEMM", "mkl")]);
        assert_eq!((odd.gemm, odd.complaints.len()), (Gemm::Auto, 1));
        let odd = parse(&[("GPU_COMPAT_PRODUCTS", "gpu")]);
        assert_eq!((odd.products, odd.complaints.len()), (Provider::Auto, 1));
    }

    #[test]
    fn a_report_is_a_table_or_a_file_whose_ending_says_what() {
        assert_eq!(parse(&[]).stats, None);
        assert_eq!(parse(&[("GPU_COMPAT_STATS", "0")]).stats, None);
        assert_eq!(parse(&[("GPU_COMPAT_STATS", "1")]).stats, Some(Stats::Table));
        let here = std::env::current_dir().unwrap();
        let json = Some(Stats::Json(here.join("a b/r.JSON").into()));
        assert_eq!(parse(&[("GPU_COMPAT_STATS", "a b/r.JSON")]).stats, json);
        assert_eq!(parse(&[("GPU_COMPAT_STATS", "/r.html")]).stats, Some(Stats::Html("/r.html".into())));
        assert_eq!(parse(&[("GPU_COMPAT_TRACE", "t.json")]).trace, Some(here.join("t.json").into()));
        let odd = parse(&[("GPU_COMPAT_STATS", "yes")]);
        assert_eq!((odd.stats, odd.complaints.len()), (None, 1));
    }

    #[test]
    fn our_thread_count_wins_over_openmp() {
        assert_eq!(parse(&[("OMP_NUM_THREADS", "3")]).threads, Some(3));
        assert_eq!(parse(&[("OMP_NUM_THREADS", "3"), ("GPU_COMPAT_THREADS", "2")]).threads, Some(2));
        assert_eq!(parse(&[("OMP_NUM_THREADS", "3,2")]).threads, None);
    }

    #[test]
    fn every_variable_has_a_row_and_no_name_comes_twice() {
        let mut names: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), VARIABLES.len());
    }
}
