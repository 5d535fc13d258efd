//! Handles and their state: create, destroy, stream, workspace, modes, version, status texts.
//!
//! The real library is always asked for a handle first; only where it cannot make one do we hand out our
//! own. State set on one of ours is kept and given back; state of a real handle stays in the real library.
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublas-helper-function-reference>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use crate::boundary::status::{Error, SUCCESS, cublas_status_name, explains_missing_handle};
use crate::entry::route::passed_on;
use crate::handle::object::{Interface, Object, State};
use crate::handle::registry::{Owner, forget, hand_out, note_real, owner, was_ours};
use crate::native::context::{Context, Device, Stream};
use crate::native::find::{Library, Slot};
use crate::native::inside::calling_native;
use crate::policy::verdict::{no_native_handle, verdict};

macro_rules! cublas_create {
    ($symbol:ident) => {
        export! { $symbol of Cublas (out: *mut *mut c_void)
        managed(native) $crate::entry::cublas::handle::create(
            $crate::native::find::Library::Cublas, $crate::handle::object::Interface::Device, out, native) }
    };
}
macro_rules! cublas_destroy {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void)
        managed(native) $crate::entry::cublas::handle::destroy(handle, native) }
    };
}
macro_rules! cublas_get_version {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, version: *mut c_int)
        by_owner(handle) $crate::entry::cublas::handle::version(version) }
    };
}
macro_rules! cublas_get_property {
    ($symbol:ident) => {
        export! { $symbol of Cublas (kind: c_int, value: *mut c_int)
        managed(native) $crate::entry::cublas::handle::property(kind, value, native) }
    };
}
macro_rules! cublas_set_stream {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, stream: *mut c_void)
        by_owner(handle) $crate::entry::cublas::handle::set_stream(handle, stream) }
    };
}
macro_rules! cublas_get_stream {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, stream: *mut *mut c_void)
        by_owner(handle) $crate::entry::cublas::handle::get(handle, stream, |state| state.stream.0.cast()) }
    };
}
macro_rules! cublas_set_workspace {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, workspace: *mut c_void, bytes: usize)
        by_owner(handle) $crate::entry::cublas::handle::set_workspace(handle, workspace, bytes) }
    };
}
macro_rules! cublas_set_pointer_mode {
    ($symbol:ident) => { export! { $symbol of Cublas (handle: *mut c_void, mode: c_int)
        by_owner(handle) $crate::entry::cublas::handle::set(handle, mode, 0..=1, |state| &mut state.pointer_mode) } };
}
macro_rules! cublas_get_pointer_mode {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, mode: *mut c_int)
        by_owner(handle) $crate::entry::cublas::handle::get(handle, mode, |state| state.pointer_mode) }
    };
}
macro_rules! cublas_set_math_mode {
    ($symbol:ident) => { export! { $symbol of Cublas (handle: *mut c_void, mode: c_int)
        by_owner(handle) $crate::entry::cublas::handle::set(handle, mode, 0..=c_int::MAX, |state| &mut state.math_mode) } };
}
macro_rules! cublas_get_math_mode {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, mode: *mut c_int)
        by_owner(handle) $crate::entry::cublas::handle::get(handle, mode, |state| state.math_mode) }
    };
}
macro_rules! cublas_set_atomics_mode {
    ($symbol:ident) => { export! { $symbol of Cublas (handle: *mut c_void, mode: c_int)
        by_owner(handle) $crate::entry::cublas::handle::set(handle, mode, 0..=1, |state| &mut state.atomics_mode) } };
}
macro_rules! cublas_get_atomics_mode {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, mode: *mut c_int)
        by_owner(handle) $crate::entry::cublas::handle::get(handle, mode, |state| state.atomics_mode) }
    };
}
macro_rules! cublas_set_sm_count_target {
    ($symbol:ident) => { export! { $symbol of Cublas (handle: *mut c_void, count: c_int)
        by_owner(handle)
            $crate::entry::cublas::handle::set(handle, count, 0..=c_int::MAX, |state| &mut state.sm_count_target) } };
}
macro_rules! cublas_get_sm_count_target {
    ($symbol:ident) => {
        export! { $symbol of Cublas (handle: *mut c_void, count: *mut c_int)
        by_owner(handle) $crate::entry::cublas::handle::get(handle, count, |state| state.sm_count_target) }
    };
}
macro_rules! cublas_status_text {
    ($symbol:ident) => {
        export! { $symbol of Cublas text(status) $crate::entry::cublas::handle::status_text }
    };
}

/// Makes a handle: the real library's where it can, one of ours where not.
///
/// Errors: `INVALID_VALUE` for a null `out`; the real library's own status if it failed for a reason that
/// a missing kernel does not explain (memory, licence).
pub fn create(
    library: Library,
    interface: Interface,
    out: *mut *mut c_void,
    native: Option<&dyn Fn() -> c_int>,
) -> Result<c_int, Error> {
    if out.is_null() {
        return Err(Error::InvalidValue("handle"));
    }
    let status = native.map_or(Error::NotInitialized.status(library), |call| call());
    if status == SUCCESS {
        // SAFETY: not null, and the real library has just written a handle there.
        note_real(unsafe { out.read() }, interface);
        // Judged now: the first call may come while a stream is captured, where the library cannot be tried.
        let _ = verdict(library);
        return Ok(SUCCESS);
    }
    if explains_missing_handle(library, status) || library == Library::Cudnn && native.is_none() {
        return Ok(status);
    }
    // No context means no device that we could copy to either: the real library's answer stands.
    if Context::current().is_err() || Device::current().is_err() {
        return Ok(status);
    }
    let _ = no_native_handle(library, status);
    create_ours(interface, out)
}

/// Hands out a handle of ours for the current context. Errors: `INVALID_VALUE` for a null `out`.
pub fn create_ours(interface: Interface, out: *mut *mut c_void) -> Result<c_int, Error> {
    if out.is_null() {
        return Err(Error::InvalidValue("handle"));
    }
    let handle = hand_out(Object::new(Context::current()?, Device::current()?, interface));
    // SAFETY: not null; the caller owes a writable handle variable.
    unsafe { out.write(handle) };
    Ok(SUCCESS)
}

/// Ends a handle. Waits for the handle's work first, as cuBLAS does. Errors: `NOT_INITIALIZED` for one
/// that is not live.
pub fn destroy(handle: *mut c_void, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    match (owner(handle), native) {
        (Some(Owner::Ours(object)), _) => {
            let _ = object.state().stream.synchronize();
            forget(handle);
            Ok(SUCCESS)
        }
        (Some(Owner::Real | Owner::RealXt), Some(call)) => {
            forget(handle);
            Ok(call())
        }
        // Not a handle that was made through us: the real library judges it.
        (None, Some(call)) if !handle.is_null() && !was_ours(handle) => Ok(call()),
        _ => Err(Error::NotInitialized),
    }
}

fn object(handle: *mut c_void) -> Result<Arc<Object>, Error> {
    match owner(handle) {
        Some(Owner::Ours(object)) => Ok(object),
        _ => Err(Error::NotInitialized),
    }
}

/// Keeps a mode on one of our handles; `INVALID_VALUE` outside `legal`.
pub fn set(
    handle: *mut c_void,
    value: c_int,
    legal: std::ops::RangeInclusive<c_int>,
    field: impl FnOnce(&mut State) -> &mut c_int,
) -> Result<(), Error> {
    let object = object(handle)?;
    if !legal.contains(&value) {
        return Err(Error::InvalidValue("mode"));
    }
    object.update(|state| *field(state) = value);
    Ok(())
}

/// Gives back what was set on one of our handles.
pub fn get<T>(handle: *mut c_void, out: *mut T, field: impl FnOnce(&State) -> T) -> Result<(), Error> {
    let object = object(handle)?;
    if out.is_null() {
        return Err(Error::InvalidValue("out"));
    }
    // SAFETY: not null; the caller owes a writable variable of the getter's type.
    unsafe { out.write(field(&object.state())) };
    Ok(())
}

/// `cublasSetStream`.
pub fn set_stream(handle: *mut c_void, stream: *mut c_void) -> Result<(), Error> {
    object(handle)?.update(|state| state.stream = Stream(stream.cast()));
    Ok(())
}

/// `cublasSetWorkspace`: we need none; the documented 256-byte alignment is still asked for.
pub fn set_workspace(handle: *mut c_void, workspace: *mut c_void, bytes: usize) -> Result<(), Error> {
    let _ = object(handle)?;
    if bytes > 0 && !(workspace as usize).is_multiple_of(256) {
        return Err(Error::InvalidValue("workspace"));
    }
    Ok(())
}

/// `cublasGetVersion` for one of our handles: the real library tells its version without a handle.
pub fn version(out: *mut c_int) -> Result<(), Error> {
    static SLOT: Slot = Slot::new(Library::Cublas, c"cublasGetVersion_v2");
    type GetVersion = unsafe extern "C" fn(*mut c_void, *mut c_int) -> c_int;
    if out.is_null() {
        return Err(Error::InvalidValue("version"));
    }
    let real = SLOT.real().ok_or(Error::NotInitialized)?;
    // SAFETY: the slot names cuBLAS's function of this prototype.
    let get_version: GetVersion = unsafe { std::mem::transmute(real) };
    // SAFETY: a null handle is documented for this function; `out` is not null.
    match calling_native(|| unsafe { get_version(std::ptr::null_mut(), out) }) {
        SUCCESS => Ok(()),
        _ => Err(Error::NotInitialized),
    }
}

/// `cublasGetProperty`: major, minor or patch of the version; the real library's answer.
pub fn property(kind: c_int, out: *mut c_int, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    if out.is_null() || !(0..=2).contains(&kind) {
        return Err(Error::InvalidValue("property"));
    }
    passed_on(native)
}

/// The real library's text for `status`, or its name where there is no such library.
pub fn status_text(slot: &'static Slot, status: c_int) -> *const c_char {
    type Text = unsafe extern "C" fn(c_int) -> *const c_char;
    match slot.real() {
        // SAFETY: the slot names a function of this prototype, which takes any integer.
        Some(real) => unsafe { std::mem::transmute::<*mut c_void, Text>(real)(status) },
        None => cublas_status_name(status).as_ptr(),
    }
}
