//! What the fast path stands on: the objects of Python and PyTorch that it compares with and calls, learned at the first
//! call of an accelerated operator, and the way back from results to the device.

#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use super::copies::{self, Queue};
use super::operands::Operand;
use super::python::{Object, Python, Ref};
use super::rooms::Rooms;
use super::torch::{Described, Form, KeySets, Kind, Shim, Tensors};
use crate::log;
use crate::memory::hosted;
use crate::observe::{Way, copying, moved};

/// Bytes from which a copy on the host lets other threads have Python's lock.
const WORTH_UNLOCKING: usize = 1 << 20;

/// What the fast path knows of Python and PyTorch, once it is ready.
pub(super) struct Ground {
    pub(super) python: &'static Python,
    pub(super) tensors: Tensors,
    pub(super) rooms: Rooms,
    /// Borrowed for good: `torch.Tensor`, `torch.nn.Parameter`, and the types that numbers have.
    pub(super) tensor_types: Vec<usize>,
    pub(super) number_types: [usize; 4],
    /// Host tensors of no dimension, the likes of rooms for numbers: `float32`, `float64` and `int64`.
    pub(super) single: Scalar,
    pub(super) double: Scalar,
    pub(super) whole: Scalar,
    pub(super) list_type: usize,
    pub(super) tuple_type: usize,
    pub(super) none: usize,
    pub(super) falsehood: usize,
    /// Python functions of the namespace: `_standing_room`, `write_back`, `_lift`.
    pub(super) host_room: usize,
    pub(super) write_back: usize,
    pub(super) lift: usize,
    /// `_any_autocasts`, `_host_autocasts`, and what they answer for yes.
    any_autocast: usize,
    host_autocast: usize,
    truth_value: usize,
    /// Types whose objects are one of a kind: element types, memory formats, layouts.
    pub(super) singleton_types: Vec<usize>,
}

/// A host tensor of no dimension, and its form.
pub(super) struct Scalar {
    pub(super) like: usize,
    pub(super) form: Form,
    pub(super) bytes: usize,
}

static GROUND: OnceLock<Option<Ground>> = OnceLock::new();
/// 0 until somebody makes the ground, 1 while, 2 after.
static STATE: AtomicU8 = AtomicU8::new(0);

/// Takes over what `_survey` found, for good; whether it is enough.
pub(super) fn settle(
    python: &'static Python,
    samples: &[(usize, u64)],
    dtypes: &[(usize, usize)],
    objects: &[Object],
) -> bool {
    let ground = ground(python, samples, dtypes, objects);
    let ready = ground.is_some();
    let _ = GROUND.set(ground);
    ready
}

fn ground(
    python: &'static Python,
    samples: &[(usize, u64)],
    dtypes: &[(usize, usize)],
    objects: &[Object],
) -> Option<Ground> {
    // SAFETY: `_survey` holds the tensors whose `_cdata` these are.
    let keys = unsafe { KeySets::find(samples) }?;
    // SAFETY: as above.
    let tensors = unsafe { Tensors::new(python, Shim::load()?, keys, dtypes) }?;
    let kept = |object: Object| python.share(object) as usize;
    let &[
        tensor,
        parameter,
        int,
        float,
        truth,
        complex,
        single,
        double,
        whole,
        list,
        tuple,
        none,
        ref rest @ ..,
    ] = objects
    else {
        return None;
    };
    let &[
        falsehood,
        host_room,
        write_back,
        lift,
        any_autocast,
        host_autocast,
        truth_value,
        ref singletons @ ..,
    ] = rest
    else {
        return None;
    };
    let scalar = |like: Object| match tensors.kind(python, like) {
        Kind::Host(described) => {
            Some(Scalar { like: kept(like), bytes: described.bytes, form: described.form })
        }
        _ => None,
    };
    let (single, double, whole) = (scalar(single)?, scalar(double)?, scalar(whole)?);
    Some(Ground {
        python,
        tensors,
        rooms: Rooms::default(),
        tensor_types: [tensor, parameter].map(kept).to_vec(),
        number_types: [int, float, truth, complex].map(kept),
        single,
        double,
        whole,
        list_type: kept(list),
        tuple_type: kept(tuple),
        none: kept(none),
        falsehood: kept(falsehood),
        host_room: kept(host_room),
        write_back: kept(write_back),
        lift: kept(lift),
        any_autocast: kept(any_autocast),
        host_autocast: kept(host_autocast),
        truth_value: kept(truth_value),
        singleton_types: singletons.iter().copied().map(kept).collect(),
    })
}

/// The ground, made at the first call: PyTorch's device is usable then, as it is not yet when the layer attaches.
pub(super) fn standing(python: &'static Python) -> Option<&'static Ground> {
    if let Some(ground) = GROUND.get() {
        return ground.as_ref();
    }
    if STATE.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return None;
    }
    let survey = python.namespace(c"_gpucompat_operators").map(|space| space.integer("_survey()"));
    if !matches!(survey, Some(Ok(1))) {
        log::debug(format_args!("fast_path=off reason=unknown_pytorch detail={survey:?}"));
        let _ = GROUND.set(None);
    }
    STATE.store(2, Ordering::Release);
    GROUND.get()?.as_ref()
}

impl Ground {
    /// Whether the CPU's autocast is on, which is not meant for copies of device tensors: the Python replacement
    /// switches it off around the operator.
    pub(super) fn host_autocasts(&self) -> bool {
        let says_yes = |question: usize| {
            let answer = self.python.call_with(question as Object, Vec::new(), Vec::new());
            answer.is_some_and(|answer| answer.object() as usize == self.truth_value)
        };
        // The first question is the cheaper one.
        says_yes(self.any_autocast) && says_yes(self.host_autocast)
    }

    /// The type's address; types live as long as their objects, and those compared with live for good.
    pub(super) fn type_of(&self, object: Object) -> usize {
        // SAFETY: the lock is held; a live object.
        let kind = unsafe { (self.python.type_of)(object) };
        // SAFETY: a reference that we own.
        unsafe { (self.python.decrease)(kind) };
        kind as usize
    }

    pub(super) fn elements(&self, object: Object, is_list: bool) -> Vec<Object> {
        if !is_list {
            return self.python.items(object);
        }
        // SAFETY: the lock is held; a list.
        let count = unsafe { (self.python.list_size)(object) };
        // SAFETY: positions inside the list.
        (0..count.max(0)).map(|position| unsafe { (self.python.list_get)(object, position) }).collect()
    }

    /// Puts a mutated argument back; one whose shape changed is the Python replacement's business.
    pub(super) fn write_back(&self, operand: &Operand, stream: usize) -> Option<()> {
        let python = self.python;
        let room = operand.room.as_ref()?;
        let place = &operand.described;
        let unchanged = match self.tensors.kind(python, room.tensor.object()) {
            Kind::Host(host) => host.address == room.address && host.form == place.form,
            _ => false,
        };
        if unchanged && (operand.in_place || self.upload(place, room.address, stream)) {
            return Some(());
        }
        let arguments = vec![python.share(operand.object), python.share(room.tensor.object())];
        python.call_with(self.write_back as Object, arguments, Vec::new()).map(drop)
    }

    /// Copies to a device tensor of a call whose operands have been waited for.
    pub(super) fn upload(&self, place: &Described, host: usize, stream: usize) -> bool {
        let uploaded = copying(Way::Out, || self.put(place, host, stream));
        if uploaded {
            moved(Way::Out, place.bytes as u64);
        }
        uploaded
    }

    fn put(&self, place: &Described, host: usize, stream: usize) -> bool {
        if hosted::holds(place.address, place.bytes) {
            if !self.settles(place.device, stream) {
                return false;
            }
            let copy = || {
                // SAFETY: memory of the new or written tensor, of which nothing is queued any more on the stream that was
                // waited for; the host tensor has as many bytes.
                unsafe { copies::copy_on_host(place.address, host, place.bytes) };
            };
            if place.bytes < WORTH_UNLOCKING {
                copy();
            } else {
                self.python.unlocked(copy);
            }
            return true;
        }
        let copy = || {
            // SAFETY: the host tensor has the bytes of the place's form and is pageable memory of PyTorch's.
            unsafe { Queue::of(place.device, stream)?.write(place.address, host, place.bytes) }
        };
        place.bytes == 0 || self.python.unlocked(copy).is_ok()
    }

    /// Waits for what is queued on the stream that memory was allocated for: the host is about to write it, and the last
    /// user of the block may be a call, of another thread's, that has not computed yet. False if that cannot be.
    pub(super) fn settles(&self, device: i32, stream: usize) -> bool {
        let Ok(queue) = Queue::of(device, stream) else { return false };
        queue.is_idle() || self.python.unlocked(|| queue.wait()).is_ok()
    }

    /// A device tensor with a host result's contents, or the same of each in a list; anything else as it is.
    pub(super) fn lift(&self, result: Object, device: i32, stream: usize) -> Option<Ref> {
        let python = self.python;
        let kind = self.type_of(result);
        if result as usize == self.none || self.number_types.contains(&kind) {
            return Ref::take(python, python.share(result));
        }
        if kind == self.list_type {
            let list = self.elements(result, true);
            // SAFETY: the lock is held.
            let made = Ref::take(python, unsafe { (python.list_new)(list.len() as isize) })?;
            for (position, item) in list.into_iter().enumerate() {
                let item = self.lift(item, device, stream)?;
                // SAFETY: a place of the new list, which takes the reference.
                unsafe { (python.list_set)(made.object(), position as isize, item.release()) };
            }
            return Some(made);
        }
        if let Kind::Host(host) = self.tensors.kind(python, result)
            && host.form.is_dense()
            && let Some((object, address)) = self.tensors.new_on_device(&host.form, device)
        {
            let lifted = Ref::take(python, object)?;
            let from = host.address;
            if self.upload(&Described { address, device, ..host }, from, stream) {
                return Some(lifted);
            }
        }
        // SAFETY: the lock is held.
        let device = unsafe { (python.long_from)(device.into()) };
        python.call_with(self.lift as Object, vec![python.share(result), device], Vec::new())
    }
}
