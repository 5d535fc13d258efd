//! Convolution descriptors: how the filter moves over the input.

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::cudnnDataType_t as DataType;

use crate::arguments::{ints, put, put_ints};
use crate::object::{Kind, called, life};
use crate::status::{BAD_PARAM, NOT_SUPPORTED, of};

/// Two dimensions less than a tensor's most.
const MOST_SPATIAL: c_int = 6;

/// A convolution descriptor; a new one has no dimensions.
pub struct Convolution {
    /// Zeros on either side, an axis.
    pub padding: Vec<c_int>,
    /// Steps from output to output.
    pub stride: Vec<c_int>,
    /// Steps from tap to tap.
    pub dilation: Vec<c_int>,
    /// Its `cudnnConvolutionMode_t`.
    pub mode: c_int,
    /// Its compute type, a `cudnnDataType_t`.
    pub compute: c_int,
    /// Groups of channels.
    pub groups: c_int,
    math: c_int,
    reorder: c_int,
}

impl Default for Convolution {
    fn default() -> Convolution {
        Convolution {
            padding: Vec::new(),
            stride: Vec::new(),
            dilation: Vec::new(),
            mode: 0,
            compute: 0,
            groups: 1,
            math: 0,
            reorder: 0,
        }
    }
}

impl Kind for Convolution {
    const LETTER: u8 = b'C';
}

impl Convolution {
    /// Sets the geometry; groups, math and reordering stay, as in the real library.
    fn set(
        &mut self,
        [padding, stride, dilation]: [Vec<c_int>; 3],
        mode: c_int,
        compute: c_int,
    ) -> Result<(), c_int> {
        let types = [
            DataType::CUDNN_DATA_FLOAT,
            DataType::CUDNN_DATA_DOUBLE,
            DataType::CUDNN_DATA_HALF,
            DataType::CUDNN_DATA_INT32,
        ];
        let fine = padding.iter().all(|&value| value >= 0)
            && stride.iter().chain(&dilation).all(|&value| value > 0)
            && (0..=1).contains(&mode)
            && types.iter().any(|&kind| kind as c_int == compute);
        if !fine {
            return Err(BAD_PARAM);
        }
        *self = Convolution { padding, stride, dilation, mode, compute, ..*self };
        Ok(())
    }
}

life!(cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor, Convolution);

/// Two spatial dimensions.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnSetConvolution2dDescriptor(
    desc: *mut c_void,
    pad_h: c_int,
    pad_w: c_int,
    stride_h: c_int,
    stride_w: c_int,
    dilation_h: c_int,
    dilation_w: c_int,
    mode: c_int,
    compute: c_int,
) -> c_int {
    of(|| {
        let geometry = [vec![pad_h, pad_w], vec![stride_h, stride_w], vec![dilation_h, dilation_w]];
        called::<Convolution>("cudnnSetConvolution2dDescriptor", desc)?.set(geometry, mode, compute)
    })
}

/// Up to six spatial dimensions.
///
/// # Safety
/// The arrays have `rank` integers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnSetConvolutionNdDescriptor(
    desc: *mut c_void,
    rank: c_int,
    padding: *const c_int,
    stride: *const c_int,
    dilation: *const c_int,
    mode: c_int,
    compute: c_int,
) -> c_int {
    of(|| {
        let convolution = called::<Convolution>("cudnnSetConvolutionNdDescriptor", desc)?;
        if rank > MOST_SPATIAL {
            return Err(NOT_SUPPORTED);
        }
        let geometry = [ints(padding, rank)?, ints(stride, rank)?, ints(dilation, rank)?];
        convolution.set(geometry, mode, compute)
    })
}

/// The first two spatial dimensions; those that a set descriptor lacks do nothing.
///
/// # Safety
/// All places are writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetConvolution2dDescriptor(
    desc: *const c_void,
    pad_h: *mut c_int,
    pad_w: *mut c_int,
    stride_h: *mut c_int,
    stride_w: *mut c_int,
    dilation_h: *mut c_int,
    dilation_w: *mut c_int,
    mode: *mut c_int,
    compute: *mut c_int,
) -> c_int {
    of(|| {
        let it = called::<Convolution>("cudnnGetConvolution2dDescriptor", desc)?;
        let lacking = c_int::from(!it.stride.is_empty());
        let p = |axis: usize| it.padding.get(axis).copied().unwrap_or(0);
        let s = |axis: usize| it.stride.get(axis).copied().unwrap_or(lacking);
        let d = |axis: usize| it.dilation.get(axis).copied().unwrap_or(lacking);
        put(
            [pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, mode, compute],
            [p(0), p(1), s(0), s(1), d(0), d(1), it.mode, it.compute],
        )
    })
}

/// The rank and the first `requested` of each array.
///
/// # Safety
/// All places are writable or null, the arrays for `requested` integers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetConvolutionNdDescriptor(
    desc: *const c_void,
    requested: c_int,
    rank: *mut c_int,
    padding: *mut c_int,
    stride: *mut c_int,
    dilation: *mut c_int,
    mode: *mut c_int,
    compute: *mut c_int,
) -> c_int {
    of(|| {
        let it = called::<Convolution>("cudnnGetConvolutionNdDescriptor", desc)?;
        if requested < 0 {
            return Err(BAD_PARAM);
        }
        if requested > MOST_SPATIAL {
            return Err(NOT_SUPPORTED);
        }
        put([rank, mode, compute], [it.stride.len() as c_int, it.mode, it.compute])?;
        put_ints(padding, &it.padding, requested)?;
        put_ints(stride, &it.stride, requested)?;
        put_ints(dilation, &it.dilation, requested)
    })
}

/// A number of the descriptor with a setter and a getter.
macro_rules! property {
    ($set:ident, $get:ident, $field:ident, $fine:expr) => {
        /// Sets a number of the descriptor.
        #[unsafe(no_mangle)]
        pub extern "C" fn $set(desc: *mut c_void, value: c_int) -> c_int {
            of(|| {
                let convolution = called::<Convolution>(stringify!($set), desc)?;
                if !$fine.contains(&value) {
                    return Err(BAD_PARAM);
                }
                convolution.$field = value;
                Ok(())
            })
        }

        /// Gets a number of the descriptor.
        ///
        /// # Safety
        /// `out` is writable or null.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $get(desc: *const c_void, out: *mut c_int) -> c_int {
            of(|| put([out], [called::<Convolution>(stringify!($get), desc)?.$field]))
        }
    };
}
property!(cudnnSetConvolutionGroupCount, cudnnGetConvolutionGroupCount, groups, (1..));
property!(cudnnSetConvolutionMathType, cudnnGetConvolutionMathType, math, (0..=3));
property!(cudnnSetConvolutionReorderType, cudnnGetConvolutionReorderType, reorder, (0..=1));
