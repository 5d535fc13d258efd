//! Events: points in a stream that others can wait for.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Instant;

use parking_lot::Mutex;

use super::counters::SYNCHRONIZATIONS;
use super::graph::Capture;
use super::handles::Handles;
use super::stream::{Signal, Stream};
use super::{Code, Outcome, faults};

static EVENTS: Handles<Event> = Handles::new();
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One event.
pub struct Event {
    timed: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    signal: Option<Arc<Signal>>,
    /// When the recorded point was passed, seconds.
    passed: Arc<Mutex<f64>>,
    captured: Option<Arc<Capture>>,
}

/// `cudaEventCreateWithFlags`; flag 2 disables timing.
pub fn create(flags: u32) -> Outcome<usize> {
    const DISABLE_TIMING: u32 = 2;
    faults::check("event")?;
    let event = Event { timed: flags & DISABLE_TIMING == 0, state: Mutex::new(State::default()) };
    Ok(EVENTS.insert(Arc::new(event)))
}

/// The event of a handle.
pub fn get(handle: usize) -> Outcome<Arc<Event>> {
    EVENTS.get(handle)
}

/// `cudaEventDestroy`.
pub fn destroy(handle: usize) -> Outcome {
    EVENTS.remove(handle).map(|_| ())
}

impl Event {
    /// Records the stream's present end.
    pub fn record(&self, stream: &Arc<Stream>) -> Outcome {
        faults::check("event")?;
        let mut state = self.state.lock();
        state.captured.clone_from(&stream.capture.lock());
        if state.captured.is_some() {
            return Ok(());
        }
        let passed = Arc::new(Mutex::new(0.0));
        state.passed = passed.clone();
        let start = *START;
        let work = Box::new(move || *passed.lock() = start.elapsed().as_secs_f64());
        state.signal = Some(stream.push(Vec::new(), work));
        Ok(())
    }

    /// Makes later work of `stream` wait for the recorded point; in a capture, joins the stream to it.
    pub fn make_wait(&self, stream: &Arc<Stream>) -> Outcome {
        let state = self.state.lock();
        if let Some(capture) = &state.captured {
            *stream.capture.lock() = Some(capture.clone());
            capture.join(stream);
            return Ok(());
        }
        if let Some(signal) = state.signal.clone().filter(|signal| !signal.is_done()) {
            stream.push(vec![signal], Box::new(|| {}));
        }
        Ok(())
    }

    /// NOT_READY until the recorded point is passed.
    pub fn query(&self) -> Outcome {
        let state = self.state.lock();
        if state.captured.is_some() {
            return Err(Code::CAPTURE_UNSUPPORTED);
        }
        if state.signal.as_ref().is_none_or(|signal| signal.is_done()) {
            Ok(())
        } else {
            Err(Code::NOT_READY)
        }
    }

    /// Waits until the recorded point is passed.
    pub fn synchronize(&self) -> Outcome {
        faults::check("sync")?;
        SYNCHRONIZATIONS.add(1);
        let signal = self.state.lock().signal.clone();
        if let Some(signal) = signal {
            signal.wait();
        }
        Ok(())
    }

    /// Milliseconds from `start` to this event.
    pub fn elapsed_ms(&self, start: &Event) -> Outcome<f32> {
        if !self.timed || !start.timed {
            return Err(Code::INVALID_HANDLE);
        }
        start.query()?;
        self.query()?;
        let (first, last) = (start.state.lock(), self.state.lock());
        if first.signal.is_none() || last.signal.is_none() {
            return Err(Code::INVALID_HANDLE);
        }
        let milliseconds = (*last.passed.lock() - *first.passed.lock()) * 1e3;
        Ok(milliseconds as f32)
    }
}
