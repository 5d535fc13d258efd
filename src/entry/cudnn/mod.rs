//! cuDNN: the legacy API, one file per subject of its pages, and the graph API in [`graph`].
//!
//! Descriptors of the legacy API are the real library's ([`descriptor`] asks it what they hold); operands become
//! real numbers in [`operand`]. Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/overview.html>.

use std::ffi::c_void;

/// Exports a function that computes; `typed` is the descriptor whose element type tells calls apart when a native
/// one has failed.
macro_rules! cudnn_computes {
    ($symbol:ident ($handle:ident, $($arg:ident: $ty:ty),* $(,)?) typed($typed:expr) $serve:expr) => {
        export! { $symbol of Cudnn ($handle: *mut c_void, $($arg: $ty),*)
            compute($crate::handle::registry::is_ours($handle), $crate::entry::cudnn::element_code($typed))
            serve $serve }
    };
}

#[macro_use]
mod ask;
#[macro_use]
pub mod operand;
#[macro_use]
pub mod activation;
#[macro_use]
pub mod algorithms;
#[macro_use]
pub mod batch_norm;
#[macro_use]
pub mod batch_norm_backward;
#[macro_use]
pub mod convolution;
#[macro_use]
pub mod ctc;
pub mod descriptor;
#[macro_use]
pub mod dropout;
#[macro_use]
pub mod elementwise;
#[macro_use]
pub mod graph;
#[macro_use]
pub mod handle;
#[macro_use]
pub mod pooling;
#[macro_use]
pub mod reduce;
#[macro_use]
pub mod rnn;
pub mod rnn_desc;
mod rnn_reserve;
mod rnn_sequences;
#[macro_use]
pub mod rnn_spaces;
#[macro_use]
pub mod softmax;
#[macro_use]
pub mod spatial_transformer;

/// A descriptor and the data it describes, as they come side by side in every call.
#[derive(Clone, Copy)]
pub struct Arg(
    /// The descriptor.
    pub *const c_void,
    /// The device address.
    pub *const c_void,
);

/// A number for the element type of a tensor descriptor; 0 for one that cannot be read.
pub fn element_code(descriptor: *const c_void) -> u32 {
    descriptor::TensorDesc::read(descriptor, "tensor").map_or(0, |desc| desc.element as u32 + 1)
}
