//! The reserve space of a recurrent network in training: what the forward call leaves for the backward calls.
//!
//! Device memory of the program's: a mark, the seed and place of the dropout's random numbers, then the engine's own
//! values. What the real library left there has no such mark.

use std::ffi::c_void;

use gpucompat_engine::{DropoutSeed, Layout, Real};

use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::staging::host_buffer::Plain;
use crate::staging::staged::{Contents, Staged};
use crate::staging::tensor::TensorRegion;

/// The pass that has filled a reserve space last: the backward data pass leaves the gates' gradients where the gates
/// were, so it cannot run twice, and the weights' gradients come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Forward, in training.
    Forward,
    /// Backward data.
    BackwardData,
}

impl Pass {
    fn mark(self) -> u64 {
        u64::from_le_bytes(match self {
            Pass::Forward => *b"gpurnn-f",
            Pass::BackwardData => *b"gpurnn-b",
        })
    }
}

/// Mark, seed, offset, elements.
const WORDS: usize = 4;
const HEADER_BYTES: usize = 64;

/// Bytes of a reserve space for this many values of `R`.
pub fn bytes<R>(elements: usize) -> usize {
    HEADER_BYTES + elements * size_of::<R>()
}

/// A reserve space on the host.
pub struct Reserve<'c, R: Plain> {
    header: Staged<'c, u64>,
    values: Staged<'c, R>,
}

impl<'c, R: Real + Plain> Reserve<'c, R> {
    /// Room for what a forward call leaves.
    pub fn new(
        call: &'c Call,
        space: (*mut c_void, usize),
        elements: usize,
    ) -> Result<Reserve<'c, R>, Error> {
        Reserve::open(call, space, elements, Contents::Zeros)
    }

    /// What a pass has left, and its dropout.
    pub fn fetch(
        call: &'c Call,
        left_by: Pass,
        space: (*mut c_void, usize),
        elements: usize,
    ) -> Result<(Reserve<'c, R>, DropoutSeed), Error> {
        let reserve = Reserve::open(call, space, elements, Contents::Fetched)?;
        call.transfer.wait()?;
        let &[mark, seed, offset, count] = reserve.header.elements() else { return Err(Error::Internal) };
        if mark != left_by.mark() || count != elements as u64 {
            return Err(Error::NotSupported(
                "a reserve space that another library, or another pass, has filled",
            ));
        }
        Ok((reserve, DropoutSeed { seed, offset }))
    }

    fn open(
        call: &'c Call,
        (space, size): (*mut c_void, usize),
        elements: usize,
        contents: Contents,
    ) -> Result<Reserve<'c, R>, Error> {
        const NAME: &str = "reserveSpace";
        if space.is_null() || size < bytes::<R>(elements) {
            return Err(Error::InvalidValue(NAME));
        }
        let region = |base, count| TensorRegion { base, layout: Layout::packed(&[count]) };
        let base = space as u64;
        let (header, _) = call.transfer.tensor_to_write(NAME, &region(base, WORDS), contents)?;
        let (values, _) =
            call.transfer.tensor_to_write(NAME, &region(base + HEADER_BYTES as u64, elements), contents)?;
        Ok(Reserve { header, values })
    }

    /// The engine's values.
    pub fn values(&mut self) -> &mut [R] {
        self.values.elements_mut()
    }

    /// Puts it back.
    pub fn store(mut self, call: &'c Call, pass: Pass, dropout: DropoutSeed) -> Result<(), Error> {
        let count = self.values.elements().len() as u64;
        self.header.elements_mut().copy_from_slice(&[pass.mark(), dropout.seed, dropout.offset, count]);
        call.transfer.copy_out("reserveSpace", self.header)?;
        call.transfer.copy_out("reserveSpace", self.values)
    }
}
