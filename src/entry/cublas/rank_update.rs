//! `cublas<t>syrk`, `herk`, `syr2k`, `her2k`, `syrkx`, `herkx`, `cublasCsyrkEx`, `cublasCherkEx` and their `3m`
//! forms: updates of one triangle of a symmetric or Hermitian matrix.
//!
//! | operand | shape         | read                                 | written                       |
//! |---------|---------------|--------------------------------------|-------------------------------|
//! | A, B    | op(X): n×k    | if α ≠ 0 and k > 0                   | never                         |
//! | C       | n×n           | one triangle, if β ≠ 0               | that triangle, only on success |
//!
//! α and β of herk are real, β of her2k and herkx as well. op is N or T for a complex symmetric C, N or C for a
//! Hermitian one, any for a real one. Errors: `NOT_INITIALIZED` unknown handle; `INVALID_VALUE` a negative size,
//! an unknown triangle, another op, a short leading dimension, a null scalar or operand; `NOT_SUPPORTED` types
//! without a row in the table of the Ex forms. Sources: <https://docs.nvidia.com/cuda/cublas/#cublas-t-syrk>,
//! `#cublas-t-herk`, `#cublas-t-syr2k`, `#cublas-t-her2k`, `#cublas-t-syrkx`, `#cublas-t-herkx`,
//! `#cublascsyrkex`, `#cublascherkex`.

use std::ffi::{c_int, c_void};

use gpucompat_engine::{self as engine, Symmetry};

use super::matrix::{BlasElement, Matrix, contents, not_null, output, served, size, view};
use super::types::c32;
use crate::boundary::args::{DataType, Op, triangle_from_c};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Given, Timing};
use crate::entry::route::Served;
use crate::handle::registry::owner;
use crate::staging::host_buffer::Plain;

macro_rules! cublas_syrk {
    ($symbol:ident, $T:ident, $I:ident) => {
        cublas_rank_k! { $symbol, $T, $I, Symmetric }
    };
}
macro_rules! cublas_herk {
    ($symbol:ident, $T:ident, $I:ident) => {
        cublas_rank_k! { $symbol, $T, $I, Hermitian }
    };
}
macro_rules! cublas_syr2k {
    ($symbol:ident, $T:ident, $I:ident) => {
        cublas_rank_pair! { $symbol, $T, $I, Symmetric, Both }
    };
}
macro_rules! cublas_her2k {
    ($symbol:ident, $T:ident, $I:ident) => {
        cublas_rank_pair! { $symbol, $T, $I, Hermitian, Both }
    };
}
macro_rules! cublas_syrkx {
    ($symbol:ident, $T:ident, $I:ident) => {
        cublas_rank_pair! { $symbol, $T, $I, Symmetric, Once }
    };
}
macro_rules! cublas_herkx {
    ($symbol:ident, $T:ident, $I:ident) => {
        cublas_rank_pair! { $symbol, $T, $I, Hermitian, Once }
    };
}
macro_rules! cublas_syrk_ex {
    ($symbol:ident, $I:ident) => {
        cublas_rank_k_ex! { $symbol, $I, Symmetric }
    };
}
macro_rules! cublas_herk_ex {
    ($symbol:ident, $I:ident) => {
        cublas_rank_k_ex! { $symbol, $I, Hermitian }
    };
}
macro_rules! cublas_rank_k {
    ($symbol:ident, $T:ident, $I:ident, $symmetry:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, uplo: c_int, trans: c_int, n: $I, k: $I,
        alpha: *const c_void,  a: *const c_void, lda: $I,  beta: *const c_void,  c: *mut c_void, ldc: $I)
        compute($crate::handle::registry::is_ours(handle), 0) serve
            $crate::entry::cublas::rank_update::serve_square::<$T>(::gpucompat_engine::Symmetry::$symmetry,
                $crate::entry::cublas::rank_update::Args {
                    handle, uplo, trans, n: n.into(), k: k.into(), alpha, beta,
                    a: a as u64, lda: lda.into(), b: a as u64, ldb: lda.into(), c: c as u64, ldc: ldc.into() })
    } };
}
macro_rules! cublas_rank_pair {
    ($symbol:ident, $T:ident, $I:ident, $symmetry:ident, $products:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, uplo: c_int, trans: c_int, n: $I, k: $I,
        alpha: *const c_void,  a: *const c_void, lda: $I,  b: *const c_void, ldb: $I,
        beta: *const c_void,  c: *mut c_void, ldc: $I)
        compute($crate::handle::registry::is_ours(handle), 0) serve
            $crate::entry::cublas::rank_update::serve_pair::<$T>(::gpucompat_engine::Symmetry::$symmetry,
                $crate::entry::cublas::rank_update::Products::$products,
                $crate::entry::cublas::rank_update::Args {
                    handle, uplo, trans, n: n.into(), k: k.into(), alpha, beta,
                    a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into() })
    } };
}
macro_rules! cublas_rank_k_ex {
    ($symbol:ident, $I:ident, $symmetry:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, uplo: c_int, trans: c_int, n: $I, k: $I,
        alpha: *const c_void,  a: *const c_void, a_type: c_int, lda: $I,
        beta: *const c_void,  c: *mut c_void, c_type: c_int, ldc: $I)
        compute($crate::handle::registry::is_ours(handle), $crate::entry::cublas::legal::raw_key(a_type, c_type, 0)) serve
            $crate::entry::cublas::rank_update::serve_ex(::gpucompat_engine::Symmetry::$symmetry, [a_type, c_type],
                $crate::entry::cublas::rank_update::Args {
                    handle, uplo, trans, n: n.into(), k: k.into(), alpha, beta,
                    a: a as u64, lda: lda.into(), b: a as u64, ldb: lda.into(), c: c as u64, ldc: ldc.into() })
    } };
}

/// The arguments as they came, sizes widened; B is A where the function has but the one.
#[derive(Clone, Copy)]
pub struct Args {
    /// The cuBLAS handle.
    pub handle: *mut c_void,
    /// `cublasFillMode_t` of C.
    pub uplo: c_int,
    /// `cublasOperation_t` of A and B.
    pub trans: c_int,
    /// Order of C.
    pub n: i64,
    /// Columns of op(A) and op(B).
    pub k: i64,
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

/// Which products of two matrices are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// `α·A·Bᵀ`: syrkx.
    Once,
    /// That and its mirror image: syr2k.
    Both,
}

/// The arguments checked.
#[derive(Clone, Copy)]
struct Problem {
    symmetry: Symmetry,
    triangle: engine::Triangle,
    op: Op,
    n: usize,
    k: usize,
    a: Matrix,
    b: Matrix,
    c: Matrix,
}

impl Problem {
    fn validate<T: BlasElement>(symmetry: Symmetry, args: &Args) -> Result<Problem, Error> {
        let _known = owner(args.handle).ok_or(Error::NotInitialized)?;
        let triangle = triangle_from_c(args.uplo, "uplo")?;
        let op = Op::from_c(args.trans, "trans")?;
        let complex = T::COMPLEX;
        match (symmetry, op) {
            (Symmetry::Hermitian, Op::T) => return Err(Error::InvalidValue("trans")),
            (Symmetry::Symmetric, Op::C) if complex => return Err(Error::InvalidValue("trans")),
            _ => {}
        }
        let (n, k) = (size(args.n, "n")?, size(args.k, "k")?);
        let a = Matrix::of_op("lda", op, n, k, args.lda, args.a)?;
        let b = Matrix::of_op("ldb", op, n, k, args.ldb, args.b)?;
        let c = Matrix::new("ldc", n, n, args.ldc, args.c)?.required()?;
        not_null(args.alpha, "alpha")?;
        not_null(args.beta, "beta")?;
        Ok(Problem { symmetry, triangle, op, n, k, a, b, c })
    }

    /// Stages A and, if wanted, B, computes and writes C's triangle.
    fn run<AB: engine::Input<T> + Plain, T: BlasElement>(
        &self,
        call: &Call,
        alpha: T,
        beta: T,
        pair: Option<Products>,
    ) -> Result<Served, Error> {
        let k = if alpha == T::zero() { 0 } else { self.k };
        if k == 0 && beta == T::one() {
            return Ok(Served::nothing());
        }
        let a = self.a.read_if::<AB>(call, k > 0)?;
        let b = self.b.read_if::<AB>(call, k > 0 && pair.is_some())?;
        let mut c = self.c.write_triangle::<T>(call, self.triangle, contents(beta))?;
        call.transfer.wait()?;
        let left = view(a.as_ref(), self.op);
        let right = if pair.is_some() { view(b.as_ref(), self.op) } else { left };
        let (triangle, symmetry, n) = (self.triangle, self.symmetry, self.n);
        let target = output(&mut c);
        if pair == Some(Products::Both) {
            engine::rank_2k_update(triangle, symmetry, n, k, alpha, left, right, beta, target);
        } else {
            engine::rank_k_update(triangle, symmetry, n, k, alpha, left, right, beta, target);
        }
        call.transfer.copy_out("c", c)?;
        let op = self.op.letter();
        let what = format_args!("uplo={triangle:?} trans={op} n={n} k={}", self.k);
        Ok(served::<T>(call, what, "rank_update"))
    }
}

/// `C ← α·op(A)·op(A)ᵀ + β·C`, or with `ᴴ` and real α and β.
pub fn serve_square<T: BlasElement>(symmetry: Symmetry, args: Args) -> Result<Served, Error> {
    serve_typed::<T, T>(symmetry, args)
}

/// `cublasCsyrkEx`, `cublasCherkEx` and their `3m` forms: A of 8-bit or single-precision complex numbers.
pub fn serve_ex(symmetry: Symmetry, types: [c_int; 2], args: Args) -> Result<Served, Error> {
    let _known = owner(args.handle).ok_or(Error::NotInitialized)?;
    match (DataType::from_c(types[0])?, DataType::from_c(types[1])?) {
        (DataType::C32, DataType::C32) => serve_typed::<c32, c32>(symmetry, args),
        (DataType::CI8, DataType::C32) => serve_typed::<num_complex::Complex<i8>, c32>(symmetry, args),
        _ => Err(Error::NotSupported("combination of types")),
    }
}

fn serve_typed<AB: engine::Input<T> + Plain, T: BlasElement>(
    symmetry: Symmetry,
    args: Args,
) -> Result<Served, Error> {
    let problem = Problem::validate::<T>(symmetry, &args)?;
    if problem.n == 0 {
        return Ok(Served::nothing());
    }
    let given = Given((args, problem));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, problem))| {
        let alpha = match symmetry {
            Symmetry::Symmetric => call.scalar::<T>("alpha", args.alpha)?,
            Symmetry::Hermitian => T::from_real(call.scalar::<T::Real>("alpha", args.alpha)?),
        };
        let beta = beta::<T>(call, symmetry, &args)?;
        problem.run::<AB, T>(call, alpha, beta, None)
    })
}

/// `C ← α·op(A)·op(B)ᵀ + β·C`, or with both products; Hermitian with `ᴴ` and a real β.
pub fn serve_pair<T: BlasElement>(
    symmetry: Symmetry,
    products: Products,
    args: Args,
) -> Result<Served, Error> {
    let problem = Problem::validate::<T>(symmetry, &args)?;
    if problem.n == 0 {
        return Ok(Served::nothing());
    }
    let given = Given((args, problem));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, problem))| {
        let alpha = call.scalar::<T>("alpha", args.alpha)?;
        let beta = beta::<T>(call, symmetry, &args)?;
        problem.run::<T, T>(call, alpha, beta, Some(products))
    })
}

fn beta<T: BlasElement>(call: &Call, symmetry: Symmetry, args: &Args) -> Result<T, Error> {
    match symmetry {
        Symmetry::Symmetric => call.scalar::<T>("beta", args.beta),
        Symmetry::Hermitian => Ok(T::from_real(call.scalar::<T::Real>("beta", args.beta)?)),
    }
}
