//! Descriptors: boxes whose first word tells their kind, so that a foreign one is seen.

use std::ffi::{c_int, c_void};

use native_core::record;

use crate::status::{BAD_PARAM, SUCCESS};

/// What a descriptor holds.
pub trait Kind: 'static {
    /// The last byte of its first word.
    const LETTER: u8;
}

/// The rest of every descriptor's first word.
const OURS: u64 = 0x5354_414e_4449_4e00;

#[repr(C)]
struct Object<T> {
    cookie: u64,
    value: T,
}

/// Makes a descriptor at `out`.
pub fn create<T: Kind>(name: &str, out: *mut *mut c_void, value: T) -> c_int {
    record::count(name);
    if out.is_null() {
        return BAD_PARAM;
    }
    let made = Box::into_raw(Box::new(Object { cookie: OURS | u64::from(T::LETTER), value }));
    // SAFETY: not null; the caller owes a writable place.
    unsafe { out.write(made.cast()) };
    SUCCESS
}

/// The value of a descriptor made here; a foreign one is counted, one of another kind is not.
pub fn value<T: Kind>(pointer: *const c_void) -> Result<&'static mut T, c_int> {
    if pointer.is_null() {
        return Err(BAD_PARAM);
    }
    // SAFETY: tests pass null, a descriptor of ours or of gpucompat's: what is not null is at least a word
    // long; a descriptor that was destroyed has lost its cookie before its memory went.
    let cookie = unsafe { pointer.cast::<u64>().read_unaligned() };
    if cookie & !0xff != OURS {
        record::count_foreign();
    }
    if cookie != OURS | u64::from(T::LETTER) {
        return Err(BAD_PARAM);
    }
    // SAFETY: just recognised as an `Object<T>` of `create`; tests use it from one thread at a time, and no
    // function takes the same descriptor twice to change it.
    Ok(unsafe { &mut (*pointer.cast_mut().cast::<Object<T>>()).value })
}

/// Counts a call and gives the value of its descriptor.
pub fn called<T: Kind>(name: &str, pointer: *const c_void) -> Result<&'static mut T, c_int> {
    record::count(name);
    value(pointer)
}

/// Ends a descriptor; null is fine, as for the real library.
pub fn destroy<T: Kind>(name: &str, pointer: *mut c_void) -> c_int {
    record::count(name);
    if pointer.is_null() {
        return SUCCESS;
    }
    if let Err(status) = value::<T>(pointer) {
        return status;
    }
    let object = pointer.cast::<Object<T>>();
    // SAFETY: just recognised as ours; volatile, for nothing reads the word again before the memory goes.
    unsafe { (&raw mut (*object).cookie).write_volatile(0) };
    // SAFETY: made by `create` as a box, which the caller uses no more.
    drop(unsafe { Box::from_raw(object) });
    SUCCESS
}

/// A descriptor's pair of functions.
macro_rules! life {
    ($create:ident, $destroy:ident, $ty:ty) => {
        /// Makes a descriptor.
        #[unsafe(no_mangle)]
        pub extern "C" fn $create(out: *mut *mut std::ffi::c_void) -> std::ffi::c_int {
            $crate::object::create(stringify!($create), out, <$ty>::default())
        }

        /// Ends a descriptor.
        #[unsafe(no_mangle)]
        pub extern "C" fn $destroy(pointer: *mut std::ffi::c_void) -> std::ffi::c_int {
            $crate::object::destroy::<$ty>(stringify!($destroy), pointer)
        }
    };
}
pub(crate) use life;
