//! Which combinations of types cuBLAS documents for its GEMM forms.
//!
//! Source: the tables of <https://docs.nvidia.com/cuda/cublas/#cublasgemmex> and `#cublas-t-gemmex`.

use crate::boundary::args::{Compute, DataType};
use crate::boundary::status::Error;

/// The types of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types {
    /// Elements of A and B.
    pub ab: DataType,
    /// Elements of C.
    pub c: DataType,
    /// Alpha and beta.
    pub scale: DataType,
    /// Accumulation.
    pub compute: Compute,
}

impl Types {
    /// All of one type: `cublas<t>gemm` and its batched forms.
    pub fn uniform(element: DataType) -> Types {
        let compute = match element {
            DataType::F16 => Compute::F16,
            DataType::F64 | DataType::C64 => Compute::F64,
            _ => Compute::F32,
        };
        Types { ab: element, c: element, scale: element, compute }
    }

    /// The combination that `cublasGemmEx` and its batched forms were asked for, with the scale type that
    /// the compute type implies; NOT_SUPPORTED if the documented table has no such row.
    pub fn of_gemm_ex(a: i32, b: i32, c: i32, compute: i32) -> Result<Types, Error> {
        let (a, b, c) = (DataType::from_c(a)?, DataType::from_c(b)?, DataType::from_c(c)?);
        let compute = Compute::from_c(compute)?;
        if a != b {
            return Err(Error::NotSupported("different types of A and B"));
        }
        let complex = matches!(c, DataType::C32 | DataType::C64);
        let scale = match (compute, complex) {
            (Compute::F16, _) => DataType::F16,
            (Compute::I32, _) => DataType::I32,
            (Compute::F32, false) => DataType::F32,
            (Compute::F32, true) => DataType::C32,
            (Compute::F64, false) => DataType::F64,
            (Compute::F64, true) => DataType::C64,
        };
        let types = Types { ab: a, c, scale, compute };
        if types.is_documented() { Ok(types) } else { Err(Error::NotSupported("combination of types")) }
    }

    /// As [`Types::of_gemm_ex`] for `cublasSgemmEx`, `cublasCgemmEx`, `cublasCgemm3mEx`, whose names say
    /// the scale type (`scale`) and which always accumulate in single precision.
    pub fn of_named_ex(scale: DataType, a: i32, b: i32, c: i32) -> Result<Types, Error> {
        let single = cudarc::cublas::sys::cublasComputeType_t::CUBLAS_COMPUTE_32F as i32;
        let types = Types::of_gemm_ex(a, b, c, single)?;
        if types.scale == scale { Ok(types) } else { Err(Error::NotSupported("combination of types")) }
    }

    fn is_documented(self) -> bool {
        use DataType::{Bf16, C32, C64, CI8, F16, F32, F64, I8, I32};
        match self.compute {
            Compute::F16 => (self.ab, self.c) == (F16, F16),
            Compute::I32 => (self.ab, self.c) == (I8, I32),
            Compute::F32 => matches!(
                (self.ab, self.c),
                (Bf16, Bf16) | (F16, F16) | (I8 | Bf16 | F16 | F32, F32) | (CI8 | C32, C32)
            ),
            Compute::F64 => matches!((self.ab, self.c), (F64, F64) | (C64, C64)),
        }
    }

    /// A number that tells this combination from every other: what a lesson is filed under.
    pub fn key(self) -> u32 {
        (self.ab as u32) | (self.c as u32) << 8 | (self.compute as u32) << 16
    }
}

/// The key of raw C types, before they are judged; the policy files lessons under it.
pub fn raw_key(ab: i32, c: i32, compute: i32) -> u32 {
    (ab as u32 & 0xff) | (c as u32 & 0xff) << 8 | (compute as u32 & 0xff) << 16
}

/// Whether `algo` is one of cuBLAS's; we have but one algorithm and take every legal value as a wish.
pub fn check_algorithm(algo: i32) -> Result<(), Error> {
    match algo {
        -1..=23 | 99..=115 | 999 => Ok(()),
        _ => Err(Error::NotSupported("algorithm")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPUTE_32F: i32 = 68;
    const COMPUTE_32I: i32 = 72;

    #[test]
    fn the_documented_rows_pass_and_others_do_not() {
        let (f32, f16, bf16, i8, i32, f64) = (0, 2, 14, 3, 10, 1);
        assert_eq!(
            Types::of_gemm_ex(bf16, bf16, f32, COMPUTE_32F).map(|types| types.scale),
            Ok(DataType::F32)
        );
        assert!(Types::of_gemm_ex(i8, i8, i32, COMPUTE_32I).is_ok());
        assert!(Types::of_gemm_ex(i8, i8, f32, COMPUTE_32F).is_ok());
        assert!(Types::of_gemm_ex(f64, f64, f64, COMPUTE_32F).is_err());
        assert!(Types::of_gemm_ex(f16, bf16, f32, COMPUTE_32F).is_err());
        assert!(Types::of_gemm_ex(f32, f32, f16, COMPUTE_32F).is_err());
        assert!(Types::of_named_ex(DataType::C32, f32, f32, f32).is_err());
    }
}
