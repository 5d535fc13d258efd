//! Convolutions of the legacy API: `y ← α·conv(x, w) + β·y`, its two gradients, the bias's gradient, and the
//! convolution with bias and activation.
//!
//! | tensor | shape                  | forward | backward data | backward filter |
//! |--------|------------------------|---------|---------------|-----------------|
//! | x      | [N, C, spatial…]       | read    | written (dx)  | read            |
//! | w      | [K, C/groups, window…] | read    | read          | written (dw)    |
//! | y      | [N, K, spatial…]       | written | read (dy)     | read (dy)       |
//!
//! Elements may lie at any strides. Errors: `BAD_PARAM` a null argument, or shapes that do not belong together;
//! `NOT_SUPPORTED` packed types, more than three spatial axes, outputs whose elements share places. The algorithm and
//! the workspace that a program chooses do not matter here.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-cnn-library.html>.

use std::ffi::c_void;

use gpucompat_engine::{self as engine, Function, Operand as From, ProgramOutput, Real, Reduction, Step};

use super::Arg;
use super::activation::ActivationDesc;
use super::descriptor::{ConvolutionDesc, window_places};
use super::operand::{Operand, Precision, Scalars, compute, describe, scalar, served};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Timing};
use crate::entry::route::Served;
use crate::staging::host_buffer::{HostBuffer, Plain};

macro_rules! cudnn_convolution_forward {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle,
        alpha: *const c_void, x_desc: *const c_void, x: *const c_void, w_desc: *const c_void, w: *const c_void,
        conv_desc: *const c_void, algo: c_int, workspace: *mut c_void, workspace_bytes: usize,
        beta: *const c_void, y_desc: *const c_void, y: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, convolution};
            let conv = convolution::Convolution::read(Arg(x_desc, x), Arg(w_desc, w), conv_desc, Arg(y_desc, y));
            conv.and_then(|conv| convolution::forward(handle, &conv, alpha, beta))
        } } };
}
macro_rules! cudnn_convolution_backward_data {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle,
        alpha: *const c_void, w_desc: *const c_void, w: *const c_void, dy_desc: *const c_void, dy: *const c_void,
        conv_desc: *const c_void, algo: c_int, workspace: *mut c_void, workspace_bytes: usize,
        beta: *const c_void, dx_desc: *const c_void, dx: *mut c_void)
        typed(dy_desc) {
            use $crate::entry::cudnn::{Arg, convolution};
            let conv = convolution::Convolution::read(Arg(dx_desc, dx), Arg(w_desc, w), conv_desc, Arg(dy_desc, dy));
            conv.and_then(|conv| convolution::backward_data(handle, &conv, alpha, beta))
        } } };
}
macro_rules! cudnn_convolution_backward_filter {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle,
        alpha: *const c_void, x_desc: *const c_void, x: *const c_void, dy_desc: *const c_void, dy: *const c_void,
        conv_desc: *const c_void, algo: c_int, workspace: *mut c_void, workspace_bytes: usize,
        beta: *const c_void, dw_desc: *const c_void, dw: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, convolution};
            let conv = convolution::Convolution::read(Arg(x_desc, x), Arg(dw_desc, dw), conv_desc, Arg(dy_desc, dy));
            conv.and_then(|conv| convolution::backward_filter(handle, &conv, alpha, beta))
        } } };
}
macro_rules! cudnn_convolution_backward_bias {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle,
        alpha: *const c_void, dy_desc: *const c_void, dy: *const c_void,
        beta: *const c_void, db_desc: *const c_void, db: *mut c_void)
        typed(dy_desc) {
            use $crate::entry::cudnn::{Arg, convolution};
            convolution::backward_bias(handle, alpha, Arg(dy_desc, dy), beta, Arg(db_desc, db))
        } }
    };
}
macro_rules! cudnn_convolution_bias_activation {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle,
        alpha1: *const c_void, x_desc: *const c_void, x: *const c_void, w_desc: *const c_void, w: *const c_void,
        conv_desc: *const c_void, algo: c_int, workspace: *mut c_void, workspace_bytes: usize,
        alpha2: *const c_void, z_desc: *const c_void, z: *const c_void, bias_desc: *const c_void, bias: *const c_void,
        activation_desc: *const c_void, y_desc: *const c_void, y: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, convolution};
            let conv = convolution::Convolution::read(Arg(x_desc, x), Arg(w_desc, w), conv_desc, Arg(y_desc, y));
            conv.and_then(|conv| convolution::bias_activation(
                handle, &conv, [alpha1, alpha2], Arg(z_desc, z), Arg(bias_desc, bias), activation_desc))
        } } };
}

/// The arguments of a convolution, checked against each other.
#[derive(Clone, Copy)]
pub struct Convolution {
    desc: ConvolutionDesc,
    x: Operand,
    w: Operand,
    y: Operand,
}

impl Convolution {
    /// Reads and checks the descriptors.
    pub fn read(x: Arg, w: Arg, conv: *const c_void, y: Arg) -> Result<Convolution, Error> {
        let desc = ConvolutionDesc::read(conv)?;
        let x = Operand::tensor("x", x.0, x.1)?;
        let w = Operand::filter("w", w.0, w.1)?;
        let y = Operand::tensor("y", y.0, y.1)?;
        let convolution = Convolution { desc, x, w, y };
        convolution.check()?;
        Ok(convolution)
    }

    /// The shapes must be those of one convolution.
    fn check(&self) -> Result<(), Error> {
        let (x, w, y) = (self.x.dims(), self.w.dims(), self.y.dims());
        let (rank, groups) = (x.len(), self.desc.conv.groups);
        if rank < 3 || w.len() != rank || y.len() != rank || rank - 2 != self.desc.axes {
            return Err(Error::InvalidValue("number of axes"));
        }
        if x[0] != y[0] || x[1] != w[1] * groups || y[1] != w[0] || !w[0].is_multiple_of(groups) {
            return Err(Error::InvalidValue("batch or channels"));
        }
        for axis in 0..rank - 2 {
            let conv = &self.desc.conv;
            let (pad, stride, dilation) = (conv.pad[axis], conv.stride[axis], conv.dilation[axis]);
            let window = w[2 + axis].saturating_sub(1) * dilation + 1;
            let places = window_places(x[2 + axis], 2 * pad, window, stride);
            if dilation == 0 || places != Some(y[2 + axis]) {
                return Err(Error::InvalidValue("spatial sizes"));
            }
        }
        Ok(())
    }

    fn precision(&self) -> Precision {
        Precision::of(&[self.x.desc.element, self.w.desc.element, self.y.desc.element, self.desc.compute])
    }

    fn describe(&self) -> String {
        let conv = &self.desc.conv;
        let axes = self.desc.axes;
        format!(
            "{} pad={:?} stride={:?} dilation={:?} groups={}",
            describe(&[&self.x, &self.w, &self.y]),
            &conv.pad[..axes],
            &conv.stride[..axes],
            &conv.dilation[..axes],
            conv.groups
        )
    }
}

/// `y ← α·conv(x, w) + β·y`.
pub fn forward(
    handle: *mut c_void,
    conv: &Convolution,
    alpha: *const c_void,
    beta: *const c_void,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let scalars = Scalars::read(alpha, beta, conv.y.desc.element)?;
    let conv = *conv;
    in_precision!(conv.precision(), R => call.run((), move |call, ()| {
        let kernel = compute::<R, _, _>(call, [&conv.x, &conv.w], &conv.y, scalars, |[x, w], y| {
            engine::conv_forward(&conv.desc.conv, x, w, y)
        })?;
        Ok(served(call, conv.describe(), kernel.name()))
    }))
}

/// `dx ← α·(∂/∂x)ᵀ·dy + β·dx`.
pub fn backward_data(
    handle: *mut c_void,
    conv: &Convolution,
    alpha: *const c_void,
    beta: *const c_void,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let scalars = Scalars::read(alpha, beta, conv.x.desc.element)?;
    let conv = *conv;
    in_precision!(conv.precision(), R => call.run((), move |call, ()| {
        let kernel = compute::<R, _, _>(call, [&conv.w, &conv.y], &conv.x, scalars, |[w, dy], dx| {
            engine::conv_backward_data(&conv.desc.conv, w, dy, dx)
        })?;
        Ok(served(call, conv.describe(), kernel.name()))
    }))
}

/// `dw ← α·(∂/∂w)ᵀ·dy + β·dw`.
pub fn backward_filter(
    handle: *mut c_void,
    conv: &Convolution,
    alpha: *const c_void,
    beta: *const c_void,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let scalars = Scalars::read(alpha, beta, conv.w.desc.element)?;
    let conv = *conv;
    in_precision!(conv.precision(), R => call.run((), move |call, ()| {
        let kernel = compute::<R, _, _>(call, [&conv.x, &conv.y], &conv.w, scalars, |[x, dy], dw| {
            engine::conv_backward_filter(&conv.desc.conv, x, dy, dw)
        })?;
        Ok(served(call, conv.describe(), kernel.name()))
    }))
}

/// `db[c] ← α·Σ dy[n, c, …] + β·db[c]`.
pub fn backward_bias(
    handle: *mut c_void,
    alpha: *const c_void,
    dy: Arg,
    beta: *const c_void,
    db: Arg,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let dy = Operand::tensor("dy", dy.0, dy.1)?;
    let db = Operand::tensor("db", db.0, db.1)?;
    let one_a_channel = |axis: usize| if axis == 1 { dy.dims()[1] } else { 1 };
    if dy.dims().len() < 2 || !db.dims().iter().copied().eq((0..dy.dims().len()).map(one_a_channel)) {
        return Err(Error::InvalidValue("db"));
    }
    let scalars = Scalars::read(alpha, beta, db.desc.element)?;
    in_precision!(Precision::of(&[dy.desc.element, db.desc.element]), R => call.run((), move |call, ()| {
        compute::<R, _, _>(call, [&dy], &db, scalars, |[dy], sums| {
            engine::reduce(Reduction::Add, engine::NanRule::Propagate, dy, sums);
        })?;
        Ok(served(call, describe(&[&dy, &db]), "reduce"))
    }))
}

/// `y ← act(α₁·conv(x, w) + α₂·z + bias)`; z is not read if α₂ = 0 and may be y.
pub fn bias_activation(
    handle: *mut c_void,
    conv: &Convolution,
    [alpha1, alpha2]: [*const c_void; 2],
    z: Arg,
    bias: Arg,
    activation: *const c_void,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let activation = ActivationDesc::read(activation)?;
    let bias = Operand::tensor("bias", bias.0, bias.1)?;
    let channels = |axis: usize| if axis == 1 { conv.y.dims()[1] } else { 1 };
    if !bias.dims().iter().copied().eq((0..conv.y.dims().len()).map(channels)) {
        return Err(Error::InvalidValue("bias"));
    }
    let element = conv.y.desc.element;
    let alphas = [scalar("alpha1", alpha1, element)?, scalar("alpha2", alpha2, element)?];
    let z = if alphas[1] == 0.0 { None } else { Some(Operand::tensor("z", z.0, z.1)?) };
    if z.is_some_and(|z| z.dims() != conv.y.dims()) {
        return Err(Error::InvalidValue("z"));
    }
    let conv = *conv;
    in_precision!(conv.precision(), R => call.run((), move |call, ()| {
        run_fused::<R>(call, &conv, alphas, z, &bias, activation)
    }))
}

fn run_fused<R: Real + Plain>(
    call: &Call,
    conv: &Convolution,
    [alpha1, alpha2]: [f64; 2],
    z: Option<Operand>,
    bias: &Operand,
    activation: ActivationDesc,
) -> Result<Served, Error> {
    let (x, w) = (conv.x.fetch::<R>(call)?, conv.w.fetch::<R>(call)?);
    let z = z.map(|z| z.fetch::<R>(call)).transpose()?;
    let bias = bias.fetch::<R>(call)?;
    let mut y = conv.y.result::<R>(call, Scalars::PLAIN)?;
    call.transfer.wait()?;
    let layout = y.view().layout;
    let mut sums = HostBuffer::<R>::zeroed(layout.extent())?;
    let kernel = engine::conv_forward(
        &conv.desc.conv,
        x.arrived()?.view(),
        w.arrived()?.view(),
        engine::TensorMut::new(&mut sums, layout),
    );
    let (bias, z) = (bias.arrived()?, z.map(super::operand::Arriving::arrived).transpose()?);
    let mut inputs = vec![engine::TensorRef::new(&sums, layout), bias.view()];
    inputs.extend(z.as_ref().map(super::operand::Arrived::view));
    let unused = From::Constant(0.0);
    let scaled = |input, factor| Step {
        function: Function::Mul,
        operands: [From::Input(input), From::Constant(factor), unused],
    };
    let sum = |a, b| Step { function: Function::Add, operands: [a, b, unused] };
    let mut steps = vec![scaled(0, alpha1)];
    if z.is_some() {
        steps.push(scaled(2, alpha2));
        steps.push(sum(From::Step(0), From::Step(1)));
    }
    steps.push(sum(From::Step(steps.len() - 1), From::Input(1)));
    let value = From::Step(steps.len() - 1);
    activation.append(&mut steps, value);
    let step = steps.len() - 1;
    engine::pointwise(&steps, &inputs, &mut [ProgramOutput { step, tensor: y.view() }]);
    y.store(call)?;
    Ok(served(call, conv.describe(), kernel.name()))
}
