//! Descriptors of ours: operation graphs on handles of ours and what is derived from them.
//!
//! For such a graph there is one engine, with the global index 0, no knobs, no workspace and no numerical notes: it is
//! deterministic and computes in the types that were asked for.

#![allow(unsafe_code)]
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind,
    cudnnBackendHeurMode_t as HeuristicsMode,
};

use super::api::graph_of;
use super::attributes::check_get;
use super::lower::lower;
use super::node::{Node, Planned, Shared, Value, element_bytes, find};
use crate::boundary::status::Error;

/// The graph of an operation graph descriptor.
pub fn plan(node: &Node) -> Arc<Planned> {
    let lowered = lower(&node.nodes(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS));
    Arc::new(Planned {
        lowered,
        offered: AtomicI64::new(0),
        failed: AtomicI64::new(0),
        made: AtomicBool::new(false),
    })
}

/// Fails with `error` unless the attribute is set to a finalized descriptor of this kind.
fn expect(node: &Node, name: Name, kind: Kind, error: Error) -> Result<(), Error> {
    let other = node.node(name).ok_or(error)?;
    let other = other.lock();
    if other.finalized && other.is(kind) { Ok(()) } else { Err(error) }
}

/// Finalizes one of ours. Errors: `INVALID_VALUE` for what is missing, or once more; `NotFinalized` for what it refers
/// to, but `INVALID_VALUE` for heuristics, as the real library answers.
pub fn finalize(node: &mut Node) -> Result<(), Error> {
    if node.finalized {
        return Err(Error::InvalidValue("a descriptor that is finalized"));
    }
    let graph = Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR;
    if node.is(graph) {
        finalize_graph(node)?;
    } else if node.is(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) {
        let name = Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH;
        expect(node, name, graph, Error::InvalidValue("CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH"))?;
        let mode = node.code(Name::CUDNN_ATTR_ENGINEHEUR_MODE, -1);
        if !(0..HeuristicsMode::CUDNN_HEUR_MODES_COUNT as c_int).contains(&mode) {
            return Err(Error::InvalidValue("CUDNN_ATTR_ENGINEHEUR_MODE"));
        }
    } else if node.is(Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR) {
        let name = Name::CUDNN_ATTR_ENGINE_OPERATION_GRAPH;
        if node.node(name).is_none() {
            return Err(Error::InvalidValue("CUDNN_ATTR_ENGINE_OPERATION_GRAPH"));
        }
        expect(node, name, graph, Error::NotFinalized("CUDNN_ATTR_ENGINE_OPERATION_GRAPH"))?;
        if node.number(Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX, -1.0) != 0.0 {
            return Err(Error::NotSupported("an engine other than the host's, whose index is 0"));
        }
    } else if node.is(Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) {
        let (name, kind) = (Name::CUDNN_ATTR_ENGINECFG_ENGINE, Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR);
        expect(node, name, kind, Error::NotFinalized("CUDNN_ATTR_ENGINECFG_ENGINE"))?;
    } else if node.is(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
        let name = Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG;
        let error = Error::NotFinalized("CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG");
        expect(node, name, Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, error)?;
    } else {
        return Err(Error::NotSupported("a descriptor of this kind on a handle of gpucompat's"));
    }
    node.graph = graph_of(node);
    node.finalized = true;
    Ok(())
}

fn finalize_graph(node: &mut Node) -> Result<(), Error> {
    if node.words(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE).is_empty() {
        return Err(Error::InvalidValue("CUDNN_ATTR_OPERATIONGRAPH_HANDLE"));
    }
    let operations = node.nodes(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS);
    if operations.is_empty() {
        return Err(Error::InvalidValue("CUDNN_ATTR_OPERATIONGRAPH_OPS"));
    }
    if operations.iter().any(|operation| !operation.lock().finalized) {
        return Err(Error::NotFinalized("CUDNN_ATTR_OPERATIONGRAPH_OPS"));
    }
    let planned = plan(node);
    if let Err(error) = &planned.lowered {
        return Err(*error);
    }
    node.graph = Some(planned);
    Ok(())
}

/// Reads an attribute of one of ours; what the kind has and was never set is empty.
pub fn get(
    shared: &Shared,
    [name, of]: [c_int; 2],
    requested: i64,
    count: *mut i64,
    elements: *mut c_void,
) -> Result<(), Error> {
    let node = shared.lock();
    if !node.finalized {
        return Err(Error::NotInitialized);
    }
    check_get(&node, [name, of])?;
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
        let graph = graph_of(&node);
        drop(node); // the caller's descriptor may be this very one, which `fill` then refuses
        let filled = if requested > 0 { fill(graph, kind, elements) } else { Ok(()) };
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

/// Makes the caller's descriptor, of this kind, the one that belongs to the graph.
fn fill(graph: Option<Arc<Planned>>, kind: Kind, elements: *const c_void) -> Result<(), Error> {
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
    target.graph = graph;
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
