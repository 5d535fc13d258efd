//! Who convolved: counted by the stand-in, the *native* library next in the chain.

use std::ffi::{c_int, c_void};

use gpucompat_cases::conv::ConvCase;

use super::operations::{IDS, convolution_of};
use super::{BAD_PARAM, LIBRARY, NOT_SUPPORTED, SUCCESS, create, destroy, graph, legacy, matrix};
use crate::call;
use crate::lab::{Device, calls, foreign_handles};

/// Calls of the legacy function and of the graph's, in each scenario.
const ROUNDS: u64 = 5;

fn case(direction: &str, types: &str, seed: u64) -> ConvCase {
    format!(
        "{types} {direction} n2 c4 k6 groups2 in5x7 win3x2 pre1x0 post1x0 stride1x2 dil1x1 cross nchw:nchw:nhwc alpha1.5 \
         beta1 seed{seed}"
    )
    .parse()
    .unwrap()
}

fn expected(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Right results, and `EXPECT_NATIVE` convolutions of each interface by the native library, beside the probe's.
pub fn native_convolutions() {
    let handle = create();
    for seed in 0..ROUNDS {
        // The graph is finalized before anything else has made a context on this thread.
        matrix::run_graph(handle, &case("forward", "f32->f32", seed)).unwrap();
        legacy::run(handle, &case("forward", "f32->f32", seed)).unwrap();
    }
    let native = expected("EXPECT_NATIVE").unwrap();
    let probes = expected("EXPECT_PROBE").unwrap_or(0);
    assert_eq!(calls(LIBRARY, "cudnnConvolutionForward"), native + probes);
    assert_eq!(calls(LIBRARY, "cudnnBackendExecute"), native);
    destroy(handle);
    assert_eq!(foreign_handles(), 0, "the native library saw a handle or a descriptor of ours");
}

/// A native call that fails for want of a kernel is served, and the function stays with us for these types; the
/// others do not.
pub fn learned_convolutions() {
    let handle = create();
    for seed in 0..ROUNDS {
        legacy::run(handle, &case("forward", "f32->f32", seed)).unwrap();
    }
    assert_eq!(calls(LIBRARY, "cudnnConvolutionForward"), 1, "tried natively once");
    legacy::run(handle, &case("forward", "f16->f16", 1)).unwrap();
    legacy::run(handle, &case("forward", "f16->f16", 2)).unwrap();
    assert_eq!(calls(LIBRARY, "cudnnConvolutionForward"), 2, "other types are tried once as well");
    for seed in 0..ROUNDS {
        legacy::run(handle, &case("bwd_data", "f32->f32", seed)).unwrap();
        legacy::run(handle, &case("bwd_filter", "f32->f32", seed)).unwrap();
        matrix::run_graph(handle, &case("forward", "f32->f32", seed)).unwrap();
    }
    for name in ["cudnnConvolutionBackwardData", "cudnnConvolutionBackwardFilter", "cudnnBackendExecute"] {
        assert_eq!(calls(LIBRARY, name), ROUNDS, "{name} stays native");
    }
    destroy(handle);
    assert_eq!(foreign_handles(), 0);
}

/// A native plan that cannot run, or cannot be made, is served: `EXPECT_EXECUTED` were tried natively.
pub fn learned_graphs() {
    let handle = create();
    for seed in 0..ROUNDS {
        matrix::run_graph(handle, &case("forward", "f32->f32", seed)).unwrap();
    }
    // One plan, run often, as a cache of plans does.
    let once = case("forward", "f64->f64", 1);
    let operation = convolution_of(&once);
    assert_eq!(operation.finalize(), SUCCESS);
    let plan = graph::plan(handle, &[&operation]).unwrap();
    for _ in 0..ROUNDS {
        let data = once.data();
        let tensors = data.tensors.each_ref().map(|bytes| Device::holding(bytes));
        let addresses = tensors.each_ref().map(|tensor| tensor.address);
        assert_eq!(graph::execute(handle, &plan, &IDS, &addresses), SUCCESS);
        legacy::finish(&once, &data, &tensors).unwrap();
    }
    assert_eq!(Some(calls(LIBRARY, "cudnnBackendExecute")), expected("EXPECT_EXECUTED"));
    for seed in 0..ROUNDS {
        legacy::run(handle, &case("forward", "f32->f32", seed)).unwrap();
    }
    let probes = expected("EXPECT_PROBE").unwrap_or(0);
    let forward = calls(LIBRARY, "cudnnConvolutionForward");
    assert_eq!(forward, ROUNDS + probes, "the legacy function stays native");
    drop(plan);
    destroy(handle);
    assert_eq!(foreign_handles(), 0);
}

/// What fails natively stays failed: `EXPECT_STATUS`, and nothing is written.
pub fn passed_through() {
    let status = expected("EXPECT_STATUS").unwrap() as c_int;
    let handle = create();
    let case = case("forward", "f32->f32", 1);
    let descriptors = legacy::descriptors(&case);
    let data = case.data();
    let tensors = data.tensors.each_ref().map(|bytes| Device::holding(bytes));
    let addresses = tensors.each_ref().map(|tensor| tensor.address);
    for _ in 0..2 {
        let objects = descriptors.each_ref().map(|it| it.object);
        assert_eq!(legacy::call_convolution(handle, &case, objects, addresses), status);
        assert_eq!(tensors[2].get(), data.tensors[2]);
    }
    assert_eq!(calls(LIBRARY, "cudnnConvolutionForward"), 2);
    destroy(handle);
}

/// A bad argument that the native library refuses is nobody's missing kernel: its status comes back.
pub fn bad_arguments_stay_native() {
    let handle = create();
    let case = case("forward", "f32->f32", 1);
    let descriptors = legacy::descriptors(&case);
    let [x, w, y, conv] = descriptors.each_ref().map(|it| it.object);
    let data = case.data();
    let tensors = data.tensors.each_ref().map(|bytes| Device::holding(bytes));
    let addresses = tensors.each_ref().map(|tensor| tensor.address);
    assert_eq!(legacy::call_convolution(handle, &case, [y, w, x, conv], addresses), BAD_PARAM);
    assert_eq!(tensors[2].get(), data.tensors[2]);
    assert_eq!(calls(LIBRARY, "cudnnConvolutionForward"), 1);
    legacy::run(handle, &case).unwrap();
    assert_eq!(calls(LIBRARY, "cudnnConvolutionForward"), 2, "and nothing was learned from it");
    destroy(handle);
}

fn normalization(handle: *mut c_void) -> c_int {
    call!("cudnnNormalizationForwardInference", handle => *mut c_void, 1 => c_int, 2 => c_int, 3 => c_int, 4 => u64, 5 => u64,
        6 => u64, 7 => u64, 8 => u64, 9 => u64, 10 => u64, 11 => u64, 12 => u64, 13 => u64, 14 => u64, 15 => u64,
        16 => u64, 17 => u64, 18 => u64, 19.5 => f64, 20 => c_int)
}

/// A function without a host form goes straight on with a native handle, every argument in its place.
pub fn forwarded() {
    let handle = create();
    assert_eq!(normalization(handle), SUCCESS);
    assert_eq!(calls(LIBRARY, "cudnnNormalizationForwardInference"), 1);
    destroy(handle);
}

/// With a handle of ours it is refused and the native library never sees it.
pub fn refused() {
    let handle = create();
    assert_eq!(normalization(handle), NOT_SUPPORTED);
    assert_eq!(calls(LIBRARY, "cudnnNormalizationForwardInference"), 0);
    destroy(handle);
    assert_eq!(foreign_handles(), 0);
}

/// The stream is given back; handles are told apart; null, destroyed and invented ones are refused.
pub fn handles() {
    let handles: Vec<_> = (0..50).map(|_| create()).collect();
    let streams: Vec<*mut c_void> = handles
        .iter()
        .map(|&handle| {
            let mut stream = std::ptr::null_mut();
            let pointer = &raw mut stream;
            assert_eq!(call!("cudaStreamCreate", pointer => *mut *mut c_void), SUCCESS);
            assert_eq!(call!("cudnnSetStream", handle => *mut c_void, stream => *mut c_void), SUCCESS);
            stream
        })
        .collect();
    for (&handle, &stream) in handles.iter().zip(&streams) {
        let mut got = std::ptr::null_mut();
        let pointer = &raw mut got;
        assert_eq!(call!("cudnnGetStream", handle => *mut c_void, pointer => *mut *mut c_void), SUCCESS);
        assert_eq!(got, stream);
    }
    let case = case("forward", "f32->f32", 3);
    for &handle in &handles {
        legacy::run(handle, &case).unwrap();
        destroy(handle);
    }
    let null = std::ptr::null_mut();
    let invented = std::ptr::without_provenance_mut::<c_void>(0x1234_5678);
    let descriptors = legacy::descriptors(&case);
    let data = case.data();
    let tensors = data.tensors.each_ref().map(|bytes| Device::holding(bytes));
    let addresses = tensors.each_ref().map(|tensor| tensor.address);
    let of_ours = std::env::var("STANDIN_CUDNN").as_deref() == Ok("no_handle");
    for handle in [handles[0], handles[49], invented, null] {
        if !of_ours && handle != null {
            continue; // a native library may read what it is given
        }
        let objects = descriptors.each_ref().map(|it| it.object);
        let status = legacy::call_convolution(handle, &case, objects, addresses);
        let allowed =
            if handle == null { [BAD_PARAM, super::NOT_INITIALIZED] } else { [super::NOT_INITIALIZED; 2] };
        assert!(allowed.contains(&status), "{handle:?}: {status}");
        assert_eq!(tensors[2].get(), data.tensors[2], "{handle:?}: the output was touched");
    }
    assert_eq!(call!("cudnnCreate", null => *mut c_void), BAD_PARAM);
    let destroyed = call!("cudnnDestroy", null => *mut c_void);
    println!("destroying null: {destroyed}");
}
