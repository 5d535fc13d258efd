//! `cudnnActivationForward`, `cudnnActivationBackward`: `y ← α·f(x) + β·y`.
//!
//! | mode         | f(x)                        | f′, from y (swish: from x)      |
//! |--------------|-----------------------------|---------------------------------|
//! | sigmoid      | 1/(1 + e^−x)                | y·(1 − y)                       |
//! | relu         | max(0, x)                   | y > 0                           |
//! | tanh         | tanh x                      | 1 − y²                          |
//! | clipped relu | min(coef, max(0, x))        | 0 < y < coef                    |
//! | elu          | x > 0: x; else coef·(e^x − 1) | y > 0: 1; else y + coef       |
//! | identity     | x                           | 1                               |
//! | swish        | x·sigmoid(β·x)              | of x                            |
//!
//! Of NaN the relus make NaN, or 0 if the descriptor does not propagate it; the other functions make NaN.
//! Derivatives are taken from y, so that the forward call may have been made in place. Errors: `BAD_PARAM` null or
//! tensors of different sizes.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html#cudnnactivationforward>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::cudnnActivationMode_t as Mode;
use gpucompat_engine::{self as engine, Comparison, Function, NanRule, Operand as From, ProgramOutput, Step};

use super::Arg;
use super::descriptor::choice;
use super::operand::{Operand, Precision, Scalars, compute, describe, served};
use super::reduce::nan_rule;
use crate::boundary::status::Error;
use crate::entry::call::{Call, Timing};
use crate::entry::route::Served;

macro_rules! cudnn_activation_forward {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle, activation_desc: *const c_void,
        alpha: *const c_void, x_desc: *const c_void, x: *const c_void,
        beta: *const c_void, y_desc: *const c_void, y: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, activation};
            activation::forward(handle, activation_desc, alpha, Arg(x_desc, x), beta, Arg(y_desc, y))
        } }
    };
}
macro_rules! cudnn_activation_backward {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle, activation_desc: *const c_void,
        alpha: *const c_void, y_desc: *const c_void, y: *const c_void, dy_desc: *const c_void, dy: *const c_void,
        x_desc: *const c_void, x: *const c_void, beta: *const c_void, dx_desc: *const c_void, dx: *mut c_void)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, activation};
            activation::backward(handle, activation_desc, [alpha, beta],
                [Arg(y_desc, y), Arg(dy_desc, dy), Arg(x_desc, x)], Arg(dx_desc, dx))
        } } };
}

/// The function of an activation descriptor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ActivationDesc {
    /// 1/(1 + e^−x).
    Sigmoid,
    /// max(0, x).
    Relu {
        /// `reluNanOpt`.
        nan: NanRule,
    },
    /// tanh x.
    Tanh,
    /// min(ceiling, max(0, x)).
    ClippedRelu {
        /// The descriptor's `coef`.
        ceiling: f64,
        /// `reluNanOpt`.
        nan: NanRule,
    },
    /// x, or α·(e^x − 1) below 0.
    Elu {
        /// The descriptor's `coef`.
        alpha: f64,
    },
    /// x.
    Identity,
    /// x·sigmoid(β·x).
    Swish {
        /// `cudnnSetActivationDescriptorSwishBeta`.
        beta: f64,
    },
}

const UNUSED: From = From::Constant(0.0);

impl ActivationDesc {
    /// Reads a `cudnnActivationDescriptor_t`.
    pub fn read(descriptor: *const c_void) -> Result<ActivationDesc, Error> {
        const NAME: &str = "activationDesc";
        let (mut mode, mut nan, mut coef, mut beta) = (0, 0, 0.0, 1.0);
        if descriptor.is_null() {
            return Err(Error::InvalidValue(NAME));
        }
        ask!(cudnnGetActivationDescriptor for NAME, descriptor => *const c_void, &raw mut mode => *mut c_int,
            &raw mut nan => *mut c_int, &raw mut coef => *mut f64)?;
        if mode == Mode::CUDNN_ACTIVATION_SWISH as c_int {
            ask!(cudnnGetActivationDescriptorSwishBeta for NAME, descriptor => *const c_void,
                &raw mut beta => *mut f64)?;
        }
        let nan = nan_rule(nan)?;
        let rows = [
            (Mode::CUDNN_ACTIVATION_SIGMOID as c_int, ActivationDesc::Sigmoid),
            (Mode::CUDNN_ACTIVATION_RELU as c_int, ActivationDesc::Relu { nan }),
            (Mode::CUDNN_ACTIVATION_TANH as c_int, ActivationDesc::Tanh),
            (
                Mode::CUDNN_ACTIVATION_CLIPPED_RELU as c_int,
                ActivationDesc::ClippedRelu { ceiling: coef, nan },
            ),
            (Mode::CUDNN_ACTIVATION_ELU as c_int, ActivationDesc::Elu { alpha: coef }),
            (Mode::CUDNN_ACTIVATION_IDENTITY as c_int, ActivationDesc::Identity),
            (Mode::CUDNN_ACTIVATION_SWISH as c_int, ActivationDesc::Swish { beta }),
        ];
        choice(mode, &rows, NAME)
    }

    /// Adds the steps that compute f(value) to a program; the last one has the result.
    pub fn append(self, steps: &mut Vec<Step>, mut value: From) {
        if let ActivationDesc::Relu { nan: NanRule::Ignore }
        | ActivationDesc::ClippedRelu { nan: NanRule::Ignore, .. } = self
        {
            let number = From::Step(steps.len());
            steps
                .push(Step { function: Function::Compare(Comparison::Eq), operands: [value, value, UNUSED] });
            steps.push(Step { function: Function::Select, operands: [number, value, UNUSED] });
            value = From::Step(steps.len() - 1);
        }
        steps.push(Step { function: self.function(), operands: [value, UNUSED, UNUSED] });
    }

    /// Whether it is max(0, x).
    pub fn is_relu(self) -> bool {
        matches!(self, ActivationDesc::Relu { .. })
    }

    /// The engine's function.
    fn function(self) -> Function {
        let clipped = |upper| Function::Relu { lower: 0.0, upper, slope: 0.0 };
        match self {
            ActivationDesc::Sigmoid => Function::Sigmoid,
            ActivationDesc::Relu { .. } => clipped(f64::INFINITY),
            ActivationDesc::Tanh => Function::Tanh,
            ActivationDesc::ClippedRelu { ceiling, .. } => clipped(ceiling),
            ActivationDesc::Elu { alpha } => Function::Elu { alpha },
            ActivationDesc::Identity => Function::Identity,
            ActivationDesc::Swish { beta } => Function::Swish { beta },
        }
    }

    /// The steps from inputs y (0), dy (1) and x (2) to dx.
    pub fn gradient(self) -> Vec<Step> {
        const Y: From = From::Input(0);
        const DY: From = From::Input(1);
        const X: From = From::Input(2);
        let one = From::Constant(1.0);
        let step = |function, operands| Step { function, operands };
        let two = |function, a, b| step(function, [a, b, UNUSED]);
        let above = |limit| two(Function::Compare(Comparison::Gt), Y, From::Constant(limit));
        let select = |mask, dy, other| step(Function::Select, [mask, dy, other]);
        match self {
            ActivationDesc::Sigmoid => vec![
                two(Function::Sub, one, Y),
                two(Function::Mul, Y, From::Step(0)),
                two(Function::Mul, DY, From::Step(1)),
            ],
            ActivationDesc::Relu { .. } => vec![above(0.0), select(From::Step(0), DY, UNUSED)],
            ActivationDesc::Tanh => vec![
                two(Function::Mul, Y, Y),
                two(Function::Sub, one, From::Step(0)),
                two(Function::Mul, DY, From::Step(1)),
            ],
            ActivationDesc::ClippedRelu { ceiling, .. } => vec![
                above(0.0),
                two(Function::Compare(Comparison::Lt), Y, From::Constant(ceiling)),
                two(Function::LogicalAnd, From::Step(0), From::Step(1)),
                select(From::Step(2), DY, UNUSED),
            ],
            ActivationDesc::Elu { alpha } => vec![
                above(0.0),
                two(Function::Add, Y, From::Constant(alpha)),
                two(Function::Mul, DY, From::Step(1)),
                select(From::Step(0), DY, From::Step(2)),
            ],
            ActivationDesc::Identity => vec![step(Function::Identity, [DY, UNUSED, UNUSED])],
            ActivationDesc::Swish { beta } => vec![two(Function::SwishBackward { beta }, DY, X)],
        }
    }
}

/// `y ← α·f(x) + β·y`; x and y may be one tensor.
pub fn forward(
    handle: *mut c_void,
    descriptor: *const c_void,
    alpha: *const c_void,
    x: Arg,
    beta: *const c_void,
    y: Arg,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let mut steps = Vec::new();
    ActivationDesc::read(descriptor)?.append(&mut steps, From::Input(0));
    let x = Operand::tensor("x", x.0, x.1)?;
    let y = Operand::tensor("y", y.0, y.1)?;
    if x.dims() != y.dims() {
        return Err(Error::InvalidValue("y"));
    }
    let scalars = Scalars::read(alpha, beta, y.desc.element)?;
    in_precision!(Precision::of(&[x.desc.element, y.desc.element]), R => call.run((), move |call, ()| {
        compute::<R, _, _>(call, [&x], &y, scalars, |inputs, tensor| {
            engine::pointwise(&steps, &inputs, &mut [ProgramOutput { step: steps.len() - 1, tensor }]);
        })?;
        Ok(served(call, describe(&[&x, &y]), "pointwise"))
    }))
}

/// `dx ← α·f′·dy + β·dx`; dy and dx may be one tensor.
pub fn backward(
    handle: *mut c_void,
    descriptor: *const c_void,
    [alpha, beta]: [*const c_void; 2],
    [y, dy, x]: [Arg; 3],
    dx: Arg,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let steps = ActivationDesc::read(descriptor)?.gradient();
    let y = Operand::tensor("y", y.0, y.1)?;
    let dy = Operand::tensor("dy", dy.0, dy.1)?;
    let x = Operand::tensor("x", x.0, x.1)?;
    let dx = Operand::tensor("dx", dx.0, dx.1)?;
    if [&y, &dy, &x].into_iter().any(|operand| operand.dims() != dx.dims()) {
        return Err(Error::InvalidValue("dx"));
    }
    let scalars = Scalars::read(alpha, beta, dx.desc.element)?;
    in_precision!(Precision::of(&[x.desc.element, dx.desc.element]), R => call.run((), move |call, ()| {
        compute::<R, _, _>(call, [&y, &dy, &x], &dx, scalars, |inputs, tensor| {
            engine::pointwise(&steps, &inputs, &mut [ProgramOutput { step: steps.len() - 1, tensor }]);
        })?;
        Ok(served(call, describe(&[&dx]), "pointwise"))
    }))
}
