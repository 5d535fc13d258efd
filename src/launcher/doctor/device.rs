//! The driver and its GPUs, asked through libcuda.

use std::error::Error;
use std::ffi::{CStr, c_char, c_int, c_uint};

use libloading::Library;
use serde::Serialize;

use crate::platform::DRIVER;

const SUCCESS: c_uint = 0;
const NO_DEVICE: c_uint = 100;
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

/// The driver, and what it drives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Driver {
    /// Whether it works.
    #[serde(flatten)]
    pub state: State,
    /// Its own version, `570.86.10`, as its kernel module has it.
    pub version: Option<String>,
    /// The newest CUDA version that it supports, `12.8`.
    pub cuda: Option<String>,
    /// Its devices, in CUDA's order.
    pub gpus: Vec<Gpu>,
}

/// Whether the driver works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It answers.
    Ready,
    /// There is no libcuda.
    Missing {
        /// What the dynamic linker says.
        error: String,
    },
    /// It does not start, or does not answer.
    Failed {
        /// Which function failed and how.
        error: String,
    },
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Its number.
    pub device: u32,
    /// What the driver calls it.
    pub name: String,
    /// Its compute capability without the dot, 120 for 12.0.
    pub sm: u32,
    /// Its memory in bytes.
    pub memory: u64,
}

/// A function of the driver that failed.
struct Failure {
    function: &'static str,
    code: c_uint,
}

impl Failure {
    fn meaning(&self) -> &'static str {
        match self.code {
            3 => "not initialized",
            34 => "this libcuda is a stub for linking, not a driver",
            46 => "the device is in use or unavailable",
            802 => "the system is not ready yet, see nvidia-smi",
            803 => {
                "the driver's library and its kernel module are of different versions: reboot, or reinstall the driver"
            }
            804 => "the compatibility libraries do not support this device",
            999 => "unknown error; often the kernel module was updated without a reboot",
            _ => "see cudaError_enum in CUDA's documentation",
        }
    }
}

/// What the driver says. Without one, that is what is said.
pub fn driver() -> Driver {
    let module = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let version = module_version(&module);
    // SAFETY: opening libcuda runs its initialisers, as every CUDA program does.
    let library = match unsafe { Library::new(DRIVER) } {
        Ok(library) => library,
        Err(error) => {
            // What the dynamic linker says is the cause of the error.
            let error = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            return Driver { state: State::Missing { error }, version, cuda: None, gpus: Vec::new() };
        }
    };
    let asked = Asked { library };
    let mut cuda = None;
    match asked.gpus(&mut cuda) {
        Ok(gpus) => Driver { state: State::Ready, version, cuda, gpus },
        Err(Failure { code: NO_DEVICE, .. }) => {
            Driver { state: State::Ready, version, cuda, gpus: Vec::new() }
        }
        Err(failure) => {
            let error = format!("{} failed with {}: {}", failure.function, failure.code, failure.meaning());
            Driver { state: State::Failed { error }, version, cuda, gpus: Vec::new() }
        }
    }
}

/// The version in what the kernel module says of itself: the first word of numbers with points between them.
fn module_version(text: &str) -> Option<String> {
    let is_version = |word: &&str| {
        word.contains('.')
            && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    text.lines().next()?.split_whitespace().find(is_version).map(str::to_owned)
}

struct Asked {
    library: Library,
}

impl Asked {
    /// Calls a function; `call` gets its address, typed.
    fn call<F: Copy>(&self, name: &'static str, call: impl FnOnce(F) -> c_uint) -> Result<(), Failure> {
        // SAFETY: `F` is the type that cuda.h declares for `name`; both stand side by side in each caller below.
        let function = unsafe { self.library.get::<F>(name) };
        // A driver without the function is as good as one that does not know the call (CUDA_ERROR_NOT_FOUND).
        let code = function.map_or(500, |function| call(*function));
        if code == SUCCESS { Ok(()) } else { Err(Failure { function: name, code }) }
    }

    fn gpus(&self, cuda: &mut Option<String>) -> Result<Vec<Gpu>, Failure> {
        let mut version = 0;
        // The version is known even where the driver does not start.
        let versioned = self.call("cuDriverGetVersion", |get: unsafe extern "C" fn(*mut c_int) -> c_uint| {
            // SAFETY: the pointer is to a live integer.
            unsafe { get(&raw mut version) }
        });
        if versioned.is_ok() {
            *cuda = Some(format!("{}.{}", version / 1000, version % 1000 / 10));
        }
        self.call("cuInit", |init: unsafe extern "C" fn(c_uint) -> c_uint| {
            // SAFETY: cuInit takes flags, which must be 0.
            unsafe { init(0) }
        })?;
        let mut count = 0;
        self.call("cuDeviceGetCount", |get: unsafe extern "C" fn(*mut c_int) -> c_uint| {
            // SAFETY: the pointer is to a live integer.
            unsafe { get(&raw mut count) }
        })?;
        (0..count).map(|device| self.gpu(device)).collect()
    }

    fn gpu(&self, ordinal: c_int) -> Result<Gpu, Failure> {
        let mut device = 0;
        self.call("cuDeviceGet", |get: unsafe extern "C" fn(*mut c_int, c_int) -> c_uint| {
            // SAFETY: the pointer is to a live integer.
            unsafe { get(&raw mut device, ordinal) }
        })?;
        let mut name: [c_char; 256] = [0; 256];
        self.call("cuDeviceGetName", |get: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_uint| {
            // SAFETY: the buffer is live and one byte longer than it is said to be, so its last byte stays 0.
            unsafe { get(name.as_mut_ptr(), name.len() as c_int - 1, device) }
        })?;
        // SAFETY: the last byte is 0, see above.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
        let mut memory = 0;
        self.call("cuDeviceTotalMem_v2", |get: unsafe extern "C" fn(*mut usize, c_int) -> c_uint| {
            // SAFETY: the pointer is to a live size_t.
            unsafe { get(&raw mut memory, device) }
        })?;
        let major = self.attribute(COMPUTE_CAPABILITY_MAJOR, device)?;
        let minor = self.attribute(COMPUTE_CAPABILITY_MINOR, device)?;
        Ok(Gpu { device: ordinal as u32, name, sm: (major * 10 + minor) as u32, memory: memory as u64 })
    }

    fn attribute(&self, attribute: c_int, device: c_int) -> Result<c_int, Failure> {
        let mut value = 0;
        self.call(
            "cuDeviceGetAttribute",
            |get: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_uint| {
                // SAFETY: the pointer is to a live integer.
                unsafe { get(&raw mut value, attribute, device) }
            },
        )?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_version_is_read_from_either_kernel_module() {
        let closed =
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.10  Thu Jan 23\nGCC version: 12.2.0";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.57.08  Release Build";
        assert_eq!(module_version(closed).as_deref(), Some("570.86.10"));
        assert_eq!(module_version(open).as_deref(), Some("575.57.08"));
        assert_eq!([module_version(""), module_version("no. such .5 5.")], [None, None]);
    }
}
