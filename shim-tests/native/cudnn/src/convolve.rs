//! Convolution and its gradients, and the questions that go before them.

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys;
use native_core::mode::{CUDNN, Play};

use crate::arguments::{put, scalar};
use crate::arithmetic::{Problem, Taps};
use crate::array::Blend;
use crate::convolution::Convolution;
use crate::filter::Filter;
use crate::handle::called;
use crate::object::value;
use crate::status::{BAD_PARAM, of};
use crate::tensor::Tensor;

/// How many algorithms there are: forward, for the data's gradient, for the filter's.
const FORWARD_ALGORITHMS: c_int = sys::cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_COUNT as c_int;
const DATA_ALGORITHMS: c_int =
    sys::cudnnConvolutionBwdDataAlgo_t::CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT as c_int;
const FILTER_ALGORITHMS: c_int =
    sys::cudnnConvolutionBwdFilterAlgo_t::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT as c_int;

/// The descriptors of a call.
struct Descriptors {
    x: &'static Tensor,
    w: &'static Filter,
    y: &'static Tensor,
    problem: Problem,
}

impl Descriptors {
    /// Recognises and checks them; one type must do for all three tensors.
    fn new(
        x: *const c_void,
        w: *const c_void,
        convolution: *const c_void,
        y: *const c_void,
    ) -> Result<Descriptors, c_int> {
        let (x, w, y) = (&*value::<Tensor>(x)?, &*value::<Filter>(w)?, &*value::<Tensor>(y)?);
        let convolution = &*value::<Convolution>(convolution)?;
        let counts = |values: &[c_int]| values.iter().map(|&it| it as usize).collect::<Vec<_>>();
        let problem = Problem {
            x: counts(&x.dims),
            w: counts(&w.dims),
            y: counts(&y.dims),
            groups: convolution.groups as usize,
            before: counts(&convolution.padding),
            after: counts(&convolution.padding),
            stride: counts(&convolution.stride),
            dilation: counts(&convolution.dilation),
            taps: if convolution.mode == 0 { Taps::Flipped } else { Taps::InOrder },
        };
        let one_type = x.kind == w.kind && y.kind == w.kind;
        if one_type && problem.is_consistent() {
            Ok(Descriptors { x, w, y, problem })
        } else {
            Err(BAD_PARAM)
        }
    }

    fn blend(&self, alpha: *const c_void, beta: *const c_void) -> Result<Blend, c_int> {
        Ok(Blend { alpha: scalar(alpha, self.x.kind)?, beta: scalar(beta, self.x.kind)? })
    }
}

/// What the function `name` is to do, unless it is to fail.
pub fn play(name: &str) -> Result<Play, c_int> {
    match CUDNN.play(name) {
        Play::Fail(status) => Err(status),
        play => Ok(play),
    }
}

fn check_algorithm(algorithm: c_int, count: c_int) -> Result<(), c_int> {
    if (0..count).contains(&algorithm) { Ok(()) } else { Err(BAD_PARAM) }
}

/// `y ← α·(x ∗ w) + β·y`.
///
/// # Safety
/// `alpha` and `beta` are readable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnConvolutionForward(
    handle: *mut c_void,
    alpha: *const c_void,
    x_desc: *const c_void,
    x: u64,
    w_desc: *const c_void,
    w: u64,
    convolution: *const c_void,
    algorithm: c_int,
    _workspace: u64,
    _bytes: usize,
    beta: *const c_void,
    y_desc: *const c_void,
    y: u64,
) -> c_int {
    of(|| {
        let stream = called("cudnnConvolutionForward", handle)?.stream;
        let play = play("cudnnConvolutionForward")?;
        check_algorithm(algorithm, FORWARD_ALGORITHMS)?;
        let it = Descriptors::new(x_desc, w_desc, convolution, y_desc)?;
        let blend = it.blend(alpha, beta)?;
        let values = it.problem.forward(&it.x.at(x)?.load(stream)?, &it.w.at(w)?.load(stream)?);
        it.y.at(y)?.store(stream, play, blend, &values)
    })
}

/// `dx ← α·(gradient of x) + β·dx`.
///
/// # Safety
/// `alpha` and `beta` are readable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnConvolutionBackwardData(
    handle: *mut c_void,
    alpha: *const c_void,
    w_desc: *const c_void,
    w: u64,
    dy_desc: *const c_void,
    dy: u64,
    convolution: *const c_void,
    algorithm: c_int,
    _workspace: u64,
    _bytes: usize,
    beta: *const c_void,
    dx_desc: *const c_void,
    dx: u64,
) -> c_int {
    of(|| {
        let stream = called("cudnnConvolutionBackwardData", handle)?.stream;
        let play = play("cudnnConvolutionBackwardData")?;
        check_algorithm(algorithm, DATA_ALGORITHMS)?;
        let it = Descriptors::new(dx_desc, w_desc, convolution, dy_desc)?;
        let blend = it.blend(alpha, beta)?;
        let values = it.problem.backward_data(&it.w.at(w)?.load(stream)?, &it.y.at(dy)?.load(stream)?);
        it.x.at(dx)?.store(stream, play, blend, &values)
    })
}

/// `dw ← α·(gradient of w) + β·dw`.
///
/// # Safety
/// `alpha` and `beta` are readable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnConvolutionBackwardFilter(
    handle: *mut c_void,
    alpha: *const c_void,
    x_desc: *const c_void,
    x: u64,
    dy_desc: *const c_void,
    dy: u64,
    convolution: *const c_void,
    algorithm: c_int,
    _workspace: u64,
    _bytes: usize,
    beta: *const c_void,
    dw_desc: *const c_void,
    dw: u64,
) -> c_int {
    of(|| {
        let stream = called("cudnnConvolutionBackwardFilter", handle)?.stream;
        let play = play("cudnnConvolutionBackwardFilter")?;
        check_algorithm(algorithm, FILTER_ALGORITHMS)?;
        let it = Descriptors::new(x_desc, dw_desc, convolution, dy_desc)?;
        let blend = it.blend(alpha, beta)?;
        let values = it.problem.backward_filter(&it.x.at(x)?.load(stream)?, &it.y.at(dy)?.load(stream)?);
        it.w.at(dw)?.store(stream, play, blend, &values)
    })
}

/// The workspace of the forward convolution: none.
///
/// # Safety
/// `bytes` is writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetConvolutionForwardWorkspaceSize(
    handle: *mut c_void,
    x: *const c_void,
    w: *const c_void,
    convolution: *const c_void,
    y: *const c_void,
    algorithm: c_int,
    bytes: *mut usize,
) -> c_int {
    of(|| {
        called("cudnnGetConvolutionForwardWorkspaceSize", handle)?;
        play("cudnnGetConvolutionForwardWorkspaceSize")?;
        check_algorithm(algorithm, FORWARD_ALGORITHMS)?;
        Descriptors::new(x, w, convolution, y)?;
        put([bytes], [0])
    })
}

/// One algorithm, `IMPLICIT_GEMM`, for everything.
///
/// # Safety
/// `returned` is writable or null, `results` has room for one result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetConvolutionForwardAlgorithm_v7(
    handle: *mut c_void,
    x: *const c_void,
    w: *const c_void,
    convolution: *const c_void,
    y: *const c_void,
    requested: c_int,
    returned: *mut c_int,
    results: *mut sys::cudnnConvolutionFwdAlgoPerf_t,
) -> c_int {
    of(|| {
        called("cudnnGetConvolutionForwardAlgorithm_v7", handle)?;
        if let Err(status) = play("cudnnGetConvolutionForwardAlgorithm_v7") {
            return put([returned], [0]).and(Err(status));
        }
        Descriptors::new(x, w, convolution, y)?;
        if requested < 1 || returned.is_null() {
            return Err(BAD_PARAM);
        }
        let result = sys::cudnnConvolutionFwdAlgoPerf_t {
            algo: sys::cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
            status: sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS,
            time: -1.0,
            memory: 0,
            determinism: sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC,
            mathType: sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
            reserved: [0; 3],
        };
        put([results], [result])?;
        put([returned], [1])
    })
}
