//! The arguments of a call on their way to the host: which are device tensors, and the rooms that hold their copies.

#![allow(unsafe_code)]

use super::copies::Queue;
use super::ground::{Ground, Scalar};
use super::python::{Object, Ref};
use super::rooms::Room;
use super::torch::{Described, Form, Kind};
use crate::memory::hosted;
use crate::native::context::Device;
use crate::observe::{Way, copying, moved};
use crate::staging::address::host_reaches;

/// Why the fast path does not serve a call.
pub(super) struct NotPlain;

/// How the schema says an argument is to be treated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Passed on as it is.
    Plain,
    /// A tensor, a list of tensors, or a number that stands for one.
    Tensor,
    /// Devices and generators: the Python replacement's business unless absent.
    Absent,
}

pub(super) struct Argument {
    /// The interned name.
    pub(super) name: usize,
    pub(super) role: Role,
    pub(super) written: bool,
    /// Written, never read.
    pub(super) out: bool,
}

/// A device tensor among the arguments.
pub(super) struct Operand {
    pub(super) object: Object,
    pub(super) described: Described,
    pub(super) written: bool,
    pub(super) read: bool,
    pub(super) room: Option<Room>,
    /// The room is the device tensor's own memory, which the host can see: nothing is copied.
    pub(super) in_place: bool,
}

/// Bytes of an operand from which it is worth asking the driver whether the host can see it.
pub(super) const WORTH_ASKING: usize = 256 << 10;

/// An argument on its way to the host.
pub(super) enum HostArgument {
    Same(Object),
    /// A number where the schema has a tensor; its position among the numbers.
    Number(usize),
    Operand(usize),
    List(Vec<HostArgument>),
}

/// The operands of a call, and its numbers that stand for tensors, in rooms where that is the same to PyTorch.
#[derive(Default)]
pub(super) struct Operands<'g> {
    pub(super) tensors: Vec<Operand>,
    pub(super) numbers: Vec<(Object, Option<(Room, &'g Scalar)>)>,
}

/// Whether memory that is written overlaps another argument's: then separate copies would miss writes.
pub(super) fn overlap(operands: &[Operand]) -> bool {
    operands.iter().enumerate().filter(|(_, written)| written.written).any(|(position, written)| {
        let (start, end) = (written.described.address, written.described.address + written.described.bytes);
        operands.iter().enumerate().any(|(other, operand)| {
            let place = &operand.described;
            other != position && place.address < end && start < place.address + place.bytes
        })
    })
}

impl Ground {
    /// What stands for an argument on the host; device tensors become operands.
    pub(super) fn to_host(
        &self,
        argument: &Argument,
        object: Object,
        operands: &mut Operands<'_>,
    ) -> Result<HostArgument, NotPlain> {
        if argument.role == Role::Plain || object as usize == self.none {
            return Ok(HostArgument::Same(object));
        }
        if argument.role == Role::Absent {
            let absent = object as usize == self.falsehood;
            return if absent { Ok(HostArgument::Same(object)) } else { Err(NotPlain) };
        }
        let kind = self.type_of(object);
        if self.tensor_types.contains(&kind) {
            self.operand(argument, object, operands)
        } else if kind == self.list_type || kind == self.tuple_type {
            let list = self.elements(object, kind == self.list_type);
            list.into_iter()
                .map(|item| {
                    if item as usize == self.none {
                        Ok(HostArgument::Same(item))
                    } else if self.tensor_types.contains(&self.type_of(item)) {
                        self.operand(argument, item, operands)
                    } else {
                        Err(NotPlain)
                    }
                })
                .collect::<Result<_, _>>()
                .map(HostArgument::List)
        } else if self.number_types.contains(&kind) && !argument.written {
            operands.numbers.push((object, None));
            Ok(HostArgument::Number(operands.numbers.len() - 1))
        } else {
            Err(NotPlain)
        }
    }

    pub(super) fn operand(
        &self,
        argument: &Argument,
        object: Object,
        operands: &mut Operands<'_>,
    ) -> Result<HostArgument, NotPlain> {
        let operands = &mut operands.tensors;
        if let Some(known) = operands.iter().position(|operand| operand.object == object) {
            operands[known].written |= argument.written;
            operands[known].read |= !argument.out;
            return Ok(HostArgument::Operand(known));
        }
        match self.tensors.kind(self.python, object) {
            Kind::Device(described) => {
                let read = !argument.out || !described.form.is_dense();
                let written = argument.written;
                operands.push(Operand { object, described, written, read, room: None, in_place: false });
                Ok(HostArgument::Operand(operands.len() - 1))
            }
            // One number on the host goes with any device, as in PyTorch.
            Kind::Host(described) if described.form.dim() == 0 && !argument.written => {
                Ok(HostArgument::Same(object))
            }
            Kind::Host(_) | Kind::Other => Err(NotPlain),
        }
    }

    /// Rooms for the operands, filled in the order of the stream. `pointwise`: the operator refuses an element type
    /// before it writes anything.
    pub(super) fn fill(
        &self,
        operands: &mut [Operand],
        pointwise: bool,
        device: i32,
        stream: usize,
    ) -> Result<(), NotPlain> {
        for operand in operands.iter_mut() {
            let Described { form, bytes, .. } = &operand.described;
            // What is computed once more in a wider type must be what it was.
            let kept = !operand.written || pointwise || !form.is_narrow();
            if operand.read
                && kept
                && let Some(room) = self.own_memory(&operand.described)
            {
                operand.room = Some(room);
                operand.in_place = true;
                continue;
            }
            operand.room = Some(match self.rooms.take(form, *bytes) {
                Some(room) => room,
                None => self.new_room(operand.object, form).ok_or(NotPlain)?,
            });
        }
        let copies: Vec<(usize, usize, usize)> = operands
            .iter()
            .filter(|operand| operand.read && !operand.in_place && operand.described.bytes > 0)
            .filter_map(|operand| {
                Some((operand.room.as_ref()?.address, operand.described.address, operand.described.bytes))
            })
            .collect();
        let bring = || {
            self.python.unlocked(|| {
                let queue = Queue::of(device, stream)?;
                queue.refuse_capture()?;
                for &(host, device, bytes) in &copies {
                    // SAFETY: a room of the operand's form, which is kept until after the wait.
                    unsafe { queue.read(host, device, bytes) }.inspect_err(|_| {
                        let _ = queue.wait();
                    })?;
                }
                queue.wait()
            })
        };
        copying(Way::In, bring).map_err(|_| NotPlain)?;
        moved(Way::In, copies.iter().map(|&(_, _, bytes)| bytes as u64).sum());
        Ok(())
    }

    /// Puts numbers that stand for tensors into rooms of no dimension: PyTorch takes longer to make a tensor of a
    /// number than to compute with it. Beside a tensor that has dimensions it promotes both alike, but for a real number
    /// beside whole ones; that, and whatever is no `int` or `float`, is left to the Python replacement.
    pub(super) fn fill_numbers<'g>(
        &'g self,
        operands: &mut Operands<'g>,
        pointwise: bool,
    ) -> Result<(), NotPlain> {
        let python = self.python;
        let mut forms = operands
            .tensors
            .iter()
            .map(|operand| &operand.described.form)
            .filter(|form| form.dim() > 0)
            .peekable();
        let first = forms.peek().filter(|_| pointwise).ok_or(NotPlain)?.element();
        let alike = forms.clone().all(|form| form.element() == first);
        let any_real = forms.any(Form::is_real);
        let [int, float, ..] = self.number_types;
        for (object, room) in &mut operands.numbers {
            let kind = self.type_of(*object);
            if kind != float && kind != int || kind == float && !any_real {
                return Err(NotPlain);
            }
            // What all operands are converted to is known where they are alike; a number of that type is not
            // converted once more. Half types keep the double: PyTorch's kernels compute with it unrounded.
            let scalar =
                match [&self.single, &self.double].into_iter().find(|like| like.form.element() == first) {
                    Some(same) if alike => same,
                    _ if kind == int => &self.whole,
                    _ => &self.double,
                };
            // SAFETY: the lock is held; an int or a float by its type, or an exception for what 64 bits do not hold.
            let (real, whole) = unsafe {
                let real = (python.double_value)(*object);
                (real, if kind == int { (python.long_value)(*object) } else { 0 })
            };
            // SAFETY: the lock is held.
            if !unsafe { (python.error_occurred)() }.is_null() {
                // SAFETY: as above; the Python replacement meets the same number.
                unsafe { (python.clear_error)() };
                return Err(NotPlain);
            }
            let bits = if std::ptr::eq(scalar, &raw const self.single) {
                u64::from((real as f32).to_bits())
            } else if std::ptr::eq(scalar, &raw const self.double) {
                real.to_bits()
            } else {
                whole as u64
            };
            let found = self.rooms.take(&scalar.form, scalar.bytes);
            let found =
                found.or_else(|| self.new_room(scalar.like as Object, &scalar.form)).ok_or(NotPlain)?;
            let bytes = bits.to_ne_bytes();
            // SAFETY: a room of one element, of which nobody else knows; its first bytes are the number's low ones.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), found.address as *mut u8, scalar.bytes) };
            *room = Some((found, scalar));
        }
        Ok(())
    }

    /// A host tensor on a device tensor's own memory, if the host can see all of it.
    pub(super) fn own_memory(&self, described: &Described) -> Option<Room> {
        let Described { address, bytes, device, .. } = *described;
        let visible = hosted::holds(address, bytes)
            || bytes >= WORTH_ASKING && host_reaches(address as u64, bytes, Device(device));
        if !visible {
            return None;
        }
        let tensor = Ref::take(self.python, self.tensors.on_host(described)?)?;
        Some(Room { tensor, address: described.address })
    }

    pub(super) fn new_room(&self, like: Object, form: &Form) -> Option<Room> {
        let python = self.python;
        let made = python.call_with(self.host_room as Object, vec![python.share(like)], Vec::new());
        let Some(tensor) = made else {
            // The Python replacement meets the same failure and raises it.
            // SAFETY: the lock is held.
            unsafe { (python.clear_error)() };
            return None;
        };
        match self.tensors.kind(python, tensor.object()) {
            Kind::Host(described) if described.form == *form => {
                Some(Room { tensor, address: described.address })
            }
            _ => None,
        }
    }

    /// A new reference to what stands for an argument.
    pub(super) fn hand_over(&self, value: &HostArgument, operands: &Operands<'_>) -> Object {
        let python = self.python;
        match value {
            HostArgument::Same(object) => python.share(*object),
            HostArgument::Operand(position) => {
                let room = operands.tensors[*position].room.as_ref();
                python.share(room.map_or(self.none as Object, |room| room.tensor.object()))
            }
            HostArgument::Number(position) => {
                let (number, room) = &operands.numbers[*position];
                python.share(room.as_ref().map_or(*number, |(room, _)| room.tensor.object()))
            }
            HostArgument::List(list) => {
                // SAFETY: the lock is held.
                let made = unsafe { (python.list_new)(list.len() as isize) };
                for (position, item) in list.iter().enumerate() {
                    // SAFETY: a place of the new list, which takes the reference.
                    unsafe { (python.list_set)(made, position as isize, self.hand_over(item, operands)) };
                }
                made
            }
        }
    }

    /// After an operator that raised nothing: lets the rooms stand by again, but those whose tensor it gave another
    /// shape or memory.
    pub(super) fn leave(&self, operands: Operands<'_>) {
        for (room, scalar) in operands.numbers.into_iter().filter_map(|(_, room)| room) {
            self.rooms.put(&scalar.form, scalar.bytes, room);
        }
        for operand in operands.tensors {
            let Some(room) = operand.room.filter(|_| !operand.in_place) else { continue };
            let unchanged = !operand.written
                || matches!(self.tensors.kind(self.python, room.tensor.object()),
                    Kind::Host(host) if host.address == room.address && host.form == operand.described.form);
            if unchanged {
                self.rooms.put(&operand.described.form, operand.described.bytes, room);
            }
        }
    }
}
