//! The Python that is asked: which one, how scripts are run in it, and what PyTorch it has.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::platform::{self, LIBRARY, PRELOAD, TemporaryFile};

/// What a script's lines of JSON begin with, so that what else is printed does not disturb.
const MARK: &str = "gpucompat-doctor: ";
const FACTS: &str = include_str!("facts.py");
const FACTS_TIMEOUT: Duration = Duration::from_mins(2);

/// Which Python, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Python {
    /// The command that was run.
    pub command: String,
    /// Why it said nothing.
    pub error: Option<String>,
    /// What it said.
    #[serde(flatten)]
    pub found: Option<Interpreter>,
}

/// What a Python says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// Its version.
    pub version: String,
    /// Where it is.
    pub executable: String,
    /// Its PyTorch.
    pub torch: Torch,
}

/// Whether there is a PyTorch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Torch {
    /// `import torch` works.
    Found(Build),
    /// There is none.
    Missing,
    /// `import torch` fails.
    Broken {
        /// How.
        error: String,
    },
}

/// A build of PyTorch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// `torch.__version__`.
    pub version: String,
    /// `torch.version.cuda`; none for a build without CUDA.
    pub cuda: Option<String>,
    /// `torch.version.hip`: a build for AMD's devices.
    pub rocm: Option<String>,
    /// cuBLAS's version, `12.4.5`.
    pub cublas: Option<String>,
    /// cuDNN's version as it numbers itself, 90100.
    pub cudnn: Option<u64>,
    /// `torch.cuda.get_arch_list()`, without needing a device.
    pub arch_list: Vec<String>,
    /// The folders of its libraries and of NVIDIA's.
    pub folders: Vec<String>,
}

impl Python {
    /// The PyTorch that was found.
    pub fn torch(&self) -> Option<&Build> {
        match &self.found.as_ref()?.torch {
            Torch::Found(build) => Some(build),
            Torch::Missing | Torch::Broken { .. } => None,
        }
    }
}

/// The Python to ask where none is named: that of the active virtual environment, else of the search path.
pub fn default_command() -> PathBuf {
    if let Some(environment) = std::env::var_os("VIRTUAL_ENV").filter(|folder| !folder.is_empty()) {
        let python = Path::new(&environment).join("bin/python");
        if python.is_file() {
            return python;
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    PathBuf::from(if !is_there("python3") && is_there("python") { "python" } else { "python3" })
}

/// Asks a Python for its PyTorch.
pub fn ask(command: &Path) -> Python {
    let said = run(command, FACTS, FACTS_TIMEOUT, &[]).map_err(|error| error.to_string()).and_then(|ended| {
        let line = ended.marked().next();
        match line.map(serde_json::from_str) {
            Some(Ok(interpreter)) => Ok(interpreter),
            Some(Err(error)) => Err(format!("its answer is not understood: {error}")),
            None => Err(ended.failure().unwrap_or_else(|| "it says nothing".to_owned())),
        }
    });
    let command = command.display().to_string();
    match said {
        Ok(found) => Python { command, error: None, found: Some(found) },
        Err(error) => Python { command, error: Some(error), found: None },
    }
}

/// How a script ended.
pub struct Ended {
    /// None for one that was ended because it took too long.
    status: Option<ExitStatus>,
    timeout: Duration,
    out: String,
    err: String,
}

impl Ended {
    /// The JSON that it said.
    pub fn marked(&self) -> impl Iterator<Item = &str> {
        self.out.lines().filter_map(|line| line.strip_prefix(MARK))
    }

    /// What went wrong, with the last words on standard error.
    pub fn failure(&self) -> Option<String> {
        let how = match self.status {
            Some(status) if status.success() => return None,
            Some(status) => platform::how_it_ended(status),
            None => format!("no end within {} seconds", self.timeout.as_secs()),
        };
        Some(match self.err.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            Some(last) => format!("{how}: {last}"),
            None => how,
        })
    }
}

/// Runs a script, with these variables set, without gpucompat unless they say otherwise.
pub fn run(
    python: &Path,
    script: &str,
    timeout: Duration,
    variables: &[(&str, OsString)],
) -> io::Result<Ended> {
    let mut command = Command::new(python);
    command.args(["-W", "ignore", "-c", script]);
    // What is wanted is the decision that gpucompat makes by itself, and nothing in the user's own logs.
    for variable in [
        "FORCE_GPU_COMPAT_PATCHES",
        "GPU_COMPAT_DEBUG",
        "GPU_COMPAT_LOG",
        "GPU_COMPAT_STATS",
        "GPU_COMPAT_TRACE",
    ] {
        command.env_remove(variable);
    }
    let preloaded = std::env::var_os(PRELOAD).unwrap_or_default();
    command.env(PRELOAD, platform::without_library(PRELOAD, LIBRARY, &preloaded));
    command.envs(variables.iter().map(|(name, value)| (OsStr::new(*name), value)));
    end(command, timeout)
}

/// Runs a command to its end, or for so long. It writes to files: a pipe that a process of its own keeps open
/// would hold us up.
fn end(mut command: Command, timeout: Duration) -> io::Result<Ended> {
    let (out, err) = (TemporaryFile::new()?, TemporaryFile::new()?);
    command.stdin(Stdio::null()).stdout(out.handle()?).stderr(err.handle()?);
    let mut child = command.spawn()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if start.elapsed() >= timeout {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    Ok(Ended { status, timeout, out: out.text(), err: err.text() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Duration) -> Ended {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        end(command, timeout).unwrap()
    }

    #[test]
    fn marked_lines_are_picked_from_whatever_else_is_printed() {
        let ended = shell("echo noise; echo 'gpucompat-doctor: {}'; echo noise", Duration::from_secs(10));
        assert_eq!(ended.marked().collect::<Vec<_>>(), ["{}"]);
        assert_eq!(ended.failure(), None);
    }

    #[test]
    fn failures_end_with_the_last_words() {
        let ended = shell("echo first >&2; echo last >&2; exit 3", Duration::from_secs(10));
        assert_eq!(ended.failure().unwrap(), "exit status 3: last");
        let ended = shell("kill -SEGV $$", Duration::from_secs(10));
        assert_eq!(ended.failure().unwrap(), "killed by signal 11 (segmentation fault)");
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        let ended = shell("exec sleep 60", Duration::from_millis(100));
        assert_eq!(ended.failure().unwrap(), "no end within 0 seconds");
    }

    #[test]
    fn a_command_that_is_not_there_is_a_finding() {
        let python = ask(Path::new("/nowhere/python"));
        assert!(python.found.is_none() && python.error.is_some());
    }
}
