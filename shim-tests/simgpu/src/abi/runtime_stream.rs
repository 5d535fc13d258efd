//! The runtime API: streams, events, capture, graphs.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use super::{put, put_if_asked};
use crate::core::graph::{self, EXECUTABLES, GRAPHS, Node};
use crate::core::{Code, Outcome, event, stream};

type Stream = *mut c_void;
type Event = *mut c_void;
type Graph = *mut c_void;
type HostFunction = extern "C" fn(*mut c_void);
type StreamCallback = extern "C" fn(Stream, c_int, *mut c_void);

const CAPTURE_NONE: c_int = 0;
const CAPTURE_ACTIVE: c_int = 1;
const CAPTURE_INVALIDATED: c_int = 2;

/// Status and number of a stream's capture.
fn capture(stream: Stream) -> Outcome<(c_int, c_ulonglong)> {
    let stream = stream::get(stream as usize)?;
    let capture = stream.capture.lock();
    Ok(match capture.as_ref() {
        None => (CAPTURE_NONE, 0),
        Some(capture) if capture.is_invalid() => (CAPTURE_INVALIDATED, capture.id),
        Some(capture) => (CAPTURE_ACTIVE, capture.id),
    })
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
        stream::get(name)?.push(Vec::new(), Box::new(move || callback(name as Stream, 0, argument as *mut c_void)));
        Ok(())
    }
    fn cudaLaunchHostFunc(handle: Stream, function: Option<HostFunction>, argument: *mut c_void) {
        host_function(handle, function, argument)
    }
    fn cudaStreamIsCapturing(handle: Stream, status: *mut c_int) { put(status, capture(handle)?.0) }
    fn cudaStreamGetCaptureInfo(handle: Stream, status: *mut c_int, id: *mut c_ulonglong) {
        let (state, number) = capture(handle)?;
        put_if_asked(id, number);
        put(status, state)
    }
    fn cudaStreamGetCaptureInfo_v2(
        handle: Stream, status: *mut c_int, id: *mut c_ulonglong, graph: *mut Graph,
        dependencies: *mut *const c_void, count: *mut usize
    ) {
        let (state, number) = capture(handle)?;
        put_if_asked(id, number);
        put_if_asked(graph, std::ptr::null_mut());
        put_if_asked(dependencies, std::ptr::null());
        put_if_asked(count, 0);
        put(status, state)
    }
    fn cudaStreamUpdateCaptureDependencies(handle: Stream, _nodes: *mut c_void, _count: usize, _flags: c_uint) {
        if capture(handle)?.0 == CAPTURE_ACTIVE { Ok(()) } else { Err(Code::INVALID_VALUE) }
    }
    fn cudaThreadExchangeStreamCaptureMode(mode: *mut c_int) { if mode.is_null() { Err(Code::INVALID_VALUE) } else { Ok(()) } }
    fn cudaStreamBeginCapture(handle: Stream, _mode: c_int) { graph::begin(&stream::get(handle as usize)?) }
    fn cudaStreamEndCapture(handle: Stream, graph: *mut Graph) {
        let captured = graph::end(&stream::get(handle as usize)?);
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
    fn cudaGraphDestroy(graph: Graph) { GRAPHS.remove(graph as usize).map(|_| ()) }
    fn cudaGraphExecDestroy(executable: Graph) { EXECUTABLES.remove(executable as usize).map(|_| ()) }
    fn cudaGraphGetNodes(graph: Graph, nodes: *mut *mut c_void, count: *mut usize) {
        let total = GRAPHS.get(graph as usize)?.nodes.len();
        if !nodes.is_null() { return Err(Code::NOT_SUPPORTED); }
        put(count, total)
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

/// `cudaLaunchHostFunc` and `cuLaunchHostFunc`.
pub fn host_function(handle: Stream, function: Option<HostFunction>, argument: *mut c_void) -> Outcome {
    let (function, argument) = (function.ok_or(Code::INVALID_VALUE)?, argument as usize);
    let stream = stream::get(handle as usize)?;
    if let Some(capture) = stream.capture.lock().as_ref() {
        return capture.record(Node::Host(function, argument));
    }
    stream.push(Vec::new(), Box::new(move || function(argument as *mut c_void)));
    Ok(())
}
