//! What we export, as data: one row a C symbol in `cublas.table`, `cublaslt.table`, `cudnn.table` and
//! `cudart.table`.
//!
//! `build.rs` turns each row into one macro call; the macros stand beside the functions that serve them,
//! in `entry`. Rows hold no logic. [`TREATMENTS`] is the same tables for tests and documentation.

#![allow(unsafe_code)]
#![allow(non_snake_case)] // exported names are NVIDIA's

use std::ffi::{c_char, c_int, c_void};

use crate::entry::cublas::types::{bf16, c32, c64, f16, size_t};

include!(concat!(env!("OUT_DIR"), "/surface.rs"));
