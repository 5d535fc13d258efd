//! When the operator layer attaches, and whether.
//!
//! Once a process, at the first call of [`consider`] that finds PyTorch imported and Python's lock held by
//! this thread: PyTorch makes one during its lazy initialisation, before its first operator. The policy
//! decides; the facts come from `fallback.py`.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicBool, Ordering};

use super::copies;
use super::python::{Namespace, Python};
use crate::log;
use crate::native::kernels;
use crate::policy::verdict::{Mode, own_kernels};

/// The layer itself.
const FALLBACK: &str = include_str!("fallback.py");

/// Attaches if this is a PyTorch process whose kernels are missing; does nothing in any other.
pub fn consider() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) {
        return;
    }
    let Some(python) = Python::find().filter(Python::holds_lock) else { return };
    let Some(namespace) = python.namespace(c"_gpucompat_operators") else { return };
    // A program may ask for a device's properties before, or without, importing PyTorch.
    let imported = "(lambda torch: torch is not None and not getattr(torch.__spec__, '_initializing', False) \
                    and torch.cuda.is_available is not None)(__import__('sys').modules.get('torch'))";
    if namespace.integer(imported) != Ok(1) || DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    if let Err(error) = attach(&namespace) {
        log::warn_once(format_args!(
            "the operator layer could not attach: {error:?}; PyTorch's own operators fail as without gpucompat; please \
             report this line"
        ));
    }
}

fn attach(namespace: &Namespace<'_>) -> Result<(), String> {
    namespace.run(FALLBACK)?;
    let covered = |sm| namespace.integer(&format!("kernels_cover({sm})")) != Ok(0);
    // A kernel cannot be tried here: PyTorch holds locks of its initialisation that its launches take as well.
    let probe = || kernels::runnable("libtorch_cuda").unwrap_or(true);
    if own_kernels(covered, probe).mode == Mode::Native {
        return Ok(());
    }
    let [copy_in, copy_out, copy_within] =
        [copies::copy_in, copies::copy_out, copies::copy_within].map(|copy: Copy| copy as usize);
    let note = if log::debug_enabled() { note as extern "C" fn(*const c_char) as usize } else { 0 };
    let replaced = namespace.integer(&format!("attach({copy_in}, {copy_out}, {copy_within}, {note})"))?;
    log::debug(format_args!("attached layer=operators replaced={replaced}"));
    Ok(())
}

type Copy = extern "C" fn(u64, u64, usize, u64) -> std::ffi::c_int;

/// A line of `fallback.py`'s for the log: the first call of each operator.
extern "C" fn note(text: *const c_char) {
    if !text.is_null() {
        // SAFETY: ctypes passes the bytes of a Python object that lives until the call returns, with their end.
        let text = unsafe { CStr::from_ptr(text) };
        log::debug(format_args!("served operator={}", text.to_string_lossy()));
    }
}
