//! Recorded operations that slide a window over space: convolutions and poolings.

use std::ffi::c_int;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnPaddingMode_t as Padding, cudnnResampleMode_t as Resample,
};
use gpucompat_engine::{Conv, NanRule, Pool, PoolMode};

use super::lower::Tensors;
use super::node::Node;
use super::operation::Operation;
use crate::boundary::status::Error;
use crate::entry::cudnn::algorithms::Direction;
use crate::entry::cudnn::descriptor::{SPATIAL_MAX, choice, filtering, window_places};
use crate::entry::cudnn::operand::Scalars;

/// Reads a convolution of one direction.
pub fn read_convolution(
    node: &Node,
    tensors: &mut Tensors,
    direction: Direction,
) -> Result<Operation, Error> {
    read_direction(
        node,
        tensors,
        match direction {
            Direction::Forward => &FORWARD,
            Direction::BackwardData => &BACKWARD_DATA,
            Direction::BackwardFilter => &BACKWARD_FILTER,
        },
    )
}

/// The attributes of one direction.
struct ConvolutionNames {
    direction: Direction,
    conv: Name,
    alpha: Name,
    beta: Name,
    x: Name,
    w: Name,
    y: Name,
}

const FORWARD: ConvolutionNames = ConvolutionNames {
    direction: Direction::Forward,
    conv: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
    alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
    beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
    x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
    w: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
    y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
};
const BACKWARD_DATA: ConvolutionNames = ConvolutionNames {
    direction: Direction::BackwardData,
    conv: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
    alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
    beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
    x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
    w: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
    y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
};
const BACKWARD_FILTER: ConvolutionNames = ConvolutionNames {
    direction: Direction::BackwardFilter,
    conv: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
    alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
    beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
    x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
    w: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
    y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
};

/// Up to three sizes, one a spatial axis, of as many as there must be.
fn spatial(node: &Node, name: Name, axes: usize) -> Result<[usize; SPATIAL_MAX], Error> {
    let values = node.sizes(name)?;
    if values.len() != axes {
        return Err(Error::InvalidValue("spatial attributes"));
    }
    let mut spatial = [0; SPATIAL_MAX];
    spatial
        .get_mut(..axes)
        .ok_or(Error::NotSupported("more than three spatial axes"))?
        .copy_from_slice(&values);
    Ok(spatial)
}

/// Groups are not set but follow from the channels. The padding after follows from the output's size.
fn read_direction(node: &Node, tensors: &mut Tensors, names: &ConvolutionNames) -> Result<Operation, Error> {
    let shared = node.node(names.conv).ok_or(Error::InvalidValue("convolution descriptor"))?;
    let desc = shared.lock();
    let axes = desc.number(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 0.0) as usize;
    let (x, w, y) = (
        tensors.required(node, names.x)?,
        tensors.required(node, names.w)?,
        tensors.required(node, names.y)?,
    );
    let (x_dims, w_dims, y_dims) = (tensors.dims(x), tensors.dims(w), tensors.dims(y));
    if [x_dims, w_dims, y_dims].iter().any(|dims| dims.len() != axes + 2) || axes == 0 {
        return Err(Error::InvalidValue("number of axes"));
    }
    let groups = x_dims[1] / w_dims[1].max(1);
    let fits = groups > 0
        && x_dims[0] == y_dims[0]
        && x_dims[1] == w_dims[1] * groups
        && y_dims[1] == w_dims[0]
        && w_dims[0].is_multiple_of(groups);
    let conv = Conv {
        groups,
        filtering: filtering(desc.code(Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE, -1))?,
        pad: spatial(&desc, Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, axes)?,
        stride: spatial(&desc, Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, axes)?,
        dilation: spatial(&desc, Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, axes)?,
    };
    let after = spatial(&desc, Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, axes)?;
    let reaches = |axis: usize| {
        let window = w_dims[2 + axis].saturating_sub(1) * conv.dilation[axis] + 1;
        let padding = conv.pad[axis] + after[axis];
        let places = window_places(x_dims[2 + axis], padding, window, conv.stride[axis]);
        conv.dilation[axis] > 0 && places == Some(y_dims[2 + axis])
    };
    if !fits || !(0..axes).all(reaches) {
        return Err(Error::InvalidValue("sizes of a convolution"));
    }
    let scalars = Scalars { alpha: node.number(names.alpha, 1.0), beta: node.number(names.beta, 0.0) };
    Ok(Operation::Convolution { direction: names.direction, conv, scalars, x, w, y })
}

/// Reads a forward resampling that is a pooling.
pub fn read_pool(node: &Node, tensors: &mut Tensors) -> Result<Operation, Error> {
    let desc = node.node(Name::CUDNN_ATTR_OPERATION_RESAMPLE_FWD_DESC);
    let desc = desc.ok_or(Error::InvalidValue("resample descriptor"))?;
    let desc = desc.lock();
    let axes = desc.number(Name::CUDNN_ATTR_RESAMPLE_SPATIAL_DIMS, 0.0) as usize;
    let rows = [
        (Resample::CUDNN_RESAMPLE_MAXPOOL as c_int, PoolMode::Max),
        (Resample::CUDNN_RESAMPLE_AVGPOOL as c_int, PoolMode::AverageIncludingPadding),
        (Resample::CUDNN_RESAMPLE_AVGPOOL_EXCLUDE_PADDING as c_int, PoolMode::AverageExcludingPadding),
    ];
    let mode = choice(desc.code(Name::CUDNN_ATTR_RESAMPLE_MODE, -1), &rows, "resample mode")
        .map_err(|_| Error::NotSupported("resampling by interpolation"))?;
    let x = tensors.required(node, Name::CUDNN_ATTR_OPERATION_RESAMPLE_FWD_XDESC)?;
    let y = tensors.required(node, Name::CUDNN_ATTR_OPERATION_RESAMPLE_FWD_YDESC)?;
    let indices = node.node(Name::CUDNN_ATTR_OPERATION_RESAMPLE_FWD_IDXDESC);
    let plain = node.number(Name::CUDNN_ATTR_OPERATION_RESAMPLE_FWD_ALPHA, 1.0) == 1.0
        && node.number(Name::CUDNN_ATTR_OPERATION_RESAMPLE_FWD_BETA, 0.0) == 0.0;
    let padding = desc.code(Name::CUDNN_ATTR_RESAMPLE_PADDING_MODE, Padding::CUDNN_ZERO_PAD as c_int);
    let neutral = match mode {
        PoolMode::Max => padding == Padding::CUDNN_NEG_INF_PAD as c_int,
        _ => padding == Padding::CUDNN_ZERO_PAD as c_int,
    };
    let pad = spatial(&desc, Name::CUDNN_ATTR_RESAMPLE_PRE_PADDINGS, axes)?;
    let after = spatial(&desc, Name::CUDNN_ATTR_RESAMPLE_POST_PADDINGS, axes)?;
    let pads = pad.iter().chain(&after).any(|&pad| pad > 0);
    if indices.is_some() || !plain || pads && !neutral {
        return Err(Error::NotSupported("resampling with indices, factors or a padding value"));
    }
    let pool = Pool {
        mode,
        nan: NanRule::Propagate,
        window: spatial(&desc, Name::CUDNN_ATTR_RESAMPLE_WINDOW_DIMS, axes)?,
        pad,
        stride: spatial(&desc, Name::CUDNN_ATTR_RESAMPLE_STRIDES, axes)?,
    };
    let (from, to) = (tensors.dims(x), tensors.dims(y));
    let covered = |axis: usize| {
        let padding = pad[axis] + after[axis];
        let places = window_places(from[2 + axis], padding, pool.window[axis], pool.stride[axis]);
        places == Some(to[2 + axis])
    };
    if from.len() != axes + 2 || to.len() != from.len() || from[..2] != to[..2] || !(0..axes).all(covered) {
        return Err(Error::InvalidValue("sizes of a resampling"));
    }
    Ok(Operation::Pool { pool, x, y })
}
