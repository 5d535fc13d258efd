//! The order of every intercepted call.
//!
//! 1. Made by a native library itself? Straight on.
//! 2. Every device healthy, nothing learned, none of our handles? Native, and only a failure comes back here.
//! 3. One of our handles? Served.
//! 4. Otherwise the policy's verdict: native, and served after all if that fails for want of a kernel; or
//!    served, and native after all if we have no such combination.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::time::{Duration, Instant};

use crate::boundary::panic::guard;
use crate::boundary::status::{Error, Evidence, SUCCESS, evidence};
use crate::handle::registry;
use crate::log;
use crate::native::context::Stream;
use crate::native::find::{Event, Slot};
use crate::native::inside::{calling_native, inside_native};
use crate::native::real::clear_missing_kernel_error;
use crate::observe;
use crate::policy::learn::{any_lesson, learn, learned, say_served};
use crate::policy::verdict::{Mode, Reason, Verdict, forced_off, is_suspect, native_everywhere, verdict};

/// What stands for the engine's kernel before it is known.
const LATER: &str = "later";

thread_local! {
    /// The call that this thread serves.
    static CURRENT: Cell<Line> = const { Cell::new(Line { name: "", reason: Reason::ForcedOn }) };
}

/// What the log says of a call in any case.
#[derive(Clone, Copy)]
pub struct Line {
    /// The function's name.
    pub name: &'static str,
    reason: Reason,
}

/// That of the call which this thread serves.
pub fn current_line() -> Line {
    CURRENT.get()
}

impl Line {
    /// Logs that the call has computed.
    pub fn served(&self, served: &Served, time: Duration) {
        let (name, reason, what, kernel) = (self.name, self.reason, &served.what, served.kernel);
        let (bytes_in, bytes_out) = (log::bytes(served.bytes_in), log::bytes(served.bytes_out));
        let time = time.as_secs_f64() * 1e3;
        log::debug(format_args!(
            "served fn={name} reason={reason} {what} in={bytes_in} out={bytes_out} time={time:.3}ms kernel={kernel}"
        ));
    }

    /// Warns that a call which has returned could not compute.
    pub fn failed_later(&self, error: Error) {
        log::warn_once(format_args!(
            "fn={} returned before it was computed, and then failed: {error}; its results are not-a-number, and the next call \
             returns the error. GPU_COMPAT_ASYNC=never computes each call before it returns",
            self.name
        ));
    }
}

/// What a served call did, for the log.
pub struct Served {
    /// `key=value` pairs: shapes, layout, types.
    pub what: String,
    /// Bytes fetched from the device.
    pub bytes_in: u64,
    /// Bytes written to the device.
    pub bytes_out: u64,
    /// The engine's kernel.
    pub kernel: &'static str,
}

impl Served {
    /// Ends the call for the report and the trace.
    pub fn counted(&self, open: observe::Open, name: &str) {
        observe::moved(observe::Way::In, self.bytes_in);
        observe::moved(observe::Way::Out, self.bytes_out);
        open.end(observe::Kind::Library, name, &self.what);
    }

    /// A call that had nothing to compute: a size of zero.
    pub fn nothing() -> Served {
        Served { what: "nothing_to_do".to_owned(), bytes_in: 0, bytes_out: 0, kernel: "none" }
    }

    /// A call that is computed, and logged, when its stream gets there.
    pub fn later() -> Served {
        Served { what: String::new(), bytes_in: 0, bytes_out: 0, kernel: LATER }
    }
}

/// Routes one call of a function that computes. `ours`: an object of ours is among the arguments, so the
/// real library must not see them; `types` tells apart the element types of one function, and is asked only
/// where something failed before; `native` calls
/// the real function with the caller's own arguments; `serve` computes on the host.
pub fn route(
    slot: &'static Slot,
    ours: bool,
    types: impl Fn() -> u32,
    native: impl Fn(*mut c_void) -> c_int,
    serve: impl FnOnce() -> Result<Served, Error>,
) -> c_int {
    if inside_native() {
        return straight_on(slot, native);
    }
    if native_everywhere(slot.library) && !any_lesson(slot.library) && !ours {
        let Some(real) = slot.real() else { return absent(slot) };
        let status = calling_native(|| native(real));
        if status == SUCCESS || forced_off() {
            return status;
        }
        return after_native_failure(slot, types, status, serve);
    }
    let verdict = if ours {
        Verdict::compat(Reason::OwnHandle)
    } else {
        learned(slot, &types).unwrap_or_else(|| verdict(slot.library))
    };
    match verdict.mode {
        Mode::Native => {
            let Some(real) = slot.real() else { return absent(slot) };
            let status = calling_native(|| native(real));
            if status == SUCCESS || forced_off() {
                status
            } else {
                after_native_failure(slot, types, status, serve)
            }
        }
        Mode::Compat => match serve_logged(slot, verdict.reason, serve) {
            Err(Error::NotSupported(_)) if !ours => straight_on(slot, native),
            Err(error) => error.status(slot.library),
            Ok(()) => SUCCESS,
        },
    }
}

/// A function whose answer depends on whose handle it gets, not on the policy: state and destruction.
pub fn by_owner(
    slot: &'static Slot,
    handle: *const c_void,
    native: impl Fn(*mut c_void) -> c_int,
    ours: impl FnOnce() -> Result<(), Error>,
) -> c_int {
    if inside_native() || !registry::is_ours(handle) && !registry::was_ours(handle) {
        return straight_on(slot, native);
    }
    match guard(slot.name(), ours) {
        Ok(()) => SUCCESS,
        Err(error) => {
            log::debug(format_args!("refused fn={} error={error}", slot.name()));
            error.status(slot.library)
        }
    }
}

/// The real function with the caller's own arguments; `None` where the process has none.
pub type Native<'n> = Option<&'n dyn Fn() -> c_int>;

/// What the real function answers; [`Error::NotInitialized`] where there is none.
pub fn passed_on(native: Native<'_>) -> Result<c_int, Error> {
    native.map(|call| call()).ok_or(Error::NotInitialized)
}

/// A function that manages handles itself: `manage` gets the native call, `None` where there is none.
pub fn managed(
    slot: &'static Slot,
    native: impl Fn(*mut c_void) -> c_int,
    manage: impl FnOnce(Native<'_>) -> Result<c_int, Error>,
) -> c_int {
    if inside_native() || forced_off() {
        return straight_on(slot, native);
    }
    let real = slot.real();
    let call = || real.map_or(SUCCESS, |real| calling_native(|| native(real)));
    let native_call: Native<'_> = if real.is_some() { Some(&call) } else { None };
    guard(slot.name(), || manage(native_call)).unwrap_or_else(|error| {
        log::debug(format_args!("refused fn={} error={error}", slot.name()));
        error.status(slot.library)
    })
}

/// The native function with the caller's own arguments.
fn straight_on(slot: &'static Slot, native: impl Fn(*mut c_void) -> c_int) -> c_int {
    match slot.real() {
        Some(real) => calling_native(|| native(real)),
        None => absent(slot),
    }
}

/// The status of a function that the process's native library does not have, or of a missing library.
fn absent(slot: &'static Slot) -> c_int {
    if slot.first(Event::Absent) {
        log::debug(format_args!("refused fn={} reason=absent_in_native_library", slot.name()));
    }
    Error::NotInitialized.status(slot.library)
}

/// A native call failed: if for want of a kernel, it is served, and the function and types stay with us. If that is
/// only likely, on a suspect device, this one call is served.
fn after_native_failure(
    slot: &'static Slot,
    types: impl Fn() -> u32,
    status: c_int,
    serve: impl FnOnce() -> Result<Served, Error>,
) -> c_int {
    let evidence = evidence(slot.library, status);
    if evidence == Evidence::None || forced_off() {
        return status;
    }
    let missing_kernel = clear_missing_kernel_error();
    // A sticky error (an illegal address, say) also ends in EXECUTION_FAILED; then nothing can be served.
    if !missing_kernel && !Stream(std::ptr::null_mut()).is_healthy() {
        return status;
    }
    let plain = missing_kernel || evidence == Evidence::Strong;
    if !plain && !is_suspect() {
        return status;
    }
    match serve_logged(slot, Reason::LearnedFailure(status), serve) {
        Ok(()) => {
            if plain {
                learn(slot, types(), status);
            } else {
                say_served(slot, Reason::LearnedFailure(status));
            }
            SUCCESS
        }
        // What we cannot serve either keeps the real library's own answer.
        Err(error) => {
            log::debug(format_args!("refused fn={} error={error} native_status={status}", slot.name()));
            status
        }
    }
}

fn serve_logged(
    slot: &'static Slot,
    reason: Reason,
    serve: impl FnOnce() -> Result<Served, Error>,
) -> Result<(), Error> {
    let started = Instant::now();
    let line = Line { name: slot.name(), reason };
    CURRENT.set(line);
    let open = observe::Open::begin();
    let outcome = guard(slot.name(), serve);
    if let Ok(served) = &outcome
        && served.kernel != LATER
    {
        served.counted(open, line.name);
    }
    if log::debug_enabled() {
        match &outcome {
            Ok(served) if served.kernel == LATER => {}
            Ok(served) => line.served(served, started.elapsed()),
            Err(error) => {
                log::debug(format_args!("refused fn={} reason={reason} error={error}", slot.name()));
            }
        }
    }
    outcome.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::find::Library;

    #[test]
    fn a_panic_while_serving_becomes_the_librarys_internal_error() {
        static SLOT: Slot = Slot::new(Library::Cublas, c"cublasSgemm_v2");
        let status = match serve_logged(&SLOT, Reason::ForcedOn, || panic!("engine bug")) {
            Err(error) => error.status(SLOT.library),
            Ok(()) => SUCCESS,
        };
        assert_eq!(status, 14);
    }
}
