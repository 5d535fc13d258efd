//! `cudnnSoftmaxForward`, `cudnnSoftmaxBackward`: `y ← α·softmax(x) + β·y` over the channels, or over everything
//! but the batch.
//!
//! Errors: `BAD_PARAM` null, an unknown mode, tensors of different sizes.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html#cudnnsoftmaxforward>.

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::{cudnnSoftmaxAlgorithm_t as CAlgorithm, cudnnSoftmaxMode_t as CMode};
use gpucompat_engine::{self as engine, SoftmaxAlgorithm, SoftmaxMode};

use super::Arg;
use super::descriptor::choice;
use super::operand::{Operand, Precision, Scalars, compute, describe, served};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Timing};
use crate::entry::route::Served;

macro_rules! cudnn_softmax_forward {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle, algorithm: c_int, mode: c_int,
        alpha: *const c_void, x_desc: *const c_void, x: *const c_void,
        beta: *const c_void, y_desc: *const c_void, y: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, softmax};
            softmax::forward(handle, [algorithm, mode], [alpha, beta], Arg(x_desc, x), Arg(y_desc, y))
        } }
    };
}
macro_rules! cudnn_softmax_backward {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle, algorithm: c_int, mode: c_int,
        alpha: *const c_void, y_desc: *const c_void, y: *const c_void, dy_desc: *const c_void, dy: *const c_void,
        beta: *const c_void, dx_desc: *const c_void, dx: *mut c_void)
        typed(y_desc) {
            use $crate::entry::cudnn::{Arg, softmax};
            softmax::backward(
                handle, [algorithm, mode], [alpha, beta], Arg(y_desc, y), Arg(dy_desc, dy), Arg(dx_desc, dx))
        } } };
}

fn kind([algorithm, mode]: [c_int; 2]) -> Result<(SoftmaxAlgorithm, SoftmaxMode), Error> {
    let algorithms = [
        (CAlgorithm::CUDNN_SOFTMAX_FAST as c_int, SoftmaxAlgorithm::Fast),
        (CAlgorithm::CUDNN_SOFTMAX_ACCURATE as c_int, SoftmaxAlgorithm::Accurate),
        (CAlgorithm::CUDNN_SOFTMAX_LOG as c_int, SoftmaxAlgorithm::Log),
    ];
    let modes = [
        (CMode::CUDNN_SOFTMAX_MODE_INSTANCE as c_int, SoftmaxMode::Instance),
        (CMode::CUDNN_SOFTMAX_MODE_CHANNEL as c_int, SoftmaxMode::Channel),
    ];
    Ok((choice(algorithm, &algorithms, "algorithm")?, choice(mode, &modes, "mode")?))
}

/// `y ← α·softmax(x) + β·y`.
pub fn forward(
    handle: *mut c_void,
    kinds: [c_int; 2],
    [alpha, beta]: [*const c_void; 2],
    x: Arg,
    y: Arg,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let (algorithm, mode) = kind(kinds)?;
    let x = Operand::tensor("x", x.0, x.1)?;
    let y = Operand::tensor("y", y.0, y.1)?;
    if x.dims() != y.dims() || x.dims().len() < 2 {
        return Err(Error::InvalidValue("y"));
    }
    let scalars = Scalars::read(alpha, beta, y.desc.element)?;
    in_precision!(Precision::of(&[x.desc.element, y.desc.element]), R => call.run((), move |call, ()| {
        compute::<R, _, _>(call, [&x], &y, scalars, |[x], y| engine::softmax(algorithm, mode, x, y))?;
        Ok(served(call, describe(&[&x]), "softmax"))
    }))
}

/// `dx ← α·(∂softmax/∂x)ᵀ·dy + β·dx`, from y.
pub fn backward(
    handle: *mut c_void,
    kinds: [c_int; 2],
    [alpha, beta]: [*const c_void; 2],
    y: Arg,
    dy: Arg,
    dx: Arg,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let (algorithm, mode) = kind(kinds)?;
    let y = Operand::tensor("y", y.0, y.1)?;
    let dy = Operand::tensor("dy", dy.0, dy.1)?;
    let dx = Operand::tensor("dx", dx.0, dx.1)?;
    if y.dims() != dx.dims() || dy.dims() != dx.dims() || y.dims().len() < 2 {
        return Err(Error::InvalidValue("dx"));
    }
    let scalars = Scalars::read(alpha, beta, dx.desc.element)?;
    in_precision!(Precision::of(&[y.desc.element, dx.desc.element]), R => call.run((), move |call, ()| {
        compute::<R, _, _>(call, [&y, &dy], &dx, scalars, |[y, dy], dx| {
            engine::softmax_backward(algorithm, mode, y, dy, dx);
        })?;
        Ok(served(call, describe(&[&dx]), "softmax"))
    }))
}
