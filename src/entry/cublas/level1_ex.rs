//! Level 1 with element types as arguments: which combinations there are, and whose function serves them.
//!
//! | vectors    | executed in | α of axpy and scal | result of dot | of nrm2 and asum | c and s of rot |
//! |------------|-------------|--------------------|---------------|------------------|----------------|
//! | f16        | f32         | f32                | f16           | f16              | f16            |
//! | bf16       | f32         | f32                | bf16          | bf16             | bf16           |
//! | f32        | f32         | f32                | f32           | f32              | f32            |
//! | f64        | f64         | f64                | f64           | f64              | f64            |
//! | c32        | c32         | c32                | c32           | f32              | c32 or f32     |
//! | c64        | c64         | c64                | c64           | f64              | c64 or f64     |
//!
//! `nrm2` and `asum` name the result's type as the execution type of complex vectors. Of a complex c the imaginary
//! part is ignored. NVIDIA documents no combinations for copy, swap, asum, iamax, iamin, rotg, rotm and rotmg: they take
//! the same types, those of rotations the real ones. Every other combination is NOT_SUPPORTED.
//! Sources: <https://docs.nvidia.com/cuda/cublas/#cublasaxpyex>, `#cublasdotex`, `#cublasnrm2ex`, `#cublasrotex`,
//! `#cublasscalex`.

use std::ffi::{c_int, c_void};

use gpucompat_engine::Conj;
use gpucompat_engine::blas::Extreme;

use super::level1::{self, Args};
use super::types::{bf16, c32, c64, f16};
use crate::boundary::args::DataType::{self, Bf16, C32, C64, F16, F32, F64};
use crate::boundary::status::Error;
use crate::entry::route::Served;
use crate::staging::host_buffer::Plain;

const COMBINATION: Error = Error::NotSupported("combination of types");

/// The one type of all these operands.
fn same<const COUNT: usize>(types: [c_int; COUNT]) -> Result<DataType, Error> {
    match types.first() {
        Some(&first) if types.iter().all(|&other| other == first) => DataType::from_c(first),
        _ => Err(COMBINATION),
    }
}

/// The type that a vector's elements are computed in, its real part for a real result.
fn executed(element: DataType) -> DataType {
    if matches!(element, F16 | Bf16) { F32 } else { element }
}

fn check(got: c_int, want: DataType) -> Result<(), Error> {
    if DataType::from_c(got)? == want { Ok(()) } else { Err(COMBINATION) }
}

/// `cublasAxpyEx`.
pub fn axpy(
    args: Args,
    alpha: *const c_void,
    alpha_type: c_int,
    vectors: [c_int; 2],
    execution: c_int,
) -> Result<Served, Error> {
    let element = same(vectors)?;
    check(alpha_type, executed(element))?;
    check(execution, executed(element))?;
    match element {
        F16 => level1::axpy::<f16, f32>(args, alpha),
        Bf16 => level1::axpy::<bf16, f32>(args, alpha),
        F32 => level1::axpy::<f32, f32>(args, alpha),
        F64 => level1::axpy::<f64, f64>(args, alpha),
        C32 => level1::axpy::<c32, c32>(args, alpha),
        C64 => level1::axpy::<c64, c64>(args, alpha),
        _ => Err(COMBINATION),
    }
}

/// `cublasScalEx`.
pub fn scal(
    args: Args,
    alpha: *const c_void,
    alpha_type: c_int,
    x: c_int,
    execution: c_int,
) -> Result<Served, Error> {
    let element = DataType::from_c(x)?;
    check(alpha_type, executed(element))?;
    check(execution, executed(element))?;
    match element {
        F16 => level1::scal::<f16, f32>(args, alpha),
        Bf16 => level1::scal::<bf16, f32>(args, alpha),
        F32 => level1::scal::<f32, f32>(args, alpha),
        F64 => level1::scal::<f64, f64>(args, alpha),
        C32 => level1::scal::<c32, c32>(args, alpha),
        C64 => level1::scal::<c64, c64>(args, alpha),
        _ => Err(COMBINATION),
    }
}

/// `cublasCopyEx`.
pub fn copy(args: Args, vectors: [c_int; 2]) -> Result<Served, Error> {
    match same(vectors)? {
        F16 => level1::copy::<f16>(args),
        Bf16 => level1::copy::<bf16>(args),
        F32 => level1::copy::<f32>(args),
        F64 => level1::copy::<f64>(args),
        C32 => level1::copy::<c32>(args),
        C64 => level1::copy::<c64>(args),
        _ => Err(COMBINATION),
    }
}

/// `cublasSwapEx`.
pub fn swap(args: Args, vectors: [c_int; 2]) -> Result<Served, Error> {
    match same(vectors)? {
        F16 => level1::swap::<f16>(args),
        Bf16 => level1::swap::<bf16>(args),
        F32 => level1::swap::<f32>(args),
        F64 => level1::swap::<f64>(args),
        C32 => level1::swap::<c32>(args),
        C64 => level1::swap::<c64>(args),
        _ => Err(COMBINATION),
    }
}

/// `cublasDotEx` and `cublasDotcEx`: `types` of x, y and the result.
pub fn dot(
    conj: Conj,
    args: Args,
    types: [c_int; 3],
    execution: c_int,
    result: *mut c_void,
) -> Result<Served, Error> {
    let element = same(types)?;
    check(execution, executed(element))?;
    match element {
        F16 => level1::dot::<f16>(conj, args, result),
        Bf16 => level1::dot::<bf16>(conj, args, result),
        F32 => level1::dot::<f32>(conj, args, result),
        F64 => level1::dot::<f64>(conj, args, result),
        C32 => level1::dot::<c32>(conj, args, result),
        C64 => level1::dot::<c64>(conj, args, result),
        _ => Err(COMBINATION),
    }
}

/// The element type of a vector with a real result.
fn with_real_result([x, result]: [c_int; 2], execution: c_int) -> Result<DataType, Error> {
    let element = DataType::from_c(x)?;
    let real = match element {
        C32 => F32,
        C64 => F64,
        other => other,
    };
    check(result, real)?;
    check(execution, executed(real))?;
    Ok(element)
}

/// `cublasNrm2Ex`: `types` of x and the result.
pub fn nrm2(args: Args, types: [c_int; 2], execution: c_int, result: *mut c_void) -> Result<Served, Error> {
    match with_real_result(types, execution)? {
        F16 => level1::nrm2::<f16>(args, result),
        Bf16 => level1::nrm2::<bf16>(args, result),
        F32 => level1::nrm2::<f32>(args, result),
        F64 => level1::nrm2::<f64>(args, result),
        C32 => level1::nrm2::<c32>(args, result),
        C64 => level1::nrm2::<c64>(args, result),
        _ => Err(COMBINATION),
    }
}

/// `cublasAsumEx`: `types` of x and the result.
pub fn asum(args: Args, types: [c_int; 2], execution: c_int, result: *mut c_void) -> Result<Served, Error> {
    match with_real_result(types, execution)? {
        F16 => level1::asum::<f16>(args, result),
        Bf16 => level1::asum::<bf16>(args, result),
        F32 => level1::asum::<f32>(args, result),
        F64 => level1::asum::<f64>(args, result),
        C32 => level1::asum::<c32>(args, result),
        C64 => level1::asum::<c64>(args, result),
        _ => Err(COMBINATION),
    }
}

/// `cublasIamaxEx` and `cublasIaminEx`.
pub fn extreme_index<I: Plain + TryFrom<usize>>(
    extreme: Extreme,
    args: Args,
    x: c_int,
    result: *mut c_void,
) -> Result<Served, Error> {
    match DataType::from_c(x)? {
        F16 => level1::extreme_index::<f16, I>(extreme, args, result),
        Bf16 => level1::extreme_index::<bf16, I>(extreme, args, result),
        F32 => level1::extreme_index::<f32, I>(extreme, args, result),
        F64 => level1::extreme_index::<f64, I>(extreme, args, result),
        C32 => level1::extreme_index::<c32, I>(extreme, args, result),
        C64 => level1::extreme_index::<c64, I>(extreme, args, result),
        _ => Err(COMBINATION),
    }
}

/// `cublasRotEx`.
pub fn rot(
    args: Args,
    [c, s]: [*const c_void; 2],
    vectors: [c_int; 2],
    cs: c_int,
    execution: c_int,
) -> Result<Served, Error> {
    let element = same(vectors)?;
    check(execution, executed(element))?;
    match (element, DataType::from_c(cs)?) {
        (F16, F16) => level1::rot::<f16, f16, f16>(args, c, s),
        (Bf16, Bf16) => level1::rot::<bf16, bf16, bf16>(args, c, s),
        (F32, F32) => level1::rot::<f32, f32, f32>(args, c, s),
        (F64, F64) => level1::rot::<f64, f64, f64>(args, c, s),
        (C32, F32) => level1::rot::<c32, f32, f32>(args, c, s),
        (C32, C32) => level1::rot::<c32, c32, c32>(args, c, s),
        (C64, F64) => level1::rot::<c64, f64, f64>(args, c, s),
        (C64, C64) => level1::rot::<c64, c64, c64>(args, c, s),
        _ => Err(COMBINATION),
    }
}

/// `cublasRotgEx`: `types` of a and b, and of c and s.
pub fn rotg(
    handle: *mut c_void,
    numbers: [*mut c_void; 4],
    types: [c_int; 2],
    execution: c_int,
) -> Result<Served, Error> {
    let element = same(types)?;
    check(execution, executed(element))?;
    match element {
        F16 => level1::rotg::<f16, f16>(handle, numbers),
        Bf16 => level1::rotg::<bf16, bf16>(handle, numbers),
        F32 => level1::rotg::<f32, f32>(handle, numbers),
        F64 => level1::rotg::<f64, f64>(handle, numbers),
        _ => Err(COMBINATION),
    }
}

/// `cublasRotmEx`: `types` of x, y and the parameters.
pub fn rotm(args: Args, param: *const c_void, types: [c_int; 3], execution: c_int) -> Result<Served, Error> {
    let element = same(types)?;
    check(execution, executed(element))?;
    match element {
        F16 => level1::rotm::<f16>(args, param),
        Bf16 => level1::rotm::<bf16>(args, param),
        F32 => level1::rotm::<f32>(args, param),
        F64 => level1::rotm::<f64>(args, param),
        _ => Err(COMBINATION),
    }
}

/// `cublasRotmgEx`: `types` of d₁, d₂, x₁, y₁ and the parameters.
pub fn rotmg(
    handle: *mut c_void,
    numbers: [*mut c_void; 3],
    y1: *const c_void,
    param: *mut c_void,
    types: [c_int; 5],
    execution: c_int,
) -> Result<Served, Error> {
    let element = same(types)?;
    check(execution, executed(element))?;
    match element {
        F16 => level1::rotmg::<f16>(handle, numbers, y1, param),
        Bf16 => level1::rotmg::<bf16>(handle, numbers, y1, param),
        F32 => level1::rotmg::<f32>(handle, numbers, y1, param),
        F64 => level1::rotmg::<f64>(handle, numbers, y1, param),
        _ => Err(COMBINATION),
    }
}
