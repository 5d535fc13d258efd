//! The six functions of the graph API.
//!
//! Errors, as the real library answers: setting: `BAD_PARAM` after finalization; getting: `NOT_INITIALIZED` before;
//! finalizing: `BAD_PARAM` for what is missing or unfinished, `NOT_SUPPORTED` for a graph that cannot be computed here;
//! executing: `BAD_PARAM` for addresses that are missing.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind,
};

use super::attributes::check_set;
use super::node::{Node, Planned, Shared, Value, find, forget, record};
use super::{own, run};
use crate::boundary::status::{Error, Evidence, SUCCESS, evidence};
use crate::entry::call::{Call, Timing};
use crate::entry::route::Served;
use crate::handle::registry::is_ours;
use crate::native::find::{Library, Slot};
use crate::native::real::clear_missing_kernel_error;
use crate::policy::learn::learn;
use crate::policy::verdict::{Mode, is_suspect, verdict};

macro_rules! cudnn_backend_create {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (kind: c_int, descriptor: *mut *mut c_void)
        managed(native) $crate::entry::cudnn::graph::api::create(kind, descriptor, native) }
    };
}
macro_rules! cudnn_backend_destroy {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (descriptor: *mut c_void)
        managed(native) $crate::entry::cudnn::graph::api::destroy(descriptor, native) }
    };
}
macro_rules! cudnn_backend_initialize {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (descriptor: *mut c_void)
        managed(native) $crate::entry::cudnn::graph::api::initialize(descriptor, native) }
    };
}
macro_rules! cudnn_backend_set_attribute {
    ($symbol:ident) => { export! { $symbol of Cudnn (descriptor: *mut c_void, name: c_int, of: c_int,
        count: i64, elements: *const c_void)
        managed(native) $crate::entry::cudnn::graph::api::set(descriptor, [name, of], count, elements, native) } };
}
macro_rules! cudnn_backend_get_attribute {
    ($symbol:ident) => { export! { $symbol of Cudnn (descriptor: *mut c_void, name: c_int, of: c_int,
        requested: i64, count: *mut i64, elements: *mut c_void)
        managed(native)
            $crate::entry::cudnn::graph::api::get(descriptor, [name, of], requested, count, elements, native) } };
}
macro_rules! cudnn_backend_finalize {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (descriptor: *mut c_void)
        managed(native) $crate::entry::cudnn::graph::api::finalize(descriptor, native) }
    };
}
macro_rules! cudnn_backend_execute {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, plan: *mut c_void, pack: *mut c_void)
        compute($crate::entry::cudnn::graph::api::is_own_plan(handle, plan),
            $crate::entry::cudnn::graph::api::signature(plan))
        serve $crate::entry::cudnn::graph::api::execute(handle, plan, pack) }
    };
}

macro_rules! cudnn_backend_cuda_graph {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, plan: *mut c_void, pack: *mut c_void, graph: *mut c_void)
        compute($crate::entry::cudnn::graph::api::is_own_plan(handle, plan), 0)
        serve $crate::entry::cudnn::graph::api::refuse_cuda_graph() }
    };
}

/// The real call of the function at hand; `None` where there is no real library.
type Native<'a> = Option<&'a dyn Fn() -> c_int>;

/// Makes a descriptor: the real library does, and its record begins.
pub fn create(kind: c_int, out: *mut *mut c_void, native: Native<'_>) -> Result<c_int, Error> {
    let status = native.ok_or(Error::NotInitialized)?();
    if status == SUCCESS && !out.is_null() {
        // SAFETY: not null, and the real library has just written a descriptor there.
        record(unsafe { out.read() }, kind);
    }
    Ok(status)
}

/// Ends a descriptor, which is the real library's object in any case.
pub fn destroy(descriptor: *mut c_void, native: Native<'_>) -> Result<c_int, Error> {
    forget(descriptor);
    Ok(native.ok_or(Error::NotInitialized)?())
}

/// Puts a descriptor back to what it was when made.
pub fn initialize(descriptor: *mut c_void, native: Native<'_>) -> Result<c_int, Error> {
    if let Some(node) = find(descriptor) {
        record(descriptor, node.lock().kind);
    }
    Ok(native.ok_or(Error::NotInitialized)?())
}

/// Sets an attribute. From the first reference to something of ours on, the descriptor is ours as well.
pub fn set(
    descriptor: *mut c_void,
    [name, of]: [c_int; 2],
    count: i64,
    elements: *const c_void,
    native: Native<'_>,
) -> Result<c_int, Error> {
    let native = native.ok_or(Error::NotInitialized)?;
    let Some(node) = find(descriptor) else { return Ok(native()) };
    let value = Value::read(of, count, elements);
    if !node.lock().ours && !refers_to_ours(&node, name, &value) {
        let status = native();
        if let (SUCCESS, Ok(value)) = (status, value) {
            node.lock().set(name, value);
        }
        return Ok(status);
    }
    let value = value?;
    if matches!(&value, Value::Nodes(nodes) if nodes.iter().any(|other| Arc::ptr_eq(other, &node))) {
        return Err(Error::InvalidValue("a descriptor that refers to itself"));
    }
    let mut node = node.lock();
    if node.finalized {
        return Err(Error::InvalidValue("a descriptor that is finalized"));
    }
    check_set(&node, [name, of], count, &value)?;
    node.ours = true;
    node.set(name, value);
    Ok(SUCCESS)
}

/// Whether a value is a handle of ours, one whose device's policy says compat, or a descriptor that is ours.
fn refers_to_ours(node: &Shared, name: c_int, value: &Result<Value, Error>) -> bool {
    match value {
        Ok(Value::Nodes(nodes)) => nodes.iter().any(|other| !Arc::ptr_eq(other, node) && other.lock().ours),
        Ok(Value::Plain { of, bytes }) if *of == Type::CUDNN_TYPE_HANDLE as c_int => {
            let handle = bytes.first_chunk().map_or(0, |bytes| usize::from_ne_bytes(*bytes));
            let begins_graph = name == Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE as c_int;
            is_ours(std::ptr::without_provenance(handle))
                || begins_graph && verdict(Library::Cudnn).mode == Mode::Compat
        }
        _ => false,
    }
}

/// Reads an attribute.
pub fn get(
    descriptor: *mut c_void,
    [name, of]: [c_int; 2],
    requested: i64,
    count: *mut i64,
    elements: *mut c_void,
    native: Native<'_>,
) -> Result<c_int, Error> {
    let native = native.ok_or(Error::NotInitialized)?;
    let Some(node) = find(descriptor) else { return Ok(native()) };
    if node.lock().ours {
        own::get(&node, [name, of], requested, count, elements)?;
        return Ok(SUCCESS);
    }
    let status = native();
    if status == SUCCESS && name == Name::CUDNN_ATTR_ENGINEHEUR_RESULTS as c_int {
        note_offers(&node.lock(), requested, count, elements);
    }
    Ok(status)
}

/// The real library's configurations belong to the graph that its heuristics were asked about.
fn note_offers(heuristics: &Node, requested: i64, count: *const i64, elements: *const c_void) {
    let Some(graph) = graph_of(heuristics) else { return };
    if count.is_null() {
        return;
    }
    // SAFETY: not null, and the real library has just written the number there.
    let available = unsafe { count.read() };
    graph.offered.fetch_max(available, Ordering::Relaxed);
    let filled = available.min(requested);
    if elements.is_null() {
        return;
    }
    for index in 0..usize::try_from(filled).unwrap_or(0) {
        // SAFETY: the real library has just filled that many descriptors of the caller's array.
        let configuration = unsafe { elements.cast::<*const c_void>().add(index).read() };
        if let Some(configuration) = find(configuration) {
            configuration.lock().graph = Some(graph.clone());
        }
    }
}

/// The graph that a descriptor belongs to, through what it refers to.
pub fn graph_of(node: &Node) -> Option<Arc<Planned>> {
    if let Some(graph) = &node.graph {
        return Some(graph.clone());
    }
    [
        Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
        Name::CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
        Name::CUDNN_ATTR_ENGINECFG_ENGINE,
        Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
    ]
    .into_iter()
    .find_map(|name| node.node(name))
    .and_then(|next| graph_of(&next.lock()))
}

/// Finalizes a descriptor.
pub fn finalize(descriptor: *mut c_void, native: Native<'_>) -> Result<c_int, Error> {
    let native = native.ok_or(Error::NotInitialized)?;
    let Some(node) = find(descriptor) else { return Ok(native()) };
    if node.lock().ours {
        own::finalize(&mut node.lock())?;
        return Ok(SUCCESS);
    }
    let status = native();
    if status != SUCCESS {
        return Ok(if becomes_ours(&node, status) { SUCCESS } else { status });
    }
    let mut node = node.lock();
    node.finalized = true;
    if node.is(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
        node.graph = Some(own::plan(&node));
    } else if node.is(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
        && let Some(graph) = graph_of(&node)
    {
        graph.made.store(true, Ordering::Relaxed);
    }
    Ok(status)
}

/// A plan that the real library could not make becomes ours if it failed for want of a kernel: its status says so
/// plainly; or, on a suspect device, none could be made and it was the last that the heuristics had to offer. A single
/// NOT_SUPPORTED is how healthy devices turn down one engine of many.
fn becomes_ours(node: &Shared, status: c_int) -> bool {
    static EXECUTE: Slot = Slot::new(Library::Cudnn, c"cudnnBackendExecute");
    let evidence = evidence(Library::Cudnn, status);
    let graph = {
        let node = node.lock();
        let plan = node.is(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
        graph_of(&node).filter(|_| plan && evidence != Evidence::None)
    };
    let Some(graph) = graph else { return false };
    let Ok(lowered) = &graph.lowered else { return false };
    let failed = graph.failed.fetch_add(1, Ordering::Relaxed) + 1;
    let plain = clear_missing_kernel_error() || evidence == Evidence::Strong;
    let none_left = !graph.made.load(Ordering::Relaxed)
        && failed >= graph.offered.load(Ordering::Relaxed)
        && is_suspect();
    if !plain && !none_left {
        return false;
    }
    learn(&EXECUTE, lowered.signature, status);
    let mut node = node.lock();
    node.ours = true;
    node.finalized = true;
    true
}

/// A plan of ours is not put into a CUDA graph: nothing of it runs on the device.
pub fn refuse_cuda_graph() -> Result<Served, Error> {
    Err(Error::NotSupported("a plan of the host's in a CUDA graph"))
}

/// Whether a plan must not reach the real library.
pub fn is_own_plan(handle: *const c_void, plan: *const c_void) -> bool {
    is_ours(handle) || find(plan).is_some_and(|plan| plan.lock().ours)
}

/// A number for what a plan computes.
pub fn signature(plan: *const c_void) -> u32 {
    let graph = find(plan).and_then(|plan| graph_of(&plan.lock()));
    graph.and_then(|graph| graph.lowered.as_ref().ok().map(|lowered| lowered.signature)).unwrap_or(0)
}

/// Computes a plan's graph on the addresses of a variant pack.
pub fn execute(handle: *mut c_void, plan: *const c_void, pack: *const c_void) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let plan = finished(plan, Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "executionPlan")?;
    let pack = finished(pack, Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "variantPack")?;
    let planned = graph_of(&plan.lock()).ok_or(Error::NotSupported("a plan whose graph is not known"))?;
    planned.lowered.as_ref().map_err(|&error| error)?;
    let (ids, addresses) = {
        let pack = pack.lock();
        if pack.value(Name::CUDNN_ATTR_VARIANT_PACK_OVERRIDE_UNIQUE_IDS as c_int).is_some() {
            return Err(Error::NotSupported("a variant pack with shapes of its own"));
        }
        let words = |name| pack.words(name);
        (words(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS), words(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS))
    };
    if ids.len() != addresses.len() {
        return Err(Error::InvalidValue("variantPack"));
    }
    let given = ids.into_iter().map(|id| id as i64).zip(addresses).collect();
    call.run((planned, given), |call, (planned, given)| {
        run::run(call, planned.lowered.as_ref().map_err(|&error| error)?, given)
    })
}

/// The record of a finalized descriptor of this kind.
fn finished(descriptor: *const c_void, kind: Kind, argument: &'static str) -> Result<Shared, Error> {
    let node = find(descriptor).ok_or(Error::InvalidValue(argument))?;
    let (right, finalized) = {
        let node = node.lock();
        (node.is(kind), node.finalized)
    };
    match (right, finalized) {
        (false, _) => Err(Error::InvalidValue(argument)),
        (true, false) => Err(Error::NotFinalized(argument)),
        (true, true) => Ok(node),
    }
}
