//! The questions that come before a legacy convolution: which algorithm, how much workspace.

use std::ffi::{c_int, c_void};

use gpucompat_cases::conv::{ConvCase, Direction};

use super::legacy::{call_convolution, descriptors, finish};
use super::{BAD_PARAM, SUCCESS, create, destroy};
use crate::call;
use crate::lab::Device;

/// `cudnnConvolutionFwdAlgoPerf_t` and its two likes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Performance {
    algorithm: c_int,
    status: c_int,
    time: f32,
    memory: usize,
    determinism: c_int,
    math: c_int,
    reserved: [c_int; 3],
}

const NOTHING: Performance = Performance {
    algorithm: -7,
    status: -7,
    time: -7.0,
    memory: 7,
    determinism: -7,
    math: -7,
    reserved: [0; 3],
};

/// One deterministic algorithm without a workspace, whatever asks; it works.
pub fn answers() {
    let handle = create();
    for (direction, word) in [
        (Direction::Forward, "Forward"),
        (Direction::BackwardData, "BackwardData"),
        (Direction::BackwardFilter, "BackwardFilter"),
    ] {
        let name = Direction::ALL.iter().find(|row| row.0 == direction).map_or("?", |row| row.1);
        let case: ConvCase = format!(
            "f32->f32 {name} n2 c4 k6 groups1 in5x7 win3x2 pre1x0 post1x0 stride1x2 dil1x1 cross nchw:nchw:nchw alpha1 \
             beta0 seed9"
        )
        .parse()
        .unwrap();
        let made = descriptors(&case);
        let [x, w, y, conv] = made.each_ref().map(|it| it.object);
        let [first, second, third] = match direction {
            Direction::Forward => [x, w, y],
            Direction::BackwardData => [w, y, x],
            Direction::BackwardFilter => [x, y, w],
        };
        let mut count: c_int = -7;
        let at = &raw mut count;
        let status = call!(&format!("cudnnGetConvolution{word}AlgorithmMaxCount"), handle => *mut c_void, at => *mut c_int);
        assert_eq!((status, count >= 1), (SUCCESS, true), "{word}: {count}");
        for ask in ["Get", "Find"] {
            let function = if ask == "Get" {
                format!("cudnnGetConvolution{word}Algorithm_v7")
            } else {
                format!("cudnnFindConvolution{word}Algorithm")
            };
            let mut results = [NOTHING; 4];
            let (at, places) = (&raw mut count, results.as_mut_ptr());
            let status = call!(&function, handle => *mut c_void, first => *mut c_void, second => *mut c_void, conv => *mut c_void,
                third => *mut c_void, 4 => c_int, at => *mut c_int, places => *mut Performance);
            assert_eq!((status, count), (SUCCESS, 1), "{function}");
            let [result, rest @ ..] = results;
            assert_eq!(
                (result.status, result.memory, result.determinism),
                (0, 0, 1),
                "{function}: {result:?}"
            );
            assert!(result.time >= 0.0 && result.math == 0, "{function}: {result:?}");
            assert!(rest.iter().all(|other| other.algorithm == -7), "{function} filled one");
            let status = call!(&function, handle => *mut c_void, first => *mut c_void, second => *mut c_void, conv => *mut c_void,
                third => *mut c_void, 0 => c_int, at => *mut c_int, places => *mut Performance);
            assert_eq!(status, BAD_PARAM, "{function} asked for nothing");
            let mut bytes = 7usize;
            let at = &raw mut bytes;
            let function = format!("cudnnGetConvolution{word}WorkspaceSize");
            let algorithm = result.algorithm;
            let status = call!(&function, handle => *mut c_void, first => *mut c_void, second => *mut c_void,
                conv => *mut c_void, third => *mut c_void, algorithm => c_int, at => *mut usize);
            assert_eq!((status, bytes), (SUCCESS, 0), "{function}");
        }
        let data = case.data();
        let tensors = data.tensors.each_ref().map(|bytes| Device::holding(bytes));
        let addresses = tensors.each_ref().map(|tensor| tensor.address);
        assert_eq!(call_convolution(handle, &case, [x, w, y, conv], addresses), SUCCESS);
        finish(&case, &data, &tensors).unwrap();
        bad_input(handle, &case, [x, w, y, conv], addresses, &tensors[direction.result()]);
    }
    destroy(handle);
}

/// Each wrong argument of a convolution is refused, and the result is as it was.
fn bad_input(
    handle: *mut c_void,
    case: &ConvCase,
    objects: [*mut c_void; 4],
    addresses: [u64; 3],
    result: &Device,
) {
    let before = result.get();
    for missing in 0..4 {
        let mut objects = objects;
        objects[missing] = std::ptr::null_mut();
        assert_eq!(
            call_convolution(handle, case, objects, addresses),
            BAD_PARAM,
            "descriptor {missing} is null"
        );
    }
    for wrong in 0..3 {
        for (address, want) in [(0, BAD_PARAM), (0x7777_0000, super::EXECUTION_FAILED)] {
            let mut addresses = addresses;
            addresses[wrong] = address;
            let status = call_convolution(handle, case, objects, addresses);
            assert_eq!(status, want, "tensor {wrong} at {address:#x}");
        }
    }
    let [x, w, y, conv] = objects;
    assert_eq!(call_convolution(handle, case, [y, w, x, conv], addresses), BAD_PARAM, "x and y exchanged");
    let unset = super::legacy::Descriptor::new("cudnnCreateTensorDescriptor", "cudnnDestroyTensorDescriptor");
    assert_eq!(
        call_convolution(handle, case, [unset.object, w, y, conv], addresses),
        BAD_PARAM,
        "x never set"
    );
    assert_eq!(result.get(), before, "the result was touched");
}
