//! Batch normalization: `y ← α·act(scale·(x − mean)/√(variance + ε) + bias + z) + β·y`; its gradients are in
//! [`super::batch_norm_backward`].
//!
//! | mode               | statistics and parameters | over          |
//! |--------------------|---------------------------|---------------|
//! | spatial, persistent| 1×C×1×1                   | batch, space  |
//! | per activation     | 1×C×H×W                   | batch         |
//!
//! Training updates the running statistics, `running ← (1 − f)·running + f·new`, with the unbiased variance; f = 1 does
//! not read them. It may keep the mean and 1/√(variance + ε) for the backward pass, which computes them anew if it gets
//! none. The derivative of the activation (a relu in cuDNN) is taken from y. No workspace, no reserve space.
//! Errors: `BAD_PARAM` null, or sizes that do not belong together.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html>.

#![allow(clippy::not_unsafe_ptr_arg_deref)] // called by the exported functions only, which are unsafe

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::{cudnnBatchNormMode_t as Mode, cudnnBatchNormOps_t as Ops};
use gpucompat_engine::{
    self as engine, Centering, Function, Layout, Normalization, Operand as From, ProgramOutput, Real, Step,
    TensorMut, TensorRef,
};

use super::Arg;
use super::activation::ActivationDesc;
use super::descriptor::{TensorDesc, choice};
use super::operand::{Arrived, Arriving, Operand, Precision, Scalars, describe, optional, served};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Timing};
use crate::entry::route::Served;
use crate::staging::host_buffer::{HostBuffer, Plain};

macro_rules! cudnn_batch_norm_inference {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle, mode: c_int, alpha: *const c_void, beta: *const c_void,
        x_desc: *const c_void, x: *const c_void, y_desc: *const c_void, y: *mut c_void,
        params_desc: *const c_void, scale: *const c_void, bias: *const c_void,
        mean: *const c_void, variance: *const c_void, epsilon: f64)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, batch_norm};
            batch_norm::inference(handle, [alpha, beta], Arg(x_desc, x), Arg(y_desc, y),
                batch_norm::Parameters { mode, desc: params_desc, epsilon }, [scale, bias, mean, variance])
        } }
    };
}
macro_rules! cudnn_batch_norm_training {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle, mode: c_int, alpha: *const c_void, beta: *const c_void,
        x_desc: *const c_void, x: *const c_void, y_desc: *const c_void, y: *mut c_void,
        params_desc: *const c_void, scale: *const c_void, bias: *const c_void,
        factor: f64, running_mean: *mut c_void, running_variance: *mut c_void, epsilon: f64,
        saved_mean: *mut c_void, saved_inv_std: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, batch_norm};
            batch_norm::training(handle, &batch_norm::Training {
                scalars: [alpha, beta], x: Arg(x_desc, x), y: Arg(y_desc, y),
                params: batch_norm::Parameters { mode, desc: params_desc, epsilon }, scale, bias,
                factor, running: [running_mean, running_variance], saved: [saved_mean, saved_inv_std],
                fused: batch_norm::Fused::nothing() })
        } }
    };
}
macro_rules! cudnn_batch_norm_training_ex {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle, mode: c_int, ops: c_int,
        alpha: *const c_void, beta: *const c_void, x_desc: *const c_void, x: *const c_void,
        z_desc: *const c_void, z: *const c_void, y_desc: *const c_void, y: *mut c_void,
        params_desc: *const c_void, scale: *const c_void, bias: *const c_void,
        factor: f64, running_mean: *mut c_void, running_variance: *mut c_void, epsilon: f64,
        saved_mean: *mut c_void, saved_inv_std: *mut c_void, activation_desc: *const c_void,
        workspace: *mut c_void, workspace_bytes: usize, reserve: *mut c_void, reserve_bytes: usize)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, batch_norm};
            batch_norm::Fused::read(ops, activation_desc, Arg(z_desc, z)).and_then(|fused|
            batch_norm::training(handle, &batch_norm::Training {
                scalars: [alpha, beta], x: Arg(x_desc, x), y: Arg(y_desc, y),
                params: batch_norm::Parameters { mode, desc: params_desc, epsilon }, scale, bias,
                factor, running: [running_mean, running_variance], saved: [saved_mean, saved_inv_std],
                fused }))
        } }
    };
}
macro_rules! cudnn_batch_norm_forward_workspace_size {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, mode: c_int, ops: c_int,
        x_desc: *const c_void, z_desc: *const c_void, y_desc: *const c_void, params_desc: *const c_void,
        activation_desc: *const c_void, bytes: *mut usize)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::algorithms::write(bytes, 0, "sizeInBytes") }
    };
}
macro_rules! cudnn_batch_norm_reserve_size {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, mode: c_int, ops: c_int,
        activation_desc: *const c_void, x_desc: *const c_void, bytes: *mut usize)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::algorithms::write(bytes, 0, "sizeInBytes") }
    };
}

const UNUSED: From = From::Constant(0.0);

/// What follows the normalization in one call: `cudnnBatchNormOps_t`.
#[derive(Clone, Copy)]
pub struct Fused {
    /// The activation.
    pub activation: Option<ActivationDesc>,
    /// z, or dz.
    pub addend: Option<Arg>,
}

impl Fused {
    /// Nothing follows.
    pub fn nothing() -> Fused {
        Fused { activation: None, addend: None }
    }

    /// Reads what the Ex functions are told.
    pub fn read(ops: c_int, activation: *const c_void, addend: Arg) -> Result<Fused, Error> {
        let rows = [
            (Ops::CUDNN_BATCHNORM_OPS_BN as c_int, (false, false)),
            (Ops::CUDNN_BATCHNORM_OPS_BN_ACTIVATION as c_int, (true, false)),
            (Ops::CUDNN_BATCHNORM_OPS_BN_ADD_ACTIVATION as c_int, (true, true)),
        ];
        let (activates, adds) = choice(ops, &rows, "bnOps")?;
        let activation = if activates { Some(ActivationDesc::read(activation)?) } else { None };
        if activation.is_some_and(|activation| !activation.is_relu()) {
            return Err(Error::NotSupported("batch normalization with an activation other than relu"));
        }
        Ok(Fused { activation, addend: adds.then_some(addend) })
    }
}

/// What scale, bias and statistics belong to.
#[derive(Clone, Copy)]
pub struct Parameters {
    /// A `cudnnBatchNormMode_t`.
    pub mode: c_int,
    /// Their descriptor.
    pub desc: *const c_void,
    /// ε.
    pub epsilon: f64,
}

/// x, and the layout of the parameters, which the mode decides.
pub fn x_and_params(x: Arg, params: Parameters) -> Result<(Operand, TensorDesc), Error> {
    let x = Operand::tensor("x", x.0, x.1)?;
    let desc = TensorDesc::read(params.desc, "bnScaleBiasMeanVarDesc")?;
    let spatial = [
        (Mode::CUDNN_BATCHNORM_PER_ACTIVATION as c_int, false),
        (Mode::CUDNN_BATCHNORM_SPATIAL as c_int, true),
        (Mode::CUDNN_BATCHNORM_SPATIAL_PERSISTENT as c_int, true),
    ];
    let spatial = choice(params.mode, &spatial, "mode")?;
    if params.epsilon.is_nan() || params.epsilon < 0.0 {
        return Err(Error::InvalidValue("epsilon"));
    }
    let wanted = |(axis, &size): (usize, &usize)| if axis == 0 || axis > 1 && spatial { 1 } else { size };
    let fits = desc.layout.dims().iter().copied().eq(x.dims().iter().enumerate().map(wanted));
    if fits { Ok((x, desc)) } else { Err(Error::InvalidValue("bnScaleBiasMeanVarDesc")) }
}

/// Two arguments that are both there or both null.
pub fn both_or_none(pair: [*const c_void; 2], argument: &'static str) -> Result<(), Error> {
    if pair[0].is_null() == pair[1].is_null() { Ok(()) } else { Err(Error::InvalidValue(argument)) }
}

/// A tensor argument of these sizes.
pub fn same_sizes(name: &'static str, arg: Arg, as_of: &Operand) -> Result<Operand, Error> {
    let operand = Operand::tensor(name, arg.0, arg.1)?;
    if operand.dims() == as_of.dims() { Ok(operand) } else { Err(Error::InvalidValue(name)) }
}

/// `1/√(variance + ε)`.
pub fn inverse_deviation<R: Real>(variance: TensorRef<'_, R>, epsilon: f64, inv_std: TensorMut<'_, R>) {
    let steps = [
        Step { function: Function::Add, operands: [From::Input(0), From::Constant(epsilon), UNUSED] },
        Step { function: Function::Rsqrt, operands: [From::Step(0), UNUSED, UNUSED] },
    ];
    engine::pointwise(&steps, &[variance], &mut [ProgramOutput { step: 1, tensor: inv_std }]);
}

/// With given statistics. Errors as the module's.
pub fn inference(
    handle: *mut c_void,
    [alpha, beta]: [*const c_void; 2],
    x: Arg,
    y: Arg,
    params: Parameters,
    [scale, bias, mean, variance]: [*const c_void; 4],
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let epsilon = params.epsilon;
    let (x, params) = x_and_params(x, params)?;
    let y = same_sizes("y", y, &x)?;
    let parameter = |name, data| Operand::of(name, params, data);
    let operands = [
        parameter("bnScale", scale)?,
        parameter("bnBias", bias)?,
        parameter("estimatedMean", mean)?,
        parameter("estimatedVariance", variance)?,
    ];
    let scalars = Scalars::read(alpha, beta, x.desc.element)?;
    in_precision!(Precision::of(&[x.desc.element, params.element]), R => call.run((), move |call, ()| {
        let arriving = x.fetch::<R>(call)?;
        let [scale, bias, mean, variance] = operands;
        let (scale, bias) = (scale.fetch::<R>(call)?, bias.fetch::<R>(call)?);
        let (mean, variance) = (mean.fetch::<R>(call)?, variance.fetch::<R>(call)?);
        let mut result = y.result::<R>(call, scalars)?;
        call.transfer.wait()?;
        let (scale, bias) = (scale.arrived()?, bias.arrived()?);
        let (mean, variance) = (mean.arrived()?, variance.arrived()?);
        let layout = Layout::packed(params.layout.dims());
        let mut inv_std = HostBuffer::<R>::zeroed(layout.extent())?;
        inverse_deviation(variance.view(), epsilon, TensorMut::new(&mut inv_std, layout));
        let by = Normalization {
            mean: mean.view(),
            inv_std: TensorRef::new(&inv_std, layout),
            scale: Some(scale.view()),
            bias: Some(bias.view()),
        };
        engine::normalize(arriving.arrived()?.view(), &by, result.view());
        result.store(call)?;
        Ok(served(call, describe(&[&x]), "normalize"))
    }))
}

/// The arguments of a training call.
pub struct Training {
    /// α and β.
    pub scalars: [*const c_void; 2],
    /// x.
    pub x: Arg,
    /// y.
    pub y: Arg,
    /// The parameters.
    pub params: Parameters,
    /// Scale.
    pub scale: *const c_void,
    /// Bias.
    pub bias: *const c_void,
    /// The exponential average's factor f.
    pub factor: f64,
    /// Running mean and variance, or null.
    pub running: [*mut c_void; 2],
    /// Where to keep mean and inverse deviation, or null.
    pub saved: [*mut c_void; 2],
    /// What follows.
    pub fused: Fused,
}

/// With the batch's statistics.
pub fn training(handle: *mut c_void, args: &Training) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let (x, params) = x_and_params(args.x, args.params)?;
    both_or_none(args.running.map(<*mut c_void>::cast_const), "resultRunningMean")?;
    both_or_none(args.saved.map(<*mut c_void>::cast_const), "resultSaveMean")?;
    let y = same_sizes("y", args.y, &x)?;
    let z = args.fused.addend.map(|z| same_sizes("z", z, &x)).transpose()?;
    let scale = Operand::of("bnScale", params, args.scale)?;
    let bias = Operand::of("bnBias", params, args.bias)?;
    let scalars = Scalars::read(args.scalars[0], args.scalars[1], x.desc.element)?;
    let average = Scalars { alpha: args.factor, beta: 1.0 - args.factor };
    let kept =
        |name, data: *mut c_void, scalars| optional(data, || Ok((Operand::of(name, params, data)?, scalars)));
    let kept = [
        kept("resultRunningMean", args.running[0], average)?,
        kept("resultRunningVariance", args.running[1], average)?,
        kept("resultSaveMean", args.saved[0], Scalars::PLAIN)?,
        kept("resultSaveInvVariance", args.saved[1], Scalars::PLAIN)?,
    ];
    let (epsilon, activation) = (args.params.epsilon, args.fused.activation);
    let pass = Pass { x, y, z, scale, bias, scalars, kept, params, epsilon, activation };
    let precision = Precision::of(&[x.desc.element, params.element]);
    in_precision!(precision, R => call.run(pass, train::<R>))
}

/// A training call, validated.
struct Pass {
    x: Operand,
    y: Operand,
    z: Option<Operand>,
    scale: Operand,
    bias: Operand,
    scalars: Scalars,
    /// Running mean and variance, kept mean and inverse deviation; how each is blended with what it holds.
    kept: [Option<(Operand, Scalars)>; 4],
    params: TensorDesc,
    epsilon: f64,
    activation: Option<ActivationDesc>,
}

fn train<R: Real + Plain>(call: &Call, pass: &Pass) -> Result<Served, Error> {
    let (x, params) = (&pass.x, pass.params);
    let mut kept = pass
        .kept
        .iter()
        .map(|kept| kept.map(|(operand, scalars)| operand.result::<R>(call, scalars)).transpose());
    let mut next = || kept.next().unwrap_or(Ok(None));
    let (running_mean, running_variance) = (next()?, next()?);
    let (saved_mean, saved_inv_std) = (next()?, next()?);
    let (x_data, scale) = (x.fetch::<R>(call)?, pass.scale.fetch::<R>(call)?);
    let bias = pass.bias.fetch::<R>(call)?;
    let z = pass.z.map(|z| z.fetch::<R>(call)).transpose()?;
    let mut result = pass.y.result::<R>(call, pass.scalars)?;
    call.transfer.wait()?;
    let (x_data, scale, bias) = (x_data.arrived()?, scale.arrived()?, bias.arrived()?);
    let z = z.map(Arriving::arrived).transpose()?;
    let statistics = Statistics::of(x_data.view(), params.layout, pass.epsilon)?;
    let by = statistics.normalization(Some(scale.view()), Some(bias.view()));
    finish(x_data.view(), &by, pass.activation, z.as_ref().map(Arrived::view), result.view())?;
    let count = x.dims().iter().product::<usize>() / params.layout.elements().max(1);
    let unbiased = if count > 1 { count as f64 / (count as f64 - 1.0) } else { 1.0 };
    for (kept, values, factor) in [
        (running_mean, &statistics.mean, 1.0),
        (running_variance, &statistics.variance, unbiased),
        (saved_mean, &statistics.mean, 1.0),
        (saved_inv_std, &statistics.inv_std, 1.0),
    ] {
        if let Some(mut kept) = kept {
            scaled(TensorRef::new(values, statistics.layout), factor, kept.view());
            kept.store(call)?;
        }
    }
    result.store(call)?;
    Ok(served(call, describe(&[x]), "normalize"))
}

/// `to ← factor·from`.
pub fn scaled<R: Real>(from: TensorRef<'_, R>, factor: f64, to: TensorMut<'_, R>) {
    let steps =
        [Step { function: Function::Mul, operands: [From::Input(0), From::Constant(factor), UNUSED] }];
    engine::pointwise(&steps, &[from], &mut [ProgramOutput { step: 0, tensor: to }]);
}

/// `y ← act(normalized + z)`.
fn finish<R: Real + Plain>(
    x: TensorRef<'_, R>,
    by: &Normalization<'_, R>,
    activation: Option<ActivationDesc>,
    z: Option<TensorRef<'_, R>>,
    y: TensorMut<'_, R>,
) -> Result<(), Error> {
    let Some(activation) = activation else {
        engine::normalize(x, by, y);
        return Ok(());
    };
    let layout = y.layout;
    let mut normalized = HostBuffer::<R>::zeroed(layout.extent())?;
    engine::normalize(x, by, TensorMut::new(&mut normalized, layout));
    let mut inputs = vec![TensorRef::new(&normalized, layout)];
    let mut steps = Vec::new();
    let mut value = From::Input(0);
    if let Some(z) = z {
        inputs.push(z);
        steps.push(Step { function: Function::Add, operands: [value, From::Input(1), UNUSED] });
        value = From::Step(0);
    }
    activation.append(&mut steps, value);
    engine::pointwise(&steps, &inputs, &mut [ProgramOutput { step: steps.len() - 1, tensor: y }]);
    Ok(())
}

/// Mean, variance and 1/√(variance + ε) of a batch.
pub struct Statistics<R: Plain> {
    layout: Layout,
    mean: HostBuffer<R>,
    variance: HostBuffer<R>,
    inv_std: HostBuffer<R>,
}

impl<R: Real + Plain> Statistics<R> {
    /// The statistics of x.
    pub fn of(x: TensorRef<'_, R>, params: Layout, epsilon: f64) -> Result<Statistics<R>, Error> {
        let layout = Layout::packed(params.dims());
        let room = || HostBuffer::<R>::zeroed(layout.extent());
        let mut new = Statistics { layout, mean: room()?, variance: room()?, inv_std: room()? };
        let (mean, variance) =
            (TensorMut::new(&mut new.mean, layout), TensorMut::new(&mut new.variance, layout));
        engine::statistics(Centering::Mean, x, mean, variance);
        inverse_deviation(
            TensorRef::new(&new.variance, layout),
            epsilon,
            TensorMut::new(&mut new.inv_std, layout),
        );
        Ok(new)
    }

    /// The normalization by them.
    pub fn normalization<'a>(
        &'a self,
        scale: Option<TensorRef<'a, R>>,
        bias: Option<TensorRef<'a, R>>,
    ) -> Normalization<'a, R> {
        Normalization {
            mean: TensorRef::new(&self.mean, self.layout),
            inv_std: TensorRef::new(&self.inv_std, self.layout),
            scale,
            bias,
        }
    }
}
