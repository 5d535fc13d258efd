//! What failed native calls taught us, per device, function and element types.
//!
//! Functions that hand each other data in a format of their own (cuDNN's recurrent networks, batch normalization and
//! dropout keep a reserve space between forward and backward calls) are one *family*: they are served together.

use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use super::verdict::{Reason, Verdict, in_words, say_active};
use crate::log;
use crate::native::context::Device;
use crate::native::find::{LIBRARY_COUNT, Library, Slot};
use crate::observe::summary;

/// One function, called with one combination of element types (0 where its name says all).
type Lesson = (Device, &'static str, u32);

/// Beginnings of the names of functions that must be served together.
const FAMILIES: [&str; 3] = ["cudnnRNN", "cudnnBatchNormalization", "cudnnDropout"];

static LEARNED: [AtomicBool; LIBRARY_COUNT] = [const { AtomicBool::new(false) }; LIBRARY_COUNT];
static LESSONS: RwLock<Option<HashMap<Lesson, c_int>>> = RwLock::new(None);

/// Whether anything was learned about `library` on any device.
pub fn any_lesson(library: Library) -> bool {
    LEARNED[library.index()].load(Ordering::Acquire)
}

/// What a lesson about a function is filed under.
fn lesson(device: Device, slot: &Slot, types: u32) -> Lesson {
    match FAMILIES.into_iter().find(|family| slot.name().starts_with(family)) {
        Some(family) => (device, family, 0),
        None => (device, slot.name(), types),
    }
}

/// Remembers that `slot` failed natively with `status` for want of a kernel.
pub fn learn(slot: &'static Slot, types: u32, status: c_int) -> Verdict {
    let verdict = Verdict::compat(Reason::LearnedFailure(status));
    let Ok(device) = Device::current() else { return verdict };
    LESSONS.write().get_or_insert_default().insert(lesson(device, slot, types), status);
    LEARNED[slot.library.index()].store(true, Ordering::Release);
    let (sm, reason) = (device.sm().unwrap_or(0), verdict.reason);
    log::debug(format_args!(
        "verdict fn={} device={} sm={sm} mode=compat reason={reason}",
        slot.name(),
        device.0
    ));
    summary::verdict(slot.name(), &in_words(Some(device)), "compat", &reason.to_string());
    say_served(slot, reason);
    verdict
}

/// Says, once a process, that a call is served although its library is native.
pub fn say_served(slot: &Slot, reason: Reason) {
    say_active(&in_words(Device::current().ok()), &format!("fn={}", slot.name()), reason);
}

/// What was learned about `slot` with `types` (asked only if something was) on this thread's device.
pub fn learned(slot: &'static Slot, types: impl Fn() -> u32) -> Option<Verdict> {
    if !any_lesson(slot.library) {
        return None;
    }
    // Asked before the lock is taken: telling types apart takes locks of its own.
    let lesson = lesson(Device::current().ok()?, slot, types());
    let status = *LESSONS.read().as_ref()?.get(&lesson)?;
    Some(Verdict::compat(Reason::LearnedFailure(status)))
}
