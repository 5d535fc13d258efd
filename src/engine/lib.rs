//! The numerical engine: mathematics on slices and strides.
//!
//! What lives here: products of matrices ([`gemm()`], [`gemm_with_epilogue`]) in every element type that
//! cuBLAS multiplies, and the thread pool they run on ([`set_threads`]).
//! Who calls it: gpucompat's entry points, tests and benchmarks. It knows nothing of CUDA, of C, of the
//! environment or of logging, and never sees memory that a device alone can reach.
//!
//! Every result is a function of the operands alone: the number of threads changes the time, not a bit of
//! the output.

mod bits;
mod contract;
mod convert;
mod dtype;
mod epilogue;
mod gemm;
mod matmul;
mod sequence;
mod shape;
mod tensor;
mod threads;

pub use bits::{pack_bits, unpack_bits};
pub use convert::{Element, blend, scale, widen};
pub use dtype::{Accumulator, C32, C64, Input, Output};
pub use epilogue::{Activation, Epilogue};
pub use gemm::{Kernel, gemm, gemm_with_epilogue};
pub use half::{bf16, f16};
pub use matmul::{matmul, matmul_fits};
pub use sequence::{pack_sequences, packed_vectors, unpack_sequences, unpacked_layout};
pub use shape::{Conj, GemmShape, MatMut, MatRef};
pub use tensor::{Layout, MAX_RANK, Real, TensorMut, TensorRef};
pub use threads::{set_threads, threads};
