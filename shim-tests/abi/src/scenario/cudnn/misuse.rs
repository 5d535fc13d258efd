//! The graph API misused: what the real library answers on descriptors of its own is what gpucompat answers on those
//! that are its.

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind,
};
use gpucompat_cases::conv::ConvCase;

use super::graph::{
    Desc, directly, execute_pack, execution_plan, heuristics, operation_graph, plan, tensor, variant_pack,
};
use super::legacy::{call_convolution_of, descriptors};
use super::operations::{IDS, convolution, convolution_of, spec};
use super::{BAD_PARAM, LIBRARY, SUCCESS, create, destroy};
use crate::lab::{Device, native, set_fault, symbol};

const DESCRIPTOR: Type = Type::CUDNN_TYPE_BACKEND_DESCRIPTOR;

fn case() -> ConvCase {
    "f32->f32 forward n1 c1 k1 groups1 in4x4 win2x2 pre0x0 post0x0 stride1x1 dil1x1 cross nchw:nchw:nchw alpha1 beta0 \
     seed1"
        .parse()
        .unwrap()
}

/// What was done, and its status.
type Answers = Vec<(&'static str, c_int)>;

/// Makes a graph or a plan; with a handle of gpucompat's it is gpucompat's.
fn owned(kind: Kind, handle: Option<*mut c_void>) -> Desc {
    let made = Desc::new(kind);
    let name = if kind == Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR {
        Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE
    } else {
        Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE
    };
    if let Some(handle) = handle {
        assert_eq!(made.try_set(name, Type::CUDNN_TYPE_HANDLE, &[handle]), SUCCESS);
    }
    made
}

fn of_operands() -> Answers {
    let mut answers = Answers::new();
    let mut note = |what, status| answers.push((what, status));
    let wide = Type::CUDNN_TYPE_INT64;
    let dims = Name::CUDNN_ATTR_TENSOR_DIMENSIONS;
    let open = Desc::new(Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    note("tensor: finalize empty", open.finalize());
    note("tensor: get before", open.get(dims, wide, &mut [0i64; 4]).0);
    note("tensor: wrong type", open.try_set(dims, Type::CUDNN_TYPE_FLOAT, &[1f32; 4]));
    note("tensor: no elements", open.try_set::<i64>(dims, wide, &[]));
    note("tensor: foreign attribute", open.try_set(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, wide, &[1i64]));
    let closed = tensor(&spec(&case(), 0));
    note("tensor: set after", closed.try_set(dims, wide, &[1i64; 4]));
    note("tensor: finalize twice", closed.finalize());
    note("tensor: get", closed.get(dims, wide, &mut [0i64; 4]).0);
    note("tensor: get wrong type", closed.get(dims, Type::CUDNN_TYPE_FLOAT, &mut [0f32; 4]).0);
    let tensors = [0, 1, 2].map(|index| tensor(&spec(&case(), index)));
    let x = Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X;
    let operation = Desc::new(Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    note("operation: finalize empty", operation.finalize());
    let open = Desc::new(Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    note("operation: unfinished tensor", operation.try_set(x, DESCRIPTOR, &[open.0]));
    note("operation: finalize with it", operation.finalize());
    let wrong = ConvCase { x: [1, 5, 5], ..case() };
    let operation = convolution(&wrong, tensors.each_ref());
    note("operation: fits the tensors", operation.finalize());
    let operation = convolution(&case(), [&tensors[2], &tensors[1], &tensors[0]]);
    note("operation: sizes do not fit", operation.finalize());
    answers
}

fn of_graphs(handle: Option<*mut c_void>) -> Answers {
    let mut answers = Answers::new();
    let mut note = |what, status| answers.push((what, status));
    let wide = Type::CUDNN_TYPE_INT64;
    let kind = Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR;
    let ops = Name::CUDNN_ATTR_OPERATIONGRAPH_OPS;
    let count = Name::CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT;
    let graph = owned(kind, handle);
    note("graph: get before", graph.get(count, wide, &mut [0i64]).0);
    note("graph: wrong type", graph.try_set(ops, wide, &[1i64]));
    note("graph: no operations", graph.try_set::<*mut c_void>(ops, DESCRIPTOR, &[]));
    note("graph: foreign attribute", graph.try_set(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, wide, &[1i64]));
    note("graph: set the number of engines", graph.try_set(count, wide, &[1i64]));
    note(
        "graph: two handles",
        graph.try_set(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, Type::CUDNN_TYPE_HANDLE, &[0u64; 2]),
    );
    note("graph: finalize without operations", graph.finalize());
    let operation = convolution_of(&case());
    note("graph: unfinished operation", graph.try_set(ops, DESCRIPTOR, &[operation.0]));
    note("graph: finalize with it", graph.finalize());
    let graph = owned(kind, handle);
    let not_operation = tensor(&spec(&case(), 0));
    note("graph: a tensor as operation", graph.try_set(ops, DESCRIPTOR, &[not_operation.0]));
    note("graph: finalize with it too", graph.finalize());
    answers
}

fn of_engines(handle: Option<*mut c_void>) -> Answers {
    let mut answers = Answers::new();
    let mut note = |what, status| answers.push((what, status));
    let wide = Type::CUDNN_TYPE_INT64;
    let unfinished = owned(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, handle);

    let heuristics = Desc::new(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    let of_graph = Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH;
    note("heuristics: unfinished graph", heuristics.try_set(of_graph, DESCRIPTOR, &[unfinished.0]));
    let mode = Name::CUDNN_ATTR_ENGINEHEUR_MODE;
    note("heuristics: mode of wrong type", heuristics.try_set(mode, wide, &[0i64]));
    note("heuristics: mode 99", heuristics.try_set(mode, Type::CUDNN_TYPE_HEUR_MODE, &[99]));
    let results = Name::CUDNN_ATTR_ENGINEHEUR_RESULTS;
    note("heuristics: results before", heuristics.get::<u64>(results, DESCRIPTOR, &mut []).0);
    note("heuristics: finalize", heuristics.finalize());

    let engine = Desc::new(Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    let of_graph = Name::CUDNN_ATTR_ENGINE_OPERATION_GRAPH;
    note("engine: unfinished graph", engine.try_set(of_graph, DESCRIPTOR, &[unfinished.0]));
    let index = Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX;
    note("engine: index of wrong type", engine.try_set(index, Type::CUDNN_TYPE_INT32, &[0i32]));
    note("engine: index", engine.try_set(index, wide, &[0i64]));
    note("engine: two indices", engine.try_set(index, wide, &[0i64; 2]));
    note("engine: index before", engine.get(index, wide, &mut [0i64]).0);
    note("engine: finalize", engine.finalize());

    let configuration = Desc::new(Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    let of_engine = Name::CUDNN_ATTR_ENGINECFG_ENGINE;
    note("configuration: unfinished engine", configuration.try_set(of_engine, DESCRIPTOR, &[engine.0]));
    note("configuration: engine before", configuration.get(of_engine, DESCRIPTOR, &mut [engine.0]).0);
    note("configuration: finalize", configuration.finalize());

    let plan = owned(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, handle);
    let of_configuration = Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG;
    note("plan: unfinished configuration", plan.try_set(of_configuration, DESCRIPTOR, &[configuration.0]));
    let bytes = Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE;
    note("plan: workspace before", plan.get(bytes, wide, &mut [0i64]).0);
    note("plan: set the workspace", plan.try_set(bytes, wide, &[0i64]));
    note("plan: finalize", plan.finalize());

    let pack = variant_pack(&IDS[..2], &[16, 32, 48], 0);
    note("pack: fewer names than pointers", pack.finalize());
    let pack = Desc::new(Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    note("pack: wrong type", pack.try_set(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, wide, &[1i64]));
    note("pack: finalize empty", pack.finalize());
    let null = std::ptr::null_mut();
    note("execute: without a handle", execute_pack(null, &plan, &pack));
    answers
}

/// Where gpucompat answers otherwise, and why.
const KNOWN: [(&str, &str); 1] = [(
    "engine: index of wrong type",
    "the real library says BAD_PARAM of this one, ATTRIBUTE_TYPE of all others",
)];

/// Both libraries' answers to each misuse.
pub fn statuses() {
    let handle = create();
    let real = directly(|| [of_operands(), of_graphs(None), of_engines(None)].concat());
    let ours = [of_operands(), of_graphs(Some(handle)), of_engines(Some(handle))].concat();
    let mut wrong = Vec::new();
    for ((what, real), (_, ours)) in real.iter().zip(&ours) {
        println!("{what}: {real} {ours}");
        if real != ours && !KNOWN.iter().any(|row| row.0 == *what) {
            wrong.push(format!("{what}: the real library answers {real}, gpucompat {ours}"));
        }
    }
    destroy(handle);
    println!("answers {}", real.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Finished descriptors of ours are closed, calls with the wrong things are refused, and nothing is written.
pub fn refusals() {
    let handle = create();
    let case = case();
    let operation = convolution_of(&case).ready("the operation");
    let graph = operation_graph(handle, &[&operation]).ready("the graph");
    assert_eq!(graph.finalize(), BAD_PARAM, "finalized twice");
    let ops = Name::CUDNN_ATTR_OPERATIONGRAPH_OPS;
    assert_eq!(graph.try_set(ops, DESCRIPTOR, &[operation.0]), BAD_PARAM, "set after finalizing");
    let heuristics = heuristics(&graph).ready("heuristics");
    let [configuration, ..] = &super::graph::configurations(&heuristics)[..] else { panic!("no engine") };
    let made = execution_plan(handle, configuration).ready("the plan");
    let data = case.data();
    let tensors = data.tensors.each_ref().map(|bytes| Device::holding(bytes));
    let addresses = tensors.each_ref().map(|tensor| tensor.address);
    let untouched =
        |what: &str| assert_eq!(tensors[2].get(), data.tensors[2], "{what}: the output was touched");
    let refused = |what: &str, handle: *mut c_void, plan: &Desc, pack: &Desc| {
        let status = execute_pack(handle, plan, pack);
        assert!(status != SUCCESS, "{what} succeeded");
        untouched(what);
        status
    };
    let good = variant_pack(&IDS, &addresses, 0);
    assert_eq!(refused("an unfinished pack", handle, &made, &good), 2004);
    let good = good.ready("the pack");
    for missing in 0..3 {
        let ids: Vec<i64> = (0..3).filter(|&index| index != missing).map(|index| IDS[index]).collect();
        let rest: Vec<u64> = (0..3).filter(|&index| index != missing).map(|index| addresses[index]).collect();
        let pack = variant_pack(&ids, &rest, 0).ready("a pack");
        assert_eq!(refused("a missing tensor", handle, &made, &pack), BAD_PARAM);
        let mut null = addresses;
        null[missing] = 0;
        let pack = variant_pack(&IDS, &null, 0).ready("a pack");
        refused("a null pointer", handle, &made, &pack);
        let mut wild = addresses;
        wild[missing] = 0x7777_0000;
        let pack = variant_pack(&IDS, &wild, 0).ready("a pack");
        assert_eq!(refused("no CUDA memory", handle, &made, &pack), super::EXECUTION_FAILED);
    }
    refused("plan and pack exchanged", handle, &good, &made);
    refused("the plan as its pack", handle, &made, &made);
    refused("no handle", std::ptr::null_mut(), &made, &good);
    refused("an invented handle", std::ptr::without_provenance_mut(0x1234_5678), &made, &good);
    let dead = create();
    destroy(dead);
    refused("a destroyed handle", dead, &made, &good);
    for fault in ["memcpy_d2h:1", "memcpy_d2h:2", "memcpy_h2d:1", "sync:1"] {
        set_fault(fault);
        let status = refused(fault, handle, &made, &good);
        set_fault("");
        assert_eq!(status, super::EXECUTION_FAILED, "{fault}");
    }
    // Descriptors that refer to themselves, or are to be filled from themselves.
    let name = Name::CUDNN_ATTR_OPERATIONGRAPH_OPS;
    let own = owned(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, Some(handle));
    assert!(own.try_set(name, DESCRIPTOR, &[own.0]) != SUCCESS);
    let query = Desc::new(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)
        .inner(Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, &graph);
    let name = Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH;
    assert!(query.try_set(name, DESCRIPTOR, &[query.0]) != SUCCESS);
    assert_eq!(query.finalize(), BAD_PARAM, "no mode");
    let name = Name::CUDNN_ATTR_ENGINEHEUR_RESULTS;
    assert_eq!(heuristics.get(name, DESCRIPTOR, &mut [heuristics.0]).0, BAD_PARAM);
    // The real library throws a C++ exception out of heuristics of a tensor, so that is not tried.
    let other = tensor(&spec(&case, 0));
    let wrong = owned(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, Some(handle));
    wrong.try_set(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, DESCRIPTOR, &[other.0]);
    assert!(wrong.finalize() != SUCCESS, "a plan of a tensor");
    for mode in -1..=4 {
        let query = Desc::new(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)
            .inner(Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, &graph)
            .set(Name::CUDNN_ATTR_ENGINEHEUR_MODE, Type::CUDNN_TYPE_HEUR_MODE, &[mode]);
        let want = if (0..=3).contains(&mode) { SUCCESS } else { BAD_PARAM };
        assert_eq!(query.finalize(), want, "heuristics of mode {mode}");
    }
    // Another engine than the one there is, chosen by its number.
    for (index, want) in [(0i64, SUCCESS), (7, super::NOT_SUPPORTED)] {
        let engine = Desc::new(Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR)
            .inner(Name::CUDNN_ATTR_ENGINE_OPERATION_GRAPH, &graph)
            .wide(Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX, &[index]);
        let status = engine.finalize();
        assert!(status == want || want != SUCCESS && status != SUCCESS, "engine {index}: {status}");
        if status != SUCCESS {
            continue;
        }
        let configuration = Desc::new(Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
            .inner(Name::CUDNN_ATTR_ENGINECFG_ENGINE, &engine)
            .ready("a configuration by hand");
        execution_plan(handle, &configuration).ready("a plan by hand");
    }
    assert_eq!(execute_pack(handle, &made, &good), SUCCESS, "and a good call still works");
    case.check(&data.tensors[2], &tensors[2].get(), &data.expected).unwrap();
    // Everything that the plan came from may end before it.
    let again = plan(handle, &[&operation]).unwrap();
    drop((operation, graph, made));
    tensors[2].set(&data.tensors[2]);
    assert_eq!(execute_pack(handle, &again, &good), SUCCESS);
    case.check(&data.tensors[2], &tensors[2].get(), &data.expected).unwrap();
    destroy(handle);
}

/// Null in place of a handle: the real library's answers are ours.
pub fn null_handles() {
    type Plain = unsafe extern "C" fn(*mut c_void) -> c_int;
    type Two = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
    let _handle = create();
    let case = case();
    let descriptors = descriptors(&case);
    let [x, w, y, conv] = descriptors.each_ref().map(|it| it.object);
    let data = case.data();
    let tensors = data.tensors.each_ref().map(|bytes| Device::holding(bytes));
    let addresses = tensors.each_ref().map(|tensor| tensor.address);
    let null = std::ptr::null_mut();
    let answers = |find: &dyn Fn(&str) -> *mut c_void| -> Answers {
        let mut answers = Answers::new();
        // SAFETY: cuDNN's functions of these names have these prototypes.
        let (destroy, set, get): (Plain, Two, Two) = unsafe {
            (
                std::mem::transmute(find("cudnnDestroy")),
                std::mem::transmute(find("cudnnSetStream")),
                std::mem::transmute(find("cudnnGetStream")),
            )
        };
        let mut stream = null;
        // SAFETY: null handles; the stream variable is writable.
        unsafe {
            answers.push(("cudnnDestroy", destroy(null)));
            answers.push(("cudnnSetStream", set(null, null)));
            answers.push(("cudnnGetStream", get(null, (&raw mut stream).cast())));
        }
        let objects = [x, w, y, conv];
        let convolve = call_convolution_of(find("cudnnConvolutionForward"), null, &case, objects, addresses);
        answers.push(("cudnnConvolutionForward", convolve));
        answers
    };
    let real = answers(&|name| native(LIBRARY, name));
    let ours = answers(&symbol);
    println!("{real:?}");
    assert_eq!(real, ours);
    assert_eq!(tensors[2].get(), data.tensors[2], "the output was touched");
}
