//! What failed native calls taught us, per device, function and element types.

use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::atomic::Ordering;

use parking_lot::RwLock;

use super::verdict::{Reason, Verdict};
use crate::log;
use crate::native::context::Device;
use crate::native::find::Slot;

/// One function, called with one combination of element types (0 where its name says all).
type Lesson = (Device, &'static str, u32);

static LESSONS: RwLock<Option<HashMap<Lesson, c_int>>> = RwLock::new(None);

/// Remembers that `slot` failed natively with `status` for want of a kernel.
pub fn learn(slot: &'static Slot, types: u32, status: c_int) -> Verdict {
    let verdict = Verdict::compat(Reason::LearnedFailure(status));
    let Ok(device) = Device::current() else { return verdict };
    LESSONS.write().get_or_insert_default().insert((device, slot.name(), types), status);
    slot.learned.store(true, Ordering::Release);
    let sm = device.sm().unwrap_or(0);
    log::debug(format_args!(
        "verdict fn={} device={} sm={sm} mode=compat reason={}",
        slot.name(),
        device.0,
        verdict.reason
    ));
    log::active_once(format_args!(
        "device={} name={:?} sm={sm} fn={} reason={}: computing on the host where the device cannot \
         (GPU_COMPAT_DEBUG=1 explains, GPU_COMPAT_QUIET=1 silences this line)",
        device.0,
        device.name(),
        slot.name(),
        verdict.reason
    ));
    verdict
}

/// What was learned about `slot` with `types` (asked only if something was) on this thread's device.
pub fn learned(slot: &'static Slot, types: impl Fn() -> u32) -> Option<Verdict> {
    if !slot.learned.load(Ordering::Acquire) {
        return None;
    }
    let device = Device::current().ok()?;
    let status = *LESSONS.read().as_ref()?.get(&(device, slot.name(), types()))?;
    Some(Verdict::compat(Reason::LearnedFailure(status)))
}
