//! Which live handles are ours and which the real library's.
//!
//! A handle value is looked up, never dereferenced, so a stale or invented one is recognised without
//! touching memory. The common process, in which we never made a handle, pays one atomic load.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::object::{Interface, Object};

/// Who a live handle belongs to.
#[derive(Clone)]
pub enum Owner {
    /// We handed it out.
    Ours(Arc<Object>),
    /// The real library did, through us.
    Real,
    /// The real library did for cublasXt: it has no stream and no pointer mode to be asked for.
    RealXt,
}

/// A handle's entry.
#[derive(Clone)]
enum Entry {
    Live(Owner),
    /// We handed it out, and it was destroyed: it must reach the real library even less than before.
    Gone,
}

static OURS: AtomicUsize = AtomicUsize::new(0);
static GONE: AtomicUsize = AtomicUsize::new(0);
static OWNERS: RwLock<Option<HashMap<usize, Entry>>> = RwLock::new(None);

/// Hands out a handle for `object`; its value is the object's address, unique while it lives.
pub fn hand_out(object: Object) -> *mut c_void {
    let object = Arc::new(object);
    let handle = Arc::as_ptr(&object).cast_mut().cast();
    OWNERS.write().get_or_insert_default().insert(handle as usize, Entry::Live(Owner::Ours(object)));
    OURS.fetch_add(1, Ordering::Release);
    handle
}

/// Remembers a handle that the real library made.
pub fn note_real(handle: *mut c_void, interface: Interface) {
    let owner = match interface {
        Interface::Device => Owner::Real,
        Interface::Xt => Owner::RealXt,
    };
    OWNERS.write().get_or_insert_default().insert(handle as usize, Entry::Live(owner));
}

/// Who `handle` belongs to; `None` for null, destroyed and foreign values.
pub fn owner(handle: *const c_void) -> Option<Owner> {
    match OWNERS.read().as_ref()?.get(&(handle as usize))? {
        Entry::Live(owner) => Some(owner.clone()),
        Entry::Gone => None,
    }
}

/// Whether `handle` was one of ours and has been destroyed.
pub fn was_ours(handle: *const c_void) -> bool {
    let gone = |owners: &HashMap<usize, Entry>| matches!(owners.get(&(handle as usize)), Some(Entry::Gone));
    GONE.load(Ordering::Acquire) > 0 && OWNERS.read().as_ref().is_some_and(gone)
}

/// Whether `handle` is a live one of ours.
pub fn is_ours(handle: *const c_void) -> bool {
    OURS.load(Ordering::Acquire) > 0 && matches!(owner(handle), Some(Owner::Ours(_)))
}

/// Ends `handle`; its former owner, if it had one.
pub fn forget(handle: *const c_void) -> Option<Owner> {
    let mut owners = OWNERS.write();
    let owners = owners.as_mut()?;
    let Some(Entry::Live(former)) = owners.get(&(handle as usize)).cloned() else { return None };
    if matches!(former, Owner::Ours(_)) {
        owners.insert(handle as usize, Entry::Gone);
        OURS.fetch_sub(1, Ordering::Release);
        GONE.fetch_add(1, Ordering::Release);
    } else {
        owners.remove(&(handle as usize));
    }
    Some(former)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::context::{Context, Device};

    #[test]
    fn a_destroyed_handle_belongs_to_nobody() {
        let handle = hand_out(Object::new(Context(std::ptr::null_mut()), Device(0), Interface::Device));
        assert!(is_ours(handle));
        assert!(matches!(forget(handle), Some(Owner::Ours(_))));
        assert!(!is_ours(handle) && owner(handle).is_none() && forget(handle).is_none());
        assert!(was_ours(handle));
    }

    #[test]
    fn a_real_handle_is_not_ours() {
        let handle = std::ptr::without_provenance_mut(0xdead_0000);
        note_real(handle, Interface::Device);
        assert!(matches!(owner(handle), Some(Owner::Real)));
        assert!(!is_ours(handle));
        forget(handle);
    }
}
