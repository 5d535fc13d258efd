//! What the legacy API's tensor, filter and convolution descriptors hold.
//!
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::{cudnnConvolutionMode_t as CFiltering, cudnnTensorFormat_t as Format};
use gpucompat_engine::{Conv, Filtering, Layout};

use crate::boundary::args::DataType;
use crate::boundary::status::Error;

/// As many numbers as cuDNN's arrays of sizes have (`CUDNN_DIM_MAX`).
pub const DIM_MAX: usize = 8;

/// The most spatial axes that the real library lets itself be asked for.
pub const AXES: usize = DIM_MAX - 2;

/// Element type and layout of a tensor or filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorDesc {
    /// The elements' type.
    pub element: DataType,
    /// Sizes and strides.
    pub layout: Layout,
}

/// Sizes from C; `INVALID_VALUE` if one is negative or there are too many.
pub fn sizes(values: &[c_int], argument: &'static str) -> Result<Vec<usize>, Error> {
    values.iter().map(|&value| usize::try_from(value).map_err(|_| Error::InvalidValue(argument))).collect()
}

/// The meaning of a C enumerator; `INVALID_VALUE` for a number that is none.
pub fn choice<T: Copy>(value: c_int, rows: &[(c_int, T)], argument: &'static str) -> Result<T, Error> {
    rows.iter().find_map(|row| (row.0 == value).then_some(row.1)).ok_or(Error::InvalidValue(argument))
}

/// `INVALID_VALUE` for a layout whose places do not fit the address space.
pub fn checked(layout: &Layout, argument: &'static str) -> Result<(), Error> {
    let product =
        |numbers: &[usize]| numbers.iter().try_fold(1usize, |product, &number| product.checked_mul(number));
    let reach = layout.dims().iter().zip(layout.strides()).try_fold(0usize, |reach, (&size, &stride)| {
        reach.checked_add(size.saturating_sub(1).checked_mul(stride)?)
    });
    let elements = product(layout.dims()).filter(|&elements| isize::try_from(elements).is_ok());
    elements.zip(reach).map(|_| ()).ok_or(Error::InvalidValue(argument))
}

/// Whether every axis of `small` has the size of `whole`'s, or 1.
pub fn broadcasts(small: &[usize], whole: &[usize]) -> bool {
    small.len() == whole.len() && small.iter().zip(whole).all(|(&size, &full)| size == full || size == 1)
}

/// How many places a window that reaches over `window` elements has along an axis of `size` elements with `padding`
/// more, before and after together. None if it does not fit, or does not move.
pub fn window_places(size: usize, padding: usize, window: usize, stride: usize) -> Option<usize> {
    let room = (size + padding).checked_sub(window)?;
    Some(room.checked_div(stride)? + 1)
}

/// The first `count` of the numbers that a getter wrote.
pub fn first<'a>(values: &'a [c_int], count: c_int, argument: &'static str) -> Result<&'a [c_int], Error> {
    usize::try_from(count).ok().and_then(|count| values.get(..count)).ok_or(Error::InvalidValue(argument))
}

impl TensorDesc {
    /// Reads a `cudnnTensorDescriptor_t`. Errors: `INVALID_VALUE` for null or one that was not set;
    /// `NOT_SUPPORTED` for a packed element type.
    pub fn read(descriptor: *const c_void, argument: &'static str) -> Result<TensorDesc, Error> {
        let (mut element, mut rank) = (0, 0);
        let (mut dims, mut strides) = ([0; DIM_MAX], [0; DIM_MAX]);
        if descriptor.is_null() {
            return Err(Error::InvalidValue(argument));
        }
        ask!(cudnnGetTensorNdDescriptor for argument,
            descriptor => *const c_void, DIM_MAX as c_int => c_int, &raw mut element => *mut c_int,
            &raw mut rank => *mut c_int, dims.as_mut_ptr() => *mut c_int, strides.as_mut_ptr() => *mut c_int)?;
        if rank == 0 {
            return Err(Error::InvalidValue(argument)); // made and never set
        }
        let layout = Layout::new(
            &sizes(first(&dims, rank, argument)?, argument)?,
            &sizes(first(&strides, rank, argument)?, argument)?,
        );
        checked(&layout, argument)?;
        Ok(TensorDesc { element: DataType::from_cudnn(element)?, layout })
    }

    /// Reads a `cudnnFilterDescriptor_t`: [K, C, spatial…] whatever the format, which only decides the strides.
    pub fn read_filter(descriptor: *const c_void, argument: &'static str) -> Result<TensorDesc, Error> {
        let (mut element, mut format, mut rank, mut dims) = (0, 0, 0, [0; DIM_MAX]);
        if descriptor.is_null() {
            return Err(Error::InvalidValue(argument));
        }
        ask!(cudnnGetFilterNdDescriptor for argument,
            descriptor => *const c_void, DIM_MAX as c_int => c_int, &raw mut element => *mut c_int,
            &raw mut format => *mut c_int, &raw mut rank => *mut c_int, dims.as_mut_ptr() => *mut c_int)?;
        if rank == 0 {
            return Err(Error::InvalidValue(argument));
        }
        let dims = sizes(first(&dims, rank, argument)?, argument)?;
        let layout = if format == Format::CUDNN_TENSOR_NCHW as c_int {
            Layout::packed(&dims)
        } else if format == Format::CUDNN_TENSOR_NHWC as c_int && dims.len() > 2 {
            channels_last(&dims)
        } else {
            return Err(Error::NotSupported("filter format"));
        };
        Ok(TensorDesc { element: DataType::from_cudnn(element)?, layout })
    }

    /// The same layout with this element type.
    #[must_use]
    pub fn of(self, element: DataType) -> TensorDesc {
        TensorDesc { element, ..self }
    }
}

/// [N, C, spatial…] with the channels closest together.
fn channels_last(dims: &[usize]) -> Layout {
    let order: Vec<usize> = [0].into_iter().chain(2..dims.len()).chain([1]).collect();
    let mut strides = vec![0; dims.len()];
    let mut step = 1;
    for &axis in order.iter().rev() {
        strides[axis] = step;
        step *= dims[axis].max(1);
    }
    Layout::new(dims, &strides)
}

/// A `cudnnConvolutionDescriptor_t`.
#[derive(Clone, Copy, Debug)]
pub struct ConvolutionDesc {
    /// The geometry.
    pub conv: Conv,
    /// Spatial axes.
    pub axes: usize,
    /// The type that is accumulated in.
    pub compute: DataType,
}

/// Spatial axes that convolutions and poolings are served with.
pub const SPATIAL_MAX: usize = 3;

/// Up to three numbers, one a spatial axis.
pub fn spatial(values: &[c_int], argument: &'static str) -> Result<[usize; SPATIAL_MAX], Error> {
    let values = sizes(values, argument)?;
    if values.len() > SPATIAL_MAX {
        return Err(Error::NotSupported("more than three spatial axes"));
    }
    let mut spatial = [0; SPATIAL_MAX];
    spatial[..values.len()].copy_from_slice(&values);
    Ok(spatial)
}

/// A `cudnnConvolutionMode_t`.
pub fn filtering(mode: c_int) -> Result<Filtering, Error> {
    let rows = [
        (CFiltering::CUDNN_CROSS_CORRELATION as c_int, Filtering::CrossCorrelation),
        (CFiltering::CUDNN_CONVOLUTION as c_int, Filtering::Convolution),
    ];
    choice(mode, &rows, "convolution mode")
}

impl ConvolutionDesc {
    /// Reads a convolution descriptor. Errors: `INVALID_VALUE` for null or one that was not set.
    pub fn read(descriptor: *const c_void) -> Result<ConvolutionDesc, Error> {
        const NAME: &str = "convDesc";
        let (mut pad, mut stride, mut dilation) = ([0; AXES], [0; AXES], [0; AXES]);
        let (mut axes, mut mode, mut compute, mut groups) = (0, 0, 0, 0);
        if descriptor.is_null() {
            return Err(Error::InvalidValue(NAME));
        }
        ask!(cudnnGetConvolutionNdDescriptor for NAME,
            descriptor => *const c_void, AXES as c_int => c_int, &raw mut axes => *mut c_int,
            pad.as_mut_ptr() => *mut c_int, stride.as_mut_ptr() => *mut c_int,
            dilation.as_mut_ptr() => *mut c_int, &raw mut mode => *mut c_int, &raw mut compute => *mut c_int)?;
        ask!(cudnnGetConvolutionGroupCount for NAME,
            descriptor => *const c_void, &raw mut groups => *mut c_int)?;
        let conv = Conv {
            groups: usize::try_from(groups).unwrap_or(0).max(1),
            filtering: filtering(mode)?,
            pad: spatial(first(&pad, axes, NAME)?, NAME)?,
            stride: spatial(first(&stride, axes, NAME)?, NAME)?,
            dilation: spatial(first(&dilation, axes, NAME)?, NAME)?,
        };
        Ok(ConvolutionDesc { conv, axes: axes as usize, compute: DataType::from_cudnn(compute)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_last_filters_keep_their_channels_together() {
        let layout = channels_last(&[4, 3, 5, 2]);
        assert_eq!(layout.strides(), [30, 1, 6, 3]);
    }

    #[test]
    fn negative_sizes_are_invalid() {
        assert_eq!(sizes(&[3, -1], "x"), Err(Error::InvalidValue("x")));
        assert_eq!(spatial(&[1, 2, 3, 4], "x"), Err(Error::NotSupported("more than three spatial axes")));
    }
}
