//! Convolution and its gradients.

use std::ffi::{c_int, c_void};

use half::{bf16, f16};

use super::{DOUBLE, FLOAT, Random, address, make, room, scalar, tensor};
use crate::arithmetic::{Problem, Taps};
use crate::convolution::{
    cudnnCreateConvolutionDescriptor, cudnnSetConvolution2dDescriptor, cudnnSetConvolutionGroupCount,
};
use crate::convolve::{
    cudnnConvolutionBackwardData, cudnnConvolutionBackwardFilter, cudnnConvolutionForward,
    cudnnGetConvolutionForwardAlgorithm_v7, cudnnGetConvolutionForwardWorkspaceSize,
};
use crate::filter::{cudnnCreateFilterDescriptor, cudnnSetFilter4dDescriptor};
use crate::handle::{cudnnCreate, cudnnDestroy};
use crate::status::{BAD_PARAM, EXECUTION_FAILED, NOT_INITIALIZED, SUCCESS};

/// A random problem of one to three spatial dimensions.
fn random(random: &mut Random) -> Problem {
    let (spatial, groups) = (random.between(1, 3), random.between(1, 3));
    let mut each = |least, most| (0..spatial).map(|_| random.between(least, most)).collect::<Vec<_>>();
    let (taps, before, after) = (each(1, 3), each(0, 2), each(0, 2));
    let (stride, dilation, extra) = (each(1, 3), each(1, 2), each(0, 4));
    // At least one output an axis: x is as large as the filter's reach.
    let sizes: Vec<usize> = (0..spatial).map(|a| (taps[a] - 1) * dilation[a] + 1 + extra[a]).collect();
    let out = |a: usize| (before[a] + after[a] + extra[a]) / stride[a] + 1;
    let (n, depth, filters) = (random.between(1, 2), random.between(1, 3), random.between(1, 2) * groups);
    let taps_order = if random.between(0, 1) == 0 { Taps::Flipped } else { Taps::InOrder };
    Problem {
        x: [vec![n, depth * groups], sizes].concat(),
        w: [vec![filters, depth], taps].concat(),
        y: [vec![n, filters], (0..spatial).map(out).collect()].concat(),
        groups,
        before,
        after,
        stride,
        dilation,
        taps: taps_order,
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn gradients_are_the_adjoints_of_the_forward_convolution() {
    let mut source = Random::new();
    for _ in 0..50 {
        let problem = random(&mut source);
        assert!(problem.is_consistent(), "seed {}", source.seed);
        let mut of = |dims: &[usize]| source.values(dims.iter().product());
        let (x, w, dy) = (of(&problem.x), of(&problem.w), of(&problem.y));
        let expected = dot(&problem.forward(&x, &w), &dy);
        let magnitude: f64 = (x.len() * w.len()) as f64;
        for (name, got) in [
            ("data", dot(&problem.backward_data(&w, &dy), &x)),
            ("filter", dot(&problem.backward_filter(&x, &dy), &w)),
        ] {
            let error = (got - expected).abs();
            assert!(error <= 1e-13 * magnitude, "seed {} {name}: {got} {expected}", source.seed);
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_told() {
    let fits = || Problem {
        x: vec![1, 4, 5, 5],
        w: vec![6, 2, 3, 3],
        y: vec![1, 6, 3, 3],
        groups: 2,
        before: vec![0; 2],
        after: vec![0; 2],
        stride: vec![1; 2],
        dilation: vec![1; 2],
        taps: Taps::InOrder,
    };
    assert!(fits().is_consistent());
    assert!(!Problem { groups: 1, ..fits() }.is_consistent());
    assert!(!Problem { y: vec![1, 6, 3, 4], ..fits() }.is_consistent());
    assert!(!Problem { y: vec![2, 6, 3, 3], ..fits() }.is_consistent());
    assert!(!Problem { w: vec![6, 2, 7, 3], ..fits() }.is_consistent(), "a filter larger than x");
    assert!(!Problem { stride: vec![1; 3], ..fits() }.is_consistent());
}

/// x 1×2×3×3 and w 2×1×2×2 in two groups, without padding: y 1×2×2×2.
struct Call {
    handle: *mut c_void,
    w: *mut c_void,
    convolution: *mut c_void,
}

impl Call {
    fn new(kind: c_int, format: c_int, mode: c_int) -> Call {
        let compute = if kind == DOUBLE { DOUBLE } else { FLOAT };
        let (w, convolution) = (make(cudnnCreateFilterDescriptor), make(cudnnCreateConvolutionDescriptor));
        assert_eq!(cudnnSetFilter4dDescriptor(w, kind, format, 2, 1, 2, 2), SUCCESS);
        assert_eq!(cudnnSetConvolution2dDescriptor(convolution, 0, 0, 1, 1, 1, 1, mode, compute), SUCCESS);
        assert_eq!(cudnnSetConvolutionGroupCount(convolution, 2), SUCCESS);
        Call { handle: make(cudnnCreate), w, convolution }
    }
}

const X: [f64; 18] =
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, -1.0, 0.0, 1.0, 2.0, 0.0, 2.0, 1.0, 0.0, -1.0];
const W: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 1.0, 0.0, 0.0, -1.0];
/// By hand: group 0 is 1·a + 2·b + 3·c + 4·d over each window, group 1 is a − d.
const Y: [f64; 8] = [37.0, 47.0, 67.0, 77.0, -1.0, -2.0, 2.0, 1.0];
/// With the taps counted from the last: 4·a + 3·b + 2·c + d and −a + d.
const FLIPPED: [f64; 8] = [23.0, 33.0, 53.0, 63.0, 1.0, 2.0, -2.0, -1.0];

/// Runs the forward convolution of packed tensors on elements of `T`.
fn forward<T: Copy>(call: &Call, kind: c_int, of: impl Fn(f64) -> T, poison: T) -> Vec<T> {
    let (x, w) = (X.map(&of), W.map(&of));
    let mut y = vec![poison; 8];
    let (dx, dy) = (tensor(kind, &[1, 2, 3, 3], &[18, 9, 3, 1]), tensor(kind, &[1, 2, 2, 2], &[8, 4, 2, 1]));
    let (one, zero) = ([1.0f32, 0.0], [0.0f32, 0.0]);
    let (double_one, double_zero) = (1.0f64, 0.0f64);
    let (alpha, beta) = if kind == DOUBLE {
        (scalar(&double_one), scalar(&double_zero))
    } else {
        (scalar(&one), scalar(&zero))
    };
    // SAFETY: descriptors fit the buffers, scalars are of the type.
    let status = unsafe {
        cudnnConvolutionForward(
            call.handle,
            alpha,
            dx,
            address(&x),
            call.w,
            address(&w),
            call.convolution,
            0,
            0,
            0,
            beta,
            dy,
            room(&mut y),
        )
    };
    assert_eq!(status, SUCCESS);
    y
}

#[test]
fn forward_convolution_by_hand_in_every_type_overwrites_what_was_there() {
    assert_eq!(forward(&Call::new(FLOAT, 0, 1), FLOAT, |v| v as f32, f32::NAN), Y.map(|v| v as f32));
    assert_eq!(forward(&Call::new(FLOAT, 0, 0), FLOAT, |v| v as f32, f32::NAN), FLIPPED.map(|v| v as f32));
    assert_eq!(forward(&Call::new(DOUBLE, 0, 1), DOUBLE, |v| v, f64::NAN), Y);
    assert_eq!(forward(&Call::new(2, 0, 1), 2, f16::from_f64, f16::NAN), Y.map(f16::from_f64));
    assert_eq!(forward(&Call::new(9, 0, 1), 9, bf16::from_f64, bf16::NAN), Y.map(bf16::from_f64));
    // With one channel a group, the filter's order in memory is the same channels last.
    assert_eq!(forward(&Call::new(DOUBLE, 1, 1), DOUBLE, |v| v, f64::NAN), Y);
}

#[test]
fn strides_gaps_and_beta_are_respected() {
    let call = Call::new(FLOAT, 0, 1);
    // x channels last with a gap after each row, y with a gap after each element.
    let x_desc = tensor(FLOAT, &[1, 2, 3, 3], &[24, 1, 8, 2]);
    let y_desc = tensor(FLOAT, &[1, 2, 2, 2], &[16, 8, 4, 2]);
    let mut x = vec![f32::NAN; 24];
    for (index, &value) in X.iter().enumerate() {
        x[index / 9 + index % 9 / 3 * 8 + index % 3 * 2] = value as f32;
    }
    let w = W.map(|value| value as f32);
    let mut y: Vec<f32> = (0..16).map(|index| if index % 2 == 0 { 10.0 } else { 99.0 }).collect();
    let (alpha, beta) = (2.0f32, 0.5f32);
    // SAFETY: descriptors fit the buffers, scalars are floats.
    let status = unsafe {
        cudnnConvolutionForward(
            call.handle,
            scalar(&alpha),
            x_desc,
            address(&x),
            call.w,
            address(&w),
            call.convolution,
            7,
            0,
            0,
            scalar(&beta),
            y_desc,
            room(&mut y),
        )
    };
    assert_eq!(status, SUCCESS);
    for (index, &value) in Y.iter().enumerate() {
        assert_eq!(y[2 * index], 2.0 * value as f32 + 5.0, "element {index}");
        assert_eq!(y[2 * index + 1], 99.0, "the gap after element {index}");
    }
}

#[test]
fn gradients_arrive_through_the_c_functions() {
    let call = Call::new(DOUBLE, 0, 1);
    let x_desc = tensor(DOUBLE, &[1, 2, 3, 3], &[18, 9, 3, 1]);
    let y_desc = tensor(DOUBLE, &[1, 2, 2, 2], &[8, 4, 2, 1]);
    // A gradient of one element: dx is the filter at that place, dw is x's window.
    let mut dy = [0.0; 8];
    dy[3] = 1.0;
    let (mut dx, mut dw) = ([f64::NAN; 18], [f64::NAN; 8]);
    let (one, zero) = (1.0f64, 0.0f64);
    // SAFETY: descriptors fit the buffers, scalars are doubles.
    let status = unsafe {
        cudnnConvolutionBackwardData(
            call.handle,
            scalar(&one),
            call.w,
            address(&W),
            y_desc,
            address(&dy),
            call.convolution,
            5,
            0,
            0,
            scalar(&zero),
            x_desc,
            room(&mut dx),
        )
    };
    assert_eq!(status, SUCCESS);
    assert_eq!(dx[..9], [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 3.0, 4.0]);
    assert_eq!(dx[9..], [0.0; 9]);
    // SAFETY: as above.
    let status = unsafe {
        cudnnConvolutionBackwardFilter(
            call.handle,
            scalar(&one),
            x_desc,
            address(&X),
            y_desc,
            address(&dy),
            call.convolution,
            6,
            0,
            0,
            scalar(&zero),
            call.w,
            room(&mut dw),
        )
    };
    assert_eq!(status, SUCCESS);
    assert_eq!(dw, [5.0, 6.0, 8.0, 9.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn misuse_is_refused_and_y_stays() {
    let call = Call::new(FLOAT, 0, 1);
    let x_desc = tensor(FLOAT, &[1, 2, 3, 3], &[18, 9, 3, 1]);
    let y_desc = tensor(FLOAT, &[1, 2, 2, 2], &[8, 4, 2, 1]);
    let (double, wide) =
        (tensor(DOUBLE, &[1, 2, 2, 2], &[8, 4, 2, 1]), tensor(FLOAT, &[1, 2, 2, 3], &[12, 6, 3, 1]));
    let (x, w, mut y) = ([1.0f32; 18], [1.0f32; 8], [3.0f32; 12]);
    let place = room(&mut y);
    let one = 1.0f32;
    let mut foreign = [0x1234_5678_u64; 8];
    let null = std::ptr::null_mut();
    let ended = make(cudnnCreate);
    assert_eq!(cudnnDestroy(ended), SUCCESS);
    let run = |handle, alpha, x_address, y_desc, algorithm| {
        // SAFETY: descriptors fit the buffers; null is refused.
        unsafe {
            cudnnConvolutionForward(
                handle,
                alpha,
                x_desc,
                x_address,
                call.w,
                address(&w),
                call.convolution,
                algorithm,
                0,
                0,
                scalar(&one),
                y_desc,
                place,
            )
        }
    };
    let (handle, alpha, at) = (call.handle, scalar(&one), address(&x));
    assert_eq!(run(null, alpha, at, y_desc, 0), BAD_PARAM);
    assert_eq!(run(foreign.as_mut_ptr().cast(), alpha, at, y_desc, 0), NOT_INITIALIZED);
    assert_eq!(run(handle, std::ptr::null(), at, y_desc, 0), BAD_PARAM);
    assert_eq!(run(handle, alpha, 0, y_desc, 0), BAD_PARAM);
    assert_eq!(run(handle, alpha, 16, y_desc, 0), EXECUTION_FAILED);
    assert_eq!(run(handle, alpha, at, double, 0), BAD_PARAM);
    assert_eq!(run(handle, alpha, at, wide, 0), BAD_PARAM);
    assert_eq!(run(handle, alpha, at, null, 0), BAD_PARAM);
    assert_eq!(run(handle, alpha, at, y_desc, 8), BAD_PARAM);
    assert_eq!(y, [3.0; 12]);
}

#[test]
fn one_algorithm_and_no_workspace() {
    let call = Call::new(FLOAT, 0, 1);
    let x = tensor(FLOAT, &[1, 2, 3, 3], &[18, 9, 3, 1]);
    let y = tensor(FLOAT, &[1, 2, 2, 2], &[8, 4, 2, 1]);
    let mut bytes = usize::MAX;
    // SAFETY: a writable place.
    let status = unsafe {
        cudnnGetConvolutionForwardWorkspaceSize(
            call.handle,
            x,
            call.w,
            call.convolution,
            y,
            1,
            &raw mut bytes,
        )
    };
    assert_eq!((status, bytes), (SUCCESS, 0));
    let mut count = -7;
    let mut result = std::mem::MaybeUninit::uninit();
    let mut ask = |requested| {
        // SAFETY: room for one result.
        unsafe {
            cudnnGetConvolutionForwardAlgorithm_v7(
                call.handle,
                x,
                call.w,
                call.convolution,
                y,
                requested,
                &raw mut count,
                result.as_mut_ptr(),
            )
        }
    };
    assert_eq!([ask(0), ask(8)], [BAD_PARAM, SUCCESS]);
    assert_eq!(count, 1);
    // SAFETY: written by the successful call.
    let result = unsafe { result.assume_init() };
    assert_eq!((result.algo as c_int, result.status as c_int, result.memory), (0, 0, 0));
}
