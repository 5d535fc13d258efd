//! gpucompat: unmodified CUDA programs on a GPU whose compute kernels are missing.
//!
//! A call's way through the house:
//!
//! ```text
//!   program ── cublasSgemm_v2 ──▶ surface (exported symbol, a row of a table)
//!                                   │ boundary: panic guard, C integers → types
//!                                   ▼
//!                                 entry::route ──▶ policy: native or host, and why
//!                          native ◀──┘   └──▶ entry::cublas::product
//!                     (real libcublas)         │ staging: device → host, in stream order
//!                                              │ engine: the product
//!                                              ▼ staging: host → device
//! ```
//!
//! See ARCHITECTURE.md for who may know what.

#![deny(unsafe_code)]

#[macro_use]
pub mod boundary;
pub mod config;
pub mod handle;
pub mod log;
pub mod memory;
pub mod native;
pub mod observe;
pub mod operators;
pub mod platform;
pub mod policy;
pub mod staging;

#[macro_use]
pub mod entry;
pub mod surface;
