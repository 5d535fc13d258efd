//! cuBLAS: one file per heading of <https://docs.nvidia.com/cuda/cublas/>.
//!
//! Every GEMM form reduces to one [`product::Product`].

#[macro_use]
pub mod handle;
#[macro_use]
pub mod gemm;
#[macro_use]
pub mod gemm_ex;
#[macro_use]
pub mod legacy;
pub mod legal;
pub mod product;
pub mod types;
