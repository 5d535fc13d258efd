//! Rectangles of memory that the host can touch where it is.

#![allow(unsafe_code)]

use super::copies::Direction;
use super::host_buffer::Plain;
use super::region::Rectangle;

/// Moves a rectangle of memory that the host can touch, after the stream has been waited for.
pub fn copy_visible<T: Plain>(copy: &Rectangle, direction: Direction, host: *mut T) {
    let device = copy.device as *mut T;
    for run in 0..copy.height {
        let theirs = device.wrapping_add(run * copy.device_pitch);
        let ours = host.wrapping_add(run * copy.host_pitch);
        let (source, target) = if direction == Direction::In { (theirs, ours) } else { (ours, theirs) };
        // SAFETY: the driver says the host may touch this allocation, to whose end `copy_rectangle` has compared the
        // extent, or it is host memory of the caller's (`with_host_operands`), who owes all of it; the other side is
        // inside the staging buffer, or memory that the caller of `copy_bytes` owes. Bytes have no alignment, and
        // `copy` lets the two overlap.
        unsafe { std::ptr::copy(source.cast::<u8>(), target.cast::<u8>(), copy.width * size_of::<T>()) };
    }
}
