//! The legacy interface: descriptors and the three convolutions.

use std::ffi::{c_int, c_void};

use gpucompat_cases::conv::{Arrangement, ConvCase, Direction};
use gpucompat_cases::element::Element;

use super::{SUCCESS, compute_type, data_type};
use crate::call;
use crate::lab::{Device, symbol};

/// A descriptor, ended when dropped.
pub struct Descriptor {
    /// What cuDNN calls it by.
    pub object: *mut c_void,
    destroy: &'static str,
}

impl Descriptor {
    /// Makes one.
    pub fn new(create: &str, destroy: &'static str) -> Descriptor {
        let mut object = std::ptr::null_mut();
        let pointer = &raw mut object;
        assert_eq!(call!(create, pointer => *mut *mut c_void), SUCCESS, "{create}");
        Descriptor { object, destroy }
    }

    /// A tensor.
    pub fn tensor(element: Element, dims: &[usize], strides: &[usize]) -> Descriptor {
        let made = Descriptor::new("cudnnCreateTensorDescriptor", "cudnnDestroyTensorDescriptor");
        let (dims, strides) = (ints(dims), ints(strides));
        let (at, steps) = (dims.as_ptr(), strides.as_ptr());
        let (kind, rank) = (data_type(element), dims.len() as c_int);
        let status = call!("cudnnSetTensorNdDescriptor", made.object => *mut c_void, kind => c_int, rank => c_int,
            at => *const c_int, steps => *const c_int);
        assert_eq!(status, SUCCESS, "tensor {element:?} {dims:?} {strides:?}");
        made
    }

    /// A packed filter.
    pub fn filter(element: Element, lies: Arrangement, dims: &[usize]) -> Descriptor {
        let made = Descriptor::new("cudnnCreateFilterDescriptor", "cudnnDestroyFilterDescriptor");
        let dims = ints(dims);
        let format = c_int::from(lies == Arrangement::Nhwc);
        let (at, kind, rank) = (dims.as_ptr(), data_type(element), dims.len() as c_int);
        let status = call!("cudnnSetFilterNdDescriptor", made.object => *mut c_void, kind => c_int, format => c_int,
            rank => c_int, at => *const c_int);
        assert_eq!(status, SUCCESS, "filter {element:?} {dims:?}");
        made
    }

    /// A convolution.
    pub fn convolution(case: &ConvCase) -> Descriptor {
        let made = Descriptor::new("cudnnCreateConvolutionDescriptor", "cudnnDestroyConvolutionDescriptor");
        let [pad, stride, dilation] = [case.before, case.stride, case.dilation]
            .map(|values| ints(&case.spatial(values).collect::<Vec<_>>()));
        let (at_pad, at_stride, at_dilation) = (pad.as_ptr(), stride.as_ptr(), dilation.as_ptr());
        let (rank, mode, compute) = (pad.len() as c_int, c_int::from(!case.flip), compute_type(case.input));
        let status = call!("cudnnSetConvolutionNdDescriptor", made.object => *mut c_void, rank => c_int,
            at_pad => *const c_int, at_stride => *const c_int, at_dilation => *const c_int, mode => c_int,
            compute => c_int);
        assert_eq!(status, SUCCESS, "convolution {case}");
        let groups = case.groups as c_int;
        let status = call!("cudnnSetConvolutionGroupCount", made.object => *mut c_void, groups => c_int);
        assert_eq!(status, SUCCESS);
        made
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        assert_eq!(call!(self.destroy, self.object => *mut c_void), SUCCESS, "{}", self.destroy);
    }
}

/// C integers.
pub fn ints(values: &[usize]) -> Vec<c_int> {
    values.iter().map(|&value| value as c_int).collect()
}

/// α or β as the library reads it: a double for double tensors, else a float.
pub fn scaling(element: Element, value: f64) -> [u8; 8] {
    if element == Element::F64 {
        value.to_le_bytes()
    } else {
        let mut eight = [0; 8];
        eight[..4].copy_from_slice(&(value as f32).to_le_bytes());
        eight
    }
}

/// The descriptors of a case: x, w, y and the convolution.
pub fn descriptors(case: &ConvCase) -> [Descriptor; 4] {
    let tensor = |index| Descriptor::tensor(case.element(index), &case.dims(index), &case.strides(index));
    let filter = Descriptor::filter(case.element(1), case.lie[1], &case.dims(1));
    [tensor(0), filter, tensor(2), Descriptor::convolution(case)]
}

/// The function of the case's direction.
fn function_name(case: &ConvCase) -> &'static str {
    match case.direction {
        Direction::Forward => "cudnnConvolutionForward",
        Direction::BackwardData => "cudnnConvolutionBackwardData",
        Direction::BackwardFilter => "cudnnConvolutionBackwardFilter",
    }
}

/// Calls the function of the case's direction.
pub fn call_convolution(
    handle: *mut c_void,
    case: &ConvCase,
    descriptors: [*mut c_void; 4],
    addresses: [u64; 3],
) -> c_int {
    call_convolution_of(symbol(function_name(case)), handle, case, descriptors, addresses)
}

/// The second of each direction's algorithms; every device has it.
const ALGORITHM: c_int = 1;

/// Calls a function of the case's direction: x's, w's, y's and the convolution's descriptor.
pub fn call_convolution_of(
    function: *mut c_void,
    handle: *mut c_void,
    case: &ConvCase,
    [x, w, y, conv]: [*mut c_void; 4],
    [x_at, w_at, y_at]: [u64; 3],
) -> c_int {
    type Convolve = unsafe extern "C" fn(
        *mut c_void,
        *const u8,
        *mut c_void,
        u64,
        *mut c_void,
        u64,
        *mut c_void,
        c_int,
        u64,
        usize,
        *const u8,
        *mut c_void,
        u64,
    ) -> c_int;
    let (alpha, beta) = (scaling(case.output, case.alpha), scaling(case.output, case.beta));
    let [(a, a_at), (b, b_at), (to, to_at)] = match case.direction {
        Direction::Forward => [(x, x_at), (w, w_at), (y, y_at)],
        Direction::BackwardData => [(w, w_at), (y, y_at), (x, x_at)],
        Direction::BackwardFilter => [(x, x_at), (y, y_at), (w, w_at)],
    };
    let (alpha, beta) = (alpha.as_ptr(), beta.as_ptr());
    // SAFETY: the three functions have this prototype.
    let function: Convolve = unsafe { std::mem::transmute(function) };
    // SAFETY: the descriptors and scalars are alive; the addresses are judged by the library.
    unsafe { function(handle, alpha, a, a_at, b, b_at, conv, ALGORITHM, 0, 0, beta, to, to_at) }
}

/// A case through the legacy interface; what is wrong, with the case's line.
pub fn run(handle: *mut c_void, case: &ConvCase) -> Result<(), String> {
    let descriptors = descriptors(case);
    let data = case.data();
    let tensors = data.tensors.each_ref().map(|bytes| Device::holding(bytes));
    let addresses = tensors.each_ref().map(|tensor| tensor.address);
    let status = call_convolution(handle, case, descriptors.each_ref().map(|it| it.object), addresses);
    if status != SUCCESS {
        return Err(format!("{case}: status {status}"));
    }
    finish(case, &data, &tensors)
}

/// Compares the result, and that the operands are as they were.
pub fn finish(
    case: &ConvCase,
    data: &gpucompat_cases::conv::Data,
    tensors: &[Device; 3],
) -> Result<(), String> {
    let result = case.direction.result();
    for (index, (before, tensor)) in data.tensors.iter().zip(tensors).enumerate() {
        if index == result {
            case.check(before, &tensor.get(), &data.expected)?;
        } else if *before != tensor.get() {
            return Err(format!("{case}: operand {index} was written"));
        }
    }
    Ok(())
}
