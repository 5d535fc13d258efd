//! Device memory to host memory and back, in the order of the caller's stream.
//!
//! What lives here: [`region`], [`triangle`] and [`tensor`], which elements a matrix, a triangle of one or an
//! N-dimensional operand consists of and how few copies fetch them;
//! [`host_buffer`], where they go, out of a [`pool`]; [`transfer`], one call, which asks for [`operands`], holds them [`staged`], and moves them by [`copies`], those that the host
//! makes itself in [`visible`];
//! [`tape`] and [`deferred`], a call that is computed after it has returned;
//! [`address`], what kind of memory an address is. Who calls it: `entry`. It knows rectangles and streams, not cuBLAS or cuDNN.

pub mod address;
pub mod copies;
pub mod deferred;
pub mod host_buffer;
pub mod operands;
pub mod pool;
pub mod region;
pub mod staged;
pub mod tape;
pub mod tensor;
pub mod transfer;
pub mod triangle;
pub mod visible;
