//! `cudnnReduceTensor`: `C ← α·reduce(A) + β·C` over the axes where C has size 1.
//!
//! Indices (of the minimum, the maximum or the largest magnitude) are 32-bit, flattened over the reduced axes.
//! Errors: `BAD_PARAM` null, sizes that do not belong together, a short index buffer; `NOT_SUPPORTED` 8-, 16- and 64-bit
//! indices, as in cuDNN.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html#cudnnreducetensor>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::{
    cudnnIndicesType_t as IndexType, cudnnNanPropagation_t as Nan, cudnnReduceTensorIndices_t as Indices,
    cudnnReduceTensorOp_t as ReduceOp,
};
use gpucompat_engine::{self as engine, Layout, NanRule, Reduction};

use super::Arg;
use super::algorithms::write;
use super::descriptor::{TensorDesc, broadcasts, choice};
use super::operand::{Operand, Precision, Scalars, describe, served};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Timing};
use crate::entry::route::Served;
use crate::staging::staged::Contents;
use crate::staging::tensor::TensorRegion;

macro_rules! cudnn_reduce_tensor {
    ($symbol:ident) => { cudnn_computes! { $symbol (handle, reduce_desc: *const c_void,
        indices: *mut c_void, index_bytes: usize, workspace: *mut c_void, workspace_bytes: usize,
        alpha: *const c_void, a_desc: *const c_void, a: *const c_void,
        beta: *const c_void, c_desc: *const c_void, c: *mut c_void)
        typed(a_desc) {
            use $crate::entry::cudnn::{Arg, reduce};
            reduce::reduce(handle, reduce_desc, (indices, index_bytes), [alpha, beta], Arg(a_desc, a), Arg(c_desc, c))
        } } };
}
macro_rules! cudnn_reduction_workspace_size {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, reduce_desc: *const c_void,
        a_desc: *const c_void, c_desc: *const c_void, bytes: *mut usize)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::algorithms::write(bytes, 0, "sizeInBytes") }
    };
}
macro_rules! cudnn_reduction_indices_size {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, reduce_desc: *const c_void,
        a_desc: *const c_void, c_desc: *const c_void, bytes: *mut usize)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::reduce::indices_size(reduce_desc, c_desc, bytes) }
    };
}

/// A `cudnnReduceTensorDescriptor_t`.
struct ReduceDesc {
    reduction: Reduction,
    nan: NanRule,
    indices: bool,
}

impl ReduceDesc {
    fn read(descriptor: *const c_void) -> Result<ReduceDesc, Error> {
        const NAME: &str = "reduceTensorDesc";
        let (mut op, mut compute, mut nan, mut indices, mut width) = (0, 0, 0, 0, 0);
        if descriptor.is_null() {
            return Err(Error::InvalidValue(NAME));
        }
        ask!(cudnnGetReduceTensorDescriptor for NAME, descriptor => *const c_void, &raw mut op => *mut c_int,
            &raw mut compute => *mut c_int, &raw mut nan => *mut c_int, &raw mut indices => *mut c_int,
            &raw mut width => *mut c_int)?;
        let reduction = reduction(op, NAME)?;
        let has_winner = matches!(reduction, Reduction::Min | Reduction::Max | Reduction::Amax);
        let indices = indices == Indices::CUDNN_REDUCE_TENSOR_FLATTENED_INDICES as c_int && has_winner;
        if indices && width != IndexType::CUDNN_32BIT_INDICES as c_int {
            return Err(Error::NotSupported("reduction indices that are not 32-bit"));
        }
        Ok(ReduceDesc { reduction, nan: nan_rule(nan)?, indices })
    }
}

/// A `cudnnReduceTensorOp_t`.
pub fn reduction(op: c_int, argument: &'static str) -> Result<Reduction, Error> {
    let rows = [
        (ReduceOp::CUDNN_REDUCE_TENSOR_ADD as c_int, Reduction::Add),
        (ReduceOp::CUDNN_REDUCE_TENSOR_MUL as c_int, Reduction::Mul),
        (ReduceOp::CUDNN_REDUCE_TENSOR_MIN as c_int, Reduction::Min),
        (ReduceOp::CUDNN_REDUCE_TENSOR_MAX as c_int, Reduction::Max),
        (ReduceOp::CUDNN_REDUCE_TENSOR_AMAX as c_int, Reduction::Amax),
        (ReduceOp::CUDNN_REDUCE_TENSOR_AVG as c_int, Reduction::Average),
        (ReduceOp::CUDNN_REDUCE_TENSOR_NORM1 as c_int, Reduction::Norm1),
        (ReduceOp::CUDNN_REDUCE_TENSOR_NORM2 as c_int, Reduction::Norm2),
        (ReduceOp::CUDNN_REDUCE_TENSOR_MUL_NO_ZEROS as c_int, Reduction::MulNoZeros),
    ];
    choice(op, &rows, argument)
}

/// A `cudnnNanPropagation_t`.
pub fn nan_rule(value: c_int) -> Result<NanRule, Error> {
    let rows = [
        (Nan::CUDNN_PROPAGATE_NAN as c_int, NanRule::Propagate),
        (Nan::CUDNN_NOT_PROPAGATE_NAN as c_int, NanRule::Ignore),
    ];
    choice(value, &rows, "nanOpt")
}

/// Bytes of the indices: one 32-bit number an element of C, if the descriptor asks for them.
pub fn indices_size(reduce: *const c_void, c: *const c_void, bytes: *mut usize) -> Result<Served, Error> {
    let wanted = ReduceDesc::read(reduce)?.indices;
    let elements = TensorDesc::read(c, "cDesc")?.layout.elements();
    write(bytes, if wanted { elements * size_of::<u32>() } else { 0 }, "sizeInBytes")
}

/// `C ← α·reduce(A) + β·C`.
pub fn reduce(
    handle: *mut c_void,
    descriptor: *const c_void,
    (indices, index_bytes): (*mut c_void, usize),
    [alpha, beta]: [*const c_void; 2],
    a: Arg,
    c: Arg,
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let desc = ReduceDesc::read(descriptor)?;
    let a = Operand::tensor("A", a.0, a.1)?;
    let c = Operand::tensor("C", c.0, c.1)?;
    if !broadcasts(c.dims(), a.dims()) {
        return Err(Error::InvalidValue("C"));
    }
    let places = c.dims().iter().product::<usize>();
    if desc.indices && (indices.is_null() || index_bytes < places * size_of::<u32>()) {
        return Err(Error::InvalidValue("indices"));
    }
    let scalars = Scalars::read(alpha, beta, c.desc.element)?;
    let indices = indices as u64;
    in_precision!(Precision::of(&[a.desc.element, c.desc.element]), R => call.run((), move |call, ()| {
        let arriving = a.fetch::<R>(call)?;
        let mut result = c.result::<R>(call, scalars)?;
        let winners = if desc.indices {
            let region = TensorRegion { base: indices, layout: Layout::packed(&[places]) };
            Some(call.transfer.tensor_to_write::<u32>("indices", &region, Contents::Zeros)?)
        } else {
            None
        };
        call.transfer.wait()?;
        let arrived = arriving.arrived()?;
        if let Some((mut winners, _)) = winners {
            engine::reduce_with_indices(
                desc.reduction,
                desc.nan,
                arrived.view(),
                result.view(),
                winners.elements_mut(),
            );
            call.transfer.copy_out("indices", winners)?;
        } else {
            engine::reduce(desc.reduction, desc.nan, arrived.view(), result.view());
        }
        result.store(call)?;
        Ok(served(call, describe(&[&a, &c]), "reduce"))
    }))
}
