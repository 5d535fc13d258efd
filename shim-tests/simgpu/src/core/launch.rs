//! Kernels: what compilers register, and what becomes of a launch.
//!
//! Registering remembers addresses only, of which a PyTorch process has tens of thousands; nothing is read
//! until somebody asks which kernel was refused.

use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::counters::{LAUNCHES_ACCEPTED, LAUNCHES_REFUSED};
use super::graph::Node;
use super::{Code, Outcome, stream};

/// What a launch gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// "No kernel image is available for execution on the device".
    Refuse,
    /// Success, and nothing happens: results are whatever the memory held.
    Accept,
}

static ANSWER: LazyLock<Answer> =
    LazyLock::new(|| match std::env::var("SIMGPU_KERNELS").unwrap_or_default().as_str() {
        "accept" => Answer::Accept,
        "" | "refuse" => Answer::Refuse,
        other => {
            eprintln!("simgpu: SIMGPU_KERNELS={other:?} is unknown; known: refuse accept");
            Answer::Refuse
        }
    });
static REGISTERED: Mutex<Option<Registry>> = Mutex::new(None);
/// Host address of the kernel that was refused last.
static LAST_REFUSED: AtomicUsize = AtomicUsize::new(0);

#[derive(Default)]
struct Registry {
    /// Address of a kernel's name by its host address.
    names: HashMap<usize, usize>,
    /// Host addresses of kernels by the fat binary they came with.
    kernels: HashMap<usize, Vec<usize>>,
}

/// What a launch gives in this process.
pub fn answer() -> Answer {
    *ANSWER
}

/// What a call about a kernel gives: there is no image of it, or success.
pub fn check_image() -> Outcome {
    if answer() == Answer::Accept { Ok(()) } else { Err(Code::NO_KERNEL_IMAGE) }
}

/// A launch of a kernel by its host address.
pub fn launch(kernel: usize, stream: usize) -> Outcome {
    if answer() == Answer::Refuse {
        LAUNCHES_REFUSED.add(1);
        LAST_REFUSED.store(kernel, Ordering::Relaxed);
        return Err(Code::NO_KERNEL_IMAGE);
    }
    let stream = stream::get(stream)?;
    LAUNCHES_ACCEPTED.add(1);
    match stream.recording()? {
        Some(capture) => capture.record(&stream, Node::Kernel),
        None => Ok(()),
    }
}

/// A library hands over its kernels.
pub fn register_binary(binary: usize) {
    REGISTERED.lock().get_or_insert_default().kernels.insert(binary, Vec::new());
}

/// One of its kernels is named; the name lives as long as the binary is registered.
pub fn register_kernel(binary: usize, kernel: usize, name: *const c_char) {
    let mut registered = REGISTERED.lock();
    let registry = registered.get_or_insert_default();
    registry.names.insert(kernel, name as usize);
    registry.kernels.entry(binary).or_default().push(kernel);
}

/// A library goes, and its kernels' names with it.
pub fn unregister_binary(binary: usize) {
    let mut registered = REGISTERED.lock();
    let registry = registered.get_or_insert_default();
    for kernel in registry.kernels.remove(&binary).unwrap_or_default() {
        registry.names.remove(&kernel);
    }
}

/// How many fat binaries and kernels are registered.
pub fn registered() -> (usize, usize) {
    let registered = REGISTERED.lock();
    registered.as_ref().map_or((0, 0), |registry| (registry.kernels.len(), registry.names.len()))
}

/// The mangled name of the kernel that was refused last, if it was registered.
pub fn last_refused() -> Option<String> {
    let registered = REGISTERED.lock();
    let name = *registered.as_ref()?.names.get(&LAST_REFUSED.load(Ordering::Relaxed))? as *const c_char;
    // SAFETY: registered names are C strings of a library whose binary is still registered, which the lock
    // keeps so while the text is copied.
    let text = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) })?;
    Some(text.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::test_lock;

    #[test]
    fn a_refused_launch_is_counted_and_named_while_its_library_is_there() {
        let _alone = test_lock();
        register_binary(1);
        register_kernel(1, 0x10, c"_Z3addv".as_ptr());
        let before = LAUNCHES_REFUSED.get();
        assert_eq!(launch(0x10, 0), Err(Code::NO_KERNEL_IMAGE));
        assert_eq!(LAUNCHES_REFUSED.get(), before + 1);
        assert_eq!(last_refused().as_deref(), Some("_Z3addv"));
        unregister_binary(1);
        assert_eq!(last_refused(), None);
        assert_eq!(registered(), (0, 0));
    }
}
