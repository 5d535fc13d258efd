//! The driver API: devices, contexts, modules, streams, events.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use super::runtime::{VERSION, driver_function};
use super::runtime_stream::{CaptureInfo, exchange_mode, host_function, nodes_into};
use super::{put, put_if_asked, put_text};
use crate::core::counters::LAUNCHES_REFUSED;
use crate::core::graph::GRAPHS;
use crate::core::stream::Order;
use crate::core::{Code, device, event, stream, user_object};

type Context = *mut c_void;
type Stream = *mut c_void;
type Event = *mut c_void;

export! { driver TABLE;
    fn cuInit(_flags: c_uint) { super::control::arrange_exit(); Ok(()) }
    fn cuDriverGetVersion(version: *mut c_int) { put(version, VERSION) }
    fn cuGetErrorName(code: c_int, text: *mut *const c_char) { put(text, Code(code).texts().0.as_ptr()) }
    fn cuGetErrorString(code: c_int, text: *mut *const c_char) { put(text, Code(code).texts().1.as_ptr()) }
    fn cuGetProcAddress(symbol: *const c_char, function: *mut *mut c_void, version: c_int, _flags: c_ulonglong) {
        let address = driver_function(symbol, version).ok_or(Code::NOT_FOUND)?;
        put(function, address as *mut c_void)
    }
    fn cuGetProcAddress_v2(
        symbol: *const c_char, function: *mut *mut c_void, version: c_int, _flags: c_ulonglong, status: *mut c_int
    ) {
        let address = driver_function(symbol, version);
        put_if_asked(status, c_int::from(address.is_none()));
        put(function, address.unwrap_or(0) as *mut c_void)?;
        address.map(|_| ()).ok_or(Code::NOT_FOUND)
    }
    fn cuGetExportTable(table: *mut *const c_void, _id: *const c_void) {
        put(table, std::ptr::null())?;
        Err(Code::NOT_FOUND)
    }
    fn cuDeviceGet(ordinal: *mut c_int, index: c_int) { put(ordinal, device::checked(index)?) }
    fn cuDeviceGetCount(count: *mut c_int) { put(count, device::count()) }
    fn cuDeviceGetName(buffer: *mut c_char, capacity: c_int, ordinal: c_int) {
        let _ = device::checked(ordinal)?;
        put_text(device::model().name, buffer.cast(), capacity.max(0) as usize)
    }
    fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, ordinal: c_int) {
        put(value, device::attribute(attribute, ordinal)?)
    }
    fn cuDeviceTotalMem_v2(bytes: *mut usize, ordinal: c_int) {
        let _ = device::checked(ordinal)?;
        put(bytes, (device::model().memory_mib << 20) as usize)
    }
    fn cuDeviceGetUuid(uuid: *mut [u8; 16], ordinal: c_int) {
        let mut bytes = [0; 16];
        (bytes[0], bytes[15]) = (0x51, device::checked(ordinal)? as u8);
        put(uuid, bytes)
    }
    fn cuDevicePrimaryCtxRetain(context: *mut Context, ordinal: c_int) {
        put(context, device::context_handle(device::checked(ordinal)?) as Context)
    }
    fn cuDevicePrimaryCtxRelease_v2(ordinal: c_int) { device::checked(ordinal).map(|_| ()) }
    fn cuDevicePrimaryCtxGetState(ordinal: c_int, flags: *mut c_uint, active: *mut c_int) {
        let _ = device::checked(ordinal)?;
        put_if_asked(flags, 0);
        put(active, 1)
    }
    fn cuCtxGetCurrent(context: *mut Context) {
        put(context, device::context().map_or(0, device::context_handle) as Context)
    }
    fn cuCtxSetCurrent(context: Context) { device::set_current(device::device_of_context(context as usize)?) }
    fn cuCtxPushCurrent_v2(context: Context) {
        device::push(device::device_of_context(context as usize)?);
        Ok(())
    }
    fn cuCtxPopCurrent_v2(context: *mut Context) {
        let popped = device::pop()?;
        put_if_asked(context, device::context_handle(popped) as Context);
        Ok(())
    }
    fn cuCtxGetDevice(ordinal: *mut c_int) { put(ordinal, device::context().ok_or(Code::INVALID_CONTEXT)?) }
    fn cuCtxSynchronize() { stream::synchronize_device(device::context().ok_or(Code::INVALID_CONTEXT)?) }

    fn cuModuleLoad(_module: *mut *mut c_void, _path: *const c_char) { Err(Code::NO_KERNEL_IMAGE) }
    fn cuModuleLoadData(_module: *mut *mut c_void, _image: *const c_void) { Err(Code::NO_KERNEL_IMAGE) }
    fn cuModuleLoadDataEx(
        _module: *mut *mut c_void, _image: *const c_void, _count: c_uint, _options: *mut c_int, _values: *mut *mut c_void
    ) { Err(Code::NO_KERNEL_IMAGE) }
    fn cuModuleUnload(_module: *mut c_void) { Err(Code::INVALID_HANDLE) }
    fn cuModuleGetFunction(_function: *mut *mut c_void, _module: *mut c_void, _name: *const c_char) { Err(Code::INVALID_HANDLE) }
    fn cuFuncGetAttribute(_value: *mut c_int, _attribute: c_int, _function: *mut c_void) { Err(Code::INVALID_HANDLE) }
    fn cuFuncSetAttribute(_function: *mut c_void, _attribute: c_int, _value: c_int) { Err(Code::INVALID_HANDLE) }
    fn cuFuncSetCacheConfig(_function: *mut c_void, _config: c_int) { Err(Code::INVALID_HANDLE) }
    fn cuLinkCreate_v2(_count: c_uint, _options: *mut c_int, _values: *mut *mut c_void, _state: *mut *mut c_void) { Err(Code::NOT_SUPPORTED) }
    fn cuLinkAddData_v2() { Err(Code::NOT_SUPPORTED) }
    fn cuLinkComplete() { Err(Code::NOT_SUPPORTED) }
    fn cuTensorMapEncodeTiled() { Err(Code::NOT_SUPPORTED) }
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor() { Err(Code::INVALID_HANDLE) }
    fn cuLaunchKernel() { LAUNCHES_REFUSED.add(1); Err(Code::NO_KERNEL_IMAGE) }
    fn cuLaunchCooperativeKernel() { LAUNCHES_REFUSED.add(1); Err(Code::NO_KERNEL_IMAGE) }

    fn cuStreamCreate(handle: *mut Stream, flags: c_uint) { put(handle, stream::create(flags, 0)? as Stream) }
    fn cuStreamCreateWithPriority(handle: *mut Stream, flags: c_uint, priority: c_int) {
        put(handle, stream::create(flags, priority)? as Stream)
    }
    fn cuStreamDestroy_v2(handle: Stream) { stream::destroy(handle as usize) }
    fn cuStreamSynchronize(handle: Stream) { stream::get(handle as usize)?.synchronize() }
    fn cuStreamQuery(handle: Stream) { stream::get(handle as usize)?.query() }
    fn cuStreamWaitEvent(handle: Stream, event: Event, _flags: c_uint) {
        event::get(event as usize)?.make_wait(&stream::get(handle as usize)?)
    }
    fn cuStreamIsCapturing(handle: Stream, status: *mut c_int) {
        put(status, c_int::from(stream::get(handle as usize)?.is_capturing()))
    }
    fn cuStreamGetCaptureInfo(handle: Stream, status: *mut c_int, id: *mut c_ulonglong) {
        CaptureInfo { status, id, ..CaptureInfo::default() }.tell(handle)
    }
    fn cuStreamGetCaptureInfo_v3(
        handle: Stream, status: *mut c_int, id: *mut c_ulonglong, graph: *mut *mut c_void,
        dependencies: *mut *const usize, edges: *mut *const c_void, count: *mut usize
    ) {
        CaptureInfo { status, id, graph, dependencies, edges, count }.tell(handle)
    }
    fn cuStreamGetCaptureInfo_v2(
        handle: Stream, status: *mut c_int, id: *mut c_ulonglong, graph: *mut *mut c_void,
        dependencies: *mut *const usize, count: *mut usize
    ) {
        CaptureInfo { status, id, graph, dependencies, count, ..CaptureInfo::default() }.tell(handle)
    }
    fn cuStreamGetFlags(handle: Stream, flags: *mut c_uint) {
        put(flags, c_uint::from(stream::get(handle as usize)?.ordering == Order::NonBlocking))
    }
    fn cuStreamGetCtx(handle: Stream, context: *mut Context) {
        put(context, device::context_handle(stream::get(handle as usize)?.device) as Context)
    }
    fn cuLaunchHostFunc(handle: Stream, function: Option<extern "C" fn(*mut c_void)>, argument: *mut c_void) {
        host_function(handle, function, argument)
    }
    fn cuThreadExchangeStreamCaptureMode(mode: *mut c_int) { exchange_mode(mode) }
    fn cuGraphGetNodes(graph: *mut c_void, nodes: *mut *mut c_void, count: *mut usize) {
        nodes_into(&GRAPHS.get(graph as usize)?.handles(), nodes.cast(), count)
    }
    fn cuUserObjectCreate(
        object: *mut *mut c_void, what: *mut c_void, destroy: Option<extern "C" fn(*mut c_void)>, count: c_uint, flags: c_uint
    ) {
        let destroy = destroy.ok_or(Code::INVALID_VALUE)?;
        put(object, user_object::create(what as usize, destroy, count, flags)? as *mut c_void)
    }
    fn cuUserObjectRelease(object: *mut c_void, count: c_uint) { user_object::release(object as usize, count) }
    fn cuGraphRetainUserObject(graph: *mut c_void, object: *mut c_void, count: c_uint, flags: c_uint) {
        user_object::retain(graph as usize, object as usize, count, flags)
    }
    fn cuEventCreate(handle: *mut Event, flags: c_uint) { put(handle, event::create(flags)? as Event) }
    fn cuEventDestroy_v2(handle: Event) { event::destroy(handle as usize) }
    fn cuEventRecord(handle: Event, stream: Stream) { event::get(handle as usize)?.record(&stream::get(stream as usize)?) }
    fn cuEventQuery(handle: Event) { event::get(handle as usize)?.query() }
    fn cuEventSynchronize(handle: Event) { event::get(handle as usize)?.synchronize() }
    fn cuEventElapsedTime(milliseconds: *mut f32, start: Event, end: Event) {
        let elapsed = event::get(end as usize)?.elapsed_ms(&*event::get(start as usize)?)?;
        put(milliseconds, elapsed)
    }
}
