//! cublasXt: level 3 over several devices, on matrices of the host or the device, with sizes of type `size_t`.
//!
//! The arithmetic is that of the interface with handles (the table's rows name its entries): here it runs on the host
//! whatever devices were selected, so that the size of tiles, the share of the host's own BLAS and pinned memory change
//! nothing; what was set is given back. Scalars lie in host memory; a call returns when its result is written.
//! Source: <https://docs.nvidia.com/cuda/cublas/#using-the-cublasxt-api>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::collections::BTreeSet;
use std::ffi::{c_int, c_void};

use super::handle;
use crate::boundary::status::{Error, SUCCESS};
use crate::entry::call::write_host_info;
use crate::handle::object::Interface;
use crate::handle::registry::is_ours;
use crate::native::context::Device;
use crate::native::find::Library;
use crate::policy::verdict::{Mode, verdict};

macro_rules! cublas_xt_create {
    ($symbol:ident) => {
        export! { $symbol of Cublas (out: *mut *mut c_void)
        managed(native) $crate::entry::cublas::xt::create(out, native) }
    };
}
macro_rules! cublas_xt_device_select {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, count: c_int, devices: *const c_int)
        by_owner(handle) $crate::entry::cublas::xt::select(handle, count, devices) }
    };
}
macro_rules! cublas_xt_set_block_dim {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, size: c_int)
        by_owner(handle)
            $crate::entry::cublas::handle::set(handle, size, 1..=c_int::MAX, |state| &mut state.block_dim) }
    };
}
macro_rules! cublas_xt_get_block_dim {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, size: *mut c_int)
        by_owner(handle) $crate::entry::cublas::handle::get(handle, size, |state| state.block_dim) }
    };
}
macro_rules! cublas_xt_set_pinning {
    ($symbol:ident) => { export! { $symbol of Cublas (handle: *mut c_void, mode: c_int)
        by_owner(handle) $crate::entry::cublas::handle::set(handle, mode, 0..=1, |state| &mut state.pinning_mode) } };
}
macro_rules! cublas_xt_get_pinning {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, mode: *mut c_int)
        by_owner(handle) $crate::entry::cublas::handle::get(handle, mode, |state| state.pinning_mode) }
    };
}
macro_rules! cublas_xt_set_cpu_routine {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, operation: c_int, ty: c_int, routine: *mut c_void)
        by_owner(handle) $crate::entry::cublas::xt::host_share(handle, [operation, ty]) }
    };
}
macro_rules! cublas_xt_set_cpu_ratio {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, operation: c_int, ty: c_int, ratio: f32)
        by_owner(handle) $crate::entry::cublas::xt::host_share(handle, [operation, ty]) }
    };
}
macro_rules! cublas_xt_max_boards {
    ($symbol:ident) => {
        export! { $symbol of Cublas (boards: *mut c_int)
        managed(native) $crate::entry::cublas::xt::max_boards(boards, native) }
    };
}
macro_rules! cublas_xt_num_boards {
    ($symbol:ident) => {
        export! { $symbol of Cublas (count: c_int, devices: *const c_int, boards: *mut c_int)
        managed(native) $crate::entry::cublas::xt::boards_of(count, devices, boards, native) }
    };
}
macro_rules! cublas_xt_spmm {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, side: c_int, uplo: c_int, m: size_t, n: size_t,
        alpha: *const c_void,  packed: *const c_void,  b: *const c_void, ldb: size_t,
        beta: *const c_void,  c: *mut c_void, ldc: size_t)
        compute($crate::handle::registry::is_ours(handle), 0) serve $crate::entry::cublas::symmetric::serve_packed::<$T>(
            $crate::entry::cublas::symmetric::Args {
                handle, side, uplo, m: m.into(), n: n.into(), alpha, beta,
                a: packed as u64, lda: 0, b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into() })
    } };
}

/// The different devices of a list; `INVALID_VALUE` for an empty or null one, and for a device that is not there.
fn devices(count: c_int, list: *const c_int) -> Result<BTreeSet<c_int>, Error> {
    let (Ok(count @ 1..), false) = (usize::try_from(count), list.is_null()) else {
        return Err(Error::InvalidValue("nbDevices"));
    };
    // SAFETY: not null; the caller owes as many device numbers as it says.
    let list: BTreeSet<c_int> = unsafe { std::slice::from_raw_parts(list, count) }.iter().copied().collect();
    let there = Device::count()?;
    if list.iter().all(|device| (0..there).contains(device)) {
        Ok(list)
    } else {
        Err(Error::InvalidValue("deviceId"))
    }
}

/// `cublasXtCreate`. The real library makes a handle on any device; where it cannot start, the selection of devices
/// fails and the end of the handle after that aborts the process (seen with 12.4). So wherever the products are ours,
/// the handle is, and elsewhere the real library's.
pub fn create(out: *mut *mut c_void, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    match verdict(Library::Cublas).mode {
        Mode::Compat => handle::create_ours(Interface::Xt, out),
        Mode::Native => handle::create(Library::Cublas, Interface::Xt, out, native),
    }
}

fn ours(handle: *mut c_void) -> Result<(), Error> {
    if is_ours(handle) { Ok(()) } else { Err(Error::NotInitialized) }
}

/// `cublasXtDeviceSelect`: the devices must be there; which ones are selected changes nothing.
pub fn select(handle: *mut c_void, count: c_int, list: *const c_int) -> Result<(), Error> {
    ours(handle)?;
    devices(count, list).map(|_| ())
}

/// `cublasXtSetCpuRoutine`, `cublasXtSetCpuRatio`: all of the work is done on the host already, so the program's own
/// routine is not called. `INVALID_VALUE` for an operation or a type that cublasXt has not; the real library (12.4) takes
/// any ratio.
pub fn host_share(handle: *mut c_void, [operation, ty]: [c_int; 2]) -> Result<(), Error> {
    /// `CUBLASXT_ROUTINE_MAX`: how many routines `cublasXtBlasOp_t` names.
    const ROUTINES: c_int = 12;
    /// How many types `cublasXtOpType_t` names.
    const TYPES: c_int = 4;
    ours(handle)?;
    if (0..ROUTINES).contains(&operation) && (0..TYPES).contains(&ty) {
        Ok(())
    } else {
        Err(Error::InvalidValue("blasOp"))
    }
}

/// `cublasXtMaxBoards`: the real library's answer, or where there is none what 12.4 says on any machine.
pub fn max_boards(out: *mut c_int, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    if native.is_some_and(|call| call() == SUCCESS) {
        return Ok(SUCCESS);
    }
    write_host_info("nbGpuBoards", out, 1024)?;
    Ok(SUCCESS)
}

/// `cublasXtGetNumBoards`: the real library's answer, or where it has none a board for each of the devices.
pub fn boards_of(
    count: c_int,
    list: *const c_int,
    out: *mut c_int,
    native: Option<&dyn Fn() -> c_int>,
) -> Result<c_int, Error> {
    if native.is_some_and(|call| call() == SUCCESS) {
        return Ok(SUCCESS);
    }
    let boards = devices(count, list)?.len();
    write_host_info("nbBoards", out, c_int::try_from(boards).map_err(|_| Error::Internal)?)?;
    Ok(SUCCESS)
}
