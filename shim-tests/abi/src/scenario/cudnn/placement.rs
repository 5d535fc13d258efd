//! Where and when: streams, captures, devices and threads.

use std::ffi::{c_int, c_void};

use gpucompat_cases::conv::{ConvCase, Data, Direction};
use gpucompat_cases::element::Element;

use super::graph::{execute, plan};
use super::legacy::{call_convolution, descriptors, finish};
use super::operations::{IDS, convolution_of};
use super::{SUCCESS, create, destroy, legacy, matrix};
use crate::call;
use crate::lab::Device;

fn case(seed: u64) -> ConvCase {
    ConvCase { beta: 0.0, ..ConvCase::random(Element::F32, Element::F32, Direction::Forward, seed) }
        .symmetric()
        .at_least_planar()
}

/// A case of either interface, called on these addresses.
fn convolve(handle: *mut c_void, interface: &str, case: &ConvCase, addresses: [u64; 3]) -> c_int {
    if interface == "legacy" {
        let descriptors = descriptors(case);
        return call_convolution(handle, case, descriptors.each_ref().map(|it| it.object), addresses);
    }
    let operation = convolution_of(case).ready("the operation");
    execute(handle, &plan(handle, &[&operation]).unwrap(), &IDS, &addresses)
}

fn stream(flags: u32) -> *mut c_void {
    let mut made = std::ptr::null_mut();
    let pointer = &raw mut made;
    assert_eq!(call!("cudaStreamCreateWithFlags", pointer => *mut *mut c_void, flags => u32), SUCCESS);
    made
}

fn set_stream(handle: *mut c_void, stream: *mut c_void) {
    assert_eq!(call!("cudnnSetStream", handle => *mut c_void, stream => *mut c_void), SUCCESS);
}

/// x is written by a copy that is still queued, y is copied on by work queued later, on every kind of stream.
pub fn stream_order() {
    const TO_DEVICE: c_int = 1;
    const ON_DEVICE: c_int = 3;
    let handle = create();
    let named = |value: usize| std::ptr::without_provenance_mut::<c_void>(value);
    let streams = [stream(1), stream(0), named(0), named(1), named(2)];
    for (seed, stream) in streams.into_iter().enumerate() {
        for interface in ["legacy", "graph"] {
            let case = case(seed as u64);
            let Data { tensors: [x, w, y], expected } = case.data();
            let (on_x, on_w) = (Device::holding(&vec![0; x.len()]), Device::holding(&w));
            let (on_y, copy) = (Device::holding(&y), Device::holding(&y));
            let mut source: *mut u8 = std::ptr::null_mut();
            let pointer = &raw mut source;
            assert_eq!(call!("cudaMallocHost", pointer => *mut *mut u8, x.len() => usize), SUCCESS);
            // SAFETY: as many bytes of host memory.
            unsafe { std::slice::from_raw_parts_mut(source, x.len()) }.copy_from_slice(&x);
            set_stream(handle, stream);
            call!("simgpu_set_delay_us", 20_000 => u64);
            let status = call!("cudaMemcpyAsync", on_x.address => u64, source => *const u8, x.len() => usize,
                TO_DEVICE => c_int, stream => *mut c_void);
            assert_eq!(status, SUCCESS);
            let addresses = [on_x.address, on_w.address, on_y.address];
            assert_eq!(convolve(handle, interface, &case, addresses), SUCCESS);
            let status = call!("cudaMemcpyAsync", copy.address => u64, on_y.address => u64, y.len() => usize,
                ON_DEVICE => c_int, stream => *mut c_void);
            assert_eq!(status, SUCCESS);
            assert_eq!(call!("cudaStreamSynchronize", stream => *mut c_void), SUCCESS);
            call!("simgpu_set_delay_us", 0 => u64);
            case.check(&y, &copy.get(), &expected)
                .unwrap_or_else(|wrong| panic!("{interface} {stream:?}: {wrong}"));
        }
    }
    destroy(handle);
}

/// A convolution that a graph records is computed at each launch, on what x holds then.
pub fn capture() {
    let handle = create();
    let stream = stream(1);
    set_stream(handle, stream);
    for interface in ["legacy", "graph"] {
        let case = case(3);
        let data = case.data();
        let tensors = data.tensors.each_ref().map(|bytes| Device::holding(bytes));
        let addresses = tensors.each_ref().map(|tensor| tensor.address);
        assert_eq!(call!("cudaStreamBeginCapture", stream => *mut c_void, 0 => c_int), SUCCESS);
        assert_eq!(convolve(handle, interface, &case, addresses), SUCCESS, "{interface}");
        let (mut captured, mut executable) = (std::ptr::null_mut::<c_void>(), std::ptr::null_mut::<c_void>());
        let pointer = &raw mut captured;
        let ended = call!("cudaStreamEndCapture", stream => *mut c_void, pointer => *mut *mut c_void);
        assert_eq!(ended, SUCCESS, "the capture is whole");
        assert_eq!(tensors[2].get(), data.tensors[2], "nothing is computed while it is recorded");
        let pointer = &raw mut executable;
        let made =
            call!("cudaGraphInstantiate", pointer => *mut *mut c_void, captured => *mut c_void, 0 => u64);
        assert_eq!(made, SUCCESS);
        for _ in 0..2 {
            // Another x gives another y; the case's own gives the expected one.
            tensors[0].set(&vec![0x3f; data.tensors[0].len()]);
            for x in [None, Some(&data.tensors[0])] {
                if let Some(x) = x {
                    tensors[0].set(x);
                }
                tensors[2].set(&data.tensors[2]);
                let launched = call!("cudaGraphLaunch", executable => *mut c_void, stream => *mut c_void);
                assert_eq!(launched, SUCCESS);
                assert_eq!(call!("cudaStreamSynchronize", stream => *mut c_void), SUCCESS);
                let right = finish(&case, &data, &tensors);
                assert_eq!(right.is_ok(), x.is_some(), "{interface}: {right:?}");
            }
        }
        assert_eq!(call!("cudaGraphExecDestroy", executable => *mut c_void), SUCCESS);
        assert_eq!(call!("cudaGraphDestroy", captured => *mut c_void), SUCCESS);
    }
    destroy(handle);
}

/// A handle works on its own device, from any thread, with or without a context; threads do not disturb each other.
pub fn threads_and_devices() {
    assert_eq!(call!("cudaSetDevice", 1 => c_int), SUCCESS);
    let second = create() as usize;
    assert_eq!(call!("cudaSetDevice", 0 => c_int), SUCCESS);
    let first = create() as usize;
    let workers: Vec<_> = (0..6u64)
        .map(|worker| {
            std::thread::spawn(move || {
                let own = create();
                let shared = if worker % 2 == 0 { first } else { second } as *mut c_void;
                for seed in 0..40 {
                    let case = case(worker * 1000 + seed);
                    let handle = if seed % 3 == 0 { own } else { shared };
                    legacy::run(handle, &case).unwrap();
                    matrix::run_graph(handle, &case).unwrap();
                }
                destroy(own);
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let mut current: c_int = -1;
    let pointer = &raw mut current;
    assert_eq!(call!("cudaGetDevice", pointer => *mut c_int), SUCCESS);
    assert_eq!(current, 0, "the thread's own device is put back");
    for handle in [first, second] {
        destroy(handle as *mut c_void);
    }
}
