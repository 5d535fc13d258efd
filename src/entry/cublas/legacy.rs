//! The legacy interface (`cublas.h`): no handle, operations as characters, scalars and results by value, errors kept
//! until `cublasGetError` asks. Its functions of the three levels stand in [`super::legacy_vector`] and
//! [`super::legacy_matrix`]; each is served as the function of the other interface that it stands for.
//!
//! `cublasSgemm` without `_v2` is this interface's function in the exported library, whatever the macros
//! of `cublas_v2.h` make of the name in source text: alpha and beta arrive by value in registers.
//! Source: <https://docs.nvidia.com/cuda/cublas/#appendix-b-legacy-cublas-api>.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

use parking_lot::Mutex;

use crate::boundary::status::{Error, SUCCESS};
use crate::entry::route::{Served, passed_on};
use crate::handle::object::{Interface, Object};
use crate::handle::registry::{Owner, hand_out, owner};
use crate::native::context::{Context, Device, Stream};
use crate::native::find::{Library, Slot};
use crate::native::inside::calling_native;
use crate::policy::verdict::forced_off;

macro_rules! cublas_legacy_init {
    ($symbol:ident) => {
        export! { $symbol of Cublas () managed(native) $crate::entry::cublas::legacy::init(native) }
    };
}
macro_rules! cublas_legacy_shutdown {
    ($symbol:ident) => {
        export! { $symbol of Cublas () managed(native) $crate::entry::cublas::legacy::shutdown(native) }
    };
}
macro_rules! cublas_legacy_get_error {
    ($symbol:ident) => {
        export! { $symbol of Cublas () managed(native) $crate::entry::cublas::legacy::take_error(native) }
    };
}
macro_rules! cublas_legacy_get_version {
    ($symbol:ident) => {
        export! { $symbol of Cublas (version: *mut c_int)
        managed(native) $crate::entry::cublas::legacy::version(version, native) }
    };
}
macro_rules! cublas_legacy_set_stream {
    ($symbol:ident) => {
        export! { $symbol of Cublas (stream: *mut c_void)
        managed(native) $crate::entry::cublas::legacy::set_stream(stream, native) }
    };
}
/// The error that `cublasGetError` will give, once.
static ERROR: AtomicI32 = AtomicI32::new(SUCCESS);
/// What `cublasSetKernelStream` set.
static STREAM: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
/// A handle of ours for each context that a legacy call was served in.
static HANDLES: Mutex<Option<HashMap<usize, usize>>> = Mutex::new(None);
/// Whether `cublasInit` was answered by us.
static INITIALISED_BY_US: AtomicBool = AtomicBool::new(false);

/// `cublasInit`: the real library's, or, where it cannot start, ours.
pub fn init(native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    let status = native.map_or(Error::NotInitialized.status(Library::Cublas), |call| call());
    if status != SUCCESS {
        let _ = crate::native::context::Context::current()?;
        let _ = crate::policy::verdict::no_native_handle(Library::Cublas, status);
        INITIALISED_BY_US.store(true, Ordering::Relaxed);
    }
    Ok(SUCCESS)
}

/// `cublasShutdown`.
pub fn shutdown(native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    STREAM.store(std::ptr::null_mut(), Ordering::Relaxed);
    if INITIALISED_BY_US.swap(false, Ordering::Relaxed) {
        return Ok(SUCCESS);
    }
    passed_on(native)
}

/// `cublasGetError`: the last error, which it clears.
pub fn take_error(native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    let ours = ERROR.swap(SUCCESS, Ordering::Relaxed);
    let native = native.map_or(SUCCESS, |call| call());
    let not_started = Error::NotInitialized.status(Library::Cublas);
    let of_real_library =
        if INITIALISED_BY_US.load(Ordering::Relaxed) && native == not_started { SUCCESS } else { native };
    Ok(if ours == SUCCESS { of_real_library } else { ours })
}

/// `cublasGetVersion`: the real library's, which tells it without a device in the interface with handles.
pub fn version(out: *mut c_int, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    match native.map(|call| call()) {
        Some(SUCCESS) => Ok(SUCCESS),
        _ => super::handle::version(out).map(|()| SUCCESS),
    }
}

/// `cublasSetKernelStream`.
pub fn set_stream(stream: *mut c_void, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    STREAM.store(stream, Ordering::Relaxed);
    let native = native.map_or(SUCCESS, |call| call());
    Ok(if INITIALISED_BY_US.load(Ordering::Relaxed) { SUCCESS } else { native })
}

/// Keeps the status of a legacy call for `cublasGetError`.
pub fn keep_error(status: c_int) {
    if status != SUCCESS {
        ERROR.store(status, Ordering::Relaxed);
    }
}

/// The error that a native legacy call has just left in the real library; with everything forced off it is
/// left there for the program.
pub fn native_error() -> c_int {
    static SLOT: Slot = Slot::new(Library::Cublas, c"cublasGetError");
    if forced_off() {
        return SUCCESS;
    }
    SLOT.real().map_or(SUCCESS, |real| {
        // SAFETY: the slot names `cublasStatus cublasGetError(void)`.
        calling_native(|| unsafe {
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(real)()
        })
    })
}

/// Serves a legacy call as the call of the interface with handles that it stands for, on a handle of ours for the
/// current context: scalars in host memory, on the stream of `cublasSetKernelStream`.
pub fn with_handle(serve: impl FnOnce(*mut c_void) -> Result<Served, Error>) -> Result<Served, Error> {
    let (context, device) = (Context::current()?, Device::current()?);
    let handle = {
        let mut handles = HANDLES.lock();
        let make = || hand_out(Object::new(context, device, Interface::Device)) as usize;
        *handles.get_or_insert_default().entry(context.0 as usize).or_insert_with(make)
    };
    let handle = std::ptr::with_exposed_provenance_mut::<c_void>(handle);
    let Some(Owner::Ours(object)) = owner(handle) else { return Err(Error::Internal) };
    object.update(|state| state.stream = Stream(STREAM.load(Ordering::Relaxed).cast()));
    serve(handle)
}

/// The `cublasOperation_t` that a character stands for; −1 for another character.
pub fn op(letter: c_char) -> c_int {
    number(letter, b"ntc")
}

/// The `cublasFillMode_t`.
pub fn uplo(letter: c_char) -> c_int {
    number(letter, b"lu")
}

/// The `cublasDiagType_t`.
pub fn diag(letter: c_char) -> c_int {
    number(letter, b"nu")
}

/// The `cublasSideMode_t`.
pub fn side(letter: c_char) -> c_int {
    number(letter, b"lr")
}

fn number(letter: c_char, letters: &[u8]) -> c_int {
    let letter = (letter as u8).to_ascii_lowercase();
    letters.iter().position(|&known| known == letter).map_or(-1, |position| position as c_int)
}

/// A number that a legacy function returns: 0 until it is known.
pub struct Returned<T>(Cell<T>);

impl<T: Copy> Returned<T> {
    /// 0.
    pub fn zero() -> Returned<T> {
        // SAFETY: used with integers, floats and pairs of floats, for which all-zero bytes are a value.
        Returned(Cell::new(unsafe { std::mem::zeroed() }))
    }

    /// Where it lies.
    pub fn place(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }

    /// Sets it.
    pub fn set(&self, value: T) {
        self.0.set(value);
    }

    /// What it is.
    pub fn get(&self) -> T {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stand_for_the_enumerators_in_either_case() {
        let all = |of: fn(c_char) -> c_int, letters: &str| -> Vec<c_int> {
            letters.bytes().map(|letter| of(letter as c_char)).collect()
        };
        assert_eq!(all(op, "nNtTcCx"), [0, 0, 1, 1, 2, 2, -1]);
        assert_eq!(all(uplo, "lLuUn"), [0, 0, 1, 1, -1]);
        assert_eq!(all(diag, "nNuUl"), [0, 0, 1, 1, -1]);
        assert_eq!(all(side, "lLrRt"), [0, 0, 1, 1, -1]);
    }
}
