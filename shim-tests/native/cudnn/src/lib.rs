//! A stand-in for the native libcudnn: a small real subset of cuDNN 9's C interface on simulated device
//! memory; see README.md beside this crate.
//!
//! Enumerations arrive as C integers: a test may send any number. Statuses and corner cases are those that
//! libcudnn 9.1.0 was seen to answer; where it reads a null pointer, the stand-in answers BAD_PARAM.

#![allow(unsafe_code, non_snake_case)]

mod activation;
mod arguments;
mod arithmetic;
mod array;
mod backend;
mod convolution;
mod convolve;
mod filter;
mod handle;
mod memory;
mod object;
mod pointwise;
mod status;
mod tensor;
mod unserved;

#[cfg(test)]
mod tests;
