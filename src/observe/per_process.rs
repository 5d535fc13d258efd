//! A value behind a lock that each process has of its own: in a forked child the parent's lock may be held for ever, by a
//! thread that the child does not have.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;

/// The value; made by `Default` at the first use in a process.
pub(super) struct PerProcess<T>(AtomicPtr<Owned<T>>);

/// A process's value. It stays for good: a forked child has its parent's as well, and leaves it alone.
struct Owned<T> {
    process: u32,
    value: Mutex<T>,
}

impl<T: Default + Send + 'static> PerProcess<T> {
    pub(super) const fn new() -> PerProcess<T> {
        PerProcess(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// That of this process.
    pub(super) fn get(&self) -> &'static Mutex<T> {
        let process = std::process::id();
        loop {
            let known = self.0.load(Ordering::Acquire);
            if let Some(owned) = owned(known).filter(|owned| owned.process == process) {
                return &owned.value;
            }
            let fresh = Box::into_raw(Box::new(Owned { process, value: Mutex::default() }));
            if self.0.compare_exchange(known, fresh, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // SAFETY: nobody else has seen it; another thread was faster.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }

    /// That of this process if it was ever used.
    pub(super) fn known(&self) -> Option<&'static Mutex<T>> {
        let owned = owned(self.0.load(Ordering::Acquire))?;
        (owned.process == std::process::id()).then_some(&owned.value)
    }
}

fn owned<T>(known: *mut Owned<T>) -> Option<&'static Owned<T>> {
    // SAFETY: null, or put there by `get` and never freed; it is only shared.
    unsafe { known.as_ref() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_of_a_process_share_one_value() {
        static VALUE: PerProcess<u32> = PerProcess::new();
        assert!(VALUE.known().is_none());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| *VALUE.get().lock() += 1);
            }
        });
        assert_eq!(VALUE.known().map(|value| *value.lock()), Some(8));
    }
}
