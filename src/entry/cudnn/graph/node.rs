//! Recorded descriptors: what was set on each, by address.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind,
};
use parking_lot::{Mutex, RwLock};

use super::lower::Graph;
use crate::boundary::status::Error;

/// A descriptor, shared by the descriptors that refer to it: it may be destroyed before they are used.
pub type Shared = Arc<Mutex<Node>>;

/// What is known of a descriptor.
pub struct Node {
    /// Its `cudnnBackendDescriptorType_t`.
    pub kind: c_int,
    /// Whether it was finalized.
    pub finalized: bool,
    /// Whether the real library must not be told of it any more.
    pub ours: bool,
    /// The graph it belongs to: an operation graph's own, passed on to engines, configurations and plans.
    pub graph: Option<Arc<Planned>>,
    attributes: HashMap<c_int, Value>,
}

/// An operation graph as far as it can be computed here, and what became of the real library's plans for it.
pub struct Planned {
    /// The operations; or why they cannot be computed here.
    pub lowered: Result<Graph, Error>,
    /// Configurations that the real library's heuristics offered.
    pub offered: AtomicI64,
    /// Plans that the real library could not make.
    pub failed: AtomicI64,
    /// Whether it could make one.
    pub made: AtomicBool,
}

/// The elements of an attribute.
#[derive(Clone)]
pub enum Value {
    /// Plain elements, as they lie in memory.
    Plain {
        /// Their `cudnnBackendAttributeType_t`.
        of: c_int,
        /// Their bytes.
        bytes: Vec<u8>,
    },
    /// Descriptors.
    Nodes(Vec<Shared>),
}

static NODES: RwLock<Option<HashMap<usize, Shared>>> = RwLock::new(None);

/// Begins the record of a descriptor.
pub fn record(descriptor: *mut c_void, kind: c_int) {
    NODES.write().get_or_insert_default().insert(descriptor as usize, Arc::new(Mutex::new(Node::new(kind))));
}

/// The record of a descriptor.
pub fn find(descriptor: *const c_void) -> Option<Shared> {
    NODES.read().as_ref()?.get(&(descriptor as usize)).cloned()
}

/// Ends the record of a descriptor; descriptors that refer to it keep what it held.
pub fn forget(descriptor: *const c_void) {
    if let Some(nodes) = NODES.write().as_mut() {
        nodes.remove(&(descriptor as usize));
    }
}

/// Bytes of an element of an attribute.
pub fn element_bytes(of: c_int) -> usize {
    let is = |types: &[Type]| types.iter().any(|&candidate| candidate as c_int == of);
    if is(&[Type::CUDNN_TYPE_BOOLEAN, Type::CUDNN_TYPE_CHAR]) {
        1
    } else if is(&[
        Type::CUDNN_TYPE_HANDLE,
        Type::CUDNN_TYPE_INT64,
        Type::CUDNN_TYPE_DOUBLE,
        Type::CUDNN_TYPE_VOID_PTR,
        Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
    ]) {
        8
    } else if is(&[Type::CUDNN_TYPE_FRACTION]) {
        16
    } else {
        4 // int32, float and all enumerations
    }
}

impl Value {
    /// Copies the elements that a caller sets. Errors: `INVALID_VALUE` for null, a negative count, or a descriptor
    /// that nothing is known of.
    pub fn read(of: c_int, count: i64, elements: *const c_void) -> Result<Value, Error> {
        let count = usize::try_from(count).map_err(|_| Error::InvalidValue("elementCount"))?;
        if elements.is_null() && count > 0 {
            return Err(Error::InvalidValue("arrayOfElements"));
        }
        let size = count.checked_mul(element_bytes(of)).ok_or(Error::InvalidValue("elementCount"))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| Error::AllocFailed)?;
        bytes.resize(size, 0u8);
        // SAFETY: not null if there are elements; the caller owes `count` readable elements of this type.
        unsafe { std::ptr::copy_nonoverlapping(elements.cast::<u8>(), bytes.as_mut_ptr(), size) };
        if of != Type::CUDNN_TYPE_BACKEND_DESCRIPTOR as c_int {
            return Ok(Value::Plain { of, bytes });
        }
        let node = |bytes: &[u8]| {
            let address = usize::from_ne_bytes(bytes.try_into().map_err(|_| Error::Internal)?);
            find(std::ptr::without_provenance(address)).ok_or(Error::InvalidValue("descriptor"))
        };
        Ok(Value::Nodes(bytes.chunks_exact(size_of::<usize>()).map(node).collect::<Result<_, _>>()?))
    }
}

impl Node {
    fn new(kind: c_int) -> Node {
        Node { kind, finalized: false, ours: false, graph: None, attributes: HashMap::new() }
    }

    /// Whether it is of this kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind as c_int
    }

    /// Records an attribute.
    pub fn set(&mut self, name: c_int, value: Value) {
        self.attributes.insert(name, value);
    }

    /// What an attribute was set to.
    pub fn value(&self, name: c_int) -> Option<&Value> {
        self.attributes.get(&name)
    }

    /// Descriptors that an attribute refers to; none if it was not set.
    pub fn nodes(&self, name: Name) -> Vec<Shared> {
        match self.value(name as c_int) {
            Some(Value::Nodes(nodes)) => nodes.clone(),
            _ => Vec::new(),
        }
    }

    /// The descriptor that an attribute refers to.
    pub fn node(&self, name: Name) -> Option<Shared> {
        self.nodes(name).into_iter().next()
    }

    /// An attribute's numbers, whole or not, whatever type they were set as; none if it was not set.
    pub fn numbers(&self, name: Name) -> Vec<f64> {
        let Some(Value::Plain { of, bytes }) = self.value(name as c_int) else { return Vec::new() };
        let floating = [Type::CUDNN_TYPE_FLOAT as c_int, Type::CUDNN_TYPE_DOUBLE as c_int].contains(of);
        bytes
            .chunks_exact(element_bytes(*of))
            .map(|element| match (element, floating) {
                (&[byte], _) => f64::from(byte),
                (&[a, b, c, d], true) => f32::from_ne_bytes([a, b, c, d]).into(),
                (&[a, b, c, d], false) => i32::from_ne_bytes([a, b, c, d]).into(),
                (&[a, b, c, d, e, f, g, h], true) => f64::from_ne_bytes([a, b, c, d, e, f, g, h]),
                (&[a, b, c, d, e, f, g, h], false) => i64::from_ne_bytes([a, b, c, d, e, f, g, h]) as f64,
                (fraction, _) if fraction.len() == 16 => {
                    let part =
                        |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| i64::from_ne_bytes(*bytes));
                    part(&fraction[..8]) as f64 / part(&fraction[8..]) as f64
                }
                _ => f64::NAN,
            })
            .collect()
    }

    /// An attribute's only number, or its default.
    pub fn number(&self, name: Name, default: f64) -> f64 {
        self.numbers(name).first().copied().unwrap_or(default)
    }

    /// An attribute's 64-bit words: unique ids, pointers, handles.
    pub fn words(&self, name: Name) -> Vec<u64> {
        let Some(Value::Plain { bytes, .. }) = self.value(name as c_int) else { return Vec::new() };
        bytes.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_ne_bytes)).collect()
    }

    /// An attribute's enumerator, or its default.
    pub fn code(&self, name: Name, default: c_int) -> c_int {
        self.number(name, default.into()) as c_int
    }

    /// An attribute's sizes; `INVALID_VALUE` if one is negative.
    pub fn sizes(&self, name: Name) -> Result<Vec<usize>, Error> {
        self.numbers(name)
            .into_iter()
            .map(|number| match number {
                number if number < 0.0 || number.is_nan() => Err(Error::InvalidValue("size")),
                number if number.fract() != 0.0 => Err(Error::NotSupported("a size that is no whole number")),
                number => Ok(number as usize),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_outlives_its_descriptor_where_another_refers_to_it() {
        let (tensor, operation) = (0x10_0000 as *mut c_void, 0x10_0040 as *mut c_void);
        record(tensor, Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR as c_int);
        record(operation, Kind::CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR as c_int);
        let dims = [2i64, 3];
        let of = Type::CUDNN_TYPE_INT64 as c_int;
        let value = Value::read(of, 2, dims.as_ptr().cast()).unwrap();
        find(tensor).unwrap().lock().set(Name::CUDNN_ATTR_TENSOR_DIMENSIONS as c_int, value);
        let of = Type::CUDNN_TYPE_BACKEND_DESCRIPTOR as c_int;
        let value = Value::read(of, 1, (&raw const tensor).cast()).unwrap();
        find(operation).unwrap().lock().set(Name::CUDNN_ATTR_OPERATION_POINTWISE_XDESC as c_int, value);
        forget(tensor);
        assert!(find(tensor).is_none());
        let operation = find(operation).unwrap();
        let held = operation.lock().node(Name::CUDNN_ATTR_OPERATION_POINTWISE_XDESC).unwrap();
        assert_eq!(held.lock().sizes(Name::CUDNN_ATTR_TENSOR_DIMENSIONS).unwrap(), [2, 3]);
    }

    #[test]
    fn negative_counts_and_null_are_invalid() {
        let of = Type::CUDNN_TYPE_INT64 as c_int;
        assert!(Value::read(of, -1, std::ptr::null()).is_err());
        assert!(Value::read(of, 1, std::ptr::null()).is_err());
        assert!(Value::read(of, 0, std::ptr::null()).is_ok());
    }
}
