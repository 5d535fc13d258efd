//! The runtime API: memory, copies, fills.

use std::ffi::{c_int, c_uint, c_void};

use cudarc::runtime::sys::cudaPointerAttributes;

use super::{put, put_if_asked};
use crate::core::copy::{Direction, Request, Wait, copy, fill};
use crate::core::memory::{self, Kind};
use crate::core::{Code, Outcome, capture, device, stream};

type Stream = *mut c_void;

/// A `cudaMemcpyKind`.
fn direction(kind: c_int) -> Outcome<Direction> {
    Ok(match kind {
        0 => Direction::HostToHost,
        1 => Direction::HostToDevice,
        2 => Direction::DeviceToHost,
        3 => Direction::DeviceToDevice,
        4 => Direction::Default,
        _ => return Err(Code::INVALID_DIRECTION),
    })
}

fn line(target: *mut c_void, source: *const c_void, bytes: usize, kind: c_int) -> Outcome<Request> {
    Ok(Request::line(target as usize, source as usize, bytes, direction(kind)?))
}

/// `cudaFree` and `cudaFreeHost`: null is fine, pending work is waited for.
fn free(address: *mut c_void, host: bool) -> Outcome {
    if address.is_null() {
        return Ok(());
    }
    capture::check_unsafe_call()?;
    let allocation = memory::find(address as usize).ok_or(Code::INVALID_VALUE)?;
    stream::synchronize_device(allocation.device)?;
    memory::free(address as usize, host)
}

export! { runtime TABLE;
    fn cudaMalloc(address: *mut *mut c_void, bytes: usize) {
        let ordinal = device::ensure_current();
        put(address, if bytes == 0 { 0 } else { memory::allocate(ordinal, bytes)? } as *mut c_void)
    }
    fn cudaFree(address: *mut c_void) { let _ = device::ensure_current(); free(address, false) }
    fn cudaMallocManaged(address: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        put(address, memory::allocate_host(bytes, Kind::Managed)? as *mut c_void)
    }
    fn cudaMallocHost(address: *mut *mut c_void, bytes: usize) {
        put(address, memory::allocate_host(bytes, Kind::Pinned)? as *mut c_void)
    }
    fn cudaHostAlloc(address: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        put(address, memory::allocate_host(bytes, Kind::Pinned)? as *mut c_void)
    }
    fn cudaFreeHost(address: *mut c_void) { free(address, true) }
    fn cudaHostRegister(address: *mut c_void, bytes: usize, _flags: c_uint) { memory::register(address as usize, bytes) }
    fn cudaHostUnregister(address: *mut c_void) { memory::unregister(address as usize) }
    fn cudaHostGetDevicePointer(device: *mut *mut c_void, host: *mut c_void, _flags: c_uint) {
        memory::find(host as usize).ok_or(Code::INVALID_VALUE)?;
        put(device, host)
    }
    fn cudaMemGetInfo(free: *mut usize, total: *mut usize) {
        let (free_bytes, total_bytes) = memory::info(device::ensure_current());
        put_if_asked(free, free_bytes);
        put(total, total_bytes)
    }
    fn cudaPointerGetAttributes(attributes: *mut cudaPointerAttributes, address: *const c_void) {
        put(attributes, pointer_attributes(address as usize))
    }
    fn cudaMemcpy(target: *mut c_void, source: *const c_void, bytes: usize, kind: c_int) {
        copy(&stream::get(0)?, line(target, source, bytes, kind)?, Wait::Yes)
    }
    fn cudaMemcpyAsync(target: *mut c_void, source: *const c_void, bytes: usize, kind: c_int, stream: Stream) {
        copy(&stream::get(stream as usize)?, line(target, source, bytes, kind)?, Wait::No)
    }
    fn cudaMemcpy2DAsync(
        target: *mut c_void, target_pitch: usize, source: *const c_void, source_pitch: usize,
        width: usize, height: usize, kind: c_int, stream: Stream
    ) {
        let (target, source) = (target as usize, source as usize);
        let request = Request { source, source_pitch, target, target_pitch, width, height, direction: direction(kind)? };
        copy(&stream::get(stream as usize)?, request, Wait::No)
    }
    fn cudaMemcpy2D(
        target: *mut c_void, target_pitch: usize, source: *const c_void, source_pitch: usize,
        width: usize, height: usize, kind: c_int
    ) {
        let (target, source) = (target as usize, source as usize);
        let request = Request { source, source_pitch, target, target_pitch, width, height, direction: direction(kind)? };
        copy(&stream::get(0)?, request, Wait::Yes)
    }
    fn cudaMemcpyPeer(
        target: *mut c_void, _target_device: c_int, source: *const c_void, _source_device: c_int, bytes: usize
    ) {
        copy(&stream::get(0)?, line(target, source, bytes, 3)?, Wait::Yes)
    }
    fn cudaMemcpyPeerAsync(
        target: *mut c_void, _target_device: c_int, source: *const c_void, _source_device: c_int, bytes: usize, stream: Stream
    ) {
        copy(&stream::get(stream as usize)?, line(target, source, bytes, 3)?, Wait::No)
    }
    // What else they take is where to prefer the memory, which has one place here; CUDA 13 has changed its form.
    fn cudaMemAdvise(address: *const c_void, _bytes: usize) { managed(address) }
    fn cudaMemPrefetchAsync(address: *const c_void, _bytes: usize) { managed(address) }
    fn cudaMemset(target: *mut c_void, value: c_int, bytes: usize) {
        fill(&stream::get(0)?, target as usize, bytes, bytes, 1, &[value as u8], Wait::Yes)
    }
    fn cudaMemsetAsync(target: *mut c_void, value: c_int, bytes: usize, stream: Stream) {
        fill(&stream::get(stream as usize)?, target as usize, bytes, bytes, 1, &[value as u8], Wait::No)
    }
}

/// INVALID_VALUE for an address that is no managed memory.
fn managed(address: *const c_void) -> Outcome {
    match memory::find(address as usize) {
        Some(allocation) if matches!(allocation.kind, Kind::Managed) => Ok(()),
        _ => Err(Code::INVALID_VALUE),
    }
}

fn pointer_attributes(address: usize) -> cudaPointerAttributes {
    use cudarc::runtime::sys::cudaMemoryType as Type;
    let pointer = address as *mut c_void;
    let null = std::ptr::null_mut();
    let Some(allocation) = memory::find(address) else {
        let type_ = Type::cudaMemoryTypeUnregistered;
        return cudaPointerAttributes { type_, device: -2, devicePointer: null, hostPointer: pointer };
    };
    let (type_, host_pointer) = match allocation.kind {
        Kind::Device(_) => (Type::cudaMemoryTypeDevice, null),
        Kind::Managed => (Type::cudaMemoryTypeManaged, pointer),
        Kind::Pinned | Kind::Registered => (Type::cudaMemoryTypeHost, pointer),
    };
    cudaPointerAttributes {
        type_,
        device: allocation.device,
        devicePointer: pointer,
        hostPointer: host_pointer,
    }
}
