//! Descriptors give back what was set, refuse bad values and know their own kind.

use std::ffi::c_int;

use super::{DOUBLE, FLOAT, make};
use crate::convolution::{
    cudnnCreateConvolutionDescriptor, cudnnGetConvolution2dDescriptor, cudnnGetConvolutionGroupCount,
    cudnnGetConvolutionNdDescriptor, cudnnSetConvolution2dDescriptor, cudnnSetConvolutionGroupCount,
    cudnnSetConvolutionMathType, cudnnSetConvolutionNdDescriptor,
};
use crate::filter::{cudnnCreateFilterDescriptor, cudnnGetFilterNdDescriptor, cudnnSetFilter4dDescriptor};
use crate::status::{BAD_PARAM, NOT_SUPPORTED, SUCCESS};
use crate::tensor::{
    cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor, cudnnGetTensor4dDescriptor,
    cudnnGetTensorNdDescriptor, cudnnSetTensor4dDescriptor, cudnnSetTensor4dDescriptorEx,
    cudnnSetTensorNdDescriptor, cudnnSetTensorNdDescriptorEx,
};

/// The nine numbers of a tensor.
fn four(desc: *mut std::ffi::c_void) -> [c_int; 9] {
    let mut v = [-7; 9];
    let at = v.as_mut_ptr();
    let place = |index| at.wrapping_add(index);
    // SAFETY: nine places of an array of nine.
    let status = unsafe {
        cudnnGetTensor4dDescriptor(
            desc,
            place(0),
            place(1),
            place(2),
            place(3),
            place(4),
            place(5),
            place(6),
            place(7),
            place(8),
        )
    };
    assert_eq!(status, SUCCESS);
    v
}

#[test]
fn a_tensor_gives_back_its_sizes_and_the_strides_of_its_format() {
    let desc = make(cudnnCreateTensorDescriptor);
    assert_eq!(cudnnSetTensor4dDescriptor(desc, 0, DOUBLE, 2, 3, 4, 5), SUCCESS);
    assert_eq!(four(desc), [1, 2, 3, 4, 5, 60, 20, 5, 1]);
    assert_eq!(cudnnSetTensor4dDescriptor(desc, 1, FLOAT, 2, 3, 4, 5), SUCCESS);
    assert_eq!(four(desc), [0, 2, 3, 4, 5, 60, 1, 15, 3]);
    assert_eq!(cudnnSetTensor4dDescriptorEx(desc, FLOAT, 2, 3, 4, 5, 100, 30, 6, 1), SUCCESS);
    assert_eq!(four(desc), [0, 2, 3, 4, 5, 100, 30, 6, 1]);
    let dims = [2, 3, 4, 5, 6];
    // SAFETY: five integers.
    assert_eq!(unsafe { cudnnSetTensorNdDescriptorEx(desc, 1, FLOAT, 5, dims.as_ptr()) }, SUCCESS);
    let (mut kind, mut rank, mut sizes, mut strides) = (-7, -7, [-7; 8], [-7; 8]);
    // SAFETY: room for eight integers.
    let status = unsafe {
        cudnnGetTensorNdDescriptor(
            desc,
            4,
            &raw mut kind,
            &raw mut rank,
            sizes.as_mut_ptr(),
            strides.as_mut_ptr(),
        )
    };
    assert_eq!((status, kind, rank), (SUCCESS, 0, 5));
    assert_eq!(sizes, [2, 3, 4, 5, -7, -7, -7, -7], "four were requested");
    assert_eq!(strides, [360, 1, 90, 18, -7, -7, -7, -7]);
    assert_eq!(cudnnDestroyTensorDescriptor(desc), SUCCESS);
}

#[test]
fn a_bad_tensor_is_refused_and_changes_nothing() {
    let desc = make(cudnnCreateTensorDescriptor);
    assert_eq!(cudnnSetTensor4dDescriptor(desc, 0, FLOAT, 2, 3, 4, 5), SUCCESS);
    let before = four(desc);
    for (format, kind, n, w) in [(3, 0, 2, 5), (0, 99, 2, 5), (0, 0, 0, 5), (0, 0, -1, 5), (0, 0, 2, 1 << 30)]
    {
        assert_eq!(cudnnSetTensor4dDescriptor(desc, format, kind, n, 3, 4, w), BAD_PARAM);
    }
    assert_eq!(cudnnSetTensor4dDescriptorEx(desc, FLOAT, 2, 3, 4, 5, 60, 20, 0, 1), BAD_PARAM);
    let ones = [1; 9];
    for (rank, expected) in [(9, NOT_SUPPORTED), (1, BAD_PARAM), (0, BAD_PARAM), (-3, BAD_PARAM)] {
        // SAFETY: nine integers are enough.
        let status = unsafe { cudnnSetTensorNdDescriptor(desc, FLOAT, rank, ones.as_ptr(), ones.as_ptr()) };
        assert_eq!(status, expected, "rank {rank}");
    }
    assert_eq!(four(desc), before);
}

#[test]
fn null_a_descriptor_of_another_kind_and_a_foreign_one_are_bad_parameters() {
    assert_eq!(cudnnCreateTensorDescriptor(std::ptr::null_mut()), BAD_PARAM);
    assert_eq!(cudnnSetTensor4dDescriptor(std::ptr::null_mut(), 0, FLOAT, 1, 1, 1, 1), BAD_PARAM);
    let filter = make(cudnnCreateFilterDescriptor);
    assert_eq!(cudnnSetTensor4dDescriptor(filter, 0, FLOAT, 1, 1, 1, 1), BAD_PARAM);
    assert_eq!(cudnnDestroyTensorDescriptor(filter), BAD_PARAM);
    let mut foreign = [0x1234_5678_u64; 4];
    let before = native_core::record::foreign_handles();
    assert_eq!(cudnnSetTensor4dDescriptor(foreign.as_mut_ptr().cast(), 0, FLOAT, 1, 1, 1, 1), BAD_PARAM);
    assert!(native_core::record::foreign_handles() > before, "a descriptor of somebody else's is counted");
}

#[test]
fn a_filter_gives_back_its_order_and_sizes() {
    let desc = make(cudnnCreateFilterDescriptor);
    assert_eq!(cudnnSetFilter4dDescriptor(desc, DOUBLE, 1, 2, 3, 4, 5), SUCCESS);
    let (mut kind, mut format, mut rank, mut sizes) = (-7, -7, -7, [-7; 8]);
    let mut get = |requested| {
        // SAFETY: room for eight integers.
        unsafe {
            cudnnGetFilterNdDescriptor(
                desc,
                requested,
                &raw mut kind,
                &raw mut format,
                &raw mut rank,
                sizes.as_mut_ptr(),
            )
        }
    };
    assert_eq!([get(0), get(9), get(8)], [BAD_PARAM, NOT_SUPPORTED, SUCCESS]);
    assert_eq!((kind, format, rank, &sizes[..4]), (1, 1, 4, &[2, 3, 4, 5][..]));
    assert_eq!(cudnnSetFilter4dDescriptor(desc, FLOAT, 0, 2, 0, 4, 5), BAD_PARAM);
    assert_eq!(cudnnSetFilter4dDescriptor(desc, FLOAT, 7, 2, 3, 4, 5), BAD_PARAM);
}

#[test]
fn a_convolution_keeps_groups_and_math_when_its_geometry_is_set() {
    let desc = make(cudnnCreateConvolutionDescriptor);
    assert_eq!(cudnnSetConvolutionGroupCount(desc, 4), SUCCESS);
    assert_eq!(cudnnSetConvolutionGroupCount(desc, 0), BAD_PARAM);
    assert_eq!(cudnnSetConvolutionMathType(desc, 4), BAD_PARAM);
    assert_eq!(cudnnSetConvolution2dDescriptor(desc, 1, 2, 3, 4, 5, 6, 0, DOUBLE), SUCCESS);
    let mut groups = -7;
    // SAFETY: a writable place.
    assert_eq!(unsafe { cudnnGetConvolutionGroupCount(desc, &raw mut groups) }, SUCCESS);
    assert_eq!(groups, 4);
    for (pad, stride, mode, compute) in [(-1, 1, 1, 0), (0, 0, 1, 0), (0, 1, 2, 0), (0, 1, 1, 9)] {
        let status = cudnnSetConvolution2dDescriptor(desc, pad, 0, stride, 1, 1, 1, mode, compute);
        assert_eq!(status, BAD_PARAM, "pad {pad} stride {stride} mode {mode} compute {compute}");
    }
    let mut v = [-7; 8];
    let at = v.as_mut_ptr();
    let place = |index| at.wrapping_add(index);
    // SAFETY: eight places of an array of eight.
    let status = unsafe {
        cudnnGetConvolution2dDescriptor(
            desc,
            place(0),
            place(1),
            place(2),
            place(3),
            place(4),
            place(5),
            place(6),
            place(7),
        )
    };
    assert_eq!((status, v), (SUCCESS, [1, 2, 3, 4, 5, 6, 0, 1]));
}

#[test]
fn a_convolution_of_any_rank_gives_back_what_is_requested() {
    let desc = make(cudnnCreateConvolutionDescriptor);
    let (padding, stride, dilation) = ([1, 2, 3], [4, 5, 6], [7, 8, 9]);
    // SAFETY: three integers each.
    let status = unsafe {
        cudnnSetConvolutionNdDescriptor(
            desc,
            3,
            padding.as_ptr(),
            stride.as_ptr(),
            dilation.as_ptr(),
            1,
            FLOAT,
        )
    };
    assert_eq!(status, SUCCESS);
    let (mut rank, mut mode, mut compute, mut got) = (-7, -7, -7, [[-7; 6]; 3]);
    let mut get = |requested| {
        let [p, s, d] = got.each_mut().map(|row| row.as_mut_ptr());
        // SAFETY: room for six integers each.
        unsafe {
            let (rank, mode, compute) = (&raw mut rank, &raw mut mode, &raw mut compute);
            cudnnGetConvolutionNdDescriptor(desc, requested, rank, p, s, d, mode, compute)
        }
    };
    assert_eq!([get(-1), get(7), get(2)], [BAD_PARAM, NOT_SUPPORTED, SUCCESS]);
    assert_eq!((rank, mode, compute), (3, 1, 0));
    assert_eq!(got.map(|row| [row[0], row[1], row[2]]), [[1, 2, -7], [4, 5, -7], [7, 8, -7]]);
}
