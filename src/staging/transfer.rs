//! The copies of one call: operands in, result out, in the order of the caller's stream.
//!
//! Everything is queued on the caller's stream, so a copy sees what earlier work on it wrote, and later
//! work sees our result. A call either waits for its copies: when it returns, the result is on its way in
//! stream order and no host buffer is in use. Or it is put off ([`Transfer::deferrable`]): [`Transfer::wait`] ends it, and the
//! rest is computed in stream order after it has returned ([`super::deferred`]).

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::address::Memory;
use super::copies::Direction;
use super::deferred::{self, Compute, When};
use super::host_buffer::{HostBuffer, Plain};
use super::pool;
use super::region::{Bases, Region};
use super::staged::Staged;
use super::tape::{Reading, Tape, Zeros};
use crate::boundary::status::Error;
use crate::native::context::{Context, Device, Entered, Stream};
use crate::native::read_host_memory;
use crate::observe::{Way, copying};

/// A call that moves no more than this, bytes, on a stream that is idle, is computed at once: nothing could overlap with it.
const SMALL: usize = 256 << 10;

/// One call's copies.
pub struct Transfer {
    pub(super) stream: Stream,
    pub(super) device: Device,
    pub(super) order: Order,
    /// Whether an address that the driver does not know is host memory of the program's.
    pub(super) host_operands: bool,
    /// Whether copies into or out of our buffers may still be running.
    pub(super) pending: Cell<bool>,
    pub(super) bytes_in: Cell<u64>,
    pub(super) bytes_out: Cell<u64>,
    _entered: Option<Entered>,
}

/// When the call is computed.
pub(super) enum Order {
    /// Before it returns.
    Now,
    /// Perhaps after it has returned: what it stages is noted.
    Deferrable(Plan),
    /// It has returned: what it staged is handed out again.
    Computing { tape: Arc<Tape>, reading: Reading },
}

/// A call that may be put off.
pub(super) struct Plan {
    pub(super) tape: RefCell<Tape>,
    pub(super) captured: bool,
    /// Whether nothing was queued on the stream before the call.
    idle: bool,
    /// Whether the caller needs something of it when it returns.
    answers: Cell<bool>,
    /// Whether it is computed before it returns after all.
    now: Cell<bool>,
}

impl Plan {
    /// Whether the caller gains by not waiting.
    fn is_worth_deferring(&self) -> bool {
        let bytes = self.tape.borrow().bytes();
        let useful = match deferred::when() {
            When::Always => true,
            When::Captured => false,
            When::Useful => !self.idle || bytes > SMALL,
        };
        // What waits for its turn holds memory; beyond what may stand by anyway, calls wait.
        useful && !self.answers.get() && deferred::in_flight() + bytes <= pool::limit().max(SMALL)
    }
}

impl Transfer {
    /// Copies in the order of `stream`, in `context`; refused while the stream records a graph, in which
    /// nothing can be computed now.
    pub fn on(context: Context, device: Device, stream: Stream) -> Result<Transfer, Error> {
        let transfer = Transfer::made(Some(context.enter()?), device, stream, Order::Now);
        if stream.is_capturing()? {
            return Err(Error::Captured("a call while its stream is captured into a graph"));
        }
        Transfer::begin(transfer)
    }

    /// The same for a call that may be put off: [`Transfer::wait`] answers [`Error::Deferred`] if it is, which the call passes
    /// on to whoever then gives the rest of it to [`Transfer::defer`].
    pub fn deferrable(context: Context, device: Device, stream: Stream) -> Result<Transfer, Error> {
        let entered = Some(context.enter()?);
        let captured = stream.is_capturing()?;
        let idle = !captured && stream.is_idle();
        let (answers, now) = (Cell::new(false), Cell::new(false));
        let plan = Plan { tape: RefCell::default(), captured, idle, answers, now };
        Transfer::begin(Transfer::made(entered, device, stream, Order::Deferrable(plan)))
    }

    /// A call that has returned, on what it has staged.
    pub fn computing(tape: Arc<Tape>) -> Transfer {
        let order = Order::Computing { tape, reading: Reading::default() };
        Transfer::made(None, Device(0), Stream(std::ptr::null_mut()), order)
    }

    fn made(entered: Option<Entered>, device: Device, stream: Stream, order: Order) -> Transfer {
        let zero = || Cell::new(0);
        let (pending, bytes_in, bytes_out) = (Cell::new(false), zero(), zero());
        Transfer {
            stream,
            device,
            order,
            host_operands: false,
            pending,
            bytes_in,
            bytes_out,
            _entered: entered,
        }
    }

    /// What every call begins with: an earlier one's error, and memory that nobody needs any more.
    fn begin(transfer: Transfer) -> Result<Transfer, Error> {
        pool::trim();
        deferred::take_failure().map_or(Ok(transfer), Err)
    }

    /// The call answers something when it returns, so it cannot be put off.
    pub fn answers_at_once(&self) {
        if let Order::Deferrable(plan) = &self.order {
            plan.answers.set(true);
        }
    }

    /// Puts the rest of the call off, after [`Transfer::wait`] has answered [`Error::Deferred`]: `compute` is given the operands
    /// in stream order.
    pub fn defer(self, function: &'static str, compute: Compute) -> Result<(), Error> {
        let Order::Deferrable(plan) = &self.order else { return Err(Error::Internal) };
        deferred::queue(function, &self, plan.tape.take(), compute)
    }

    /// Bytes that a call which is put off will write.
    pub fn bytes_to_write(&self) -> u64 {
        let Order::Deferrable(plan) = &self.order else { return 0 };
        let tape = plan.tape.borrow();
        let writes = tape.rooms().flat_map(|room| &room.writes);
        writes.map(|part| (part.rectangle.width * part.rectangle.height) as u64).sum()
    }

    /// Ends a call that was not put off: its copies have run, or the graph that they are part of keeps their memory.
    pub fn end(self) {
        let Order::Deferrable(plan) = &self.order else { return };
        let tape = plan.tape.take();
        if plan.captured && !tape.is_empty() {
            deferred::keep_for_graph(self.stream, tape);
        } else if self.pending.get() {
            let _ = self.wait_now();
        }
    }

    /// Whether the second run asked for what the first one did, and made every result; the call's last question.
    pub fn is_complete(&self) -> bool {
        match &self.order {
            Order::Computing { tape, reading } => reading.is_complete(tape),
            Order::Now | Order::Deferrable(_) => true,
        }
    }

    /// What `read` gives while the call is made, and again when it is computed.
    pub fn remember<T: Plain>(&self, read: impl FnOnce() -> Result<Vec<T>, Error>) -> Result<Vec<T>, Error> {
        match &self.order {
            Order::Now => read(),
            Order::Deferrable(plan) => {
                let values = read()?;
                plan.tape.borrow_mut().push_values(&values);
                Ok(values)
            }
            Order::Computing { tape, reading } => reading.values(tape),
        }
    }

    /// The same, for functions whose operands may also lie in host memory that no CUDA call made: an address that
    /// the driver does not know is then one of the program's own.
    /// Such memory may go when the call returns, which therefore is computed at once.
    #[must_use]
    pub fn with_host_operands(self) -> Transfer {
        self.answers_at_once();
        Transfer { host_operands: true, ..self }
    }

    /// Bytes fetched from the device so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.get()
    }

    /// Bytes written to the device so far.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.get()
    }

    /// Waits until everything queued on the stream, our copies included, has run. A call that is put off ends here with
    /// [`Error::Deferred`], for now; its second run goes on at once.
    pub fn wait(&self) -> Result<(), Error> {
        match &self.order {
            Order::Now => self.wait_now(),
            Order::Computing { .. } => Ok(()),
            Order::Deferrable(plan) if plan.now.get() => self.wait_now(),
            Order::Deferrable(plan) => {
                if plan.captured && plan.answers.get() {
                    return Err(Error::Captured("an answer to the host while the stream is captured"));
                }
                if plan.captured || plan.is_worth_deferring() {
                    return Err(Error::Deferred);
                }
                plan.now.set(true);
                self.wait_now()?;
                plan.tape.borrow().bring(Zeros::AreThere);
                Ok(())
            }
        }
    }

    pub(super) fn wait_now(&self) -> Result<(), Error> {
        self.wait_for(Way::In)
    }

    fn wait_for(&self, way: Way) -> Result<(), Error> {
        let waited = copying(way, || self.stream.synchronize());
        self.pending.set(false);
        Ok(waited?)
    }

    /// Writes a staged operand back to where its region lies, and waits: the only write to the caller's
    /// memory. The destinations are checked before the first byte moves.
    pub fn copy_out<T: Plain>(&self, name: &'static str, mut staged: Staged<'_, T>) -> Result<(), Error> {
        if let Order::Computing { reading, .. } = &self.order {
            reading.wrote();
            return Ok(());
        }
        self.check_destination(name, &staged)?;
        self.run_plan(name, &mut staged, Direction::Out)?;
        self.bytes_out.set(self.bytes_out.get() + staged.plan.bytes(size_of::<T>()));
        if self.is_captured() { Ok(()) } else { self.wait_for(Way::Out) }
    }

    pub(super) fn is_captured(&self) -> bool {
        matches!(&self.order, Order::Deferrable(plan) if plan.captured)
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
    ) -> Result<Vec<T>, Error> {
        self.remember(|| {
            if self.is_captured() {
                return Err(Error::Captured("numbers in device memory while the stream is captured"));
            }
            let bases = Bases::Strided { base: address, stride: 0, count: 1 };
            let plan = Region { rows: count, cols: 1, ld: count.max(1), bases }.plan(size_of::<T>())?;
            let bytes = plan.bytes(size_of::<T>());
            let mut staged = self.staged::<T>(HostBuffer::for_copies(count)?, plan);
            self.run_plan(name, &mut staged, Direction::In)?;
            self.bytes_in.set(self.bytes_in.get() + bytes);
            self.wait_now()?;
            Ok(staged.elements().to_vec())
        })
    }

    /// Reads `count` integers at once that may lie in device memory, or in host memory that no CUDA call made.
    pub fn read_numbers(&self, name: &'static str, address: u64, count: usize) -> Result<Vec<i32>, Error> {
        if let Order::Computing { .. } = self.order {
            return self.read_now::<i32>(name, address, count);
        }
        if self.memory(address)? != Memory::Unreachable {
            return self.read_now::<i32>(name, address, count);
        }
        self.remember(|| {
            let mut bytes = vec![0; count.checked_mul(size_of::<i32>()).ok_or(Error::AllocFailed)?];
            if !read_host_memory(address, &mut bytes) {
                return Err(Error::BadAddress(name));
            }
            let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
            Ok(bytes.chunks_exact(size_of::<i32>()).map(number).collect())
        })
    }
}
