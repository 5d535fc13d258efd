//! The driver API: memory, copies, fills, pointer attributes.

use std::ffi::{c_int, c_uint, c_void};

use super::{put, put_if_asked, take};
use crate::core::copy::{Direction, Planes, Request, Wait, copy, copy_planes, fill};
use crate::core::memory::{self, Kind};
use crate::core::{Code, Outcome, capture, device, stream};

type Stream = *mut c_void;

fn context() -> Outcome<i32> {
    device::context().ok_or(Code::INVALID_CONTEXT)
}

fn line(
    target: usize,
    source: usize,
    bytes: usize,
    direction: Direction,
    stream: Stream,
    wait: Wait,
) -> Outcome {
    copy(&stream::get(stream as usize)?, Request::line(target, source, bytes, direction), wait)
}

const NULL: Stream = std::ptr::null_mut();

export! { driver TABLE;
    fn cuMemAlloc_v2(address: *mut u64, bytes: usize) {
        if bytes == 0 { return Err(Code::INVALID_VALUE); }
        put(address, memory::allocate(context()?, bytes)? as u64)
    }
    fn cuMemFree_v2(address: u64) {
        capture::check_unsafe_call()?;
        let allocation = memory::find(address as usize).ok_or(Code::INVALID_VALUE)?;
        stream::synchronize_device(allocation.device)?;
        memory::free(address as usize, false)
    }
    fn cuMemAllocHost_v2(address: *mut *mut c_void, bytes: usize) {
        put(address, memory::allocate_host(bytes, Kind::Pinned)? as *mut c_void)
    }
    fn cuMemHostAlloc(address: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        put(address, memory::allocate_host(bytes, Kind::Pinned)? as *mut c_void)
    }
    fn cuMemFreeHost(address: *mut c_void) {
        capture::check_unsafe_call()?;
        let allocation = memory::find(address as usize).ok_or(Code::INVALID_VALUE)?;
        stream::synchronize_device(allocation.device)?;
        memory::free(address as usize, true)
    }
    fn cuMemHostRegister_v2(address: *mut c_void, bytes: usize, _flags: c_uint) { memory::register(address as usize, bytes) }
    fn cuMemHostUnregister(address: *mut c_void) { memory::unregister(address as usize) }
    fn cuMemHostGetDevicePointer_v2(address: *mut u64, host: *mut c_void, _flags: c_uint) {
        memory::find(host as usize).ok_or(Code::INVALID_VALUE)?;
        put(address, host as u64)
    }
    fn cuMemAllocManaged(address: *mut u64, bytes: usize, _flags: c_uint) {
        put(address, memory::allocate_host(bytes, Kind::Managed)? as u64)
    }
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        let (free_bytes, total_bytes) = memory::info(context()?);
        put_if_asked(free, free_bytes);
        put(total, total_bytes)
    }
    fn cuMemGetAddressRange_v2(base: *mut u64, bytes: *mut usize, address: u64) {
        let allocation = memory::find(address as usize).ok_or(Code::NOT_FOUND)?;
        put_if_asked(base, allocation.base as u64);
        put_if_asked(bytes, allocation.bytes);
        Ok(())
    }
    fn cuPointerGetAttribute(value: *mut c_void, attribute: c_int, address: u64) {
        pointer_attribute(value, attribute, address)
    }
    fn cuPointerGetAttributes(count: c_uint, attributes: *const c_int, values: *mut *mut c_void, address: u64) {
        for index in 0..count as usize {
            let (attribute, value) = (take(attributes.wrapping_add(index))?, take(values.wrapping_add(index))?);
            // An address that CUDA does not know gives zeros here, not an error.
            if pointer_attribute(value, attribute, address).is_err() {
                put(value.cast::<u32>(), 0)?;
            }
        }
        Ok(())
    }
    fn cuMemcpyDtoH_v2(target: *mut c_void, source: u64, bytes: usize) {
        line(target as usize, source as usize, bytes, Direction::DeviceToHost, NULL, Wait::Yes)
    }
    fn cuMemcpyHtoD_v2(target: u64, source: *const c_void, bytes: usize) {
        line(target as usize, source as usize, bytes, Direction::HostToDevice, NULL, Wait::Yes)
    }
    fn cuMemcpyDtoD_v2(target: u64, source: u64, bytes: usize) {
        line(target as usize, source as usize, bytes, Direction::DeviceToDevice, NULL, Wait::No)
    }
    fn cuMemcpyDtoHAsync_v2(target: *mut c_void, source: u64, bytes: usize, stream: Stream) {
        line(target as usize, source as usize, bytes, Direction::DeviceToHost, stream, Wait::No)
    }
    fn cuMemcpyHtoDAsync_v2(target: u64, source: *const c_void, bytes: usize, stream: Stream) {
        line(target as usize, source as usize, bytes, Direction::HostToDevice, stream, Wait::No)
    }
    fn cuMemcpyDtoDAsync_v2(target: u64, source: u64, bytes: usize, stream: Stream) {
        line(target as usize, source as usize, bytes, Direction::DeviceToDevice, stream, Wait::No)
    }
    fn cuMemcpyAsync(target: u64, source: u64, bytes: usize, stream: Stream) {
        line(target as usize, source as usize, bytes, Direction::Default, stream, Wait::No)
    }
    fn cuMemcpy2D_v2(description: *const Memcpy2d) { rectangle(description, NULL, Wait::Yes) }
    fn cuMemcpy2DUnaligned_v2(description: *const Memcpy2d) { rectangle(description, NULL, Wait::Yes) }
    fn cuMemcpy2DAsync_v2(description: *const Memcpy2d, stream: Stream) { rectangle(description, stream, Wait::No) }
    fn cuMemcpy3D_v2(description: *const Memcpy3d) { box_of_planes(description, NULL, Wait::Yes) }
    fn cuMemcpy3DAsync_v2(description: *const Memcpy3d, stream: Stream) { box_of_planes(description, stream, Wait::No) }
    fn cuMemsetD8_v2(target: u64, value: u8, count: usize) {
        fill(&stream::get(0)?, target as usize, count, count, 1, &[value], Wait::Yes)
    }
    fn cuMemsetD8Async(target: u64, value: u8, count: usize, stream: Stream) {
        fill(&stream::get(stream as usize)?, target as usize, count, count, 1, &[value], Wait::No)
    }
    fn cuMemsetD32Async(target: u64, value: c_uint, count: usize, stream: Stream) {
        let bytes = count.checked_mul(4).ok_or(Code::INVALID_VALUE)?;
        fill(&stream::get(stream as usize)?, target as usize, bytes, bytes, 1, &value.to_le_bytes(), Wait::No)
    }
}

/// One side of a `CUDA_MEMCPY2D`, whose memory type comes from a caller and so is a number here.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Side2d {
    x: usize,
    y: usize,
    memory_type: c_uint,
    host: usize,
    device: usize,
    array: usize,
    pitch: usize,
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memcpy2d {
    source: Side2d,
    target: Side2d,
    width: usize,
    height: usize,
}

/// One side of a `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Side3d {
    x: usize,
    y: usize,
    z: usize,
    lod: usize,
    memory_type: c_uint,
    host: usize,
    device: usize,
    array: usize,
    reserved: usize,
    pitch: usize,
    height: usize,
}

/// `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memcpy3d {
    source: Side3d,
    target: Side3d,
    width: usize,
    height: usize,
    depth: usize,
}

/// The address of a memory type: host 1, device 2, unified 4; arrays (3) are not modelled.
fn base(memory_type: c_uint, host: usize, device: usize) -> Outcome<usize> {
    match memory_type {
        1 => Ok(host),
        2 | 4 => Ok(device),
        3 => Err(Code::NOT_SUPPORTED),
        _ => Err(Code::INVALID_VALUE),
    }
}

/// Where the rectangle at `x`, `y` begins, and its pitch: `width` if none is given.
fn corner(base: usize, x: usize, y: usize, pitch: usize, width: usize) -> Outcome<(usize, usize)> {
    let pitch = if pitch == 0 { width } else { pitch };
    if pitch > i32::MAX as usize {
        return Err(Code::INVALID_VALUE);
    }
    let rows = y.checked_mul(pitch).and_then(|rows| rows.checked_add(x));
    let address = rows.and_then(|offset| base.checked_add(offset)).ok_or(Code::INVALID_VALUE)?;
    Ok((address, pitch))
}

fn rectangle(description: *const Memcpy2d, stream: Stream, wait: Wait) -> Outcome {
    let Memcpy2d { source, target, width, height } = take(description)?;
    let place = |side: Side2d| {
        corner(base(side.memory_type, side.host, side.device)?, side.x, side.y, side.pitch, width)
    };
    let ((source, source_pitch), (target, target_pitch)) = (place(source)?, place(target)?);
    let direction = Direction::Default;
    let request = Request { source, source_pitch, target, target_pitch, width, height, direction };
    copy(&stream::get(stream as usize)?, request, wait)
}

fn box_of_planes(description: *const Memcpy3d, stream: Stream, wait: Wait) -> Outcome {
    let Memcpy3d { source, target, width, height, depth } = take(description)?;
    let place = |side: Side3d| {
        let base = base(side.memory_type, side.host, side.device)?;
        let (_, pitch) = corner(base, 0, 0, side.pitch, width)?;
        let rows = if side.height == 0 { height } else { side.height };
        let stride = rows.checked_mul(pitch).ok_or(Code::INVALID_VALUE)?;
        let planes = side.z.checked_mul(stride).and_then(|offset| base.checked_add(offset));
        let (corner, pitch) = corner(planes.ok_or(Code::INVALID_VALUE)?, side.x, side.y, pitch, width)?;
        Ok((corner, pitch, stride))
    };
    let ((source, source_pitch, source_stride), (target, target_pitch, target_stride)) =
        (place(source)?, place(target)?);
    let direction = Direction::Default;
    let plane = Request { source, source_pitch, target, target_pitch, width, height, direction };
    copy_planes(&stream::get(stream as usize)?, Planes { plane, depth, source_stride, target_stride }, wait)
}

fn pointer_attribute(value: *mut c_void, attribute: c_int, address: u64) -> Outcome {
    const HOST: c_uint = 1;
    const DEVICE: c_uint = 2;
    let allocation = memory::find(address as usize).ok_or(Code::INVALID_VALUE)?;
    let on_device = matches!(allocation.kind, Kind::Device(_));
    let managed = allocation.kind == Kind::Managed;
    match attribute {
        1 => put(value.cast::<u64>(), device::context_handle(allocation.device) as u64),
        2 => put(value.cast::<c_uint>(), if on_device || managed { DEVICE } else { HOST }),
        3 => put(value.cast::<u64>(), address),
        4 if !on_device => put(value.cast::<u64>(), address),
        8 => put(value.cast::<c_uint>(), c_uint::from(managed)),
        9 => put(value.cast::<c_int>(), allocation.device),
        7 | 11 => put(value.cast::<u64>(), allocation.base as u64),
        12 => put(value.cast::<usize>(), allocation.bytes),
        13 => put(value.cast::<c_uint>(), 1),
        _ => Err(Code::INVALID_VALUE),
    }
}
