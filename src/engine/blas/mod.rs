//! BLAS levels 1 and 2: vectors, and matrices with vectors.
//!
//! Real, complex and, for vectors, half-precision elements ([`BlasElement`]); half precision computes in single and is
//! rounded once. Vectors ([`Vector`], [`VectorMut`]) have any increment; matrices ([`Stored`]) are full, banded,
//! triangular or packed, and only elements that the form stores are read or written.
//! Source: <https://www.netlib.org/blas/> and <https://docs.nvidia.com/cuda/cublas/>.

mod elementwise;
mod gemv;
mod number;
mod rank;
mod rotation;
mod stored;
mod structured;
mod sums;
mod triangular;
mod vector;

pub use elementwise::{axpy, copy, scal, swap};
pub use gemv::{Vectors, VectorsMut, gemv};
pub use number::{BlasElement, Factor, Number};
pub use rank::{rank_one, rank_two};
pub use rotation::{ModifiedRotation, Rotation, rot, rotg, rotm, rotmg};
pub use stored::{Column, Diagonal, Storage, Stored, Symmetry, Transposition, Triangle};
pub use structured::{band_product, symmetric_product};
pub use sums::{Extreme, asum, dot, extreme_index, nrm2};
pub use triangular::{triangular_product, triangular_solve};
pub use vector::{Vector, VectorMut};
