//! Streams: a queue and a worker thread each, truly asynchronous, with CUDA's ordering rules.
//!
//! An operation runs after everything queued before it on its stream, and after the operations it waits
//! for: recorded events, and, for the legacy default stream, the rule that it orders itself against every
//! blocking stream of its device in both directions.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::capture::{self, Capture};
use super::counters::{STREAMS, SYNCHRONIZATIONS};
use super::handles::Handles;
use super::signal::{Claim, Signal};
use super::{Code, Outcome, device, faults};

/// The legacy default stream's other name, and the per-thread default stream's.
const LEGACY: usize = 1;
const PER_THREAD: usize = 2;

static DELAY_US: LazyLock<AtomicU64> = LazyLock::new(|| {
    let delay = std::env::var("SIMGPU_DELAY_US").ok().and_then(|value| value.parse().ok());
    AtomicU64::new(delay.unwrap_or(0))
});
static MADE: Handles<Stream> = Handles::new();
static LEGACY_STREAMS: Mutex<Option<HashMap<i32, Arc<Stream>>>> = Mutex::new(None);
/// Every stream that takes part in the legacy stream's ordering, per-thread default streams included.
static BLOCKING: Mutex<Vec<(i32, std::sync::Weak<Stream>)>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: RefCell<OwnStreams> = RefCell::default();
}

/// A thread's default streams, which end with it.
#[derive(Default)]
struct OwnStreams(HashMap<i32, Arc<Stream>>);

impl Drop for OwnStreams {
    fn drop(&mut self) {
        if !device::is_forked() {
            self.0.values().for_each(|stream| stream.close());
        }
    }
}

type Work = Box<dyn FnOnce() + Send>;

struct Operation {
    waits: Vec<Arc<Signal>>,
    work: Work,
    done: Arc<Signal>,
}

#[derive(Default)]
struct Queue {
    operations: VecDeque<Operation>,
    tail: Option<Arc<Signal>>,
    worker: bool,
    closed: bool,
}

/// How a stream relates to the legacy default stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It is the legacy default stream.
    Legacy,
    /// Ordered against it.
    Blocking,
    /// Not ordered against it.
    NonBlocking,
}

/// One stream.
pub struct Stream {
    /// Its device.
    pub device: i32,
    /// Its priority, as made.
    pub priority: i32,
    /// How it is ordered against the legacy stream.
    pub ordering: Order,
    /// The capture it takes part in.
    pub capture: Mutex<Option<Arc<Capture>>>,
    queue: Mutex<Queue>,
    arrived: Condvar,
}

/// Sets the time that every operation takes, microseconds.
pub fn set_delay_us(delay: u64) {
    DELAY_US.store(delay, Ordering::Relaxed);
}

fn delay() -> Option<Duration> {
    let delay = DELAY_US.load(Ordering::Relaxed);
    (delay > 0).then(|| Duration::from_micros(delay))
}

impl Stream {
    fn new(device: i32, priority: i32, ordering: Order) -> Arc<Stream> {
        let stream = Arc::new(Stream {
            device,
            priority,
            ordering,
            capture: Mutex::new(None),
            queue: Mutex::new(Queue::default()),
            arrived: Condvar::new(),
        });
        if ordering == Order::Blocking {
            let mut blocking = BLOCKING.lock();
            blocking.retain(|row| row.1.strong_count() > 0);
            blocking.push((device, Arc::downgrade(&stream)));
        }
        stream
    }

    /// What an operation queued now must wait for beside its predecessors.
    fn order(&self) -> Vec<Arc<Signal>> {
        let others: Vec<Arc<Stream>> = match self.ordering {
            Order::Legacy => {
                let of_device = |row: &(i32, std::sync::Weak<Stream>)| {
                    if row.0 == self.device { row.1.upgrade() } else { None }
                };
                BLOCKING.lock().iter().filter_map(of_device).collect()
            }
            Order::Blocking => LEGACY_STREAMS
                .lock()
                .as_ref()
                .and_then(|streams| streams.get(&self.device).cloned())
                .into_iter()
                .collect(),
            Order::NonBlocking => Vec::new(),
        };
        others.iter().filter_map(|stream| stream.tail()).collect()
    }

    /// The last operation's signal, if it has not happened yet.
    pub fn tail(&self) -> Option<Arc<Signal>> {
        self.queue.lock().tail.clone().filter(|tail| !tail.is_done())
    }

    /// Queues `work` after `waits`.
    pub fn push(self: &Arc<Self>, mut waits: Vec<Arc<Signal>>, work: Work) -> Arc<Signal> {
        waits.extend(self.order());
        let done = Arc::new(Signal::default());
        let mut queue = self.queue.lock();
        queue.tail = Some(done.clone());
        queue.operations.push_back(Operation { waits, work, done: done.clone() });
        if !queue.worker {
            queue.worker = true;
            let stream = self.clone();
            // A worker that cannot be made leaves the work to this thread: slower, never lost.
            let made =
                std::thread::Builder::new().name("simgpu-stream".to_owned()).spawn(move || stream.run());
            if made.is_err() {
                queue.worker = false;
                let operations = std::mem::take(&mut queue.operations);
                drop(queue);
                operations.into_iter().for_each(Operation::run);
                return done;
            }
        }
        self.arrived.notify_one();
        done
    }

    /// The right to run an operation on this thread: given if nothing is before it and no delay is set.
    /// The stream counts as busy until it is dropped.
    pub fn claim(&self) -> Option<Claim> {
        if delay().is_some() || !self.order().is_empty() {
            return None;
        }
        let mut queue = self.queue.lock();
        if queue.tail.as_ref().is_some_and(|tail| !tail.is_done()) {
            return None;
        }
        let done = Arc::new(Signal::default());
        queue.tail = Some(done.clone());
        Some(Claim(done))
    }

    /// Runs `work` on this thread where the stream can be claimed, else queues it.
    pub fn run_or_push(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) -> Arc<Signal> {
        match self.claim() {
            Some(claim) => {
                work();
                claim.0.clone()
            }
            None => self.push(Vec::new(), Box::new(work)),
        }
    }

    fn run(&self) {
        loop {
            let mut queue = self.queue.lock();
            let operation = loop {
                if let Some(operation) = queue.operations.pop_front() {
                    break operation;
                }
                if queue.closed {
                    queue.worker = false;
                    return;
                }
                self.arrived.wait(&mut queue);
            };
            drop(queue);
            operation.run();
        }
    }

    /// Waits for everything queued.
    pub fn synchronize(&self) -> Outcome {
        faults::check("sync")?;
        SYNCHRONIZATIONS.add(1);
        if self.recording()?.is_some() {
            return Err(self.break_capture());
        }
        self.order().iter().for_each(|signal| signal.wait());
        if let Some(tail) = self.tail() {
            tail.wait();
        }
        Ok(())
    }

    /// NOT_READY while work is pending.
    pub fn query(&self) -> Outcome {
        if self.recording()?.is_some() {
            return Err(self.break_capture());
        }
        if self.tail().is_none() { Ok(()) } else { Err(Code::NOT_READY) }
    }

    /// Whether operations are recorded instead of run.
    pub fn is_capturing(&self) -> bool {
        self.capture.lock().is_some()
    }

    /// The capture that an operation asked for now belongs to; an error if it is spoilt, or if the operation
    /// would depend on one (see [`capture::check_legacy_use`]).
    pub fn recording(&self) -> Outcome<Option<Arc<Capture>>> {
        if self.ordering == Order::Legacy {
            capture::check_legacy_use(self.device)?;
        }
        let capture = self.capture.lock().clone();
        match capture {
            Some(capture) if capture.is_invalid() => Err(Code::CAPTURE_INVALIDATED),
            capture => Ok(capture),
        }
    }

    /// A call that a capture cannot contain: the capture is invalid from here on.
    pub fn break_capture(&self) -> Code {
        if let Some(capture) = self.capture.lock().as_ref() {
            capture.invalidate();
        }
        Code::CAPTURE_UNSUPPORTED
    }

    fn close(&self) {
        self.queue.lock().closed = true;
        self.arrived.notify_all();
    }
}

impl Operation {
    fn run(self) {
        self.waits.iter().for_each(|signal| signal.wait());
        if let Some(delay) = delay() {
            std::thread::sleep(delay);
        }
        (self.work)();
        self.done.set();
    }
}

/// The stream that a handle names on this thread.
pub fn get(handle: usize) -> Outcome<Arc<Stream>> {
    let ordinal = device::ensure_current();
    match handle {
        0 | LEGACY => {
            let mut streams = LEGACY_STREAMS.lock();
            let make = || Stream::new(ordinal, 0, Order::Legacy);
            Ok(streams.get_or_insert_default().entry(ordinal).or_insert_with(make).clone())
        }
        PER_THREAD => {
            let make = || Stream::new(ordinal, 0, Order::Blocking);
            Ok(OWN.with_borrow_mut(|own| own.0.entry(ordinal).or_insert_with(make).clone()))
        }
        handle => MADE.get(handle),
    }
}

/// `cudaStreamCreateWithPriority`; flag 1 is non-blocking.
pub fn create(flags: u32, priority: i32) -> Outcome<usize> {
    faults::check("stream")?;
    let ordering = match flags {
        0 => Order::Blocking,
        1 => Order::NonBlocking,
        _ => return Err(Code::INVALID_VALUE),
    };
    STREAMS.add(1);
    Ok(MADE.insert(Stream::new(device::ensure_current(), priority, ordering)))
}

/// `cudaStreamDestroy`: the work that is queued still runs.
pub fn destroy(handle: usize) -> Outcome {
    let stream = MADE.remove(handle)?;
    stream.break_capture();
    stream.close();
    STREAMS.add(-1);
    Ok(())
}

fn all() -> Vec<Arc<Stream>> {
    let mut streams: Vec<Arc<Stream>> = MADE.all();
    streams.extend(BLOCKING.lock().iter().filter_map(|row| row.1.upgrade()));
    streams.extend(LEGACY_STREAMS.lock().iter().flat_map(|table| table.values().cloned()));
    streams
}

/// Waits for everything that is queued anywhere, uncounted and untouched by faults: for those who look from outside.
pub fn finish() {
    all().iter().filter_map(|stream| stream.tail()).for_each(|tail| tail.wait());
}

/// Waits for every stream of a device.
pub fn synchronize_device(ordinal: i32) -> Outcome {
    faults::check("sync")?;
    SYNCHRONIZATIONS.add(1);
    for stream in all().iter().filter(|stream| stream.device == ordinal) {
        if stream.is_capturing() {
            return Err(stream.break_capture());
        }
        if let Some(tail) = stream.tail() {
            tail.wait();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::test_lock;

    #[test]
    fn operations_of_a_stream_run_in_order_and_asynchronously() {
        let _alone = test_lock();
        let handle = create(1, 0).unwrap();
        let stream = get(handle).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Signal::default());
        for index in 0..10 {
            let seen = seen.clone();
            let waits = if index == 0 { vec![gate.clone()] } else { Vec::new() };
            stream.push(waits, Box::new(move || seen.lock().push(index)));
        }
        assert_eq!(stream.query(), Err(Code::NOT_READY));
        assert!(seen.lock().is_empty());
        gate.set();
        stream.synchronize().unwrap();
        assert_eq!(*seen.lock(), (0..10).collect::<Vec<_>>());
        destroy(handle).unwrap();
        assert!(get(handle).is_err());
    }

    #[test]
    fn the_legacy_stream_waits_for_blocking_streams_and_not_for_others() {
        let _alone = test_lock();
        let gate = Arc::new(Signal::default());
        let blocking = get(create(0, 0).unwrap()).unwrap();
        blocking.push(vec![gate.clone()], Box::new(|| {}));
        let done = get(0).unwrap().push(Vec::new(), Box::new(|| {}));
        let free = get(create(1, 0).unwrap()).unwrap();
        free.push(Vec::new(), Box::new(|| {})).wait();
        assert!(!done.is_done());
        gate.set();
        done.wait();
    }

    #[test]
    fn a_claimed_stream_keeps_others_waiting() {
        let _alone = test_lock();
        let stream = get(create(1, 0).unwrap()).unwrap();
        let claim = stream.claim().unwrap();
        assert!(stream.claim().is_none());
        assert_eq!(stream.query(), Err(Code::NOT_READY));
        drop(claim);
        assert_eq!(stream.query(), Ok(()));
    }

    #[test]
    fn a_thread_has_default_streams_of_its_own_whose_workers_end_with_it() {
        let _alone = test_lock();
        let theirs = std::thread::spawn(|| {
            let stream = get(PER_THREAD).unwrap();
            stream.push(Vec::new(), Box::new(|| {})).wait();
            Arc::downgrade(&stream)
        });
        let theirs = theirs.join().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while theirs.strong_count() > 0 && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(theirs.strong_count(), 0);
    }
}
