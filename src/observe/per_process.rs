//! A value behind a lock that each process has of its own: in a forked child the parent's lock may be held for ever, by a
//! thread that the child does not have.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::boundary::panic::guard;
use crate::platform;

/// How long the end of the process waits for a thread that is just using the value.
const PATIENCE: Duration = Duration::from_millis(200);

/// The value, made by `Default` at the first use in a process, and what is called at the end of one.
pub(super) struct PerProcess<T> {
    owned: AtomicPtr<Owned<T>>,
    finish: extern "C" fn(),
    /// Whether `finish` is registered; a forked child inherits both.
    registered: AtomicBool,
}

/// A process's value. It stays for good: a forked child has its parent's as well, and leaves it alone.
struct Owned<T> {
    process: u32,
    value: Mutex<T>,
}

impl<T: Default + Send + 'static> PerProcess<T> {
    /// A value that was used at all is given to `finish` when its process ends, which calls [`PerProcess::at_the_end`].
    pub(super) const fn new(finish: extern "C" fn()) -> PerProcess<T> {
        let owned = AtomicPtr::new(std::ptr::null_mut());
        PerProcess { owned, finish, registered: AtomicBool::new(false) }
    }

    /// That of this process.
    pub(super) fn get(&self) -> &'static Mutex<T> {
        if !self.registered.swap(true, Ordering::Relaxed) {
            platform::at_exit(self.finish);
        }
        let process = std::process::id();
        loop {
            let known = self.owned.load(Ordering::Acquire);
            if let Some(owned) = owned(known).filter(|owned| owned.process == process) {
                return &owned.value;
            }
            let fresh = Box::into_raw(Box::new(Owned { process, value: Mutex::default() }));
            if self.owned.compare_exchange(known, fresh, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // SAFETY: nobody else has seen it; another thread was faster.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }

    /// Uses the value for the last time, if it was used in this process and no thread keeps it.
    pub(super) fn at_the_end(&self, what: &str, run: impl FnOnce(&mut T)) {
        let _ = guard(what, || {
            if let Some(mut value) = self.known().and_then(|value| value.try_lock_for(PATIENCE)) {
                run(&mut value);
            }
            Ok(())
        });
    }

    /// That of this process if it was ever used.
    fn known(&self) -> Option<&'static Mutex<T>> {
        let owned = owned(self.owned.load(Ordering::Acquire))?;
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
        extern "C" fn nothing() {}
        static VALUE: PerProcess<u32> = PerProcess::new(nothing);
        assert!(VALUE.known().is_none());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| *VALUE.get().lock() += 1);
            }
        });
        assert_eq!(VALUE.known().map(|value| *value.lock()), Some(8));
    }
}
