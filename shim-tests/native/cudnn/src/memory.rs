//! Device memory, with cuDNN's statuses. The unit tests have no device: there an address is one of host memory.

use std::ffi::c_int;

use crate::status::BAD_PARAM;

#[cfg(not(test))]
mod place {
    use std::ffi::c_int;

    use native_core::device;

    use crate::status::EXECUTION_FAILED;

    pub fn read(address: u64, bytes: usize, stream: u64) -> Result<Vec<u8>, c_int> {
        device::read(address, bytes, stream).map_err(|_| EXECUTION_FAILED)
    }

    pub fn write(address: u64, bytes: &[u8], stream: u64) -> Result<(), c_int> {
        device::write(address, bytes, stream).map_err(|_| EXECUTION_FAILED)
    }
}

#[cfg(test)]
use crate::tests::place;

fn check(address: u64, bytes: usize) -> Result<(), c_int> {
    if address == 0 && bytes > 0 { Err(BAD_PARAM) } else { Ok(()) }
}

/// Reads after everything queued on the stream.
pub fn read(address: u64, bytes: usize, stream: u64) -> Result<Vec<u8>, c_int> {
    check(address, bytes)?;
    place::read(address, bytes, stream)
}

/// Writes after everything queued on the stream.
pub fn write(address: u64, bytes: &[u8], stream: u64) -> Result<(), c_int> {
    check(address, bytes.len())?;
    place::write(address, bytes, stream)
}
