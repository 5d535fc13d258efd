//! The C functions: validate → stage → compute → write back.
//!
//! [`route`] is the one way of every call; [`call`] turns a handle into a stream and its copies; the
//! folders hold one file per heading of NVIDIA's pages. No loops over elements and no decisions live here.

pub mod call;
#[macro_use]
pub mod cublas;
#[macro_use]
pub mod cublaslt;
#[macro_use]
pub mod cudnn;
#[macro_use]
pub mod cudart;
pub mod engine;
pub mod route;
