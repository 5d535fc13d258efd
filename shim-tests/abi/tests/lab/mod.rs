//! `Lab`: a scenario in a process of its own, set up as a user would.

#![allow(dead_code)] // each test file uses some of it

use std::process::{Command, Output};

/// How a scenario's process is set up.
pub struct Lab {
    command: Command,
}

fn built(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `scripts/test.sh abi`"))
}

impl Lab {
    /// Everything of gpucompat's environment is unset; the stand-in plays `standin`.
    pub fn with_native(standin: &str) -> Lab {
        let mut lab = Lab::without_native();
        lab.command.env("STANDIN_DIR", built("GPU_COMPAT_STANDIN")).env("STANDIN_CUBLAS", standin);
        lab
    }

    /// The stand-ins, of which cuDNN's plays `standin` and the others are healthy.
    pub fn with_cudnn(standin: &str) -> Lab {
        Lab::with_native("healthy").set("STANDIN_CUDNN", standin)
    }

    /// NVIDIA's own libcudnn, which can make no handle on the simulated GPU.
    pub fn with_real_cudnn() -> Lab {
        Lab::without_native().set("CUDNN_DIR", &built("GPU_COMPAT_CUDNN_DIR"))
    }

    /// No native library at all.
    pub fn without_native() -> Lab {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scenario"));
        for name in [
            "FORCE_GPU_COMPAT_PATCHES",
            "GPU_COMPAT_MIN_SM",
            "GPU_COMPAT_DEBUG",
            "GPU_COMPAT_LOG",
            "GPU_COMPAT_QUIET",
            "GPU_COMPAT_CUDNN",
            "LD_AUDIT",
        ] {
            command.env_remove(name);
        }
        let simulator = built("GPU_COMPAT_SIMGPU");
        command
            .env("LD_PRELOAD", format!("{} {simulator}/libcudart.so.12", built("GPU_COMPAT_SHIM")))
            .env("LD_LIBRARY_PATH", simulator);
        Lab { command }
    }

    /// A program that opens the native libraries itself and looks their functions up in them.
    pub fn looking_up(self) -> Lab {
        self.set("LOOKUP", "library")
    }

    /// Started with the audit library, as such programs have to be.
    pub fn audited(self) -> Lab {
        self.set("LD_AUDIT", &built("GPU_COMPAT_AUDIT"))
    }

    /// Sets a variable of the scenario's environment.
    pub fn set(mut self, name: &str, value: &str) -> Lab {
        self.command.env(name, value);
        self
    }

    /// Runs the scenario; its standard output and error.
    pub fn run(mut self, scenario: &str) -> (String, String) {
        let Output { status, stdout, stderr } =
            self.command.arg(scenario).output().expect("the scenario starts");
        let (stdout, stderr) =
            (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned());
        assert!(status.success(), "scenario {scenario}: {status}\n{stdout}\n{stderr}");
        (stdout, stderr)
    }
}

/// The number that a scenario printed after `key`.
pub fn number(output: &str, key: &str) -> u64 {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap_or_else(|| panic!("no {key} in {output}"));
    line.trim().parse().expect("a number")
}

/// Another seed in every run.
pub fn seed() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    (now.as_secs() * 100_000).to_string()
}
