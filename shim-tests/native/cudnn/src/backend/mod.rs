//! The graph API: descriptors as a store of attributes, with just enough meaning for one forward convolution.
//!
//! An attribute of descriptors holds copies of them, as they were when it was set. Attributes that
//! NVIDIA's documentation requires must be set before a descriptor is finalized.

mod execute;
mod finalize;
mod node;
mod table;

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::cudnnBackendDescriptorType_t as Descriptor;
use native_core::record;

use crate::arguments::put;
use crate::convolve::play;
use crate::handle::own;
use crate::object::{called, create, destroy, value};
use crate::status::{ATTRIBUTE_TYPE, BAD_PARAM, NO_SUCH_DESCRIPTOR, NOT_INITIALIZED, of};
use node::{Attribute, Node, Values};
use table::{Role, is_listed, row, size};

const HANDLE: c_int = cudarc::cudnn::sys::cudnnBackendAttributeType_t::CUDNN_TYPE_HANDLE as c_int;
const DESCRIPTOR: c_int =
    cudarc::cudnn::sys::cudnnBackendAttributeType_t::CUDNN_TYPE_BACKEND_DESCRIPTOR as c_int;

/// Makes a descriptor.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnBackendCreateDescriptor(kind: c_int, out: *mut *mut c_void) -> c_int {
    let name = "cudnnBackendCreateDescriptor";
    if (0..=Descriptor::CUDNN_BACKEND_OPERATION_RNG_DESCRIPTOR as c_int).contains(&kind) {
        return create(name, out, Node::new(kind));
    }
    record::count(name);
    NO_SUCH_DESCRIPTOR
}

/// Ends a descriptor; copies of it in others live on.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnBackendDestroyDescriptor(descriptor: *mut c_void) -> c_int {
    if descriptor.is_null() {
        record::count("cudnnBackendDestroyDescriptor");
        return BAD_PARAM;
    }
    destroy::<Node>("cudnnBackendDestroyDescriptor", descriptor)
}

/// Sets an attribute of a descriptor that is not finalized.
///
/// # Safety
/// `elements` has `count` elements of the type, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendSetAttribute(
    descriptor: *mut c_void,
    attribute: c_int,
    kind: c_int,
    count: i64,
    elements: *const c_void,
) -> c_int {
    of(|| {
        let node = called::<Node>("cudnnBackendSetAttribute", descriptor)?;
        let count = usize::try_from(count).map_err(|_| BAD_PARAM)?;
        if node.finalized || elements.is_null() || count == 0 {
            return Err(BAD_PARAM);
        }
        let row = row(node.kind, attribute);
        match row {
            None if is_listed(node.kind) => return Err(BAD_PARAM),
            Some(row) if !row.has_type(kind) => return Err(ATTRIBUTE_TYPE),
            Some(row) if row.role == Role::Output || count > row.most => return Err(BAD_PARAM),
            _ => {}
        }
        let values = if kind == DESCRIPTOR {
            let inner = |index| {
                // SAFETY: not null; the caller owes `count` descriptors.
                let node = &*value::<Node>(unsafe { elements.cast::<*mut c_void>().add(index).read() })?;
                let fits = row.and_then(|row| row.inner).is_none_or(|kind| kind as c_int == node.kind);
                if fits { Ok(node.clone()) } else { Err(BAD_PARAM) }
            };
            Values::Nested((0..count).map(inner).collect::<Result<_, c_int>>()?)
        } else {
            // SAFETY: not null; the caller owes `count` elements of this type's size.
            let bytes = unsafe {
                std::slice::from_raw_parts(elements.cast::<u8>(), count * size(kind).ok_or(ATTRIBUTE_TYPE)?)
            };
            Values::Plain(bytes.to_vec())
        };
        if kind == HANDLE {
            // SAFETY: as above; there is at least one element.
            own(unsafe { elements.cast::<*mut c_void>().read() })?;
        }
        node.attributes.insert(attribute, Attribute { kind, values });
        Ok(())
    })
}

/// Gets up to `requested` elements of an attribute of a finalized descriptor; for descriptors the caller's own
/// ones are filled. `count` becomes the number given, or, if no descriptor is requested, the number there is.
/// An attribute that was never set has no elements.
///
/// # Safety
/// `count` is writable or null, `elements` has room for `requested` elements of the type or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendGetAttribute(
    descriptor: *const c_void,
    attribute: c_int,
    kind: c_int,
    requested: i64,
    count: *mut i64,
    elements: *mut c_void,
) -> c_int {
    of(|| {
        let node = &*called::<Node>("cudnnBackendGetAttribute", descriptor)?;
        let requested = usize::try_from(requested).map_err(|_| BAD_PARAM)?;
        if !node.finalized {
            return Err(NOT_INITIALIZED);
        }
        match row(node.kind, attribute) {
            None if is_listed(node.kind) => return Err(BAD_PARAM),
            Some(row) if !row.has_type(kind) => return Err(ATTRIBUTE_TYPE),
            _ => {}
        }
        let given = match node.attributes.get(&attribute) {
            None => 0,
            Some(found) if found.kind != kind => return Err(ATTRIBUTE_TYPE),
            Some(Attribute { values: Values::Nested(nodes), .. }) => {
                let targets = if elements.is_null() { 0 } else { requested.min(nodes.len()) };
                for (index, node) in nodes[..targets].iter().enumerate() {
                    // SAFETY: not null; the caller owes `requested` descriptors.
                    fill(unsafe { elements.cast::<*mut c_void>().add(index).read() }, node)?;
                }
                if requested == 0 { nodes.len() } else { requested.min(nodes.len()) }
            }
            Some(Attribute { values: Values::Plain(bytes), .. }) => {
                let size = size(kind).ok_or(ATTRIBUTE_TYPE)?;
                let given = requested.min(bytes.len() / size);
                if !elements.is_null() {
                    // SAFETY: not null; the caller owes room for `requested` elements, and `given` are no more.
                    unsafe {
                        std::ptr::copy_nonoverlapping(bytes.as_ptr(), elements.cast::<u8>(), given * size);
                    }
                }
                given
            }
        };
        if count.is_null() { Ok(()) } else { put([count], [given as i64]) }
    })
}

/// Makes the caller's descriptor a copy of `node`.
fn fill(target: *mut c_void, node: &Node) -> Result<(), c_int> {
    let target = value::<Node>(target)?;
    if target.kind != node.kind {
        return Err(BAD_PARAM);
    }
    *target = node.clone();
    Ok(())
}

/// Checks a descriptor and computes what it gives. In a broken mode, an execution plan fails here.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnBackendFinalize(descriptor: *mut c_void) -> c_int {
    of(|| {
        let node = called::<Node>("cudnnBackendFinalize", descriptor)?;
        if node.kind == Descriptor::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR as c_int {
            play("cudnnBackendFinalize")?;
        }
        finalize::finalize(node)
    })
}

/// Runs a plan on the variant pack's pointers.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnBackendExecute(handle: *mut c_void, plan: *mut c_void, pack: *mut c_void) -> c_int {
    of(|| {
        let stream = crate::handle::called("cudnnBackendExecute", handle)?.stream;
        let play = play("cudnnBackendExecute")?;
        execute::execute(&*value::<Node>(plan)?, &*value::<Node>(pack)?, stream, play)
    })
}
