//! The runtime API: streams, events, capture, graphs.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use super::{put, put_if_asked, take};
use crate::core::capture::{self, Mode};
use crate::core::graph::{self, GRAPHS, Node};
use crate::core::{Code, Outcome, event, stream};

type Stream = *mut c_void;
type Event = *mut c_void;
type Graph = *mut c_void;
type HostFunction = extern "C" fn(*mut c_void);
type StreamCallback = extern "C" fn(Stream, c_int, *mut c_void);

/// `cudaStreamGetCaptureInfo` in all its forms: places for what is asked, null where it is not.
pub struct CaptureInfo {
    /// Whether the stream is captured.
    pub status: *mut c_int,
    /// The capture's number.
    pub id: *mut c_ulonglong,
    /// The graph in the making.
    pub graph: *mut Graph,
    /// What the next node will depend on; the list is this thread's until it asks again.
    pub dependencies: *mut *const usize,
    /// Data of those edges: none.
    pub edges: *mut *const c_void,
    /// How many there are.
    pub count: *mut usize,
}

impl Default for CaptureInfo {
    fn default() -> CaptureInfo {
        CaptureInfo {
            status: std::ptr::null_mut(),
            id: std::ptr::null_mut(),
            graph: std::ptr::null_mut(),
            dependencies: std::ptr::null_mut(),
            edges: std::ptr::null_mut(),
            count: std::ptr::null_mut(),
        }
    }
}

/// `cudaStreamCaptureStatus`.
fn capture_status(stream: Stream) -> Outcome<c_int> {
    const NONE: c_int = 0;
    const ACTIVE: c_int = 1;
    const INVALIDATED: c_int = 2;
    let stream = stream::get(stream as usize)?;
    let capture = stream.capture.lock();
    Ok(capture.as_ref().map_or(NONE, |capture| if capture.is_invalid() { INVALIDATED } else { ACTIVE }))
}

impl CaptureInfo {
    /// Answers.
    pub fn tell(self, handle: Stream) -> Outcome {
        thread_local! {
            static LISTED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
        }
        let status = capture_status(handle)?;
        let stream = stream::get(handle as usize)?;
        let capture = stream.capture.lock().clone();
        let (id, graph, nodes) = capture.map_or((0, 0, Vec::new()), |capture| {
            (capture.id, capture.graph_handle, capture.frontier_handles(&stream))
        });
        put_if_asked(self.id, id);
        put_if_asked(self.graph, graph as Graph);
        put_if_asked(self.edges, std::ptr::null());
        put_if_asked(self.count, nodes.len());
        LISTED.with_borrow_mut(|listed| {
            *listed = nodes;
            put_if_asked(self.dependencies, listed.as_ptr());
        });
        put(self.status, status)
    }
}

/// `cudaStreamUpdateCaptureDependencies`; flag 1 replaces.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // called by exported functions only, which carry the contract
pub fn update_dependencies(handle: Stream, nodes: *const usize, count: usize, flags: c_uint) -> Outcome {
    let stream = stream::get(handle as usize)?;
    let capture = stream.recording()?.ok_or(Code::INVALID_VALUE)?;
    let handles: Vec<usize> =
        (0..count).map(|index| take(nodes.wrapping_add(index))).collect::<Outcome<_>>()?;
    capture.depend_on(&stream, &handles, flags == 1)
}

/// Gives handles to a caller who asks first for their number, then for at most `count` of them.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // called by exported functions only, which carry the contract
pub fn nodes_into(handles: &[usize], nodes: *mut usize, count: *mut usize) -> Outcome {
    if nodes.is_null() {
        return put(count, handles.len());
    }
    let room = take(count)?;
    for index in 0..room {
        put(nodes.wrapping_add(index), handles.get(index).copied().unwrap_or(0))?;
    }
    put(count, room.min(handles.len()))
}

export! { runtime TABLE;
    fn cudaStreamCreate(handle: *mut Stream) { put(handle, stream::create(0, 0)? as Stream) }
    fn cudaStreamCreateWithFlags(handle: *mut Stream, flags: c_uint) { put(handle, stream::create(flags, 0)? as Stream) }
    fn cudaStreamCreateWithPriority(handle: *mut Stream, flags: c_uint, priority: c_int) {
        put(handle, stream::create(flags, priority)? as Stream)
    }
    fn cudaStreamDestroy(handle: Stream) { stream::destroy(handle as usize) }
    fn cudaStreamGetPriority(handle: Stream, priority: *mut c_int) { put(priority, stream::get(handle as usize)?.priority) }
    fn cudaStreamSynchronize(handle: Stream) { stream::get(handle as usize)?.synchronize() }
    fn cudaStreamQuery(handle: Stream) { stream::get(handle as usize)?.query() }
    fn cudaStreamWaitEvent(handle: Stream, event: Event, _flags: c_uint) {
        event::get(event as usize)?.make_wait(&stream::get(handle as usize)?)
    }
    fn cudaStreamAddCallback(handle: Stream, callback: Option<StreamCallback>, argument: *mut c_void, _flags: c_uint) {
        let (callback, argument) = (callback.ok_or(Code::INVALID_VALUE)?, argument as usize);
        let name = handle as usize;
        let stream = stream::get(name)?;
        if stream.recording()?.is_some() { return Err(stream.break_capture()); }
        stream.push(Vec::new(), Box::new(move || callback(name as Stream, 0, argument as *mut c_void)));
        Ok(())
    }
    fn cudaLaunchHostFunc(handle: Stream, function: Option<HostFunction>, argument: *mut c_void) {
        host_function(handle, function, argument)
    }
    fn cudaStreamIsCapturing(handle: Stream, status: *mut c_int) { put(status, capture_status(handle)?) }
    fn cudaThreadExchangeStreamCaptureMode(mode: *mut c_int) { exchange_mode(mode) }
    fn cudaStreamBeginCapture(handle: Stream, mode: c_int) {
        capture::begin(&stream::get(handle as usize)?, Mode::from_number(mode)?)
    }
    fn cudaStreamEndCapture(handle: Stream, graph: *mut Graph) {
        let captured = capture::end(&stream::get(handle as usize)?);
        put(graph, *captured.as_ref().unwrap_or(&0) as Graph)?;
        captured.map(|_| ())
    }
    fn cudaGraphInstantiate(executable: *mut Graph, graph: Graph, _flags: c_ulonglong) {
        put(executable, graph::instantiate(graph as usize)? as Graph)
    }
    fn cudaGraphInstantiateWithFlags(executable: *mut Graph, graph: Graph, _flags: c_ulonglong) {
        put(executable, graph::instantiate(graph as usize)? as Graph)
    }
    fn cudaGraphLaunch(executable: Graph, handle: Stream) { graph::launch(executable as usize, &stream::get(handle as usize)?) }
    fn cudaGraphUpload(executable: Graph, handle: Stream) {
        graph::check_executable(executable as usize)?;
        stream::get(handle as usize).map(|_| ())
    }
    fn cudaGraphDestroy(graph: Graph) { GRAPHS.remove(graph as usize).map(|_| ()) }
    fn cudaGraphExecDestroy(executable: Graph) { graph::destroy_executable(executable as usize) }
    fn cudaGraphGetNodes(graph: Graph, nodes: *mut usize, count: *mut usize) {
        nodes_into(&GRAPHS.get(graph as usize)?.handles(), nodes, count)
    }
    fn cudaGraphDebugDotPrint(graph: Graph, _path: *const c_char, _flags: c_uint) { GRAPHS.get(graph as usize).map(|_| ()) }

    fn cudaEventCreate(handle: *mut Event) { put(handle, event::create(0)? as Event) }
    fn cudaEventCreateWithFlags(handle: *mut Event, flags: c_uint) { put(handle, event::create(flags)? as Event) }
    fn cudaEventDestroy(handle: Event) { event::destroy(handle as usize) }
    fn cudaEventRecord(handle: Event, stream: Stream) { event::get(handle as usize)?.record(&stream::get(stream as usize)?) }
    fn cudaEventRecordWithFlags(handle: Event, stream: Stream, _flags: c_uint) {
        event::get(handle as usize)?.record(&stream::get(stream as usize)?)
    }
    fn cudaEventQuery(handle: Event) { event::get(handle as usize)?.query() }
    fn cudaEventSynchronize(handle: Event) { event::get(handle as usize)?.synchronize() }
    fn cudaEventElapsedTime(milliseconds: *mut f32, start: Event, end: Event) {
        let elapsed = event::get(end as usize)?.elapsed_ms(&*event::get(start as usize)?)?;
        put(milliseconds, elapsed)
    }
}

/// `cudaThreadExchangeStreamCaptureMode` and `cuThreadExchangeStreamCaptureMode`.
pub fn exchange_mode(mode: *mut c_int) -> Outcome {
    let wanted = Mode::from_number(take(mode.cast_const())?)?;
    put(mode, capture::exchange_thread_mode(wanted) as c_int)
}

/// `cudaLaunchHostFunc` and `cuLaunchHostFunc`.
pub fn host_function(handle: Stream, function: Option<HostFunction>, argument: *mut c_void) -> Outcome {
    let (function, argument) = (function.ok_or(Code::INVALID_VALUE)?, argument as usize);
    let stream = stream::get(handle as usize)?;
    if let Some(capture) = stream.recording()? {
        return capture.record(&stream, Node::Host(function, argument));
    }
    stream.push(Vec::new(), Box::new(move || function(argument as *mut c_void)));
    Ok(())
}
