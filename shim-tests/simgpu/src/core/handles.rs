//! Opaque handles: a table of live objects, so that a stale or invented handle is an error, not a crash.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Code, Outcome};

/// Live objects of one kind by handle value; the value is the object's address, unique while it lives.
pub struct Handles<T>(RwLock<Option<HashMap<usize, Arc<T>>>>);

impl<T> Handles<T> {
    /// An empty table.
    pub const fn new() -> Handles<T> {
        Handles(RwLock::new(None))
    }

    /// A handle for `object`.
    pub fn insert(&self, object: Arc<T>) -> usize {
        let handle = Arc::as_ptr(&object) as usize;
        self.0.write().get_or_insert_default().insert(handle, object);
        handle
    }

    /// The object of a live handle.
    pub fn get(&self, handle: usize) -> Outcome<Arc<T>> {
        self.0.read().as_ref().and_then(|table| table.get(&handle).cloned()).ok_or(Code::INVALID_HANDLE)
    }

    /// Ends a handle.
    pub fn remove(&self, handle: usize) -> Outcome<Arc<T>> {
        self.0.write().as_mut().and_then(|table| table.remove(&handle)).ok_or(Code::INVALID_HANDLE)
    }

    /// Every live object.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.0.read().as_ref().map(|table| table.values().cloned().collect()).unwrap_or_default()
    }
}

impl<T> Default for Handles<T> {
    fn default() -> Handles<T> {
        Handles::new()
    }
}
