//! A function that gpucompat does not serve: what forwarding and refusal are tested with.

use std::ffi::{c_int, c_void};

use crate::convolve::play;
use crate::handle::called;
use crate::status::{BAD_PARAM, of};

/// The ε that the test sends.
const EPSILON: f64 = 19.5;

/// Twenty-one arguments: six in integer registers, one in a vector register, fourteen on the stack. It returns
/// success only if all arrive as sent by the test: behind the handle, the n-th argument is n, but ε, the 19th,
/// is 19.5.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnNormalizationForwardInference(
    handle: *mut c_void,
    mode: c_int,
    operations: c_int,
    algorithm: c_int,
    alpha: u64,
    beta: u64,
    x_desc: u64,
    x: u64,
    scale_bias_desc: u64,
    scale: u64,
    bias: u64,
    mean_variance_desc: u64,
    mean: u64,
    variance: u64,
    z_desc: u64,
    z: u64,
    activation_desc: u64,
    y_desc: u64,
    y: u64,
    epsilon: f64,
    groups: c_int,
) -> c_int {
    of(|| {
        called("cudnnNormalizationForwardInference", handle)?;
        play("cudnnNormalizationForwardInference")?;
        let numbers = [mode, operations, algorithm].map(|it| it as u64);
        let pointers = [
            alpha,
            beta,
            x_desc,
            x,
            scale_bias_desc,
            scale,
            bias,
            mean_variance_desc,
            mean,
            variance,
            z_desc,
            z,
            activation_desc,
            y_desc,
            y,
        ];
        let arrived = numbers.into_iter().chain(pointers).eq(1..=18);
        if arrived && epsilon == EPSILON && groups == 20 { Ok(()) } else { Err(BAD_PARAM) }
    })
}
