//! The graph API, as a front end uses it.

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Descriptor,
};

use super::{address, make, room};
use crate::backend::{
    cudnnBackendCreateDescriptor, cudnnBackendDestroyDescriptor, cudnnBackendExecute, cudnnBackendFinalize,
    cudnnBackendGetAttribute, cudnnBackendSetAttribute,
};
use crate::handle::cudnnCreate;
use crate::status::{
    ATTRIBUTE_TYPE, BAD_PARAM, NO_SUCH_DESCRIPTOR, NOT_FINALIZED, NOT_INITIALIZED, NOT_SUPPORTED, SUCCESS,
};

#[derive(Clone, Copy)]
struct Graph(*mut c_void);

impl Graph {
    fn new(kind: Descriptor) -> Graph {
        let mut made = std::ptr::null_mut();
        assert_eq!(cudnnBackendCreateDescriptor(kind as c_int, &raw mut made), SUCCESS);
        Graph(made)
    }

    fn try_set<T>(self, name: Name, kind: Type, values: &[T]) -> c_int {
        let count = values.len() as i64;
        // SAFETY: the values are of the type.
        unsafe {
            cudnnBackendSetAttribute(self.0, name as c_int, kind as c_int, count, values.as_ptr().cast())
        }
    }

    fn set<T>(self, name: Name, kind: Type, values: &[T]) -> Graph {
        assert_eq!(self.try_set(name, kind, values), SUCCESS, "{name:?}");
        self
    }

    fn wide(self, name: Name, values: &[i64]) -> Graph {
        self.set(name, Type::CUDNN_TYPE_INT64, values)
    }

    fn inner(self, name: Name, inner: Graph) -> Graph {
        self.set(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &[inner.0])
    }

    fn finalize(self) -> c_int {
        cudnnBackendFinalize(self.0)
    }

    fn ready(self) -> Graph {
        assert_eq!(self.finalize(), SUCCESS);
        self
    }

    /// The status, the count given, and eight places.
    fn get<T: Copy>(self, name: Name, kind: Type, requested: i64, places: &mut [T]) -> (c_int, i64) {
        let mut count = -7;
        let at = places.as_mut_ptr().cast();
        // SAFETY: the tests give room for what they request.
        let status = unsafe {
            cudnnBackendGetAttribute(self.0, name as c_int, kind as c_int, requested, &raw mut count, at)
        };
        (status, count)
    }
}

fn tensor(id: i64, dims: &[i64], strides: &[i64]) -> Graph {
    Graph::new(Descriptor::CUDNN_BACKEND_TENSOR_DESCRIPTOR)
        .wide(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[16])
        .set(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, Type::CUDNN_TYPE_DATA_TYPE, &[0i32])
        .wide(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, dims)
        .wide(Name::CUDNN_ATTR_TENSOR_STRIDES, strides)
        .wide(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[id])
}

fn convolution() -> Graph {
    Graph::new(Descriptor::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)
        .set(Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, Type::CUDNN_TYPE_DATA_TYPE, &[0i32])
        .set(Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE, Type::CUDNN_TYPE_CONVOLUTION_MODE, &[1i32])
        .wide(Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, &[1, 1])
        .wide(Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &[1, 1])
        .wide(Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &[0, 0])
        .wide(Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &[0, 1])
        .wide(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[2])
}

/// x 1×1×2×2, w 1×1×1×2, one zero on the right: y 1×1×2×2.
fn operation(x: Graph, alpha: f32, beta: f32) -> Graph {
    let w = tensor(2, &[1, 1, 1, 2], &[2, 2, 2, 1]).ready();
    let y = tensor(3, &[1, 1, 2, 2], &[4, 4, 2, 1]).ready();
    Graph::new(Descriptor::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
        .inner(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution().ready())
        .inner(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
        .inner(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w)
        .inner(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y)
        .set(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, Type::CUDNN_TYPE_FLOAT, &[alpha])
        .set(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, Type::CUDNN_TYPE_FLOAT, &[beta])
}

fn x() -> Graph {
    tensor(1, &[1, 1, 2, 2], &[4, 4, 2, 1])
}

fn graph(handle: *mut c_void, operations: &[Graph]) -> Graph {
    let operations: Vec<_> = operations.iter().map(|it| it.0).collect();
    Graph::new(Descriptor::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)
        .set(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, Type::CUDNN_TYPE_HANDLE, &[handle])
        .set(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &operations)
}

fn heuristic(graph: Graph) -> Graph {
    Graph::new(Descriptor::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)
        .inner(Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
        .set(Name::CUDNN_ATTR_ENGINEHEUR_MODE, Type::CUDNN_TYPE_HEUR_MODE, &[0i32])
}

fn pack(ids: &[i64], pointers: &[u64]) -> Graph {
    Graph::new(Descriptor::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
        .wide(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
        .set(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, Type::CUDNN_TYPE_VOID_PTR, pointers)
}

#[test]
fn a_convolution_goes_from_graph_by_heuristic_and_plan_to_its_result() {
    let handle = make(cudnnCreate);
    let operation = operation(x().ready(), 2.0, 1.0).ready();
    let graph = graph(handle, &[operation]).ready();
    // Copies were taken: the caller may end its own.
    assert_eq!(cudnnBackendDestroyDescriptor(operation.0), SUCCESS);
    let mut one = [-7i64];
    let engines = Name::CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT;
    assert_eq!(graph.get(engines, Type::CUDNN_TYPE_INT64, 1, &mut one), (SUCCESS, 1));
    assert_eq!(one, [1]);

    let heuristic = heuristic(graph).ready();
    let kind = Type::CUDNN_TYPE_BACKEND_DESCRIPTOR;
    let results = Name::CUDNN_ATTR_ENGINEHEUR_RESULTS;
    let mut none: [*mut c_void; 0] = [];
    assert_eq!(heuristic.get(results, kind, 0, &mut none), (SUCCESS, 1), "how many there are");
    let configuration = Graph::new(Descriptor::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    let spare = Graph::new(Descriptor::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    assert_eq!(heuristic.get(results, kind, 2, &mut [configuration.0, spare.0]), (SUCCESS, 1));
    let engine = Graph::new(Descriptor::CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    let of_engine = Name::CUDNN_ATTR_ENGINECFG_ENGINE;
    assert_eq!(configuration.get(of_engine, kind, 1, &mut [engine.0]), (SUCCESS, 1));
    let mut notes = [-7i32; 8];
    let of_notes = (Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, Type::CUDNN_TYPE_NUMERICAL_NOTE);
    assert_eq!(engine.get(of_notes.0, of_notes.1, 8, &mut notes), (SUCCESS, 0));
    let index = Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX;
    assert_eq!(engine.get(index, Type::CUDNN_TYPE_INT64, 1, &mut one), (SUCCESS, 1));
    assert_eq!(one, [0]);

    let plan = Graph::new(Descriptor::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
        .set(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, Type::CUDNN_TYPE_HANDLE, &[handle])
        .inner(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration)
        .ready();
    let bytes = Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE;
    one = [-7];
    assert_eq!(plan.get(bytes, Type::CUDNN_TYPE_INT64, 1, &mut one), (SUCCESS, 1));
    assert_eq!(one, [0]);

    let (x, w, mut y) = ([1.0f32, 2.0, 3.0, 4.0], [10.0f32, 1.0], [100.0f32; 4]);
    let unready = pack(&[3, 1, 2], &[room(&mut y), address(&x), address(&w)]);
    assert_eq!(cudnnBackendExecute(handle, plan.0, unready.0), NOT_FINALIZED);
    assert_eq!(cudnnBackendExecute(handle, unready.0, plan.0), BAD_PARAM);
    let incomplete = pack(&[3, 1], &[room(&mut y), address(&x)]).ready();
    assert_eq!(cudnnBackendExecute(handle, plan.0, incomplete.0), BAD_PARAM, "w has no pointer");
    assert_eq!(cudnnBackendExecute(std::ptr::null_mut(), plan.0, unready.ready().0), BAD_PARAM);
    assert_eq!(y, [100.0; 4]);
    assert_eq!(cudnnBackendExecute(handle, plan.0, unready.0), SUCCESS);
    assert_eq!(y, [124.0, 140.0, 168.0, 180.0]);
}

#[test]
fn what_is_missing_unfinished_or_inconsistent_cannot_be_finalized() {
    let handle = make(cudnnCreate);
    for (kind, expected) in [
        (Descriptor::CUDNN_BACKEND_TENSOR_DESCRIPTOR, BAD_PARAM),
        (Descriptor::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, BAD_PARAM),
        (Descriptor::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, BAD_PARAM),
        (Descriptor::CUDNN_BACKEND_ENGINE_DESCRIPTOR, BAD_PARAM),
        (Descriptor::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, NOT_FINALIZED),
        (Descriptor::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, NOT_FINALIZED),
    ] {
        assert_eq!(Graph::new(kind).finalize(), expected, "{kind:?}");
    }
    assert_eq!(tensor(1, &[1, 2, 3], &[24, 12, 4, 1]).finalize(), BAD_PARAM, "ranks differ");
    assert_eq!(tensor(1, &[1, 2, 3], &[6, -3, 1]).finalize(), BAD_PARAM, "a negative stride");
    assert_eq!(tensor(1, &[4], &[1]).finalize(), BAD_PARAM, "one dimension");
    assert_eq!(operation(x(), 1.0, 0.0).finalize(), BAD_PARAM, "x is not finalized");
    let other = tensor(1, &[1, 1, 3, 2], &[6, 6, 2, 1]).ready();
    assert_eq!(operation(other, 1.0, 0.0).finalize(), BAD_PARAM, "y does not fit");
    assert_eq!(convolution().wide(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[3]).finalize(), BAD_PARAM);
    assert_eq!(pack(&[1, 2], &[16]).finalize(), BAD_PARAM, "fewer pointers than identifiers");
    let operation = operation(x().ready(), 1.0, 0.0).ready();
    let two = graph(handle, &[operation, operation]).ready();
    assert_eq!(heuristic(two).finalize(), NOT_SUPPORTED, "two operations");
}

#[test]
fn attributes_have_their_types_and_are_closed_when_finalized() {
    let dims = Name::CUDNN_ATTR_TENSOR_DIMENSIONS;
    let (wide, float) = (Type::CUDNN_TYPE_INT64, Type::CUDNN_TYPE_FLOAT);
    let open = x();
    assert_eq!(open.try_set(dims, float, &[1.0f32; 4]), ATTRIBUTE_TYPE);
    assert_eq!(open.try_set(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, wide, &[1i64]), BAD_PARAM);
    assert_eq!(open.try_set::<i64>(dims, wide, &[]), BAD_PARAM);
    assert_eq!(open.try_set(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, wide, &[1i64, 2]), BAD_PARAM);
    let mut places = [-7i64; 8];
    assert_eq!(open.get(dims, wide, 8, &mut places), (NOT_INITIALIZED, -7));
    let closed = open.ready();
    assert_eq!(closed.finalize(), BAD_PARAM, "twice");
    assert_eq!(closed.try_set(dims, wide, &[1i64; 4]), BAD_PARAM);
    assert_eq!(closed.get(dims, float, 8, &mut places), (ATTRIBUTE_TYPE, -7));
    assert_eq!(closed.get(dims, wide, 3, &mut places), (SUCCESS, 3));
    assert_eq!(places, [1, 1, 2, -7, -7, -7, -7, -7]);
    let (mut foreign, handle) = ([0x1234_5678_u64; 8], Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE);
    let graph = Graph::new(Descriptor::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    let kind = Type::CUDNN_TYPE_HANDLE;
    assert_eq!(graph.try_set(handle, kind, &[std::ptr::null_mut::<c_void>()]), BAD_PARAM);
    assert_eq!(graph.try_set(handle, kind, &[foreign.as_mut_ptr()]), NOT_INITIALIZED);
    let mut out = std::ptr::null_mut();
    for kind in [99, -1] {
        assert_eq!(cudnnBackendCreateDescriptor(kind, &raw mut out), NO_SUCH_DESCRIPTOR);
    }
    assert!(out.is_null());
}
