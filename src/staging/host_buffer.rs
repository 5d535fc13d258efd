//! Host memory for staged operands, whose allocation may fail without ending the process.

#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::pool::Block;
use crate::boundary::status::Error;

/// Types for which any bytes, all zeros included, are a value.
///
/// # Safety
/// An implementor has no invalid bit pattern and no padding.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        // SAFETY: a plain number or a pair of them: every bit pattern is a value, nothing is padding.
        unsafe impl Plain for $ty {}
    )*};
}
plain!(u8, i8, i32, i64, u32, u64, f32, f64, half::f16, half::bf16);
plain!(gpucompat_engine::E4m3, gpucompat_engine::E5m2, gpucompat_engine::Ue8m0);
plain!(num_complex::Complex<f32>, num_complex::Complex<f64>, num_complex::Complex<i8>);

/// Cache-line aligned memory of the pool's, given back when dropped.
pub struct HostBuffer<T: Plain> {
    start: NonNull<T>,
    elements: usize,
    /// `None` of no elements.
    block: Option<Block>,
}

// SAFETY: the buffer owns its memory alone, and `Plain` types are `Send + Sync`.
unsafe impl<T: Plain> Send for HostBuffer<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for HostBuffer<T> {}

impl<T: Plain> HostBuffer<T> {
    /// `elements` zeros; [`Error::AllocFailed`] if the host has not that much memory.
    pub fn zeroed(elements: usize) -> Result<HostBuffer<T>, Error> {
        let buffer = HostBuffer::unspecified(elements)?;
        if let Some(block) = buffer.block.as_ref().filter(|block| !block.zeroed) {
            // SAFETY: the block holds at least `elements` elements and is ours; zeros are a value of the type.
            unsafe { block.start().cast::<T>().as_ptr().write_bytes(0, elements) };
        }
        Ok(buffer)
    }

    /// `elements` elements of any value, for contents that are about to be written; errors as [`HostBuffer::zeroed`].
    pub fn unspecified(elements: usize) -> Result<HostBuffer<T>, Error> {
        let bytes = elements.checked_mul(size_of::<T>()).ok_or(Error::AllocFailed)?;
        if bytes == 0 {
            return Ok(HostBuffer { start: NonNull::dangling(), elements: 0, block: None });
        }
        let block = Block::take(bytes)?;
        Ok(HostBuffer { start: block.start().cast(), elements, block: Some(block) })
    }

    /// The same for copies: page-locked if the driver has such memory. Needs a current context.
    pub fn for_copies(elements: usize) -> Result<HostBuffer<T>, Error> {
        let bytes = elements.checked_mul(size_of::<T>()).ok_or(Error::AllocFailed)?;
        let locked = if bytes == 0 { None } else { Block::take_locked(bytes).ok() };
        match locked {
            Some(block) => Ok(HostBuffer { start: block.start().cast(), elements, block: Some(block) }),
            None => HostBuffer::unspecified(elements),
        }
    }
}

impl<T: Plain> Deref for HostBuffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `start` is aligned (64, or dangling for zero elements) and `elements` initialised values lie there
        // (the block was allocated as zeros, or by the driver), which `Plain` makes valid whatever they are.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.elements) }
    }
}

impl<T: Plain> DerefMut for HostBuffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.elements) }
    }
}

impl<T: Plain> Drop for HostBuffer<T> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            block.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_size_is_an_error_not_an_abort() {
        assert!(matches!(HostBuffer::<f64>::zeroed(usize::MAX / 4), Err(Error::AllocFailed)));
        assert!(matches!(HostBuffer::<f64>::zeroed(usize::MAX), Err(Error::AllocFailed)));
    }

    #[test]
    fn a_buffer_is_zeroed_and_may_be_empty() {
        assert!(HostBuffer::<f32>::zeroed(100).unwrap().iter().all(|&x| x == 0.0));
        assert!(HostBuffer::<f32>::zeroed(0).unwrap().is_empty());
        // Large enough to stand by and be used again.
        for _ in 0..3 {
            let mut buffer = HostBuffer::<f64>::zeroed(100_000).unwrap();
            assert!(buffer.iter().all(|&x| x == 0.0));
            buffer.fill(7.0);
        }
    }
}
