//! Functions that gpucompat does not serve: what forwarding and refusal are tested with.

use std::ffi::{c_int, c_void};

use native_core::{device, record};

/// `y ← α·x + y`, mixed integer, pointer and stack arguments.
///
/// # Safety
/// `alpha` is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasSaxpy_v2(
    handle: *mut c_void,
    n: c_int,
    alpha: *const f32,
    x: u64,
    incx: c_int,
    y: u64,
    incy: c_int,
) -> c_int {
    let handle = match record::handle("cublasSaxpy_v2", handle) {
        Ok(handle) => handle,
        Err(status) => return status,
    };
    // SAFETY: the caller owes a readable scalar.
    let alpha = unsafe { alpha.read() };
    let step = |increment: c_int, index: usize| (increment as usize * index * 4) as u64;
    for index in 0..n as usize {
        let single = |address: u64| {
            let bytes = device::read(address, 4, handle.stream).unwrap_or_else(|_| vec![0; 4]);
            f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        };
        let sum = alpha * single(x + step(incx, index)) + single(y + step(incy, index));
        if device::write(y + step(incy, index), &sum.to_le_bytes(), handle.stream).is_err() {
            return 13;
        }
    }
    0
}

/// Eleven arguments, five of them on the stack: returns success only if all arrive as sent by the test.
#[unsafe(no_mangle)]
pub extern "C" fn cublasUint8gemmBias(
    handle: *mut c_void,
    ta: c_int,
    tb: c_int,
    m: c_int,
    n: c_int,
    alpha: u64,
    a: u64,
    lda: c_int,
    beta: u64,
    b: u64,
    ldb: c_int,
    c: u64,
    ldc: c_int,
) -> c_int {
    if let Err(status) = record::handle("cublasUint8gemmBias", handle) {
        return status;
    }
    let arrived = [
        ta.into(),
        tb.into(),
        m.into(),
        n.into(),
        alpha as i64,
        a as i64,
        lda.into(),
        beta as i64,
        b as i64,
        ldb.into(),
        c as i64,
        ldc.into(),
    ];
    if arrived.iter().enumerate().all(|(index, &value)| value == index as i64 + 1) { 0 } else { 7 }
}
