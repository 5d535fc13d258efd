//! Host memory for staged operands, whose allocation may fail without ending the process.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

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

/// Cache-line aligned, zeroed, freed when dropped.
pub struct HostBuffer<T: Plain> {
    start: NonNull<T>,
    elements: usize,
}

// SAFETY: the buffer owns its memory alone, and `Plain` types are `Send + Sync`.
unsafe impl<T: Plain> Send for HostBuffer<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for HostBuffer<T> {}

impl<T: Plain> HostBuffer<T> {
    const ALIGNMENT: usize = 64;

    /// `elements` zeros; [`Error::AllocFailed`] if the host has not that much memory.
    pub fn zeroed(elements: usize) -> Result<HostBuffer<T>, Error> {
        let bytes = elements.checked_mul(size_of::<T>()).ok_or(Error::AllocFailed)?;
        if bytes == 0 {
            return Ok(HostBuffer { start: NonNull::dangling(), elements: 0 });
        }
        let layout = Layout::from_size_align(bytes, Self::ALIGNMENT).map_err(|_| Error::AllocFailed)?;
        // SAFETY: the layout is not of size zero.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start.cast()).ok_or(Error::AllocFailed)?;
        Ok(HostBuffer { start, elements })
    }
}

impl<T: Plain> Deref for HostBuffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `start` is aligned (64, or dangling for zero elements) and `elements` zero-initialised
        // values lie there, which `Plain` makes valid.
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
        let bytes = self.elements * size_of::<T>();
        if let (true, Ok(layout)) = (bytes > 0, Layout::from_size_align(bytes, Self::ALIGNMENT)) {
            // SAFETY: allocated in `zeroed` with this very layout.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) };
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
    }
}
