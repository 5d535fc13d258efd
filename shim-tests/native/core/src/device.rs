//! The simulated device's memory, through the driver API, in the order of a stream.

use std::ffi::{CStr, c_void};
use std::sync::LazyLock;

type CopyOut = unsafe extern "C" fn(*mut c_void, u64, usize, *mut c_void) -> i32;
type CopyIn = unsafe extern "C" fn(u64, *const c_void, usize, *mut c_void) -> i32;
type Synchronize = unsafe extern "C" fn(*mut c_void) -> i32;

struct Driver {
    copy_out: CopyOut,
    copy_in: CopyIn,
    synchronize: Synchronize,
}

static DRIVER: LazyLock<Option<Driver>> = LazyLock::new(|| {
    // SAFETY: looks up, or loads, the driver by name.
    let library = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_LAZY) };
    if library.is_null() {
        return None;
    }
    // SAFETY: `library` is a live handle; the names are C strings.
    let find = |name: &CStr| unsafe { libc::dlsym(library, name.as_ptr()) };
    let (out, into) = (find(c"cuMemcpyDtoHAsync_v2"), find(c"cuMemcpyHtoDAsync_v2"));
    let wait = find(c"cuStreamSynchronize");
    if out.is_null() || into.is_null() || wait.is_null() {
        return None;
    }
    // SAFETY: the driver's functions of these names have these prototypes.
    Some(unsafe {
        Driver {
            copy_out: std::mem::transmute::<*mut c_void, CopyOut>(out),
            copy_in: std::mem::transmute::<*mut c_void, CopyIn>(into),
            synchronize: std::mem::transmute::<*mut c_void, Synchronize>(wait),
        }
    })
});

/// `CUBLAS_STATUS_EXECUTION_FAILED`.
const FAILED: i32 = 13;

fn check(code: i32) -> Result<(), i32> {
    if code == 0 { Ok(()) } else { Err(FAILED) }
}

/// Reads device memory after everything queued on the stream.
pub fn read(address: u64, bytes: usize, stream: u64) -> Result<Vec<u8>, i32> {
    let driver = DRIVER.as_ref().ok_or(FAILED)?;
    let mut buffer = vec![0; bytes];
    if bytes > 0 {
        // SAFETY: the buffer is `bytes` long and outlives the wait below.
        check(unsafe {
            (driver.copy_out)(buffer.as_mut_ptr().cast(), address, bytes, stream as *mut c_void)
        })?;
        // SAFETY: the stream is the handle's.
        check(unsafe { (driver.synchronize)(stream as *mut c_void) })?;
    }
    Ok(buffer)
}

/// Writes device memory after everything queued on the stream.
pub fn write(address: u64, bytes: &[u8], stream: u64) -> Result<(), i32> {
    let driver = DRIVER.as_ref().ok_or(FAILED)?;
    if bytes.is_empty() {
        return Ok(());
    }
    // SAFETY: the bytes outlive the wait below.
    check(unsafe { (driver.copy_in)(address, bytes.as_ptr().cast(), bytes.len(), stream as *mut c_void) })?;
    // SAFETY: as above.
    check(unsafe { (driver.synchronize)(stream as *mut c_void) })
}
