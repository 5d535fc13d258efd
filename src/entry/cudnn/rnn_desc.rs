//! What the RNN descriptors hold, and where the weights lie.
//!
//! Source: `cudnnSetRNNDescriptor_v8`, `cudnnSetRNNDataDescriptor`,
//! <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-adv-library.html>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_uint, c_void};

use cudarc::cudnn::sys::{
    cudnnDirectionMode_t as CDirection, cudnnRNNBiasMode_t as CBias, cudnnRNNClipMode_t as CClip,
    cudnnRNNDataLayout_t as CLayout, cudnnRNNInputMode_t as CInput, cudnnRNNMode_t as CCell,
};
use gpucompat_engine::{
    Cell, Clip, ClipNan, Layout, LinearPlace, NanRule, Rnn, RnnBias, RnnDirection, RnnInput, RnnWeights,
    packed_vectors, unpacked_layout,
};

use super::descriptor::{choice, sizes};
use super::dropout::DropoutDesc;
use crate::boundary::args::DataType;
use crate::boundary::status::Error;
use crate::handle::registry::is_ours;

/// A `cudnnRNNDescriptor_t`.
pub struct RnnDesc {
    /// The network.
    pub rnn: Rnn,
    /// The type of everything.
    pub element: DataType,
    /// Dropout between layers; `None` where none is set or needed.
    pub dropout: Option<DropoutDesc>,
    /// The dropout descriptor, if nothing is known of it and it matters.
    foreign_dropout: Option<*const c_void>,
    descriptor: *const c_void,
}

impl RnnDesc {
    /// Reads an RNN descriptor.
    pub fn read(descriptor: *const c_void) -> Result<RnnDesc, Error> {
        const NAME: &str = "rnnDesc";
        let [mut algo, mut cell, mut bias, mut direction, mut input_mode, mut element] = [0; 6];
        let [mut precision, mut math, mut input, mut hidden, mut projection, mut layers] = [0; 6];
        let mut dropout: *const c_void = std::ptr::null();
        let mut flags = 0;
        if descriptor.is_null() {
            return Err(Error::InvalidValue(NAME));
        }
        ask!(cudnnGetRNNDescriptor_v8 for NAME, descriptor => *const c_void, &raw mut algo => *mut c_int,
            &raw mut cell => *mut c_int, &raw mut bias => *mut c_int, &raw mut direction => *mut c_int,
            &raw mut input_mode => *mut c_int, &raw mut element => *mut c_int, &raw mut precision => *mut c_int,
            &raw mut math => *mut c_int, &raw mut input => *mut c_int, &raw mut hidden => *mut c_int,
            &raw mut projection => *mut c_int, &raw mut layers => *mut c_int,
            &raw mut dropout => *mut *const c_void, &raw mut flags => *mut c_uint)?;
        let cells = [
            (CCell::CUDNN_RNN_RELU as c_int, Cell::Relu),
            (CCell::CUDNN_RNN_TANH as c_int, Cell::Tanh),
            (CCell::CUDNN_LSTM as c_int, Cell::Lstm),
            (CCell::CUDNN_GRU as c_int, Cell::Gru),
        ];
        let biases = [
            (CBias::CUDNN_RNN_NO_BIAS as c_int, RnnBias::None),
            (CBias::CUDNN_RNN_SINGLE_INP_BIAS as c_int, RnnBias::SingleInput),
            (CBias::CUDNN_RNN_SINGLE_REC_BIAS as c_int, RnnBias::SingleRecurrent),
            (CBias::CUDNN_RNN_DOUBLE_BIAS as c_int, RnnBias::Double),
        ];
        let directions = [
            (CDirection::CUDNN_UNIDIRECTIONAL as c_int, RnnDirection::Unidirectional),
            (CDirection::CUDNN_BIDIRECTIONAL as c_int, RnnDirection::Bidirectional),
        ];
        let inputs = [
            (CInput::CUDNN_LINEAR_INPUT as c_int, RnnInput::Linear),
            (CInput::CUDNN_SKIP_INPUT as c_int, RnnInput::Skip),
        ];
        let numbers = sizes(&[input, hidden, projection, layers], NAME)?;
        if numbers.contains(&0) {
            return Err(Error::InvalidValue(NAME)); // made and never set
        }
        let known = DropoutDesc::of(dropout).ok();
        let foreign = known.is_none() && !dropout.is_null() && layers > 1;
        let foreign_dropout = foreign.then_some(dropout);
        let known = known.filter(|known| known.probability > 0.0);
        let rnn = Rnn {
            cell: choice(cell, &cells, NAME)?,
            bias: choice(bias, &biases, NAME)?,
            direction: choice(direction, &directions, NAME)?,
            input_mode: choice(input_mode, &inputs, NAME)?,
            input: numbers[0],
            hidden: numbers[1],
            projection: numbers[2],
            layers: numbers[3],
            clip: read_clip(descriptor)?,
            dropout: known.map_or(0.0, |known| known.probability),
        };
        if rnn.cell != Cell::Lstm && rnn.projection != rnn.hidden {
            return Err(Error::NotSupported("a projection of cells other than LSTM"));
        }
        if rnn.input_mode == RnnInput::Skip && rnn.input != rnn.hidden {
            return Err(Error::InvalidValue("inputSize without an input matrix"));
        }
        let dropout = known.filter(|_| rnn.layers > 1);
        Ok(RnnDesc { rnn, element: DataType::from_cudnn(element)?, dropout, foreign_dropout, descriptor })
    }

    /// Directions of a layer.
    pub fn directions(&self) -> usize {
        match self.rnn.direction {
            RnnDirection::Unidirectional => 1,
            RnnDirection::Bidirectional => 2,
        }
    }

    /// `NOT_SUPPORTED` if training would have to draw from random states that the real library made.
    pub fn check_dropout(&self, handle: *mut c_void) -> Result<(), Error> {
        let Some(dropout) = self.foreign_dropout.filter(|_| !is_ours(handle)) else { return Ok(()) };
        let (mut probability, mut states, mut seed) = (0f32, std::ptr::null_mut(), 0u64);
        ask!(cudnnGetDropoutDescriptor for "dropoutDesc", dropout => *const c_void, handle => *mut c_void,
            &raw mut probability => *mut f32, &raw mut states => *mut *mut c_void, &raw mut seed => *mut u64)?;
        if probability > 0.0 {
            return Err(Error::NotSupported("dropout whose random states the native library made"));
        }
        Ok(())
    }

    /// Where the weights lie that a program has put into the weight space of a handle: where we said, or where
    /// the real library did.
    pub fn weights(&self, handle: *mut c_void) -> Result<RnnWeights, Error> {
        if is_ours(handle) { Ok(self.rnn.own_weights()) } else { self.real_weights(handle) }
    }

    /// Asks the real library for every matrix and bias.
    fn real_weights(&self, handle: *mut c_void) -> Result<RnnWeights, Error> {
        const NAME: &str = "weightSpace";
        // Any address that is not null: the answers are counted from it and nothing is read.
        const BASE: usize = 1 << 20;
        let (matrix, bias) = (TensorDescriptor::new()?, TensorDescriptor::new()?);
        let base: *const c_void = std::ptr::without_provenance(BASE);
        let mut bytes = 0usize;
        ask!(cudnnGetRNNWeightSpaceSize for NAME, handle => *mut c_void, self.descriptor => *const c_void,
            &raw mut bytes => *mut usize)?;
        let mut failed = None;
        let place = |address: *mut c_void| {
            (!address.is_null()).then(|| (address as usize - BASE) / self.element.bytes())
        };
        let weights = RnnWeights::new(&self.rnn, |layer, id| {
            let (mut at, mut bias_at) = (std::ptr::null_mut(), std::ptr::null_mut());
            let asked = ask!(cudnnGetRNNWeightParams for NAME, handle => *mut c_void,
                self.descriptor => *const c_void, layer as c_int => c_int, bytes => usize, base => *const c_void,
                id as c_int => c_int, matrix.0 => *mut c_void, &raw mut at => *mut *mut c_void,
                bias.0 => *mut c_void, &raw mut bias_at => *mut *mut c_void);
            failed = failed.or(asked.err());
            LinearPlace { matrix: place(at), bias: place(bias_at) }
        });
        failed.map_or(Ok(weights), Err)
    }
}

/// A tensor descriptor of the real library's that is ours to use.
pub struct TensorDescriptor(pub *mut c_void);

impl TensorDescriptor {
    fn new() -> Result<TensorDescriptor, Error> {
        let mut made = std::ptr::null_mut();
        ask!(cudnnCreateTensorDescriptor for "tensor descriptor", &raw mut made => *mut *mut c_void)?;
        Ok(TensorDescriptor(made))
    }
}

impl Drop for TensorDescriptor {
    fn drop(&mut self) {
        let _ = ask!(cudnnDestroyTensorDescriptor for "tensor descriptor", self.0 => *mut c_void);
    }
}

fn read_clip(descriptor: *const c_void) -> Result<Option<Clip>, Error> {
    let (mut mode, mut nan, mut min, mut max) = (0, 0, 0.0, 0.0);
    ask!(cudnnRNNGetClip_v8 for "rnnDesc", descriptor => *const c_void, &raw mut mode => *mut c_int,
        &raw mut nan => *mut c_int, &raw mut min => *mut f64, &raw mut max => *mut f64)?;
    if mode == CClip::CUDNN_RNN_CLIP_NONE as c_int {
        return Ok(None);
    }
    if min > max {
        return Err(Error::InvalidValue("clipping range"));
    }
    let nan = match super::reduce::nan_rule(nan)? {
        NanRule::Propagate => ClipNan::Propagate,
        NanRule::Ignore => ClipNan::Bound,
    };
    Ok(Some(Clip { min, max, nan }))
}

/// A `cudnnRNNDataDescriptor_t`: a batch of sequences.
pub struct SequenceDesc {
    /// The elements' type.
    pub element: DataType,
    /// Steps of the longest sequence that there is room for.
    pub steps: usize,
    /// Elements of a vector.
    pub vector: usize,
    /// Steps of each sequence.
    pub lengths: Vec<usize>,
    /// What an output holds beyond a sequence's end; `None`: whatever is computed there.
    pub padding: Option<f64>,
    order: SequenceOrder,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SequenceOrder {
    StepMajor,
    Packed,
    BatchMajor,
}

impl SequenceDesc {
    /// Reads a data descriptor.
    pub fn read(descriptor: *const c_void, name: &'static str) -> Result<SequenceDesc, Error> {
        let [mut element, mut order, mut steps, mut batch, mut vector] = [0; 5];
        let mut fill = [0u8; 8];
        if descriptor.is_null() {
            return Err(Error::InvalidValue(name));
        }
        let mut ask_for = |lengths: &mut [c_int]| {
            ask!(cudnnGetRNNDataDescriptor for name, descriptor => *const c_void, &raw mut element => *mut c_int,
                &raw mut order => *mut c_int, &raw mut steps => *mut c_int, &raw mut batch => *mut c_int,
                &raw mut vector => *mut c_int, lengths.len() as c_int => c_int,
                lengths.as_mut_ptr() => *mut c_int, fill.as_mut_ptr().cast() => *mut c_void)?;
            Ok::<_, Error>([steps, batch, vector])
        };
        let numbers = sizes(&ask_for(&mut [])?, name)?;
        let mut lengths = vec![0; numbers[1]];
        ask_for(&mut lengths)?;
        let orders = [
            (CLayout::CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_UNPACKED as c_int, SequenceOrder::StepMajor),
            (CLayout::CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED as c_int, SequenceOrder::Packed),
            (CLayout::CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED as c_int, SequenceOrder::BatchMajor),
        ];
        let element = DataType::from_cudnn(element)?;
        let desc = SequenceDesc {
            element,
            steps: numbers[0],
            vector: numbers[2],
            lengths: sizes(&lengths, name)?,
            padding: fill_value(fill, element),
            order: choice(order, &orders, name)?,
        };
        let longest_first = desc.lengths.is_sorted_by(|a, b| a >= b);
        if desc.lengths.iter().any(|&length| length > desc.steps) || desc.packed() && !longest_first {
            return Err(Error::InvalidValue(name));
        }
        Ok(desc)
    }

    /// Whether the vectors lie without padding.
    pub fn packed(&self) -> bool {
        self.order == SequenceOrder::Packed
    }

    /// How the elements lie in memory: [steps, batch, vector], or one run of packed vectors.
    pub fn layout(&self) -> Layout {
        let (steps, batch, vector) = (self.steps, self.lengths.len(), self.vector);
        match self.order {
            SequenceOrder::StepMajor => self.unpacked(),
            SequenceOrder::Packed => Layout::packed(&[packed_vectors(&self.lengths) * vector]),
            SequenceOrder::BatchMajor => Layout::new(&[steps, batch, vector], &[vector, steps * vector, 1]),
        }
    }

    /// [steps, batch, vector], step by step.
    pub fn unpacked(&self) -> Layout {
        unpacked_layout(self.steps, self.lengths.len(), self.vector)
    }
}

/// The padding value, an element of the data's type.
fn fill_value(bytes: [u8; 8], element: DataType) -> Option<f64> {
    let [a, b, c, d, ..] = bytes;
    match element {
        DataType::F32 => Some(f32::from_ne_bytes([a, b, c, d]).into()),
        DataType::F64 => Some(f64::from_ne_bytes(bytes)),
        DataType::F16 => Some(half::f16::from_ne_bytes([a, b]).to_f64()),
        DataType::Bf16 => Some(half::bf16::from_ne_bytes([a, b]).to_f64()),
        _ => None,
    }
}
