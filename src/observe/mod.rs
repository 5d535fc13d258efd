//! What served calls cost: for the report at the end of the process (`GPU_COMPAT_STATS`, [`summary`]) and for a trace
//! (`GPU_COMPAT_TRACE`, [`trace`]). Without either, a call costs one look at the configuration more.
//!
//! A served call is a frame on its thread's stack, since operators call library functions, and one another: what an inner
//! call takes is not counted again for the outer one. Copies are told apart from the rest where they are waited for.
//!
//! Who calls it: whoever serves, and the policy, for its verdicts. It decides nothing and imports none of them.

mod files;
mod per_process;
pub mod summary;
mod timeline;
mod trace;

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use gpucompat_report::Kind;

use crate::config::config;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the device.
    In,
    /// To the device.
    Out,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Way::In => "copy_in",
            Way::Out => "copy_out",
        }
    }
}

/// A stretch of time within a call in which it copied.
struct Span {
    way: Way,
    started: Instant,
    took: Duration,
}

/// A call that is being served.
struct Frame {
    started: Instant,
    copies: [Duration; 2],
    bytes: [u64; 2],
    /// Taken by calls within this one.
    inner: Duration,
    /// Single copies, for a trace.
    spans: Vec<Span>,
}

/// A served call that has ended.
struct Ended<'c> {
    kind: Kind,
    name: &'c str,
    /// `key=value` pairs of the log's.
    what: &'c str,
    took: Duration,
    frame: Frame,
}

impl Ended<'_> {
    /// What is neither copying nor another call's.
    fn computing(&self) -> Duration {
        let Frame { copies: [copy_in, copy_out], inner, .. } = &self.frame;
        self.took.saturating_sub(*copy_in + *copy_out + *inner)
    }
}

/// The place of a call that nobody counts.
const NOWHERE: usize = u32::MAX as usize;

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// How many have asked that nothing be counted.
static PAUSED: AtomicUsize = AtomicUsize::new(0);

/// Whether anybody asked.
pub fn is_on() -> bool {
    let config = config();
    config.stats.is_some() || config.trace.is_some()
}

/// Nothing is counted, on any thread, while `on`; calls of it come in pairs.
pub fn pause(on: bool) {
    if on {
        PAUSED.fetch_add(1, Ordering::Relaxed);
    } else {
        PAUSED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs something for this thread's stack; nothing if the thread is ending.
fn with_frames<R>(change: impl FnOnce(&mut Vec<Frame>) -> R) -> Option<R> {
    FRAMES.try_with(|frames| change(&mut frames.borrow_mut())).ok()
}

/// A served call begins on this thread; the answer is its place, for [`end`] or [`discard`].
pub fn begin() -> usize {
    if !is_on() || PAUSED.load(Ordering::Relaxed) > 0 {
        return NOWHERE;
    }
    let frame = Frame {
        started: Instant::now(),
        copies: [Duration::ZERO; 2],
        bytes: [0; 2],
        inner: Duration::ZERO,
        spans: Vec::new(),
    };
    with_frames(|frames| {
        frames.push(frame);
        frames.len() - 1
    })
    .unwrap_or(NOWHERE)
}

/// The call that began at a place is not to be counted: refused, or put off. Calls within it that nobody ended go with it.
pub fn discard(place: usize) {
    if place != NOWHERE {
        with_frames(|frames| frames.truncate(place));
    }
}

/// The call that began at a place has been served; `what` are `key=value` pairs.
pub fn end(place: usize, kind: Kind, name: &str, what: &str) {
    if place == NOWHERE {
        return;
    }
    let ended = with_frames(|frames| {
        frames.truncate(place + 1);
        let frame = (frames.len() == place + 1).then(|| frames.pop()).flatten()?;
        let took = frame.started.elapsed();
        if let Some(outer) = frames.last_mut() {
            outer.inner += took;
        }
        Some(Ended { kind, name, what, took, frame })
    });
    let Some(Some(ended)) = ended else { return };
    if config().stats.is_some() {
        summary::count(&ended);
    }
    if config().trace.is_some() {
        trace::write(&ended);
    }
}

/// A call that is not counted if it goes before [`Open::end`]: by an error or a panic.
pub struct Open(usize);

impl Open {
    /// A served call begins.
    pub fn begin() -> Open {
        Open(begin())
    }

    /// It has been served.
    pub fn end(self, kind: Kind, name: &str, what: &str) {
        end(self.0, kind, name, what);
        std::mem::forget(self);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        discard(self.0);
    }
}

/// Bytes that the call of this thread moves.
pub fn moved(way: Way, bytes: u64) {
    if is_on() {
        with_frames(|frames| frames.last_mut().map(|frame| frame.bytes[way as usize] += bytes));
    }
}

/// Runs what copies, or waits for copies, of this thread's call.
pub fn copying<R>(way: Way, run: impl FnOnce() -> R) -> R {
    if !is_on() {
        return run();
    }
    let started = Instant::now();
    let result = run();
    let took = started.elapsed();
    with_frames(|frames| {
        if let Some(frame) = frames.last_mut() {
            frame.copies[way as usize] += took;
            if config().trace.is_some() {
                frame.spans.push(Span { way, started, took });
            }
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push() -> usize {
        let zero = Duration::ZERO;
        let frame = Frame {
            started: Instant::now(),
            copies: [zero; 2],
            bytes: [0; 2],
            inner: zero,
            spans: Vec::new(),
        };
        with_frames(|frames| {
            frames.push(frame);
            frames.len() - 1
        })
        .unwrap()
    }

    fn depth() -> usize {
        with_frames(|frames| frames.len()).unwrap()
    }

    #[test]
    fn a_call_takes_those_within_it_along_that_nobody_ended() {
        let outer = push();
        push();
        push();
        discard(outer + 1);
        assert_eq!(depth(), outer + 1);
        push();
        end(outer, Kind::Operator, "aten::mm", "");
        assert_eq!(depth(), outer);
        end(outer, Kind::Operator, "aten::mm", "");
        discard(NOWHERE);
        assert_eq!(depth(), outer);
    }

    #[test]
    fn a_call_that_fails_leaves_no_frame() {
        let open = Open(push());
        drop(open);
        assert_eq!(depth(), 0);
        let failed = crate::boundary::panic::guard::<()>("test", || {
            let _open = Open(push());
            panic!("engine bug");
        });
        assert!(failed.is_err());
        assert_eq!(depth(), 0);
    }
}
