//! `C ← α·op(A)·op(B) + β·C`: the one product that every GEMM form of cuBLAS reduces to.
//!
//! | operand | shape          | leading dimension, elements | read              | written          |
//! |---------|----------------|-----------------------------|-------------------|------------------|
//! | A       | m×k, or k×m    | `lda ≥ max(1, rows of A)`   | if α ≠ 0 and k > 0 | never           |
//! | B       | k×n, or n×k    | `ldb ≥ max(1, rows of B)`   | if α ≠ 0 and k > 0 | never           |
//! | C       | m×n            | `ldc ≥ max(1, m)`           | if β ≠ 0          | only on success  |
//!
//! Errors: `NOT_INITIALIZED` unknown handle; `INVALID_VALUE` a negative size, unknown operation, short
//! leading dimension or null scalar (nothing is read); `NOT_SUPPORTED` a combination of types without a row
//! in the library's table; `ALLOC_FAILED`, `EXECUTION_FAILED` staging failed (C is untouched until copy-out).
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-gemm>.

use std::ffi::{c_int, c_void};

use gpucompat_engine as engine;

use super::legal::{Types, check_algorithm};
use super::types::{CudaElement, c32, c64, f16};
use crate::boundary::args::{Compute, DataType, Op};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Given, Timing};
use crate::entry::route::Served;
use crate::handle::registry::owner;
use crate::staging::host_buffer::Plain;
use crate::staging::region::{Bases, Region};
use crate::staging::staged::Staged;

/// The arguments of a GEMM call as they came, sizes widened.
pub struct Args {
    /// The cuBLAS handle; null for the legacy interface.
    pub handle: *mut c_void,
    /// `cublasOperation_t` of A.
    pub transa: c_int,
    /// `cublasOperation_t` of B.
    pub transb: c_int,
    /// Rows of C.
    pub m: i64,
    /// Columns of C.
    pub n: i64,
    /// Columns of op(A).
    pub k: i64,
    /// α, of the scale type, where the pointer mode says.
    pub alpha: *const c_void,
    /// β.
    pub beta: *const c_void,
    /// Address of A, or of the array of its addresses.
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
    /// How many products and where.
    pub batch: Batch,
}

/// How the matrices of a batch are found.
#[derive(Clone, Copy, Debug)]
pub enum Batch {
    /// A single product.
    One,
    /// At fixed distances, elements.
    Strided {
        /// Between As.
        a: i64,
        /// Between Bs.
        b: i64,
        /// Between Cs.
        c: i64,
        /// How many.
        count: i64,
    },
    /// At addresses listed in device memory.
    Pointers {
        /// How many.
        count: i64,
    },
}

impl Batch {
    fn count(self) -> i64 {
        match self {
            Batch::One => 1,
            Batch::Strided { count, .. } | Batch::Pointers { count } => count,
        }
    }
}

/// A matrix operand before its addresses are known.
#[derive(Clone, Copy, Debug)]
struct Matrix {
    name: &'static str,
    op: Op,
    rows: usize,
    cols: usize,
    ld: usize,
    address: u64,
    stride: i64,
}

/// A validated product.
#[derive(Clone, Copy, Debug)]
pub struct Problem {
    m: usize,
    n: usize,
    k: usize,
    count: usize,
    batch: Batch,
    a: Matrix,
    b: Matrix,
    c: Matrix,
    alpha: *const c_void,
    beta: *const c_void,
    types: Types,
}

/// Element types with a `cublas<t>gemm` of their own.
pub trait Uniform: CudaElement {}
impl<T: CudaElement> Uniform for T {}

/// Serves a form whose name says its one type.
pub fn serve_uniform<T: Uniform>(args: Args) -> Result<Served, Error> {
    serve_typed(&args, || Ok(Types::uniform(T::TYPE)))
}

/// Serves `cublasSgemmEx`, `cublasCgemmEx`, `cublasCgemm3mEx`: `types` of A, B and C.
pub fn serve_named_ex<T: CudaElement>(types: [c_int; 3], args: Args) -> Result<Served, Error> {
    let [a, b, c] = types;
    serve_typed(&args, || Types::of_named_ex(T::TYPE, a, b, c))
}

/// Serves `cublasGemmEx` and its batched forms: `types` of A, B and C.
pub fn serve_ex(types: [c_int; 3], compute: c_int, algo: c_int, args: Args) -> Result<Served, Error> {
    let [a, b, c] = types;
    serve_typed(&args, || {
        check_algorithm(algo)?;
        Types::of_gemm_ex(a, b, c, compute)
    })
}

fn serve_typed(args: &Args, types: impl FnOnce() -> Result<Types, Error>) -> Result<Served, Error> {
    let _known = owner(args.handle).ok_or(Error::NotInitialized)?;
    let ops = (Op::from_c(args.transa, "transa")?, Op::from_c(args.transb, "transb")?);
    let problem = Problem::validate(ops, args, types()?)?;
    if problem.is_empty() {
        return Ok(Served::nothing());
    }
    Call::of(args.handle, Timing::Deferrable)?.run(Given(problem), |call, problem| serve(call, &problem.0))
}

/// Computes a validated product: types become generic parameters here.
pub fn serve(call: &Call, problem: &Problem) -> Result<Served, Error> {
    use DataType::{Bf16, C32, C64, CI8, F16, F32, F64, I8, I32};
    type Ci8 = num_complex::Complex<i8>;
    if problem.is_empty() {
        return Ok(Served::nothing());
    }
    let single = |value: f32| value;
    match (problem.types.ab, problem.types.c, problem.types.compute) {
        (F32, F32, _) => run::<f32, f32, f32, f32>(call, problem, single),
        (F64, F64, _) => run::<f64, f64, f64, f64>(call, problem, |value| value),
        (C32, C32, _) => run::<c32, c32, c32, c32>(call, problem, |value| value),
        (C64, C64, _) => run::<c64, c64, c64, c64>(call, problem, |value| value),
        (F16, F16, Compute::F16) => run::<f16, f16, f32, f16>(call, problem, f16::to_f32),
        (F16, F16, _) => run::<f16, f16, f32, f32>(call, problem, single),
        (F16, F32, _) => run::<f16, f32, f32, f32>(call, problem, single),
        (Bf16, Bf16, _) => run::<half::bf16, half::bf16, f32, f32>(call, problem, single),
        (Bf16, F32, _) => run::<half::bf16, f32, f32, f32>(call, problem, single),
        (I8, I32, _) => run::<i8, i32, i32, i32>(call, problem, |value| value),
        (I8, F32, _) => run::<i8, f32, f32, f32>(call, problem, single),
        (CI8, C32, _) => run::<Ci8, c32, c32, c32>(call, problem, |value| value),
        _ => Err(Error::NotSupported("combination of types")),
    }
}

/// Stages, computes and writes back one product with these types.
fn run<AB, Out, Acc, Scale>(call: &Call, problem: &Problem, widen: fn(Scale) -> Acc) -> Result<Served, Error>
where
    AB: engine::Input<Acc> + Plain,
    Out: engine::Output<Acc> + Plain,
    Acc: engine::Accumulator,
    Scale: Plain,
{
    let alpha = widen(call.scalar::<Scale>("alpha", problem.alpha)?);
    let beta = widen(call.scalar::<Scale>("beta", problem.beta)?);
    let zero = Acc::zero();
    // Without a product there is nothing to read of A and B: BLAS's rule for α = 0 and for k = 0.
    let depth = if alpha == zero { 0 } else { problem.k };
    let a = problem.stage_input::<AB>(call, &problem.a, depth)?;
    let b = problem.stage_input::<AB>(call, &problem.b, depth)?;
    let c_region = problem.region(call, &problem.c)?;
    let mut c = if beta == zero {
        call.transfer.room_for::<Out>("c", &c_region)?
    } else {
        call.transfer.copy_in::<Out>("c", &c_region)?
    };
    call.transfer.wait()?;
    let shape = engine::GemmShape { m: problem.m, n: problem.n, k: depth, batch: problem.count };
    let (col_stride, batch_stride) = (c.layout.col_stride, c.layout.batch_stride);
    let output = engine::MatMut { data: c.elements_mut(), row_stride: 1, col_stride, batch_stride };
    let kernel = engine::gemm(
        shape,
        alpha,
        matrix(a.as_ref(), problem.a.op),
        matrix(b.as_ref(), problem.b.op),
        beta,
        output,
    );
    call.transfer.copy_out("c", c)?;
    Ok(Served {
        what: problem.to_string(),
        bytes_in: call.transfer.bytes_in(),
        bytes_out: call.transfer.bytes_out(),
        kernel: kernel.name(),
    })
}

/// A staged operand as the engine sees op(X): transposition swaps its strides.
fn matrix<'a, T: Plain>(staged: Option<&'a Staged<'_, T>>, op: Op) -> engine::MatRef<'a, T> {
    let (data, col, batch_stride) =
        staged.map_or((&[][..], 1, 0), |it| (it.elements(), it.layout.col_stride, it.layout.batch_stride));
    let (row_stride, col_stride) = if op.transposes() { (col, 1) } else { (1, col) };
    let conjugate = if op == Op::C { engine::Conj::Yes } else { engine::Conj::No };
    engine::MatRef { data, row_stride, col_stride, batch_stride, conjugate }
}

impl Problem {
    /// Checks everything that can be checked without touching memory.
    pub fn validate((op_a, op_b): (Op, Op), args: &Args, types: Types) -> Result<Problem, Error> {
        let size = |value: i64, name| usize::try_from(value).map_err(|_| Error::InvalidValue(name));
        let (m, n, k) = (size(args.m, "m")?, size(args.n, "n")?, size(args.k, "k")?);
        let count = size(args.batch.count(), "batchCount")?;
        let (stride_a, stride_b, stride_c) = match args.batch {
            Batch::Strided { a, b, c, .. } => (a, b, c),
            Batch::One | Batch::Pointers { .. } => (0, 0, 0),
        };
        let operand = |name, op: Op, rows: usize, cols: usize, ld: i64, address, stride| {
            let (rows, cols) = if op.transposes() { (cols, rows) } else { (rows, cols) };
            let ld = size(ld, name)?;
            if ld < rows.max(1) {
                return Err(Error::InvalidValue(name));
            }
            Ok(Matrix { name, op, rows, cols, ld, address, stride })
        };
        let a = operand("lda", op_a, m, k, args.lda, args.a, stride_a)?;
        let b = operand("ldb", op_b, k, n, args.ldb, args.b, stride_b)?;
        let c = operand("ldc", Op::N, m, n, args.ldc, args.c, stride_c)?;
        if args.alpha.is_null() || args.beta.is_null() {
            return Err(Error::InvalidValue(if args.alpha.is_null() { "alpha" } else { "beta" }));
        }
        let problem =
            Problem { m, n, k, count, batch: args.batch, a, b, c, alpha: args.alpha, beta: args.beta, types };
        if !problem.is_empty() && args.c == 0 {
            return Err(Error::InvalidValue("c"));
        }
        Ok(problem)
    }

    fn is_empty(&self) -> bool {
        self.m == 0 || self.n == 0 || self.count == 0
    }

    /// Stages A or B; nothing if the product has no depth.
    fn stage_input<'c, T: Plain>(
        &self,
        call: &'c Call,
        matrix: &Matrix,
        depth: usize,
    ) -> Result<Option<Staged<'c, T>>, Error> {
        if depth == 0 {
            return Ok(None);
        }
        if matrix.address == 0 {
            return Err(Error::InvalidValue(matrix.name));
        }
        call.transfer.operand::<T>(matrix.name, &self.region(call, matrix)?).map(Some)
    }

    /// Where an operand's elements lie; a pointer array is fetched from the device for that.
    fn region(&self, call: &Call, matrix: &Matrix) -> Result<Region, Error> {
        let bases = match self.batch {
            Batch::One | Batch::Strided { .. } => {
                Bases::Strided { base: matrix.address, stride: matrix.stride, count: self.count }
            }
            Batch::Pointers { .. } => {
                let addresses = call.transfer.read_now::<u64>(matrix.name, matrix.address, self.count)?;
                Bases::List(addresses)
            }
        };
        Ok(Region { rows: matrix.rows, cols: matrix.cols, ld: matrix.ld, bases })
    }
}

/// The log's words: shapes, layout, types.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (a, b, c) = (&self.a, &self.b, &self.c);
        write!(f, "trans={}{} m={} n={} k={}", a.op.letter(), b.op.letter(), self.m, self.n, self.k)?;
        write!(f, " lda={} ldb={} ldc={} batch={}", a.ld, b.ld, c.ld, self.count)?;
        write!(f, " type={}", self.types.ab.name())?;
        if self.types.c != self.types.ab {
            write!(f, "->{}", self.types.c.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Args {
        let scalar = std::ptr::without_provenance(64);
        Args {
            handle: std::ptr::null_mut(),
            transa: 0,
            transb: 0,
            m: 3,
            n: 4,
            k: 5,
            alpha: scalar,
            beta: scalar,
            a: 4096,
            lda: 3,
            b: 8192,
            ldb: 5,
            c: 16384,
            ldc: 3,
            batch: Batch::One,
        }
    }

    fn validate(args: &Args) -> Result<Problem, Error> {
        let ops = (Op::from_c(args.transa, "transa")?, Op::from_c(args.transb, "transb")?);
        Problem::validate(ops, args, Types::uniform(DataType::F32))
    }

    #[test]
    fn a_legal_product_passes() {
        assert!(validate(&args()).is_ok());
    }

    #[test]
    fn each_bad_size_is_named() {
        let bad = |change: &dyn Fn(&mut Args)| {
            let mut args = args();
            change(&mut args);
            validate(&args).map(|_| ()).unwrap_err()
        };
        assert_eq!(bad(&|args| args.m = -1), Error::InvalidValue("m"));
        assert_eq!(bad(&|args| args.n = -1), Error::InvalidValue("n"));
        assert_eq!(bad(&|args| args.k = -1), Error::InvalidValue("k"));
        assert_eq!(bad(&|args| args.lda = 2), Error::InvalidValue("lda"));
        assert_eq!(bad(&|args| args.ldb = 4), Error::InvalidValue("ldb"));
        assert_eq!(bad(&|args| args.ldc = 2), Error::InvalidValue("ldc"));
        assert_eq!(bad(&|args| args.ldc = -3), Error::InvalidValue("ldc"));
        assert_eq!(bad(&|args| args.transb = 7), Error::InvalidValue("transb"));
        assert_eq!(bad(&|args| args.alpha = std::ptr::null()), Error::InvalidValue("alpha"));
        assert_eq!(bad(&|args| args.beta = std::ptr::null()), Error::InvalidValue("beta"));
        assert_eq!(bad(&|args| args.c = 0), Error::InvalidValue("c"));
        assert_eq!(
            bad(&|args| args.batch = Batch::Pointers { count: -1 }),
            Error::InvalidValue("batchCount")
        );
    }

    #[test]
    fn the_leading_dimension_is_that_of_the_stored_matrix() {
        let mut args = args();
        args.transa = 1;
        assert_eq!(validate(&args).map(|_| ()), Err(Error::InvalidValue("lda")));
        args.lda = 5;
        assert!(validate(&args).is_ok());
    }
}
