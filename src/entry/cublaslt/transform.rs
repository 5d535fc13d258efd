//! `cublasLtMatrixTransform`: `C ← α·op(A) + β·op(B)`, from any memory order to any other.
//!
//! | operand | shape     | read     | written         |
//! |---------|-----------|----------|-----------------|
//! | A       | as laid out | if α ≠ 0 | never         |
//! | B       | as laid out | if β ≠ 0 | never         |
//! | C       | m×n       | never, unless it is tiled | only on success |
//!
//! Elements are converted to the scale type, added, and rounded once to C's. A and B, their layouts included,
//! may be null where their factor is 0. Errors: `INVALID_VALUE` for null descriptors, shapes that do not fit or
//! a short leading dimension; `NOT_SUPPORTED` for real matrices with complex ones, and other scale types.
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublasltmatrixtransform>.

use std::ffi::c_void;

use gpucompat_engine as engine;

use super::attributes::{MatrixLayout, Scalars, TransformDesc};
use super::operand::{Packed, Pending, load, load_real, store, store_real, write_all};
use crate::boundary::args::{DataType, Op};
use crate::boundary::status::Error;
use crate::entry::call::{Call, PointerMode};
use crate::entry::cublas::types::{c32, c64, f16};
use crate::entry::route::Served;
use crate::native::context::Stream;
use crate::staging::host_buffer::Plain;

macro_rules! cublaslt_transform {
    ($symbol:ident) => {
        export! { $symbol of CublasLt (
            handle: *mut c_void, descriptor: *const c_void,
            alpha: *const c_void,  a: *const c_void, a_layout: *const c_void,
            beta: *const c_void,  b: *const c_void, b_layout: *const c_void,
            c: *mut c_void, c_layout: *const c_void,  stream: *mut c_void)
            compute(
                $crate::handle::registry::is_ours(handle),
                $crate::entry::cublaslt::transform::types_key(descriptor, c_layout))
            serve $crate::entry::cublaslt::transform::serve($crate::entry::cublaslt::transform::Args {
                handle, descriptor, alpha, beta, stream,
                a: a as u64, a_layout, b: b as u64, b_layout, c: c as u64, c_layout })
        }
    };
}

/// The arguments as they came.
pub struct Args {
    /// A cuBLASLt or cuBLAS handle.
    pub handle: *mut c_void,
    /// `cublasLtMatrixTransformDesc_t`.
    pub descriptor: *const c_void,
    /// α, of the descriptor's scale type.
    pub alpha: *const c_void,
    /// β.
    pub beta: *const c_void,
    /// The stream to work on.
    pub stream: *mut c_void,
    /// Address of A.
    pub a: u64,
    /// Layout of A.
    pub a_layout: *const c_void,
    /// Address of B.
    pub b: u64,
    /// Layout of B.
    pub b_layout: *const c_void,
    /// Address of C.
    pub c: u64,
    /// Layout of C.
    pub c_layout: *const c_void,
}

/// A number for the types of a call, for the policy's lessons; 0 if the descriptors cannot be read.
pub fn types_key(descriptor: *const c_void, c: *const c_void) -> u32 {
    match (TransformDesc::read(descriptor), MatrixLayout::read(c)) {
        (Ok(desc), Ok(c)) => crate::entry::cublas::legal::raw_key(desc.scale as i32, c.element as i32, 0),
        _ => 0,
    }
}

/// An operand that is added: its factor is not 0.
struct Term<V> {
    factor: V,
    packed: Packed<V>,
    op: Op,
}

/// Serves `cublasLtMatrixTransform`.
pub fn serve(args: Args) -> Result<Served, Error> {
    let desc = TransformDesc::read(args.descriptor)?;
    let c = MatrixLayout::read(args.c_layout)?;
    if args.alpha.is_null() || args.beta.is_null() {
        return Err(Error::InvalidValue(if args.alpha.is_null() { "alpha" } else { "beta" }));
    }
    if c.batch > 1 && c.batch_stride == 0 {
        return Err(Error::InvalidValue("batch stride of C"));
    }
    for (descriptor, op) in [(args.a_layout, desc.transa), (args.b_layout, desc.transb)] {
        if !descriptor.is_null() {
            check_shape(&MatrixLayout::read(descriptor)?, op, &c)?;
        }
    }
    if c.rows == 0 || c.cols == 0 || c.batch == 0 {
        return Ok(Served::nothing());
    }
    let mode = if desc.scalars == Scalars::Device { PointerMode::Device } else { PointerMode::Host };
    let call = Call::on_stream(args.handle, Stream(args.stream.cast()), mode)?;
    match desc.scale {
        DataType::F16 => real::<f16, f32>(&args, desc, &c, &call, f16::to_f32)?,
        DataType::F32 => real::<f32, f32>(&args, desc, &c, &call, |value| value)?,
        DataType::F64 => real::<f64, f64>(&args, desc, &c, &call, |value| value)?,
        DataType::I32 => real::<i32, f64>(&args, desc, &c, &call, f64::from)?,
        DataType::C32 => complex::<c32>(&args, desc, &c, &call, DataType::C32)?,
        DataType::C64 => complex::<c64>(&args, desc, &c, &call, DataType::C64)?,
        _ => return Err(Error::NotSupported("scale type")),
    }
    Ok(Served {
        what: format!(
            "trans={}{} m={} n={} batch={} type={} order={:?}",
            desc.transa.letter(),
            desc.transb.letter(),
            c.rows,
            c.cols,
            c.batch,
            c.element.name(),
            c.order
        ),
        bytes_in: call.transfer.bytes_in(),
        bytes_out: call.transfer.bytes_out(),
        kernel: "transform",
    })
}

fn check_shape(layout: &MatrixLayout, op: Op, c: &MatrixLayout) -> Result<(), Error> {
    let shape = if op.transposes() { (layout.cols, layout.rows) } else { (layout.rows, layout.cols) };
    if shape != (c.rows, c.cols) {
        return Err(Error::InvalidValue("matrix shapes"));
    }
    if layout.batch == c.batch { Ok(()) } else { Err(Error::InvalidValue("batch counts")) }
}

fn real<S: Plain, R: engine::Real>(
    args: &Args,
    desc: TransformDesc,
    c: &MatrixLayout,
    call: &Call,
    widen: fn(S) -> R,
) -> Result<(), Error> {
    let read = |name, layout: &MatrixLayout, address| load_real::<R>(call, name, layout, address);
    let write = |values: &[R]| store_real(call, "c", c, args.c, values, R::ONE);
    transform(args, desc, c, call, widen, read, write)
}

fn complex<V: Plain + Default + engine::Accumulator>(
    args: &Args,
    desc: TransformDesc,
    c: &MatrixLayout,
    call: &Call,
    element: DataType,
) -> Result<(), Error> {
    if c.element != element {
        return Err(Error::NotSupported("combination of types"));
    }
    let read = |name, layout: &MatrixLayout, address| {
        if layout.element != element {
            return Err(Error::NotSupported("combination of types"));
        }
        load::<V, V>(call, name, layout, address, |value| value)
    };
    let write = |values: &[V]| store(call, "c", c, args.c, values, |value: V| value);
    transform(args, desc, c, call, |value: V| value, read, write)
}

/// The sum of the terms, from what `read` fetches to what `write` stores.
fn transform<'c, S: Plain, V: engine::Accumulator + Default>(
    args: &Args,
    desc: TransformDesc,
    c: &MatrixLayout,
    call: &'c Call,
    widen: fn(S) -> V,
    read: impl Fn(&'static str, &MatrixLayout, u64) -> Result<Packed<V>, Error>,
    write: impl FnOnce(&[V]) -> Result<Pending<'c>, Error>,
) -> Result<(), Error> {
    let mut terms = Vec::new();
    for (name, scalar, address, layout, op) in [
        ("a", args.alpha, args.a, args.a_layout, desc.transa),
        ("b", args.beta, args.b, args.b_layout, desc.transb),
    ] {
        let factor = widen(call.scalar::<S>(name, scalar)?);
        if factor != V::zero() {
            terms.push(Term { factor, packed: read(name, &MatrixLayout::read(layout)?, address)?, op });
        }
    }
    let mut values = vec![V::default(); c.rows * c.cols * c.batch];
    for Term { factor, packed, op } in &terms {
        engine::add_scaled_matrix(*factor, &packed.matrix(*op), c.rows, c.cols, &mut values);
    }
    write_all(vec![write(&values)?])
}
