//! Host tensors that stand by to hold copies of device tensors: making one costs more than a small operator.
//!
//! A room is taken out while it is used, so nobody else sees it; what it holds when it comes back is of no
//! interest to anyone.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::python::Ref;
use super::torch::Form;

/// The most bytes that stand by; when more would, all are let go.
const MOST_BYTES: usize = 256 << 20;

/// A host tensor of a form, and the address of its first element.
pub struct Room {
    /// The tensor.
    pub tensor: Ref,
    /// Its first element.
    pub address: usize,
}

// SAFETY: a room moves between threads only while it stands by, and is used with Python's lock held.
#[allow(unsafe_code)]
unsafe impl Send for Room {}

/// Rooms that stand by, by form.
#[derive(Default)]
pub struct Rooms {
    standing: Mutex<Standing>,
}

#[derive(Default)]
struct Standing {
    by_form: FxHashMap<Form, Vec<Room>>,
    bytes: usize,
}

impl Rooms {
    /// A room of the form, if one stands by.
    pub fn take(&self, form: &Form, bytes: usize) -> Option<Room> {
        let mut standing = self.standing.lock();
        let room = standing.by_form.get_mut(form)?.pop()?;
        standing.bytes -= bytes.max(1);
        Some(room)
    }

    /// Takes a room of the form back.
    pub fn put(&self, form: &Form, bytes: usize, room: Room) {
        let bytes = bytes.max(1);
        if bytes > MOST_BYTES {
            return;
        }
        let mut standing = self.standing.lock();
        let let_go = if standing.bytes + bytes > MOST_BYTES || standing.by_form.len() >= MOST_FORMS {
            Some(std::mem::take(&mut *standing))
        } else {
            None
        };
        match standing.by_form.get_mut(form) {
            Some(rooms) => rooms.push(room),
            None => drop(standing.by_form.insert(form.clone(), vec![room])),
        }
        standing.bytes += bytes;
        drop(standing);
        // Python frees the tensors after the lock is ours no more: a destructor may come back here.
        drop(let_go);
    }
}

/// The most forms that are remembered.
const MOST_FORMS: usize = 4096;
