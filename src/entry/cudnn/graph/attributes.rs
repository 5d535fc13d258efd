//! The attributes of descriptors that can be ours: their types, and who sets them. What is refused is refused with the
//! status that libcudnn 9.1.0 was seen to answer.

use std::ffi::c_int;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind,
};

use super::node::{Node, Value};
use crate::boundary::status::Error;

/// Who sets an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The program; one element.
    One,
    /// The program; any number of elements.
    List,
    /// The library: it can only be read.
    Read,
}

/// An attribute of a kind of descriptor.
struct Row(Kind, Name, Type, Role);

const GRAPH: Kind = Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR;
const HEURISTICS: Kind = Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR;
const ENGINE: Kind = Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR;
const CONFIGURATION: Kind = Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR;
const PLAN: Kind = Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR;

const HANDLE: Type = Type::CUDNN_TYPE_HANDLE;
const DESCRIPTOR: Type = Type::CUDNN_TYPE_BACKEND_DESCRIPTOR;
const WIDE: Type = Type::CUDNN_TYPE_INT64;
const INT: Type = Type::CUDNN_TYPE_INT32;

const ROWS: &[Row] = &[
    Row(GRAPH, Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, HANDLE, Role::One),
    Row(GRAPH, Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, DESCRIPTOR, Role::List),
    Row(GRAPH, Name::CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, WIDE, Role::Read),
    Row(GRAPH, Name::CUDNN_ATTR_OPERATIONGRAPH_IS_DYNAMIC_SHAPE_ENABLED, Type::CUDNN_TYPE_BOOLEAN, Role::One),
    Row(HEURISTICS, Name::CUDNN_ATTR_ENGINEHEUR_MODE, Type::CUDNN_TYPE_HEUR_MODE, Role::One),
    Row(HEURISTICS, Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, DESCRIPTOR, Role::One),
    Row(HEURISTICS, Name::CUDNN_ATTR_ENGINEHEUR_RESULTS, DESCRIPTOR, Role::Read),
    Row(HEURISTICS, Name::CUDNN_ATTR_ENGINEHEUR_SM_COUNT_TARGET, INT, Role::One),
    Row(ENGINE, Name::CUDNN_ATTR_ENGINE_OPERATION_GRAPH, DESCRIPTOR, Role::One),
    Row(ENGINE, Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX, WIDE, Role::One),
    Row(ENGINE, Name::CUDNN_ATTR_ENGINE_KNOB_INFO, DESCRIPTOR, Role::Read),
    Row(ENGINE, Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, Type::CUDNN_TYPE_NUMERICAL_NOTE, Role::Read),
    Row(ENGINE, Name::CUDNN_ATTR_ENGINE_LAYOUT_INFO, DESCRIPTOR, Role::Read),
    Row(ENGINE, Name::CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, Type::CUDNN_TYPE_BEHAVIOR_NOTE, Role::Read),
    Row(ENGINE, Name::CUDNN_ATTR_ENGINE_SM_COUNT_TARGET, INT, Role::One),
    Row(CONFIGURATION, Name::CUDNN_ATTR_ENGINECFG_ENGINE, DESCRIPTOR, Role::One),
    Row(CONFIGURATION, Name::CUDNN_ATTR_ENGINECFG_INTERMEDIATE_INFO, DESCRIPTOR, Role::Read),
    Row(CONFIGURATION, Name::CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, DESCRIPTOR, Role::List),
    Row(CONFIGURATION, Name::CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, WIDE, Role::Read),
    Row(PLAN, Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, HANDLE, Role::One),
    Row(PLAN, Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, DESCRIPTOR, Role::One),
    Row(PLAN, Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, WIDE, Role::Read),
    Row(PLAN, Name::CUDNN_ATTR_EXECUTION_PLAN_COMPUTED_INTERMEDIATE_UIDS, WIDE, Role::Read),
    Row(PLAN, Name::CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, Type::CUDNN_TYPE_CHAR, Role::List),
    Row(PLAN, Name::CUDNN_ATTR_EXECUTION_PLAN_KERNEL_CACHE, DESCRIPTOR, Role::One),
];

/// The attribute's row. Errors: `INVALID_VALUE` unless the kind has it, `AttributeType` unless it is of this type.
fn row(node: &Node, [name, of]: [c_int; 2]) -> Result<&'static Row, Error> {
    let row = ROWS.iter().find(|row| row.0 as c_int == node.kind && row.1 as c_int == name);
    match row {
        None => Err(Error::InvalidValue("attributeName")),
        Some(row) if row.2 as c_int != of => Err(Error::AttributeType),
        Some(row) => Ok(row),
    }
}

/// Whether an attribute of one of ours can be read as this type.
pub fn check_get(node: &Node, attribute: [c_int; 2]) -> Result<(), Error> {
    row(node, attribute).map(|_| ())
}

/// Whether an attribute of one of ours can be set to this value.
pub fn check_set(node: &Node, attribute: [c_int; 2], count: i64, value: &Value) -> Result<(), Error> {
    let Row(kind, name, _, role) = row(node, attribute)?;
    match role {
        Role::Read if *kind == PLAN => return Err(Error::NotSupported("setting what is read")),
        Role::Read => return Err(Error::InvalidValue("attributeName")),
        Role::One if count != 1 => return Err(Error::InvalidValue("elementCount")),
        Role::One | Role::List => {}
    }
    match value {
        Value::Nodes(nodes) if *name == Name::CUDNN_ATTR_OPERATIONGRAPH_OPS => {
            let operations = nodes.iter().all(|operation| is_operation(operation.lock().kind));
            if operations { Ok(()) } else { Err(Error::NotSupported("a graph of what are no operations")) }
        }
        _ => Ok(()),
    }
}

/// Whether a kind of descriptor may be an operation; those that later versions add may.
fn is_operation(kind: c_int) -> bool {
    let others = [
        GRAPH,
        HEURISTICS,
        ENGINE,
        CONFIGURATION,
        PLAN,
        Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR,
        Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR,
        Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR,
        Kind::CUDNN_BACKEND_POINTWISE_DESCRIPTOR,
        Kind::CUDNN_BACKEND_MATMUL_DESCRIPTOR,
        Kind::CUDNN_BACKEND_REDUCTION_DESCRIPTOR,
        Kind::CUDNN_BACKEND_RESAMPLE_DESCRIPTOR,
    ];
    !others.iter().any(|&other| other as c_int == kind)
}
