//! cuBLAS: one file per heading of <https://docs.nvidia.com/cuda/cublas/>.
//!
//! Every GEMM form reduces to one [`product::Problem`]; levels 1 and 2 are served by [`level1`], [`level2`] and [`gemv`];
//! the matrices of the other functions are [`matrix::Matrix`].

#[macro_use]
pub mod handle;
#[macro_use]
pub mod vector;
#[macro_use]
pub mod vector_ex;
#[macro_use]
pub mod matrix_vector;
#[macro_use]
pub mod gemm;
#[macro_use]
pub mod gemm_ex;
#[macro_use]
pub mod host_copy;
#[macro_use]
pub mod legacy;
#[macro_use]
pub mod legacy_matrix;
#[macro_use]
pub mod legacy_vector;
pub mod gemv;
pub mod legal;
pub mod level1;
pub mod level1_ex;
pub mod level2;
#[macro_use]
pub mod factorization;
#[macro_use]
pub mod grouped;
#[macro_use]
pub mod matrix_copy;
#[macro_use]
pub mod rank_update;
#[macro_use]
pub mod symmetric;
#[macro_use]
pub mod triangular;
#[macro_use]
pub mod xt;
pub mod matrix;
pub mod operand;
pub mod product;
pub mod types;
