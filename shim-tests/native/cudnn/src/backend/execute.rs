//! A plan's one forward convolution.

use std::ffi::c_int;

use cudarc::cudnn::sys::{cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Descriptor};
use native_core::mode::Play;

use super::node::Node;
use crate::arithmetic::{Problem, Taps};
use crate::array::{Array, Blend};
use crate::status::{BAD_PARAM, NOT_FINALIZED};

/// The convolution of an operation; its groups are as many as w's channels fit into x's.
pub fn problem(operation: &Node) -> Option<Problem> {
    let inner = |name| operation.nodes(name).first();
    let counts = |node: &Node, name| {
        node.wide(name).iter().map(|&value| usize::try_from(value).ok()).collect::<Option<Vec<_>>>()
    };
    let sizes = |name| counts(inner(name)?, Name::CUDNN_ATTR_TENSOR_DIMENSIONS);
    let convolution = inner(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC)?;
    let x = sizes(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X)?;
    let w = sizes(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W)?;
    let groups = x.get(1)?.checked_div(*w.get(1)?)?;
    let flipped = convolution.enumerator(Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE) == 0;
    Some(Problem {
        y: sizes(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y)?,
        x,
        w,
        groups,
        before: counts(convolution, Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS)?,
        after: counts(convolution, Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS)?,
        stride: counts(convolution, Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES)?,
        dilation: counts(convolution, Name::CUDNN_ATTR_CONVOLUTION_DILATIONS)?,
        taps: if flipped { Taps::Flipped } else { Taps::InOrder },
    })
}

/// A tensor at the address that the variant pack has for its identifier.
fn array(operation: &Node, name: Name, pack: &Node) -> Result<Array, c_int> {
    let tensor = operation.nodes(name).first().ok_or(BAD_PARAM)?;
    let id = tensor.wide(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID);
    let ids = pack.wide(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    let place = ids.iter().position(|&it| [it] == id[..]).ok_or(BAD_PARAM)?;
    let pointers = pack.wide(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    Array::new(
        pointers[place] as u64,
        tensor.enumerator(Name::CUDNN_ATTR_TENSOR_DATA_TYPE),
        &tensor.wide(Name::CUDNN_ATTR_TENSOR_DIMENSIONS),
        &tensor.wide(Name::CUDNN_ATTR_TENSOR_STRIDES),
    )
}

/// `y ← α·(x ∗ w) + β·y` with the pack's pointers.
pub fn execute(plan: &Node, pack: &Node, stream: u64, play: Play) -> Result<(), c_int> {
    let kinds = plan.is(Descriptor::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
        && pack.is(Descriptor::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    if !kinds {
        return Err(BAD_PARAM);
    }
    if !(plan.finalized && pack.finalized) {
        return Err(NOT_FINALIZED);
    }
    let way = [
        Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
        Name::CUDNN_ATTR_ENGINECFG_ENGINE,
        Name::CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
        Name::CUDNN_ATTR_OPERATIONGRAPH_OPS,
    ];
    let operation = way.into_iter().try_fold(plan, |node, name| node.nodes(name).first()).ok_or(BAD_PARAM)?;
    let problem = problem(operation).ok_or(BAD_PARAM)?;
    let x = array(operation, Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, pack)?;
    let w = array(operation, Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, pack)?;
    let y = array(operation, Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, pack)?;
    let blend = Blend {
        alpha: operation.number(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA),
        beta: operation.number(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA),
    };
    y.store(stream, play, blend, &problem.forward(&x.load(stream)?, &w.load(stream)?))
}
