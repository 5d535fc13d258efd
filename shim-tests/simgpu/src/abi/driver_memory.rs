//! The driver API: memory, copies, fills, pointer attributes.

use std::ffi::{c_int, c_uint, c_void};

use cudarc::driver::sys::CUDA_MEMCPY2D_st;

use super::{put, put_if_asked, take};
use crate::core::copy::{Direction, Request, Wait, copy, fill};
use crate::core::memory::{self, Kind};
use crate::core::{Code, Outcome, device, stream};

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
    fn cuMemcpy2D_v2(description: *const CUDA_MEMCPY2D_st) { rectangle(description, NULL, Wait::Yes) }
    fn cuMemcpy2DUnaligned_v2(description: *const CUDA_MEMCPY2D_st) { rectangle(description, NULL, Wait::Yes) }
    fn cuMemcpy2DAsync_v2(description: *const CUDA_MEMCPY2D_st, stream: Stream) { rectangle(description, stream, Wait::No) }
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

/// A `CUDA_MEMCPY2D`: memory types host 1, device 2, unified 4; arrays are not modelled.
fn rectangle(description: *const CUDA_MEMCPY2D_st, stream: Stream, wait: Wait) -> Outcome {
    use cudarc::driver::sys::CUmemorytype_enum as Type;
    let asked = take(description)?;
    let side = |kind: Type, host: usize, device: u64, x: usize, y: usize, pitch: usize| {
        let base = match kind {
            Type::CU_MEMORYTYPE_HOST => host,
            Type::CU_MEMORYTYPE_DEVICE | Type::CU_MEMORYTYPE_UNIFIED => device as usize,
            Type::CU_MEMORYTYPE_ARRAY => return Err(Code::NOT_SUPPORTED),
        };
        let pitch = if pitch == 0 { asked.WidthInBytes } else { pitch };
        if pitch > i32::MAX as usize { Err(Code::INVALID_VALUE) } else { Ok((base + y * pitch + x, pitch)) }
    };
    let (source, source_pitch) = side(
        asked.srcMemoryType,
        asked.srcHost as usize,
        asked.srcDevice,
        asked.srcXInBytes,
        asked.srcY,
        asked.srcPitch,
    )?;
    let (target, target_pitch) = side(
        asked.dstMemoryType,
        asked.dstHost as usize,
        asked.dstDevice,
        asked.dstXInBytes,
        asked.dstY,
        asked.dstPitch,
    )?;
    let (width, height, direction) = (asked.WidthInBytes, asked.Height, Direction::Default);
    copy(
        &stream::get(stream as usize)?,
        Request { source, source_pitch, target, target_pitch, width, height, direction },
        wait,
    )
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
