//! Stream capture: operations recorded instead of run, and graphs made of them.
//!
//! Operations are kept in the order in which they were captured, which respects every dependency; a graph
//! launch runs them in that order on one stream.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::copy::Copy2d;
use super::handles::Handles;
use super::stream::Stream;
use super::{Code, Outcome};

/// Graphs by handle.
pub static GRAPHS: Handles<Graph> = Handles::new();
/// Graphs that were instantiated.
pub static EXECUTABLES: Handles<Graph> = Handles::new();
static IDS: AtomicU64 = AtomicU64::new(1);

/// One recorded operation.
#[derive(Clone)]
pub enum Node {
    /// A copy.
    Copy(Copy2d),
    /// A fill.
    Fill(super::copy::Fill),
    /// A host function and its argument.
    Host(extern "C" fn(*mut libc::c_void), usize),
}

/// A finished recording.
pub struct Graph {
    /// Its operations in order.
    pub nodes: Vec<Node>,
}

/// A recording in progress.
pub struct Capture {
    /// Its number, as `cudaStreamGetCaptureInfo` tells it.
    pub id: u64,
    nodes: Mutex<Vec<Node>>,
    streams: Mutex<Vec<Weak<Stream>>>,
    invalid: AtomicBool,
}

impl Capture {
    /// Whether a call that cannot be captured has spoilt it.
    pub fn is_invalid(&self) -> bool {
        self.invalid.load(Ordering::Relaxed)
    }

    /// Spoils it.
    pub fn invalidate(&self) {
        self.invalid.store(true, Ordering::Relaxed);
    }

    /// Adds a stream that waits for one of its events.
    pub fn join(&self, stream: &Arc<Stream>) {
        self.streams.lock().push(Arc::downgrade(stream));
    }

    /// Records an operation.
    pub fn record(&self, node: Node) -> Outcome {
        if self.is_invalid() {
            return Err(Code::CAPTURE_INVALIDATED);
        }
        self.nodes.lock().push(node);
        Ok(())
    }
}

/// `cudaStreamBeginCapture`.
pub fn begin(stream: &Arc<Stream>) -> Outcome {
    let mut slot = stream.capture.lock();
    if slot.is_some() || stream.ordering == super::stream::Order::Legacy {
        return Err(if slot.is_some() { Code::INVALID_VALUE } else { Code::CAPTURE_UNSUPPORTED });
    }
    *slot = Some(Arc::new(Capture {
        id: IDS.fetch_add(1, Ordering::Relaxed),
        nodes: Mutex::new(Vec::new()),
        streams: Mutex::new(vec![Arc::downgrade(stream)]),
        invalid: AtomicBool::new(false),
    }));
    Ok(())
}

/// `cudaStreamEndCapture`: the graph's handle.
pub fn end(stream: &Arc<Stream>) -> Outcome<usize> {
    let capture = stream.capture.lock().take().ok_or(Code::INVALID_VALUE)?;
    for joined in capture.streams.lock().iter().filter_map(Weak::upgrade) {
        *joined.capture.lock() = None;
    }
    if capture.is_invalid() {
        return Err(Code::CAPTURE_INVALIDATED);
    }
    let nodes = std::mem::take(&mut *capture.nodes.lock());
    Ok(GRAPHS.insert(Arc::new(Graph { nodes })))
}

/// `cudaGraphInstantiate`.
pub fn instantiate(graph: usize) -> Outcome<usize> {
    let nodes = GRAPHS.get(graph)?.nodes.clone();
    Ok(EXECUTABLES.insert(Arc::new(Graph { nodes })))
}

/// `cudaGraphLaunch`.
pub fn launch(executable: usize, stream: &Arc<Stream>) -> Outcome {
    for node in EXECUTABLES.get(executable)?.nodes.clone() {
        if let Some(capture) = stream.capture.lock().as_ref() {
            capture.record(node)?;
            continue;
        }
        let work: Box<dyn FnOnce() + Send> = match node {
            Node::Copy(copy) => Box::new(move || copy.run()),
            Node::Fill(fill) => Box::new(move || fill.run()),
            Node::Host(function, argument) => Box::new(move || function(argument as *mut libc::c_void)),
        };
        stream.push(Vec::new(), work);
    }
    Ok(())
}
