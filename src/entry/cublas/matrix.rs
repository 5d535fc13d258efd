//! Matrix arguments of the BLAS functions: checked, staged, and as the engine sees them.

use std::ffi::c_void;

use gpucompat_engine as engine;

use super::types::CudaElement;
use crate::boundary::args::Op;
use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::entry::route::Served;
use crate::staging::host_buffer::Plain;
use crate::staging::region::{Bases, Region};
use crate::staging::staged::{Contents, Staged};

/// The types of BLAS: S, D, C and Z.
pub trait BlasElement: engine::Field<Real: Plain> + Plain + CudaElement {}
impl<T: engine::Field<Real: Plain> + Plain + CudaElement> BlasElement for T {}

/// A column-major matrix in device memory, or a batch of them at addresses listed there.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    name: &'static str,
    rows: usize,
    cols: usize,
    ld: usize,
    address: u64,
}

/// A size that must not be negative.
pub fn size(value: i64, name: &'static str) -> Result<usize, Error> {
    usize::try_from(value).map_err(|_| Error::InvalidValue(name))
}

/// A scalar's address must not be null.
pub fn not_null(address: *const c_void, name: &'static str) -> Result<(), Error> {
    if address.is_null() { Err(Error::InvalidValue(name)) } else { Ok(()) }
}

impl Matrix {
    /// Checks the leading dimension, whose name is the matrix's in the log: `ld ≥ max(1, rows)`.
    pub fn new(name: &'static str, rows: usize, cols: usize, ld: i64, address: u64) -> Result<Matrix, Error> {
        let ld = size(ld, name)?;
        if ld < rows.max(1) {
            Err(Error::InvalidValue(name))
        } else {
            Ok(Matrix { name, rows, cols, ld, address })
        }
    }

    /// As [`Matrix::new`] for a matrix of which op(X) is rows × cols.
    pub fn of_op(
        name: &'static str,
        op: Op,
        rows: usize,
        cols: usize,
        ld: i64,
        address: u64,
    ) -> Result<Matrix, Error> {
        let (rows, cols) = if op.transposes() { (cols, rows) } else { (rows, cols) };
        Matrix::new(name, rows, cols, ld, address)
    }

    /// A vector or an array of numbers, without gaps.
    pub fn array(name: &'static str, length: usize, address: u64) -> Matrix {
        Matrix { name, rows: length, cols: 1, ld: length.max(1), address }
    }

    /// Refuses a null address of a matrix that has elements.
    pub fn required(self) -> Result<Matrix, Error> {
        let missing = self.address == 0 && self.rows > 0 && self.cols > 0;
        if missing { Err(Error::InvalidValue(self.name)) } else { Ok(self) }
    }

    /// Makes it readable after the next wait.
    pub fn read<T: Plain>(self, call: &Call) -> Result<Staged<'_, T>, Error> {
        call.transfer.operand(self.name, &self.required()?.region())
    }

    /// Makes it readable if it is read at all.
    pub fn read_if<T: Plain>(self, call: &Call, wanted: bool) -> Result<Option<Staged<'_, T>>, Error> {
        wanted.then(|| self.read(call)).transpose()
    }

    /// Host memory for it, to be written; its elements fetched only if they are read.
    pub fn write<T: Plain>(self, call: &Call, contents: Contents) -> Result<Staged<'_, T>, Error> {
        let region = self.required()?.region();
        match contents {
            Contents::Fetched => call.transfer.copy_in(self.name, &region),
            Contents::Zeros => call.transfer.room_for(self.name, &region),
        }
    }

    /// The same of one triangle.
    pub fn write_triangle<T: Plain>(
        self,
        call: &Call,
        triangle: engine::Triangle,
        contents: Contents,
    ) -> Result<Staged<'_, T>, Error> {
        call.transfer.triangle(self.name, &self.required()?.region(), triangle, contents)
    }

    /// The batch of such matrices whose `count` addresses lie at this one's address.
    pub fn batch(self, call: &Call, count: usize) -> Result<Region, Error> {
        let addresses = call.transfer.read_now::<u64>(self.name, self.address, count)?;
        if addresses.contains(&0) && self.rows > 0 && self.cols > 0 {
            return Err(Error::InvalidValue(self.name));
        }
        Ok(Region { rows: self.rows, cols: self.cols, ld: self.ld, bases: Bases::List(addresses) })
    }

    fn region(self) -> Region {
        let bases = Bases::Strided { base: self.address, stride: 0, count: 1 };
        Region { rows: self.rows, cols: self.cols, ld: self.ld, bases }
    }
}

/// What an output holds beforehand: its elements, if β makes them count.
pub fn contents<T: engine::Field>(beta: T) -> Contents {
    if beta == T::zero() { Contents::Zeros } else { Contents::Fetched }
}

/// op(X) of a staged operand; of one that is not read, nothing.
pub fn view<'a, T: Plain>(staged: Option<&'a Staged<'_, T>>, op: Op) -> engine::MatRef<'a, T> {
    let (data, col) = staged.map_or((&[][..], 1), |it| (it.elements(), it.layout.col_stride));
    let (row_stride, col_stride) = if op.transposes() { (col, 1) } else { (1, col) };
    let conjugate = if op == Op::C { engine::Conj::Yes } else { engine::Conj::No };
    engine::MatRef { data, row_stride, col_stride, batch_stride: 0, conjugate }
}

/// A staged output.
pub fn output<'a, T: Plain>(staged: &'a mut Staged<'_, T>) -> engine::MatMut<'a, T> {
    let col_stride = staged.layout.col_stride;
    engine::MatMut { data: staged.elements_mut(), row_stride: 1, col_stride, batch_stride: 0 }
}

/// What the call did, for the log.
pub fn served<T: CudaElement>(call: &Call, sizes: std::fmt::Arguments<'_>, kernel: &'static str) -> Served {
    Served {
        what: format!("{sizes} type={}", T::TYPE.name()),
        bytes_in: call.transfer.bytes_in(),
        bytes_out: call.transfer.bytes_out(),
        kernel,
    }
}
