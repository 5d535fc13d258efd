//! A simulated GPU on which memory, copies, streams and events work and no kernel ever runs.
//!
//! It *is* `libcudart.so.12` (with the feature `cuda13`, `.13`) and `libcuda.so.1`: unmodified programs bind
//! to it. Device memory is host memory behind addresses without access rights, so a program that touches a
//! device pointer crashes here as it would on a machine with a card. README.md says what it proves and what
//! it cannot.
//!
//! `abi` holds the exported C functions, thin; `core` what they mean; `models` the GPUs it can be.

#![allow(unsafe_code)]

pub mod abi;
pub mod core;
pub mod models;
