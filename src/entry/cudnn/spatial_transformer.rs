//! The spatial transformer: affine grids and bilinear sampling, forward and backward.
//!
//! Its descriptor has no getter in cuDNN: what is set on one is noted on the way to the real library. θ is [N, 2, 3],
//! grids are [N, H, W, 2], both packed; coordinates run from −1 to 1, centre to centre of the corner elements.
//! Errors: `BAD_PARAM` null, sizes that do not belong together, a descriptor that was not set.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html#cudnnspatialtfsamplerforward>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::collections::HashMap;
use std::ffi::{c_int, c_void};

use gpucompat_engine::{self as engine, Layout};
use parking_lot::Mutex;

use super::Arg;
use super::descriptor::{DIM_MAX, TensorDesc, sizes};
use super::operand::{Operand, Precision, Scalars, compute, describe, served};
use crate::boundary::args::DataType;
use crate::boundary::status::{Error, SUCCESS};
use crate::entry::call::{Call, Timing};
use crate::entry::route::Served;

macro_rules! cudnn_set_spatial_transformer {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (desc: *mut c_void, sampler: c_int, element: c_int,
        rank: c_int, dims: *const c_int)
        managed(native) $crate::entry::cudnn::spatial_transformer::set(desc, element, (rank, dims), native) }
    };
}
macro_rules! cudnn_destroy_spatial_transformer {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (desc: *mut c_void)
        managed(native) $crate::entry::cudnn::spatial_transformer::destroy(desc, native) }
    };
}
macro_rules! cudnn_grid_generator_forward {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, desc: *const c_void,
        theta: *const c_void, grid: *mut c_void)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::spatial_transformer::generate(handle, desc, theta, grid) }
    };
}
macro_rules! cudnn_grid_generator_backward {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, desc: *const c_void,
        dgrid: *const c_void, dtheta: *mut c_void)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::spatial_transformer::generate_backward(handle, desc, dgrid, dtheta) }
    };
}
macro_rules! cudnn_sampler_forward {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle, desc: *const c_void,
        alpha: *const c_void, x_desc: *const c_void, x: *const c_void, grid: *const c_void,
        beta: *const c_void, y_desc: *const c_void, y: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, spatial_transformer};
            spatial_transformer::sample(handle, desc, [alpha, beta], Arg(x_desc, x), grid, Arg(y_desc, y))
        } }
    };
}
macro_rules! cudnn_sampler_backward {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle, desc: *const c_void,
        alpha: *const c_void, x_desc: *const c_void, x: *const c_void,
        beta: *const c_void, dx_desc: *const c_void, dx: *mut c_void,
        alpha_grid: *const c_void, dy_desc: *const c_void, dy: *const c_void, grid: *const c_void,
        beta_grid: *const c_void, dgrid: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, spatial_transformer};
            spatial_transformer::sample_backward(handle, desc, [[alpha, beta], [alpha_grid, beta_grid]],
                [Arg(x_desc, x), Arg(dy_desc, dy)], grid, Arg(dx_desc, dx), dgrid)
        } }
    };
}

/// The output that a descriptor describes: N, C, H, W.
#[derive(Clone, Copy, Debug)]
struct Output {
    element: DataType,
    dims: [usize; 4],
}

static DESCRIPTORS: Mutex<Option<HashMap<usize, Output>>> = Mutex::new(None);

impl Output {
    fn of(descriptor: *const c_void) -> Result<Output, Error> {
        let known = DESCRIPTORS.lock().as_ref().and_then(|known| known.get(&(descriptor as usize)).copied());
        known.ok_or(Error::InvalidValue("stDesc"))
    }

    fn operand(self, name: &'static str, dims: &[usize], data: *const c_void) -> Result<Operand, Error> {
        Operand::of(name, TensorDesc { element: self.element, layout: Layout::packed(dims) }, data)
    }

    fn grid(self, name: &'static str, data: *const c_void) -> Result<Operand, Error> {
        let [n, _, h, w] = self.dims;
        self.operand(name, &[n, h, w, 2], data)
    }

    fn theta(self, name: &'static str, data: *const c_void) -> Result<Operand, Error> {
        self.operand(name, &[self.dims[0], 2, 3], data)
    }

    /// A sampled tensor, and the one it is sampled from, must be of the descriptor's batch and channels.
    fn fits(self, x: &Operand, y: &Operand) -> Result<(), Error> {
        let right = y.dims() == self.dims && x.dims().len() == 4 && x.dims()[..2] == self.dims[..2];
        if right { Ok(()) } else { Err(Error::InvalidValue("stDesc")) }
    }
}

/// `cudnnSetSpatialTransformerNdDescriptor`: the real library judges it; what it accepts is noted.
pub fn set(
    descriptor: *mut c_void,
    element: c_int,
    (rank, dims): (c_int, *const c_int),
    native: Option<&dyn Fn() -> c_int>,
) -> Result<c_int, Error> {
    let status = native.ok_or(Error::NotInitialized)?();
    if status != SUCCESS {
        return Ok(status);
    }
    let rank = usize::try_from(rank).ok().filter(|&rank| rank <= DIM_MAX && !dims.is_null());
    let rank = rank.ok_or(Error::InvalidValue("nbDims"))?;
    // SAFETY: the real library has just read as many sizes there.
    let dims = sizes(unsafe { std::slice::from_raw_parts(dims, rank) }, "dimA")?;
    // The real library takes four axes only.
    if let Ok(dims) = dims.try_into() {
        let output = Output { element: DataType::from_cudnn(element)?, dims };
        DESCRIPTORS.lock().get_or_insert_default().insert(descriptor as usize, output);
    }
    Ok(status)
}

/// Forgets a descriptor and lets the real library end it.
pub fn destroy(descriptor: *mut c_void, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    if let Some(known) = DESCRIPTORS.lock().as_mut() {
        known.remove(&(descriptor as usize));
    }
    Ok(native.map_or(SUCCESS, |call| call()))
}

/// `grid[n, h, w] ← θ[n]·(x, y, 1)`.
pub fn generate(
    handle: *mut c_void,
    descriptor: *const c_void,
    theta: *const c_void,
    grid: *const c_void,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let output = Output::of(descriptor)?;
    let (theta, grid) = (output.theta("theta", theta)?, output.grid("grid", grid)?);
    in_precision!(Precision::of(&[output.element]), R => call.run((), move |call, ()| {
        compute::<R, _, _>(call, [&theta], &grid, Scalars::PLAIN, |[theta], grid| {
            engine::affine_grid(theta, grid);
        })?;
        Ok(served(call, describe(&[&grid]), "affine_grid"))
    }))
}

/// The gradient of θ.
pub fn generate_backward(
    handle: *mut c_void,
    descriptor: *const c_void,
    dgrid: *const c_void,
    dtheta: *const c_void,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let output = Output::of(descriptor)?;
    let (dgrid, dtheta) = (output.grid("dgrid", dgrid)?, output.theta("dtheta", dtheta)?);
    in_precision!(Precision::of(&[output.element]), R => call.run((), move |call, ()| {
        compute::<R, _, _>(call, [&dgrid], &dtheta, Scalars::PLAIN, |[dgrid], dtheta| {
            engine::affine_grid_backward(dgrid, dtheta);
        })?;
        Ok(served(call, describe(&[&dgrid]), "affine_grid"))
    }))
}

/// `y ← α·sample(x, grid) + β·y`, 0 outside x.
pub fn sample(
    handle: *mut c_void,
    descriptor: *const c_void,
    [alpha, beta]: [*const c_void; 2],
    x: Arg,
    grid: *const c_void,
    y: Arg,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let output = Output::of(descriptor)?;
    let x = Operand::tensor("x", x.0, x.1)?;
    let y = Operand::tensor("y", y.0, y.1)?;
    output.fits(&x, &y)?;
    let grid = output.grid("grid", grid)?;
    let scalars = Scalars::read(alpha, beta, y.desc.element)?;
    in_precision!(Precision::of(&[x.desc.element]), R => call.run((), move |call, ()| {
        compute::<R, _, _>(call, [&x, &grid], &y, scalars, |[x, grid], y| engine::sample_grid(x, grid, y))?;
        Ok(served(call, describe(&[&x, &y]), "sample_grid"))
    }))
}

/// The gradients of x and of the grid.
pub fn sample_backward(
    handle: *mut c_void,
    descriptor: *const c_void,
    [of_x, of_grid]: [[*const c_void; 2]; 2],
    [x, dy]: [Arg; 2],
    grid: *const c_void,
    dx: Arg,
    dgrid: *const c_void,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let output = Output::of(descriptor)?;
    let x = Operand::tensor("x", x.0, x.1)?;
    let dy = Operand::tensor("dy", dy.0, dy.1)?;
    let dx = Operand::tensor("dx", dx.0, dx.1)?;
    output.fits(&x, &dy)?;
    if dx.dims() != x.dims() {
        return Err(Error::InvalidValue("dx"));
    }
    let (grid, dgrid) = (output.grid("grid", grid)?, output.grid("dgrid", dgrid)?);
    let of_x = Scalars::read(of_x[0], of_x[1], x.desc.element)?;
    let of_grid = Scalars::read(of_grid[0], of_grid[1], x.desc.element)?;
    in_precision!(Precision::of(&[x.desc.element]), R => call.run((), move |call, ()| {
        let arriving = [x.fetch::<R>(call)?, dy.fetch::<R>(call)?, grid.fetch::<R>(call)?];
        let mut dx_result = dx.result::<R>(call, of_x)?;
        let mut dgrid_result = dgrid.result::<R>(call, of_grid)?;
        call.transfer.wait()?;
        let [x_data, dy, grid] = arriving.map(super::operand::Arriving::arrived);
        let (x_data, dy, grid) = (x_data?, dy?, grid?);
        engine::sample_grid_backward(
            x_data.view(), dy.view(), grid.view(), dx_result.view(), dgrid_result.view());
        dgrid_result.store(call)?;
        dx_result.store(call)?;
        Ok(served(call, describe(&[&x]), "sample_grid"))
    }))
}
