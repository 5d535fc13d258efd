//! Sequences as recurrent networks compute on them, [steps, batch, vector], and as they lie on the device.

use gpucompat_engine::{self as engine, Layout, Real, TensorMut, TensorRef};

use super::operand::Leaving;
use super::rnn_desc::SequenceDesc;
use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::staging::host_buffer::{HostBuffer, Plain};

/// Sequences that have arrived, spread over [steps, batch, vector].
pub struct Sequences<R: Plain> {
    unpacked: Option<HostBuffer<R>>,
    layout: Layout,
}

impl<R: Real + Plain> Sequences<R> {
    /// Spreads them where they lie packed.
    pub fn unpack(of: &SequenceDesc, arrived: TensorRef<'_, R>) -> Result<Sequences<R>, Error> {
        if !of.packed() {
            return Ok(Sequences { unpacked: None, layout: arrived.layout });
        }
        let layout = of.unpacked();
        let mut unpacked = HostBuffer::zeroed(layout.extent())?;
        engine::unpack_sequences(arrived.data, &of.lengths, of.vector, &mut unpacked);
        Ok(Sequences { unpacked: Some(unpacked), layout })
    }

    /// To read; `arrived` is what came from the device.
    pub fn view<'a>(&'a self, arrived: TensorRef<'a, R>) -> TensorRef<'a, R> {
        self.unpacked.as_ref().map_or(arrived, |values| TensorRef::new(values, self.layout))
    }
}

/// A result over [steps, batch, vector], packed at the end where the program wants that.
pub struct SequencesOut<'c, R: Plain> {
    leaving: Leaving<'c, R>,
    unpacked: Option<HostBuffer<R>>,
}

impl<'c, R: Real + Plain> SequencesOut<'c, R> {
    /// Room for a result, its padding filled.
    pub fn new(of: &SequenceDesc, mut leaving: Leaving<'c, R>) -> Result<SequencesOut<'c, R>, Error> {
        let unpacked = if of.packed() { Some(HostBuffer::zeroed(of.unpacked().extent())?) } else { None };
        if let Some(padding) = of.padding {
            leaving.values().fill(R::of(padding));
        }
        Ok(SequencesOut { leaving, unpacked })
    }

    /// To be computed.
    pub fn view(&mut self, of: &SequenceDesc) -> TensorMut<'_, R> {
        match &mut self.unpacked {
            Some(values) => TensorMut::new(values, of.unpacked()),
            None => self.leaving.view(),
        }
    }

    /// Packs it where the program wants that, and writes it to the device.
    pub fn store(mut self, of: &SequenceDesc, call: &'c Call) -> Result<(), Error> {
        if let Some(unpacked) = &self.unpacked {
            engine::pack_sequences(unpacked, &of.lengths, of.vector, self.leaving.values());
        }
        self.leaving.store(call)
    }
}
