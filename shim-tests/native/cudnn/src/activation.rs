//! Activation descriptors.

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::cudnnActivationMode_t as Mode;

use crate::arguments::put;
use crate::object::{Kind, called, life};
use crate::status::{BAD_PARAM, NOT_SUPPORTED, of};

/// An activation descriptor.
#[derive(Default)]
pub struct Activation {
    /// Its `cudnnActivationMode_t`.
    mode: c_int,
    /// Its `cudnnNanPropagation_t`.
    nan: c_int,
    /// The ceiling of the clipped ReLU, α of ELU.
    coefficient: f64,
}

impl Kind for Activation {
    const LETTER: u8 = b'A';
}

impl Activation {
    /// The function, of those that the stand-in has: sigmoid, ReLU, tanh. ReLU of NaN is NaN if NaN is to
    /// be propagated, else 0.
    pub fn function(&self) -> Result<impl Fn(f64) -> f64 + use<>, c_int> {
        let known =
            [Mode::CUDNN_ACTIVATION_SIGMOID, Mode::CUDNN_ACTIVATION_RELU, Mode::CUDNN_ACTIVATION_TANH];
        let mode = known.into_iter().find(|&mode| mode as c_int == self.mode).ok_or(NOT_SUPPORTED)?;
        let propagate = self.nan == 1;
        Ok(move |x: f64| match mode {
            Mode::CUDNN_ACTIVATION_SIGMOID => 1.0 / (1.0 + (-x).exp()),
            Mode::CUDNN_ACTIVATION_RELU if propagate && x.is_nan() => x,
            Mode::CUDNN_ACTIVATION_RELU => x.max(0.0),
            _ => x.tanh(),
        })
    }
}

life!(cudnnCreateActivationDescriptor, cudnnDestroyActivationDescriptor, Activation);

/// Sets all of it.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnSetActivationDescriptor(
    desc: *mut c_void,
    mode: c_int,
    nan: c_int,
    coefficient: f64,
) -> c_int {
    of(|| {
        let activation = called::<Activation>("cudnnSetActivationDescriptor", desc)?;
        if !(0..=Mode::CUDNN_ACTIVATION_SWISH as c_int).contains(&mode) || !(0..=1).contains(&nan) {
            return Err(BAD_PARAM);
        }
        *activation = Activation { mode, nan, coefficient };
        Ok(())
    })
}

/// Gets all of it.
///
/// # Safety
/// All places are writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetActivationDescriptor(
    desc: *const c_void,
    mode: *mut c_int,
    nan: *mut c_int,
    coefficient: *mut f64,
) -> c_int {
    of(|| {
        let activation = called::<Activation>("cudnnGetActivationDescriptor", desc)?;
        put([mode, nan], [activation.mode, activation.nan])?;
        put([coefficient], [activation.coefficient])
    })
}
