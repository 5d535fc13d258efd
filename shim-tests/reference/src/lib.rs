//! Reference implementations: double precision, slow and obvious, one per operation.

pub mod gemm;
