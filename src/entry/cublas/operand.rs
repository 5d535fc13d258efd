//! Vectors with increments, staged: what levels 1 and 2 have in common.
//!
//! Only the elements are copied, not the places between them. A negative increment counts from the far end of the
//! memory, as in BLAS; with an increment of 0 there is but one element.

use gpucompat_engine::blas::{BlasElement, Vector, VectorMut};

use super::types::CudaElement;
use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::entry::route::Served;
use crate::staging::host_buffer::Plain;
use crate::staging::region::{Bases, HostLayout, Region};
use crate::staging::staged::Staged;

/// An element type of a vector that can be staged.
pub trait Element: BlasElement<RealElement: Plain, Exec: Plain> + Plain + CudaElement {}
impl<T: BlasElement<RealElement: Plain, Exec: Plain> + Plain + CudaElement> Element for T {}

/// A vector as it came: an address and an increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strided {
    /// Device address of its memory.
    pub address: u64,
    /// Elements from one to the next.
    pub increment: i64,
}

impl Strided {
    /// The vector's elements on the device.
    fn region(self, name: &'static str, len: usize) -> Result<Region, Error> {
        if self.address == 0 {
            return Err(Error::InvalidValue(name));
        }
        let cols = if self.increment == 0 { len.min(1) } else { len };
        let ld = (self.increment.unsigned_abs() as usize).max(1);
        Ok(Region { rows: 1, cols, ld, bases: Bases::Strided { base: self.address, stride: 0, count: 1 } })
    }

    /// The step from element to element in the host copy.
    pub fn step(self, layout: HostLayout) -> isize {
        self.increment.signum() as isize * layout.col_stride as isize
    }

    /// Makes a vector that is only read readable after the wait.
    pub fn read<'c, T: Plain>(
        self,
        name: &'static str,
        len: usize,
        call: &'c Call,
    ) -> Result<StagedVector<'c, T>, Error> {
        let staged = call.transfer.operand(name, &self.region(name, len)?)?;
        Ok(StagedVector { step: self.step(staged.layout), name, len, staged })
    }

    /// Fetches a vector that is read and written.
    pub fn fetch<'c, T: Plain>(
        self,
        name: &'static str,
        len: usize,
        call: &'c Call,
    ) -> Result<StagedVector<'c, T>, Error> {
        let staged = call.transfer.copy_in(name, &self.region(name, len)?)?;
        Ok(StagedVector { step: self.step(staged.layout), name, len, staged })
    }

    /// Makes room for a vector that is only written.
    pub fn room<'c, T: Plain>(
        self,
        name: &'static str,
        len: usize,
        call: &'c Call,
    ) -> Result<StagedVector<'c, T>, Error> {
        let staged = call.transfer.room_for(name, &self.region(name, len)?)?;
        Ok(StagedVector { step: self.step(staged.layout), name, len, staged })
    }
}

/// A vector on the host.
pub struct StagedVector<'c, T: Plain> {
    staged: Staged<'c, T>,
    name: &'static str,
    len: usize,
    step: isize,
}

impl<T: Plain> StagedVector<'_, T> {
    /// Its elements, in order.
    pub fn view(&self) -> Vector<'_, T> {
        Vector::new(self.staged.elements(), self.len, self.step)
    }

    /// Its elements, to be written.
    pub fn view_mut(&mut self) -> VectorMut<'_, T> {
        VectorMut::new(self.staged.elements_mut(), self.len, self.step)
    }

    /// Writes the elements back to the device.
    pub fn write_back(self, call: &Call) -> Result<(), Error> {
        call.transfer.copy_out(self.name, self.staged)
    }
}

/// What a served call did, for the log.
pub fn served(call: &Call, kernel: &'static str, what: String) -> Served {
    Served { what, bytes_in: call.transfer.bytes_in(), bytes_out: call.transfer.bytes_out(), kernel }
}

/// A size; a negative one is INVALID_VALUE.
pub fn size(value: i64, name: &'static str) -> Result<usize, Error> {
    usize::try_from(value).map_err(|_| Error::InvalidValue(name))
}
