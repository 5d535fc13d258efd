//! Reference implementations: double precision, slow and obvious, one per operation.

pub mod blas;
pub mod conv;
pub mod ctc;
pub mod gemm;
pub mod lrn;
pub mod lt;
pub mod norm;
pub mod pointwise;
pub mod pool;
pub mod reduce;
pub mod rnn;
pub mod sampler;
pub mod softmax;
pub mod structured;
