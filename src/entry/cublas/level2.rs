//! Level 2 but `gemv`, served: products, solutions and updates with matrices in the forms that BLAS stores.
//!
//! | functions                                | read                        | written                   |
//! |------------------------------------------|-----------------------------|---------------------------|
//! | `gbmv`, `symv`, `sbmv`, `spmv`, `hemv` … | A and x if α ≠ 0, y if β ≠ 0 | y                        |
//! | `trmv`, `tbmv`, `tpmv`, `trsv` …         | A, x                        | x                         |
//! | `ger`, `syr`, `her`, `syr2`, `spr` …     | x, y, A if α ≠ 0            | A's stored elements       |
//!
//! Errors: `NOT_INITIALIZED` unknown handle; `INVALID_VALUE` an unknown operation, triangle or diagonal, a negative
//! size, a short leading dimension, an increment of 0, a null address (nothing is touched); `ALLOC_FAILED`,
//! `EXECUTION_FAILED` staging failed (nothing is written before all is computed).
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublas-level-2-function-reference>.

use std::ffi::{c_int, c_void};

use gpucompat_engine::Conj;
use gpucompat_engine::blas::{self, Factor, Number, Storage, Stored, Symmetry, Transposition, Triangle};

use super::operand::{Element, Strided, served, size};
use crate::boundary::args::{Op, diagonal_from_c, triangle_from_c};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Given, Timing};
use crate::entry::route::Served;
use crate::handle::registry::owner;
use crate::staging::host_buffer::Plain;
use crate::staging::region::{Bases, Rectangle, Region};
use crate::staging::staged::Staged;

/// The engine's kernel, in the log.
const KERNEL: &str = "structured";

/// A number of level 2: f32, f64, c32, c64.
pub trait Entry: Element<Exec = Self> + Number {}
impl<T: Element<Exec = T> + Number> Entry for T {}

/// A matrix as it came.
#[derive(Clone, Copy)]
pub enum Matrix {
    /// All of m×n elements.
    Full {
        /// Rows.
        m: i64,
        /// Columns.
        n: i64,
        /// Leading dimension.
        ld: i64,
    },
    /// The diagonals of an m×n matrix.
    Band {
        /// Rows.
        m: i64,
        /// Columns.
        n: i64,
        /// Diagonals below the main one.
        kl: i64,
        /// Diagonals above it.
        ku: i64,
        /// Leading dimension.
        ld: i64,
    },
    /// One triangle of n×n.
    Triangular {
        /// `cublasFillMode_t`.
        uplo: c_int,
        /// Rows and columns.
        n: i64,
        /// Leading dimension.
        ld: i64,
    },
    /// One triangle's diagonals.
    TriangularBand {
        /// `cublasFillMode_t`.
        uplo: c_int,
        /// Rows and columns.
        n: i64,
        /// Diagonals beside the main one.
        k: i64,
        /// Leading dimension.
        ld: i64,
    },
    /// One triangle, packed.
    Packed {
        /// `cublasFillMode_t`.
        uplo: c_int,
        /// Rows and columns.
        n: i64,
    },
}

impl Matrix {
    /// Its sizes and form, checked.
    fn stored(self) -> Result<Stored, Error> {
        let triangle = |uplo| triangle_from_c(uplo, "uplo");
        let stored = match self {
            Matrix::Full { m, n, ld } => Stored {
                rows: size(m, "m")?,
                cols: size(n, "n")?,
                storage: Storage::Full { ld: size(ld, "lda")? },
            },
            Matrix::Band { m, n, kl, ku, ld } => {
                let (rows, cols, below, above) =
                    (size(m, "m")?, size(n, "n")?, size(kl, "kl")?, size(ku, "ku")?);
                Stored { rows, cols, storage: Storage::Band { below, above, ld: size(ld, "lda")? } }
            }
            Matrix::Triangular { uplo, n, ld } => {
                let (triangle, n) = (triangle(uplo)?, size(n, "n")?);
                Stored { rows: n, cols: n, storage: Storage::Triangular { triangle, ld: size(ld, "lda")? } }
            }
            Matrix::TriangularBand { uplo, n, k, ld } => {
                let (triangle, n, diagonals) = (triangle(uplo)?, size(n, "n")?, size(k, "k")?);
                let storage = Storage::TriangularBand { triangle, diagonals, ld: size(ld, "lda")? };
                Stored { rows: n, cols: n, storage }
            }
            Matrix::Packed { uplo, n } => {
                let (triangle, n) = (triangle(uplo)?, size(n, "n")?);
                Stored { rows: n, cols: n, storage: Storage::Packed { triangle } }
            }
        };
        match stored.leading_dimension() {
            Some(ld) if ld < stored.height().max(1) => Err(Error::InvalidValue("lda")),
            _ => Ok(stored),
        }
    }
}

/// A handle, a matrix and up to two vectors.
#[derive(Clone, Copy)]
pub struct Args {
    /// The cuBLAS handle.
    pub handle: *mut c_void,
    /// Device address of A.
    pub a: u64,
    /// Its form.
    pub matrix: Matrix,
    /// x.
    pub x: Strided,
    /// y; of functions without one, x again.
    pub y: Strided,
}

impl Args {
    fn validate(&self) -> Result<Stored, Error> {
        let _known = owner(self.handle).ok_or(Error::NotInitialized)?;
        let stored = self.matrix.stored()?;
        for (vector, name) in [(self.x, "incx"), (self.y, "incy")] {
            if vector.increment == 0 {
                return Err(Error::InvalidValue(name));
            }
        }
        Ok(stored)
    }

    /// Where A lies on the device: a rectangle that holds all stored elements.
    fn region(&self, stored: &Stored) -> Result<Region, Error> {
        if self.a == 0 {
            return Err(Error::InvalidValue("a"));
        }
        let rows = stored.height();
        let (cols, ld) = stored.leading_dimension().map_or((1, rows), |ld| (stored.cols, ld));
        Ok(Region { rows, cols, ld, bases: Bases::Strided { base: self.a, stride: 0, count: 1 } })
    }

    fn served<T: Element>(&self, call: &Call, stored: &Stored, with: &str) -> Served {
        let (incx, incy) = (self.x.increment, self.y.increment);
        let form = match stored.storage {
            Storage::Full { ld } => format!("full lda={ld}"),
            Storage::Band { below, above, ld } => format!("band kl={below} ku={above} lda={ld}"),
            Storage::Triangular { triangle, ld } => format!("{} lda={ld}", word(triangle)),
            Storage::TriangularBand { triangle, diagonals, ld } => {
                format!("{}_band k={diagonals} lda={ld}", word(triangle))
            }
            Storage::Packed { triangle } => format!("{}_packed", word(triangle)),
        };
        let (rows, cols) = (stored.rows, stored.cols);
        let what =
            format!("{with}m={rows} n={cols} form={form} incx={incx} incy={incy} type={}", T::TYPE.name());
        served(call, KERNEL, what)
    }
}

fn word(triangle: Triangle) -> &'static str {
    match triangle {
        Triangle::Upper => "upper",
        Triangle::Lower => "lower",
    }
}

fn transposition(op: Op) -> Transposition {
    match op {
        Op::N => Transposition::None,
        Op::T => Transposition::Transposed,
        Op::C => Transposition::Adjoint,
    }
}

/// The same form in the host copy.
fn on_host<T: Plain>(stored: Stored, staged: &Staged<'_, T>) -> Stored {
    stored.with_leading_dimension(staged.layout.col_stride)
}

/// `y ← α·op(A)·x + β·y` with a banded A.
pub fn band_product<T: Entry>(
    trans: c_int,
    args: Args,
    alpha: *const c_void,
    beta: *const c_void,
) -> Result<Served, Error> {
    let _known = owner(args.handle).ok_or(Error::NotInitialized)?;
    let op = Op::from_c(trans, "trans")?;
    let stored = args.validate()?;
    let lengths = if op.transposes() { [stored.rows, stored.cols] } else { [stored.cols, stored.rows] };
    product::<T>(args, stored, lengths, [alpha, beta], move |alpha, a, stored, x, beta, y| {
        blas::band_product(transposition(op), alpha, a, stored, x, beta, y);
    })
    .map(|served| Served { what: format!("trans={} {}", op.letter(), served.what), ..served })
}

/// `y ← α·A·x + β·y` with a symmetric or Hermitian A.
pub fn symmetric_product<T: Entry>(
    symmetry: Symmetry,
    args: Args,
    alpha: *const c_void,
    beta: *const c_void,
) -> Result<Served, Error> {
    let stored = args.validate()?;
    product::<T>(
        args,
        stored,
        [stored.cols, stored.rows],
        [alpha, beta],
        move |alpha, a, stored, x, beta, y| {
            blas::symmetric_product(symmetry, alpha, a, stored, x, beta, y);
        },
    )
}

/// Stages the operands of `y ← α·op(A)·x + β·y`; `lengths` of x and y.
fn product<T: Entry>(
    args: Args,
    stored: Stored,
    [len_x, len_y]: [usize; 2],
    [alpha, beta]: [*const c_void; 2],
    compute: impl Fn(T, &[T], Stored, blas::Vector<'_, T>, T, blas::VectorMut<'_, T>) + Send + Sync + 'static,
) -> Result<Served, Error> {
    if len_x == 0 || len_y == 0 {
        return Ok(Served::nothing());
    }
    let given = Given((args, alpha, beta));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, alpha, beta))| {
        let (alpha, beta) = (call.scalar::<T>("alpha", alpha)?, call.scalar::<T>("beta", beta)?);
        let (zero, one) = (T::zero(), T::from_f64(1.0));
        if alpha == zero && beta == one {
            return Ok(Served::nothing());
        }
        // Neither is read with α = 0, nor is y with β = 0.
        let a =
            (alpha != zero).then(|| call.transfer.operand::<T>("a", &args.region(&stored)?)).transpose()?;
        let x = (alpha != zero).then(|| args.x.read::<T>("x", len_x, call)).transpose()?;
        let mut y = if beta == zero {
            args.y.room::<T>("y", len_y, call)?
        } else {
            args.y.fetch::<T>("y", len_y, call)?
        };
        call.transfer.wait()?;
        match (&a, &x) {
            (Some(a), Some(x)) => {
                compute(alpha, a.elements(), on_host(stored, a), x.view(), beta, y.view_mut());
            }
            _ => blas::scal(Factor::Full(beta), y.view_mut()),
        }
        y.write_back(call)?;
        Ok(args.served::<T>(call, &stored, ""))
    })
}

/// Whether a triangular matrix multiplies x or is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triangular {
    /// `x ← op(A)·x`.
    Product,
    /// `x ← op(A)⁻¹·x`.
    Solve,
}

/// `x ← op(A)·x` or `x ← op(A)⁻¹·x`: `modes` are `cublasOperation_t` and `cublasDiagType_t`.
pub fn triangular<T: Entry>(which: Triangular, modes: [c_int; 2], args: Args) -> Result<Served, Error> {
    let stored = args.validate()?;
    let [trans, diag] = modes;
    let op = Op::from_c(trans, "trans")?;
    let diagonal = diagonal_from_c(diag, "diag")?;
    if stored.rows == 0 {
        return Ok(Served::nothing());
    }
    let given = Given(args);
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given(args)| {
        let a = call.transfer.operand::<T>("a", &args.region(&stored)?)?;
        let mut x = args.x.fetch::<T>("x", stored.rows, call)?;
        call.transfer.wait()?;
        let compute = match which {
            Triangular::Product => blas::triangular_product::<T>,
            Triangular::Solve => blas::triangular_solve::<T>,
        };
        compute(transposition(op), diagonal, a.elements(), on_host(stored, &a), x.view_mut());
        x.write_back(call)?;
        Ok(args.served::<T>(call, &stored, &format!("trans={} diagonal={diagonal:?} ", op.letter())))
    })
}

/// `A ← α·x·yᵀ + A` or `A ← α·x·yᴴ + A`, α of type `S`; with y = x for one triangle.
pub fn rank_one<T: Entry, S: Element>(conj: Conj, args: Args, alpha: *const c_void) -> Result<Served, Error> {
    let stored = args.validate()?;
    if stored.rows == 0 || stored.cols == 0 {
        return Ok(Served::nothing());
    }
    let given = Given((args, alpha));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, alpha))| {
        let alpha = Factor::<T>::of(call.scalar::<S>("alpha", alpha)?.value());
        if alpha.is_zero() {
            return Ok(Served::nothing());
        }
        update::<T>(call, args, stored, |x, y, a, stored| blas::rank_one(conj, alpha, x, y, a, stored))
    })
}

/// `A ← α·x·yᵀ + α·y·xᵀ + A`, or the same of a Hermitian A.
pub fn rank_two<T: Entry>(symmetry: Symmetry, args: Args, alpha: *const c_void) -> Result<Served, Error> {
    let stored = args.validate()?;
    if stored.rows == 0 {
        return Ok(Served::nothing());
    }
    let given = Given((args, alpha));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, alpha))| {
        let alpha = call.scalar::<T>("alpha", alpha)?;
        if alpha == T::zero() {
            return Ok(Served::nothing());
        }
        update::<T>(call, args, stored, |x, y, a, stored| blas::rank_two(symmetry, alpha, x, y, a, stored))
    })
}

/// Stages the operands of an update of A and writes its stored elements back.
fn update<T: Entry>(
    call: &Call,
    args: Args,
    stored: Stored,
    compute: impl Fn(blas::Vector<'_, T>, blas::Vector<'_, T>, &mut [T], Stored),
) -> Result<Served, Error> {
    let x = args.x.read::<T>("x", stored.rows, call)?;
    let same = args.y == args.x && stored.rows == stored.cols;
    let y = (!same).then(|| args.y.read::<T>("y", stored.cols, call)).transpose()?;
    let mut a = call.transfer.copy_in::<T>("a", &args.region(&stored)?)?;
    let host = on_host(stored, &a);
    if stored.triangle().is_some() && stored.leading_dimension().is_some() {
        a.write_only(columns(&stored, &host, args.a, size_of::<T>()))?;
    }
    call.transfer.wait()?;
    compute(x.view(), y.as_ref().unwrap_or(&x).view(), a.elements_mut(), host);
    call.transfer.copy_out("a", a)?;
    Ok(args.served::<T>(call, &stored, ""))
}

/// The stored elements, one copy a column.
fn columns(device: &Stored, host: &Stored, base: u64, element_bytes: usize) -> Vec<Rectangle> {
    let column = |col| {
        let width = device.column(col).rows.len();
        Rectangle {
            device: base + (device.column(col).start * element_bytes) as u64,
            host: host.column(col).start,
            width,
            height: 1,
            device_pitch: width,
            host_pitch: width,
        }
    };
    (0..device.cols).map(column).collect()
}
