//! A descriptor's attributes.

use std::collections::BTreeMap;
use std::ffi::c_int;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Descriptor,
};

use crate::object::Kind;

/// A graph descriptor.
#[derive(Clone)]
pub struct Node {
    /// Its `cudnnBackendDescriptorType_t`.
    pub kind: c_int,
    /// By `cudnnBackendAttributeName_t`.
    pub attributes: BTreeMap<c_int, Attribute>,
    /// Whether it was finalized.
    pub finalized: bool,
}

/// An attribute's elements.
#[derive(Clone)]
pub struct Attribute {
    /// Its `cudnnBackendAttributeType_t`.
    pub kind: c_int,
    /// The elements.
    pub values: Values,
}

/// An attribute's elements.
#[derive(Clone)]
pub enum Values {
    /// Bytes of numbers.
    Plain(Vec<u8>),
    /// Copies of descriptors.
    Nested(Vec<Node>),
}

impl Kind for Node {
    const LETTER: u8 = b'G';
}

impl Node {
    /// A descriptor without attributes.
    pub fn new(kind: c_int) -> Node {
        Node { kind, attributes: BTreeMap::new(), finalized: false }
    }

    /// Whether it is of this kind.
    pub fn is(&self, kind: Descriptor) -> bool {
        self.kind == kind as c_int
    }

    /// Sets 64-bit numbers.
    pub fn set_wide(&mut self, name: Name, values: &[i64]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let attribute = Attribute { kind: Type::CUDNN_TYPE_INT64 as c_int, values: Values::Plain(bytes) };
        self.attributes.insert(name as c_int, attribute);
    }

    /// Sets a descriptor.
    pub fn set_node(&mut self, name: Name, node: Node) {
        let kind = Type::CUDNN_TYPE_BACKEND_DESCRIPTOR as c_int;
        self.attributes.insert(name as c_int, Attribute { kind, values: Values::Nested(vec![node]) });
    }

    fn bytes(&self, name: Name) -> &[u8] {
        match self.attributes.get(&(name as c_int)) {
            Some(Attribute { values: Values::Plain(bytes), .. }) => bytes,
            _ => &[],
        }
    }

    /// 64-bit numbers or pointers; none if never set.
    pub fn wide(&self, name: Name) -> Vec<i64> {
        let (words, _) = self.bytes(name).as_chunks::<8>();
        words.iter().map(|word| i64::from_le_bytes(*word)).collect()
    }

    /// An enumerator; 0 if never set.
    pub fn enumerator(&self, name: Name) -> c_int {
        self.bytes(name).first_chunk::<4>().map_or(0, |four| c_int::from_le_bytes(*four))
    }

    /// A float or a double; 0 if never set.
    pub fn number(&self, name: Name) -> f64 {
        match *self.bytes(name) {
            [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => 0.0,
        }
    }

    /// Descriptors; none if never set.
    pub fn nodes(&self, name: Name) -> &[Node] {
        match self.attributes.get(&(name as c_int)) {
            Some(Attribute { values: Values::Nested(nodes), .. }) => nodes,
            _ => &[],
        }
    }
}
