//! A stand-in for the native libcublas; see README.md beside this crate.

#![allow(unsafe_code, non_snake_case)]

mod handle;
mod products;
mod unserved;
mod via_lt;
