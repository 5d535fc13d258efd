//! Tensor descriptors: a type, sizes and strides in elements.

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::{cudnnDataType_t as DataType, cudnnTensorFormat_t as Format};

use crate::arguments::{ints, is_data_type, put, put_ints};
use crate::array::Array;
use crate::object::{Kind, called, life};
use crate::status::{BAD_PARAM, NOT_SUPPORTED, of};

/// `CUDNN_DIM_MAX`.
pub const MOST_DIMENSIONS: usize = 8;

/// A tensor descriptor; a new one has no dimensions.
#[derive(Default)]
pub struct Tensor {
    /// Its `cudnnDataType_t`.
    pub kind: c_int,
    /// n, c, then the spatial sizes.
    pub dims: Vec<c_int>,
    /// Elements from neighbour to neighbour.
    pub strides: Vec<c_int>,
}

impl Kind for Tensor {
    const LETTER: u8 = b'T';
}

impl Tensor {
    fn set(&mut self, kind: c_int, dims: Vec<c_int>, strides: Vec<c_int>) -> Result<(), c_int> {
        check_sizes(kind, &dims, 2)?;
        if strides.contains(&0) {
            return Err(BAD_PARAM);
        }
        *self = Tensor { kind, dims, strides };
        Ok(())
    }

    /// The tensor at an address.
    pub fn at(&self, address: u64) -> Result<Array, c_int> {
        let wide = |values: &[c_int]| values.iter().copied().map(i64::from).collect::<Vec<_>>();
        Array::new(address, self.kind, &wide(&self.dims), &wide(&self.strides))
    }
}

/// A known type, from `least` to eight positive sizes.
pub fn check_sizes(kind: c_int, dims: &[c_int], least: usize) -> Result<(), c_int> {
    if dims.len() > MOST_DIMENSIONS {
        return Err(NOT_SUPPORTED);
    }
    let fine = is_data_type(kind) && dims.len() >= least && dims.iter().all(|&size| size > 0);
    if fine { Ok(()) } else { Err(BAD_PARAM) }
}

/// The strides of a tensor without gaps, channels last if the format says so. The stand-in has no packed
/// vectors (NCHW_VECT_C): BAD_PARAM for types that are none, else NOT_SUPPORTED.
pub fn packed(format: c_int, kind: c_int, dims: &[c_int]) -> Result<Vec<c_int>, c_int> {
    let mut fastest_first: Vec<usize> = (0..dims.len()).rev().collect();
    if format == Format::CUDNN_TENSOR_NHWC as c_int {
        if dims.len() < 3 {
            return Err(BAD_PARAM);
        }
        fastest_first.retain(|&axis| axis != 1);
        fastest_first.insert(0, 1);
    } else if format == Format::CUDNN_TENSOR_NCHW_VECT_C as c_int {
        let vectors =
            [DataType::CUDNN_DATA_INT8x4, DataType::CUDNN_DATA_UINT8x4, DataType::CUDNN_DATA_INT8x32];
        let fits = vectors.iter().any(|&it| it as c_int == kind);
        return Err(if fits { NOT_SUPPORTED } else { BAD_PARAM });
    } else if format != Format::CUDNN_TENSOR_NCHW as c_int {
        return Err(BAD_PARAM);
    }
    let mut strides = vec![1; dims.len()];
    let mut stride: c_int = 1;
    for axis in fastest_first {
        strides[axis] = stride;
        stride = stride.checked_mul(dims[axis]).ok_or(BAD_PARAM)?;
    }
    Ok(strides)
}

life!(cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor, Tensor);

/// n, c, h, w without gaps.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnSetTensor4dDescriptor(
    desc: *mut c_void,
    format: c_int,
    kind: c_int,
    n: c_int,
    c: c_int,
    h: c_int,
    w: c_int,
) -> c_int {
    of(|| {
        let tensor = called::<Tensor>("cudnnSetTensor4dDescriptor", desc)?;
        let dims = vec![n, c, h, w];
        check_sizes(kind, &dims, 4)?;
        let strides = packed(format, kind, &dims)?;
        tensor.set(kind, dims, strides)
    })
}

/// n, c, h, w with strides.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnSetTensor4dDescriptorEx(
    desc: *mut c_void,
    kind: c_int,
    n: c_int,
    c: c_int,
    h: c_int,
    w: c_int,
    n_stride: c_int,
    c_stride: c_int,
    h_stride: c_int,
    w_stride: c_int,
) -> c_int {
    of(|| {
        let tensor = called::<Tensor>("cudnnSetTensor4dDescriptorEx", desc)?;
        tensor.set(kind, vec![n, c, h, w], vec![n_stride, c_stride, h_stride, w_stride])
    })
}

/// Any rank with strides.
///
/// # Safety
/// `dims` and `strides` have `rank` integers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnSetTensorNdDescriptor(
    desc: *mut c_void,
    kind: c_int,
    rank: c_int,
    dims: *const c_int,
    strides: *const c_int,
) -> c_int {
    of(|| {
        let tensor = called::<Tensor>("cudnnSetTensorNdDescriptor", desc)?;
        tensor.set(kind, ints(dims, rank)?, ints(strides, rank)?)
    })
}

/// Any rank without gaps.
///
/// # Safety
/// `dims` has `rank` integers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnSetTensorNdDescriptorEx(
    desc: *mut c_void,
    format: c_int,
    kind: c_int,
    rank: c_int,
    dims: *const c_int,
) -> c_int {
    of(|| {
        let tensor = called::<Tensor>("cudnnSetTensorNdDescriptorEx", desc)?;
        let dims = ints(dims, rank)?;
        check_sizes(kind, &dims, 2)?;
        let strides = packed(format, kind, &dims)?;
        tensor.set(kind, dims, strides)
    })
}

/// The first four dimensions; those that a set tensor lacks are 1.
///
/// # Safety
/// All places are writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetTensor4dDescriptor(
    desc: *const c_void,
    kind: *mut c_int,
    n: *mut c_int,
    c: *mut c_int,
    h: *mut c_int,
    w: *mut c_int,
    n_stride: *mut c_int,
    c_stride: *mut c_int,
    h_stride: *mut c_int,
    w_stride: *mut c_int,
) -> c_int {
    of(|| {
        let tensor = called::<Tensor>("cudnnGetTensor4dDescriptor", desc)?;
        let lacking = c_int::from(!tensor.dims.is_empty());
        let d = |axis: usize| tensor.dims.get(axis).copied().unwrap_or(lacking);
        let s = |axis: usize| tensor.strides.get(axis).copied().unwrap_or(lacking);
        put(
            [kind, n, c, h, w, n_stride, c_stride, h_stride, w_stride],
            [tensor.kind, d(0), d(1), d(2), d(3), s(0), s(1), s(2), s(3)],
        )
    })
}

/// The rank, and the first `requested` sizes and strides.
///
/// # Safety
/// All places are writable or null, the arrays for `requested` integers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetTensorNdDescriptor(
    desc: *const c_void,
    requested: c_int,
    kind: *mut c_int,
    rank: *mut c_int,
    dims: *mut c_int,
    strides: *mut c_int,
) -> c_int {
    of(|| {
        let tensor = called::<Tensor>("cudnnGetTensorNdDescriptor", desc)?;
        put([kind, rank], [tensor.kind, tensor.dims.len() as c_int])?;
        put_ints(dims, &tensor.dims, requested)?;
        put_ints(strides, &tensor.strides, requested)
    })
}
