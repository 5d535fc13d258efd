//! `cublas<t>getrfBatched`, `getriBatched`, `getrsBatched`, `geqrfBatched`, `gelsBatched`, `matinvBatched`:
//! factorisations and solutions of many small systems, in LAPACK's storage.
//!
//! Arrays of addresses, pivots and what the functions say of each matrix (`infoArray`, `devInfoArray`) lie in
//! device memory; `info` of getrs, geqrf and gels lies in host memory and gets 0, or −i for a bad i-th parameter,
//! the handle not counted. A null pivot array means no pivoting. Matrices that turn out singular keep what their
//! inverse's place holds. Errors: `NOT_INITIALIZED` unknown handle; `INVALID_VALUE` a negative size, a short
//! leading dimension, a null address, a pivot that is no row, matinv with n > 32; `NOT_SUPPORTED` gels with a
//! transposition or fewer rows than columns. Sources: <https://docs.nvidia.com/cuda/cublas/#cublas-t-getrfbatched>
//! and the sections that follow it.

use std::ffi::{c_int, c_void};

use gpucompat_engine as engine;

use super::matrix::{BlasElement, Matrix, served, size};
use crate::boundary::args::Op;
use crate::boundary::status::Error;
use crate::entry::call::{Call, write_host_info};
use crate::entry::route::Served;
use crate::handle::registry::owner;
use crate::staging::region::Region;
use crate::staging::staged::{Contents, Staged};

macro_rules! cublas_getrf_batched {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: c_int,  a: *const *mut c_void, lda: c_int,
        pivots: *mut c_int, info: *mut c_int,  count: c_int)
        compute($crate::handle::registry::is_ours(handle), 0) serve
            $crate::entry::cublas::factorization::lu_factor::<$T>(
                $crate::entry::cublas::factorization::Square {
                    handle, n: n.into(), a: a as u64, lda: lda.into(), pivots: pivots as u64, count: count.into() },
                info as u64)
    } };
}
macro_rules! cublas_getri_batched {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: c_int,  a: *const *const c_void, lda: c_int,  pivots: *const c_int,
        c: *const *mut c_void, ldc: c_int,  info: *mut c_int,  count: c_int)
        compute($crate::handle::registry::is_ours(handle), 0) serve
            $crate::entry::cublas::factorization::lu_invert::<$T>(
                $crate::entry::cublas::factorization::Square {
                    handle, n: n.into(), a: a as u64, lda: lda.into(), pivots: pivots as u64, count: count.into() },
                c as u64, ldc.into(), info as u64)
    } };
}
macro_rules! cublas_matinv_batched {
    ($symbol:ident, $T:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, n: c_int,  a: *const *const c_void, lda: c_int,
            c: *const *mut c_void, ldc: c_int,  info: *mut c_int,  count: c_int)
            compute($crate::handle::registry::is_ours(handle), 0) serve
                $crate::entry::cublas::factorization::invert::<$T>(
                    $crate::entry::cublas::factorization::Square {
                        handle, n: n.into(), a: a as u64, lda: lda.into(), pivots: 0, count: count.into() },
                    c as u64, ldc.into(), info as u64)
        }
    };
}
macro_rules! cublas_getrs_batched {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, trans: c_int, n: c_int, cols: c_int,  a: *const *const c_void, lda: c_int,
        pivots: *const c_int,  b: *const *mut c_void, ldb: c_int,  info: *mut c_int,  count: c_int)
        compute($crate::handle::registry::is_ours(handle), 0) serve
            $crate::entry::cublas::factorization::lu_solve::<$T>(
                $crate::entry::cublas::factorization::Square {
                    handle, n: n.into(), a: a as u64, lda: lda.into(), pivots: pivots as u64, count: count.into() },
                trans, cols.into(), b as u64, ldb.into(), info)
    } };
}
macro_rules! cublas_geqrf_batched {
    ($symbol:ident, $T:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, m: c_int, n: c_int,  a: *const *mut c_void, lda: c_int,
            tau: *const *mut c_void,  info: *mut c_int,  count: c_int)
            compute($crate::handle::registry::is_ours(handle), 0) serve
                $crate::entry::cublas::factorization::qr_factor::<$T>(
                    $crate::entry::cublas::factorization::Tall {
                        handle, m: m.into(), n: n.into(), a: a as u64, lda: lda.into(), count: count.into() },
                    tau as u64, info)
        }
    };
}
macro_rules! cublas_gels_batched {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, trans: c_int, m: c_int, n: c_int, cols: c_int,  a: *const *mut c_void, lda: c_int,
        c: *const *mut c_void, ldc: c_int,  info: *mut c_int, ranks: *mut c_int,  count: c_int)
        compute($crate::handle::registry::is_ours(handle), 0) serve
            $crate::entry::cublas::factorization::least_squares::<$T>(
                $crate::entry::cublas::factorization::Tall {
                    handle, m: m.into(), n: n.into(), a: a as u64, lda: lda.into(), count: count.into() },
                trans, cols.into(), c as u64, ldc.into(), info, ranks as u64)
    } };
}

/// A batch of square matrices, as it came, sizes widened.
pub struct Square {
    /// The cuBLAS handle.
    pub handle: *mut c_void,
    /// Their order.
    pub n: i64,
    /// Of the array of their addresses.
    pub a: u64,
    /// Leading dimension.
    pub lda: i64,
    /// Address of the pivots, n a matrix; 0 for none.
    pub pivots: u64,
    /// How many.
    pub count: i64,
}

/// A batch of m×n matrices, as it came, sizes widened.
pub struct Tall {
    /// The cuBLAS handle.
    pub handle: *mut c_void,
    /// Rows.
    pub m: i64,
    /// Columns.
    pub n: i64,
    /// Of the array of their addresses.
    pub a: u64,
    /// Leading dimension.
    pub lda: i64,
    /// How many.
    pub count: i64,
}

/// A checked batch of square matrices.
struct Batch {
    n: usize,
    count: usize,
    a: Matrix,
    pivots: Option<Matrix>,
}

impl Square {
    fn validate(&self) -> Result<Batch, Error> {
        let _known = owner(self.handle).ok_or(Error::NotInitialized)?;
        let (n, count) = (size(self.n, "n")?, size(self.count, "batchSize")?);
        let a = Matrix::new("lda", n, n, self.lda, self.a)?;
        let length = n.checked_mul(count).ok_or(Error::AllocFailed)?;
        let pivots = (self.pivots != 0).then(|| Matrix::array("pivots", length, self.pivots));
        let batch = Batch { n, count, a, pivots };
        if !batch.is_empty() {
            a.required()?;
        }
        Ok(batch)
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.n == 0 || self.count == 0
    }

    /// The pivots, fetched and checked.
    fn fetch_pivots(&self, call: &Call) -> Result<Option<Vec<i32>>, Error> {
        let Some(pivots) = self.pivots else { return Ok(None) };
        let pivots = pivots.read::<i32>(call)?;
        call.transfer.wait()?;
        if engine::pivots_are_valid(self.n, pivots.elements()) {
            Ok(Some(pivots.elements().to_vec()))
        } else {
            Err(Error::InvalidValue("pivots"))
        }
    }

    fn served<T: BlasElement>(&self, call: &Call) -> Served {
        served::<T>(call, format_args!("n={} batch={}", self.n, self.count), "factorization")
    }
}

/// Writes what is known of each matrix to device memory.
fn write_info(call: &Call, array: Matrix, info: &[i32]) -> Result<(), Error> {
    let mut staged = array.write::<i32>(call, Contents::Zeros)?;
    staged.elements_mut().copy_from_slice(info);
    call.transfer.copy_out("infoArray", staged)
}

/// `P·A = L·U`, L\U in A's place, the pivots where wanted, and a 1-based first zero of U for each matrix.
pub fn lu_factor<T: BlasElement>(args: Square, info: u64) -> Result<Served, Error> {
    let batch = args.validate()?;
    if batch.is_empty() {
        return Ok(Served::nothing());
    }
    let info_array = Matrix::array("infoArray", batch.count, info).required()?;
    let call = Call::on(args.handle)?;
    let region = batch.a.batch(&call, batch.count)?;
    let mut a = call.transfer.copy_in::<T>("lda", &region)?;
    let mut pivots = batch.pivots.map(|pivots| pivots.write::<i32>(&call, Contents::Zeros)).transpose()?;
    call.transfer.wait()?;
    let mut info = vec![0; batch.count];
    let chosen = pivots.as_mut().map(Staged::elements_mut);
    engine::lu_factor_batch(batch.n, a.elements_mut(), chosen, &mut info);
    call.transfer.copy_out("lda", a)?;
    if let Some(pivots) = pivots {
        call.transfer.copy_out("pivots", pivots)?;
    }
    write_info(&call, info_array, &info)?;
    Ok(batch.served::<T>(&call))
}

/// `C ← A⁻¹` from A's factors.
pub fn lu_invert<T: BlasElement>(args: Square, c: u64, ldc: i64, info: u64) -> Result<Served, Error> {
    let batch = args.validate()?;
    let c = Matrix::new("ldc", batch.n, batch.n, ldc, c)?;
    if batch.is_empty() {
        return Ok(Served::nothing());
    }
    let info_array = Matrix::array("infoArray", batch.count, info).required()?;
    let c = c.required()?;
    let call = Call::on(args.handle)?;
    let (a, c) = (batch.a.batch(&call, batch.count)?, c.batch(&call, batch.count)?);
    let pivots = batch.fetch_pivots(&call)?;
    let a = call.transfer.operand::<T>("lda", &a)?;
    call.transfer.wait()?;
    let mut info = vec![0; batch.count];
    engine::singular_at_batch(batch.n, a.elements(), &mut info);
    write_inverses::<T>(&call, &batch, a.elements(), pivots.as_deref(), &info, &c)?;
    write_info(&call, info_array, &info)?;
    Ok(batch.served::<T>(&call))
}

/// `C ← A⁻¹` for orders up to 32.
pub fn invert<T: BlasElement>(args: Square, c: u64, ldc: i64, info: u64) -> Result<Served, Error> {
    const MAX_ORDER: usize = 32;
    let batch = args.validate()?;
    let c = Matrix::new("lda_inv", batch.n, batch.n, ldc, c)?;
    if batch.n > MAX_ORDER {
        return Err(Error::InvalidValue("n"));
    }
    if batch.is_empty() {
        return Ok(Served::nothing());
    }
    let info_array = Matrix::array("infoArray", batch.count, info).required()?;
    let c = c.required()?;
    let call = Call::on(args.handle)?;
    let (a, c) = (batch.a.batch(&call, batch.count)?, c.batch(&call, batch.count)?);
    let mut a = call.transfer.copy_in::<T>("lda", &a)?;
    call.transfer.wait()?;
    let (mut pivots, mut info) = (vec![0; batch.n * batch.count], vec![0; batch.count]);
    engine::lu_factor_batch(batch.n, a.elements_mut(), Some(&mut pivots), &mut info);
    write_inverses::<T>(&call, &batch, a.elements(), Some(&pivots), &info, &c)?;
    write_info(&call, info_array, &info)?;
    Ok(batch.served::<T>(&call))
}

/// Writes the inverses of the matrices that have one.
fn write_inverses<T: BlasElement>(
    call: &Call,
    batch: &Batch,
    lu: &[T],
    pivots: Option<&[i32]>,
    info: &[i32],
    region: &Region,
) -> Result<(), Error> {
    let all_regular = info.iter().all(|&info| info == 0);
    let mut inverses = if all_regular {
        call.transfer.room_for::<T>("ldc", region)?
    } else {
        call.transfer.copy_in::<T>("ldc", region)?
    };
    call.transfer.wait()?;
    engine::lu_invert_batch(batch.n, lu, pivots, info, inverses.elements_mut());
    call.transfer.copy_out("ldc", inverses)
}

/// Solves `op(A)·X = B` from A's factors, X in B's place.
pub fn lu_solve<T: BlasElement>(
    args: Square,
    trans: c_int,
    cols: i64,
    b: u64,
    ldb: i64,
    info: *mut c_int,
) -> Result<Served, Error> {
    let _known = owner(args.handle).ok_or(Error::NotInitialized)?;
    let op = Op::from_c(trans, "trans");
    judge(
        info,
        &[
            (1, op.is_err(), "trans"),
            (2, args.n < 0, "n"),
            (3, cols < 0, "nrhs"),
            (5, args.lda < args.n.max(1), "lda"),
            (8, ldb < args.n.max(1), "ldb"),
            (10, args.count < 0, "batchSize"),
        ],
    )?;
    let (op, batch, cols) = (op?, args.validate()?, size(cols, "nrhs")?);
    if batch.is_empty() || cols == 0 {
        return Ok(Served::nothing());
    }
    let b = Matrix::new("ldb", batch.n, cols, ldb, b)?.required()?;
    let call = Call::on(args.handle)?;
    let (a, b) = (batch.a.batch(&call, batch.count)?, b.batch(&call, batch.count)?);
    let pivots = batch.fetch_pivots(&call)?;
    let a = call.transfer.operand::<T>("lda", &a)?;
    let mut b = call.transfer.copy_in::<T>("ldb", &b)?;
    call.transfer.wait()?;
    let system = match op {
        Op::N => engine::System::Plain,
        Op::T => engine::System::Transposed,
        Op::C => engine::System::Adjoint,
    };
    engine::lu_solve_batch(system, batch.n, cols, a.elements(), pivots.as_deref(), b.elements_mut());
    call.transfer.copy_out("ldb", b)?;
    Ok(batch.served::<T>(&call))
}

/// `A = Q·R`: R and the reflectors in A's place, their scalars to the arrays of `tau`.
pub fn qr_factor<T: BlasElement>(args: Tall, tau: u64, info: *mut c_int) -> Result<Served, Error> {
    let _known = owner(args.handle).ok_or(Error::NotInitialized)?;
    judge(
        info,
        &[
            (1, args.m < 0, "m"),
            (2, args.n < 0, "n"),
            (4, args.lda < args.m.max(1), "lda"),
            (7, args.count < 0, "batchSize"),
        ],
    )?;
    let (m, n, count) = (size(args.m, "m")?, size(args.n, "n")?, size(args.count, "batchSize")?);
    let few = m.min(n);
    if few == 0 || count == 0 {
        return Ok(Served::nothing());
    }
    let a = Matrix::new("lda", m, n, args.lda, args.a)?.required()?;
    let tau = Matrix::array("TauArray", few, tau).required()?;
    let call = Call::on(args.handle)?;
    let (a, tau) = (a.batch(&call, count)?, tau.batch(&call, count)?);
    let mut a = call.transfer.copy_in::<T>("lda", &a)?;
    let mut tau = call.transfer.room_for::<T>("TauArray", &tau)?;
    call.transfer.wait()?;
    engine::qr_factor_batch(m, n, a.elements_mut(), tau.elements_mut());
    call.transfer.copy_out("lda", a)?;
    call.transfer.copy_out("TauArray", tau)?;
    Ok(served::<T>(&call, format_args!("m={m} n={n} batch={count}"), "factorization"))
}

/// Minimises `‖C − A·X‖₂`, X in the first rows of C, the QR factorisation in A's place.
pub fn least_squares<T: BlasElement>(
    args: Tall,
    trans: c_int,
    cols: i64,
    c: u64,
    ldc: i64,
    info: *mut c_int,
    ranks: u64,
) -> Result<Served, Error> {
    let _known = owner(args.handle).ok_or(Error::NotInitialized)?;
    let op = Op::from_c(trans, "trans");
    judge(
        info,
        &[
            (1, op.is_err(), "trans"),
            (2, args.m < 0, "m"),
            (3, args.n < 0, "n"),
            (4, cols < 0, "nrhs"),
            (6, args.lda < args.m.max(1), "lda"),
            (8, ldc < args.m.max(1), "ldc"),
            (11, args.count < 0, "batchSize"),
        ],
    )?;
    if op? != Op::N || args.m < args.n {
        return Err(Error::NotSupported("a transposed or underdetermined system"));
    }
    let (m, n, cols) = (size(args.m, "m")?, size(args.n, "n")?, size(cols, "nrhs")?);
    let count = size(args.count, "batchSize")?;
    if n == 0 || cols == 0 || count == 0 {
        return Ok(Served::nothing());
    }
    let a = Matrix::new("lda", m, n, args.lda, args.a)?.required()?;
    let c = Matrix::new("ldc", m, cols, ldc, c)?.required()?;
    let call = Call::on(args.handle)?;
    let (a, c) = (a.batch(&call, count)?, c.batch(&call, count)?);
    let (mut a, mut c) = (call.transfer.copy_in::<T>("lda", &a)?, call.transfer.copy_in::<T>("ldc", &c)?);
    call.transfer.wait()?;
    let mut full_rank = vec![0; count];
    engine::least_squares_batch(m, n, cols, a.elements_mut(), c.elements_mut(), &mut full_rank);
    call.transfer.copy_out("lda", a)?;
    call.transfer.copy_out("ldc", c)?;
    if ranks != 0 {
        write_info(&call, Matrix::array("devInfoArray", count, ranks), &full_rank)?;
    }
    Ok(served::<T>(&call, format_args!("m={m} n={n} nrhs={cols} batch={count}"), "factorization"))
}

/// Writes 0 to the host's `info`, or −i for the first row whose parameter i is bad, which is the error.
fn judge(info: *mut c_int, rows: &[(c_int, bool, &'static str)]) -> Result<(), Error> {
    let bad = rows.iter().find(|row| row.1);
    write_host_info("info", info, bad.map_or(0, |row| -row.0))?;
    bad.map_or(Ok(()), |row| Err(Error::InvalidValue(row.2)))
}
