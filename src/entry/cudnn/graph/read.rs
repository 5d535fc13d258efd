//! From a recorded operation to an [`Operation`].

use std::ffi::c_int;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind,
    cudnnBackendNormFwdPhase_t as Phase, cudnnBackendNormMode_t as NormMode,
};
use gpucompat_engine::Centering;

use super::lower::Tensors;
use super::node::Node;
use super::operation::{Normalize, Operation};
use super::read_pointwise::read_pointwise;
use super::read_windowed::{read_convolution, read_pool};
use crate::boundary::status::Error;
use crate::entry::cudnn::algorithms::Direction;
use crate::entry::cudnn::descriptor::choice;
use crate::entry::cudnn::reduce::reduction;

/// Reads an operation. Errors: `NOT_SUPPORTED` for a kind, mode or geometry without a host form.
pub fn read(node: &Node, tensors: &mut Tensors) -> Result<Operation, Error> {
    if node.is(Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR) {
        read_convolution(node, tensors, Direction::Forward)
    } else if node.is(Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR) {
        read_convolution(node, tensors, Direction::BackwardData)
    } else if node.is(Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR) {
        read_convolution(node, tensors, Direction::BackwardFilter)
    } else if node.is(Kind::CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) {
        read_pointwise(node, tensors)
    } else if node.is(Kind::CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR) {
        read_reduction(node, tensors)
    } else if node.is(Kind::CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) {
        read_matmul(node, tensors)
    } else if node.is(Kind::CUDNN_BACKEND_OPERATION_RESAMPLE_FWD_DESCRIPTOR) {
        read_pool(node, tensors)
    } else if node.is(Kind::CUDNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR) {
        read_norm(node, tensors)
    } else if node.is(Kind::CUDNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR) {
        read_norm_backward(node, tensors)
    } else {
        Err(Error::NotSupported("a graph operation of this kind"))
    }
}

fn read_reduction(node: &Node, tensors: &mut Tensors) -> Result<Operation, Error> {
    let desc = node.node(Name::CUDNN_ATTR_OPERATION_REDUCTION_DESC);
    let desc = desc.ok_or(Error::InvalidValue("reduction descriptor"))?;
    let reduction = reduction(desc.lock().code(Name::CUDNN_ATTR_REDUCTION_OPERATOR, -1), "reduction")?;
    let x = tensors.required(node, Name::CUDNN_ATTR_OPERATION_REDUCTION_XDESC)?;
    let y = tensors.required(node, Name::CUDNN_ATTR_OPERATION_REDUCTION_YDESC)?;
    Ok(Operation::Reduction { reduction, x, y })
}

fn read_matmul(node: &Node, tensors: &mut Tensors) -> Result<Operation, Error> {
    let overrides = [
        Name::CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC,
        Name::CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC,
        Name::CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC,
    ];
    if overrides.into_iter().any(|name| node.node(name).is_some()) {
        return Err(Error::NotSupported("a matrix product of ragged sizes"));
    }
    let a = tensors.required(node, Name::CUDNN_ATTR_OPERATION_MATMUL_ADESC)?;
    let b = tensors.required(node, Name::CUDNN_ATTR_OPERATION_MATMUL_BDESC)?;
    let c = tensors.required(node, Name::CUDNN_ATTR_OPERATION_MATMUL_CDESC)?;
    Ok(Operation::Matmul { a, b, c })
}

/// Layer, instance, batch and RMS norm differ in the sizes of their statistics only, and in whether a mean is taken.
fn norm_centering(mode: c_int) -> Result<Centering, Error> {
    let rows = [
        (NormMode::CUDNN_LAYER_NORM as c_int, Centering::Mean),
        (NormMode::CUDNN_INSTANCE_NORM as c_int, Centering::Mean),
        (NormMode::CUDNN_BATCH_NORM as c_int, Centering::Mean),
        (NormMode::CUDNN_RMS_NORM as c_int, Centering::None),
    ];
    choice(mode, &rows, "normalization mode").map_err(|_| Error::NotSupported("a normalization mode"))
}

fn read_norm(node: &Node, tensors: &mut Tensors) -> Result<Operation, Error> {
    let running = [
        Name::CUDNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_MEAN_DESC,
        Name::CUDNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_MEAN_DESC,
        Name::CUDNN_ATTR_OPERATION_NORM_FWD_PEER_STAT_DESCS,
    ];
    if running.into_iter().any(|name| node.node(name).is_some()) {
        return Err(Error::NotSupported("running or shared statistics in a graph"));
    }
    let centering = norm_centering(node.code(Name::CUDNN_ATTR_OPERATION_NORM_FWD_MODE, -1))?;
    let training =
        node.code(Name::CUDNN_ATTR_OPERATION_NORM_FWD_PHASE, -1) == Phase::CUDNN_NORM_FWD_TRAINING as c_int;
    let norm = Normalize {
        centering,
        training,
        x: tensors.required(node, Name::CUDNN_ATTR_OPERATION_NORM_FWD_XDESC)?,
        mean: tensors.optional(node, Name::CUDNN_ATTR_OPERATION_NORM_FWD_MEAN_DESC)?,
        inv_std: tensors.optional(node, Name::CUDNN_ATTR_OPERATION_NORM_FWD_INV_VARIANCE_DESC)?,
        scale: tensors.required(node, Name::CUDNN_ATTR_OPERATION_NORM_FWD_SCALE_DESC)?,
        bias: tensors.optional(node, Name::CUDNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC)?,
        epsilon: tensors.optional(node, Name::CUDNN_ATTR_OPERATION_NORM_FWD_EPSILON_DESC)?,
        y: tensors.required(node, Name::CUDNN_ATTR_OPERATION_NORM_FWD_YDESC)?,
    };
    if norm.inv_std.is_none() {
        return Err(Error::NotSupported("a normalization without its statistics' tensors"));
    }
    Ok(Operation::Normalize(norm))
}

fn read_norm_backward(node: &Node, tensors: &mut Tensors) -> Result<Operation, Error> {
    if node.node(Name::CUDNN_ATTR_OPERATION_NORM_BWD_PEER_STAT_DESCS).is_some() {
        return Err(Error::NotSupported("shared statistics in a graph"));
    }
    let inv_std = tensors.optional(node, Name::CUDNN_ATTR_OPERATION_NORM_BWD_INV_VARIANCE_DESC)?;
    Ok(Operation::NormalizeBackward {
        centering: norm_centering(node.code(Name::CUDNN_ATTR_OPERATION_NORM_BWD_MODE, -1))?,
        x: tensors.required(node, Name::CUDNN_ATTR_OPERATION_NORM_BWD_XDESC)?,
        dy: tensors.required(node, Name::CUDNN_ATTR_OPERATION_NORM_BWD_DYDESC)?,
        mean: tensors.optional(node, Name::CUDNN_ATTR_OPERATION_NORM_BWD_MEAN_DESC)?,
        inv_std: inv_std.ok_or(Error::NotSupported("a gradient without the forward pass's statistics"))?,
        scale: tensors.required(node, Name::CUDNN_ATTR_OPERATION_NORM_BWD_SCALE_DESC)?,
        dx: tensors.required(node, Name::CUDNN_ATTR_OPERATION_NORM_BWD_DXDESC)?,
        dscale: tensors.optional(node, Name::CUDNN_ATTR_OPERATION_NORM_BWD_DSCALE_DESC)?,
        dbias: tensors.optional(node, Name::CUDNN_ATTR_OPERATION_NORM_BWD_DBIAS_DESC)?,
    })
}
