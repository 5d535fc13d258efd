//! Events: points in a stream that others can wait for.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Instant;

use parking_lot::Mutex;

use super::capture::{self, Capture};
use super::counters::SYNCHRONIZATIONS;
use super::handles::Handles;
use super::signal::Signal;
use super::stream::{Order, Stream};
use super::{Code, Outcome, device, faults};

static EVENTS: Handles<Event> = Handles::new();
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One event.
pub struct Event {
    timed: bool,
    device: i32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    signal: Option<Arc<Signal>>,
    /// When the recorded point was passed, seconds.
    passed: Arc<Mutex<f64>>,
    /// The capture it was recorded in, and the nodes of that point.
    captured: Option<(Arc<Capture>, Vec<usize>)>,
}

/// `cudaEventCreateWithFlags`; flag 2 disables timing.
pub fn create(flags: u32) -> Outcome<usize> {
    const DISABLE_TIMING: u32 = 2;
    faults::check("event")?;
    let event = Event {
        timed: flags & DISABLE_TIMING == 0,
        device: device::ensure_current(),
        state: Mutex::new(State::default()),
    };
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
    /// Records the stream's present end; INVALID_HANDLE on another device's stream.
    pub fn record(&self, stream: &Arc<Stream>) -> Outcome {
        faults::check("event")?;
        if stream.device != self.device {
            return Err(Code::INVALID_HANDLE);
        }
        let recording = stream.recording()?;
        let mut state = self.state.lock();
        if let Some(capture) = recording {
            let frontier = capture.frontier(stream);
            state.captured = Some((capture, frontier));
            return Ok(());
        }
        state.captured = None;
        let passed = Arc::new(Mutex::new(0.0));
        state.passed = passed.clone();
        let start = *START;
        let work = move || *passed.lock() = start.elapsed().as_secs_f64();
        state.signal = Some(stream.run_or_push(work));
        Ok(())
    }

    /// Makes later work of `stream` wait for the recorded point; in a capture, joins the stream to it.
    pub fn make_wait(&self, stream: &Arc<Stream>) -> Outcome {
        let state = self.state.lock();
        let recording = stream.recording()?;
        match (&state.captured, recording) {
            (Some((capture, _)), None) if capture.is_ended() => Err(Code::CAPTURED_EVENT),
            (Some((capture, _)), None) if stream.ordering == Order::Legacy => {
                capture.invalidate();
                Err(Code::CAPTURE_IMPLICIT)
            }
            (Some((capture, _)), Some(other)) if !Arc::ptr_eq(capture, &other) => {
                capture.invalidate();
                other.invalidate();
                Err(Code::CAPTURE_MERGE)
            }
            (Some((capture, frontier)), _) => {
                capture.join(stream, frontier);
                Ok(())
            }
            (None, Some(capture)) if state.signal.is_some() => {
                capture.invalidate();
                Err(Code::CAPTURE_ISOLATION)
            }
            (None, _) => {
                if let Some(signal) = state.signal.clone().filter(|signal| !signal.is_done()) {
                    stream.push(vec![signal], Box::new(|| {}));
                }
                Ok(())
            }
        }
    }

    /// A point in a capture never passes: asking for it is an error, and spoils the capture.
    fn check_not_captured(state: &State) -> Outcome {
        let Some((capture, _)) = &state.captured else { return Ok(()) };
        capture.invalidate();
        Err(Code::CAPTURED_EVENT)
    }

    /// NOT_READY until the recorded point is passed.
    pub fn query(&self) -> Outcome {
        let state = self.state.lock();
        Event::check_not_captured(&state)?;
        capture::check_unsafe_call()?;
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
        let signal = {
            let state = self.state.lock();
            Event::check_not_captured(&state)?;
            state.signal.clone()
        };
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
        let passed = |event: &Event| {
            let state = event.state.lock();
            let seconds = *state.passed.lock();
            state.signal.as_ref().map(|_| seconds).ok_or(Code::INVALID_HANDLE)
        };
        Ok(((passed(self)? - passed(start)?) * 1e3) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{stream, test_lock};

    #[test]
    fn another_stream_waits_for_the_recorded_point() {
        let _alone = test_lock();
        let first = stream::get(stream::create(1, 0).unwrap()).unwrap();
        let second = stream::get(stream::create(1, 0).unwrap()).unwrap();
        let gate = Arc::new(Signal::default());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let seen = seen.clone();
            Box::new(move || seen.lock().push(name))
        };
        first.push(vec![gate.clone()], note("first"));
        let event = get(create(0).unwrap()).unwrap();
        event.record(&first).unwrap();
        assert_eq!(event.query(), Err(Code::NOT_READY));
        event.make_wait(&second).unwrap();
        second.push(Vec::new(), note("second"));
        gate.set();
        second.synchronize().unwrap();
        assert_eq!(*seen.lock(), ["first", "second"]);
        assert_eq!(event.query(), Ok(()));
        assert!(event.elapsed_ms(&event).unwrap().abs() < f32::EPSILON);
    }

    #[test]
    fn an_event_without_timing_or_record_has_no_time() {
        let _alone = test_lock();
        let (timed, untimed) = (get(create(0).unwrap()).unwrap(), get(create(2).unwrap()).unwrap());
        assert_eq!(timed.elapsed_ms(&timed), Err(Code::INVALID_HANDLE));
        assert_eq!(timed.elapsed_ms(&untimed), Err(Code::INVALID_HANDLE));
        assert_eq!(timed.synchronize(), Ok(()));
    }
}
