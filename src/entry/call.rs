//! From a handle to its stream: what every served call needs before it can stage anything; and, for calls that can be put
//! off until their stream gets there, the two runs that makes of them ([`Call::run`]).

use std::ffi::{c_int, c_void};

use crate::boundary::status::Error;
use crate::entry::engine;
use crate::entry::route::{Served, current_line};
use crate::handle::object::Interface;
use crate::handle::registry::{Owner, owner};
use crate::native::context::{Context, Device, Stream};
use crate::native::real;
use crate::observe;
use crate::staging::host_buffer::Plain;
use crate::staging::region::{Bases, Region};
use crate::staging::staged::Staged;
use crate::staging::transfer::Transfer;

/// Where a call's scalars (alpha, beta) lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerMode {
    /// In host memory, read when the call is made.
    Host,
    /// In device memory, read in stream order.
    Device,
}

/// One served call: its copies and its pointer mode.
pub struct Call {
    /// The call's copies, in the order of the handle's stream.
    pub transfer: Transfer,
    pointer_mode: PointerMode,
}

/// Whether a call may be put off until its stream gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// It has computed when it returns.
    Now,
    /// It may be put off: all that it stages it stages before its one wait.
    Deferrable,
}

/// Arguments as the caller gave them, for both runs of a call.
///
/// What they point to in host memory is the caller's only until the call returns: it is read through [`Call::scalar`] and its
/// like, which remember it for the second run.
#[derive(Clone, Copy)]
pub struct Given<P: Copy + 'static>(pub P);

// SAFETY: numbers and addresses that own nothing and borrow nothing; every use of an address says for itself why it may be
// followed, and none is in the second run.
#[allow(unsafe_code)]
unsafe impl<P: Copy + 'static> Send for Given<P> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<P: Copy + 'static> Sync for Given<P> {}

impl Timing {
    fn transfer(self, context: Context, device: Device, stream: Stream) -> Result<Transfer, Error> {
        match self {
            Timing::Now => Transfer::on(context, device, stream),
            Timing::Deferrable => Transfer::deferrable(context, device, stream),
        }
    }

    fn current(self, stream: Stream) -> Result<Transfer, Error> {
        self.transfer(Context::current()?, Device::current()?, stream)
    }
}

impl Call {
    /// The call that `handle`, ours or the real library's, is used for.
    pub fn on(handle: *const c_void) -> Result<Call, Error> {
        Call::of(handle, Timing::Now)
    }

    /// Computes `problem` by `body`, before this returns or in the order of the handle's stream after it has.
    ///
    /// `body` may run twice, the second time on a thread of the driver's, with the operands of the first. It takes them, and
    /// everything else that it needs of the caller, from the call, all of it before its one wait; the problem holds numbers and
    /// addresses.
    pub fn run<P: Send + Sync + 'static>(
        self,
        problem: P,
        body: impl Fn(&Call, &P) -> Result<Served, Error> + Send + Sync + 'static,
    ) -> Result<Served, Error> {
        match body(&self, &problem) {
            Err(Error::Deferred) => self.put_off(problem, body),
            done => {
                self.transfer.end();
                done
            }
        }
    }

    fn put_off<P: Send + Sync + 'static>(
        self,
        problem: P,
        body: impl Fn(&Call, &P) -> Result<Served, Error> + Send + Sync + 'static,
    ) -> Result<Served, Error> {
        let Call { transfer, pointer_mode } = self;
        let line = current_line();
        let (name, bytes_in) = (line.name, transfer.bytes_in());
        let bytes_out = transfer.bytes_to_write();
        let compute = move |transfer: Transfer| {
            let started = std::time::Instant::now();
            let open = observe::Open::begin();
            let call = Call { transfer, pointer_mode };
            let outcome = body(&call, &problem).and_then(|served| {
                if call.transfer.is_complete() { Ok(served) } else { Err(Error::Internal) }
            });
            match outcome {
                Ok(served) => {
                    let served = Served { bytes_in, bytes_out, ..served };
                    served.counted(open, name);
                    line.served(&served, started.elapsed());
                    Ok(())
                }
                Err(error) => {
                    line.failed_later(error);
                    Err(error)
                }
            }
        };
        transfer.defer(name, Box::new(compute))?;
        Ok(Served::later())
    }

    /// The call that `handle` is used for.
    pub fn of(handle: *const c_void, timing: Timing) -> Result<Call, Error> {
        engine::prepare();
        match owner(handle).ok_or(Error::NotInitialized)? {
            Owner::Ours(object) => {
                let state = object.state();
                let timing = if object.interface == Interface::Xt { Timing::Now } else { timing };
                let transfer = timing.transfer(object.context, object.device, state.stream)?;
                let transfer = match object.interface {
                    Interface::Device => transfer,
                    Interface::Xt => transfer.with_host_operands(),
                };
                Ok(Call { transfer, pointer_mode: mode(state.pointer_mode) })
            }
            Owner::Real => {
                let stream = real::cublas_stream(handle.cast_mut())?;
                let pointer_mode = mode(real::cublas_pointer_mode(handle.cast_mut())?);
                Ok(Call { transfer: timing.current(stream)?, pointer_mode })
            }
            Owner::RealXt => {
                let transfer = Timing::Now.current(Stream(std::ptr::null_mut()))?.with_host_operands();
                Ok(Call { transfer, pointer_mode: PointerMode::Host })
            }
        }
    }

    /// The call that a cuDNN handle, ours or the real library's, is used for. cuDNN's scalars lie in host memory.
    /// Errors: `INVALID_VALUE` for null, `NOT_INITIALIZED` for one that is not live.
    pub fn on_cudnn(handle: *const c_void) -> Result<Call, Error> {
        Call::of_cudnn(handle, Timing::Now)
    }

    /// The same, perhaps to be put off.
    pub fn of_cudnn(handle: *const c_void, timing: Timing) -> Result<Call, Error> {
        if handle.is_null() {
            return Err(Error::InvalidValue("handle"));
        }
        let stream = match owner(handle).ok_or(Error::NotInitialized)? {
            Owner::Ours(object) => object.state().stream,
            Owner::Real => real::cudnn_stream(handle.cast_mut())?,
            Owner::RealXt => return Err(Error::NotInitialized),
        };
        Call::of_stream(handle, stream, PointerMode::Host, timing)
    }

    /// A call that names its stream and takes host scalars (cuBLASLt, the legacy interface).
    pub fn on_stream(
        handle: *const c_void,
        stream: Stream,
        pointer_mode: PointerMode,
    ) -> Result<Call, Error> {
        Call::of_stream(handle, stream, pointer_mode, Timing::Now)
    }

    /// The same, perhaps to be put off.
    pub fn of_stream(
        handle: *const c_void,
        stream: Stream,
        pointer_mode: PointerMode,
        timing: Timing,
    ) -> Result<Call, Error> {
        engine::prepare();
        let transfer = match owner(handle) {
            Some(Owner::Ours(object)) => timing.transfer(object.context, object.device, stream)?,
            Some(Owner::Real | Owner::RealXt) | None => timing.current(stream)?,
        };
        Ok(Call { transfer, pointer_mode })
    }

    /// The same call with its scalars in host memory, whatever the handle's pointer mode.
    #[must_use]
    pub fn with_host_scalars(self) -> Call {
        Call { pointer_mode: PointerMode::Host, ..self }
    }

    /// Reads one scalar from where the pointer mode says it lies.
    pub fn scalar<T: Plain>(&self, name: &'static str, address: *const c_void) -> Result<T, Error> {
        self.scalars::<T, 1>(name, address).map(|[value]| value)
    }

    /// Reads scalars that lie one after the other where the pointer mode says.
    pub fn scalars<T: Plain, const COUNT: usize>(
        &self,
        name: &'static str,
        address: *const c_void,
    ) -> Result<[T; COUNT], Error> {
        if address.is_null() {
            return Err(Error::InvalidValue(name));
        }
        let element = |index| read_host(address.cast::<T>().wrapping_add(index).cast());
        let values = match self.pointer_mode {
            PointerMode::Host => self.transfer.remember(|| Ok((0..COUNT).map(element).collect()))?,
            PointerMode::Device => self.transfer.read_now::<T>(name, address as u64, COUNT)?,
        };
        values.first_chunk().copied().ok_or(Error::Internal)
    }

    /// Where a scalar result will be written, asked for before the wait: to host memory the call has to answer at once.
    pub fn result<T: Plain>(
        &self,
        name: &'static str,
        address: *mut c_void,
    ) -> Result<ResultPlace<'_, T>, Error> {
        if address.is_null() {
            return Err(Error::InvalidValue(name));
        }
        match self.pointer_mode {
            PointerMode::Host => {
                self.transfer.answers_at_once();
                Ok(ResultPlace { name, to: Place::Host(address.cast()) })
            }
            PointerMode::Device => {
                let bases = Bases::Strided { base: address as u64, stride: 0, count: 1 };
                let region = Region { rows: 1, cols: 1, ld: 1, bases };
                Ok(ResultPlace { name, to: Place::Device(self.transfer.room_for(name, &region)?) })
            }
        }
    }

    /// Writes scalar results, one after the other, where the pointer mode says; on the device in stream order.
    pub fn write_scalars<T: Plain>(
        &self,
        name: &'static str,
        address: *mut c_void,
        values: &[T],
    ) -> Result<(), Error> {
        if address.is_null() {
            return Err(Error::InvalidValue(name));
        }
        match self.pointer_mode {
            PointerMode::Host => {
                for (index, &value) in values.iter().enumerate() {
                    write_host(address.cast::<T>().wrapping_add(index), value);
                }
                Ok(())
            }
            PointerMode::Device => {
                let bases = Bases::Strided { base: address as u64, stride: 0, count: 1 };
                let region = Region { rows: values.len(), cols: 1, ld: values.len().max(1), bases };
                let mut room = self.transfer.room_for::<T>(name, &region)?;
                room.elements_mut().copy_from_slice(values);
                self.transfer.copy_out(name, room)
            }
        }
    }
}

/// Where a scalar result goes.
pub struct ResultPlace<'c, T: Plain> {
    name: &'static str,
    to: Place<'c, T>,
}

enum Place<'c, T: Plain> {
    Host(*mut T),
    Device(Staged<'c, T>),
}

impl<T: Plain> ResultPlace<'_, T> {
    /// Writes it, on the device in stream order.
    pub fn write(self, call: &Call, value: T) -> Result<(), Error> {
        match self.to {
            Place::Host(address) => {
                write_host(address, value);
                Ok(())
            }
            Place::Device(mut staged) => {
                staged.elements_mut().fill(value);
                call.transfer.copy_out(self.name, staged)
            }
        }
    }
}

fn mode(value: c_int) -> PointerMode {
    if value == 1 { PointerMode::Device } else { PointerMode::Host }
}

/// Writes a number to host memory of the caller's; a null address is [`Error::InvalidValue`].
pub fn write_host_info(name: &'static str, address: *mut c_int, value: c_int) -> Result<(), Error> {
    if address.is_null() {
        return Err(Error::InvalidValue(name));
    }
    write_host(address, value);
    Ok(())
}

#[allow(unsafe_code)]
fn read_host<T: Plain>(address: *const c_void) -> T {
    // SAFETY: not null (checked above); in host pointer mode the caller owes a readable scalar of the
    // function's scale type there; unaligned reads are allowed for.
    unsafe { address.cast::<T>().read_unaligned() }
}

#[allow(unsafe_code)]
fn write_host<T: Plain>(address: *mut T, value: T) {
    // SAFETY: not null (checked by the caller); in host pointer mode the caller of the C function owes a writable
    // result of the function's result type there; unaligned writes are allowed for.
    unsafe { address.write_unaligned(value) };
}
