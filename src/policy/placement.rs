//! Where PyTorch's device memory is placed: on the device, or in host memory that both sides reach.
//!
//! | situation | placed |
//! |---|---|
//! | the operator layer is not attached | on the device |
//! | `GPU_COMPAT_MEMORY=device` / `host` | on the device / in host memory |
//! | cuBLAS or cuDNN computes natively on the device | on the device, whose kernels would read over the bus |
//! | neither does | in host memory: nothing on the device would ever read it |

use std::sync::atomic::{AtomicBool, Ordering};

use super::verdict::{Mode, verdict};
use crate::config::{Memory, config};
use crate::log;
use crate::native::find::Library;
use crate::observe::summary;

static OPERATORS_ON_HOST: AtomicBool = AtomicBool::new(false);
static TOLD: AtomicBool = AtomicBool::new(false);

/// From now on PyTorch's operators run on the host.
pub fn operators_are_on_host() {
    OPERATORS_ON_HOST.store(true, Ordering::Relaxed);
}

/// Whether memory that is allocated now, on the current device, is placed in host memory.
pub fn in_host_memory() -> bool {
    if !OPERATORS_ON_HOST.load(Ordering::Relaxed) {
        return false;
    }
    let native = |library| verdict(library).mode == Mode::Native;
    let (on_host, reason) = placed(config().memory, || native(Library::Cublas), || native(Library::Cudnn));
    if !TOLD.swap(true, Ordering::Relaxed) {
        let place = if on_host { "host" } else { "device" };
        log::debug(format_args!("memory place={place} reason={reason}"));
        summary::memory(place);
    }
    on_host
}

/// Whether in host memory, and why, where PyTorch's operators run on the host.
fn placed(
    wish: Memory,
    cublas_is_native: impl FnOnce() -> bool,
    cudnn_is_native: impl FnOnce() -> bool,
) -> (bool, &'static str) {
    match wish {
        Memory::Device => (false, "GPU_COMPAT_MEMORY=device"),
        Memory::Host => (true, "GPU_COMPAT_MEMORY=host"),
        Memory::Auto if cublas_is_native() => (false, "cublas_is_native"),
        Memory::Auto if cudnn_is_native() => (false, "cudnn_is_native"),
        Memory::Auto => (true, "nothing_computes_on_the_device"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_on_a_device_that_computes_anything_unless_told_otherwise() {
        assert!(placed(Memory::Auto, || false, || false).0);
        assert!(!placed(Memory::Auto, || true, || false).0);
        assert!(!placed(Memory::Auto, || false, || true).0);
        assert!(placed(Memory::Host, || true, || true).0);
        assert!(!placed(Memory::Device, || false, || false).0);
    }
}
