//! Descriptors: host objects with numbered attributes of up to eight bytes.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};

use native_core::mode::CUBLASLT;
use native_core::record;

/// `CUBLAS_STATUS_INVALID_VALUE`.
pub const INVALID_VALUE: c_int = 7;

/// Attribute numbers to values.
pub struct Descriptor(BTreeMap<c_int, [u8; 8]>);

impl Descriptor {
    /// An attribute as an integer; `default` if it was never set.
    pub fn get(&self, attribute: c_int, default: i64) -> i64 {
        self.0.get(&attribute).map_or(default, |bytes| i64::from_le_bytes(*bytes))
    }
}

/// The descriptor behind a pointer.
pub fn descriptor<'a>(pointer: *const c_void) -> Option<&'a Descriptor> {
    // SAFETY: tests pass null or what `create` made.
    unsafe { pointer.cast::<Descriptor>().as_ref() }
}

fn create(out: *mut *mut c_void, values: &[(c_int, i64)]) -> c_int {
    let values = values.iter().map(|&(attribute, value)| (attribute, value.to_le_bytes())).collect();
    let made = Box::into_raw(Box::new(Descriptor(values)));
    // SAFETY: the caller owes a writable place.
    unsafe { out.write(made.cast()) };
    0
}

macro_rules! family {
    ($destroy:ident, $set:ident, $get:ident) => {
        /// Ends a descriptor.
        ///
        /// # Safety
        /// It was made here and is used no more.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $destroy(pointer: *mut c_void) -> c_int {
            if pointer.is_null() {
                return INVALID_VALUE;
            }
            // SAFETY: made by `create` as a box.
            drop(unsafe { Box::from_raw(pointer.cast::<Descriptor>()) });
            0
        }

        /// Sets an attribute.
        ///
        /// # Safety
        /// `value` has `bytes` to read.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $set(
            pointer: *mut c_void,
            attribute: c_int,
            value: *const c_void,
            bytes: usize,
        ) -> c_int {
            if pointer.is_null() || value.is_null() || bytes > 8 {
                return INVALID_VALUE;
            }
            let mut eight = [0; 8];
            // SAFETY: the caller owes `bytes` readable bytes, of which there are at most eight.
            unsafe { std::ptr::copy_nonoverlapping(value.cast::<u8>(), eight.as_mut_ptr(), bytes) };
            // Four-byte values may be negative.
            if bytes == 4 && eight[3] & 0x80 != 0 {
                eight[4..].fill(0xff);
            }
            // SAFETY: made by `create`; tests use it from one thread.
            unsafe { (*pointer.cast::<Descriptor>()).0.insert(attribute, eight) };
            0
        }

        /// Gets an attribute; one that was never set is 0.
        ///
        /// # Safety
        /// `value` has room for `bytes`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $get(
            pointer: *const c_void,
            attribute: c_int,
            value: *mut c_void,
            bytes: usize,
            written: *mut usize,
        ) -> c_int {
            let Some(descriptor) = descriptor(pointer) else { return INVALID_VALUE };
            let eight = descriptor.get(attribute, 0).to_le_bytes();
            // SAFETY: the caller owes `bytes` writable bytes, of which at most eight are written.
            unsafe { std::ptr::copy_nonoverlapping(eight.as_ptr(), value.cast::<u8>(), bytes.min(8)) };
            if !written.is_null() {
                // SAFETY: not null; the caller owes a writable place.
                unsafe { written.write(bytes.min(8)) };
            }
            0
        }
    };
}
family!(cublasLtMatmulDescDestroy, cublasLtMatmulDescSetAttribute, cublasLtMatmulDescGetAttribute);
family!(cublasLtMatrixLayoutDestroy, cublasLtMatrixLayoutSetAttribute, cublasLtMatrixLayoutGetAttribute);
family!(
    cublasLtMatmulPreferenceDestroy,
    cublasLtMatmulPreferenceSetAttribute,
    cublasLtMatmulPreferenceGetAttribute
);

family!(
    cublasLtMatrixTransformDescDestroy,
    cublasLtMatrixTransformDescSetAttribute,
    cublasLtMatrixTransformDescGetAttribute
);

/// A transform: its scale type.
#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatrixTransformDescCreate(out: *mut *mut c_void, scale: c_int) -> c_int {
    create(out, &[(0, scale.into())])
}

/// An operation: compute type, scale type, and the defaults (the full matrix, epilogue 1, bias and auxiliary
/// matrix of D's type).
#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulDescCreate(out: *mut *mut c_void, compute: c_int, scale: c_int) -> c_int {
    const EPILOGUE: c_int = 7;
    const BIAS_TYPE: c_int = 26;
    const AUX_TYPE: c_int = 22;
    const FILL_MODE: c_int = 6;
    let types = [(0, compute.into()), (1, scale.into()), (BIAS_TYPE, -1), (AUX_TYPE, -1)];
    create(out, &[&types[..], &[(EPILOGUE, 1), (FILL_MODE, 2)]].concat())
}

/// A matrix: type, rows, columns, leading dimension; one of them, in column order.
#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatrixLayoutCreate(
    out: *mut *mut c_void,
    kind: c_int,
    rows: u64,
    cols: u64,
    ld: i64,
) -> c_int {
    create(out, &[(0, kind.into()), (1, 0), (2, rows as i64), (3, cols as i64), (4, ld), (5, 1)])
}

/// A preference.
#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulPreferenceCreate(out: *mut *mut c_void) -> c_int {
    create(out, &[])
}

/// Makes a handle, or does not.
///
/// # Safety
/// `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtCreate(out: *mut *mut c_void) -> c_int {
    record::count("cublasLtCreate");
    let status = CUBLASLT.handle_status();
    if status == 0 {
        // SAFETY: the caller owes a writable place.
        unsafe { out.write(record::create().cast()) };
    }
    status
}

/// Ends a handle.
#[unsafe(no_mangle)]
pub extern "C" fn cublasLtDestroy(handle: *mut c_void) -> c_int {
    record::destroy("cublasLtDestroy", handle)
}

/// The version.
#[unsafe(no_mangle)]
pub extern "C" fn cublasLtGetVersion() -> usize {
    120_804
}

/// How often a function was called.
#[unsafe(no_mangle)]
pub extern "C" fn standin_calls(name: *const c_char) -> u64 {
    // SAFETY: tests pass C strings.
    record::calls(&unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy())
}

/// How many handles were not the stand-ins' own.
#[unsafe(no_mangle)]
pub extern "C" fn standin_foreign_handles() -> u64 {
    record::foreign_handles()
}
