//! C integers become types here, once.
//!
//! Exported signatures take integers, since an unknown value of a Rust enum from C would be undefined
//! behaviour before our first line runs. The numbers are compared with cudarc's constants.

use std::ffi::c_int;

use cudarc::cublas::sys::{
    cublasComputeType_t as ComputeType, cublasDiagType_t as DiagType, cublasFillMode_t as FillMode,
    cublasOperation_t as Operation, cublasSideMode_t as SideMode, cudaDataType_t as CudaType,
};
use cudarc::cudnn::sys::cudnnDataType_t as CudnnType;
use gpucompat_engine::Side;
use gpucompat_engine::blas::{Diagonal, Triangle};

use super::status::Error;

/// `op(X)` of a matrix operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// X.
    N,
    /// Xᵀ.
    T,
    /// Xᴴ.
    C,
}

impl Op {
    /// From a `cublasOperation_t`.
    pub fn from_c(value: c_int, argument: &'static str) -> Result<Op, Error> {
        [(Operation::CUBLAS_OP_N, Op::N), (Operation::CUBLAS_OP_T, Op::T), (Operation::CUBLAS_OP_C, Op::C)]
            .into_iter()
            .find_map(|(c, op)| (c as c_int == value).then_some(op))
            .ok_or(Error::InvalidValue(argument))
    }

    /// The log's letter.
    pub fn letter(self) -> char {
        match self {
            Op::N => 'n',
            Op::T => 't',
            Op::C => 'c',
        }
    }

    /// Whether rows and columns swap.
    pub fn transposes(self) -> bool {
        self != Op::N
    }
}

/// A `cublasSideMode_t`.
pub fn side_from_c(value: c_int, argument: &'static str) -> Result<Side, Error> {
    [(SideMode::CUBLAS_SIDE_LEFT, Side::Left), (SideMode::CUBLAS_SIDE_RIGHT, Side::Right)]
        .into_iter()
        .find_map(|(c, side)| (c as c_int == value).then_some(side))
        .ok_or(Error::InvalidValue(argument))
}

/// A `cublasFillMode_t` that names a triangle.
pub fn triangle_from_c(value: c_int, argument: &'static str) -> Result<Triangle, Error> {
    [(FillMode::CUBLAS_FILL_MODE_LOWER, Triangle::Lower), (FillMode::CUBLAS_FILL_MODE_UPPER, Triangle::Upper)]
        .into_iter()
        .find_map(|(c, triangle)| (c as c_int == value).then_some(triangle))
        .ok_or(Error::InvalidValue(argument))
}

/// A `cublasDiagType_t`.
pub fn diagonal_from_c(value: c_int, argument: &'static str) -> Result<Diagonal, Error> {
    [(DiagType::CUBLAS_DIAG_NON_UNIT, Diagonal::Stored), (DiagType::CUBLAS_DIAG_UNIT, Diagonal::Unit)]
        .into_iter()
        .find_map(|(c, diagonal)| (c as c_int == value).then_some(diagonal))
        .ok_or(Error::InvalidValue(argument))
}

/// An element type that some function of ours takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `CUDA_R_16F`.
    F16,
    /// `CUDA_R_16BF`.
    Bf16,
    /// `CUDA_R_32F`.
    F32,
    /// `CUDA_R_64F`.
    F64,
    /// `CUDA_C_32F`.
    C32,
    /// `CUDA_C_64F`.
    C64,
    /// `CUDA_R_8I`.
    I8,
    /// `CUDA_C_8I`.
    CI8,
    /// `CUDA_R_32I`.
    I32,
    /// `CUDA_R_8U`.
    U8,
    /// `CUDA_R_64I`.
    I64,
    /// `CUDA_R_8F_E4M3`.
    E4m3,
    /// `CUDA_R_8F_E5M2`.
    E5m2,
}

impl DataType {
    const ROWS: [(CudaType, DataType, &'static str); 13] = [
        (CudaType::CUDA_R_16F, DataType::F16, "f16"),
        (CudaType::CUDA_R_16BF, DataType::Bf16, "bf16"),
        (CudaType::CUDA_R_32F, DataType::F32, "f32"),
        (CudaType::CUDA_R_64F, DataType::F64, "f64"),
        (CudaType::CUDA_C_32F, DataType::C32, "c32"),
        (CudaType::CUDA_C_64F, DataType::C64, "c64"),
        (CudaType::CUDA_R_8I, DataType::I8, "i8"),
        (CudaType::CUDA_C_8I, DataType::CI8, "ci8"),
        (CudaType::CUDA_R_32I, DataType::I32, "i32"),
        (CudaType::CUDA_R_8U, DataType::U8, "u8"),
        (CudaType::CUDA_R_64I, DataType::I64, "i64"),
        (CudaType::CUDA_R_8F_E4M3, DataType::E4m3, "e4m3"),
        (CudaType::CUDA_R_8F_E5M2, DataType::E5m2, "e5m2"),
    ];

    /// From a `cudaDataType_t`; a type that nothing of ours takes is NOT_SUPPORTED, as cuBLAS answers for
    /// a combination it does not have.
    pub fn from_c(value: c_int) -> Result<DataType, Error> {
        Self::ROWS
            .iter()
            .find_map(|row| (row.0 as c_int == value).then_some(row.1))
            .ok_or(Error::NotSupported("data type"))
    }

    /// From a `cudnnDataType_t`; packed and 8-bit floating types are NOT_SUPPORTED. A boolean is a byte that is 0
    /// or 1.
    pub fn from_cudnn(value: c_int) -> Result<DataType, Error> {
        [
            (CudnnType::CUDNN_DATA_FLOAT, DataType::F32),
            (CudnnType::CUDNN_DATA_DOUBLE, DataType::F64),
            (CudnnType::CUDNN_DATA_HALF, DataType::F16),
            (CudnnType::CUDNN_DATA_BFLOAT16, DataType::Bf16),
            (CudnnType::CUDNN_DATA_INT8, DataType::I8),
            (CudnnType::CUDNN_DATA_INT32, DataType::I32),
            (CudnnType::CUDNN_DATA_UINT8, DataType::U8),
            (CudnnType::CUDNN_DATA_BOOLEAN, DataType::U8),
            (CudnnType::CUDNN_DATA_INT64, DataType::I64),
            (CudnnType::CUDNN_DATA_FAST_FLOAT_FOR_FP8, DataType::F32),
        ]
        .into_iter()
        .find_map(|(c, element)| (c as c_int == value).then_some(element))
        .ok_or(Error::NotSupported("data type"))
    }

    /// The `cudnnDataType_t`; `None` for a type that cuDNN does not have.
    pub fn to_cudnn(self) -> Option<c_int> {
        let c = match self {
            DataType::F32 => CudnnType::CUDNN_DATA_FLOAT,
            DataType::F64 => CudnnType::CUDNN_DATA_DOUBLE,
            DataType::F16 => CudnnType::CUDNN_DATA_HALF,
            DataType::Bf16 => CudnnType::CUDNN_DATA_BFLOAT16,
            DataType::I8 => CudnnType::CUDNN_DATA_INT8,
            DataType::I32 => CudnnType::CUDNN_DATA_INT32,
            DataType::U8 => CudnnType::CUDNN_DATA_UINT8,
            DataType::I64 => CudnnType::CUDNN_DATA_INT64,
            DataType::C32 | DataType::C64 | DataType::CI8 | DataType::E4m3 | DataType::E5m2 => return None,
        };
        Some(c as c_int)
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            DataType::I8 | DataType::U8 | DataType::E4m3 | DataType::E5m2 => 1,
            DataType::F16 | DataType::Bf16 | DataType::CI8 => 2,
            DataType::F32 | DataType::I32 => 4,
            DataType::F64 | DataType::C32 | DataType::I64 => 8,
            DataType::C64 => 16,
        }
    }

    /// Whether it is an 8-bit floating type.
    pub fn is_float8(self) -> bool {
        matches!(self, DataType::E4m3 | DataType::E5m2)
    }

    /// The log's word.
    pub fn name(self) -> &'static str {
        Self::ROWS.iter().find_map(|row| (row.1 == self).then_some(row.2)).unwrap_or("?")
    }
}

/// In what arithmetic a product is accumulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compute {
    /// `CUBLAS_COMPUTE_16F…`: scalars are half; we accumulate in single, which is at least as exact.
    F16,
    /// `CUBLAS_COMPUTE_32F…`, the FAST and EMULATED ones included: plain single precision serves them.
    F32,
    /// `CUBLAS_COMPUTE_64F…`.
    F64,
    /// `CUBLAS_COMPUTE_32I…`.
    I32,
}

impl Compute {
    /// From a `cublasComputeType_t`.
    pub fn from_c(value: c_int) -> Result<Compute, Error> {
        let is = |candidates: &[ComputeType]| candidates.iter().any(|&candidate| candidate as c_int == value);
        if is(&[ComputeType::CUBLAS_COMPUTE_16F, ComputeType::CUBLAS_COMPUTE_16F_PEDANTIC]) {
            Ok(Compute::F16)
        } else if is(&[
            ComputeType::CUBLAS_COMPUTE_32F,
            ComputeType::CUBLAS_COMPUTE_32F_PEDANTIC,
            ComputeType::CUBLAS_COMPUTE_32F_FAST_16F,
            ComputeType::CUBLAS_COMPUTE_32F_FAST_16BF,
            ComputeType::CUBLAS_COMPUTE_32F_FAST_TF32,
            ComputeType::CUBLAS_COMPUTE_32F_EMULATED_16BFX9,
        ]) {
            Ok(Compute::F32)
        } else if is(&[ComputeType::CUBLAS_COMPUTE_64F, ComputeType::CUBLAS_COMPUTE_64F_PEDANTIC]) {
            Ok(Compute::F64)
        } else if is(&[ComputeType::CUBLAS_COMPUTE_32I, ComputeType::CUBLAS_COMPUTE_32I_PEDANTIC]) {
            Ok(Compute::I32)
        } else {
            Err(Error::NotSupported("compute type"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_operations_are_invalid_and_unknown_types_not_supported() {
        assert_eq!(Op::from_c(3, "transa"), Err(Error::InvalidValue("transa")));
        assert_eq!(Op::from_c(-1, "transa"), Err(Error::InvalidValue("transa")));
        assert_eq!(diagonal_from_c(2, "diag"), Err(Error::InvalidValue("diag")));
        assert_eq!(DataType::from_c(999), Err(Error::NotSupported("data type")));
        assert_eq!(Compute::from_c(0), Err(Error::NotSupported("compute type")));
    }

    #[test]
    fn the_numbers_are_nvidias() {
        assert_eq!(Op::from_c(2, "transa"), Ok(Op::C));
        assert_eq!(side_from_c(1, "side"), Ok(Side::Right));
        assert_eq!(triangle_from_c(0, "uplo"), Ok(Triangle::Lower));
        assert_eq!(triangle_from_c(2, "uplo"), Err(Error::InvalidValue("uplo")), "a full matrix is none");
        assert_eq!(diagonal_from_c(1, "diag"), Ok(Diagonal::Unit));
        assert_eq!(DataType::from_c(14), Ok(DataType::Bf16));
        assert_eq!(Compute::from_c(68), Ok(Compute::F32));
        assert_eq!(Compute::from_c(78), Ok(Compute::F32));
    }
}
