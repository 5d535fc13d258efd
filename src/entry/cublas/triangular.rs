//! `cublas<t>trmm`, `cublas<t>trsm`, `cublas<t>trsmBatched`: products and solutions with a triangular matrix.
//!
//! | operand | shape           | read                                        | written         |
//! |---------|-----------------|---------------------------------------------|-----------------|
//! | A       | m×m (left), n×n | if α ≠ 0, one triangle, no unit diagonal    | never           |
//! | B       | m×n             | if α ≠ 0                                    | trsm: on success |
//! | C       | m×n             | never; may be B                             | trmm: on success |
//!
//! Errors: `NOT_INITIALIZED` unknown handle; `INVALID_VALUE` a negative size, an unknown mode, a short leading
//! dimension, a null scalar or operand. Sources: <https://docs.nvidia.com/cuda/cublas/#cublas-t-trmm>,
//! `#cublas-t-trsm`, `#cublas-t-trsmbatched`.

use std::ffi::{c_int, c_void};

use gpucompat_engine as engine;

use super::matrix::{BlasElement, Matrix, not_null, output, served, size, view};
use crate::boundary::args::{Op, diagonal_from_c, side_from_c, triangle_from_c};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Given, Timing};
use crate::entry::route::Served;
use crate::handle::registry::owner;
use crate::staging::staged::Contents;

macro_rules! cublas_trmm {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, side: c_int, uplo: c_int, trans: c_int, diag: c_int, m: $I, n: $I,
        alpha: *const c_void,  a: *const c_void, lda: $I,  b: *const c_void, ldb: $I,  c: *mut c_void, ldc: $I)
        compute($crate::handle::registry::is_ours(handle), 0) serve
            $crate::entry::cublas::triangular::multiply::<$T>($crate::entry::cublas::triangular::Args {
                handle, modes: [side, uplo, trans, diag], m: m.into(), n: n.into(), alpha,
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into() }, c as u64, ldc.into())
    } };
}
macro_rules! cublas_trsm {
    ($symbol:ident, $T:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, side: c_int, uplo: c_int, trans: c_int, diag: c_int, m: $I, n: $I,
            alpha: *const c_void,  a: *const c_void, lda: $I,  b: *mut c_void, ldb: $I)
            compute($crate::handle::registry::is_ours(handle), 0) serve
                $crate::entry::cublas::triangular::solve::<$T>($crate::entry::cublas::triangular::Args {
                    handle, modes: [side, uplo, trans, diag], m: m.into(), n: n.into(), alpha,
                    a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into() })
        }
    };
}
macro_rules! cublas_trsm_batched {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, side: c_int, uplo: c_int, trans: c_int, diag: c_int, m: $I, n: $I,
        alpha: *const c_void,  a: *const *const c_void, lda: $I,  b: *const *mut c_void, ldb: $I,  count: $I)
        compute($crate::handle::registry::is_ours(handle), 0) serve
            $crate::entry::cublas::triangular::solve_batch::<$T>($crate::entry::cublas::triangular::Args {
                handle, modes: [side, uplo, trans, diag], m: m.into(), n: n.into(), alpha,
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into() }, count.into())
    } };
}

/// The arguments that the three have in common, as they came, sizes widened.
#[derive(Clone, Copy)]
pub struct Args {
    /// The cuBLAS handle.
    pub handle: *mut c_void,
    /// `cublasSideMode_t`, `cublasFillMode_t`, `cublasOperation_t` and `cublasDiagType_t` of A.
    pub modes: [c_int; 4],
    /// Rows of B.
    pub m: i64,
    /// Columns of B.
    pub n: i64,
    /// α.
    pub alpha: *const c_void,
    /// Address of A, or of the array of its addresses.
    pub a: u64,
    /// Leading dimension of A.
    pub lda: i64,
    /// Address of B, or of the array of its addresses.
    pub b: u64,
    /// Leading dimension of B.
    pub ldb: i64,
}

/// The arguments checked.
#[derive(Clone, Copy)]
struct Problem {
    side: engine::Side,
    triangle: engine::Triangle,
    op: Op,
    diagonal: engine::Diagonal,
    m: usize,
    n: usize,
    a: Matrix,
    b: Matrix,
}

impl Problem {
    fn validate(args: &Args) -> Result<Problem, Error> {
        let _known = owner(args.handle).ok_or(Error::NotInitialized)?;
        let [side, uplo, trans, diag] = args.modes;
        let side = side_from_c(side, "side")?;
        let triangle = triangle_from_c(uplo, "uplo")?;
        let (op, diagonal) = (Op::from_c(trans, "trans")?, diagonal_from_c(diag, "diag")?);
        let (m, n) = (size(args.m, "m")?, size(args.n, "n")?);
        let order = if side == engine::Side::Left { m } else { n };
        let a = Matrix::new("lda", order, order, args.lda, args.a)?;
        let b = Matrix::new("ldb", m, n, args.ldb, args.b)?;
        not_null(args.alpha, "alpha")?;
        Ok(Problem { side, triangle, op, diagonal, m, n, a, b })
    }

    fn is_empty(&self) -> bool {
        self.m == 0 || self.n == 0
    }

    /// op(A) and its triangle.
    fn operand<'a, T>(&self, matrix: engine::MatRef<'a, T>) -> engine::Triangular<'a, T> {
        let triangle = if self.op.transposes() { self.triangle.transposed() } else { self.triangle };
        engine::Triangular { matrix, triangle, diagonal: self.diagonal }
    }
}

/// The log's words.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Problem { side, triangle, op, diagonal, m, n, .. } = self;
        write!(f, "side={side:?} uplo={triangle:?} trans={} diag={diagonal:?} m={m} n={n}", op.letter())
    }
}

/// What B holds on the host beforehand: with α = 0 it is not read.
fn contents<T: BlasElement>(alpha: T) -> Contents {
    if alpha == T::zero() { Contents::Zeros } else { Contents::Fetched }
}

/// `C ← α·op(A)·B` or `C ← α·B·op(A)`.
pub fn multiply<T: BlasElement>(args: Args, c: u64, ldc: i64) -> Result<Served, Error> {
    let problem = Problem::validate(&args)?;
    let (m, n) = (problem.m, problem.n);
    let c = Matrix::new("ldc", m, n, ldc, c)?.required()?;
    if problem.is_empty() {
        return Ok(Served::nothing());
    }
    let given = Given((args, problem));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, problem))| {
        let alpha = call.scalar::<T>("alpha", args.alpha)?;
        let product = alpha != T::zero();
        let (a, b) = (problem.a.read_if::<T>(call, product)?, problem.b.read_if::<T>(call, product)?);
        let mut c = c.write::<T>(call, Contents::Zeros)?;
        call.transfer.wait()?;
        let triangular = problem.operand(view(a.as_ref(), problem.op));
        let b = view(b.as_ref(), Op::N);
        engine::triangular_product(problem.side, m, n, alpha, triangular, b, output(&mut c));
        call.transfer.copy_out("c", c)?;
        Ok(served::<T>(call, format_args!("{problem}"), "triangular"))
    })
}

/// Solves `op(A)·X = α·B` or `X·op(A) = α·B` in B's place.
pub fn solve<T: BlasElement>(args: Args) -> Result<Served, Error> {
    let problem = Problem::validate(&args)?;
    let b = problem.b.required()?;
    if problem.is_empty() {
        return Ok(Served::nothing());
    }
    let given = Given((args, problem));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, problem))| {
        let alpha = call.scalar::<T>("alpha", args.alpha)?;
        let a = problem.a.read_if::<T>(call, alpha != T::zero())?;
        let mut b = b.write::<T>(call, contents(alpha))?;
        call.transfer.wait()?;
        let triangular = problem.operand(view(a.as_ref(), problem.op));
        engine::triangular_solve(problem.side, problem.m, problem.n, alpha, triangular, output(&mut b));
        call.transfer.copy_out("b", b)?;
        Ok(served::<T>(call, format_args!("{problem}"), "triangular"))
    })
}

/// As [`solve`] for each of a batch.
pub fn solve_batch<T: BlasElement>(args: Args, count: i64) -> Result<Served, Error> {
    let problem = Problem::validate(&args)?;
    let count = size(count, "batchCount")?;
    if problem.is_empty() || count == 0 {
        return Ok(Served::nothing());
    }
    let (matrix, rights) = (problem.a.required()?, problem.b.required()?);
    let given = Given((args, problem));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, problem))| {
        let alpha = call.scalar::<T>("alpha", args.alpha)?;
        let a_region = matrix.batch(call, count)?;
        let rights = rights.batch(call, count)?;
        let product = alpha != T::zero();
        let a = product.then(|| call.transfer.operand::<T>("lda", &a_region)).transpose()?;
        let mut b = if product {
            call.transfer.copy_in::<T>("ldb", &rights)?
        } else {
            call.transfer.room_for::<T>("ldb", &rights)?
        };
        call.transfer.wait()?;
        let layout = b.layout;
        let (a_view, a_stride) =
            (view(a.as_ref(), problem.op), a.as_ref().map_or(0, |a| a.layout.batch_stride));
        engine::for_each_matrix(b.elements_mut(), layout.batch_stride, |index, data| {
            let a = engine::MatRef { data: &a_view.data[index * a_stride..], ..a_view };
            let b = engine::MatMut { data, row_stride: 1, col_stride: layout.col_stride, batch_stride: 0 };
            engine::triangular_solve(problem.side, problem.m, problem.n, alpha, problem.operand(a), b);
        });
        call.transfer.copy_out("b", b)?;
        Ok(served::<T>(call, format_args!("{problem} batch={count}"), "triangular"))
    })
}
