//! What the stand-ins share: how they behave, what they counted, their handles, and the reference product
//! on simulated device memory.

#![allow(unsafe_code)]

pub mod device;
pub mod mode;
pub mod product;
pub mod record;
