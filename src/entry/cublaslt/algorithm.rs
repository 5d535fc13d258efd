//! Our algorithm for `cublasLtMatmul`: its number, its capabilities and its configuration.
//!
//! There is one, which chooses its kernels by the shape: no tiles, no stages, no split of k to configure. Its
//! opaque 64 bytes begin with a mark, so that every function recognises it and the real library never gets to
//! see it; algorithms of the real library go to the real library.
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublasltmatmulalgoinit> and the pages beside it.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};

use cudarc::cublaslt::sys::{
    cublasLtMatmulAlgo_t as Algorithm, cublasLtMatmulAlgoCapAttributes_t as Cap,
    cublasLtMatmulAlgoConfigAttributes_t as Config, cublasLtMatmulHeuristicResult_t as HeuristicResult,
    cublasLtPointerModeMask_t as PointerModeMask, cublasLtReductionScheme_t as ReductionScheme,
    cublasStatus_t,
};

use super::epilogue::Epilogue;
use super::matmul::Args;
use super::problem::Problem;
use crate::boundary::args::{Compute, DataType};
use crate::boundary::status::{Error, SUCCESS};
use crate::entry::route::{Served, passed_on};

macro_rules! cublaslt_algo_ids {
    ($symbol:ident) => { export! { $symbol of CublasLt (
        handle: *mut c_void, compute: c_int, scale: c_int, a: c_int, b: c_int, c: c_int, d: c_int,
        requested: c_int, ids: *mut c_int, returned: *mut c_int)
        compute($crate::handle::registry::is_ours(handle), $crate::entry::cublas::legal::raw_key(a, d, compute))
        serve $crate::entry::cublaslt::algorithm::ids([scale, a, b, c, d], compute, requested, ids, returned)
    } };
}
macro_rules! cublaslt_algo_init {
    ($symbol:ident) => { export! { $symbol of CublasLt (
        handle: *mut c_void, compute: c_int, scale: c_int, a: c_int, b: c_int, c: c_int, d: c_int,
        id: c_int, algo: *mut c_void)
        compute($crate::handle::registry::is_ours(handle), $crate::entry::cublas::legal::raw_key(a, d, compute))
        serve $crate::entry::cublaslt::algorithm::init(handle, [scale, a, b, c, d], compute, id, algo)
    } };
}
macro_rules! cublaslt_algo_check {
    ($symbol:ident) => { export! { $symbol of CublasLt (
        handle: *mut c_void, descriptor: *const c_void,
        a_layout: *const c_void, b_layout: *const c_void, c_layout: *const c_void, d_layout: *const c_void,
        algo: *const c_void, result: *mut c_void)
        compute(
            $crate::handle::registry::is_ours(handle) || $crate::entry::cublaslt::algorithm::is_ours(algo),
            $crate::entry::cublaslt::matmul::types_key(descriptor, a_layout, d_layout))
        serve $crate::entry::cublaslt::algorithm::check(algo, result,
            &$crate::entry::cublaslt::matmul::Args::of_layouts(
                handle, descriptor, [a_layout, b_layout, c_layout, d_layout]))
    } };
}
macro_rules! cublaslt_algo_cap {
    ($symbol:ident) => {
        export! { $symbol of CublasLt (algo: *const c_void, attribute: c_int, value: *mut c_void, bytes: usize, written: *mut usize)
            managed(native) $crate::entry::cublaslt::algorithm::for_ours(algo, native,
                || $crate::entry::cublaslt::algorithm::capability(attribute, value, bytes, written)) }
    };
}
macro_rules! cublaslt_algo_config_get {
    ($symbol:ident) => {
        export! { $symbol of CublasLt (algo: *const c_void, attribute: c_int, value: *mut c_void, bytes: usize, written: *mut usize)
            managed(native) $crate::entry::cublaslt::algorithm::for_ours(algo, native,
                || $crate::entry::cublaslt::algorithm::configuration(attribute, value, bytes, written)) }
    };
}
macro_rules! cublaslt_algo_config_set {
    ($symbol:ident) => {
        export! { $symbol of CublasLt (algo: *mut c_void, attribute: c_int, value: *const c_void, bytes: usize)
        managed(native) $crate::entry::cublaslt::algorithm::for_ours(algo, native,
            || $crate::entry::cublaslt::algorithm::configure(attribute, value, bytes)) }
    };
}

/// The first word of our algorithm's opaque data: "gpucompa", which no algorithm index of cuBLASLt reaches.
const MARK: u64 = u64::from_le_bytes(*b"gpucompa");

/// Our algorithm.
pub const OURS: Algorithm = Algorithm { data: [MARK, 0, 0, 0, 0, 0, 0, 0] };

/// Its number: "gpu", far beyond cuBLASLt's, which are below 100.
const ID: c_int = 0x0067_7075;

/// `CUBLASLT_NUMERICAL_IMPL_FLAGS_FMA`, a macro in `cublasLt.h`: ordinary multiplications and additions.
const IMPL_FLAGS_FMA: u64 = 1;

/// Whether `algo` is ours.
pub fn is_ours(algo: *const c_void) -> bool {
    // SAFETY: an algorithm is 64 bytes that the caller owes to be readable; null is ruled out.
    !algo.is_null() && unsafe { algo.cast::<u64>().read_unaligned() } == MARK
}

/// What a function of an algorithm does: `serve` for ours, the native function for all others.
pub fn for_ours(
    algo: *const c_void,
    native: Option<&dyn Fn() -> c_int>,
    serve: impl FnOnce() -> Result<(), Error>,
) -> Result<c_int, Error> {
    if is_ours(algo) {
        return serve().map(|()| SUCCESS);
    }
    passed_on(native)
}

/// Whether products of these types (scale, A, B, C, D) and this compute type are served in some layout.
fn check_types([scale, a, b, c, d]: [c_int; 5], compute: c_int) -> Result<(), Error> {
    let element = DataType::from_c;
    super::problem::check_types(
        Compute::from_c(compute)?,
        element(scale)?,
        [element(a)?, element(b)?, element(c)?, element(d)?],
    )
}

/// The numbers of the algorithms for these types: ours.
///
/// Errors: `INVALID_VALUE` for null results or `requested ≤ 0`; `NOT_SUPPORTED` for types that have no host
/// form.
pub fn ids(
    types: [c_int; 5],
    compute: c_int,
    requested: c_int,
    ids: *mut c_int,
    returned: *mut c_int,
) -> Result<Served, Error> {
    if requested <= 0 || ids.is_null() || returned.is_null() {
        return Err(Error::InvalidValue("algorithm ids"));
    }
    check_types(types, compute)?;
    // SAFETY: neither is null; the caller owes room for `requested ≥ 1` numbers and a writable count.
    unsafe {
        ids.write(ID);
        returned.write(1);
    }
    Ok(Served { what: "algorithms=1".to_owned(), ..Served::nothing() })
}

/// Makes our algorithm of its number.
///
/// Errors: `INVALID_VALUE` for null, and for other numbers with a handle of ours; `NOT_SUPPORTED` for types that
/// have no host form, and for numbers that the real library may know.
pub fn init(
    handle: *const c_void,
    types: [c_int; 5],
    compute: c_int,
    id: c_int,
    algo: *mut c_void,
) -> Result<Served, Error> {
    if algo.is_null() {
        return Err(Error::InvalidValue("algorithm"));
    }
    if id != ID {
        let ours = crate::handle::registry::is_ours(handle);
        return Err(if ours {
            Error::InvalidValue("algorithm id")
        } else {
            Error::NotSupported("an algorithm of the native library")
        });
    }
    check_types(types, compute)?;
    // SAFETY: not null; the caller owes room for an algorithm.
    unsafe { algo.cast::<Algorithm>().write_unaligned(OURS) };
    Ok(Served { what: "algorithms=1".to_owned(), ..Served::nothing() })
}

/// Checks whether our algorithm computes a product: exactly if `cublasLtMatmul` serves it. Its own place in the
/// result is left alone, as documented.
///
/// Errors: `INVALID_VALUE` for null, or another's algorithm with a handle of ours; those of the product.
pub fn check(algo: *const c_void, result: *mut c_void, args: &Args) -> Result<Served, Error> {
    if algo.is_null() || result.is_null() {
        return Err(Error::InvalidValue("algorithm"));
    }
    if !is_ours(algo) {
        let ours = crate::handle::registry::is_ours(args.handle);
        return Err(if ours {
            Error::InvalidValue("algorithm")
        } else {
            Error::NotSupported("an algorithm of the native library")
        });
    }
    let problem = Problem::read(args)?;
    let result = result.cast::<HeuristicResult>();
    // SAFETY: not null; the caller owes a writable result, whose fields are written without a reference to it.
    unsafe {
        (&raw mut (*result).workspaceSize).write_unaligned(0);
        (&raw mut (*result).state).write_unaligned(cublasStatus_t::CUBLAS_STATUS_SUCCESS);
        (&raw mut (*result).wavesCount).write_unaligned(1.0);
    }
    Ok(Served { what: problem.to_string(), ..Served::nothing() })
}

/// A value of an attribute.
#[derive(Clone, Copy)]
enum Value {
    Short(u16),
    Int(u32),
    Long(u64),
}

impl Value {
    fn bytes(self) -> usize {
        match self {
            Value::Short(_) => 2,
            Value::Int(_) => 4,
            Value::Long(_) => 8,
        }
    }

    fn number(self) -> u64 {
        match self {
            Value::Short(value) => value.into(),
            Value::Int(value) => value.into(),
            Value::Long(value) => value,
        }
    }
}

/// Hands an attribute out. Errors: `INVALID_VALUE` where there is neither room nor a count to write, or room of
/// another size.
fn give(value: Value, room: *mut c_void, bytes: usize, written: *mut usize) -> Result<(), Error> {
    if bytes == 0 && written.is_null() || bytes != 0 && (room.is_null() || bytes != value.bytes()) {
        return Err(Error::InvalidValue("attribute size"));
    }
    if bytes != 0 {
        let number = value.number().to_le_bytes();
        // SAFETY: not null and as large as the value, by the caller's word; little-endian as the machine is.
        unsafe { std::ptr::copy_nonoverlapping(number.as_ptr(), room.cast(), bytes) };
    }
    if !written.is_null() {
        // SAFETY: not null; the caller owes a writable count.
        unsafe { written.write(value.bytes()) };
    }
    Ok(())
}

/// `cublasLtMatmulAlgoCapGetAttribute` of our algorithm. The lists of tiles and stages have one entry each, 0:
/// undefined.
pub fn capability(
    attribute: c_int,
    room: *mut c_void,
    bytes: usize,
    written: *mut usize,
) -> Result<(), Error> {
    let pointer_modes = [
        PointerModeMask::CUBLASLT_POINTER_MODE_MASK_HOST,
        PointerModeMask::CUBLASLT_POINTER_MODE_MASK_DEVICE,
        PointerModeMask::CUBLASLT_POINTER_MODE_MASK_DEVICE_VECTOR,
        PointerModeMask::CUBLASLT_POINTER_MODE_MASK_ALPHA_DEVICE_VECTOR_BETA_ZERO,
        PointerModeMask::CUBLASLT_POINTER_MODE_MASK_ALPHA_DEVICE_VECTOR_BETA_HOST,
    ];
    let no_reduction = ReductionScheme::CUBLASLT_REDUCTION_SCHEME_NONE as u32;
    let rows = [
        (Cap::CUBLASLT_ALGO_CAP_SPLITK_SUPPORT, Value::Int(0)),
        (Cap::CUBLASLT_ALGO_CAP_REDUCTION_SCHEME_MASK, Value::Int(no_reduction)),
        (Cap::CUBLASLT_ALGO_CAP_CTA_SWIZZLING_SUPPORT, Value::Int(0)),
        (Cap::CUBLASLT_ALGO_CAP_STRIDED_BATCH_SUPPORT, Value::Int(1)),
        (Cap::CUBLASLT_ALGO_CAP_OUT_OF_PLACE_RESULT_SUPPORT, Value::Int(1)),
        (Cap::CUBLASLT_ALGO_CAP_UPLO_SUPPORT, Value::Int(0)),
        (Cap::CUBLASLT_ALGO_CAP_TILE_IDS, Value::Int(0)),
        (Cap::CUBLASLT_ALGO_CAP_CUSTOM_OPTION_MAX, Value::Int(0)),
        (Cap::CUBLASLT_ALGO_CAP_CUSTOM_MEMORY_ORDER, Value::Int(1)),
        (
            Cap::CUBLASLT_ALGO_CAP_POINTER_MODE_MASK,
            Value::Int(pointer_modes.into_iter().fold(0, |mask, mode| mask | mode as u32)),
        ),
        (Cap::CUBLASLT_ALGO_CAP_EPILOGUE_MASK, Value::Int(Epilogue::mask())),
        (Cap::CUBLASLT_ALGO_CAP_STAGES_IDS, Value::Int(0)),
        (Cap::CUBLASLT_ALGO_CAP_LD_NEGATIVE, Value::Int(0)),
        (Cap::CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS, Value::Long(IMPL_FLAGS_FMA)),
        (Cap::CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_A_BYTES, Value::Int(1)),
        (Cap::CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_B_BYTES, Value::Int(1)),
        (Cap::CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_C_BYTES, Value::Int(1)),
        (Cap::CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_D_BYTES, Value::Int(1)),
        (Cap::CUBLASLT_ALGO_CAP_ATOMIC_SYNC, Value::Int(0)),
        (Cap::CUBLASLT_ALGO_CAP_POINTER_ARRAY_BATCH_SUPPORT, Value::Int(0)),
        (Cap::CUBLASLT_ALGO_CAP_FLOATING_POINT_EMULATION_SUPPORT, Value::Int(0)),
    ];
    let row = rows.iter().find(|row| row.0 as c_int == attribute);
    give(row.ok_or(Error::InvalidValue("capability"))?.1, room, bytes, written)
}

/// The one value that each part of the configuration has.
fn configured(attribute: c_int) -> Result<Value, Error> {
    let no_reduction = ReductionScheme::CUBLASLT_REDUCTION_SCHEME_NONE as u32;
    let rows = [
        (Config::CUBLASLT_ALGO_CONFIG_ID, Value::Int(ID as u32)),
        (Config::CUBLASLT_ALGO_CONFIG_TILE_ID, Value::Int(0)),
        (Config::CUBLASLT_ALGO_CONFIG_SPLITK_NUM, Value::Int(1)),
        (Config::CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, Value::Int(no_reduction)),
        (Config::CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, Value::Int(0)),
        (Config::CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, Value::Int(0)),
        (Config::CUBLASLT_ALGO_CONFIG_STAGES_ID, Value::Int(0)),
        (Config::CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, Value::Short(0)),
        (Config::CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, Value::Short(0)),
    ];
    let row = rows.into_iter().find(|row| row.0 as c_int == attribute);
    row.map(|row| row.1).ok_or(Error::InvalidValue("configuration"))
}

/// `cublasLtMatmulAlgoConfigGetAttribute` of our algorithm.
pub fn configuration(
    attribute: c_int,
    room: *mut c_void,
    bytes: usize,
    written: *mut usize,
) -> Result<(), Error> {
    give(configured(attribute)?, room, bytes, written)
}

/// `cublasLtMatmulAlgoConfigSetAttribute` of our algorithm: takes what it is configured as, and a split of k
/// into 0 parts for "none". Errors: `INVALID_VALUE` for every other value, the read-only number included.
pub fn configure(attribute: c_int, value: *const c_void, bytes: usize) -> Result<(), Error> {
    let only = configured(attribute)?;
    if attribute == Config::CUBLASLT_ALGO_CONFIG_ID as c_int || value.is_null() || bytes != only.bytes() {
        return Err(Error::InvalidValue("attribute size"));
    }
    let mut number = [0; 8];
    // SAFETY: not null; the caller owes `bytes` readable bytes, at most eight by the comparison above.
    unsafe { std::ptr::copy_nonoverlapping(value.cast(), number.as_mut_ptr(), bytes) };
    let number = u64::from_le_bytes(number);
    let no_split = attribute == Config::CUBLASLT_ALGO_CONFIG_SPLITK_NUM as c_int && number == 0;
    if number == only.number() || no_split { Ok(()) } else { Err(Error::InvalidValue("configuration")) }
}
