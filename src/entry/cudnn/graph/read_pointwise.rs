//! Recorded pointwise operations.

use std::ffi::c_int;

use cudarc::cudnn::sys::{cudnnBackendAttributeName_t as Name, cudnnPointwiseMode_t as P};
use gpucompat_engine::{Comparison, Function};

use super::lower::Tensors;
use super::node::Node;
use super::operation::Operation;
use crate::boundary::status::Error;

/// The function of a pointwise descriptor, and whether it is a gradient.
fn function(desc: &Node) -> Result<Function, Error> {
    let mode = desc.code(Name::CUDNN_ATTR_POINTWISE_MODE, -1);
    let lower = desc.number(Name::CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP, 0.0);
    let upper = desc.number(Name::CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, f64::INFINITY);
    let slope = desc.number(Name::CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, 0.0);
    // The largest number of the attribute's type stands for "not clipped".
    let upper = if upper >= f32::MAX.into() { f64::INFINITY } else { upper };
    let alpha = desc.number(Name::CUDNN_ATTR_POINTWISE_ELU_ALPHA, 1.0);
    let softplus = desc.number(Name::CUDNN_ATTR_POINTWISE_SOFTPLUS_BETA, 1.0);
    let swish = desc.number(Name::CUDNN_ATTR_POINTWISE_SWISH_BETA, 1.0);
    let axis = desc.number(Name::CUDNN_ATTR_POINTWISE_AXIS, 0.0) as usize;
    let compare = Function::Compare;
    let rows = [
        (P::CUDNN_POINTWISE_ADD, Function::Add),
        (P::CUDNN_POINTWISE_ADD_SQUARE, Function::AddSquare),
        (P::CUDNN_POINTWISE_DIV, Function::Div),
        (P::CUDNN_POINTWISE_MAX, Function::Max),
        (P::CUDNN_POINTWISE_MIN, Function::Min),
        (P::CUDNN_POINTWISE_MOD, Function::Mod),
        (P::CUDNN_POINTWISE_MUL, Function::Mul),
        (P::CUDNN_POINTWISE_POW, Function::Pow),
        (P::CUDNN_POINTWISE_SUB, Function::Sub),
        (P::CUDNN_POINTWISE_ABS, Function::Abs),
        (P::CUDNN_POINTWISE_CEIL, Function::Ceil),
        (P::CUDNN_POINTWISE_COS, Function::Cos),
        (P::CUDNN_POINTWISE_EXP, Function::Exp),
        (P::CUDNN_POINTWISE_FLOOR, Function::Floor),
        (P::CUDNN_POINTWISE_LOG, Function::Log),
        (P::CUDNN_POINTWISE_NEG, Function::Neg),
        (P::CUDNN_POINTWISE_RSQRT, Function::Rsqrt),
        (P::CUDNN_POINTWISE_SIN, Function::Sin),
        (P::CUDNN_POINTWISE_SQRT, Function::Sqrt),
        (P::CUDNN_POINTWISE_TAN, Function::Tan),
        (P::CUDNN_POINTWISE_ERF, Function::Erf),
        (P::CUDNN_POINTWISE_IDENTITY, Function::Identity),
        (P::CUDNN_POINTWISE_RECIPROCAL, Function::Reciprocal),
        (P::CUDNN_POINTWISE_ATAN2, Function::Atan2),
        (P::CUDNN_POINTWISE_RELU_FWD, Function::Relu { lower, upper, slope }),
        (P::CUDNN_POINTWISE_TANH_FWD, Function::Tanh),
        (P::CUDNN_POINTWISE_SIGMOID_FWD, Function::Sigmoid),
        (P::CUDNN_POINTWISE_ELU_FWD, Function::Elu { alpha }),
        (P::CUDNN_POINTWISE_GELU_FWD, Function::Gelu),
        (P::CUDNN_POINTWISE_SOFTPLUS_FWD, Function::Softplus { beta: softplus }),
        (P::CUDNN_POINTWISE_SWISH_FWD, Function::Swish { beta: swish }),
        (P::CUDNN_POINTWISE_GELU_APPROX_TANH_FWD, Function::GeluTanh),
        (P::CUDNN_POINTWISE_RELU_BWD, Function::ReluBackward { lower, upper, slope }),
        (P::CUDNN_POINTWISE_TANH_BWD, Function::TanhBackward),
        (P::CUDNN_POINTWISE_SIGMOID_BWD, Function::SigmoidBackward),
        (P::CUDNN_POINTWISE_ELU_BWD, Function::EluBackward { alpha }),
        (P::CUDNN_POINTWISE_GELU_BWD, Function::GeluBackward),
        (P::CUDNN_POINTWISE_SOFTPLUS_BWD, Function::SoftplusBackward { beta: softplus }),
        (P::CUDNN_POINTWISE_SWISH_BWD, Function::SwishBackward { beta: swish }),
        (P::CUDNN_POINTWISE_GELU_APPROX_TANH_BWD, Function::GeluTanhBackward),
        (P::CUDNN_POINTWISE_CMP_EQ, compare(Comparison::Eq)),
        (P::CUDNN_POINTWISE_CMP_NEQ, compare(Comparison::Ne)),
        (P::CUDNN_POINTWISE_CMP_GT, compare(Comparison::Gt)),
        (P::CUDNN_POINTWISE_CMP_GE, compare(Comparison::Ge)),
        (P::CUDNN_POINTWISE_CMP_LT, compare(Comparison::Lt)),
        (P::CUDNN_POINTWISE_CMP_LE, compare(Comparison::Le)),
        (P::CUDNN_POINTWISE_LOGICAL_AND, Function::LogicalAnd),
        (P::CUDNN_POINTWISE_LOGICAL_OR, Function::LogicalOr),
        (P::CUDNN_POINTWISE_LOGICAL_NOT, Function::LogicalNot),
        (P::CUDNN_POINTWISE_GEN_INDEX, Function::GenIndex { axis }),
        (P::CUDNN_POINTWISE_BINARY_SELECT, Function::Select),
    ];
    let known = rows.into_iter().find_map(|(c, function)| (c as c_int == mode).then_some(function));
    known.ok_or(Error::NotSupported("a pointwise mode"))
}

/// The first mode that is a gradient, and the first that is none again.
const GRADIENTS: std::ops::Range<c_int> =
    P::CUDNN_POINTWISE_RELU_BWD as c_int..P::CUDNN_POINTWISE_CMP_EQ as c_int;

/// Reads a pointwise operation.
pub fn read_pointwise(node: &Node, tensors: &mut Tensors) -> Result<Operation, Error> {
    let desc = node.node(Name::CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    let desc = desc.ok_or(Error::InvalidValue("pointwise descriptor"))?;
    let desc = desc.lock();
    let function = function(&desc)?;
    let x = tensors.optional(node, Name::CUDNN_ATTR_OPERATION_POINTWISE_XDESC)?;
    let b = tensors.optional(node, Name::CUDNN_ATTR_OPERATION_POINTWISE_BDESC)?;
    let factors = [
        node.number(Name::CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, 1.0),
        node.number(Name::CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2, 1.0),
        1.0,
    ];
    if GRADIENTS.contains(&desc.code(Name::CUDNN_ATTR_POINTWISE_MODE, -1)) {
        let dy = tensors.required(node, Name::CUDNN_ATTR_OPERATION_POINTWISE_DYDESC)?;
        let x = x.ok_or(Error::NotSupported("a pointwise gradient that is not given x"))?;
        let result = tensors.required(node, Name::CUDNN_ATTR_OPERATION_POINTWISE_DXDESC)?;
        return Ok(Operation::Pointwise {
            function,
            operands: [Some(dy), Some(x), None],
            factors: [1.0; 3],
            result,
        });
    }
    let result = tensors.required(node, Name::CUDNN_ATTR_OPERATION_POINTWISE_YDESC)?;
    if function == Function::Select {
        let mask = tensors.required(node, Name::CUDNN_ATTR_OPERATION_POINTWISE_TDESC)?;
        return Ok(Operation::Pointwise {
            function,
            operands: [Some(mask), x, b],
            factors: [1.0; 3],
            result,
        });
    }
    if matches!(function, Function::GenIndex { .. }) {
        return Ok(Operation::Pointwise { function, operands: [None; 3], factors, result });
    }
    // PyTorch gives its own, not yet written, output as the addend of a factor of 0: like β = 0 it is not read.
    let scaled = |operand: Option<usize>, factor: f64| operand.filter(|_| factor != 0.0);
    let operands = [scaled(x, factors[0]), scaled(b, factors[1]), None];
    Ok(Operation::Pointwise { function, operands, factors, result })
}
