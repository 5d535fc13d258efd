//! What served calls cost: for the report at the end of the process (`GPU_COMPAT_STATS`, [`summary`]) and for a trace
//! (`GPU_COMPAT_TRACE`, [`trace`]). Without either, a call costs one look at the configuration more.
//!
//! A served call is a frame on its thread's stack, since operators call library functions, and one another: what an inner
//! call takes is not counted again for the outer one. Copies are told apart from the rest where they are waited for.
//!
//! Who calls it: whoever serves, and the policy, for its verdicts. It decides nothing and imports none of them.

pub mod summary;
mod timeline;
mod trace;

use std::cell::RefCell;
use std::time::{Duration, Instant};

pub use gpucompat_report::Kind;

use crate::config::config;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// From the device.
    In,
    /// To the device.
    Out,
}

impl Copy {
    const fn name(self) -> &'static str {
        match self {
            Copy::In => "copy_in",
            Copy::Out => "copy_out",
        }
    }
}

/// A stretch of time within a call.
struct Span {
    copy: Copy,
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

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// Whether anybody asked.
pub fn is_on() -> bool {
    let config = config();
    config.stats.is_some() || config.trace.is_some()
}

/// Runs something for the innermost frame of this thread; nothing if the thread is ending, or it has none.
fn innermost(change: impl FnOnce(&mut Frame)) {
    let _ = FRAMES.try_with(|frames| {
        if let Some(frame) = frames.borrow_mut().last_mut() {
            change(frame);
        }
    });
}

/// A served call begins on this thread; [`end`] or [`discard`] follows.
pub fn begin() {
    if is_on() {
        let frame = Frame {
            started: Instant::now(),
            copies: [Duration::ZERO; 2],
            bytes: [0; 2],
            inner: Duration::ZERO,
            spans: Vec::new(),
        };
        let _ = FRAMES.try_with(|frames| frames.borrow_mut().push(frame));
    }
}

/// The call that began last on this thread is not to be counted: refused, or put off.
pub fn discard() {
    if is_on() {
        let _ = FRAMES.try_with(|frames| frames.borrow_mut().pop());
    }
}

/// The call that began last on this thread has been served; `what` are `key=value` pairs.
pub fn end(kind: Kind, name: &str, what: &str) {
    if !is_on() {
        return;
    }
    let Ok(Some(frame)) = FRAMES.try_with(|frames| frames.borrow_mut().pop()) else { return };
    let took = frame.started.elapsed();
    innermost(|outer| outer.inner += took);
    let ended = Ended { kind, name, what, took, frame };
    if config().stats.is_some() {
        summary::count(&ended);
    }
    if config().trace.is_some() {
        trace::write(&ended);
    }
}

/// Bytes that the call of this thread moves.
pub fn moved(copy: Copy, bytes: u64) {
    if is_on() {
        innermost(|frame| frame.bytes[copy as usize] += bytes);
    }
}

/// Runs what copies, or waits for copies, of this thread's call.
pub fn copying<R>(copy: Copy, run: impl FnOnce() -> R) -> R {
    if !is_on() {
        return run();
    }
    let started = Instant::now();
    let result = run();
    let took = started.elapsed();
    innermost(|frame| {
        frame.copies[copy as usize] += took;
        if config().trace.is_some() {
            frame.spans.push(Span { copy, started, took });
        }
    });
    result
}
