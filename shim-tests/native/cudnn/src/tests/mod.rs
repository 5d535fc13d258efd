//! The C functions on host memory.

mod convolution;
mod descriptors;
mod graph;
mod pointwise;

use std::ffi::{c_int, c_void};

use crate::status::SUCCESS;

/// "Device" memory without a device: addresses of the host. The first page is memory that fails.
pub mod place {
    use std::ffi::c_int;

    use crate::status::EXECUTION_FAILED;

    fn check(address: u64) -> Result<(), c_int> {
        if address < 4096 { Err(EXECUTION_FAILED) } else { Ok(()) }
    }

    pub fn read(address: u64, bytes: usize, _stream: u64) -> Result<Vec<u8>, c_int> {
        check(address)?;
        // SAFETY: a test passes the address of a buffer that its descriptor fits.
        Ok(unsafe { std::slice::from_raw_parts(address as *const u8, bytes) }.to_vec())
    }

    pub fn write(address: u64, bytes: &[u8], _stream: u64) -> Result<(), c_int> {
        check(address)?;
        // SAFETY: as above; the buffer is borrowed mutably for the call.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
        Ok(())
    }
}

const FLOAT: c_int = 0;
const DOUBLE: c_int = 1;

/// Makes an object by its C function.
fn make(create: extern "C" fn(*mut *mut c_void) -> c_int) -> *mut c_void {
    let mut made = std::ptr::null_mut();
    assert_eq!(create(&raw mut made), SUCCESS);
    assert!(!made.is_null());
    made
}

/// The address of values to read.
fn address<T>(values: &[T]) -> u64 {
    values.as_ptr() as u64
}

/// The address of values to write.
fn room<T>(values: &mut [T]) -> u64 {
    values.as_mut_ptr() as u64
}

/// A scalar argument.
fn scalar<T>(value: &T) -> *const c_void {
    std::ptr::from_ref(value).cast()
}

/// A tensor descriptor with strides.
fn tensor(kind: c_int, dims: &[c_int], strides: &[c_int]) -> *mut c_void {
    let made = make(crate::tensor::cudnnCreateTensorDescriptor);
    assert_eq!(dims.len(), strides.len());
    let rank = dims.len() as c_int;
    // SAFETY: the arrays have `rank` integers.
    let status = unsafe {
        crate::tensor::cudnnSetTensorNdDescriptor(made, kind, rank, dims.as_ptr(), strides.as_ptr())
    };
    assert_eq!(status, SUCCESS);
    made
}

/// A generator of values in −1 to 1, seeded by the clock; the seed belongs into messages.
struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    fn new() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        let seed = now.as_nanos() as u64;
        Random { seed, state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.state >> 33
    }

    /// A number from `least` to `most`.
    fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.next() as usize % (most - least + 1)
    }

    fn values(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next() as f64 / f64::powi(2.0, 30) - 1.0).collect()
    }
}
