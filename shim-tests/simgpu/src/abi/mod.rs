//! The exported C functions: checked pointers in, a code out; all meaning is in `core`.
//!
//! One macro exports. It catches panics, refuses everything in a forked child, and keeps the code of a
//! failed runtime call for `cudaGetLastError`.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::core::{Code, Outcome, device};

/// Exports functions of the form `fn name(arguments) body`, whose body is an [`Outcome`]. `runtime` keeps
/// the error of a failed call, `driver` does not; both also make a table of names and addresses.
macro_rules! export {
    ($family:ident $table:ident; $(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`, as on NVIDIA's page of that name.")]
            ///
            /// # Safety
            /// The caller owes what that page asks: pointers valid for what is read or written.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($arg: $ty),*) -> std::ffi::c_int {
                $crate::abi::$family(|| $body)
            }
        )*
        /// Names and addresses of this file's functions.
        pub static $table: &[(&str, fn() -> usize)] = &[$((stringify!($name), || $name as *const () as usize)),*];
    };
}

#[cfg(not(feature = "cuda13"))]
pub mod before_cuda13;
pub mod control;
pub mod driver;
pub mod driver_memory;
pub mod driver_unsupported;
pub mod properties;
pub mod runtime;
pub mod runtime_launch;
pub mod runtime_memory;
pub mod runtime_pool;
pub mod runtime_stream;
pub mod unsupported;
#[cfg_attr(not(any(feature = "cuda11", feature = "cuda13")), path = "cuda12.rs")]
#[cfg_attr(feature = "cuda11", path = "cuda11.rs")]
#[cfg_attr(feature = "cuda13", path = "cuda13.rs")]
pub mod versioned;

fn guarded(body: impl FnOnce() -> Outcome) -> Outcome {
    device::begin()?;
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(Err(Code::UNKNOWN))
}

/// Runs a runtime function.
fn runtime(body: impl FnOnce() -> Outcome) -> c_int {
    match guarded(body) {
        Ok(()) => 0,
        Err(code) => {
            device::keep_error(code);
            code.0
        }
    }
}

/// Runs a driver function.
fn driver(body: impl FnOnce() -> Outcome) -> c_int {
    guarded(body).map_or_else(|code| code.0, |()| 0)
}

/// Writes a result; INVALID_VALUE for a null place.
fn put<T>(place: *mut T, value: T) -> Outcome {
    if place.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: not null; the caller of the exported function owes a writable place of this type.
    unsafe { place.write_unaligned(value) };
    Ok(())
}

/// Writes a result where the place may be null.
fn put_if_asked<T>(place: *mut T, value: T) {
    let _ = put(place, value);
}

/// Reads an argument struct; INVALID_VALUE for null.
fn take<T: Copy>(place: *const T) -> Outcome<T> {
    if place.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: not null; the caller owes a readable struct of this type.
    Ok(unsafe { place.read_unaligned() })
}

/// Copies text into a buffer of `capacity` bytes, its end included.
fn put_text(text: &str, buffer: *mut u8, capacity: usize) -> Outcome {
    if buffer.is_null() || capacity == 0 {
        return Err(Code::INVALID_VALUE);
    }
    let length = text.len().min(capacity - 1);
    // SAFETY: the caller owes `capacity` writable bytes, of which `length + 1` are written.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buffer, length) };
    // SAFETY: as above.
    unsafe { buffer.add(length).write(0) };
    Ok(())
}
