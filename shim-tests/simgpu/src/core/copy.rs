//! Copies and fills, with CUDA's rules of what is asynchronous.
//!
//! From or to page-locked memory a copy is asynchronous and reads its source when it runs. Pageable
//! memory is staged: a source is read before the call returns, a target is written before it returns.

use std::sync::Arc;

use super::bus::Way;
use super::counters::{D2D_BYTES, D2D_CALLS, D2H_BYTES, D2H_CALLS, H2D_BYTES, H2D_CALLS, MEMSETS};
use super::graph::Node;
use super::memory::{Kind, Side, translate};
use super::stream::{Order, Stream};
use super::{Code, Outcome, faults};

/// A rectangle of bytes to be copied between addresses that the simulator may touch.
#[derive(Clone, Copy, Debug)]
pub struct Copy2d {
    source: usize,
    source_pitch: usize,
    target: usize,
    target_pitch: usize,
    width: usize,
    height: usize,
    /// Over the bus, if it goes there.
    way: Option<Way>,
}

impl Copy2d {
    /// Copies it.
    pub fn run(&self) {
        match self.way {
            Some(way) => way.carry(self.width * self.height, || self.move_bytes()),
            None => self.move_bytes(),
        }
    }

    fn move_bytes(&self) {
        for row in 0..self.height {
            let source = (self.source + row * self.source_pitch) as *const u8;
            let target = (self.target + row * self.target_pitch) as *mut u8;
            // SAFETY: both sides were translated for the whole extent when the copy was requested; freeing
            // memory waits for the device, and host memory is the program's to keep alive until then.
            unsafe { std::ptr::copy(source, target, self.width) };
        }
    }
}

/// Copies a run of bytes at once.
pub fn between(source: Side, target: Side, bytes: usize) {
    let way = Way::of(source, target);
    let (source, target) = (source.address, target.address);
    Copy2d { source, source_pitch: bytes, target, target_pitch: bytes, width: bytes, height: 1, way }.run();
}

/// Bytes to be set.
#[derive(Clone)]
pub struct Fill {
    target: usize,
    pitch: usize,
    width: usize,
    height: usize,
    pattern: Vec<u8>,
}

impl Fill {
    /// Sets them.
    pub fn run(&self) {
        for row in 0..self.height {
            let start = (self.target + row * self.pitch) as *mut u8;
            // SAFETY: as in `Copy2d::run`.
            let bytes = unsafe { std::slice::from_raw_parts_mut(start, self.width) };
            for chunk in bytes.chunks_mut(self.pattern.len()) {
                chunk.copy_from_slice(&self.pattern[..chunk.len()]);
            }
        }
    }
}

/// A copy as it is asked for: addresses as the program knows them.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Source address.
    pub source: usize,
    /// Bytes from row to row of the source.
    pub source_pitch: usize,
    /// Target address.
    pub target: usize,
    /// Bytes from row to row of the target.
    pub target_pitch: usize,
    /// Bytes in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// What the caller says of the direction.
    pub direction: Direction,
}

/// `cudaMemcpyKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Host to host.
    HostToHost,
    /// Host to device.
    HostToDevice,
    /// Device to host.
    DeviceToHost,
    /// Device to device.
    DeviceToDevice,
    /// Whatever the addresses say.
    Default,
}

/// Whether the caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until the copy is done.
    Yes,
    /// Only as long as CUDA's rules ask.
    No,
}

impl Request {
    /// A copy of one run of bytes.
    pub fn line(target: usize, source: usize, bytes: usize, direction: Direction) -> Request {
        Request {
            source,
            source_pitch: bytes,
            target,
            target_pitch: bytes,
            width: bytes,
            height: 1,
            direction,
        }
    }

    fn extent(&self, pitch: usize) -> Outcome<usize> {
        let rows = self.height.saturating_sub(1).checked_mul(pitch);
        rows.and_then(|rows| rows.checked_add(self.width)).ok_or(Code::INVALID_VALUE)
    }
}

fn legal(direction: Direction, source: Side, target: Side) -> bool {
    let host = |side: Side| !side.is_device();
    let device = |side: Side| {
        side.is_device() || matches!(side.kind, Some(Kind::Managed | Kind::Pinned | Kind::Registered))
    };
    match direction {
        Direction::HostToHost => host(source) && host(target),
        Direction::HostToDevice => host(source) && device(target),
        Direction::DeviceToHost => device(source) && host(target),
        Direction::DeviceToDevice => device(source) && device(target),
        Direction::Default => true,
    }
}

fn count(source: Side, target: Side, bytes: i64) -> Outcome {
    let (fault, calls, volume) = match (source.is_device(), target.is_device()) {
        (false, true) => ("memcpy_h2d", &H2D_CALLS, &H2D_BYTES),
        (true, false) => ("memcpy_d2h", &D2H_CALLS, &D2H_BYTES),
        (true, true) => ("memcpy_d2d", &D2D_CALLS, &D2D_BYTES),
        (false, false) => return Ok(()),
    };
    faults::check(fault)?;
    faults::check("memcpy")?;
    calls.add(1);
    volume.add(bytes);
    Ok(())
}

/// Copies on a stream.
pub fn copy(stream: &Arc<Stream>, request: Request, wait: Wait) -> Outcome {
    if request.width == 0 || request.height == 0 {
        return Ok(());
    }
    if request.height > 1 && (request.source_pitch < request.width || request.target_pitch < request.width) {
        return Err(Code::INVALID_VALUE);
    }
    let source = translate(request.source, request.extent(request.source_pitch)?)?;
    let target = translate(request.target, request.extent(request.target_pitch)?)?;
    if !legal(request.direction, source, target) {
        return Err(Code::INVALID_VALUE);
    }
    let recording = stream.recording()?;
    if recording.is_some() && wait == Wait::Yes {
        return Err(stream.break_capture());
    }
    count(source, target, (request.width * request.height) as i64)?;
    let mut work = Copy2d {
        source: source.address,
        source_pitch: request.source_pitch,
        target: target.address,
        target_pitch: request.target_pitch,
        width: request.width,
        height: request.height,
        way: Way::of(source, target),
    };
    if let Some(capture) = recording {
        return capture.record(stream, Node::Copy(work));
    }
    let pageable_target = target.kind.is_none() && source.kind.is_some();
    let pageable_source = source.kind.is_none() && target.kind.is_some();
    if wait == Wait::Yes || pageable_target || source.kind.is_none() && target.kind.is_none() {
        stream.run_or_push(move || work.run()).wait();
    } else if pageable_source {
        if let Some(_claim) = stream.claim() {
            work.run();
            return Ok(());
        }
        let mut staged = vec![0u8; work.width * work.height];
        let into_staging = Copy2d { target: staged.as_mut_ptr() as usize, target_pitch: work.width, ..work };
        Copy2d { way: None, ..into_staging }.run();
        (work.source, work.source_pitch) = (staged.as_ptr() as usize, work.width);
        stream.push(
            Vec::new(),
            Box::new(move || {
                work.run();
                drop(staged);
            }),
        );
    } else {
        stream.push(Vec::new(), Box::new(move || work.run()));
    }
    Ok(())
}

/// A box of bytes to be copied: planes, each as a rectangle.
#[derive(Clone, Copy, Debug)]
pub struct Planes {
    /// The first plane.
    pub plane: Request,
    /// How many.
    pub depth: usize,
    /// Bytes from plane to plane of the source.
    pub source_stride: usize,
    /// Bytes from plane to plane of the target.
    pub target_stride: usize,
}

/// Copies a box on a stream, plane by plane, once all of them are known to be inside their allocations.
pub fn copy_planes(stream: &Arc<Stream>, planes: Planes, wait: Wait) -> Outcome {
    let at = |index: usize| {
        let step = |base: usize, stride: usize| {
            index.checked_mul(stride).and_then(|offset| base.checked_add(offset)).ok_or(Code::INVALID_VALUE)
        };
        let source = step(planes.plane.source, planes.source_stride)?;
        let target = step(planes.plane.target, planes.target_stride)?;
        Ok(Request { source, target, ..planes.plane })
    };
    if planes.plane.width == 0 || planes.plane.height == 0 {
        return Ok(());
    }
    for index in 0..planes.depth {
        let plane = at(index)?;
        translate(plane.source, plane.extent(plane.source_pitch)?)?;
        translate(plane.target, plane.extent(plane.target_pitch)?)?;
    }
    (0..planes.depth).try_for_each(|index| copy(stream, at(index)?, wait))
}

/// Fills on a stream: `pattern` repeated over `height` rows of `width` bytes.
pub fn fill(
    stream: &Arc<Stream>,
    target: usize,
    pitch: usize,
    width: usize,
    height: usize,
    pattern: &[u8],
    wait: Wait,
) -> Outcome {
    if width == 0 || height == 0 {
        return Ok(());
    }
    let extent = (height - 1)
        .checked_mul(pitch)
        .and_then(|rows| rows.checked_add(width))
        .ok_or(Code::INVALID_VALUE)?;
    let side = translate(target, extent)?;
    if side.kind.is_none() {
        return Err(Code::INVALID_VALUE);
    }
    let recording = stream.recording()?;
    MEMSETS.add(1);
    let work = Fill { target: side.address, pitch, width, height, pattern: pattern.to_vec() };
    if let Some(capture) = recording {
        return capture.record(stream, Node::Fill(work));
    }
    if wait == Wait::Yes && stream.ordering == Order::Legacy && !side.is_device() {
        stream.run_or_push(move || work.run()).wait();
    } else {
        stream.push(Vec::new(), Box::new(move || work.run()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::memory::{allocate, allocate_host};
    use crate::core::signal::Signal;
    use crate::core::{stream, test_lock};

    #[test]
    fn a_pageable_source_may_be_reused_at_once_and_a_round_trip_returns_it() {
        let _alone = test_lock();
        let device = allocate(0, 64).unwrap();
        let stream = stream::get(stream::create(1, 0).unwrap()).unwrap();
        let mut source: Vec<u8> = (0..64).collect();
        let want = source.clone();
        copy(&stream, Request::line(device, source.as_ptr() as usize, 64, Direction::HostToDevice), Wait::No)
            .unwrap();
        source.fill(0);
        let mut back = vec![0u8; 64];
        copy(
            &stream,
            Request::line(back.as_mut_ptr() as usize, device, 64, Direction::DeviceToHost),
            Wait::No,
        )
        .unwrap();
        assert_eq!(back, want);
    }

    #[test]
    fn a_page_locked_source_is_read_when_the_copy_runs() {
        let _alone = test_lock();
        let (device, pinned) = (allocate(0, 8).unwrap(), allocate_host(8, Kind::Pinned).unwrap());
        let stream = stream::get(stream::create(1, 0).unwrap()).unwrap();
        let gate = Arc::new(Signal::default());
        stream.push(vec![gate.clone()], Box::new(|| {}));
        copy(&stream, Request::line(device, pinned, 8, Direction::HostToDevice), Wait::No).unwrap();
        // SAFETY: 8 bytes of page-locked memory made above; the copy waits for the gate.
        unsafe { std::ptr::write_bytes(pinned as *mut u8, 9, 8) };
        gate.set();
        let mut back = [0u8; 8];
        let request = Request::line(back.as_mut_ptr() as usize, device, 8, Direction::DeviceToHost);
        copy(&stream, request, Wait::No).unwrap();
        assert_eq!(back, [9; 8]);
    }

    #[test]
    fn a_box_of_planes_is_copied_whole_or_not_at_all() {
        let _alone = test_lock();
        let device = allocate(0, 512).unwrap();
        let stream = stream::get(stream::create(1, 0).unwrap()).unwrap();
        let source: Vec<u8> = (0..64).collect();
        let mut plane = Request::line(device, source.as_ptr() as usize, 2, Direction::HostToDevice);
        (plane.height, plane.source_pitch, plane.target_pitch) = (2, 8, 4);
        let whole = Planes { plane, depth: 3, source_stride: 16, target_stride: 8 };
        copy_planes(&stream, whole, Wait::Yes).unwrap();
        let mut back = [0u8; 24];
        let request = Request::line(back.as_mut_ptr() as usize, device, 24, Direction::DeviceToHost);
        copy(&stream, request, Wait::Yes).unwrap();
        let at = |z: usize, y: usize, x: usize| back[z * 8 + y * 4 + x];
        assert_eq!([at(0, 0, 0), at(0, 1, 1), at(1, 0, 1), at(2, 1, 0)], [0, 9, 17, 40]);
        let beyond = Planes { target_stride: 256, ..whole };
        let calls = H2D_CALLS.get();
        assert_eq!(copy_planes(&stream, beyond, Wait::Yes), Err(Code::INVALID_VALUE));
        assert_eq!(H2D_CALLS.get(), calls);
    }

    #[test]
    fn a_wrong_direction_or_range_is_invalid() {
        let _alone = test_lock();
        let device = allocate(0, 512).unwrap();
        let stream = stream::get(0).unwrap();
        let host = [0u8; 8];
        let request = Request::line(device, host.as_ptr() as usize, 8, Direction::DeviceToHost);
        assert_eq!(copy(&stream, request, Wait::Yes), Err(Code::INVALID_VALUE));
        let request = Request::line(device + 508, host.as_ptr() as usize, 8, Direction::HostToDevice);
        assert_eq!(copy(&stream, request, Wait::Yes), Err(Code::INVALID_VALUE));
    }
}
