//! The numerical engine: mathematics on slices and strides.
//!
//! What lives here: products of matrices ([`gemm()`], [`gemm_with_epilogue`]) in every element type that
//! cuBLAS multiplies; what BLAS does with vectors and with matrices and vectors ([`blas`]), its level 3 and what cuBLAS
//! has of LAPACK; what cuDNN computes on N-dimensional tensors ([`TensorRef`]) in single and double precision, one module
//! a function; and the thread pool they run on ([`set_threads`]).
//! Who calls it: gpucompat's entry points, tests and benchmarks. It knows nothing of CUDA, of C, of the
//! environment or of logging, and never sees memory that a device alone can reach.
//!
//! Every result is a function of the operands alone: the number of threads changes the time, not a bit of
//! the output, unless a BLAS from outside was handed in ([`set_host_blas`]).

mod bits;
pub mod blas;
mod blas3;
mod contract;
mod conv;
mod convert;
mod ctc;
mod cut;
mod dropout_raw;
mod dtype;
mod epilogue;
mod float8;
mod fused;
mod gemm;
mod lrn;
mod matmul;
mod nan_rule;
mod norm;
mod order;
mod philox;
mod pointwise;
mod pool;
mod reduce;
mod rnn;
mod sampler;
mod scratch;
mod sequence;
mod shape;
mod softmax;
mod tensor;
mod threads;

pub use bits::{BitColumns, pack_bits, unpack_bits};
pub use blas3::{
    Diagonal, Field, Side, Symmetry, System, Triangle, Triangular, for_each_matrix, least_squares,
    least_squares_batch, lu_factor, lu_factor_batch, lu_invert, lu_invert_batch, lu_solve, lu_solve_batch,
    lu_solve_transposed, matrix_add, pack_triangle, pivots_are_valid, qr_factor, qr_factor_batch,
    rank_2k_update, rank_k_update, scale_by_diagonal, singular_at, singular_at_batch, symmetric_product,
    triangular_product, triangular_solve, unpack_triangle,
};
pub use conv::{Conv, ConvKernel, Filtering, conv_backward_data, conv_backward_filter, conv_forward};
pub use convert::{Element, blend, scale, widen};
pub use ctc::{CtcNormalization, ctc_loss};
pub use dropout_raw::{DropoutSeed, dropout_backward, dropout_forward};
pub use dtype::{Accumulator, C32, C64, Input, Output};
pub use epilogue::{Activation, Epilogue};
pub use float8::{E4m3, E5m2, Ue8m0};
pub use fused::{Fused, FusedStep, PerRow, largest_magnitude, relu_mask, row_sums, scale_by_place};
pub use gemm::{
    Backend, FortranGemm, HostBlas, Kernel, gemm, gemm_with_epilogue, set_gemm_backend, set_host_blas,
};
pub use half::{bf16, f16};
pub use lrn::{Lrn, lrn_backward, lrn_forward};
pub use matmul::{matmul, matmul_fits};
pub use nan_rule::NanRule;
pub use norm::{Centering, Normalization, NormalizationGradients, normalize, normalize_backward, statistics};
pub use order::{MatrixOrder, OrderedLayout, add_scaled_matrix};
pub use philox::Philox;
pub use pointwise::{Comparison, Function, Operand, ProgramOutput, Step, pointwise};
pub use pool::{Pool, PoolMode, pool_backward, pool_forward};
pub use reduce::{Reduction, reduce, reduce_with_indices};
pub use rnn::{
    Cell, Clip, ClipNan, LinearPlace, Rnn, RnnBias, RnnDirection, RnnInput, RnnStates, RnnStatesMut,
    RnnTraining, RnnWeights, rnn_backward_data, rnn_backward_weights, rnn_forward,
};
pub use sampler::{affine_grid, affine_grid_backward, sample_grid, sample_grid_backward};
pub use scratch::{scratch_bytes, set_scratch_bytes};
pub use sequence::{pack_sequences, packed_vectors, unpack_sequences, unpacked_layout};
pub use shape::{Conj, GemmShape, MatMut, MatRef};
pub use softmax::{SoftmaxAlgorithm, SoftmaxMode, softmax, softmax_backward};
pub use tensor::{Layout, MAX_RANK, Real, TensorMut, TensorRef};
pub use threads::{set_threads, threads};
