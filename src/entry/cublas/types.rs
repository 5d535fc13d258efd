//! The words of the tables' type column, as Rust types.

#![allow(non_camel_case_types)] // they stand beside f32 and f64

use cudarc::cublas::sys::{cuComplex, cuDoubleComplex};

use crate::boundary::args::DataType;

/// Half precision.
pub type f16 = half::f16;
/// Brain float.
pub type bf16 = half::bf16;
/// Single-precision complex.
pub type c32 = num_complex::Complex<f32>;
/// Double-precision complex.
pub type c64 = num_complex::Complex<f64>;

/// An element type with a name in CUDA.
pub trait CudaElement {
    /// That name.
    const TYPE: DataType;
}

/// C's `size_t`; one that no matrix has becomes a negative size, which every function refuses.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct size_t(usize);

impl From<size_t> for i64 {
    fn from(size: size_t) -> i64 {
        i64::try_from(size.0).unwrap_or(-1)
    }
}

/// How the legacy interface passes a scalar of this type by value.
pub trait LegacyScalar {
    /// The C type.
    type ByValue: Copy;
}

/// The C type that the legacy interface passes a `T` as.
pub type ByValue<T> = <T as LegacyScalar>::ByValue;

macro_rules! cuda_element {
    ($($ty:ty = $name:ident / $by_value:ty),*) => {$(
        impl CudaElement for $ty {
            const TYPE: DataType = DataType::$name;
        }
        impl LegacyScalar for $ty {
            type ByValue = $by_value;
        }
    )*};
}
cuda_element!(
    f16 = F16 / u16,
    bf16 = Bf16 / u16,
    f32 = F32 / f32,
    f64 = F64 / f64,
    c32 = C32 / cuComplex,
    c64 = C64 / cuDoubleComplex
);
