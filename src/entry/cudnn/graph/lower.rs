//! From recorded descriptors to a graph that can be computed: tensors by number, operations in order.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use cudarc::cudnn::sys::{cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind};
use gpucompat_engine::{Layout, MAX_RANK};

use super::node::{Node, Shared};
use super::operation::Operation;
use super::read::read as read_operation;
use crate::boundary::args::DataType;
use crate::boundary::status::Error;
use crate::entry::cudnn::descriptor::{TensorDesc, checked};

/// Where a tensor's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In device memory, at an address of the variant pack.
    Device,
    /// In host memory, at an address of the variant pack: a scalar.
    Host,
    /// Nowhere: it only goes from one operation to another.
    Virtual,
}

/// A tensor of a graph.
#[derive(Clone, Copy, Debug)]
pub struct GraphTensor {
    /// Its `CUDNN_ATTR_TENSOR_UNIQUE_ID`.
    pub id: i64,
    /// Type and layout.
    pub desc: TensorDesc,
    /// Where it is.
    pub place: Place,
}

/// A graph, ready to be computed.
#[derive(Debug)]
pub struct Graph {
    /// The tensors; operations name them by their index.
    pub tensors: Vec<GraphTensor>,
    /// The operations; what one reads, an earlier one has written, or the program.
    pub operations: Vec<Operation>,
    /// The log's words.
    pub text: String,
    /// A number for operations, types and sizes.
    pub signature: u32,
}

/// Tensors met so far. Two descriptors with one unique id are one tensor.
#[derive(Default)]
pub struct Tensors {
    known: Vec<GraphTensor>,
    by_id: HashMap<i64, usize>,
}

impl Tensors {
    /// The number of the tensor that an attribute refers to.
    pub fn required(&mut self, node: &Node, name: Name) -> Result<usize, Error> {
        self.optional(node, name)?.ok_or(Error::InvalidValue("an operation's tensor"))
    }

    /// The same; `None` if the attribute was not set.
    pub fn optional(&mut self, node: &Node, name: Name) -> Result<Option<usize>, Error> {
        let Some(tensor) = node.node(name) else { return Ok(None) };
        let tensor = read(&tensor.lock())?;
        if let Some(&index) = self.by_id.get(&tensor.id) {
            return Ok(Some(index));
        }
        self.known.push(tensor);
        self.by_id.insert(tensor.id, self.known.len() - 1);
        Ok(Some(self.known.len() - 1))
    }

    /// Sizes of a tensor.
    pub fn dims(&self, index: usize) -> &[usize] {
        self.known[index].desc.layout.dims()
    }
}

/// Reads a tensor descriptor. Errors: `NOT_SUPPORTED` for vectorized, reordered and ragged tensors.
fn read(node: &Node) -> Result<GraphTensor, Error> {
    if !node.is(Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR) || !node.finalized {
        return Err(Error::InvalidValue("tensor descriptor"));
    }
    let (dims, strides) =
        (node.sizes(Name::CUDNN_ATTR_TENSOR_DIMENSIONS)?, node.sizes(Name::CUDNN_ATTR_TENSOR_STRIDES)?);
    let plain = node.number(Name::CUDNN_ATTR_TENSOR_VECTOR_COUNT, 1.0) <= 1.0
        && node.number(Name::CUDNN_ATTR_TENSOR_REORDERING_MODE, 0.0) == 0.0
        && node.node(Name::CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC).is_none();
    if !plain {
        return Err(Error::NotSupported("a vectorized, reordered or ragged tensor"));
    }
    if dims.len() != strides.len() || dims.is_empty() || dims.len() > MAX_RANK {
        return Err(Error::InvalidValue("tensor dimensions"));
    }
    let place = if node.number(Name::CUDNN_ATTR_TENSOR_IS_VIRTUAL, 0.0) != 0.0 {
        Place::Virtual
    } else if node.number(Name::CUDNN_ATTR_TENSOR_IS_BY_VALUE, 0.0) != 0.0 {
        Place::Host
    } else {
        Place::Device
    };
    let ids = node.words(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID);
    let id = ids.first().ok_or(Error::InvalidValue("CUDNN_ATTR_TENSOR_UNIQUE_ID"))?;
    let element = DataType::from_cudnn(node.code(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, -1))?;
    let desc = TensorDesc { element, layout: Layout::new(&dims, &strides) };
    checked(&desc.layout, "tensor dimensions")?;
    Ok(GraphTensor { id: *id as i64, desc, place })
}

/// The graph of these operations. Errors: `NOT_SUPPORTED` for one that has no host form, or cycles.
pub fn lower(operations: &[Shared]) -> Result<Graph, Error> {
    let mut tensors = Tensors::default();
    let read = |operation: &Shared| read_operation(&operation.lock(), &mut tensors);
    let operations = operations.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let operations = sorted(operations)?;
    let tensors = tensors.known;
    check_places(&tensors, &operations)?;
    let mut text = String::from("ops=");
    for (index, operation) in operations.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{}", operation.name());
    }
    for tensor in tensors.iter().filter(|tensor| tensor.place == Place::Device) {
        let dims: Vec<String> = tensor.desc.layout.dims().iter().map(usize::to_string).collect();
        let _ = write!(text, " {}:{}", dims.join("x"), tensor.desc.element.name());
    }
    let kinds = operations.iter().map(|operation| operation.name().bytes().map(u32::from).sum::<u32>());
    let types = tensors.iter().map(|tensor| tensor.desc.element as u32 + 1);
    let sizes = tensors.iter().flat_map(|tensor| tensor.desc.layout.dims()).map(|&size| size as u32);
    let signature =
        kinds.chain(types).chain(sizes).fold(17u32, |sum, part| sum.wrapping_mul(31).wrapping_add(part));
    Ok(Graph { tensors, operations, text, signature })
}

/// Operations in an order in which each comes after those whose results it reads.
fn sorted(operations: Vec<Operation>) -> Result<Vec<Operation>, Error> {
    let mut rest = operations;
    let mut order: Vec<Operation> = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let waits = |operation: &Operation| {
            let needed = operation.reads();
            rest.iter().any(|other| other.writes().iter().any(|result| needed.contains(result)))
        };
        let ready = rest.iter().position(|operation| !waits(operation));
        order.push(rest.remove(ready.ok_or(Error::InvalidValue("a graph with a cycle"))?));
    }
    Ok(order)
}

/// Virtual tensors must be written before they are read, scalars never, and no tensor twice.
fn check_places(tensors: &[GraphTensor], operations: &[Operation]) -> Result<(), Error> {
    let mut written = vec![false; tensors.len()];
    for operation in operations {
        if operation.reads().iter().any(|&read| tensors[read].place == Place::Virtual && !written[read]) {
            return Err(Error::InvalidValue("a virtual tensor that nothing writes"));
        }
        for result in operation.writes() {
            if tensors[result].place == Place::Host || std::mem::replace(&mut written[result], true) {
                return Err(Error::InvalidValue("a tensor that is written twice, or by value"));
            }
        }
    }
    Ok(())
}

/// A planned graph is shared by heuristics, engines and plans on any thread.
const _: fn() = || {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Arc<Graph>>();
};
