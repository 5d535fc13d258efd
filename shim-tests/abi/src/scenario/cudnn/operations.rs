//! Operation descriptors of the graph API.

use std::ffi::c_int;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind,
};
use gpucompat_cases::conv::{ConvCase, Direction};
use gpucompat_cases::element::Element;

use super::graph::{Desc, Place, TensorSpec, longs, tensor};
use super::{compute_type, data_type};

/// The unique ids of a case's x, w and y.
pub const IDS: [i64; 3] = ['x' as i64, 'w' as i64, 'y' as i64];

/// A finalized convolution descriptor.
pub fn convolution_descriptor(case: &ConvCase) -> Desc {
    let list = |values| longs(&case.spatial(values).collect::<Vec<_>>());
    let mode = [c_int::from(!case.flip)];
    Desc::new(Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)
        .set(Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, Type::CUDNN_TYPE_DATA_TYPE, &[compute_type(case.input)])
        .set(Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE, Type::CUDNN_TYPE_CONVOLUTION_MODE, &mode)
        .wide(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[case.axes as i64])
        .wide(Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &list(case.before))
        .wide(Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &list(case.after))
        .wide(Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, &list(case.dilation))
        .wide(Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &list(case.stride))
        .ready("a convolution")
}

/// What a case's tensor descriptor says.
pub fn spec(case: &ConvCase, index: usize) -> TensorSpec {
    TensorSpec {
        id: IDS[index],
        element: case.element(index),
        data_type: data_type(case.element(index)),
        dims: case.dims(index),
        strides: case.strides(index),
        place: Place::Device,
    }
}

/// The names of an operation's attributes: descriptor, x, w, y, α, β.
fn names(direction: Direction) -> (Kind, [Name; 6]) {
    match direction {
        Direction::Forward => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            ],
        ),
        Direction::BackwardData => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            ],
        ),
        Direction::BackwardFilter => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            ],
        ),
    }
}

/// A convolution of these tensors, not finalized.
pub fn convolution(case: &ConvCase, tensors: [&Desc; 3]) -> Desc {
    let (kind, [conv, x, w, y, alpha, beta]) = names(case.direction);
    let made = Desc::new(kind)
        .inner(conv, &convolution_descriptor(case))
        .inner(x, tensors[0])
        .inner(w, tensors[1])
        .inner(y, tensors[2]);
    if case.output == Element::F64 {
        let scalars = [[case.alpha], [case.beta]];
        made.set(alpha, Type::CUDNN_TYPE_DOUBLE, &scalars[0]).set(beta, Type::CUDNN_TYPE_DOUBLE, &scalars[1])
    } else {
        let scalars = [[case.alpha as f32], [case.beta as f32]];
        made.set(alpha, Type::CUDNN_TYPE_FLOAT, &scalars[0]).set(beta, Type::CUDNN_TYPE_FLOAT, &scalars[1])
    }
}

/// A case's operation, not finalized; its tensors' descriptors have ended by then, as a front end may do.
pub fn convolution_of(case: &ConvCase) -> Desc {
    let tensors = [0, 1, 2].map(|index| tensor(&spec(case, index)));
    convolution(case, tensors.each_ref())
}
