//! C arguments: arrays and scalars read, results written. Null is BAD_PARAM.

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::cudnnDataType_t as DataType;

use crate::status::BAD_PARAM;

/// `count` integers.
pub fn ints(pointer: *const c_int, count: c_int) -> Result<Vec<c_int>, c_int> {
    let count = usize::try_from(count).map_err(|_| BAD_PARAM)?;
    if pointer.is_null() {
        return Err(BAD_PARAM);
    }
    // SAFETY: not null; the caller owes `count` readable integers.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) }.to_vec())
}

/// Writes each value to its place, or nothing if a place is null.
pub fn put<T: Copy, const N: usize>(places: [*mut T; N], values: [T; N]) -> Result<(), c_int> {
    if places.iter().any(|place| place.is_null()) {
        return Err(BAD_PARAM);
    }
    for (place, value) in places.iter().zip(values) {
        // SAFETY: not null; the caller owes a writable place.
        unsafe { place.write(value) };
    }
    Ok(())
}

/// Writes the first `most` of `values`; where nothing is to be written, the place may be null.
pub fn put_ints(place: *mut c_int, values: &[c_int], most: c_int) -> Result<(), c_int> {
    let count = values.len().min(usize::try_from(most).unwrap_or(0));
    if count > 0 && place.is_null() {
        return Err(BAD_PARAM);
    }
    for (index, &value) in values[..count].iter().enumerate() {
        // SAFETY: not null; the caller owes room for `most` integers, and `index` is less.
        unsafe { place.add(index).write(value) };
    }
    Ok(())
}

/// α or β: a double for tensors of doubles, else a float; always in host memory.
pub fn scalar(pointer: *const c_void, kind: c_int) -> Result<f64, c_int> {
    if pointer.is_null() {
        return Err(BAD_PARAM);
    }
    if kind == DataType::CUDNN_DATA_DOUBLE as c_int {
        // SAFETY: not null; the caller owes a readable double.
        Ok(unsafe { pointer.cast::<f64>().read_unaligned() })
    } else {
        // SAFETY: not null; the caller owes a readable float.
        Ok(f64::from(unsafe { pointer.cast::<f32>().read_unaligned() }))
    }
}

/// Whether there is such a `cudnnDataType_t` in cuDNN 9.1.
pub fn is_data_type(kind: c_int) -> bool {
    (0..=DataType::CUDNN_DATA_FAST_FLOAT_FOR_FP8 as c_int).contains(&kind)
}
