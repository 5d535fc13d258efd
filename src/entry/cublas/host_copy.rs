//! `cublasSetVector` and its kin: strided copies between the host's memory and the device's, without a handle; and
//! `cublasAlloc`, `cublasFree`.
//!
//! `cublasSetVector`, `GetVector`: `n` elements of `elemSize` bytes, `incx` and `incy` elements apart. `cublasSetMatrix`,
//! `GetMatrix`: `rows` × `cols` elements by columns, `lda` and `ldb` elements apart. Only those elements are written. The
//! `Async` forms return when the copy is queued on their stream, the others when it has run.
//!
//! Errors: `INVALID_VALUE` a negative size, an element size, increment or leading dimension below 1, a leading dimension
//! below `rows`, a null address; `MAPPING_ERROR` a copy that failed. Source:
//! <https://docs.nvidia.com/cuda/cublas/#cublassetvector>, `#cublasgetvector`, `#cublassetmatrix`, `#cublasgetmatrix`, and
//! their `Async` forms.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};

use crate::boundary::status::{Error, SUCCESS};
use crate::entry::call::{Call, PointerMode};
use crate::entry::route::Served;
use crate::native::context::{Context, Stream};
use crate::staging::copies::Direction;
use crate::staging::region::Rectangle;

macro_rules! cublas_set_vector {
    ($symbol:ident, $I:ident) => {
        export! { $symbol of Cublas (
            n: $I, element: $I, x: *const c_void, incx: $I, y: *mut c_void, incy: $I)
            compute(false, 0) serve $crate::entry::cublas::host_copy::set(
                vector_copy!(n, element, x, incx, y, incy), None)
        }
    };
}
macro_rules! cublas_set_vector_async {
    ($symbol:ident, $I:ident) => {
        export! { $symbol of Cublas (
            n: $I, element: $I, x: *const c_void, incx: $I, y: *mut c_void, incy: $I, stream: *mut c_void)
            compute(false, 0) serve $crate::entry::cublas::host_copy::set(
                vector_copy!(n, element, x, incx, y, incy), Some(stream))
        }
    };
}
macro_rules! cublas_get_vector {
    ($symbol:ident, $I:ident) => {
        export! { $symbol of Cublas (
            n: $I, element: $I, x: *const c_void, incx: $I, y: *mut c_void, incy: $I)
            compute(false, 0) serve $crate::entry::cublas::host_copy::get(
                vector_copy!(n, element, x, incx, y, incy), None)
        }
    };
}
macro_rules! cublas_get_vector_async {
    ($symbol:ident, $I:ident) => {
        export! { $symbol of Cublas (
            n: $I, element: $I, x: *const c_void, incx: $I, y: *mut c_void, incy: $I, stream: *mut c_void)
            compute(false, 0) serve $crate::entry::cublas::host_copy::get(
                vector_copy!(n, element, x, incx, y, incy), Some(stream))
        }
    };
}
macro_rules! cublas_set_matrix {
    ($symbol:ident, $I:ident) => {
        export! { $symbol of Cublas (
            rows: $I, cols: $I, element: $I, a: *const c_void, lda: $I, b: *mut c_void, ldb: $I)
            compute(false, 0) serve $crate::entry::cublas::host_copy::set(
                matrix_copy!(rows, cols, element, a, lda, b, ldb), None)
        }
    };
}
macro_rules! cublas_set_matrix_async {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        rows: $I, cols: $I, element: $I, a: *const c_void, lda: $I, b: *mut c_void, ldb: $I, stream: *mut c_void)
        compute(false, 0) serve $crate::entry::cublas::host_copy::set(
            matrix_copy!(rows, cols, element, a, lda, b, ldb), Some(stream))
    } };
}
macro_rules! cublas_get_matrix {
    ($symbol:ident, $I:ident) => {
        export! { $symbol of Cublas (
            rows: $I, cols: $I, element: $I, a: *const c_void, lda: $I, b: *mut c_void, ldb: $I)
            compute(false, 0) serve $crate::entry::cublas::host_copy::get(
                matrix_copy!(rows, cols, element, a, lda, b, ldb), None)
        }
    };
}
macro_rules! cublas_get_matrix_async {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        rows: $I, cols: $I, element: $I, a: *const c_void, lda: $I, b: *mut c_void, ldb: $I, stream: *mut c_void)
        compute(false, 0) serve $crate::entry::cublas::host_copy::get(
            matrix_copy!(rows, cols, element, a, lda, b, ldb), Some(stream))
    } };
}
macro_rules! cublas_alloc {
    ($symbol:ident) => {
        export! { $symbol of Cublas (n: c_int, element: c_int, out: *mut *mut c_void)
        managed(native) $crate::entry::cublas::host_copy::alloc(n, element, out, native) }
    };
}
macro_rules! cublas_free {
    ($symbol:ident) => {
        export! { $symbol of Cublas (address: *mut c_void)
        managed(native) $crate::entry::cublas::host_copy::free(address, native) }
    };
}
/// A vector as elements far apart: a matrix of one row.
macro_rules! vector_copy {
    ($n:ident, $element:ident, $from:ident, $incx:ident, $to:ident, $incy:ident) => {
        $crate::entry::cublas::host_copy::Args {
            rows: 1,
            cols: i64::from($n).max(0),
            element: $element.into(),
            from: $from,
            from_ld: $incx.into(),
            to: $to,
            to_ld: $incy.into(),
        }
    };
}
macro_rules! matrix_copy {
    ($rows:ident, $cols:ident, $element:ident, $from:ident, $lda:ident, $to:ident, $ldb:ident) => {
        $crate::entry::cublas::host_copy::Args {
            rows: $rows.into(),
            cols: $cols.into(),
            element: $element.into(),
            from: $from,
            from_ld: $lda.into(),
            to: $to,
            to_ld: $ldb.into(),
        }
    };
}

/// What is copied, as it came.
pub struct Args {
    /// Elements of a column.
    pub rows: i64,
    /// Columns.
    pub cols: i64,
    /// Bytes of an element.
    pub element: i64,
    /// The source.
    pub from: *const c_void,
    /// Its leading dimension, elements.
    pub from_ld: i64,
    /// The target.
    pub to: *mut c_void,
    /// Its leading dimension, elements.
    pub to_ld: i64,
}

/// From the host to the device.
pub fn set(args: Args, stream: Option<*mut c_void>) -> Result<Served, Error> {
    copy(&args, stream, Direction::Out)
}

/// From the device to the host.
pub fn get(args: Args, stream: Option<*mut c_void>) -> Result<Served, Error> {
    copy(&args, stream, Direction::In)
}

fn copy(args: &Args, stream: Option<*mut c_void>, direction: Direction) -> Result<Served, Error> {
    let at_least = |value: i64, least: i64, name: &'static str| match usize::try_from(value) {
        Ok(size) if value >= least => Ok(size),
        _ => Err(Error::InvalidValue(name)),
    };
    let (rows, cols) = (at_least(args.rows, 0, "rows")?, at_least(args.cols, 0, "cols")?);
    let element = at_least(args.element, 1, "elemSize")?;
    let ld = |value| at_least(value, args.rows.max(1), "leading dimension or increment");
    let (from_ld, to_ld) = (ld(args.from_ld)?, ld(args.to_ld)?);
    if rows == 0 || cols == 0 {
        return Ok(Served::nothing());
    }
    if args.from.is_null() || args.to.is_null() {
        return Err(Error::InvalidValue("address"));
    }
    let bytes = |elements: usize| elements.checked_mul(element).ok_or(Error::InvalidValue("size"));
    let (width, from_pitch, to_pitch) = (bytes(rows)?, bytes(from_ld)?, bytes(to_ld)?);
    let into_device = direction == Direction::Out;
    let (host, device) = if into_device {
        (args.from.cast_mut().cast::<u8>(), args.to as u64)
    } else {
        (args.to.cast::<u8>(), args.from as u64)
    };
    let (host_pitch, device_pitch) =
        if into_device { (from_pitch, to_pitch) } else { (to_pitch, from_pitch) };
    // Columns without gaps on either side are one run.
    let whole = width == host_pitch && width == device_pitch;
    let (width, height) = if whole { (bytes(rows * cols)?, 1) } else { (width, cols) };
    let rectangle = Rectangle { device, host: 0, width, height, device_pitch, host_pitch };
    let queue = Stream(stream.unwrap_or(std::ptr::null_mut()).cast());
    let call = Call::on_stream(std::ptr::null(), queue, PointerMode::Host)?;
    // SAFETY: the caller owes host memory for every element, until the stream has got there in the `Async` forms.
    let copied = unsafe { call.transfer.copy_bytes("device memory", &rectangle, direction, host) };
    copied.and_then(|()| if stream.is_none() { call.transfer.wait() } else { Ok(()) }).map_err(mapping)?;
    let moved = (width * height) as u64;
    Ok(Served {
        what: format!("rows={rows} cols={cols} elem={element} lda={from_ld} ldb={to_ld}"),
        bytes_in: if into_device { 0 } else { moved },
        bytes_out: if into_device { moved } else { 0 },
        kernel: "copy",
    })
}

fn mapping(error: Error) -> Error {
    match error {
        Error::ExecutionFailed(_) | Error::BadAddress(_) => Error::Mapping,
        other => other,
    }
}

/// `cublasAlloc`: the real library's memory, or, where that cannot start, the driver's.
pub fn alloc(
    n: c_int,
    element: c_int,
    out: *mut *mut c_void,
    native: Option<&dyn Fn() -> c_int>,
) -> Result<c_int, Error> {
    if native.is_some_and(|call| call() == SUCCESS) {
        return Ok(SUCCESS);
    }
    let bytes = match (usize::try_from(n), usize::try_from(element)) {
        (Ok(n), Ok(element)) if n > 0 && element > 0 && !out.is_null() => n * element,
        _ => return Err(Error::InvalidValue("n")),
    };
    let address = Context::current()?.allocate(bytes)?;
    // SAFETY: not null; the caller owes a writable variable.
    unsafe { out.write(std::ptr::with_exposed_provenance_mut(address as usize)) };
    Ok(SUCCESS)
}

/// `cublasFree`.
pub fn free(address: *mut c_void, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    if address.is_null() || native.is_some_and(|call| call() == SUCCESS) {
        return Ok(SUCCESS);
    }
    Context::current()?.free(address as u64)?;
    Ok(SUCCESS)
}
