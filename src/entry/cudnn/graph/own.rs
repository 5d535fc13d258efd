//! Descriptors of ours: operation graphs on handles of ours and what is derived from them.
//!
//! For such a graph there is one engine, with the global index 0, no knobs, no workspace and no numerical notes: it is
//! deterministic and computes in the types that were asked for.

#![allow(unsafe_code)]
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind,
};

use super::api::graph_of;
use super::lower::lower;
use super::node::{Node, Planned, Shared, Value, element_bytes, find};
use crate::boundary::status::Error;
use crate::log;

/// The type that an attribute of a kind is set and read with; `None` for an attribute that the kind does not have.
fn attribute_type(kind: c_int, name: c_int) -> Option<Type> {
    use Kind as K;
    use Name as N;
    const ROWS: &[(Kind, Name, Type)] = &[
        (
            K::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
            N::CUDNN_ATTR_OPERATIONGRAPH_HANDLE,
            Type::CUDNN_TYPE_HANDLE,
        ),
        (
            K::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
            N::CUDNN_ATTR_OPERATIONGRAPH_OPS,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
        ),
        (
            K::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
            N::CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT,
            Type::CUDNN_TYPE_INT64,
        ),
        (
            K::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
            N::CUDNN_ATTR_OPERATIONGRAPH_IS_DYNAMIC_SHAPE_ENABLED,
            Type::CUDNN_TYPE_BOOLEAN,
        ),
        (K::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, N::CUDNN_ATTR_ENGINEHEUR_MODE, Type::CUDNN_TYPE_HEUR_MODE),
        (
            K::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
        ),
        (
            K::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINEHEUR_RESULTS,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
        ),
        (
            K::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINEHEUR_SM_COUNT_TARGET,
            Type::CUDNN_TYPE_INT32,
        ),
        (
            K::CUDNN_BACKEND_ENGINE_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
        ),
        (K::CUDNN_BACKEND_ENGINE_DESCRIPTOR, N::CUDNN_ATTR_ENGINE_GLOBAL_INDEX, Type::CUDNN_TYPE_INT64),
        (
            K::CUDNN_BACKEND_ENGINE_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINE_KNOB_INFO,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
        ),
        (
            K::CUDNN_BACKEND_ENGINE_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
            Type::CUDNN_TYPE_NUMERICAL_NOTE,
        ),
        (
            K::CUDNN_BACKEND_ENGINE_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINE_LAYOUT_INFO,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
        ),
        (
            K::CUDNN_BACKEND_ENGINE_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
            Type::CUDNN_TYPE_BEHAVIOR_NOTE,
        ),
        (K::CUDNN_BACKEND_ENGINE_DESCRIPTOR, N::CUDNN_ATTR_ENGINE_SM_COUNT_TARGET, Type::CUDNN_TYPE_INT32),
        (
            K::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINECFG_ENGINE,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
        ),
        (
            K::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINECFG_INTERMEDIATE_INFO,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
        ),
        (
            K::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
        ),
        (
            K::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
            N::CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE,
            Type::CUDNN_TYPE_INT64,
        ),
        (
            K::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
            N::CUDNN_ATTR_EXECUTION_PLAN_HANDLE,
            Type::CUDNN_TYPE_HANDLE,
        ),
        (
            K::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
            N::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
        ),
        (
            K::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
            N::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
            Type::CUDNN_TYPE_INT64,
        ),
        (
            K::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
            N::CUDNN_ATTR_EXECUTION_PLAN_COMPUTED_INTERMEDIATE_UIDS,
            Type::CUDNN_TYPE_INT64,
        ),
        (
            K::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
            N::CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
            Type::CUDNN_TYPE_CHAR,
        ),
        (
            K::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
            N::CUDNN_ATTR_EXECUTION_PLAN_KERNEL_CACHE,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
        ),
    ];
    ROWS.iter().find_map(|row| (row.0 as c_int == kind && row.1 as c_int == name).then_some(row.2))
}

/// `INVALID_VALUE` unless the kind has such an attribute, of this type.
pub fn check_attribute(node: &Node, name: c_int, of: c_int) -> Result<(), Error> {
    match attribute_type(node.kind, name) {
        None => Err(Error::InvalidValue("attributeName")),
        Some(expected) if expected as c_int != of => Err(Error::InvalidValue("attributeType")),
        Some(_) => Ok(()),
    }
}

/// The graph of an operation graph descriptor.
pub fn plan(node: &Node) -> Arc<Planned> {
    let lowered = lower(&node.nodes(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS));
    Arc::new(Planned { lowered, offered: AtomicI64::new(0), failed: AtomicI64::new(0) })
}

/// What a descriptor refers to, finalized; `INVALID_VALUE` if it is not, or of another kind.
fn finalized(node: &Node, name: Name, kind: Kind) -> Result<Shared, Error> {
    let missing = Error::InvalidValue("a descriptor that is not set or not finalized");
    let other = node.node(name).ok_or(missing)?;
    let right = {
        let other = other.lock();
        other.finalized && other.is(kind)
    };
    if right { Ok(other) } else { Err(missing) }
}

/// Finalizes one of ours.
pub fn finalize(node: &mut Node) -> Result<(), Error> {
    if node.is(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
        if node.words(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE).is_empty() {
            return Err(Error::InvalidValue("CUDNN_ATTR_OPERATIONGRAPH_HANDLE"));
        }
        let operations = node.nodes(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS);
        if operations.is_empty() || operations.iter().any(|operation| !operation.lock().finalized) {
            return Err(Error::InvalidValue("CUDNN_ATTR_OPERATIONGRAPH_OPS"));
        }
        let planned = plan(node);
        if let Err(error) = &planned.lowered {
            log::debug(format_args!("refused fn=cudnnBackendFinalize error={error}"));
            return Err(*error);
        }
        node.graph = Some(planned);
    } else if node.is(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) {
        finalized(
            node,
            Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
            Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
        )?;
        if node.value(Name::CUDNN_ATTR_ENGINEHEUR_MODE as c_int).is_none() {
            return Err(Error::InvalidValue("CUDNN_ATTR_ENGINEHEUR_MODE"));
        }
    } else if node.is(Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR) {
        finalized(
            node,
            Name::CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
            Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
        )?;
        if node.number(Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX, -1.0) != 0.0 {
            return Err(Error::NotSupported("an engine other than the host's, whose index is 0"));
        }
    } else if node.is(Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) {
        finalized(node, Name::CUDNN_ATTR_ENGINECFG_ENGINE, Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR)?;
    } else if node.is(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
        finalized(
            node,
            Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
            Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
        )?;
    } else {
        return Err(Error::NotSupported("a descriptor of this kind on a handle of gpucompat's"));
    }
    node.graph = graph_of(node);
    node.finalized = true;
    Ok(())
}

/// Reads an attribute of one of ours; what the kind has and was never set is empty.
pub fn get(
    node: &Shared,
    [name, of]: [c_int; 2],
    requested: i64,
    count: *mut i64,
    elements: *mut c_void,
) -> Result<(), Error> {
    let node = node.lock();
    if !node.finalized {
        return Err(Error::NotInitialized);
    }
    check_attribute(&node, name, of)?;
    let is = |candidate: Name| candidate as c_int == name;
    let derived = if is(Name::CUDNN_ATTR_ENGINEHEUR_RESULTS) {
        Some(Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
    } else if is(Name::CUDNN_ATTR_ENGINECFG_ENGINE) {
        Some(Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR)
    } else if is(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG) {
        Some(Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
    } else {
        None
    };
    if let Some(kind) = derived {
        let filled = if requested > 0 { fill(&node, kind, elements) } else { Ok(()) };
        return filled.and_then(|()| answer(&[], 1, 0, count, std::ptr::null_mut(), of));
    }
    let one = 1i64.to_ne_bytes();
    let zero = 0i64.to_ne_bytes();
    let text = b"{\"engine\":\"gpucompat host\"}";
    let bytes: &[u8] = if is(Name::CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT) {
        &one
    } else if is(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)
        || is(Name::CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE)
        || is(Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX)
    {
        &zero
    } else if is(Name::CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION) {
        text
    } else if let Some(Value::Plain { bytes, .. }) = node.value(name) {
        bytes
    } else {
        &[]
    };
    let available = (bytes.len() / element_bytes(of)) as i64;
    answer(bytes, available, requested, count, elements, of)
}

/// Makes the caller's descriptor the one that belongs to this node's graph.
fn fill(node: &Node, kind: Kind, elements: *const c_void) -> Result<(), Error> {
    let wrong = Error::InvalidValue("arrayOfElements");
    if elements.is_null() {
        return Err(wrong);
    }
    // SAFETY: not null; the caller owes an array of descriptors, of which the first is looked up, not touched.
    let target = find(unsafe { elements.cast::<*const c_void>().read() }).ok_or(wrong)?;
    let mut target = target.lock();
    if !target.is(kind) {
        return Err(wrong);
    }
    target.ours = true;
    target.finalized = true;
    target.graph = graph_of(node);
    Ok(())
}

/// Writes how many elements there are, and as many of them as were asked for.
fn answer(
    bytes: &[u8],
    available: i64,
    requested: i64,
    count: *mut i64,
    elements: *mut c_void,
    of: c_int,
) -> Result<(), Error> {
    let copied = usize::try_from(requested.clamp(0, available)).unwrap_or(0) * element_bytes(of);
    if copied > 0 && elements.is_null() {
        return Err(Error::InvalidValue("arrayOfElements"));
    }
    if copied > 0 {
        // SAFETY: not null; the caller owes room for `requested` elements of this type, and no more than that are
        // copied, out of `bytes`, which holds `available`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), elements.cast::<u8>(), copied) };
    }
    if !count.is_null() {
        // SAFETY: not null; the caller owes a writable count.
        unsafe { count.write(available) };
    }
    Ok(())
}
