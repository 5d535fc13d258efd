//! `cublas<t>symm`, `cublas<t>hemm`, `cublasXt<t>spmm`: products with a symmetric or Hermitian matrix.
//!
//! | operand | shape                 | read                          | written         |
//! |---------|-----------------------|-------------------------------|-----------------|
//! | A       | m×m (left), n×n       | if α ≠ 0, of one triangle     | never           |
//! | B       | m×n                   | if α ≠ 0                      | never           |
//! | C       | m×n                   | if β ≠ 0                      | only on success |
//!
//! Errors: `NOT_INITIALIZED` unknown handle; `INVALID_VALUE` a negative size, an unknown side or triangle, a short
//! leading dimension, a null scalar or operand. Sources: <https://docs.nvidia.com/cuda/cublas/#cublas-t-symm>,
//! `#cublas-t-hemm`.

use std::ffi::{c_int, c_void};

use gpucompat_engine as engine;

use super::matrix::{BlasElement, Matrix, contents, not_null, output, served, size, view};
use super::matrix_copy::packed_length;
use crate::boundary::args::{Op, side_from_c, triangle_from_c};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Given, Timing};
use crate::entry::route::Served;
use crate::handle::registry::owner;
use crate::staging::host_buffer::HostBuffer;

macro_rules! cublas_symm {
    ($symbol:ident, $T:ident, $I:ident) => {
        cublas_symmetric! { $symbol, $T, $I, Symmetric }
    };
}
macro_rules! cublas_hemm {
    ($symbol:ident, $T:ident, $I:ident) => {
        cublas_symmetric! { $symbol, $T, $I, Hermitian }
    };
}
macro_rules! cublas_symmetric {
    ($symbol:ident, $T:ident, $I:ident, $symmetry:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, side: c_int, uplo: c_int, m: $I, n: $I,
        alpha: *const c_void,  a: *const c_void, lda: $I,  b: *const c_void, ldb: $I,
        beta: *const c_void,  c: *mut c_void, ldc: $I)
        compute($crate::handle::registry::is_ours(handle), 0) serve $crate::entry::cublas::symmetric::serve::<$T>(
            ::gpucompat_engine::Symmetry::$symmetry,
            $crate::entry::cublas::symmetric::Args {
                handle, side, uplo, m: m.into(), n: n.into(), alpha, beta,
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into() })
    } };
}

/// The arguments as they came, sizes widened.
#[derive(Clone, Copy)]
pub struct Args {
    /// The cuBLAS handle.
    pub handle: *mut c_void,
    /// `cublasSideMode_t` of A.
    pub side: c_int,
    /// `cublasFillMode_t` of A.
    pub uplo: c_int,
    /// Rows of B and C.
    pub m: i64,
    /// Columns of B and C.
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

/// `C ← α·A·B + β·C` or `C ← α·B·A + β·C`.
pub fn serve<T: BlasElement>(symmetry: engine::Symmetry, args: Args) -> Result<Served, Error> {
    serve_stored::<T>(symmetry, Storage::Full, args)
}

/// The same with a symmetric A whose triangle is packed: `cublasXt<t>spmm`.
pub fn serve_packed<T: BlasElement>(args: Args) -> Result<Served, Error> {
    serve_stored::<T>(engine::Symmetry::Symmetric, Storage::Packed, args)
}

/// How A's triangle is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Storage {
    Full,
    Packed,
}

fn serve_stored<T: BlasElement>(
    symmetry: engine::Symmetry,
    storage: Storage,
    args: Args,
) -> Result<Served, Error> {
    let _known = owner(args.handle).ok_or(Error::NotInitialized)?;
    let side = side_from_c(args.side, "side")?;
    let triangle = triangle_from_c(args.uplo, "uplo")?;
    let (m, n) = (size(args.m, "m")?, size(args.n, "n")?);
    let order = if side == engine::Side::Left { m } else { n };
    let a = match storage {
        Storage::Full => Matrix::new("lda", order, order, args.lda, args.a)?,
        Storage::Packed => Matrix::array("ap", packed_length(order)?, args.a),
    };
    let b = Matrix::new("ldb", m, n, args.ldb, args.b)?;
    let c = Matrix::new("ldc", m, n, args.ldc, args.c)?.required()?;
    not_null(args.alpha, "alpha")?;
    not_null(args.beta, "beta")?;
    if m == 0 || n == 0 {
        return Ok(Served::nothing());
    }
    let given = Given(args);
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given(args)| {
        let (alpha, beta) = (call.scalar::<T>("alpha", args.alpha)?, call.scalar::<T>("beta", args.beta)?);
        let product = alpha != T::zero();
        let (a, b) = (a.read_if::<T>(call, product)?, b.read_if::<T>(call, product)?);
        let mut c = c.write::<T>(call, contents(beta))?;
        let mut square = HostBuffer::<T>::zeroed(match storage {
            Storage::Packed if product => order.checked_mul(order).ok_or(Error::AllocFailed)?,
            _ => 0,
        })?;
        call.transfer.wait()?;
        let b = view(b.as_ref(), Op::N);
        let a = match (storage, &a) {
            (Storage::Packed, Some(packed)) => {
                let full =
                    engine::MatMut { data: &mut square, row_stride: 1, col_stride: order, batch_stride: 0 };
                engine::unpack_triangle(triangle, order, packed.elements(), full);
                let conjugate = engine::Conj::No;
                engine::MatRef { data: &square, row_stride: 1, col_stride: order, batch_stride: 0, conjugate }
            }
            (_, a) => view(a.as_ref(), Op::N),
        };
        let kernel =
            engine::symmetric_product(side, triangle, symmetry, m, n, alpha, a, b, beta, output(&mut c));
        call.transfer.copy_out("c", c)?;
        Ok(served::<T>(call, format_args!("side={side:?} uplo={triangle:?} m={m} n={n}"), kernel.name()))
    })
}
