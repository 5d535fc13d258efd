//! Device memory to host memory and back, in the order of the caller's stream.
//!
//! What lives here: [`region`], [`triangle`] and [`tensor`], which elements a matrix, a triangle of one or an
//! N-dimensional operand consists of and how few copies fetch them;
//! [`host_buffer`], where they go, out of a [`pool`]; [`transfer`], the copies of one call, and [`visible`] those that the host makes itself;
//! [`address`], what kind of memory an address is. Who calls it: `entry`. It knows rectangles and streams, not cuBLAS or cuDNN.

pub mod address;
pub mod host_buffer;
pub mod pool;
pub mod region;
pub mod tensor;
pub mod transfer;
pub mod triangle;
pub mod visible;
