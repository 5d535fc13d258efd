//! `cublas<t>geam`, `cublas<t>dgmm`, `cublas<t>tpttr`, `cublas<t>trttp`: sums, scalings and changes of storage.
//!
//! Outputs are computed in host memory of their own, so that C may be A or B where cuBLAS allows it. Errors:
//! `NOT_INITIALIZED` unknown handle; `INVALID_VALUE` a negative size, an unknown mode, a short leading dimension,
//! a null scalar or operand, geam in place with a transposition or another leading dimension. Sources:
//! <https://docs.nvidia.com/cuda/cublas/#cublas-t-geam>, `#cublas-t-dgmm`, `#cublas-t-tpttr`, `#cublas-t-trttp`.

use std::ffi::{c_int, c_void};

use gpucompat_engine as engine;

use super::matrix::{BlasElement, Matrix, not_null, output, served, size, view};
use crate::boundary::args::{Op, side_from_c, triangle_from_c};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Given, Timing};
use crate::entry::route::Served;
use crate::handle::registry::owner;
use crate::staging::staged::Contents;

macro_rules! cublas_geam {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, transa: c_int, transb: c_int, m: $I, n: $I,
        alpha: *const c_void,  a: *const c_void, lda: $I,  beta: *const c_void,  b: *const c_void, ldb: $I,
        c: *mut c_void, ldc: $I)
        compute($crate::handle::registry::is_ours(handle), 0) serve
            $crate::entry::cublas::matrix_copy::add::<$T>($crate::entry::cublas::matrix_copy::AddArgs {
                handle, transa, transb, m: m.into(), n: n.into(), alpha, beta,
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into() })
    } };
}
macro_rules! cublas_dgmm {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, mode: c_int, m: $I, n: $I,
        a: *const c_void, lda: $I,  x: *const c_void, incx: $I,  c: *mut c_void, ldc: $I)
        compute($crate::handle::registry::is_ours(handle), 0) serve
            $crate::entry::cublas::matrix_copy::scale::<$T>($crate::entry::cublas::matrix_copy::ScaleArgs {
                handle, mode, m: m.into(), n: n.into(),
                a: a as u64, lda: lda.into(), x: x as u64, incx: incx.into(), c: c as u64, ldc: ldc.into() })
    } };
}
macro_rules! cublas_tpttr {
    ($symbol:ident, $T:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, uplo: c_int, n: $I,  packed: *const c_void,  a: *mut c_void, lda: $I)
            compute($crate::handle::registry::is_ours(handle), 0) serve
                $crate::entry::cublas::matrix_copy::unpack::<$T>(
                    handle, uplo, n.into(), packed as u64, a as u64, lda.into())
        }
    };
}
macro_rules! cublas_trttp {
    ($symbol:ident, $T:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, uplo: c_int, n: $I,  a: *const c_void, lda: $I,  packed: *mut c_void)
            compute($crate::handle::registry::is_ours(handle), 0) serve
                $crate::entry::cublas::matrix_copy::pack::<$T>(
                    handle, uplo, n.into(), a as u64, lda.into(), packed as u64)
        }
    };
}

/// The arguments of geam as they came, sizes widened.
#[derive(Clone, Copy)]
pub struct AddArgs {
    /// The cuBLAS handle.
    pub handle: *mut c_void,
    /// `cublasOperation_t` of A.
    pub transa: c_int,
    /// `cublasOperation_t` of B.
    pub transb: c_int,
    /// Rows of C.
    pub m: i64,
    /// Columns of C.
    pub n: i64,
    /// α.
    pub alpha: *const c_void,
    /// β.
    pub beta: *const c_void,
    /// Address of A.
    pub a: u64,
    /// Leading dimension of A.
    pub lda: i64,
    /// Address of B.
    pub b: u64,
    /// Leading dimension of B.
    pub ldb: i64,
    /// Address of C.
    pub c: u64,
    /// Leading dimension of C.
    pub ldc: i64,
}

/// `C ← α·op(A) + β·op(B)`. A scalar of 0 does not read its matrix, whose address may then be null.
pub fn add<T: BlasElement>(args: AddArgs) -> Result<Served, Error> {
    let _known = owner(args.handle).ok_or(Error::NotInitialized)?;
    let (op_a, op_b) = (Op::from_c(args.transa, "transa")?, Op::from_c(args.transb, "transb")?);
    let (m, n) = (size(args.m, "m")?, size(args.n, "n")?);
    let a = Matrix::of_op("lda", op_a, m, n, args.lda, args.a)?;
    let b = Matrix::of_op("ldb", op_b, m, n, args.ldb, args.b)?;
    let c = Matrix::new("ldc", m, n, args.ldc, args.c)?.required()?;
    for (address, op, ld, name) in [(args.a, op_a, args.lda, "a"), (args.b, op_b, args.ldb, "b")] {
        if address == args.c && address != 0 && (op.transposes() || ld != args.ldc) {
            return Err(Error::InvalidValue(name));
        }
    }
    not_null(args.alpha, "alpha")?;
    not_null(args.beta, "beta")?;
    if m == 0 || n == 0 {
        return Ok(Served::nothing());
    }
    let given = Given(args);
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given(args)| {
        let (alpha, beta) = (call.scalar::<T>("alpha", args.alpha)?, call.scalar::<T>("beta", args.beta)?);
        let a = a.read_if::<T>(call, alpha != T::zero())?;
        let b = b.read_if::<T>(call, beta != T::zero())?;
        let mut c = c.write::<T>(call, Contents::Zeros)?;
        call.transfer.wait()?;
        engine::matrix_add(m, n, alpha, view(a.as_ref(), op_a), beta, view(b.as_ref(), op_b), output(&mut c));
        call.transfer.copy_out("c", c)?;
        let (op_a, op_b) = (op_a.letter(), op_b.letter());
        Ok(served::<T>(call, format_args!("trans={op_a}{op_b} m={m} n={n}"), "copy"))
    })
}

/// The arguments of dgmm as they came, sizes widened.
#[derive(Clone, Copy)]
pub struct ScaleArgs {
    /// The cuBLAS handle.
    pub handle: *mut c_void,
    /// `cublasSideMode_t` of the diagonal matrix.
    pub mode: c_int,
    /// Rows of C.
    pub m: i64,
    /// Columns of C.
    pub n: i64,
    /// Address of A.
    pub a: u64,
    /// Leading dimension of A.
    pub lda: i64,
    /// Address of the diagonal.
    pub x: u64,
    /// From element to element of the diagonal; negative: it begins at the far end; 0: all are the first.
    pub incx: i64,
    /// Address of C.
    pub c: u64,
    /// Leading dimension of C.
    pub ldc: i64,
}

/// `C ← diag(x)·A` or `C ← A·diag(x)`.
pub fn scale<T: BlasElement>(args: ScaleArgs) -> Result<Served, Error> {
    let _known = owner(args.handle).ok_or(Error::NotInitialized)?;
    let side = side_from_c(args.mode, "mode")?;
    let (m, n) = (size(args.m, "m")?, size(args.n, "n")?);
    let a = Matrix::new("lda", m, n, args.lda, args.a)?.required()?;
    let c = Matrix::new("ldc", m, n, args.ldc, args.c)?.required()?;
    if m == 0 || n == 0 {
        return Ok(Served::nothing());
    }
    let length = if side == engine::Side::Left { m } else { n };
    let stored = if args.incx == 0 { 1 } else { length };
    let step = i64::try_from(args.incx.unsigned_abs().max(1)).map_err(|_| Error::InvalidValue("incx"))?;
    let x = Matrix::new("x", 1, stored, step, args.x)?.required()?;
    let given = Given(args);
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given(args)| {
        let (a, x) = (a.read::<T>(call)?, x.read::<T>(call)?);
        let mut c = c.write::<T>(call, Contents::Zeros)?;
        call.transfer.wait()?;
        let steps = x.elements().iter().step_by(x.layout.col_stride.max(1)).copied();
        let diagonal: Vec<T> = match args.incx {
            0 => steps.cycle().take(length).collect(),
            1.. => steps.collect(),
            _ => steps.rev().collect(),
        };
        engine::scale_by_diagonal(side, m, n, view(Some(&a), Op::N), &diagonal, output(&mut c));
        call.transfer.copy_out("c", c)?;
        Ok(served::<T>(call, format_args!("side={side:?} m={m} n={n} incx={}", args.incx), "copy"))
    })
}

/// A packed triangle into its places in A; the other triangle is neither read nor written.
pub fn unpack<T: BlasElement>(
    handle: *mut c_void,
    uplo: c_int,
    n: i64,
    packed: u64,
    a: u64,
    lda: i64,
) -> Result<Served, Error> {
    let _known = owner(handle).ok_or(Error::NotInitialized)?;
    let triangle = triangle_from_c(uplo, "uplo")?;
    let n = size(n, "n")?;
    let packed = Matrix::array("ap", packed_length(n)?, packed).required()?;
    let a = Matrix::new("lda", n, n, lda, a)?.required()?;
    if n == 0 {
        return Ok(Served::nothing());
    }
    Call::of(handle, Timing::Deferrable)?.run((), move |call, ()| {
        let packed = packed.read::<T>(call)?;
        let mut a = a.write_triangle::<T>(call, triangle, Contents::Zeros)?;
        call.transfer.wait()?;
        engine::unpack_triangle(triangle, n, packed.elements(), output(&mut a));
        call.transfer.copy_out("a", a)?;
        Ok(served::<T>(call, format_args!("uplo={triangle:?} n={n}"), "copy"))
    })
}

/// A triangle of A into packed storage.
pub fn pack<T: BlasElement>(
    handle: *mut c_void,
    uplo: c_int,
    n: i64,
    a: u64,
    lda: i64,
    packed: u64,
) -> Result<Served, Error> {
    let _known = owner(handle).ok_or(Error::NotInitialized)?;
    let triangle = triangle_from_c(uplo, "uplo")?;
    let n = size(n, "n")?;
    let a = Matrix::new("lda", n, n, lda, a)?.required()?;
    let packed = Matrix::array("ap", packed_length(n)?, packed).required()?;
    if n == 0 {
        return Ok(Served::nothing());
    }
    Call::of(handle, Timing::Deferrable)?.run((), move |call, ()| {
        let a = a.read::<T>(call)?;
        let mut packed = packed.write::<T>(call, Contents::Zeros)?;
        call.transfer.wait()?;
        engine::pack_triangle(triangle, n, view(Some(&a), Op::N), packed.elements_mut());
        call.transfer.copy_out("ap", packed)?;
        Ok(served::<T>(call, format_args!("uplo={triangle:?} n={n}"), "copy"))
    })
}

/// n·(n + 1)/2.
pub fn packed_length(n: usize) -> Result<usize, Error> {
    n.checked_add(1).and_then(|next| n.checked_mul(next)).map(|twice| twice / 2).ok_or(Error::AllocFailed)
}
