//! cuDNN's probe: a 3×3 convolution of 8 channels by the real library's implicit GEMM, compared.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::{
    cudnnConvolutionFwdAlgo_t as Algorithm, cudnnConvolutionMode_t as Filtering,
    cudnnDataType_t as CudnnType, cudnnTensorFormat_t as Format,
};

use super::probe::{ELEMENTS, ProbeFailure, Workbench};
use crate::native::find::{Library, Slot};

const CHANNELS: usize = 8;
const SIDE: usize = 8;
const TAPS: usize = 3;

type Create = unsafe extern "C" fn(*mut *mut c_void) -> c_int;
type Destroy = unsafe extern "C" fn(*mut c_void) -> c_int;
type SetStream = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
type SetTensor = unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
type SetConvolution =
    unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
type Forward = unsafe extern "C" fn(
    *mut c_void,
    *const f32,
    *mut c_void,
    u64,
    *mut c_void,
    u64,
    *mut c_void,
    c_int,
    *mut c_void,
    usize,
    *const f32,
    *mut c_void,
    u64,
) -> c_int;

/// A function of the real library; `None` if the process has none.
fn real<F: Copy>(slot: &Slot) -> Result<F, ProbeFailure> {
    let address = slot.real().ok_or(ProbeFailure::LibraryMissing)?;
    assert_eq!(size_of::<F>(), size_of::<*mut c_void>(), "F is a function pointer");
    // SAFETY: every caller below asks with the prototype of the function that its slot names.
    Ok(unsafe { std::mem::transmute_copy(&address) })
}

macro_rules! real {
    ($name:literal as $ty:ty) => {{
        static SLOT: Slot = Slot::new(Library::Cudnn, $name);
        real::<$ty>(&SLOT)?
    }};
}

/// An object of the real library's, with the function that ends it.
struct Made {
    object: *mut c_void,
    destroy: Destroy,
}

impl Made {
    fn by(create: Create, destroy: Destroy) -> Result<Made, c_int> {
        let mut object = std::ptr::null_mut();
        // SAFETY: `object` is writable.
        match unsafe { create(&raw mut object) } {
            0 => Ok(Made { object, destroy }),
            status => Err(status),
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // SAFETY: made in `by` by the library whose function this is, used nowhere else.
        let _ = unsafe { (self.destroy)(self.object) };
    }
}

/// Whether the real cuDNN convolves correctly on the current device.
pub fn run(bench: &Workbench) -> Result<(), ProbeFailure> {
    // Small integers: every partial sum is exact, even in half precision.
    let x: Vec<f32> = (0..CHANNELS * SIDE * SIDE).map(|i| (i * 7 % 5) as f32 - 2.0).collect();
    let w: Vec<f32> = (0..CHANNELS * CHANNELS * TAPS * TAPS).map(|i| (i * 5 % 3) as f32 - 1.0).collect();
    bench.upload(0, &x)?;
    bench.upload(1, &w)?;
    bench.upload(2, &[f32::NAN; ELEMENTS])?;
    convolve(bench)?;
    let got = bench.download(2)?;
    let right = (0..CHANNELS * SIDE * SIDE).all(|place| got[place] == expected(&x, &w, place));
    if right { Ok(()) } else { Err(ProbeFailure::WrongResult) }
}

/// The exact result at a place of the output.
fn expected(x: &[f32], w: &[f32], place: usize) -> f32 {
    let (k, row, col) = (place / (SIDE * SIDE), place / SIDE % SIDE, place % SIDE);
    let mut sum = 0.0;
    for tap in 0..CHANNELS * TAPS * TAPS {
        let (c, r, s) = (tap / (TAPS * TAPS), tap / TAPS % TAPS, tap % TAPS);
        // Padding of 1: rows and columns count from −1.
        let (Some(y), Some(z)) = ((row + r).checked_sub(1), (col + s).checked_sub(1)) else { continue };
        if y < SIDE && z < SIDE {
            sum += w[k * CHANNELS * TAPS * TAPS + tap] * x[(c * SIDE + y) * SIDE + z];
        }
    }
    sum
}

fn convolve(bench: &Workbench) -> Result<(), ProbeFailure> {
    let failed = ProbeFailure::Convolution;
    let handle = Made::by(real!(c"cudnnCreate" as Create), real!(c"cudnnDestroy" as Destroy))
        .map_err(ProbeFailure::Handle)?;
    let set_stream = real!(c"cudnnSetStream" as SetStream);
    let tensor = Made::by(
        real!(c"cudnnCreateTensorDescriptor" as Create),
        real!(c"cudnnDestroyTensorDescriptor" as Destroy),
    )
    .map_err(failed)?;
    let filter = Made::by(
        real!(c"cudnnCreateFilterDescriptor" as Create),
        real!(c"cudnnDestroyFilterDescriptor" as Destroy),
    )
    .map_err(failed)?;
    let convolution = Made::by(
        real!(c"cudnnCreateConvolutionDescriptor" as Create),
        real!(c"cudnnDestroyConvolutionDescriptor" as Destroy),
    )
    .map_err(failed)?;
    let set_tensor = real!(c"cudnnSetTensor4dDescriptor" as SetTensor);
    let set_filter = real!(c"cudnnSetFilter4dDescriptor" as SetTensor);
    let set_convolution = real!(c"cudnnSetConvolution2dDescriptor" as SetConvolution);
    let forward = real!(c"cudnnConvolutionForward" as Forward);
    let (c, side, taps) = (CHANNELS as c_int, SIDE as c_int, TAPS as c_int);
    let (float, nchw) = (CudnnType::CUDNN_DATA_FLOAT as c_int, Format::CUDNN_TENSOR_NCHW as c_int);
    let cross = Filtering::CUDNN_CROSS_CORRELATION as c_int;
    let gemm = Algorithm::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM as c_int;
    let (one, zero) = (1.0f32, 0.0f32);
    let mut steps: [&mut dyn FnMut() -> c_int; 5] = [
        // SAFETY: the handle was made above, the stream by the workbench.
        &mut || unsafe { set_stream(handle.object, bench.stream.cast()) },
        // SAFETY: the descriptor was made above.
        &mut || unsafe { set_tensor(tensor.object, nchw, float, 1, c, side, side) },
        // SAFETY: as above.
        &mut || unsafe { set_filter(filter.object, float, nchw, c, c, taps, taps) },
        // SAFETY: as above.
        &mut || unsafe { set_convolution(convolution.object, 1, 1, 1, 1, 1, 1, cross, float) },
        // SAFETY: the three arrays have room for what the descriptors say; this algorithm needs no workspace;
        // the scalars outlive the call.
        &mut || unsafe {
            forward(
                handle.object,
                &raw const one,
                tensor.object,
                bench.at(0),
                filter.object,
                bench.at(1),
                convolution.object,
                gemm,
                std::ptr::null_mut(),
                0,
                &raw const zero,
                tensor.object,
                bench.at(2),
            )
        },
    ];
    let status = steps.iter_mut().map(|step| step()).find(|&status| status != 0).unwrap_or(0);
    let finished = bench.synchronize();
    match status {
        0 => Ok(finished?),
        status => Err(failed(status)),
    }
}
