//! Operations on whole tensors: add, scale, set, transform, and the binary `cudnnOpTensor`.
//!
//! | function               | result                              | broadcast                     |
//! |------------------------|-------------------------------------|-------------------------------|
//! | `cudnnAddTensor`       | `C ← α·A + β·C`                     | A, along axes of size 1       |
//! | `cudnnScaleTensor`     | `y ← α·y`                           | –                             |
//! | `cudnnSetTensor`       | `y ← value`                         | –                             |
//! | `cudnnTransformTensor` | `y ← α·x + β·y`, other strides      | –                             |
//! | `cudnnOpTensor`        | `C ← op(α₁·A, α₂·B) + β·C`          | A or B, along axes of size 1  |
//!
//! Errors: `BAD_PARAM` null, or sizes that do not belong together.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html>.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::cudnnOpTensorOp_t as BinaryOp;
use gpucompat_engine::{
    self as engine, Comparison, Element, Function, NanRule, Operand as From, ProgramOutput, Real, Step, bf16,
    f16,
};

use super::Arg;
use super::descriptor::{broadcasts, choice};
use super::operand::{Operand, Precision, Scalars, compute_all, describe, scalar, served};
use super::reduce::nan_rule;
use crate::boundary::args::DataType;
use crate::boundary::status::Error;
use crate::entry::call::{Call, Timing};
use crate::entry::route::Served;
use crate::staging::host_buffer::Plain;

macro_rules! cudnn_add_tensor {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle,
        alpha: *const c_void, a_desc: *const c_void, a: *const c_void,
        beta: *const c_void, c_desc: *const c_void, c: *mut c_void)
        typed(c_desc) {
            use $crate::entry::cudnn::{Arg, elementwise};
            elementwise::add(handle, alpha, Arg(a_desc, a), beta, Arg(c_desc, c))
        } }
    };
}
macro_rules! cudnn_transform_tensor {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle,
        alpha: *const c_void, x_desc: *const c_void, x: *const c_void,
        beta: *const c_void, y_desc: *const c_void, y: *mut c_void)
        typed(y_desc) {
            use $crate::entry::cudnn::{Arg, elementwise};
            elementwise::transform(handle, alpha, Arg(x_desc, x), beta, Arg(y_desc, y))
        } }
    };
}
macro_rules! cudnn_scale_tensor {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle,
        y_desc: *const c_void, y: *mut c_void, alpha: *const c_void)
        typed(y_desc) {
            use $crate::entry::cudnn::{Arg, elementwise};
            elementwise::scale(handle, Arg(y_desc, y), alpha)
        } }
    };
}
macro_rules! cudnn_set_tensor {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle,
        y_desc: *const c_void, y: *mut c_void, value: *const c_void)
        typed(y_desc) {
            use $crate::entry::cudnn::{Arg, elementwise};
            elementwise::set(handle, Arg(y_desc, y), value)
        } }
    };
}
macro_rules! cudnn_op_tensor {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle, op_desc: *const c_void,
        alpha1: *const c_void, a_desc: *const c_void, a: *const c_void,
        alpha2: *const c_void, b_desc: *const c_void, b: *const c_void,
        beta: *const c_void, c_desc: *const c_void, c: *mut c_void)
        typed(c_desc) {
            use $crate::entry::cudnn::{Arg, elementwise};
            elementwise::binary(
                handle, op_desc, [alpha1, alpha2, beta], Arg(a_desc, a), Arg(b_desc, b), Arg(c_desc, c))
        } }
    };
}

const UNUSED: From = From::Constant(0.0);

/// `C ← α·A + β·C`.
pub fn add(
    handle: *mut c_void,
    alpha: *const c_void,
    a: Arg,
    beta: *const c_void,
    c: Arg,
) -> Result<Served, Error> {
    let a = Operand::tensor("A", a.0, a.1)?;
    let c = Operand::tensor("C", c.0, c.1)?;
    if !broadcasts(a.dims(), c.dims()) {
        return Err(Error::InvalidValue("A"));
    }
    let scalars = Scalars::read(alpha, beta, c.desc.element)?;
    copy(handle, &a, &c, scalars)
}

/// `y ← α·x + β·y`, of the same sizes in another layout or type.
pub fn transform(
    handle: *mut c_void,
    alpha: *const c_void,
    x: Arg,
    beta: *const c_void,
    y: Arg,
) -> Result<Served, Error> {
    let x = Operand::tensor("x", x.0, x.1)?;
    let y = Operand::tensor("y", y.0, y.1)?;
    if x.dims() != y.dims() {
        return Err(Error::InvalidValue("y"));
    }
    let scalars = Scalars::read(alpha, beta, y.desc.element)?;
    copy(handle, &x, &y, scalars)
}

/// `y ← α·y`.
pub fn scale(handle: *mut c_void, y: Arg, alpha: *const c_void) -> Result<Served, Error> {
    let y = Operand::tensor("y", y.0, y.1)?;
    let alpha = scalar("alpha", alpha, y.desc.element)?;
    copy(handle, &y, &y, Scalars { alpha, beta: 0.0 })
}

fn copy(handle: *mut c_void, from: &Operand, to: &Operand, scalars: Scalars) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let steps = vec![Step { function: Function::Identity, operands: [From::Input(0), UNUSED, UNUSED] }];
    run(call, steps, vec![*from], *to, scalars)
}

/// `to ← α·program(from…) + β·to`.
fn run(
    call: Call,
    steps: Vec<Step>,
    from: Vec<Operand>,
    to: Operand,
    scalars: Scalars,
) -> Result<Served, Error> {
    let elements: Vec<DataType> = from.iter().map(|operand| operand.desc.element).collect();
    in_precision!(Precision::of(&[&elements[..], &[to.desc.element]].concat()), R => call.run((), move |call, ()| {
        let from: Vec<&Operand> = from.iter().collect();
        compute_all::<R, _>(call, &from, &to, scalars, |inputs, tensor| {
            engine::pointwise(&steps, inputs, &mut [ProgramOutput { step: steps.len() - 1, tensor }]);
            Ok(())
        })?;
        Ok(served(call, describe(&[&to]), "pointwise"))
    }))
}

/// `y ← value`, one element of y's type in host memory.
pub fn set(handle: *mut c_void, y: Arg, value: *const c_void) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let y = Operand::tensor("y", y.0, y.1)?;
    if value.is_null() {
        return Err(Error::InvalidValue("valuePtr"));
    }
    in_precision!(Precision::of(&[y.desc.element]), R => {
        let constant = element::<R>(value, y.desc.element)?.to_double();
        let steps = vec![Step { function: Function::Identity, operands: [From::Constant(constant), UNUSED, UNUSED] }];
        run(call, steps, Vec::new(), y, Scalars::PLAIN)
    })
}

/// The element of this type that lies in host memory.
fn element<R: Real + Plain>(address: *const c_void, of: DataType) -> Result<R, Error> {
    // SAFETY: the caller of `cudnnSetTensor` owes a readable element of the tensor's type.
    with_element!(of, T => Ok(Element::to_real::<R>(unsafe { address.cast::<T>().read_unaligned() })))
}

/// `C ← op(α₁·A, α₂·B) + β·C`; the square root and NOT (1 − x) do not read B.
pub fn binary(
    handle: *mut c_void,
    descriptor: *const c_void,
    [alpha1, alpha2, beta]: [*const c_void; 3],
    a: Arg,
    b: Arg,
    c: Arg,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let op = read_op(descriptor)?;
    let a = Operand::tensor("A", a.0, a.1)?;
    let c = Operand::tensor("C", c.0, c.1)?;
    let element = c.desc.element;
    let scale = |input, factor| Step {
        function: Function::Mul,
        operands: [From::Input(input), From::Constant(factor), UNUSED],
    };
    let (mut steps, mut from) = (vec![scale(0, scalar("alpha1", alpha1, element)?)], vec![a]);
    let b = if op.reads_b() { Some(Operand::tensor("B", b.0, b.1)?) } else { None };
    if let Some(b) = &b {
        steps.push(scale(1, scalar("alpha2", alpha2, element)?));
        from.push(*b);
    }
    if from.iter().any(|operand| !broadcasts(operand.dims(), c.dims())) {
        return Err(Error::InvalidValue("sizes"));
    }
    steps.extend(op.steps());
    let beta = scalar("beta", beta, element)?;
    run(call, steps, from, c, Scalars { alpha: 1.0, beta })
}

/// A `cudnnOpTensorOp_t` and its NaN rule.
#[derive(Clone, Copy)]
enum Op {
    Binary(Function),
    /// The lesser or the greater; of a number and NaN the number.
    IgnoringNan(Function),
    Sqrt,
    Not,
}

impl Op {
    fn reads_b(self) -> bool {
        matches!(self, Op::Binary(_) | Op::IgnoringNan(_))
    }

    /// The steps after A (step 0) and B (step 1) were scaled.
    fn steps(self) -> Vec<Step> {
        let (a, b) = (From::Step(0), From::Step(1));
        let is_nan =
            |value| Step { function: Function::Compare(Comparison::Ne), operands: [value, value, UNUSED] };
        let select = |operands| Step { function: Function::Select, operands };
        match self {
            Op::Binary(function) => vec![Step { function, operands: [a, b, UNUSED] }],
            Op::IgnoringNan(function) => vec![
                Step { function, operands: [a, b, UNUSED] },
                is_nan(b),
                select([From::Step(3), a, From::Step(2)]),
                is_nan(a),
                select([From::Step(5), b, From::Step(4)]),
            ],
            Op::Sqrt => vec![Step { function: Function::Sqrt, operands: [a, UNUSED, UNUSED] }],
            Op::Not => vec![Step { function: Function::Sub, operands: [From::Constant(1.0), a, UNUSED] }],
        }
    }
}

fn read_op(descriptor: *const c_void) -> Result<Op, Error> {
    const NAME: &str = "opTensorDesc";
    let (mut op, mut compute, mut nan) = (0, 0, 0);
    if descriptor.is_null() {
        return Err(Error::InvalidValue(NAME));
    }
    ask!(cudnnGetOpTensorDescriptor for NAME, descriptor => *const c_void, &raw mut op => *mut c_int,
        &raw mut compute => *mut c_int, &raw mut nan => *mut c_int)?;
    let propagates = nan_rule(nan)? == NanRule::Propagate;
    let compare = if propagates { Op::Binary } else { Op::IgnoringNan };
    let rows = [
        (BinaryOp::CUDNN_OP_TENSOR_ADD as c_int, Op::Binary(Function::Add)),
        (BinaryOp::CUDNN_OP_TENSOR_MUL as c_int, Op::Binary(Function::Mul)),
        (BinaryOp::CUDNN_OP_TENSOR_MIN as c_int, compare(Function::Min)),
        (BinaryOp::CUDNN_OP_TENSOR_MAX as c_int, compare(Function::Max)),
        (BinaryOp::CUDNN_OP_TENSOR_SQRT as c_int, Op::Sqrt),
        (BinaryOp::CUDNN_OP_TENSOR_NOT as c_int, Op::Not),
    ];
    choice(op, &rows, NAME)
}
