//! `y ← α·op(A)·x + β·y`, alone and in batches, served.
//!
//! A is m×n with `lda ≥ max(1, m)`; A and x are read if α ≠ 0, y if β ≠ 0. With m, n or the batch 0 nothing is
//! touched, y included, as in BLAS. The batched forms with half-precision operands (`HSH`, `HSS`, `TST`, `TSS`) take single-precision
//! scalars and accumulate in single precision.
//!
//! Errors: as in [`super::level2`]; also `INVALID_VALUE` for a negative batch, and for a stride of 0 between the ys of
//! several products.
//! Sources: <https://docs.nvidia.com/cuda/cublas/#cublas-t-gemv>, `#cublas-t-gemvbatched`,
//! `#cublas-t-gemvstridedbatched`.

use std::ffi::{c_int, c_void};

use gpucompat_engine as engine;
use gpucompat_engine::blas::{Vectors, VectorsMut};

use super::operand::{Strided, served, size};
use super::product::Batch;
use super::types::CudaElement;
use crate::boundary::args::Op;
use crate::boundary::status::Error;
use crate::entry::call::{Call, Given, Timing};
use crate::entry::route::Served;
use crate::handle::registry::owner;
use crate::staging::host_buffer::Plain;
use crate::staging::region::{Bases, Region};

/// The arguments as they came, sizes widened; in a batch of pointers the addresses are those of the arrays.
#[derive(Clone, Copy)]
pub struct Args {
    /// The cuBLAS handle.
    pub handle: *mut c_void,
    /// `cublasOperation_t` of A.
    pub trans: c_int,
    /// Rows of A.
    pub m: i64,
    /// Columns of A.
    pub n: i64,
    /// α, where the pointer mode says.
    pub alpha: *const c_void,
    /// β.
    pub beta: *const c_void,
    /// Address of A.
    pub a: u64,
    /// Leading dimension of A.
    pub lda: i64,
    /// x.
    pub x: Strided,
    /// y.
    pub y: Strided,
    /// How many products and where: strides of A, x and y.
    pub batch: Batch,
}

/// The sizes of a call, checked.
#[derive(Clone, Copy)]
struct Sizes {
    op: Op,
    m: usize,
    n: usize,
    lda: usize,
    count: usize,
    strides: [i64; 3],
}

impl Args {
    fn validate(&self) -> Result<Sizes, Error> {
        let _known = owner(self.handle).ok_or(Error::NotInitialized)?;
        let op = Op::from_c(self.trans, "trans")?;
        let (m, n, lda) = (size(self.m, "m")?, size(self.n, "n")?, size(self.lda, "lda")?);
        let (count, strides) = match self.batch {
            Batch::One => (1, [0; 3]),
            Batch::Strided { a, b, c, count } => (count, [a, b, c]),
            Batch::Pointers { count } => (count, [0; 3]),
        };
        let count = size(count, "batchCount")?;
        let shared = matches!(self.batch, Batch::Strided { c: 0, .. }) && count > 1;
        for (wrong, name) in [
            (lda < m.max(1), "lda"),
            (self.x.increment == 0, "incx"),
            (self.y.increment == 0, "incy"),
            (shared, "stridey"),
        ] {
            if wrong {
                return Err(Error::InvalidValue(name));
            }
        }
        Ok(Sizes { op, m, n, lda, count, strides })
    }

    /// Where one operand's matrices lie; a pointer array is fetched from the device for that.
    fn bases(
        &self,
        call: &Call,
        name: &'static str,
        address: u64,
        stride: i64,
        count: usize,
    ) -> Result<Bases, Error> {
        if address == 0 {
            return Err(Error::InvalidValue(name));
        }
        if matches!(self.batch, Batch::Pointers { .. }) {
            let addresses = call.transfer.read_now::<u64>(name, address, count)?;
            return Ok(Bases::List(addresses));
        }
        Ok(Bases::Strided { base: address, stride, count })
    }

    /// The elements of vectors of `len` elements.
    fn vectors(vector: Strided, len: usize, bases: Bases) -> Region {
        Region { rows: 1, cols: len, ld: vector.increment.unsigned_abs() as usize, bases }
    }
}

/// Serves it with elements of A and x of type `AB`, of y of type `Out`, and scalars of type `Acc`.
pub fn gemv<AB, Out, Acc>(args: Args) -> Result<Served, Error>
where
    AB: engine::Input<Acc> + Plain + CudaElement,
    Out: engine::Output<Acc> + Plain,
    Acc: engine::Accumulator + Plain,
{
    let sizes = args.validate()?;
    if sizes.m == 0 || sizes.n == 0 || sizes.count == 0 {
        return Ok(Served::nothing());
    }
    Call::of(args.handle, Timing::Deferrable)?
        .run(Given((args, sizes)), |call, Given((args, sizes))| run::<AB, Out, Acc>(call, args, sizes))
}

fn run<AB, Out, Acc>(call: &Call, args: &Args, sizes: &Sizes) -> Result<Served, Error>
where
    AB: engine::Input<Acc> + Plain + CudaElement,
    Out: engine::Output<Acc> + Plain,
    Acc: engine::Accumulator + Plain,
{
    let Sizes { op, m, n, lda, count, strides } = *sizes;
    let (alpha, beta) = (call.scalar::<Acc>("alpha", args.alpha)?, call.scalar::<Acc>("beta", args.beta)?);
    let zero = Acc::zero();
    if alpha == zero && beta == Acc::from_f64(1.0) {
        return Ok(Served::nothing());
    }
    let (len_x, len_y) = if op.transposes() { (m, n) } else { (n, m) };
    let [stride_a, stride_x, stride_y] = strides;
    let (mut a, mut x) = (None, None);
    if alpha != zero {
        let bases = args.bases(call, "a", args.a, stride_a, count)?;
        a = Some(call.transfer.operand::<AB>("a", &Region { rows: m, cols: n, ld: lda, bases })?);
        let bases = args.bases(call, "x", args.x.address, stride_x, count)?;
        x = Some(call.transfer.operand::<AB>("x", &Args::vectors(args.x, len_x, bases))?);
    }
    let region = Args::vectors(args.y, len_y, args.bases(call, "y", args.y.address, stride_y, count)?);
    let mut y = if beta == zero {
        call.transfer.room_for::<Out>("y", &region)?
    } else {
        call.transfer.copy_in::<Out>("y", &region)?
    };
    call.transfer.wait()?;
    let x = match &x {
        Some(x) => Vectors {
            data: x.elements(),
            len: len_x,
            step: args.x.step(x.layout),
            batch_stride: x.layout.batch_stride,
        },
        None => Vectors { data: &[], len: 0, step: 1, batch_stride: 0 },
    };
    let matrix =
        a.as_ref().map_or((&[][..], 1, 0), |a| (a.elements(), a.layout.col_stride, a.layout.batch_stride));
    let (data, col, batch_stride) = matrix;
    let (row_stride, col_stride) = if op.transposes() { (col, 1) } else { (1, col) };
    let conjugate = if op == Op::C { engine::Conj::Yes } else { engine::Conj::No };
    let matrix = engine::MatRef { data, row_stride, col_stride, batch_stride, conjugate };
    let (step, batch_stride) = (args.y.step(y.layout), y.layout.batch_stride);
    let result = VectorsMut { data: y.elements_mut(), len: len_y, step, batch_stride };
    let kernel = engine::blas::gemv(alpha, matrix, x, beta, result, count);
    call.transfer.copy_out("y", y)?;
    let (incx, incy) = (args.x.increment, args.y.increment);
    let what = format!(
        "trans={} m={m} n={n} lda={lda} incx={incx} incy={incy} batch={count} type={}",
        op.letter(),
        AB::TYPE.name()
    );
    Ok(served(call, kernel.name(), what))
}
