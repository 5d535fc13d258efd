//! The copies of one call: operands in, result out, in the order of the caller's stream.
//!
//! Everything is queued on the caller's stream, so a copy sees what earlier work on it wrote, and later
//! work sees our result. The call waits for its copies: when it returns, the result is on its way in
//! stream order and no host buffer is in use.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_void;

use cudarc::driver::sys::{CUDA_MEMCPY2D_st, CUmemorytype_enum as MemoryType};
use gpucompat_engine::{Layout, Triangle};

use super::address::{Memory, classify};
use super::host_buffer::{HostBuffer, Plain};
use super::region::{Bases, CopyPlan, HostLayout, Rectangle, Region};
use super::tensor::TensorRegion;
use super::triangle::plan_triangle;
use super::visible::copy_visible;
use crate::boundary::status::Error;
use crate::native::context::{Context, Device, Entered, Stream};
use crate::native::driver::{DriverError, check, driver};
use crate::native::read_host_memory;

/// The widest pitch that `cuMemcpy2D` takes on every device; wider rectangles go run by run.
const MAX_PITCH_BYTES: usize = i32::MAX as usize;

/// One call's copies.
pub struct Transfer {
    stream: Stream,
    device: Device,
    /// Whether an address that the driver does not know is host memory of the program's.
    host_operands: bool,
    /// Whether copies into or out of our buffers may still be running.
    pending: Cell<bool>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    _entered: Entered,
}

/// An operand on the host. It goes only after the copies that use its memory have run.
pub struct Staged<'t, T: Plain> {
    elements: Elements<T>,
    /// Where its elements lie.
    pub layout: HostLayout,
    plan: CopyPlan,
    transfer: &'t Transfer,
}

enum Elements<T: Plain> {
    /// A packed copy.
    Copied(HostBuffer<T>),
    /// The caller's own memory, which the host may read in place.
    InPlace(*const T, usize),
}

impl<T: Plain> Staged<'_, T> {
    /// The elements; valid after [`Transfer::wait`].
    pub fn elements(&self) -> &[T] {
        match &self.elements {
            Elements::Copied(buffer) => buffer,
            // SAFETY: `operand` has compared the extent with the allocation's end and the alignment with
            // `T`'s; the caller owes us, as it owes the real library, that nothing writes there meanwhile.
            Elements::InPlace(start, count) => unsafe { std::slice::from_raw_parts(*start, *count) },
        }
    }

    /// The elements, to be written; empty for an operand that is read in place.
    pub fn elements_mut(&mut self) -> &mut [T] {
        match &mut self.elements {
            Elements::Copied(buffer) => buffer,
            Elements::InPlace(..) => &mut [],
        }
    }

    /// Narrows what [`Transfer::copy_out`] writes back to these parts of the operand.
    pub fn write_only(&mut self, parts: Vec<Rectangle>) {
        self.plan.rectangles = parts;
    }
}

impl<T: Plain> Drop for Staged<'_, T> {
    fn drop(&mut self) {
        if self.transfer.pending.get() {
            let _ = self.transfer.wait();
        }
    }
}

impl Transfer {
    /// Copies in the order of `stream`, in `context`; refused while the stream records a graph, in which
    /// nothing can be computed now.
    pub fn on(context: Context, device: Device, stream: Stream) -> Result<Transfer, Error> {
        let entered = context.enter()?;
        if stream.is_capturing()? {
            return Err(Error::NotSupported("a call while its stream is captured into a graph"));
        }
        let zero = || Cell::new(0);
        let pending = Cell::new(false);
        let (bytes_in, bytes_out) = (zero(), zero());
        Ok(Transfer { stream, device, host_operands: false, pending, bytes_in, bytes_out, _entered: entered })
    }

    /// The same, for functions whose operands may also lie in host memory that no CUDA call made: an address that
    /// the driver does not know is then one of the program's own.
    #[must_use]
    pub fn with_host_operands(self) -> Transfer {
        Transfer { host_operands: true, ..self }
    }

    /// What kind of memory an operand's address is.
    fn memory(&self, address: u64) -> Result<Memory, DriverError> {
        match classify(address, self.device)? {
            Memory::Unreachable if self.host_operands => Ok(Memory::Host { bytes: None }),
            memory => Ok(memory),
        }
    }

    /// Bytes fetched from the device so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.get()
    }

    /// Bytes written to the device so far.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.get()
    }

    /// Makes a read-only operand readable after [`Transfer::wait`]: in place where the host can see the
    /// memory, by the copies of its plan where not.
    pub fn operand<T: Plain>(&self, name: &'static str, region: &Region) -> Result<Staged<'_, T>, Error> {
        match self.readable_in_place(region)? {
            Some((start, layout)) => Ok(Staged {
                elements: Elements::InPlace(start, layout.elements),
                layout,
                plan: CopyPlan { layout, rectangles: Vec::new() },
                transfer: self,
            }),
            None => self.copy_in(name, region),
        }
    }

    /// Queues the copies that fetch `region` into memory of our own; its elements are there after
    /// [`Transfer::wait`].
    pub fn copy_in<T: Plain>(&self, name: &'static str, region: &Region) -> Result<Staged<'_, T>, Error> {
        self.fetch(name, region.plan(size_of::<T>())?)
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
        let plan = plan_triangle(region, triangle, size_of::<T>())?;
        match contents {
            Contents::Fetched => self.fetch(name, plan),
            Contents::Zeros => self.room(plan),
        }
    }

    /// Makes a tensor that is only read readable after [`Transfer::wait`], in place where the host can see all
    /// of it; the layout says where its elements then are.
    pub fn tensor<T: Plain>(
        &self,
        name: &'static str,
        region: &TensorRegion,
    ) -> Result<(Staged<'_, T>, Layout), Error> {
        if let Some(start) = self.tensor_in_place(region)? {
            let elements = region.checked_extent(size_of::<T>())?;
            let layout = HostLayout { col_stride: 1, batch_stride: 0, elements };
            let plan = CopyPlan { layout, rectangles: Vec::new() };
            let elements = Elements::InPlace(start, elements);
            return Ok((Staged { elements, layout, plan, transfer: self }, region.layout));
        }
        let plan = region.plan_read(size_of::<T>())?;
        Ok((self.fetch(name, plan.copies)?, plan.layout))
    }

    /// Host memory of our own for a tensor that is written: its elements as they are now, fetched, or zeros.
    pub fn tensor_to_write<T: Plain>(
        &self,
        name: &'static str,
        region: &TensorRegion,
        contents: Contents,
    ) -> Result<(Staged<'_, T>, Layout), Error> {
        let plan = region.plan(size_of::<T>())?;
        let staged = match contents {
            Contents::Fetched => self.fetch(name, plan.copies)?,
            Contents::Zeros => self.room(plan.copies)?,
        };
        Ok((staged, plan.layout))
    }

    fn fetch<T: Plain>(&self, name: &'static str, plan: CopyPlan) -> Result<Staged<'_, T>, Error> {
        // Where the copies fill all of the memory, what it held before does not matter.
        let whole = plan.bytes(size_of::<T>()) == (plan.layout.elements * size_of::<T>()) as u64;
        let mut staged = if whole {
            self.staged(HostBuffer::unspecified(plan.layout.elements)?, plan)
        } else {
            self.room(plan)?
        };
        self.run_plan(name, &mut staged, Direction::In)?;
        self.bytes_in.set(self.bytes_in.get() + staged.plan.bytes(size_of::<T>()));
        Ok(staged)
    }

    /// Host memory for `region`, zeroed, nothing fetched: for an output that is only written.
    pub fn room_for<T: Plain>(&self, region: &Region) -> Result<Staged<'_, T>, Error> {
        self.room(region.plan(size_of::<T>())?)
    }

    fn room<T: Plain>(&self, plan: CopyPlan) -> Result<Staged<'_, T>, Error> {
        Ok(self.staged(HostBuffer::zeroed(plan.layout.elements)?, plan))
    }

    fn staged<T: Plain>(&self, buffer: HostBuffer<T>, plan: CopyPlan) -> Staged<'_, T> {
        Staged { elements: Elements::Copied(buffer), layout: plan.layout, plan, transfer: self }
    }

    /// Waits until everything queued on the stream, our copies included, has run.
    pub fn wait(&self) -> Result<(), Error> {
        let waited = self.stream.synchronize();
        self.pending.set(false);
        Ok(waited?)
    }

    /// Writes a staged operand back to where its region lies, and waits: the only write to the caller's
    /// memory. The destinations are checked before the first byte moves.
    pub fn copy_out<T: Plain>(&self, name: &'static str, mut staged: Staged<'_, T>) -> Result<(), Error> {
        self.check_destination(name, &staged)?;
        self.run_plan(name, &mut staged, Direction::Out)?;
        self.bytes_out.set(self.bytes_out.get() + staged.plan.bytes(size_of::<T>()));
        self.wait()
    }

    /// Whether [`Transfer::copy_out`] could write all of a staged operand: a call with several results asks
    /// for each before it writes the first.
    pub fn check_destination<T: Plain>(
        &self,
        name: &'static str,
        staged: &Staged<'_, T>,
    ) -> Result<(), Error> {
        for copy in &staged.plan.rectangles {
            if self.memory(copy.device)? == Memory::Unreachable {
                return Err(Error::BadAddress(name));
            }
        }
        Ok(())
    }

    /// Reads `count` consecutive elements at `address` at once (pointer arrays, device-side scalars).
    pub fn read_now<T: Plain>(
        &self,
        name: &'static str,
        address: u64,
        count: usize,
    ) -> Result<Staged<'_, T>, Error> {
        let bases = Bases::Strided { base: address, stride: 0, count: 1 };
        let staged = self.copy_in(name, &Region { rows: count, cols: 1, ld: count.max(1), bases })?;
        self.wait()?;
        Ok(staged)
    }

    /// Reads `count` integers at once that may lie in device memory, or in host memory that no CUDA call made.
    pub fn read_numbers(&self, name: &'static str, address: u64, count: usize) -> Result<Vec<i32>, Error> {
        if self.memory(address)? != Memory::Unreachable {
            return Ok(self.read_now::<i32>(name, address, count)?.elements().to_vec());
        }
        let mut bytes = vec![0; count.checked_mul(size_of::<i32>()).ok_or(Error::AllocFailed)?];
        if !read_host_memory(address, &mut bytes) {
            return Err(Error::BadAddress(name));
        }
        let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        Ok(bytes.chunks_exact(size_of::<i32>()).map(number).collect())
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

    /// Queues a copy of bytes between the device and `host`, the caller's own memory, whose rectangle begins there.
    ///
    /// # Safety
    /// `host` has the rectangle's extent, readable or writable as the direction asks, until the stream has been waited
    /// for.
    pub unsafe fn copy_bytes(
        &self,
        name: &'static str,
        copy: &Rectangle,
        direction: Direction,
        host: *mut u8,
    ) -> Result<(), Error> {
        self.copy_rectangle(name, copy, direction, host)
    }

    /// Queues every copy of a staged operand's plan.
    fn run_plan<T: Plain>(
        &self,
        name: &'static str,
        staged: &mut Staged<'_, T>,
        direction: Direction,
    ) -> Result<(), Error> {
        let Elements::Copied(buffer) = &mut staged.elements else { return Ok(()) };
        let host = buffer.as_mut_ptr();
        staged
            .plan
            .rectangles
            .iter()
            .try_for_each(|copy| self.copy_rectangle(name, copy, direction, host.wrapping_add(copy.host)))
    }

    /// Moves one rectangle between the device (or host-visible memory) and `host`.
    fn copy_rectangle<T: Plain>(
        &self,
        name: &'static str,
        copy: &Rectangle,
        direction: Direction,
        host: *mut T,
    ) -> Result<(), Error> {
        match self.memory(copy.device)? {
            Memory::Unreachable => Err(Error::BadAddress(name)),
            Memory::Device => {
                self.pending.set(true);
                Ok(self.queue_rectangle(copy, direction, host)?)
            }
            Memory::Host { bytes } => {
                let extent = ((copy.height - 1) * copy.device_pitch + copy.width) * size_of::<T>();
                if bytes.is_some_and(|bytes| bytes < extent) {
                    return Err(Error::BadAddress(name));
                }
                self.wait()?;
                copy_visible(copy, direction, host);
                Ok(())
            }
        }
    }

    fn queue_rectangle<T: Plain>(
        &self,
        copy: &Rectangle,
        direction: Direction,
        host: *mut T,
    ) -> Result<(), DriverError> {
        let size = size_of::<T>();
        if copy.height == 1 {
            return self.queue_run(copy.device, host.cast(), copy.width * size, direction);
        }
        if copy.device_pitch * size > MAX_PITCH_BYTES {
            return (0..copy.height).try_for_each(|run| {
                let device = copy.device + (run * copy.device_pitch * size) as u64;
                self.queue_run(
                    device,
                    host.wrapping_add(run * copy.host_pitch).cast(),
                    copy.width * size,
                    direction,
                )
            });
        }
        let (device_pitch, host_pitch) = (copy.device_pitch * size, copy.host_pitch * size);
        let (source, target) = (MemoryType::CU_MEMORYTYPE_DEVICE, MemoryType::CU_MEMORYTYPE_HOST);
        let into_host = direction == Direction::In;
        let (source, target) = if into_host { (source, target) } else { (target, source) };
        let copy = CUDA_MEMCPY2D_st {
            srcXInBytes: 0,
            srcY: 0,
            srcMemoryType: source,
            srcHost: host.cast(),
            srcDevice: copy.device,
            srcArray: std::ptr::null_mut(),
            srcPitch: if into_host { device_pitch } else { host_pitch },
            dstXInBytes: 0,
            dstY: 0,
            dstMemoryType: target,
            dstHost: host.cast(),
            dstDevice: copy.device,
            dstArray: std::ptr::null_mut(),
            dstPitch: if into_host { host_pitch } else { device_pitch },
            WidthInBytes: copy.width * size,
            Height: copy.height,
        };
        // SAFETY: `host` has room for the rectangle (the plan sized the buffer) and lives until the copy has
        // run, for which a dropped `Staged` waits; the device side is checked by the driver against its
        // allocations.
        check(unsafe { (driver()?.copy_2d)(&raw const copy, self.stream.0) })
    }

    fn queue_run(
        &self,
        device: u64,
        host: *mut c_void,
        bytes: usize,
        direction: Direction,
    ) -> Result<(), DriverError> {
        let driver = driver()?;
        // SAFETY: as in `queue_rectangle`, one run.
        check(unsafe {
            match direction {
                Direction::In => (driver.copy_out_of_device)(host, device, bytes, self.stream.0),
                Direction::Out => (driver.copy_to_device)(device, host, bytes, self.stream.0),
            }
        })
    }
}

/// What an operand that is written holds on the host before it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// What it holds on the device.
    Fetched,
    /// Zeros: its elements are not read.
    Zeros,
}

/// Which way a copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Device to host.
    In,
    /// Host to device.
    Out,
}
