//! What a descriptor needs to be finalized, and what it gives then.

use std::ffi::c_int;

use cudarc::cudnn::sys::{cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Descriptor};

use super::execute::problem;
use super::node::{Attribute, Node, Values};
use super::table::{Role, rows};
use crate::status::{BAD_PARAM, NOT_FINALIZED, NOT_SUPPORTED};
use crate::tensor::MOST_DIMENSIONS;

/// Checks the descriptor, computes its outputs, and closes it.
pub fn finalize(node: &mut Node) -> Result<(), c_int> {
    if node.finalized {
        return Err(BAD_PARAM);
    }
    check_needed(node)?;
    let is = |kind: Descriptor| node.is(kind);
    if is(Descriptor::CUDNN_BACKEND_TENSOR_DESCRIPTOR) {
        check(is_tensor(node))?;
    } else if is(Descriptor::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR) {
        check(is_convolution(node))?;
    } else if is(Descriptor::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR) {
        check(problem(node).is_some_and(|problem| problem.is_consistent()))?;
    } else if is(Descriptor::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
        let engines = i64::from(is_supported(node));
        node.set_wide(Name::CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, &[engines]);
    } else if is(Descriptor::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) {
        check((0..=3).contains(&node.enumerator(Name::CUDNN_ATTR_ENGINEHEUR_MODE)))?;
        let graph = supported_graph(node, Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)?;
        node.set_node(Name::CUDNN_ATTR_ENGINEHEUR_RESULTS, configuration(graph));
    } else if is(Descriptor::CUDNN_BACKEND_ENGINE_DESCRIPTOR) {
        supported_graph(node, Name::CUDNN_ATTR_ENGINE_OPERATION_GRAPH)?;
        check(node.wide(Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX) == [0])?;
    } else if is(Descriptor::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
        node.set_wide(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, &[0]);
    } else if is(Descriptor::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR) {
        let count = |name| node.wide(name).len();
        check(
            count(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS)
                == count(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS),
        )?;
    }
    node.finalized = true;
    Ok(())
}

fn check(fine: bool) -> Result<(), c_int> {
    if fine { Ok(()) } else { Err(BAD_PARAM) }
}

/// The needed attributes are set and the descriptors among them finalized. A configuration and a plan say
/// NOT_FINALIZED, the others BAD_PARAM, as the real library does.
fn check_needed(node: &Node) -> Result<(), c_int> {
    let late = node.is(Descriptor::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
        || node.is(Descriptor::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    let set = rows(node.kind)
        .filter(|row| row.role == Role::Needed)
        .all(|row| node.attributes.contains_key(&row.name()));
    let closed = node.attributes.values().all(|attribute| match attribute {
        Attribute { values: Values::Nested(nodes), .. } => nodes.iter().all(|inner| inner.finalized),
        Attribute { values: Values::Plain(_), .. } => true,
    });
    match (set && closed, late) {
        (true, _) => Ok(()),
        (false, true) => Err(NOT_FINALIZED),
        (false, false) => Err(BAD_PARAM),
    }
}

fn is_tensor(node: &Node) -> bool {
    let (dims, strides) =
        (node.wide(Name::CUDNN_ATTR_TENSOR_DIMENSIONS), node.wide(Name::CUDNN_ATTR_TENSOR_STRIDES));
    dims.len() == strides.len()
        && (2..=MOST_DIMENSIONS).contains(&dims.len())
        && dims.iter().chain(&strides).all(|&value| value >= 0)
}

fn is_convolution(node: &Node) -> bool {
    let rank = node.wide(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS);
    let at_least = |name, least: i64| {
        let values = node.wide(name);
        rank == [values.len() as i64] && values.iter().all(|&value| value >= least)
    };
    at_least(Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, 1)
        && at_least(Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 1)
        && at_least(Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 0)
        && at_least(Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, 0)
        && (0..=1).contains(&node.enumerator(Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE))
}

/// Whether the graph is one forward convolution.
fn is_supported(graph: &Node) -> bool {
    let forward = Descriptor::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR;
    matches!(graph.nodes(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS), [one] if one.is(forward))
}

fn supported_graph(node: &Node, name: Name) -> Result<Node, c_int> {
    let graph = node.nodes(name).first().filter(|graph| is_supported(graph));
    graph.cloned().ok_or(NOT_SUPPORTED)
}

/// The one engine's configuration for a graph.
fn configuration(graph: Node) -> Node {
    let mut engine = Node::new(Descriptor::CUDNN_BACKEND_ENGINE_DESCRIPTOR as c_int);
    engine.set_node(Name::CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
    engine.set_wide(Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX, &[0]);
    engine.finalized = true;
    let mut configuration = Node::new(Descriptor::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR as c_int);
    configuration.set_node(Name::CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    configuration.finalized = true;
    configuration
}
