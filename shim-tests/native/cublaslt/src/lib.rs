//! A stand-in for the native libcublasLt; see README.md beside this crate.

#![allow(unsafe_code, non_snake_case)]

mod algorithm;
mod descriptors;
mod matmul;
