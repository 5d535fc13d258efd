//! Batch, layer, instance and RMS normalisation, forward and backward, over any axes of strided tensors.
//!
//! Parameters and statistics have x's rank, and along each axis x's size or 1. Which axes those are makes
//! the kind of normalisation:
//!
//! | for x = N×C×H×W     | mean, inv_std | scale, bias |
//! |---------------------|---------------|-------------|
//! | batch, spatial      | 1×C×1×1       | 1×C×1×1     |
//! | batch, per activation | 1×C×H×W     | 1×C×H×W     |
//! | layer               | N×1×1×1       | 1×C×H×W     |
//! | instance            | N×C×1×1       | 1×C×1×1     |
//!
//! Every function goes through memory in the order of x ([`nest`]), a piece of a line at a time
//! ([`lines`]), and forms its sums in double precision ([`reduce_raw`]).

mod backward;
pub(crate) mod fill_raw;
mod forward;
mod lines;
pub(crate) mod nest;
pub(crate) mod operand;
mod reduce_raw;
mod statistics;
pub(crate) mod wide_raw;

pub use backward::normalize_backward;
pub use forward::normalize;
pub use statistics::statistics;

use crate::tensor::{TensorMut, TensorRef};

/// Whether the mean is subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Centering {
    /// It is.
    Mean,
    /// It is not, and taken as 0: RMS normalisation.
    None,
}

/// What a normalisation subtracts and multiplies by.
#[derive(Clone, Copy, Debug)]
pub struct Normalization<'a, R> {
    /// The mean.
    pub mean: TensorRef<'a, R>,
    /// `1 / √(variance + ε)`.
    pub inv_std: TensorRef<'a, R>,
    /// The factor; 1 if absent.
    pub scale: Option<TensorRef<'a, R>>,
    /// The term; 0 if absent.
    pub bias: Option<TensorRef<'a, R>>,
}

/// Where the gradients of a normalisation go.
#[derive(Debug)]
pub struct NormalizationGradients<'a, R> {
    /// With respect to x.
    pub dx: TensorMut<'a, R>,
    /// With respect to the scale.
    pub dscale: Option<TensorMut<'a, R>>,
    /// With respect to the bias.
    pub dbias: Option<TensorMut<'a, R>>,
}
