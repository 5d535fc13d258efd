//! Signals: something that happens once, and that others wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

/// Done or not, and a way to wait for it.
#[derive(Default)]
pub struct Signal {
    done: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Signal {
    /// Whether it has happened.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Waits until it has.
    pub fn wait(&self) {
        if self.is_done() {
            return;
        }
        let mut guard = self.lock.lock();
        while !self.is_done() {
            self.changed.wait(&mut guard);
        }
    }

    /// It has happened.
    pub fn set(&self) {
        let _guard = self.lock.lock();
        self.done.store(true, Ordering::Release);
        self.changed.notify_all();
    }
}

/// The right to run one operation of a stream on the calling thread.
pub struct Claim(pub Arc<Signal>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.set();
    }
}
