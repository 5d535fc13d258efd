//! Stream capture: operations recorded into a graph instead of run.
//!
//! A capture begins on one stream, its origin; another stream joins by waiting for an event recorded in it,
//! and has to be joined back before the end. Each stream has a *frontier*: the nodes that its next node
//! will depend on. Calls that a capture cannot contain spoil it (900), and with it the graph (901).

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

use super::graph::{GRAPHS, Graph, Node};
use super::stream::{Order, Stream};
use super::{Code, Outcome};

static IDS: AtomicU64 = AtomicU64::new(1);
static ACTIVE: Mutex<Vec<Weak<Capture>>> = Mutex::new(Vec::new());
/// Whether `ACTIVE` may hold anything: spares every other call the lock.
static ANY: AtomicBool = AtomicBool::new(false);

thread_local! {
    static THREAD_MODE: Cell<Mode> = const { Cell::new(Mode::Global) };
}

/// `cudaStreamCaptureMode`: how much a capture forbids elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Unsafe calls are forbidden on every thread.
    Global = 0,
    /// On the capturing thread.
    ThreadLocal = 1,
    /// Nowhere.
    Relaxed = 2,
}

impl Mode {
    /// The mode of a number.
    pub fn from_number(number: i32) -> Outcome<Mode> {
        [Mode::Global, Mode::ThreadLocal, Mode::Relaxed]
            .into_iter()
            .find(|&mode| mode as i32 == number)
            .ok_or(Code::INVALID_VALUE)
    }
}

/// `cudaThreadExchangeStreamCaptureMode`: sets this thread's mode, gives the former.
pub fn exchange_thread_mode(mode: Mode) -> Mode {
    THREAD_MODE.replace(mode)
}

/// Streams are told apart by their addresses: a capture holds on to none.
fn key(stream: &Stream) -> usize {
    std::ptr::from_ref(stream) as usize
}

/// A recording in progress, or one that has ended and that an event still remembers.
pub struct Capture {
    /// Its number, as `cudaStreamGetCaptureInfo` tells it.
    pub id: u64,
    /// The handle of the graph that it makes.
    pub graph_handle: usize,
    graph: Arc<Graph>,
    mode: Mode,
    thread: ThreadId,
    origin: usize,
    streams: Mutex<Vec<Weak<Stream>>>,
    frontiers: Mutex<HashMap<usize, Vec<usize>>>,
    invalid: AtomicBool,
    ended: AtomicBool,
}

impl Capture {
    /// Whether a call that cannot be captured has spoilt it.
    pub fn is_invalid(&self) -> bool {
        self.invalid.load(Ordering::Relaxed)
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Spoils it.
    pub fn invalidate(&self) {
        self.invalid.store(true, Ordering::Relaxed);
    }

    /// The nodes that the next node of `stream` will depend on.
    pub fn frontier(&self, stream: &Stream) -> Vec<usize> {
        self.frontiers.lock().get(&key(stream)).cloned().unwrap_or_default()
    }

    /// The same as handles.
    pub fn frontier_handles(&self, stream: &Stream) -> Vec<usize> {
        self.graph.handles_of(&self.frontier(stream))
    }

    /// Records an operation of `stream`.
    pub fn record(&self, stream: &Stream, work: Node) -> Outcome {
        let mut frontiers = self.frontiers.lock();
        let frontier = frontiers.entry(key(stream)).or_default();
        let index = self.graph.add(self.graph_handle, work, frontier.clone());
        *frontier = vec![index];
        Ok(())
    }

    /// Adds nodes, by index, to what the next node of `stream` depends on; the stream joins the capture.
    pub fn join(self: &Arc<Self>, stream: &Arc<Stream>, nodes: &[usize]) {
        let mut slot = stream.capture.lock();
        if slot.is_none() {
            *slot = Some(self.clone());
            self.streams.lock().push(Arc::downgrade(stream));
        }
        let mut frontiers = self.frontiers.lock();
        let frontier = frontiers.entry(key(stream)).or_default();
        frontier.extend(nodes);
        frontier.sort_unstable();
        frontier.dedup();
    }

    /// `cudaStreamUpdateCaptureDependencies`: adds nodes, by handle, or replaces what was there.
    pub fn depend_on(&self, stream: &Stream, handles: &[usize], replace: bool) -> Outcome {
        let nodes = self.graph.indices_of(handles)?;
        let mut frontiers = self.frontiers.lock();
        let frontier = frontiers.entry(key(stream)).or_default();
        if replace {
            frontier.clear();
        }
        frontier.extend(nodes);
        frontier.sort_unstable();
        frontier.dedup();
        Ok(())
    }

    /// Whether every stream's work has been joined back to the origin.
    fn is_joined(&self) -> bool {
        let frontiers = self.frontiers.lock();
        let of_origin = frontiers.get(&self.origin).cloned().unwrap_or_default();
        let reached: HashSet<usize> = self.graph.ancestors(&of_origin);
        frontiers.values().flatten().all(|node| reached.contains(node))
    }

    /// Ends it: no stream is part of it any more.
    fn finish(&self) {
        self.ended.store(true, Ordering::Relaxed);
        // `join` locks a stream's slot first, then the list: so never the other way round.
        let streams = std::mem::take(&mut *self.streams.lock());
        for joined in streams.iter().filter_map(Weak::upgrade) {
            *joined.capture.lock() = None;
        }
    }
}

/// Captures in progress.
fn active() -> Vec<Arc<Capture>> {
    if !ANY.load(Ordering::Relaxed) {
        return Vec::new();
    }
    let mut active = ACTIVE.lock();
    active.retain(|capture| capture.upgrade().is_some_and(|capture| !capture.is_ended()));
    ANY.store(!active.is_empty(), Ordering::Relaxed);
    active.iter().filter_map(Weak::upgrade).collect()
}

/// A call that CUDA calls potentially unsafe (an allocation, the query of an event): forbidden, and spoiling
/// the capture, where the modes of the thread and of a capture say so.
pub fn check_unsafe_call() -> Outcome {
    let own = thread::current().id();
    let thread_mode = THREAD_MODE.get();
    let forbids = |capture: &Arc<Capture>| match thread_mode {
        Mode::Relaxed => false,
        Mode::ThreadLocal => capture.mode != Mode::Relaxed && capture.thread == own,
        Mode::Global => match capture.mode {
            Mode::Relaxed => false,
            Mode::ThreadLocal => capture.thread == own,
            Mode::Global => true,
        },
    };
    let forbidding: Vec<_> = active().into_iter().filter(forbids).collect();
    forbidding.iter().for_each(|capture| capture.invalidate());
    if forbidding.is_empty() { Ok(()) } else { Err(Code::CAPTURE_UNSUPPORTED) }
}

/// Work on the legacy stream would wait for a blocking stream of its device; if that one is captured, the
/// call is refused and the capture spoilt.
pub fn check_legacy_use(device: i32) -> Outcome {
    let blocking = |stream: &Weak<Stream>| {
        stream.upgrade().is_some_and(|stream| stream.ordering == Order::Blocking && stream.device == device)
    };
    let mut outcome = Ok(());
    for capture in active() {
        if capture.streams.lock().iter().any(blocking) {
            capture.invalidate();
            outcome = Err(Code::CAPTURE_IMPLICIT);
        }
    }
    outcome
}

/// `cudaStreamBeginCapture`.
pub fn begin(stream: &Arc<Stream>, mode: Mode) -> Outcome {
    if stream.ordering == Order::Legacy {
        return Err(Code::CAPTURE_UNSUPPORTED);
    }
    let mut slot = stream.capture.lock();
    if slot.is_some() {
        return Err(Code::INVALID_VALUE);
    }
    let graph = Arc::new(Graph::default());
    let capture = Arc::new(Capture {
        id: IDS.fetch_add(1, Ordering::Relaxed),
        graph_handle: GRAPHS.insert(graph.clone()),
        graph,
        mode,
        thread: thread::current().id(),
        origin: key(stream),
        streams: Mutex::new(vec![Arc::downgrade(stream)]),
        frontiers: Mutex::new(HashMap::new()),
        invalid: AtomicBool::new(false),
        ended: AtomicBool::new(false),
    });
    ACTIVE.lock().push(Arc::downgrade(&capture));
    ANY.store(true, Ordering::Relaxed);
    *slot = Some(capture);
    Ok(())
}

/// `cudaStreamEndCapture`: the graph's handle.
pub fn end(stream: &Arc<Stream>) -> Outcome<usize> {
    let capture = stream.capture.lock().clone().ok_or(Code::INVALID_VALUE)?;
    if capture.origin != key(stream) {
        capture.invalidate();
        return Err(Code::CAPTURE_UNMATCHED);
    }
    if capture.mode != Mode::Relaxed && capture.thread != thread::current().id() {
        return Err(Code::CAPTURE_WRONG_THREAD);
    }
    let fault = if capture.is_invalid() {
        Some(Code::CAPTURE_INVALIDATED)
    } else if capture.is_joined() {
        None
    } else {
        Some(Code::CAPTURE_UNJOINED)
    };
    capture.finish();
    match fault {
        None => Ok(capture.graph_handle),
        Some(code) => {
            let _ = GRAPHS.remove(capture.graph_handle);
            Err(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{event, stream, test_lock};

    fn capturing(mode: Mode) -> Arc<Stream> {
        let stream = stream::get(stream::create(1, 0).unwrap()).unwrap();
        begin(&stream, mode).unwrap();
        stream
    }

    #[test]
    fn a_forked_stream_must_be_joined_back_and_its_nodes_keep_their_dependencies() {
        let _alone = test_lock();
        for join_back in [false, true] {
            let origin = capturing(Mode::Relaxed);
            let side = stream::get(stream::create(1, 0).unwrap()).unwrap();
            let capture = origin.capture.lock().clone().unwrap();
            capture.record(&origin, Node::Kernel).unwrap();
            let fork = event::get(event::create(2).unwrap()).unwrap();
            fork.record(&origin).unwrap();
            fork.make_wait(&side).unwrap();
            capture.record(&side, Node::Kernel).unwrap();
            capture.record(&origin, Node::Kernel).unwrap();
            if join_back {
                let back = event::get(event::create(2).unwrap()).unwrap();
                back.record(&side).unwrap();
                back.make_wait(&origin).unwrap();
                assert_eq!(capture.frontier(&origin), [1, 2]);
            }
            let ended = end(&origin);
            assert_eq!(ended.is_ok(), join_back, "{ended:?}");
            assert!(!side.is_capturing() && !origin.is_capturing());
        }
    }

    #[test]
    fn an_unsafe_call_spoils_a_global_capture_unless_the_thread_is_relaxed() {
        let _alone = test_lock();
        let stream = capturing(Mode::Global);
        let former = exchange_thread_mode(Mode::Relaxed);
        assert_eq!(check_unsafe_call(), Ok(()));
        exchange_thread_mode(former);
        assert_eq!(check_unsafe_call(), Err(Code::CAPTURE_UNSUPPORTED));
        assert_eq!(end(&stream), Err(Code::CAPTURE_INVALIDATED));
        assert_eq!(check_unsafe_call(), Ok(()));
    }

    #[test]
    fn a_capture_neither_waits_for_outside_events_nor_lets_its_own_be_queried() {
        let _alone = test_lock();
        let outside = event::get(event::create(2).unwrap()).unwrap();
        outside.record(&stream::get(stream::create(1, 0).unwrap()).unwrap()).unwrap();
        let stream = capturing(Mode::Relaxed);
        assert_eq!(outside.make_wait(&stream), Err(Code::CAPTURE_ISOLATION));
        assert_eq!(end(&stream), Err(Code::CAPTURE_INVALIDATED));
        let stream = capturing(Mode::Relaxed);
        let inside = event::get(event::create(2).unwrap()).unwrap();
        inside.record(&stream).unwrap();
        assert_eq!(inside.query(), Err(Code::CAPTURED_EVENT));
        assert_eq!(end(&stream), Err(Code::CAPTURE_INVALIDATED));
    }

    #[test]
    fn the_legacy_stream_may_not_be_used_beside_a_captured_blocking_stream() {
        let _alone = test_lock();
        let stream = stream::get(stream::create(0, 0).unwrap()).unwrap();
        begin(&stream, Mode::Relaxed).unwrap();
        assert_eq!(stream::get(0).unwrap().recording().err(), Some(Code::CAPTURE_IMPLICIT));
        assert_eq!(end(&stream), Err(Code::CAPTURE_INVALIDATED));
        assert!(stream::get(0).unwrap().recording().unwrap().is_none());
    }
}
