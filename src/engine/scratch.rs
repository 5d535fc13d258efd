//! Scratch memory of the functions on tensors, bounded over all threads together.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::tensor::Real;
use crate::threads;

static LIMIT: AtomicUsize = AtomicUsize::new(64 << 20);

/// Boundary that scratch slices start at, bytes: a cache line, the widest vector register.
const ALIGNMENT: usize = 64;

thread_local! {
    /// What the last call on this thread left, so that the next need not ask the system for pages.
    static KEPT: Cell<Vec<f64>> = const { Cell::new(Vec::new()) };
}

/// Sets the most scratch memory, bytes, that one call may hold at a time in all threads together. Never
/// less than a single tile of each thread needs is used. Threads keep their part from call to call.
pub fn set_scratch_bytes(bytes: usize) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// The most scratch memory, bytes, that one call may hold at a time (64 MiB unless set).
pub fn scratch_bytes() -> usize {
    LIMIT.load(Ordering::Relaxed)
}

/// How many elements one thread may hold.
pub fn elements_per_thread<R: Real>() -> usize {
    scratch_bytes() / threads::threads() / size_of::<R>()
}

/// Runs `body` on `length` elements of scratch memory, of any values, that start at a cache line.
pub fn with<R: Real, T>(length: usize, body: impl FnOnce(&mut [R]) -> T) -> T {
    let mut kept = KEPT.take();
    let doubles = (length * size_of::<R>() + ALIGNMENT).div_ceil(size_of::<f64>());
    if kept.len() < doubles || (kept.len() - doubles) * size_of::<f64>() > scratch_bytes() {
        kept = vec![0.0; doubles];
    }
    // SAFETY: `Real` is f32 or f64, whose alignment divides f64's and for which any bits are a value;
    // `kept` is borrowed mutably, so nothing else reaches it.
    let (_, elements, _) = unsafe { kept.align_to_mut::<R>() };
    let skipped = elements.as_ptr().align_offset(ALIGNMENT);
    let result = body(&mut elements[skipped..skipped + length]);
    KEPT.set(kept);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_starts_at_a_cache_line_and_nests() {
        with(5, |outer: &mut [f32]| {
            outer.fill(1.0);
            with(7, |inner: &mut [f64]| {
                assert_eq!(inner.as_ptr().align_offset(ALIGNMENT), 0);
                inner.fill(2.0);
            });
            assert_eq!(outer, [1.0; 5]);
        });
    }
}
