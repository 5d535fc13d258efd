//! The gradients of batch normalization, through the batch's statistics.
//!
//! `dx ← α·… + β·dx`, `dscale` and `dbias` with factors of their own, `dz` plain. The derivative of the activation is
//! taken from y. Mean and inverse deviation are those that the forward call kept, or are computed anew.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html>.

use std::ffi::c_void;

use gpucompat_engine::{
    self as engine, Centering, Normalization, NormalizationGradients, ProgramOutput, Real, TensorMut,
    TensorRef,
};

use super::Arg;
use super::activation::ActivationDesc;
use super::batch_norm::{Parameters, Statistics, both_or_none, same_sizes, scaled, x_and_params};
use super::descriptor::TensorDesc;
use super::operand::{Arriving, Operand, Precision, Scalars, describe, served};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Timing};
use crate::entry::route::Served;
use crate::staging::host_buffer::{HostBuffer, Plain};

macro_rules! cudnn_batch_norm_backward {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle, mode: c_int,
        alpha_data: *const c_void, beta_data: *const c_void, alpha_params: *const c_void, beta_params: *const c_void,
        x_desc: *const c_void, x: *const c_void, dy_desc: *const c_void, dy: *const c_void,
        dx_desc: *const c_void, dx: *mut c_void, params_desc: *const c_void, scale: *const c_void,
        dscale: *mut c_void, dbias: *mut c_void, epsilon: f64, mean: *const c_void, inv_std: *const c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, batch_norm_backward};
            batch_norm_backward::backward(handle, &batch_norm_backward::Backward {
                data: [alpha_data, beta_data], parameters: [alpha_params, beta_params],
                x: Arg(x_desc, x), y: None, dy: Arg(dy_desc, dy), dx: Arg(dx_desc, dx), dz: None,
                params: $crate::entry::cudnn::batch_norm::Parameters { mode, desc: params_desc, epsilon },
                scale, dscale, dbias, saved: [mean, inv_std], activation: None })
        } } };
}
macro_rules! cudnn_batch_norm_backward_ex {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle, mode: c_int, ops: c_int,
        alpha_data: *const c_void, beta_data: *const c_void, alpha_params: *const c_void, beta_params: *const c_void,
        x_desc: *const c_void, x: *const c_void, y_desc: *const c_void, y: *const c_void,
        dy_desc: *const c_void, dy: *const c_void, dz_desc: *const c_void, dz: *mut c_void,
        dx_desc: *const c_void, dx: *mut c_void, params_desc: *const c_void, scale: *const c_void, bias: *const c_void,
        dscale: *mut c_void, dbias: *mut c_void, epsilon: f64, mean: *const c_void, inv_std: *const c_void,
        activation_desc: *const c_void, workspace: *mut c_void, workspace_bytes: usize,
        reserve: *mut c_void, reserve_bytes: usize)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, batch_norm, batch_norm_backward};
            batch_norm::Fused::read(ops, activation_desc, Arg(dz_desc, dz)).and_then(|fused|
            batch_norm_backward::backward(handle, &batch_norm_backward::Backward {
                data: [alpha_data, beta_data], parameters: [alpha_params, beta_params],
                x: Arg(x_desc, x), y: fused.activation.map(|_| Arg(y_desc, y)), dy: Arg(dy_desc, dy),
                dx: Arg(dx_desc, dx), dz: fused.addend,
                params: batch_norm::Parameters { mode, desc: params_desc, epsilon },
                scale, dscale, dbias, saved: [mean, inv_std], activation: fused.activation }))
        } } };
}
macro_rules! cudnn_batch_norm_backward_workspace_size {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, mode: c_int, ops: c_int,
        x_desc: *const c_void, y_desc: *const c_void, dy_desc: *const c_void, dz_desc: *const c_void,
        dx_desc: *const c_void, params_desc: *const c_void, activation_desc: *const c_void, bytes: *mut usize)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::algorithms::write(bytes, 0, "sizeInBytes") }
    };
}

/// The arguments of a backward call.
pub struct Backward {
    /// α and β of dx.
    pub data: [*const c_void; 2],
    /// α and β of dscale and dbias.
    pub parameters: [*const c_void; 2],
    /// x.
    pub x: Arg,
    /// y, if an activation follows.
    pub y: Option<Arg>,
    /// dy.
    pub dy: Arg,
    /// dx.
    pub dx: Arg,
    /// dz, if an addition follows.
    pub dz: Option<Arg>,
    /// The parameters.
    pub params: Parameters,
    /// Scale.
    pub scale: *const c_void,
    /// Gradient of the scale.
    pub dscale: *mut c_void,
    /// Gradient of the bias.
    pub dbias: *mut c_void,
    /// Mean and inverse deviation of the forward call, or null.
    pub saved: [*const c_void; 2],
    /// The activation that follows.
    pub activation: Option<ActivationDesc>,
}

/// The gradients of x, scale, bias and z.
pub fn backward(handle: *mut c_void, args: &Backward) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let (x, params) = x_and_params(args.x, args.params)?;
    both_or_none(args.saved, "savedMean")?;
    let saved = if args.saved[0].is_null() {
        None
    } else {
        let mean = Operand::of("savedMean", params, args.saved[0])?;
        Some((mean, Operand::of("savedInvVariance", params, args.saved[1])?))
    };
    let pass = Pass {
        x,
        dy: same_sizes("dy", args.dy, &x)?,
        y: args.y.map(|y| same_sizes("y", y, &x)).transpose()?,
        dx: same_sizes("dx", args.dx, &x)?,
        dz: args.dz.map(|dz| same_sizes("dz", dz, &x)).transpose()?,
        scale: Operand::of("bnScale", params, args.scale)?,
        dscale: Operand::of("dBnScaleResult", params, args.dscale)?,
        dbias: Operand::of("dBnBiasResult", params, args.dbias)?,
        saved,
        data: Scalars::read(args.data[0], args.data[1], x.desc.element)?,
        parameters: Scalars::read(args.parameters[0], args.parameters[1], x.desc.element)?,
        params,
        epsilon: args.params.epsilon,
        activation: args.activation,
    };
    let precision = Precision::of(&[x.desc.element, params.element]);
    in_precision!(precision, R => call.run(pass, differentiate::<R>))
}

/// A backward call, validated.
struct Pass {
    x: Operand,
    dy: Operand,
    y: Option<Operand>,
    dx: Operand,
    dz: Option<Operand>,
    scale: Operand,
    dscale: Operand,
    dbias: Operand,
    /// Mean and inverse deviation.
    saved: Option<(Operand, Operand)>,
    /// How dx is blended with what it holds.
    data: Scalars,
    /// How dscale and dbias are.
    parameters: Scalars,
    params: TensorDesc,
    epsilon: f64,
    activation: Option<ActivationDesc>,
}

fn differentiate<R: Real + Plain>(call: &Call, pass: &Pass) -> Result<Served, Error> {
    let x = &pass.x;
    let mut dx = pass.dx.result::<R>(call, pass.data)?;
    let dz = pass.dz.map(|dz| dz.result::<R>(call, Scalars::PLAIN)).transpose()?;
    let mut dscale = pass.dscale.result::<R>(call, pass.parameters)?;
    let mut dbias = pass.dbias.result::<R>(call, pass.parameters)?;
    let scale = pass.scale.fetch::<R>(call)?;
    let fetch_both = |(mean, inv_std): (Operand, Operand)| {
        Ok::<_, Error>((mean.fetch::<R>(call)?, inv_std.fetch::<R>(call)?))
    };
    let saved = pass.saved.map(fetch_both).transpose()?;
    let (x_data, dy) = (x.fetch::<R>(call)?, pass.dy.fetch::<R>(call)?);
    let y = pass.y.map(|y| y.fetch::<R>(call)).transpose()?;
    call.transfer.wait()?;
    let (x_data, dy, scale) = (x_data.arrived()?, dy.arrived()?, scale.arrived()?);
    let saved = saved.map(|(mean, inv)| Ok::<_, Error>((mean.arrived()?, inv.arrived()?))).transpose()?;
    let y = y.map(Arriving::arrived).transpose()?;
    let activated = match (&y, pass.activation) {
        (Some(y), Some(activation)) => {
            let mut activated = HostBuffer::<R>::zeroed(dy.view().layout.extent())?;
            let steps = activation.gradient();
            let tensor = TensorMut::new(&mut activated, dy.view().layout);
            let output = ProgramOutput { step: steps.len() - 1, tensor };
            engine::pointwise(&steps, &[y.view(), dy.view(), y.view()], &mut [output]);
            Some(activated)
        }
        _ => None,
    };
    let dy = activated.as_ref().map_or(dy.view(), |values| TensorRef::new(values, dy.view().layout));
    let fresh = match &saved {
        Some(_) => None,
        None => Some(Statistics::of(x_data.view(), pass.params.layout, pass.epsilon)?),
    };
    let by = match (&saved, &fresh) {
        (Some((mean, inv_std)), _) => Normalization {
            mean: mean.view(),
            inv_std: inv_std.view(),
            scale: Some(scale.view()),
            bias: None,
        },
        (None, Some(fresh)) => fresh.normalization(Some(scale.view()), None),
        (None, None) => return Err(Error::Internal),
    };
    let out =
        NormalizationGradients { dx: dx.view(), dscale: Some(dscale.view()), dbias: Some(dbias.view()) };
    engine::normalize_backward(Centering::Mean, x_data.view(), dy, &by, out);
    if let Some(mut dz) = dz {
        scaled(dy, 1.0, dz.view());
        dz.store(call)?;
    }
    dscale.store(call)?;
    dbias.store(call)?;
    dx.store(call)?;
    Ok(served(call, describe(&[x]), "normalize"))
}
