//! When the operator layer attaches, and whether.
//!
//! Once a process, at the first call of [`consider`] that finds PyTorch imported and Python's lock held by
//! this thread: PyTorch makes one during its lazy initialisation, before its first operator. The policy
//! decides; the facts come from `fallback/`.

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::functions;
use super::python::{Namespace, Python};
use crate::config::{Provider, config};
use crate::log;
use crate::native::find::Library;
use crate::native::kernels;
use crate::observe;
use crate::platform;
use crate::policy::placement;
use crate::policy::verdict::{Mode, own_kernels, verdict};
use crate::staging::pool;

/// The layer itself: run in this order in one namespace, under these names in tracebacks.
const FALLBACK: [(&CStr, &str); 13] = [
    (c"gpucompat/staging.py", include_str!("fallback/staging.py")),
    (c"gpucompat/random.py", include_str!("fallback/random.py")),
    (c"gpucompat/survey.py", include_str!("fallback/survey.py")),
    (c"gpucompat/graphs.py", include_str!("fallback/graphs.py")),
    (c"gpucompat/replacement.py", include_str!("fallback/replacement.py")),
    (c"gpucompat/copy.py", include_str!("fallback/copy.py")),
    (c"gpucompat/equivalents.py", include_str!("fallback/equivalents.py")),
    (c"gpucompat/attention.py", include_str!("fallback/attention.py")),
    (c"gpucompat/recurrent.py", include_str!("fallback/recurrent.py")),
    (c"gpucompat/whole.py", include_str!("fallback/whole.py")),
    (c"gpucompat/compile.py", include_str!("fallback/compile.py")),
    (c"gpucompat/products.py", include_str!("fallback/products.py")),
    (c"gpucompat/layer.py", include_str!("fallback/layer.py")),
];

/// Attaches if this is a PyTorch process whose kernels are missing; does nothing in any other.
pub fn consider() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) {
        return;
    }
    let Some(python) = Python::find().filter(|python| python.holds_lock()) else { return };
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

fn attach(namespace: &Namespace) -> Result<(), String> {
    functions::define(namespace)?;
    for (file, code) in FALLBACK {
        namespace.run(file, code)?;
    }
    let covered = |sm| namespace.integer(&format!("kernels_cover({sm})")) != Ok(0);
    // A kernel cannot be tried here: PyTorch holds locks of its initialisation that its launches take as well.
    let probe = || kernels::runnable("libtorch_cuda").unwrap_or(true);
    if own_kernels(covered, probe).mode == Mode::Native {
        return Ok(());
    }
    let word = |truth| if truth { "True" } else { "False" };
    let (told, counted) = (word(log::debug_enabled()), word(observe::is_on()));
    let cudnn = match config().cudnn {
        Provider::Library => true,
        Provider::Cpu => false,
        Provider::Auto => verdict(Library::Cudnn).mode == Mode::Native,
    };
    let (cudnn, products) = (word(cudnn), config().products.name());
    let replaced = namespace.integer(&format!(
        "attach(told={told}, counted={counted}, products={products:?}, by_cudnn={cudnn})"
    ))?;
    placement::operators_are_on_host();
    // Each result is made by PyTorch's CPU kernels before it is moved: without this, of pages that the kernel has to clear.
    platform::keep_freed(config().staging_mb.map_or(pool::limit(), |megabytes| (megabytes as usize) << 20));
    log::debug(format_args!("attached layer=operators replaced={replaced}"));
    Ok(())
}
