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
    /// What earlier calls on this thread left, so that later ones need not ask the system for pages; as many
    /// as were in use at once.
    static KEPT: Cell<Vec<Vec<f64>>> = const { Cell::new(Vec::new()) };
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

/// The parts of scratch memory: what uses them at the same time stays inside the whole.
#[derive(Clone, Copy, Debug)]
pub enum Use {
    /// A copy of an operand as it is read best.
    Copy,
    /// What several tasks share.
    Shared,
    /// What tasks use for themselves, in one thread.
    Task,
}

/// How many elements may be held for a use.
pub fn elements<R: Real>(held_for: Use) -> usize {
    let elements = scratch_bytes() / size_of::<R>();
    match held_for {
        Use::Copy => elements / 8 * 3,
        Use::Shared => elements / 4,
        Use::Task => elements / 8 * 3 / threads::threads(),
    }
}

/// Types of which any bits are a value and whose alignment divides that of `f64`.
///
/// # Safety
/// The line above holds.
pub unsafe trait AnyBits: Copy {}
// SAFETY: a number of four or eight bytes.
unsafe impl AnyBits for f32 {}
// SAFETY: as above.
unsafe impl AnyBits for f64 {}
// SAFETY: as above.
unsafe impl AnyBits for i32 {}
// SAFETY: as above.
unsafe impl AnyBits for u32 {}
// SAFETY: two such numbers, one after the other.
unsafe impl<T: AnyBits> AnyBits for num_complex::Complex<T> {}

/// Runs `body` on `length` elements of scratch memory, of any values, that start at a cache line.
pub fn with<R: AnyBits, T>(length: usize, body: impl FnOnce(&mut [R]) -> T) -> T {
    let mut others = KEPT.take();
    let mut kept = others.pop().unwrap_or_default();
    KEPT.set(others);
    let doubles = (length * size_of::<R>() + ALIGNMENT).div_ceil(size_of::<f64>());
    if kept.len() < doubles || (kept.len() - doubles) * size_of::<f64>() > scratch_bytes() {
        kept = vec![0.0; doubles];
    }
    // SAFETY: any bits are a value of the type and f64's alignment is enough for it, as the trait says; `kept` is borrowed mutably, so nothing else reaches it.
    let (_, elements, _) = unsafe { kept.align_to_mut::<R>() };
    let skipped = elements.as_ptr().align_offset(ALIGNMENT);
    let result = body(&mut elements[skipped..skipped + length]);
    let mut others = KEPT.take();
    others.push(kept);
    KEPT.set(others);
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
