//! What a call may ask for: operands to read, to write, or both, as matrices, triangles and tensors.
//!
//! Each is copied now, or noted on the tape of a call that may be put off, or handed out again when such a call computes.

#![allow(unsafe_code)]

use gpucompat_engine::{Layout, Triangle};

use super::address::Memory;
use super::copies::Direction;
use super::host_buffer::{HostBuffer, Plain};
use super::pool::Block;
use super::region::{Bases, CopyPlan, HostLayout, Rectangle, Region};
use super::staged::{Contents, Elements, Staged, zero};
use super::tape::{Lent, Move, Role, Room};
use super::tensor::TensorRegion;
use super::transfer::{Order, Transfer};
use super::triangle::plan_triangle;
use crate::boundary::status::Error;

impl Transfer {
    /// Makes a read-only operand readable after [`Transfer::wait`]: in place where the host can see the
    /// memory, by the copies of its plan where not.
    pub fn operand<T: Plain>(&self, name: &'static str, region: &Region) -> Result<Staged<'_, T>, Error> {
        if let Some(lent) = self.lent(None)? {
            return Ok(lent);
        }
        match self.readable_in_place(region)? {
            Some((start, layout)) => Ok(self.in_place(start, layout)),
            None => self.fetch(name, region.plan(size_of::<T>())?, Role::Input),
        }
    }

    /// An operand that is read and written: queues the copies that fetch `region` into memory of our own; its elements are
    /// there after [`Transfer::wait`].
    pub fn copy_in<T: Plain>(&self, name: &'static str, region: &Region) -> Result<Staged<'_, T>, Error> {
        self.fetch(name, region.plan(size_of::<T>())?, Role::Output)
    }

    /// Host memory of our own for one triangle of the square matrix of `region`, of which only that is fetched
    /// and written.
    pub fn triangle<T: Plain>(
        &self,
        name: &'static str,
        region: &Region,
        triangle: Triangle,
        contents: Contents,
    ) -> Result<Staged<'_, T>, Error> {
        self.output(name, plan_triangle(region, triangle, size_of::<T>())?, contents)
    }

    /// Makes a tensor that is only read readable after [`Transfer::wait`], in place where the host can see all
    /// of it; the layout says where its elements then are.
    pub fn tensor<T: Plain>(
        &self,
        name: &'static str,
        region: &TensorRegion,
    ) -> Result<(Staged<'_, T>, Layout), Error> {
        let plan = region.plan_read(size_of::<T>())?;
        if let Some(lent) = self.lent(None)? {
            let layout = if lent.is_in_place() { region.layout } else { plan.layout };
            return Ok((lent, layout));
        }
        if let Some(start) = self.tensor_in_place(region)? {
            let elements = region.checked_extent(size_of::<T>())?;
            let layout = HostLayout { col_stride: 1, batch_stride: 0, elements };
            return Ok((self.in_place(start, layout), region.layout));
        }
        Ok((self.fetch(name, plan.copies, Role::Input)?, plan.layout))
    }

    /// Host memory of our own for a tensor that is written: its elements as they are now, fetched, or zeros.
    pub fn tensor_to_write<T: Plain>(
        &self,
        name: &'static str,
        region: &TensorRegion,
        contents: Contents,
    ) -> Result<(Staged<'_, T>, Layout), Error> {
        let plan = region.plan(size_of::<T>())?;
        Ok((self.output(name, plan.copies, contents)?, plan.layout))
    }

    fn output<T: Plain>(
        &self,
        name: &'static str,
        plan: CopyPlan,
        contents: Contents,
    ) -> Result<Staged<'_, T>, Error> {
        match contents {
            Contents::Fetched => self.fetch(name, plan, Role::Output),
            Contents::Zeros => self.room(name, plan),
        }
    }

    /// Host memory for an operand, and the copies that fill it.
    fn fetch<T: Plain>(
        &self,
        name: &'static str,
        plan: CopyPlan,
        role: Role,
    ) -> Result<Staged<'_, T>, Error> {
        if let Some(lent) = self.lent(Some(&plan))? {
            return Ok(lent);
        }
        let bytes = plan.bytes(size_of::<T>());
        // Where the copies fill all of the memory, what it held before does not matter.
        let whole = bytes == (plan.layout.elements * size_of::<T>()) as u64;
        let mut staged = self.blank(name, plan, role)?;
        if !whole {
            zero(staged.elements_mut());
        }
        if let Order::Deferrable(_) = self.order {
            self.fill(&staged)?;
        } else {
            self.run_plan(name, &mut staged, Direction::In)?;
        }
        self.bytes_in.set(self.bytes_in.get() + bytes);
        Ok(staged)
    }

    /// Host memory for `region`, zeroed, nothing fetched: for an output that is only written.
    pub fn room_for<T: Plain>(&self, name: &'static str, region: &Region) -> Result<Staged<'_, T>, Error> {
        self.room(name, region.plan(size_of::<T>())?)
    }

    fn room<T: Plain>(&self, name: &'static str, plan: CopyPlan) -> Result<Staged<'_, T>, Error> {
        if let Some(lent) = self.lent(Some(&plan))? {
            return Ok(lent);
        }
        let mut staged = self.blank::<T>(name, plan, Role::Output)?;
        zero(staged.elements_mut());
        if let (Order::Deferrable(ours), Elements::Lent { place: Some(place), .. }) =
            (&self.order, &staged.elements)
            && let Some(room) = ours.tape.borrow_mut().room_mut(*place)
        {
            room.zeros = true;
        }
        Ok(staged)
    }

    /// Host memory for an operand, of any contents: the tape's if the call may be put off, else the operand's own.
    fn blank<T: Plain>(
        &self,
        name: &'static str,
        plan: CopyPlan,
        role: Role,
    ) -> Result<Staged<'_, T>, Error> {
        match self.order {
            Order::Deferrable(_) => self.noted(name, plan, role),
            _ => Ok(self.staged(HostBuffer::for_copies(plan.layout.elements)?, plan)),
        }
    }

    pub(super) fn staged<T: Plain>(&self, buffer: HostBuffer<T>, plan: CopyPlan) -> Staged<'_, T> {
        Staged { elements: Elements::Copied(buffer), layout: plan.layout, plan, transfer: self }
    }

    fn in_place<T: Plain>(&self, start: *const T, layout: HostLayout) -> Staged<'_, T> {
        if let Order::Deferrable(plan) = &self.order {
            plan.tape.borrow_mut().push_in_place(start as usize, layout);
        }
        let plan = CopyPlan { layout, rectangles: Vec::new() };
        Staged { elements: Elements::InPlace(start, layout.elements), layout, plan, transfer: self }
    }

    /// The operand that the first run staged, in the second one.
    fn lent<T: Plain>(&self, plan: Option<&CopyPlan>) -> Result<Option<Staged<'_, T>>, Error> {
        let Order::Computing { tape, reading } = &self.order else { return Ok(None) };
        let (elements, layout) = match reading.operand::<T>(tape)? {
            Lent::Room(start, layout) => {
                (Elements::Lent { start, count: layout.elements, place: None }, layout)
            }
            Lent::InPlace(start, layout) => (Elements::InPlace(start, layout.elements), layout),
        };
        if plan.is_some_and(|plan| plan.layout != layout) {
            return Err(Error::Internal);
        }
        let plan = CopyPlan { layout, rectangles: Vec::new() };
        Ok(Some(Staged { elements, layout, plan, transfer: self }))
    }

    /// Host memory that the tape owns.
    fn noted<T: Plain>(
        &self,
        name: &'static str,
        plan: CopyPlan,
        role: Role,
    ) -> Result<Staged<'_, T>, Error> {
        let Order::Deferrable(ours) = &self.order else { return Err(Error::Internal) };
        let bytes = plan.layout.elements.checked_mul(size_of::<T>()).ok_or(Error::AllocFailed)?;
        let block = match bytes {
            0 => None,
            _ => Some(Block::take_locked(bytes).or_else(|error| {
                // The driver copies from other memory too, but not behind the caller's back.
                self.answers_at_once();
                if ours.captured { Err(error) } else { Block::take(bytes) }
            })?),
        };
        let mut room = Room::new(name, role, block, bytes, plan.layout);
        if role == Role::Output {
            room.writes = self.moves(name, &plan.rectangles, size_of::<T>())?;
        }
        let start = room.start().cast();
        let place = Some(ours.tape.borrow_mut().push_room(room));
        let elements = Elements::Lent { start, count: plan.layout.elements, place };
        Ok(Staged { elements, layout: plan.layout, plan, transfer: self })
    }

    /// Queues the copies that fill a noted operand; those that the host makes wait until the others have run.
    fn fill<T: Plain>(&self, staged: &Staged<'_, T>) -> Result<(), Error> {
        let (Order::Deferrable(ours), Elements::Lent { place: Some(place), .. }) =
            (&self.order, &staged.elements)
        else {
            return Err(Error::Internal);
        };
        let mut tape = ours.tape.borrow_mut();
        let room = tape.room_mut(*place).ok_or(Error::Internal)?;
        let host = room.start().as_ptr();
        room.fetches = self.moves(room.name, &staged.plan.rectangles, size_of::<T>())?;
        for part in room.fetches.iter().filter(|part| !part.visible) {
            self.pending.set(true);
            self.queue_rectangle(&part.rectangle, Direction::In, host.wrapping_add(part.rectangle.host))?;
        }
        Ok(())
    }

    /// The copies of rectangles, in bytes, each with who makes it.
    fn moves(&self, name: &'static str, rectangles: &[Rectangle], size: usize) -> Result<Vec<Move>, Error> {
        let of = |rectangle: &Rectangle| {
            let rectangle = rectangle.in_bytes(size);
            match self.memory(rectangle.device)? {
                Memory::Device => Ok(Move { rectangle, visible: false }),
                Memory::Host { bytes } if bytes.is_none_or(|bytes| bytes >= rectangle.device_extent()) => {
                    Ok(Move { rectangle, visible: true })
                }
                Memory::Host { .. } | Memory::Unreachable => Err(Error::BadAddress(name)),
            }
        };
        rectangles.iter().map(of).collect()
    }

    pub(super) fn set_writes(&self, place: usize, parts: &[Rectangle], size: usize) -> Result<(), Error> {
        let Order::Deferrable(ours) = &self.order else { return Err(Error::Internal) };
        let mut tape = ours.tape.borrow_mut();
        let room = tape.room_mut(place).ok_or(Error::Internal)?;
        room.writes = self.moves(room.name, parts, size)?;
        Ok(())
    }

    /// The address and layout of `region` if the host can read all of it where it is.
    fn readable_in_place<T: Plain>(&self, region: &Region) -> Result<Option<(*const T, HostLayout)>, Error> {
        let Bases::Strided { base, stride, count } = region.bases else { return Ok(None) };
        let (Ok(step), true) = (usize::try_from(stride), region.rows * region.cols * count > 0) else {
            return Ok(None);
        };
        let Memory::Host { bytes: Some(bytes) } = self.memory(base)? else { return Ok(None) };
        let last = (count - 1).checked_mul(step).zip((region.cols - 1).checked_mul(region.ld));
        let extent = last.and_then(|(batch, col)| batch.checked_add(col)?.checked_add(region.rows));
        let start = base as *const T;
        match extent {
            Some(elements) if elements <= bytes / size_of::<T>() && start.is_aligned() => {
                Ok(Some((start, HostLayout { col_stride: region.ld, batch_stride: step, elements })))
            }
            _ => Ok(None),
        }
    }

    /// The address of `region` if the host can read all of it where it is.
    fn tensor_in_place<T: Plain>(&self, region: &TensorRegion) -> Result<Option<*const T>, Error> {
        let extent = region.checked_extent(size_of::<T>())?;
        let start = region.base as *const T;
        if extent == 0 || !start.is_aligned() {
            return Ok(None);
        }
        match self.memory(region.base)? {
            Memory::Host { bytes: Some(bytes) } if extent <= bytes / size_of::<T>() => Ok(Some(start)),
            _ => Ok(None),
        }
    }
}
