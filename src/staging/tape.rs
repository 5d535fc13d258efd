//! What a call has staged, kept so that it can be computed later, and again whenever a graph is launched.
//!
//! A call that is put off runs twice: once to stage its operands, up to the point where it would wait for them, and once
//! more, on the driver's thread, to compute. The second time it asks for the same things in the same order and is handed what the
//! first time left here; nothing of the driver is asked then.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr::NonNull;

use super::copies::Direction;
use super::host_buffer::Plain;
use super::pool::Block;
use super::region::{HostLayout, Rectangle};
use super::visible::copy_visible;
use crate::boundary::status::Error;

/// What an operand is to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is only read.
    Input,
    /// It is written when the call has computed.
    Output,
}

/// A copy of bytes between an operand's host memory and where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    /// Which bytes.
    pub rectangle: Rectangle,
    /// Whether the host makes it, because it reaches both sides; the device otherwise.
    pub visible: bool,
}

/// Host memory of one operand.
pub struct Room {
    block: Option<Block>,
    bytes: usize,
    layout: HostLayout,
    /// Whether it is to be zeros before each computation.
    pub zeros: bool,
    /// Copies that bring it here.
    pub fetches: Vec<Move>,
    /// Copies that put it back; none for an input.
    pub writes: Vec<Move>,
    /// The argument's name.
    pub name: &'static str,
    /// What it is to the call.
    pub role: Role,
}

impl Room {
    /// Memory for an operand; `block` holds at least `bytes`, and is none for none.
    pub fn new(
        name: &'static str,
        role: Role,
        block: Option<Block>,
        bytes: usize,
        layout: HostLayout,
    ) -> Room {
        Room { block, bytes, layout, zeros: false, fetches: Vec::new(), writes: Vec::new(), name, role }
    }

    /// Its first byte; dangling, but aligned, where there is none.
    pub fn start(&self) -> NonNull<u8> {
        self.block.as_ref().map_or(NonNull::<u64>::dangling().cast(), Block::start)
    }

    fn fill(&self, byte: u8) {
        // SAFETY: `bytes` bytes are ours (see `new`); nobody else looks at them between two computations, or before the first.
        unsafe { self.start().as_ptr().write_bytes(byte, self.bytes) };
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            block.give_back();
        }
    }
}

/// One thing that a call has asked for.
enum Step {
    /// Host memory.
    Room(Room),
    /// Memory of the program's that is read where it is.
    InPlace { start: usize, layout: HostLayout },
    /// Bytes that were read while the call was made.
    Values(Vec<u8>),
}

/// All that a call has asked for, in order.
#[derive(Default)]
pub struct Tape {
    steps: Vec<Step>,
    bytes: usize,
}

// SAFETY: shared, the rooms are plain memory that one run at a time uses (`deferred` has runs take turns), and what else is
// here does not change.
unsafe impl Sync for Tape {}

/// Whether what is to be zeros is so since the call staged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// It is: nothing was computed there yet.
    AreThere,
    /// It holds what the last launch of a graph has left.
    AreNot,
}

/// An operand that the tape hands out.
pub enum Lent<T> {
    /// Host memory of its own.
    Room(NonNull<T>, HostLayout),
    /// The program's.
    InPlace(*const T, HostLayout),
}

impl Tape {
    /// Bytes of host memory that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it holds nothing that a copy could use.
    pub fn is_empty(&self) -> bool {
        self.rooms().next().is_none()
    }

    /// Notes host memory; its place.
    pub fn push_room(&mut self, room: Room) -> usize {
        self.bytes += room.bytes;
        self.steps.push(Step::Room(room));
        self.steps.len() - 1
    }

    /// Notes an operand that is read where it is.
    pub fn push_in_place(&mut self, start: usize, layout: HostLayout) {
        self.steps.push(Step::InPlace { start, layout });
    }

    /// Notes numbers that were read now.
    pub fn push_values<T: Plain>(&mut self, values: &[T]) {
        // SAFETY: `Plain` types have no padding; any of their bytes may be read.
        let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
        self.steps.push(Step::Values(bytes.to_vec()));
    }

    /// The room at a place that [`Tape::push_room`] has given.
    pub fn room_mut(&mut self, place: usize) -> Option<&mut Room> {
        match self.steps.get_mut(place) {
            Some(Step::Room(room)) => Some(room),
            _ => None,
        }
    }

    /// All host memory, in order.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.steps.iter().filter_map(|step| if let Step::Room(room) = step { Some(room) } else { None })
    }

    /// The host's own part of the copies in, after those of the device.
    pub fn bring(&self, zeros: Zeros) {
        for room in self.rooms() {
            if room.zeros && zeros == Zeros::AreNot {
                room.fill(0);
            }
            room.move_visible(&room.fetches, Direction::In);
        }
    }

    /// The host's own part of the copies out, before those of the device.
    pub fn put_back(&self) {
        self.rooms().for_each(|room| room.move_visible(&room.writes, Direction::Out));
    }

    /// Makes all results not-a-number: what could not be computed must not look like a result.
    pub fn spoil(&self) {
        self.rooms().filter(|room| room.role == Role::Output).for_each(|room| room.fill(0xff));
    }
}

impl Room {
    fn move_visible(&self, moves: &[Move], direction: Direction) {
        for part in moves.iter().filter(|part| part.visible) {
            copy_visible(&part.rectangle, direction, self.start().as_ptr().wrapping_add(part.rectangle.host));
        }
    }
}

/// A second run's place on the tape.
#[derive(Default)]
pub struct Reading {
    next: Cell<usize>,
    written: Cell<usize>,
}

impl Reading {
    fn step<'t>(&self, tape: &'t Tape) -> Result<&'t Step, Error> {
        let place = self.next.replace(self.next.get() + 1);
        tape.steps.get(place).ok_or(Error::Internal)
    }

    /// The next operand, of whatever kind it was the first time.
    pub fn operand<T: Plain>(&self, tape: &Tape) -> Result<Lent<T>, Error> {
        match self.step(tape)? {
            Step::Room(room) if room.bytes >= room.layout.elements * size_of::<T>() => {
                Ok(Lent::Room(room.start().cast(), room.layout))
            }
            Step::InPlace { start, layout } => Ok(Lent::InPlace(*start as *const T, *layout)),
            Step::Room(_) | Step::Values(_) => Err(Error::Internal),
        }
    }

    /// The next numbers.
    pub fn values<T: Plain>(&self, tape: &Tape) -> Result<Vec<T>, Error> {
        let Step::Values(bytes) = self.step(tape)? else { return Err(Error::Internal) };
        let count = bytes.len() / size_of::<T>();
        // SAFETY: `count` whole elements lie there, unaligned; `Plain` types take any bytes.
        Ok((0..count)
            .map(|index| unsafe { bytes.as_ptr().cast::<T>().add(index).read_unaligned() })
            .collect())
    }

    /// Notes that one result is there.
    pub fn wrote(&self) {
        self.written.set(self.written.get() + 1);
    }

    /// Whether all that was asked for the first time was asked for again, and every result is there.
    pub fn is_complete(&self, tape: &Tape) -> bool {
        let outputs = tape.rooms().filter(|room| room.role == Role::Output).count();
        self.next.get() == tape.steps.len() && self.written.get() == outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(elements: usize) -> HostLayout {
        HostLayout { col_stride: elements, batch_stride: 0, elements }
    }

    fn room(role: Role, elements: usize) -> Room {
        let bytes = elements * size_of::<f32>();
        Room::new("x", role, Some(Block::take(bytes).unwrap()), bytes, layout(elements))
    }

    #[test]
    fn a_second_run_gets_what_the_first_one_left_in_its_order() {
        let mut tape = Tape::default();
        tape.push_values(&[1.5f32, 2.5]);
        tape.push_room(room(Role::Input, 4));
        tape.push_in_place(4096, layout(3));
        tape.push_room(room(Role::Output, 2));
        assert_eq!(tape.bytes(), 24);
        for _ in 0..2 {
            let reading = Reading::default();
            assert_eq!(reading.values::<f32>(&tape).unwrap(), [1.5, 2.5]);
            assert!(matches!(
                reading.operand::<f32>(&tape),
                Ok(Lent::Room(_, HostLayout { elements: 4, .. }))
            ));
            assert!(
                matches!(reading.operand::<f32>(&tape), Ok(Lent::InPlace(start, _)) if start as usize == 4096)
            );
            assert!(matches!(reading.operand::<f32>(&tape), Ok(Lent::Room(..))));
            assert!(!reading.is_complete(&tape), "the result is missing");
            reading.wrote();
            assert!(reading.is_complete(&tape));
        }
    }

    #[test]
    fn a_run_that_asks_for_something_else_is_a_bug_and_no_memory() {
        let mut tape = Tape::default();
        tape.push_room(room(Role::Input, 4));
        assert!(matches!(Reading::default().values::<f32>(&tape), Err(Error::Internal)));
        assert!(matches!(Reading::default().operand::<f64>(&tape), Err(Error::Internal)), "twice the memory");
        let reading = Reading::default();
        assert!(reading.operand::<f32>(&tape).is_ok());
        assert!(matches!(reading.operand::<f32>(&tape), Err(Error::Internal)), "nothing more");
    }

    #[test]
    fn results_that_could_not_be_computed_are_not_numbers() {
        let mut tape = Tape::default();
        let place = tape.push_room(room(Role::Output, 5));
        tape.room_mut(place).unwrap().zeros = true;
        let start = tape.room_mut(place).unwrap().start().cast::<f32>();
        // SAFETY: five elements of the room's own.
        let elements = || unsafe { std::slice::from_raw_parts(start.as_ptr(), 5) };
        tape.bring(Zeros::AreNot);
        assert_eq!(elements(), [0.0; 5]);
        tape.spoil();
        assert!(elements().iter().all(|x| x.is_nan()));
    }
}
