//! Connectionist temporal classification: the loss of T×N×A activations and its gradient.
//!
//! | argument       | `cudnnCTCLoss` | `cudnnCTCLoss_v8` |
//! |----------------|----------------|-------------------|
//! | labels, lengths| host memory    | device memory     |
//! | probs, gradients, costs | device | device           |
//!
//! Label 0 is the blank. A sequence that cannot produce its labels costs ∞. Its gradients are 0 even where the
//! descriptor allows to leave them unwritten (`CUDNN_CTC_SKIP_OOB_GRADIENTS`): PyTorch asks for that, and uses them.
//! Errors: `BAD_PARAM` null, lengths beyond the activations', labels that are no label.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-adv-library.html#cudnnctcloss>.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::cudnnLossNormalizationMode_t as CNormalization;
use gpucompat_engine::{self as engine, CtcNormalization};

use super::Arg;
use super::descriptor::{choice, sizes};
use super::operand::{Operand, Precision, Scalars, describe, optional, served};
use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::entry::route::Served;

macro_rules! cudnn_ctc_workspace_size {
    ($symbol:ident) => { export! { $symbol of Cudnn (handle: *mut c_void,
        probs_desc: *const c_void, gradients_desc: *const c_void, labels: *const c_int, label_lengths: *const c_int,
        input_lengths: *const c_int, algo: c_int, ctc_desc: *const c_void, bytes: *mut usize)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::algorithms::write(bytes, 0, "sizeInBytes") } };
}
macro_rules! cudnn_ctc_workspace_size_v8 {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, algo: c_int, ctc_desc: *const c_void,
        probs_desc: *const c_void, gradients_desc: *const c_void, bytes: *mut usize)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::algorithms::write(bytes, 0, "sizeInBytes") }
    };
}
macro_rules! cudnn_ctc_loss {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle, probs_desc: *const c_void, probs: *const c_void,
        labels: *const c_int, label_lengths: *const c_int, input_lengths: *const c_int, costs: *mut c_void,
        gradients_desc: *const c_void, gradients: *mut c_void, algo: c_int, ctc_desc: *const c_void,
        workspace: *mut c_void, workspace_bytes: usize)
        typed(probs_desc) {
            use $crate::entry::cudnn::{Arg, ctc};
            ctc::loss(handle, ctc_desc, Arg(probs_desc, probs),
                ctc::Examples { memory: ctc::Memory::Host, labels, label_lengths, input_lengths },
                costs, Arg(gradients_desc, gradients))
        } }
    };
}
macro_rules! cudnn_ctc_loss_v8 {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle, algo: c_int, ctc_desc: *const c_void,
        probs_desc: *const c_void, probs: *const c_void, labels: *const c_int, label_lengths: *const c_int,
        input_lengths: *const c_int, costs: *mut c_void, gradients_desc: *const c_void, gradients: *mut c_void,
        workspace_bytes: usize, workspace: *mut c_void)
        typed(probs_desc) {
            use $crate::entry::cudnn::{Arg, ctc};
            ctc::loss(handle, ctc_desc, Arg(probs_desc, probs),
                ctc::Examples { memory: ctc::Memory::Device, labels, label_lengths, input_lengths },
                costs, Arg(gradients_desc, gradients))
        } } };
}

/// Where labels and lengths lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Host memory, read when the call is made.
    Host,
    /// Device memory, read in stream order; PyTorch passes on host tensors as well.
    Device,
}

/// The examples of a batch.
#[derive(Clone, Copy)]
pub struct Examples {
    /// Where the three arrays lie.
    pub memory: Memory,
    /// All examples' labels, one after the other.
    pub labels: *const c_int,
    /// Labels of each.
    pub label_lengths: *const c_int,
    /// Steps of each.
    pub input_lengths: *const c_int,
}

impl Examples {
    fn read(
        self,
        call: &Call,
        what: &'static str,
        from: *const c_int,
        count: usize,
    ) -> Result<Vec<c_int>, Error> {
        if from.is_null() && count > 0 {
            return Err(Error::InvalidValue(what));
        }
        match self.memory {
            // SAFETY: not null; the caller owes as many numbers in host memory as the function's page says.
            Memory::Host => Ok((0..count).map(|index| unsafe { from.add(index).read_unaligned() }).collect()),
            Memory::Device => call.transfer.read_numbers(what, from as u64, count),
        }
    }
}

/// The descriptor's normalization.
fn normalization(descriptor: *const c_void) -> Result<CtcNormalization, Error> {
    const NAME: &str = "ctcLossDesc";
    let (mut compute, mut mode, mut gradient) = (0, 0, 0);
    if descriptor.is_null() {
        return Err(Error::InvalidValue(NAME));
    }
    ask!(cudnnGetCTCLossDescriptorEx for NAME, descriptor => *const c_void, &raw mut compute => *mut c_int,
        &raw mut mode => *mut c_int, &raw mut gradient => *mut c_int)?;
    let rows = [
        (CNormalization::CUDNN_LOSS_NORMALIZATION_NONE as c_int, CtcNormalization::None),
        (CNormalization::CUDNN_LOSS_NORMALIZATION_SOFTMAX as c_int, CtcNormalization::Softmax),
    ];
    choice(mode, &rows, NAME)
}

/// Costs, and gradients where they are wanted.
pub fn loss(
    handle: *mut c_void,
    descriptor: *const c_void,
    probs: Arg,
    examples: Examples,
    costs: *const c_void,
    gradients: Arg,
) -> Result<Served, Error> {
    let call = Call::on_cudnn(handle)?;
    let normalization = normalization(descriptor)?;
    let probs = Operand::tensor("probs", probs.0, probs.1)?;
    let &[steps, batch, alphabet] = probs.dims() else { return Err(Error::InvalidValue("probsDesc")) };
    let costs = Operand::flat("costs", probs.desc.element, batch, costs)?;
    let gradients = optional(gradients.1, || Operand::tensor("gradients", gradients.0, gradients.1))?;
    if gradients.is_some_and(|gradients| gradients.dims() != probs.dims()) {
        return Err(Error::InvalidValue("gradientsDesc"));
    }
    let lengths = |what, from| sizes(&examples.read(&call, what, from, batch)?, what);
    let label_lengths = lengths("labelLengths", examples.label_lengths)?;
    let input_lengths = lengths("inputLengths", examples.input_lengths)?;
    let total = label_lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length));
    let total = total.ok_or(Error::InvalidValue("labelLengths"))?;
    let labels = examples.read(&call, "labels", examples.labels, total)?;
    let is_label = |&label: &c_int| label > 0 && (label as usize) < alphabet;
    if input_lengths.iter().any(|&length| length > steps) || !labels.iter().all(is_label) {
        return Err(Error::InvalidValue("labels"));
    }
    in_precision!(Precision::of(&[probs.desc.element]), R => {
        let arriving = probs.fetch::<R>(&call)?;
        let mut cost = costs.result::<R>(&call, Scalars::PLAIN)?;
        let mut gradient = gradients.map(|of| of.result::<R>(&call, Scalars::PLAIN)).transpose()?;
        call.transfer.wait()?;
        engine::ctc_loss(
            normalization,
            arriving.arrived()?.view(),
            &labels,
            &label_lengths,
            &input_lengths,
            cost.values(),
            gradient.as_mut().map(super::operand::Leaving::view),
        );
        if let Some(gradient) = gradient {
            gradient.store(&call)?;
        }
        cost.store(&call)?;
        Ok(served(&call, describe(&[&probs]), "ctc"))
    })
}
