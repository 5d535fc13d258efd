//! Operands on the host, as a call holds them.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::host_buffer::{HostBuffer, Plain};
use super::region::{CopyPlan, HostLayout, Rectangle};
use super::transfer::Transfer;
use crate::boundary::status::Error;

/// An operand on the host. It goes only after the copies that use its memory have run.
pub struct Staged<'t, T: Plain> {
    pub(super) elements: Elements<T>,
    /// Where its elements lie.
    pub layout: HostLayout,
    pub(super) plan: CopyPlan,
    pub(super) transfer: &'t Transfer,
}

pub(super) enum Elements<T: Plain> {
    /// A packed copy.
    Copied(HostBuffer<T>),
    /// A packed copy that the call's tape owns, lent to this operand alone; and its place there, the first time.
    Lent { start: NonNull<T>, count: usize, place: Option<usize> },
    /// The caller's own memory, which the host may read in place.
    InPlace(*const T, usize),
}

impl<T: Plain> Staged<'_, T> {
    /// The elements; valid after [`Transfer::wait`].
    pub fn elements(&self) -> &[T] {
        match &self.elements {
            Elements::Copied(buffer) => buffer,
            // SAFETY: the tape's room holds `count` elements, aligned to a cache line, and outlives the transfer that lends it.
            Elements::Lent { start, count, .. } => unsafe {
                std::slice::from_raw_parts(start.as_ptr(), *count)
            },
            // SAFETY: `operand` has compared the extent with the allocation's end and the alignment with
            // `T`'s; the caller owes us, as it owes the real library, that nothing writes there meanwhile.
            Elements::InPlace(start, count) => unsafe { std::slice::from_raw_parts(*start, *count) },
        }
    }

    /// The elements, to be written; empty for an operand that is read in place.
    pub fn elements_mut(&mut self) -> &mut [T] {
        match &mut self.elements {
            Elements::Copied(buffer) => buffer,
            // SAFETY: as in `elements`; each room is lent to one operand a run.
            Elements::Lent { start, count, .. } => unsafe {
                std::slice::from_raw_parts_mut(start.as_ptr(), *count)
            },
            Elements::InPlace(..) => &mut [],
        }
    }

    /// Narrows what is written back to these parts of the operand; before [`Transfer::wait`].
    pub fn write_only(&mut self, parts: Vec<Rectangle>) -> Result<(), Error> {
        if let Elements::Lent { place: Some(place), .. } = self.elements {
            self.transfer.set_writes(place, &parts, size_of::<T>())?;
        }
        self.plan.rectangles = parts;
        Ok(())
    }
}

impl<T: Plain> Staged<'_, T> {
    pub(super) fn is_in_place(&self) -> bool {
        matches!(self.elements, Elements::InPlace(..))
    }
}

impl<T: Plain> Drop for Staged<'_, T> {
    fn drop(&mut self) {
        // What the tape owns outlives the operand, and so does the program's own memory.
        if self.transfer.pending.get() && matches!(self.elements, Elements::Copied(_)) {
            let _ = self.transfer.wait_now();
        }
    }
}

pub(super) fn zero<T: Plain>(elements: &mut [T]) {
    // SAFETY: zeros are a value of any plain type.
    unsafe { elements.as_mut_ptr().write_bytes(0, elements.len()) };
}

/// What an operand that is written holds on the host before it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// What it holds on the device.
    Fetched,
    /// Zeros: its elements are not read.
    Zeros,
}
