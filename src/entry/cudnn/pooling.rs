//! Pooling and local response normalization: `y ← α·f(x) + β·y` and their gradients.
//!
//! Errors: `BAD_PARAM` null, sizes that do not belong together; `NOT_SUPPORTED` more than three spatial axes.
//! Source: `cudnnPoolingForward`, `cudnnLRNCrossChannelForward`,
//! <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_uint, c_void};

use cudarc::cudnn::sys::cudnnPoolingMode_t as CMode;
use gpucompat_engine::{self as engine, Lrn, Pool, PoolMode, Real, TensorMut, TensorRef};

use super::Arg;
use super::descriptor::{AXES, choice, first, spatial, window_places};
use super::operand::{Operand, Precision, Scalars, compute, describe, served};
use super::reduce::nan_rule;
use crate::boundary::status::Error;
use crate::entry::call::{Call, Timing};
use crate::entry::route::Served;

macro_rules! cudnn_pooling_forward {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle, pool_desc: *const c_void,
        alpha: *const c_void, x_desc: *const c_void, x: *const c_void,
        beta: *const c_void, y_desc: *const c_void, y: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, pooling};
            pooling::Window::pool(pool_desc)
                .and_then(|window| pooling::forward(handle, &window, [alpha, beta], Arg(x_desc, x), Arg(y_desc, y)))
        } } };
}
macro_rules! cudnn_pooling_backward {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle, pool_desc: *const c_void,
        alpha: *const c_void, y_desc: *const c_void, y: *const c_void, dy_desc: *const c_void, dy: *const c_void,
        x_desc: *const c_void, x: *const c_void, beta: *const c_void, dx_desc: *const c_void, dx: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, pooling};
            pooling::Window::pool(pool_desc).and_then(|window| pooling::backward(handle, &window, [alpha, beta],
                [Arg(y_desc, y), Arg(dy_desc, dy), Arg(x_desc, x)], Arg(dx_desc, dx)))
        } } };
}
macro_rules! cudnn_lrn_forward {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle, norm_desc: *const c_void, mode: c_int,
        alpha: *const c_void, x_desc: *const c_void, x: *const c_void,
        beta: *const c_void, y_desc: *const c_void, y: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, pooling};
            pooling::Window::lrn(norm_desc, mode)
                .and_then(|window| pooling::forward(handle, &window, [alpha, beta], Arg(x_desc, x), Arg(y_desc, y)))
        } } };
}
macro_rules! cudnn_lrn_backward {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle, norm_desc: *const c_void, mode: c_int,
        alpha: *const c_void, y_desc: *const c_void, y: *const c_void, dy_desc: *const c_void, dy: *const c_void,
        x_desc: *const c_void, x: *const c_void, beta: *const c_void, dx_desc: *const c_void, dx: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, pooling};
            pooling::Window::lrn(norm_desc, mode).and_then(|window| pooling::backward(handle, &window, [alpha, beta],
                [Arg(y_desc, y), Arg(dy_desc, dy), Arg(x_desc, x)], Arg(dx_desc, dx)))
        } } };
}

/// A function of a window of x, over space or over channels.
#[derive(Clone, Copy)]
pub enum Window {
    /// A `cudnnPoolingDescriptor_t` and its number of spatial axes.
    Pool(Pool, usize),
    /// A `cudnnLRNDescriptor_t`.
    Lrn(Lrn),
}

impl Window {
    /// Reads a pooling descriptor.
    pub fn pool(descriptor: *const c_void) -> Result<Window, Error> {
        const NAME: &str = "poolingDesc";
        let (mut mode, mut nan, mut axes) = (0, 0, 0);
        let (mut window, mut pad, mut stride) = ([0; AXES], [0; AXES], [0; AXES]);
        if descriptor.is_null() {
            return Err(Error::InvalidValue(NAME));
        }
        ask!(cudnnGetPoolingNdDescriptor for NAME, descriptor => *const c_void, AXES as c_int => c_int,
            &raw mut mode => *mut c_int, &raw mut nan => *mut c_int, &raw mut axes => *mut c_int,
            window.as_mut_ptr() => *mut c_int, pad.as_mut_ptr() => *mut c_int, stride.as_mut_ptr() => *mut c_int)?;
        let modes = [
            (CMode::CUDNN_POOLING_MAX as c_int, PoolMode::Max),
            (CMode::CUDNN_POOLING_MAX_DETERMINISTIC as c_int, PoolMode::Max),
            (CMode::CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING as c_int, PoolMode::AverageIncludingPadding),
            (CMode::CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING as c_int, PoolMode::AverageExcludingPadding),
        ];
        let pool = Pool {
            mode: choice(mode, &modes, NAME)?,
            nan: nan_rule(nan)?,
            window: spatial(first(&window, axes, NAME)?, NAME)?,
            pad: spatial(first(&pad, axes, NAME)?, NAME)?,
            stride: spatial(first(&stride, axes, NAME)?, NAME)?,
        };
        let axes = axes as usize;
        if pool.stride[..axes].contains(&0) || pool.window[..axes].contains(&0) {
            return Err(Error::InvalidValue(NAME));
        }
        Ok(Window::Pool(pool, axes))
    }

    /// Reads an LRN descriptor; the only mode there is goes across channels.
    pub fn lrn(descriptor: *const c_void, mode: c_int) -> Result<Window, Error> {
        const NAME: &str = "normDesc";
        let (mut n, mut alpha, mut beta, mut k) = (0, 0.0, 0.0, 0.0);
        if descriptor.is_null() || mode != 0 {
            return Err(Error::InvalidValue(NAME));
        }
        ask!(cudnnGetLRNDescriptor for NAME, descriptor => *const c_void, &raw mut n => *mut c_uint,
            &raw mut alpha => *mut f64, &raw mut beta => *mut f64, &raw mut k => *mut f64)?;
        Ok(Window::Lrn(Lrn { n: n as usize, alpha, beta, k }))
    }

    /// Whether x and y belong together.
    fn fits(&self, x: &[usize], y: &[usize]) -> bool {
        match self {
            Window::Lrn(_) => x == y && x.len() >= 2,
            Window::Pool(pool, axes) => {
                let covered = |axis: usize| {
                    let padding = 2 * pool.pad[axis];
                    let places = window_places(x[2 + axis], padding, pool.window[axis], pool.stride[axis]);
                    places == Some(y[2 + axis])
                };
                x.len() == axes + 2 && y.len() == x.len() && x[..2] == y[..2] && (0..*axes).all(covered)
            }
        }
    }

    fn kernel(&self) -> &'static str {
        match self {
            Window::Pool(..) => "pool",
            Window::Lrn(_) => "lrn",
        }
    }

    fn run_forward<R: Real>(&self, x: TensorRef<'_, R>, y: TensorMut<'_, R>) {
        match self {
            Window::Pool(pool, _) => engine::pool_forward(pool, x, y),
            Window::Lrn(lrn) => engine::lrn_forward(lrn, x, y),
        }
    }

    fn run_backward<R: Real>(&self, [y, dy, x]: [TensorRef<'_, R>; 3], dx: TensorMut<'_, R>) {
        match self {
            Window::Pool(pool, _) => engine::pool_backward(pool, x, y, dy, dx),
            Window::Lrn(lrn) => engine::lrn_backward(lrn, x, y, dy, dx),
        }
    }
}

/// `y ← α·f(x) + β·y`.
pub fn forward(
    handle: *mut c_void,
    window: &Window,
    [alpha, beta]: [*const c_void; 2],
    x: Arg,
    y: Arg,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let x = Operand::tensor("x", x.0, x.1)?;
    let y = Operand::tensor("y", y.0, y.1)?;
    if !window.fits(x.dims(), y.dims()) {
        return Err(Error::InvalidValue("y"));
    }
    let scalars = Scalars::read(alpha, beta, y.desc.element)?;
    let window = *window;
    in_precision!(Precision::of(&[x.desc.element, y.desc.element]), R => call.run((), move |call, ()| {
        compute::<R, _, _>(call, [&x], &y, scalars, |[x], y| window.run_forward(x, y))?;
        Ok(served(call, describe(&[&x, &y]), window.kernel()))
    }))
}

/// `dx ← α·(∂f/∂x)ᵀ·dy + β·dx`.
pub fn backward(
    handle: *mut c_void,
    window: &Window,
    [alpha, beta]: [*const c_void; 2],
    [y, dy, x]: [Arg; 3],
    dx: Arg,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let y = Operand::tensor("y", y.0, y.1)?;
    let dy = Operand::tensor("dy", dy.0, dy.1)?;
    let x = Operand::tensor("x", x.0, x.1)?;
    let dx = Operand::tensor("dx", dx.0, dx.1)?;
    if x.dims() != dx.dims() || y.dims() != dy.dims() || !window.fits(x.dims(), y.dims()) {
        return Err(Error::InvalidValue("dx"));
    }
    let scalars = Scalars::read(alpha, beta, dx.desc.element)?;
    let window = *window;
    in_precision!(Precision::of(&[x.desc.element, dx.desc.element]), R => call.run((), move |call, ()| {
        compute::<R, _, _>(call, [&y, &dy, &x], &dx, scalars, |inputs, dx| window.run_backward(inputs, dx))?;
        Ok(served(call, describe(&[&dx]), window.kernel()))
    }))
}
