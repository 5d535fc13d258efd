//! Sizes of the spaces that recurrent networks work with, and the places of weights in the weight space.
//!
//! With one of our handles the weights lie as `Rnn::own_weights` lays them; with the real library's it says where.
//! Source: `cudnnGetRNNWeightSpaceSize`, `cudnnGetRNNWeightParams`, `cudnnGetRNNTempSpaceSizes`,
//! <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-adv-library.html>.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use super::algorithms::write;
use super::operand::Precision;
use super::rnn_desc::{RnnDesc, SequenceDesc};
use super::rnn_reserve;
use crate::boundary::args::DataType;
use crate::boundary::status::Error;
use crate::entry::route::Served;

macro_rules! cudnn_rnn_weight_space_size {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, rnn_desc: *const c_void, bytes: *mut usize)
        by_owner(handle) $crate::entry::cudnn::rnn_spaces::weight_bytes(rnn_desc, bytes) }
    };
}
macro_rules! cudnn_rnn_temp_space_sizes {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, rnn_desc: *const c_void, mode: c_int,
        x_desc: *const c_void, work_bytes: *mut usize, reserve_bytes: *mut usize)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::rnn_spaces::temporary_bytes(rnn_desc, mode, x_desc, work_bytes, reserve_bytes) }
    };
}
macro_rules! cudnn_rnn_weight_params {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, rnn_desc: *const c_void, layer: c_int,
        bytes: usize, space: *const c_void, id: c_int, matrix_desc: *mut c_void, matrix: *mut *mut c_void,
        bias_desc: *mut c_void, bias: *mut *mut c_void)
        by_owner(handle) $crate::entry::cudnn::rnn_spaces::weight_place(
            rnn_desc, [layer, id], space, [(matrix_desc, matrix), (bias_desc, bias)]) }
    };
}
macro_rules! cudnn_build_rnn_dynamic {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, rnn_desc: *const c_void, batch: c_int)
        by_owner(handle) $crate::entry::cudnn::rnn_desc::RnnDesc::read(rnn_desc).map(|_| ()) }
    };
}

/// Bytes of the weight space.
pub fn weight_bytes(rnn: *const c_void, bytes: *mut usize) -> Result<(), Error> {
    let desc = RnnDesc::read(rnn)?;
    write(bytes, desc.rnn.weight_elements() * desc.element.bytes(), "weightSpaceSize").map(|_| ())
}

/// Bytes of the work space, 0, and of the reserve space, 0 for inference; null where a program does not want to know.
pub fn temporary_bytes(
    rnn: *const c_void,
    mode: c_int,
    x: *const c_void,
    work: *mut usize,
    reserve: *mut usize,
) -> Result<Served, Error> {
    let (desc, x) = (RnnDesc::read(rnn)?, SequenceDesc::read(x, "xDesc")?);
    let elements = desc.rnn.reserve_elements(&x.lengths, x.steps);
    let bytes = in_precision!(Precision::of(&[desc.element]), R => rnn_reserve::bytes::<R>(elements));
    let bytes = if mode == super::rnn::TRAINING { bytes } else { 0 };
    if !work.is_null() {
        write(work, 0, "workSpaceSize")?;
    }
    if !reserve.is_null() {
        write(reserve, bytes, "reserveSpaceSize")?;
    }
    Ok(Served::nothing())
}

/// Where a matrix and a bias lie; the descriptors are set to [1, rows, columns] and [1, rows, 1], and the addresses
/// are null where there is no such matrix or bias. A program may want only one of the two: null for the other.
pub fn weight_place(
    rnn: *const c_void,
    [layer, id]: [c_int; 2],
    space: *const c_void,
    [matrix, bias]: [(*mut c_void, *mut *mut c_void); 2],
) -> Result<(), Error> {
    let desc = RnnDesc::read(rnn)?;
    let index = |value: c_int, count: usize, name| {
        usize::try_from(value).ok().filter(|&value| value < count).ok_or(Error::InvalidValue(name))
    };
    let layer = index(layer, desc.rnn.layers * desc.directions(), "pseudoLayer")?;
    // The projection's number is legal where there is no projection: there is no such matrix.
    let id = index(id, desc.rnn.linear_count().max(9), "linLayerID")?;
    let shape = if id < desc.rnn.linear_count() { desc.rnn.matrix_shape(layer, id) } else { None };
    let place = (id < desc.rnn.linear_count()).then(|| desc.rnn.own_weights().place(layer, id));
    let at = |element: usize| space as usize + element * desc.element.bytes();
    let (matrix_at, bias_at) = (place.and_then(|place| place.matrix), place.and_then(|place| place.bias));
    let rows = shape.map_or(desc.rnn.hidden, |[rows, _]| rows);
    describe(matrix, desc.element, matrix_at.map(at), [rows, shape.map_or(1, |[_, cols]| cols)])?;
    describe(bias, desc.element, bias_at.map(at), [rows, 1])
}

/// Sets a descriptor of the real library's and the address that goes with it.
fn describe(
    (descriptor, out): (*mut c_void, *mut *mut c_void),
    element: DataType,
    address: Option<usize>,
    [rows, cols]: [usize; 2],
) -> Result<(), Error> {
    let address = address.unwrap_or(0);
    if out.is_null() {
        return Ok(()); // not wanted
    }
    write(out, std::ptr::with_exposed_provenance_mut(address), "address")?;
    if address == 0 || descriptor.is_null() {
        return Ok(());
    }
    let code = element.to_cudnn().ok_or(Error::Internal)?;
    let dims = [1, rows as c_int, cols as c_int];
    let strides = [(rows * cols) as c_int, cols as c_int, 1];
    ask!(cudnnSetTensorNdDescriptor for "mDesc", descriptor => *mut c_void, code => c_int, 3 => c_int,
        dims.as_ptr() => *const c_int, strides.as_ptr() => *const c_int)
}
