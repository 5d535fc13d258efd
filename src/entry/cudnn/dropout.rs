//! Dropout: `y ← x·mask/(1 − p)`, and the random states that dropout descriptors keep.
//!
//! The real library starts a kernel to fill the states. Where the policy says compat, or the handle is ours, the
//! descriptor's contents are noted here instead, and the states' memory holds a seed and how many numbers were drawn. A program
//! may copy that memory away and back, as cuDNN lets it. The mask goes to the reserve space, a bit an element.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html#cudnnsetdropoutdescriptor>.

#![allow(unsafe_code)]
// Called by the exported functions only, which are unsafe and carry the caller's contract.
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::collections::HashMap;
use std::ffi::{c_int, c_void};

use gpucompat_engine::{self as engine, DropoutSeed, Layout};
use parking_lot::Mutex;

use super::Arg;
use super::operand::{Operand, Precision, Scalars, describe, served};
use crate::boundary::status::{Error, SUCCESS};
use crate::entry::call::{Call, Timing};
use crate::entry::route::Served;
use crate::staging::staged::Contents;
use crate::staging::tensor::TensorRegion;

macro_rules! cudnn_dropout_states_size {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (handle: *mut c_void, bytes: *mut usize)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::dropout::states_size(bytes) }
    };
}
macro_rules! cudnn_set_dropout_descriptor {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (desc: *mut c_void, handle: *mut c_void, probability: f32,
        states: *mut c_void, state_bytes: usize, seed: u64)
        compute($crate::handle::registry::is_ours(handle), 0)
        judging(|status| $crate::entry::cudnn::dropout::natively_set(desc, status))
        serve $crate::entry::cudnn::dropout::set(desc, handle, probability, (states, state_bytes), seed) }
    };
}
macro_rules! cudnn_restore_dropout_descriptor {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (desc: *mut c_void, handle: *mut c_void, probability: f32,
        states: *mut c_void, state_bytes: usize, seed: u64)
        compute($crate::handle::registry::is_ours(handle), 0)
        judging(|status| $crate::entry::cudnn::dropout::natively_set(desc, status))
        serve $crate::entry::cudnn::dropout::restore(desc, probability, (states, state_bytes), seed) }
    };
}
macro_rules! cudnn_get_dropout_descriptor {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (desc: *mut c_void, handle: *mut c_void, probability: *mut f32,
        states: *mut *mut c_void, seed: *mut u64)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::dropout::get(desc, probability, states, seed) }
    };
}
macro_rules! cudnn_destroy_dropout_descriptor {
    ($symbol:ident) => {
        export! { $symbol of Cudnn (desc: *mut c_void)
        managed(native) $crate::entry::cudnn::dropout::destroy(desc, native) }
    };
}
macro_rules! cudnn_dropout_forward {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle, desc: *const c_void, x_desc: *const c_void, x: *const c_void,
        y_desc: *const c_void, y: *mut c_void, reserve: *mut c_void, reserve_bytes: usize)
        typed(x_desc) {
            use $crate::entry::cudnn::{Arg, dropout};
            dropout::forward(handle, desc, Arg(x_desc, x), Arg(y_desc, y), (reserve, reserve_bytes))
        } }
    };
}
macro_rules! cudnn_dropout_backward {
    ($symbol:ident) => {
        cudnn_computes! { $symbol (handle, desc: *const c_void, dy_desc: *const c_void, dy: *const c_void,
        dx_desc: *const c_void, dx: *mut c_void, reserve: *mut c_void, reserve_bytes: usize)
        typed(dy_desc) {
            use $crate::entry::cudnn::{Arg, dropout};
            dropout::backward(handle, desc, Arg(dy_desc, dy), Arg(dx_desc, dx), (reserve, reserve_bytes))
        } }
    };
}

/// What was set on a dropout descriptor with one of our handles.
#[derive(Clone, Copy, Debug)]
pub struct DropoutDesc {
    /// Probability of dropping an element.
    pub probability: f64,
    /// Device address of the states; 0 if there are none.
    states: u64,
    seed: u64,
}

static DESCRIPTORS: Mutex<Option<HashMap<usize, DropoutDesc>>> = Mutex::new(None);

/// The states in device memory: this mark, the seed, and how many numbers were drawn.
const MARK: u64 = u64::from_le_bytes(*b"gpucompa");
const WORDS: usize = 3;

impl DropoutDesc {
    /// What is known of a descriptor. Errors: `NOT_SUPPORTED` for one that the real library has set, or nobody.
    pub fn of(descriptor: *const c_void) -> Result<DropoutDesc, Error> {
        let known = DESCRIPTORS.lock().as_ref().and_then(|known| known.get(&(descriptor as usize)).copied());
        known.ok_or(Error::NotSupported("random states that the native library made"))
    }

    fn region(self) -> TensorRegion {
        TensorRegion { base: self.states, layout: Layout::packed(&[WORDS]) }
    }

    /// Takes `count` random numbers from the states, in stream order.
    pub fn draw(self, call: &Call, count: usize) -> Result<DropoutSeed, Error> {
        if self.probability == 0.0 {
            return Ok(DropoutSeed { seed: self.seed, offset: 0 });
        }
        if self.states == 0 {
            return Err(Error::InvalidValue("dropout states"));
        }
        let (mut words, _) =
            call.transfer.tensor_to_write::<u64>("states", &self.region(), Contents::Fetched)?;
        call.transfer.wait()?;
        let &mut [mark, seed, offset] = words.elements_mut() else { return Err(Error::Internal) };
        if mark != MARK {
            return Err(Error::NotSupported("random states that were not made by cudnnSetDropoutDescriptor"));
        }
        words.elements_mut()[2] = offset.wrapping_add(count as u64);
        call.transfer.copy_out("states", words)?;
        Ok(DropoutSeed { seed, offset })
    }
}

fn note(descriptor: *mut c_void, contents: DropoutDesc) -> Result<(), Error> {
    if descriptor.is_null() || !(0.0..=1.0).contains(&contents.probability) {
        return Err(Error::InvalidValue("dropoutDesc"));
    }
    DESCRIPTORS.lock().get_or_insert_default().insert(descriptor as usize, contents);
    Ok(())
}

/// The real library has set a descriptor: what was noted of it before is void.
pub fn natively_set(descriptor: *mut c_void, status: c_int) -> c_int {
    if status == SUCCESS {
        forget(descriptor);
    }
    status
}

fn forget(descriptor: *const c_void) {
    if let Some(known) = DESCRIPTORS.lock().as_mut() {
        known.remove(&(descriptor as usize));
    }
}

/// Bytes of the states.
pub fn states_size(bytes: *mut usize) -> Result<Served, Error> {
    super::algorithms::write(bytes, WORDS * size_of::<u64>(), "sizeInBytes")
}

/// `cudnnSetDropoutDescriptor`: notes the contents and seeds the states. No states: dropout stays as it is, and
/// nothing can be drawn.
pub fn set(
    descriptor: *mut c_void,
    handle: *mut c_void,
    probability: f32,
    (states, bytes): (*mut c_void, usize),
    seed: u64,
) -> Result<Served, Error> {
    let contents = DropoutDesc { probability: probability.into(), states: states as u64, seed };
    if !states.is_null() && bytes < WORDS * size_of::<u64>() {
        return Err(Error::InvalidValue("stateSizeInBytes"));
    }
    note(descriptor, contents)?;
    if states.is_null() {
        return Ok(Served::nothing());
    }
    let call = Call::on_cudnn(handle)?;
    let (mut words, _) =
        call.transfer.tensor_to_write::<u64>("states", &contents.region(), Contents::Zeros)?;
    words.elements_mut().copy_from_slice(&[MARK, seed, 0]);
    call.transfer.copy_out("states", words)?;
    Ok(Served::nothing())
}

/// `cudnnRestoreDropoutDescriptor`: states that were seeded before, here or elsewhere.
pub fn restore(
    descriptor: *mut c_void,
    probability: f32,
    (states, bytes): (*mut c_void, usize),
    seed: u64,
) -> Result<Served, Error> {
    if bytes < WORDS * size_of::<u64>() {
        return Err(Error::InvalidValue("stateSizeInBytes"));
    }
    note(descriptor, DropoutDesc { probability: probability.into(), states: states as u64, seed })?;
    Ok(Served::nothing())
}

/// `cudnnGetDropoutDescriptor`.
pub fn get(
    descriptor: *mut c_void,
    probability: *mut f32,
    states: *mut *mut c_void,
    seed: *mut u64,
) -> Result<Served, Error> {
    use super::algorithms::write;
    let contents = DropoutDesc::of(descriptor)?;
    write(probability, contents.probability as f32, "dropout")?;
    write(states, std::ptr::with_exposed_provenance_mut(contents.states as usize), "states")?;
    write(seed, contents.seed, "seed")
}

/// Forgets a descriptor and lets the real library, whose object it is, end it.
pub fn destroy(descriptor: *mut c_void, native: Option<&dyn Fn() -> c_int>) -> Result<c_int, Error> {
    forget(descriptor);
    Ok(native.map_or(SUCCESS, |call| call()))
}

/// x, y and the place of the mask, checked.
fn operands(
    [from, to]: [(&'static str, Arg); 2],
    (reserve, bytes): (*mut c_void, usize),
) -> Result<(Operand, Operand, TensorRegion), Error> {
    let from = Operand::tensor(from.0, from.1.0, from.1.1)?;
    let to = Operand::tensor(to.0, to.1.0, to.1.1)?;
    let packed = from.dims().iter().product::<usize>().div_ceil(8);
    if from.dims() != to.dims() || reserve.is_null() || bytes < packed {
        return Err(Error::InvalidValue("reserveSpace"));
    }
    Ok((from, to, TensorRegion { base: reserve as u64, layout: Layout::packed(&[packed]) }))
}

/// `y ← x·mask/(1 − p)`, with a fresh mask.
pub fn forward(
    handle: *mut c_void,
    descriptor: *const c_void,
    x: Arg,
    y: Arg,
    reserve: (*mut c_void, usize),
) -> Result<Served, Error> {
    let call = Call::on_cudnn(handle)?;
    let desc = DropoutDesc::of(descriptor)?;
    let (x, y, mask) = operands([("x", x), ("y", y)], reserve)?;
    let elements = x.dims().iter().product();
    in_precision!(Precision::of(&[x.desc.element]), R => {
        let arriving = x.fetch::<R>(&call)?;
        let mut result = y.result::<R>(&call, Scalars::PLAIN)?;
        let (mut bits, _) = call.transfer.tensor_to_write::<u8>("reserveSpace", &mask, Contents::Zeros)?;
        call.transfer.wait()?;
        let seed = desc.draw(&call, elements)?;
        let mut kept = vec![0; elements];
        engine::dropout_forward(desc.probability, seed, arriving.arrived()?.view(), result.view(), &mut kept);
        engine::pack_bits(&kept, bits.elements_mut());
        call.transfer.copy_out("reserveSpace", bits)?;
        result.store(&call)?;
        Ok(served(&call, describe(&[&x]), "dropout"))
    })
}

/// `dx ← dy·mask/(1 − p)`, with the mask of the forward call.
pub fn backward(
    handle: *mut c_void,
    descriptor: *const c_void,
    dy: Arg,
    dx: Arg,
    reserve: (*mut c_void, usize),
) -> Result<Served, Error> {
    let call = Call::of_cudnn(handle, Timing::Deferrable)?;
    let desc = DropoutDesc::of(descriptor)?;
    let (dy, dx, mask) = operands([("dy", dy), ("dx", dx)], reserve)?;
    let elements = dy.dims().iter().product();
    in_precision!(Precision::of(&[dy.desc.element]), R => call.run((), move |call, ()| {
        let arriving = dy.fetch::<R>(call)?;
        let mut result = dx.result::<R>(call, Scalars::PLAIN)?;
        let (bits, _) = call.transfer.tensor::<u8>("reserveSpace", &mask)?;
        call.transfer.wait()?;
        let mut kept = vec![0; elements];
        engine::unpack_bits(bits.elements(), &mut kept);
        engine::dropout_backward(desc.probability, arriving.arrived()?.view(), result.view(), &kept);
        result.store(call)?;
        Ok(served(call, describe(&[&dy]), "dropout"))
    }))
}
