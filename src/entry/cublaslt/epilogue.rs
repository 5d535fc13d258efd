//! The epilogues we serve: bias, ReLU, GELU and their combinations.
//!
//! Source: `cublasLtEpilogue_t` on <https://docs.nvidia.com/cuda/cublas/#cublasltepilogue-t>.

use cudarc::cublaslt::sys::cublasLtEpilogue_t as CEpilogue;
use gpucompat_engine::Activation;

use crate::boundary::status::Error;

/// Whether a bias vector is added to every column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// None.
    No,
    /// Of D's rows.
    PerRow,
}

/// Decomposes a `cublasLtEpilogue_t`; NOT_SUPPORTED for one that computes more than D.
pub fn decompose(epilogue: u32) -> Result<(Bias, Activation), Error> {
    let rows = [
        (CEpilogue::CUBLASLT_EPILOGUE_DEFAULT, Bias::No, Activation::None),
        (CEpilogue::CUBLASLT_EPILOGUE_BIAS, Bias::PerRow, Activation::None),
        (CEpilogue::CUBLASLT_EPILOGUE_RELU, Bias::No, Activation::Relu),
        (CEpilogue::CUBLASLT_EPILOGUE_RELU_BIAS, Bias::PerRow, Activation::Relu),
        (CEpilogue::CUBLASLT_EPILOGUE_GELU, Bias::No, Activation::Gelu),
        (CEpilogue::CUBLASLT_EPILOGUE_GELU_BIAS, Bias::PerRow, Activation::Gelu),
    ];
    rows.into_iter()
        .find_map(|(c, bias, activation)| (c as u32 == epilogue).then_some((bias, activation)))
        .ok_or(Error::NotSupported("epilogue"))
}
