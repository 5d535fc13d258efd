//! From a handle to its stream: what every served call needs before it can stage anything.

use std::ffi::{c_int, c_void};

use crate::boundary::status::Error;
use crate::entry::engine;
use crate::handle::object::Interface;
use crate::handle::registry::{Owner, owner};
use crate::native::context::{Context, Device, Stream};
use crate::native::real;
use crate::staging::host_buffer::Plain;
use crate::staging::region::{Bases, Region};
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

impl Call {
    /// The call that `handle`, ours or the real library's, is used for.
    pub fn on(handle: *const c_void) -> Result<Call, Error> {
        engine::prepare();
        match owner(handle).ok_or(Error::NotInitialized)? {
            Owner::Ours(object) => {
                let state = object.state();
                let transfer = Transfer::on(object.context, object.device, state.stream)?;
                let transfer = match object.interface {
                    Interface::Device => transfer,
                    Interface::Xt => transfer.with_host_operands(),
                };
                Ok(Call { transfer, pointer_mode: mode(state.pointer_mode) })
            }
            Owner::Real => {
                let stream = real::cublas_stream(handle.cast_mut())?;
                let pointer_mode = mode(real::cublas_pointer_mode(handle.cast_mut())?);
                Ok(Call { transfer: current(stream)?, pointer_mode })
            }
            Owner::RealXt => {
                let transfer = current(Stream(std::ptr::null_mut()))?.with_host_operands();
                Ok(Call { transfer, pointer_mode: PointerMode::Host })
            }
        }
    }

    /// The call that a cuDNN handle, ours or the real library's, is used for. cuDNN's scalars lie in host memory.
    /// Errors: `INVALID_VALUE` for null, `NOT_INITIALIZED` for one that is not live.
    pub fn on_cudnn(handle: *const c_void) -> Result<Call, Error> {
        if handle.is_null() {
            return Err(Error::InvalidValue("handle"));
        }
        let stream = match owner(handle).ok_or(Error::NotInitialized)? {
            Owner::Ours(object) => object.state().stream,
            Owner::Real => real::cudnn_stream(handle.cast_mut())?,
            Owner::RealXt => return Err(Error::NotInitialized),
        };
        Call::on_stream(handle, stream, PointerMode::Host)
    }

    /// A call that names its stream and takes host scalars (cuBLASLt, the legacy interface).
    pub fn on_stream(
        handle: *const c_void,
        stream: Stream,
        pointer_mode: PointerMode,
    ) -> Result<Call, Error> {
        engine::prepare();
        let transfer = match owner(handle) {
            Some(Owner::Ours(object)) => Transfer::on(object.context, object.device, stream)?,
            Some(Owner::Real | Owner::RealXt) | None => current(stream)?,
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
        if address.is_null() {
            return Err(Error::InvalidValue(name));
        }
        match self.pointer_mode {
            PointerMode::Host => Ok(read_host(address)),
            PointerMode::Device => {
                let staged = self.transfer.read_now::<T>(name, address as u64, 1)?;
                staged.elements().first().copied().ok_or(Error::Internal)
            }
        }
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
        match self.pointer_mode {
            PointerMode::Host => {
                Ok(std::array::from_fn(|index| read_host(address.cast::<T>().wrapping_add(index).cast())))
            }
            PointerMode::Device => {
                let staged = self.transfer.read_now::<T>(name, address as u64, COUNT)?;
                staged.elements().first_chunk().copied().ok_or(Error::Internal)
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
                let mut room = self.transfer.room_for::<T>(&region)?;
                room.elements_mut().copy_from_slice(values);
                self.transfer.copy_out(name, room)
            }
        }
    }
}

fn mode(value: c_int) -> PointerMode {
    if value == 1 { PointerMode::Device } else { PointerMode::Host }
}

fn current(stream: Stream) -> Result<Transfer, Error> {
    Transfer::on(Context::current()?, Device::current()?, stream)
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
