//! What cuBLASLt does to a product before it is rounded to the output type.
//!
//! Source: `cublasLtEpilogue_t`, <https://docs.nvidia.com/cuda/cublas/#cublasltepilogue-t>.

use crate::dtype::Accumulator;

/// The function applied last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// None.
    None,
    /// max(0, x).
    Relu,
    /// GELU, tanh approximation.
    Gelu,
}

/// `act(x + bias)`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, Acc> {
    /// Added to every column; as long as the output has rows.
    pub bias: Option<&'a [Acc]>,
    /// Applied after the bias.
    pub activation: Activation,
}

impl<Acc: Accumulator> Epilogue<'_, Acc> {
    /// Nothing to do.
    pub const NONE: Epilogue<'static, Acc> = Epilogue { bias: None, activation: Activation::None };

    /// Whether there is nothing to do.
    pub fn is_none(&self) -> bool {
        self.bias.is_none() && self.activation == Activation::None
    }
}
