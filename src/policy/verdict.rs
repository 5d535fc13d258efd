//! Verdicts: native or host, per device and library, each with its reason.
//!
//! | situation | verdict |
//! |---|---|
//! | `FORCE_GPU_COMPAT_PATCHES=1` / `0` | compat / native |
//! | compute capability below `GPU_COMPAT_MIN_SM` | native (trusted) until a call fails for want of a kernel |
//! | at or above it (suspect) | native if the probe's result is right, else compat |
//!
//! A verdict holds for the life of the process.

use std::collections::HashMap;
use std::ffi::c_int;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::probe::{self, ProbeFailure};
use crate::config::{Force, config};
use crate::log;
use crate::native::context::Device;
use crate::native::find::{LIBRARY_COUNT, Library};
use crate::observe::summary;

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The real library, on the device.
    Native,
    /// We, on the host.
    Compat,
}

/// Why; the log, `docs/` and the tests use the words of [`fmt::Display`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `FORCE_GPU_COMPAT_PATCHES=1`.
    ForcedOn,
    /// `FORCE_GPU_COMPAT_PATCHES=0`.
    ForcedOff,
    /// The compute capability is below `GPU_COMPAT_MIN_SM`.
    TrustedSm(u32),
    /// The real library computed the probe's product correctly.
    ProbePassed,
    /// It did not.
    ProbeFailed(ProbeFailure),
    /// The device or the driver did not answer; the real library is left to report that itself.
    NoDevice,
    /// A native call of this function and type failed with this status for want of a kernel.
    LearnedFailure(c_int),
    /// The handle is one of ours: the real library could not make one.
    OwnHandle,
    /// The real library could not make a handle and answered with this status.
    NoNativeHandle(c_int),
    /// The program's own fat binaries hold nothing that runs on this compute capability.
    NoKernelImage(u32),
    /// A kernel of the program's own did not compute the right result.
    OwnKernelFailed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::ForcedOn => write!(f, "forced_on"),
            Reason::ForcedOff => write!(f, "forced_off"),
            Reason::TrustedSm(sm) => write!(f, "trusted_sm_{sm}"),
            Reason::ProbePassed => write!(f, "probe_passed"),
            Reason::ProbeFailed(failure) => write!(f, "probe_failed({failure})"),
            Reason::NoDevice => write!(f, "no_device"),
            Reason::LearnedFailure(status) => write!(f, "native_failed(status={status})"),
            Reason::OwnHandle => write!(f, "own_handle"),
            Reason::NoNativeHandle(status) => write!(f, "no_native_handle(status={status})"),
            Reason::NoKernelImage(sm) => write!(f, "no_kernel_image_for_sm_{sm}"),
            Reason::OwnKernelFailed => write!(f, "own_kernel_failed"),
        }
    }
}

/// The decision for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Who computes.
    pub mode: Mode,
    /// Why.
    pub reason: Reason,
}

impl Verdict {
    /// The host computes, for `reason`.
    pub fn compat(reason: Reason) -> Verdict {
        Verdict { mode: Mode::Compat, reason }
    }

    /// The real library computes, for `reason`.
    pub fn native(reason: Reason) -> Verdict {
        Verdict { mode: Mode::Native, reason }
    }
}

static VERDICTS: Mutex<Option<HashMap<(Library, Device), Verdict>>> = Mutex::new(None);
static NATIVE_EVERYWHERE: [AtomicBool; LIBRARY_COUNT] = [const { AtomicBool::new(false) }; LIBRARY_COUNT];

/// The fast answer of the healthy machine: every device runs `library` natively.
pub fn native_everywhere(library: Library) -> bool {
    NATIVE_EVERYWHERE[library.index()].load(Ordering::Relaxed)
}

/// Whether the current device is one whose kernels must be proven.
pub fn is_suspect() -> bool {
    Device::current().and_then(Device::sm).is_ok_and(|sm| sm >= config().min_sm)
}

/// Whether `FORCE_GPU_COMPAT_PATCHES=0` asks for byte-for-byte pass-through.
pub fn forced_off() -> bool {
    config().force == Force::Off
}

/// The verdict for `library` on the device that is current on this thread.
pub fn verdict(library: Library) -> Verdict {
    match config().force {
        Force::On => return announced(library, None, Verdict::compat(Reason::ForcedOn)),
        Force::Off => {
            NATIVE_EVERYWHERE[library.index()].store(true, Ordering::Relaxed);
            return announced(library, None, Verdict::native(Reason::ForcedOff));
        }
        Force::Unset => {}
    }
    let Ok(device) = Device::current() else { return Verdict::native(Reason::NoDevice) };
    if let Some(known) = VERDICTS.lock().as_ref().and_then(|known| known.get(&(library, device)).copied()) {
        return known;
    }
    // The probe runs without the lock (it calls the driver); two threads may both probe, and agree.
    let fresh = judge(library, device);
    if matches!(fresh.reason, Reason::ProbeFailed(ProbeFailure::Driver(_))) {
        return announced(library, Some(device), fresh); // out of memory, perhaps: asked again next time
    }
    VERDICTS.lock().get_or_insert_default().insert((library, device), fresh);
    note_whether_all_are_native(library);
    announced(library, Some(device), fresh)
}

/// From now on `library` is served on `device`, because it could not even make a handle there.
pub fn no_native_handle(library: Library, status: c_int) -> Verdict {
    let verdict = Verdict::compat(Reason::NoNativeHandle(status));
    let Ok(device) = Device::current() else { return verdict };
    let before = VERDICTS.lock().get_or_insert_default().insert((library, device), verdict);
    NATIVE_EVERYWHERE[library.index()].store(false, Ordering::Relaxed);
    if before == Some(verdict) {
        return verdict; // one more handle
    }
    announced(library, Some(device), verdict)
}

fn judge(library: Library, device: Device) -> Verdict {
    let Ok(sm) = device.sm() else { return Verdict::native(Reason::NoDevice) };
    if sm < config().min_sm {
        return Verdict::native(Reason::TrustedSm(sm));
    }
    if library == Library::CublasLt
        && let Some(probed) = probed(Library::Cublas, device)
    {
        return probed;
    }
    match probe::run(library) {
        Ok(()) => Verdict::native(Reason::ProbePassed),
        Err(failure) => Verdict::compat(Reason::ProbeFailed(failure)),
    }
}

/// What a probe that has run says.
fn probed(library: Library, device: Device) -> Option<Verdict> {
    let known = VERDICTS.lock().as_ref()?.get(&(library, device)).copied()?;
    matches!(known.reason, Reason::ProbePassed | Reason::ProbeFailed(_)).then_some(known)
}

/// The verdict for the program's own kernels (PyTorch's operators) on the current device: `covered` says
/// whether its binaries carry code for a compute capability, `probe` whether a kernel of it computes rightly.
pub fn own_kernels(covered: impl FnOnce(u32) -> bool, probe: impl FnOnce() -> bool) -> Verdict {
    let verdict = judge_own_kernels(covered, probe);
    announce(OWN_KERNELS, Device::current().ok(), verdict);
    verdict
}

fn judge_own_kernels(covered: impl FnOnce(u32) -> bool, probe: impl FnOnce() -> bool) -> Verdict {
    match config().force {
        Force::On => return Verdict::compat(Reason::ForcedOn),
        Force::Off => return Verdict::native(Reason::ForcedOff),
        Force::Unset => {}
    }
    let Ok(sm) = Device::current().and_then(Device::sm) else { return Verdict::native(Reason::NoDevice) };
    if !covered(sm) {
        Verdict::compat(Reason::NoKernelImage(sm))
    } else if sm < config().min_sm {
        Verdict::native(Reason::TrustedSm(sm))
    } else if probe() {
        Verdict::native(Reason::ProbePassed)
    } else {
        Verdict::compat(Reason::OwnKernelFailed)
    }
}

/// Sets the fast answer once every device has a native verdict; trusted devices need no visit for that.
fn note_whether_all_are_native(library: Library) {
    let Ok(count) = Device::count() else { return };
    let verdicts = VERDICTS.lock();
    let all = (0..count).map(Device).all(|device| {
        match verdicts.as_ref().and_then(|known| known.get(&(library, device))) {
            Some(verdict) => verdict.mode == Mode::Native,
            None => device.sm().is_ok_and(|sm| sm < config().min_sm),
        }
    });
    NATIVE_EVERYWHERE[library.index()].store(all, Ordering::Relaxed);
}

/// What the log calls the program's own kernels, where it names a library.
const OWN_KERNELS: &str = "operators";

/// Logs a fresh verdict for a library; a forced one, which needs no device, only once.
fn announced(library: Library, device: Option<Device>, verdict: Verdict) -> Verdict {
    static FORCED_SAID: [AtomicBool; LIBRARY_COUNT] = [const { AtomicBool::new(false) }; LIBRARY_COUNT];
    if device.is_none() && FORCED_SAID[library.index()].swap(true, Ordering::Relaxed) {
        return verdict;
    }
    announce(library.name(), device.or_else(|| Device::current().ok()), verdict);
    verdict
}

/// A device in the log's words; a device of number −1 if there is none.
pub(super) fn in_words(device: Option<Device>) -> String {
    let name = device.map(Device::name).unwrap_or_default();
    let sm = device.and_then(|device| device.sm().ok()).unwrap_or(0);
    let ordinal = device.map_or(-1, |device| device.0);
    format!("device={ordinal} name={name:?} sm={sm}")
}

/// The one "active" line: on a device, in the log's words, something (`library=…`, `fn=…`) is served.
pub(super) fn say_active(on: &str, what: &str, reason: Reason) {
    log::active_once(format_args!(
        "{on} {what} reason={reason}: computing on the host where the device cannot (GPU_COMPAT_DEBUG=1 explains, \
         GPU_COMPAT_QUIET=1 silences this line)"
    ));
}

/// One debug line for every verdict; the one "active" line at the first that is not native.
fn announce(what: &str, device: Option<Device>, verdict: Verdict) {
    log::config_complaints();
    let mode = if verdict.mode == Mode::Native { "native" } else { "compat" };
    let (reason, on) = (verdict.reason, in_words(device));
    log::debug(format_args!("verdict library={what} {on} mode={mode} reason={reason}"));
    summary::verdict(what, &on, mode, &reason.to_string());
    if verdict.mode == Mode::Compat {
        say_active(&on, &format!("library={what}"), reason);
    } else if reason == Reason::ProbePassed {
        log::idle_once(format_args!(
            "{on} library={what} reason={reason}: native kernels work here; unless an \"active\" line follows, gpucompat is \
             not needed any more (GPU_COMPAT_QUIET=1 silences this line)"
        ));
    }
}
