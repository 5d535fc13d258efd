//! `cublasLtEpilogue_t`, taken apart.
//!
//! | epilogue                     | bias buffer                         | auxiliary buffer            |
//! |------------------------------|-------------------------------------|-----------------------------|
//! | `…BIAS`                      | added to every column               |                             |
//! | `RELU_AUX…`                  |                                     | gets a bit an element: t > 0 |
//! | `GELU_AUX…`                  |                                     | gets t                      |
//! | `DRELU…`, `DGELU…`           |                                     | is the forward pass's       |
//! | `D…_BGRAD`                   | gets the sums of D's rows           |                             |
//! | `BGRADA`, `BGRADB`           | gets sums of op(A), op(B) over k    |                             |
//!
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublasltepilogue-t>.

use cudarc::cublaslt::sys::cublasLtEpilogue_t as CEpilogue;
use gpucompat_engine::Activation;

use crate::boundary::status::Error;

/// What the bias buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// Nothing.
    No,
    /// Read: one number a row of D, added to every column.
    PerRow,
    /// Written: the sum of each row of D.
    GradientOfD,
    /// Written: the sum of each row of op(A).
    GradientOfA,
    /// Written: the sum of each column of op(B).
    GradientOfB,
}

/// What the auxiliary buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aux {
    /// Nothing.
    No,
    /// Written for the backward pass.
    Output,
    /// Read: the activation is its gradient.
    Input,
}

/// An epilogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epilogue {
    /// The bias buffer.
    pub bias: Bias,
    /// ReLU, GELU, or with [`Aux::Input`] their gradients.
    pub activation: Activation,
    /// The auxiliary buffer.
    pub aux: Aux,
}

const ROWS: [(CEpilogue, Bias, Activation, Aux); 16] = [
    (CEpilogue::CUBLASLT_EPILOGUE_DEFAULT, Bias::No, Activation::None, Aux::No),
    (CEpilogue::CUBLASLT_EPILOGUE_BIAS, Bias::PerRow, Activation::None, Aux::No),
    (CEpilogue::CUBLASLT_EPILOGUE_RELU, Bias::No, Activation::Relu, Aux::No),
    (CEpilogue::CUBLASLT_EPILOGUE_RELU_BIAS, Bias::PerRow, Activation::Relu, Aux::No),
    (CEpilogue::CUBLASLT_EPILOGUE_RELU_AUX, Bias::No, Activation::Relu, Aux::Output),
    (CEpilogue::CUBLASLT_EPILOGUE_RELU_AUX_BIAS, Bias::PerRow, Activation::Relu, Aux::Output),
    (CEpilogue::CUBLASLT_EPILOGUE_DRELU, Bias::No, Activation::Relu, Aux::Input),
    (CEpilogue::CUBLASLT_EPILOGUE_DRELU_BGRAD, Bias::GradientOfD, Activation::Relu, Aux::Input),
    (CEpilogue::CUBLASLT_EPILOGUE_GELU, Bias::No, Activation::Gelu, Aux::No),
    (CEpilogue::CUBLASLT_EPILOGUE_GELU_BIAS, Bias::PerRow, Activation::Gelu, Aux::No),
    (CEpilogue::CUBLASLT_EPILOGUE_GELU_AUX, Bias::No, Activation::Gelu, Aux::Output),
    (CEpilogue::CUBLASLT_EPILOGUE_GELU_AUX_BIAS, Bias::PerRow, Activation::Gelu, Aux::Output),
    (CEpilogue::CUBLASLT_EPILOGUE_DGELU, Bias::No, Activation::Gelu, Aux::Input),
    (CEpilogue::CUBLASLT_EPILOGUE_DGELU_BGRAD, Bias::GradientOfD, Activation::Gelu, Aux::Input),
    (CEpilogue::CUBLASLT_EPILOGUE_BGRADA, Bias::GradientOfA, Activation::None, Aux::No),
    (CEpilogue::CUBLASLT_EPILOGUE_BGRADB, Bias::GradientOfB, Activation::None, Aux::No),
];

impl Epilogue {
    /// From a `cublasLtEpilogue_t`; NOT_SUPPORTED for a number that has no row.
    pub fn from_c(value: u32) -> Result<Epilogue, Error> {
        ROWS.into_iter()
            .find_map(|(c, bias, activation, aux)| {
                (c as u32 == value).then_some(Epilogue { bias, activation, aux })
            })
            .ok_or(Error::NotSupported("epilogue"))
    }

    /// Every bit that some served epilogue has.
    pub fn mask() -> u32 {
        ROWS.iter().fold(0, |mask, row| mask | row.0 as u32)
    }

    /// Whether the bias buffer is written.
    pub fn writes_bias(self) -> bool {
        !matches!(self.bias, Bias::No | Bias::PerRow)
    }
}
