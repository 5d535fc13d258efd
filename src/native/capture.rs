//! Captures of the program's, which our own calls must not spoil.

#![allow(unsafe_code)]

use cudarc::driver::sys::CUstreamCaptureMode_enum as CaptureMode;

use super::driver::{DriverError, check, driver};

/// While it lives, this thread may allocate and free although a stream is captured, here or elsewhere.
#[must_use]
pub struct Relaxed {
    former: u32,
}

impl Relaxed {
    /// From now on.
    pub fn begin() -> Result<Relaxed, DriverError> {
        let mut mode = CaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED as u32;
        // SAFETY: the mode is readable and writable.
        check(unsafe { (driver()?.exchange_capture_mode)(&raw mut mode) })?;
        Ok(Relaxed { former: mode })
    }
}

impl Drop for Relaxed {
    fn drop(&mut self) {
        if let Ok(driver) = driver() {
            // SAFETY: the mode is readable and writable.
            let _ = unsafe { (driver.exchange_capture_mode)(&raw mut self.former) };
        }
    }
}
