//! The graph API, used in the order in which cudnn-frontend uses it.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind,
};
use gpucompat_cases::element::Element;

use super::{LIBRARY, SUCCESS, data_type};
use crate::lab::{native, symbol};

/// Whether the six functions are the native library's own, with gpucompat left out.
static DIRECT: AtomicBool = AtomicBool::new(false);

/// Runs `body` with the native library's own functions; descriptors made there must end there.
pub fn directly<R>(body: impl FnOnce() -> R) -> R {
    DIRECT.store(true, Ordering::Relaxed);
    let result = body();
    DIRECT.store(false, Ordering::Relaxed);
    result
}

macro_rules! backend {
    ($name:literal $(, $arg:expr => $ty:ty)*) => {{
        let address = if DIRECT.load(Ordering::Relaxed) { native(LIBRARY, $name) } else { symbol($name) };
        // SAFETY: the types are those of cuDNN's page of this name.
        let function: unsafe extern "C" fn($($ty),*) -> c_int = unsafe { std::mem::transmute(address) };
        // SAFETY: the test owns what the arguments point to.
        unsafe { function($($arg),*) }
    }};
}

/// A descriptor, ended when dropped.
pub struct Desc(pub *mut c_void);

impl Drop for Desc {
    fn drop(&mut self) {
        assert_eq!(backend!("cudnnBackendDestroyDescriptor", self.0 => *mut c_void), SUCCESS);
    }
}

impl Desc {
    /// Makes one.
    pub fn new(kind: Kind) -> Desc {
        let mut made = std::ptr::null_mut();
        let status = backend!("cudnnBackendCreateDescriptor", kind as c_int => c_int, &raw mut made => *mut *mut c_void);
        assert_eq!(status, SUCCESS, "{kind:?}");
        Desc(made)
    }

    /// Sets an attribute.
    pub fn try_set<T>(&self, name: Name, of: Type, values: &[T]) -> c_int {
        backend!("cudnnBackendSetAttribute", self.0 => *mut c_void, name as c_int => c_int, of as c_int => c_int,
            values.len() as i64 => i64, values.as_ptr().cast() => *const c_void)
    }

    /// Sets an attribute, which must succeed.
    pub fn set<T>(self, name: Name, of: Type, values: &[T]) -> Desc {
        assert_eq!(self.try_set(name, of, values), SUCCESS, "{name:?}");
        self
    }

    /// Sets 64-bit integers.
    pub fn wide(self, name: Name, values: &[i64]) -> Desc {
        self.set(name, Type::CUDNN_TYPE_INT64, values)
    }

    /// Sets a descriptor.
    pub fn inner(self, name: Name, inner: &Desc) -> Desc {
        self.set(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &[inner.0])
    }

    /// Sets an element type.
    pub fn data_type(self, name: Name, element: Element) -> Desc {
        self.set(name, Type::CUDNN_TYPE_DATA_TYPE, &[data_type(element)])
    }

    /// Finalizes it.
    pub fn finalize(&self) -> c_int {
        backend!("cudnnBackendFinalize", self.0 => *mut c_void)
    }

    /// Finalizes it, which must succeed.
    pub fn ready(self, what: &str) -> Desc {
        assert_eq!(self.finalize(), SUCCESS, "finalizing {what}");
        self
    }

    /// The status, and how many there are or were given.
    pub fn get<T>(&self, name: Name, of: Type, places: &mut [T]) -> (c_int, i64) {
        let mut count = -7;
        let status = backend!("cudnnBackendGetAttribute", self.0 => *mut c_void, name as c_int => c_int,
            of as c_int => c_int, places.len() as i64 => i64, &raw mut count => *mut i64,
            places.as_mut_ptr().cast() => *mut c_void);
        (status, count)
    }
}

/// Where a tensor's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Device memory.
    Device,
    /// Nowhere: between operations.
    Virtual,
    /// A scalar in host memory.
    Value,
}

/// What a tensor descriptor says.
#[derive(Clone, Debug)]
pub struct TensorSpec {
    /// Its unique id.
    pub id: i64,
    /// Its type.
    pub element: Element,
    /// Its `cudnnDataType_t`; a boolean is stored as a byte.
    pub data_type: c_int,
    /// Sizes.
    pub dims: Vec<usize>,
    /// Strides.
    pub strides: Vec<usize>,
    /// Where it is.
    pub place: Place,
}

/// 64-bit integers.
pub fn longs(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}

/// A finalized tensor descriptor.
pub fn tensor(spec: &TensorSpec) -> Desc {
    let mut made = Desc::new(Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)
        .set(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, Type::CUDNN_TYPE_DATA_TYPE, &[spec.data_type])
        .wide(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, &longs(&spec.dims))
        .wide(Name::CUDNN_ATTR_TENSOR_STRIDES, &longs(&spec.strides))
        .wide(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[spec.id])
        .wide(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[16]);
    let yes = [true];
    match spec.place {
        Place::Device => {}
        Place::Virtual => {
            made = made.set(Name::CUDNN_ATTR_TENSOR_IS_VIRTUAL, Type::CUDNN_TYPE_BOOLEAN, &yes);
        }
        Place::Value => {
            made = made.set(Name::CUDNN_ATTR_TENSOR_IS_BY_VALUE, Type::CUDNN_TYPE_BOOLEAN, &yes);
        }
    }
    made.ready(&format!("{spec:?}"))
}

/// An operation graph, not finalized.
pub fn operation_graph(handle: *mut c_void, operations: &[&Desc]) -> Desc {
    let operations: Vec<_> = operations.iter().map(|operation| operation.0).collect();
    Desc::new(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)
        .set(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &operations)
        .set(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, Type::CUDNN_TYPE_HANDLE, &[handle])
}

/// A heuristics query, not finalized.
pub fn heuristics(graph: &Desc) -> Desc {
    const INSTANT: c_int = 0;
    Desc::new(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)
        .inner(Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
        .set(Name::CUDNN_ATTR_ENGINEHEUR_MODE, Type::CUDNN_TYPE_HEUR_MODE, &[INSTANT])
}

/// The configurations that the heuristics offer: their number is asked for first.
pub fn configurations(heuristics: &Desc) -> Vec<Desc> {
    let (results, of) = (Name::CUDNN_ATTR_ENGINEHEUR_RESULTS, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR);
    let (status, count) = heuristics.get::<*mut c_void>(results, of, &mut []);
    assert_eq!(status, SUCCESS);
    let made: Vec<Desc> = (0..count).map(|_| Desc::new(Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)).collect();
    let mut places: Vec<_> = made.iter().map(|configuration| configuration.0).collect();
    let (status, given) = heuristics.get(results, of, &mut places);
    assert_eq!((status, given), (SUCCESS, count));
    made
}

/// What a front end reads of a configuration: its engine, the engine's notes and number, its knobs.
pub fn read_engine(configuration: &Desc) {
    let of = Type::CUDNN_TYPE_BACKEND_DESCRIPTOR;
    let engine = Desc::new(Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    let read = configuration.get(Name::CUDNN_ATTR_ENGINECFG_ENGINE, of, &mut [engine.0]);
    assert_eq!(read, (SUCCESS, 1));
    let mut index = [-7i64];
    let read = engine.get(Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX, Type::CUDNN_TYPE_INT64, &mut index);
    assert_eq!(read, (SUCCESS, 1));
    assert!(index[0] >= 0);
    for (name, of) in [
        (Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, Type::CUDNN_TYPE_NUMERICAL_NOTE),
        (Name::CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, Type::CUDNN_TYPE_BEHAVIOR_NOTE),
    ] {
        let mut notes = [-7i32; 16];
        let (status, count) = engine.get(name, of, &mut notes);
        assert_eq!(status, SUCCESS, "{name:?}");
        assert!(notes.iter().skip(count as usize).all(|&note| note == -7), "{count} notes: {notes:?}");
    }
    let knobs: Vec<Desc> = (0..8).map(|_| Desc::new(Kind::CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR)).collect();
    let mut places: Vec<_> = knobs.iter().map(|knob| knob.0).collect();
    let (status, _) = configuration.get(Name::CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, of, &mut places);
    assert_eq!(status, SUCCESS);
}

/// An execution plan, not finalized.
pub fn execution_plan(handle: *mut c_void, configuration: &Desc) -> Desc {
    Desc::new(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
        .set(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, Type::CUDNN_TYPE_HANDLE, &[handle])
        .inner(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration)
}

/// The first plan of a graph that can be made; the status of the first step that failed.
pub fn plan(handle: *mut c_void, operations: &[&Desc]) -> Result<Desc, c_int> {
    let check = |status| if status == SUCCESS { Ok(()) } else { Err(status) };
    let graph = operation_graph(handle, operations);
    check(graph.finalize())?;
    let mut engines = [-7i64];
    let count = Name::CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT;
    assert_eq!(graph.get(count, Type::CUDNN_TYPE_INT64, &mut engines), (SUCCESS, 1));
    assert!(engines[0] >= 1);
    let heuristics = heuristics(&graph);
    check(heuristics.finalize())?;
    let mut last = super::NOT_SUPPORTED;
    for configuration in configurations(&heuristics) {
        read_engine(&configuration);
        let plan = execution_plan(handle, &configuration);
        last = plan.finalize();
        if last == SUCCESS {
            return Ok(plan);
        }
    }
    Err(last)
}

/// A variant pack, not finalized.
pub fn variant_pack(ids: &[i64], addresses: &[u64], workspace: u64) -> Desc {
    Desc::new(Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
        .set(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, Type::CUDNN_TYPE_VOID_PTR, addresses)
        .wide(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
        .set(Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, Type::CUDNN_TYPE_VOID_PTR, &[workspace])
}

/// Asks a plan for its workspace, which must be none, and runs it.
pub fn execute(handle: *mut c_void, plan: &Desc, ids: &[i64], addresses: &[u64]) -> c_int {
    let mut bytes = [-7i64];
    let size = Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE;
    assert_eq!(plan.get(size, Type::CUDNN_TYPE_INT64, &mut bytes), (SUCCESS, 1));
    assert_eq!(bytes, [0], "the host needs no workspace");
    execute_pack(handle, plan, &variant_pack(ids, addresses, 0).ready("a variant pack"))
}

/// Runs a plan.
pub fn execute_pack(handle: *mut c_void, plan: &Desc, pack: &Desc) -> c_int {
    backend!("cudnnBackendExecute", handle => *mut c_void, plan.0 => *mut c_void, pack.0 => *mut c_void)
}
