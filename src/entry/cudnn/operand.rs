//! Tensor arguments: from the device to real numbers to compute with, and back.
//!
//! Everything that cuDNN computes is computed in single or double precision here ([`Precision`]): elements of
//! narrower types are widened when they have arrived, and a result is scaled, added to β times what was there and
//! rounded once before it goes back.

#![allow(unsafe_code)]

use std::ffi::c_void;

use gpucompat_engine::{self as engine, Element, Layout, Real, TensorMut, TensorRef, bf16, f16};

use super::descriptor::TensorDesc;
use crate::boundary::args::DataType;
use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::entry::route::Served;
use crate::staging::host_buffer::{HostBuffer, Plain};
use crate::staging::staged::{Contents, Staged};
use crate::staging::tensor::TensorRegion;

/// Names a Rust type for a [`DataType`]; `NOT_SUPPORTED` for one that no tensor has.
macro_rules! with_element {
    ($element:expr, $T:ident => $body:expr) => {
        match $element {
            DataType::F32 => {
                type $T = f32;
                $body
            }
            DataType::F64 => {
                type $T = f64;
                $body
            }
            DataType::F16 => {
                type $T = f16;
                $body
            }
            DataType::Bf16 => {
                type $T = bf16;
                $body
            }
            DataType::I8 => {
                type $T = i8;
                $body
            }
            DataType::U8 => {
                type $T = u8;
                $body
            }
            DataType::I32 => {
                type $T = i32;
                $body
            }
            DataType::I64 => {
                type $T = i64;
                $body
            }
            DataType::C32 | DataType::C64 | DataType::CI8 => Err(Error::NotSupported("complex tensors")),
            DataType::E4m3 | DataType::E5m2 => Err(Error::NotSupported("8-bit floating tensors")),
        }
    };
}

/// Names the real type that a [`Precision`] computes in.
macro_rules! in_precision {
    ($precision:expr, $R:ident => $body:expr) => {
        match $precision {
            $crate::entry::cudnn::operand::Precision::Single => {
                type $R = f32;
                $body
            }
            $crate::entry::cudnn::operand::Precision::Double => {
                type $R = f64;
                $body
            }
        }
    };
}

/// What a call computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// `f32`, with sums in `f32` or better.
    Single,
    /// `f64`, for double tensors, and for integers, whose sums it holds exactly.
    Double,
}

impl Precision {
    /// The precision for a call on tensors of these types.
    pub fn of(elements: &[DataType]) -> Precision {
        let wide = |element: &DataType| {
            matches!(element, DataType::F64 | DataType::I8 | DataType::I32 | DataType::I64)
        };
        if elements.iter().any(wide) { Precision::Double } else { Precision::Single }
    }
}

/// A tensor argument.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// NVIDIA's name of the argument.
    pub name: &'static str,
    /// Type and layout.
    pub desc: TensorDesc,
    /// Device address.
    pub address: u64,
}

impl Operand {
    /// A tensor argument; `INVALID_VALUE` for a bad descriptor, or for null where there are elements.
    pub fn tensor(
        name: &'static str,
        descriptor: *const c_void,
        data: *const c_void,
    ) -> Result<Operand, Error> {
        Operand::of(name, TensorDesc::read(descriptor, name)?, data)
    }

    /// A filter argument.
    pub fn filter(
        name: &'static str,
        descriptor: *const c_void,
        data: *const c_void,
    ) -> Result<Operand, Error> {
        Operand::of(name, TensorDesc::read_filter(descriptor, name)?, data)
    }

    /// An argument of a known layout.
    pub fn of(name: &'static str, desc: TensorDesc, data: *const c_void) -> Result<Operand, Error> {
        if data.is_null() && desc.layout.elements() > 0 {
            return Err(Error::InvalidValue(name));
        }
        Ok(Operand { name, desc, address: data as u64 })
    }

    /// `count` elements one after the other.
    pub fn flat(
        name: &'static str,
        element: DataType,
        count: usize,
        data: *const c_void,
    ) -> Result<Operand, Error> {
        Operand::of(name, TensorDesc { element, layout: Layout::packed(&[count]) }, data)
    }

    /// Sizes.
    pub fn dims(&self) -> &[usize] {
        self.desc.layout.dims()
    }

    fn region(&self) -> TensorRegion {
        TensorRegion { base: self.address, layout: self.desc.layout }
    }

    /// Queues the copies that bring the elements here.
    pub fn fetch<'c, R: Real + Plain>(&self, call: &'c Call) -> Result<Arriving<'c, R>, Error> {
        with_element!(self.desc.element, T => {
            let (staged, layout) = call.transfer.tensor::<T>(self.name, &self.region())?;
            Ok(Arriving { values: Box::new(Narrow { staged, wide: None }), layout })
        })
    }

    /// Host memory for a result `y ← α·result + β·y`; β ≠ 0 queues the copies that bring y here.
    pub fn result<'c, R: Real + Plain>(
        &self,
        call: &'c Call,
        scalars: Scalars,
    ) -> Result<Leaving<'c, R>, Error> {
        let contents = if scalars.beta == 0.0 { Contents::Zeros } else { Contents::Fetched };
        if !self.desc.layout.is_injective() {
            return Err(Error::NotSupported("an output whose elements share places"));
        }
        with_element!(self.desc.element, T => {
            let (staged, layout) = call.transfer.tensor_to_write::<T>(self.name, &self.region(), contents)?;
            let apart = scalars.beta != 0.0 || T::as_real_mut::<R>(&mut []).is_none();
            let wide = if apart { Some(HostBuffer::zeroed(layout.extent())?) } else { None };
            Ok(Leaving { values: Box::new(Narrow { staged, wide }), layout, scalars, name: self.name })
        })
    }
}

/// α and β.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scalars {
    /// Factor of the result.
    pub alpha: f64,
    /// Factor of what the output holds; 0 does not read it.
    pub beta: f64,
}

impl Scalars {
    /// The result replaces the output.
    pub const PLAIN: Scalars = Scalars { alpha: 1.0, beta: 0.0 };

    /// Reads cuDNN's scaling parameters: host memory, `double` for double tensors, else `float`.
    /// Source: cuDNN developer guide, "Scaling Parameters".
    pub fn read(alpha: *const c_void, beta: *const c_void, output: DataType) -> Result<Scalars, Error> {
        Ok(Scalars { alpha: scalar("alpha", alpha, output)?, beta: scalar("beta", beta, output)? })
    }
}

/// One scaling parameter of a call on tensors of this type.
pub fn scalar(name: &'static str, address: *const c_void, tensors: DataType) -> Result<f64, Error> {
    if address.is_null() {
        return Err(Error::InvalidValue(name));
    }
    // SAFETY: not null; the caller owes a double for double tensors and a float for all others.
    Ok(unsafe {
        if tensors == DataType::F64 {
            address.cast::<f64>().read_unaligned()
        } else {
            f64::from(address.cast::<f32>().read_unaligned())
        }
    })
}

/// Elements as they lie in memory, and as real numbers where these are not the same.
struct Narrow<'c, T: Plain, R: Plain> {
    staged: Staged<'c, T>,
    wide: Option<HostBuffer<R>>,
}

trait Values<'c, R: Real> {
    fn widen(&mut self) -> Result<(), Error>;
    fn values(&self) -> &[R];
    fn values_mut(&mut self) -> &mut [R];
    fn store(self: Box<Self>, call: &'c Call, name: &'static str, scalars: Scalars) -> Result<(), Error>;
}

impl<'c, T: Plain + Element, R: Real + Plain> Values<'c, R> for Narrow<'c, T, R> {
    fn widen(&mut self) -> Result<(), Error> {
        let elements = self.staged.elements();
        if T::as_real::<R>(elements).is_none() {
            let mut wide = HostBuffer::zeroed(elements.len())?;
            engine::widen(elements, &mut wide);
            self.wide = Some(wide);
        }
        Ok(())
    }

    fn values(&self) -> &[R] {
        match &self.wide {
            Some(wide) => wide,
            None => T::as_real(self.staged.elements()).unwrap_or_default(),
        }
    }

    fn values_mut(&mut self) -> &mut [R] {
        match &mut self.wide {
            Some(wide) => wide,
            None => T::as_real_mut(self.staged.elements_mut()).unwrap_or_default(),
        }
    }

    fn store(mut self: Box<Self>, call: &'c Call, name: &'static str, scalars: Scalars) -> Result<(), Error> {
        let (alpha, beta) = (R::of(scalars.alpha), R::of(scalars.beta));
        if let Some(wide) = &self.wide {
            engine::blend(alpha, wide, beta, self.staged.elements_mut());
        } else if scalars.alpha != 1.0 {
            engine::scale(alpha, self.values_mut());
        }
        call.transfer.copy_out(name, self.staged)
    }
}

/// A tensor on its way here; readable after the call's copies were waited for.
pub struct Arriving<'c, R> {
    values: Box<dyn Values<'c, R> + 'c>,
    layout: Layout,
}

impl<'c, R: Real> Arriving<'c, R> {
    /// The tensor, once [`crate::staging::transfer::Transfer::wait`] has returned.
    pub fn arrived(mut self) -> Result<Arrived<'c, R>, Error> {
        self.values.widen()?;
        Ok(Arrived(self))
    }
}

/// A tensor that is here.
pub struct Arrived<'c, R>(Arriving<'c, R>);

impl<R: Real> Arrived<'_, R> {
    /// To read.
    pub fn view(&self) -> TensorRef<'_, R> {
        TensorRef::new(self.0.values.values(), self.0.layout)
    }

    /// The values of a flat operand.
    pub fn values(&self) -> &[R] {
        self.0.values.values()
    }
}

/// A result on its way to the device.
pub struct Leaving<'c, R> {
    values: Box<dyn Values<'c, R> + 'c>,
    layout: Layout,
    scalars: Scalars,
    name: &'static str,
}

impl<'c, R: Real> Leaving<'c, R> {
    /// To be computed; after the call's copies were waited for.
    pub fn view(&mut self) -> TensorMut<'_, R> {
        TensorMut::new(self.values.values_mut(), self.layout)
    }

    /// What was computed so far.
    pub fn peek(&self) -> TensorRef<'_, R> {
        TensorRef::new(self.values.values(), self.layout)
    }

    /// The values of a flat operand.
    pub fn values(&mut self) -> &mut [R] {
        self.values.values_mut()
    }

    /// Scales, rounds and writes it to the device.
    pub fn store(self, call: &'c Call) -> Result<(), Error> {
        self.values.store(call, self.name, self.scalars)
    }
}

/// `to ← α·f(from…) + β·to`: brings the operands here, lets f compute, and sends the result back. Returns what f did;
/// nothing is sent if f fails.
pub fn compute_all<R: Real + Plain, K>(
    call: &Call,
    from: &[&Operand],
    to: &Operand,
    scalars: Scalars,
    f: impl FnOnce(&[TensorRef<'_, R>], TensorMut<'_, R>) -> Result<K, Error>,
) -> Result<K, Error> {
    let arriving = from.iter().map(|operand| operand.fetch::<R>(call)).collect::<Result<Vec<_>, _>>()?;
    let mut result = to.result::<R>(call, scalars)?;
    call.transfer.wait()?;
    let arrived = arriving.into_iter().map(Arriving::arrived).collect::<Result<Vec<_>, _>>()?;
    let inputs: Vec<_> = arrived.iter().map(Arrived::view).collect();
    let done = f(&inputs, result.view())?;
    result.store(call)?;
    Ok(done)
}

/// [`compute_all`] of a known number of operands.
pub fn compute<R: Real + Plain, const N: usize, K>(
    call: &Call,
    from: [&Operand; N],
    to: &Operand,
    scalars: Scalars,
    f: impl FnOnce([TensorRef<'_, R>; N], TensorMut<'_, R>) -> K,
) -> Result<K, Error> {
    compute_all(call, &from, to, scalars, |inputs, output| {
        let inputs = inputs.try_into().map_err(|_| Error::Internal)?;
        Ok(f(inputs, output))
    })
}

/// An optional argument: null means that it is not there.
pub fn optional<T>(data: *const c_void, make: impl FnOnce() -> Result<T, Error>) -> Result<Option<T>, Error> {
    if data.is_null() { Ok(None) } else { make().map(Some) }
}

/// What the log is told of a served call.
pub fn served(call: &Call, what: String, kernel: &'static str) -> Served {
    Served { what, bytes_in: call.transfer.bytes_in(), bytes_out: call.transfer.bytes_out(), kernel }
}

/// The log's words for tensors: `x=2x3x8x8 w=… type=f32`.
pub fn describe(operands: &[&Operand]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for operand in operands {
        let dims: Vec<String> = operand.dims().iter().map(usize::to_string).collect();
        let _ = write!(text, "{}={} ", operand.name, dims.join("x"));
    }
    let element = operands.first().map_or("?", |operand| operand.desc.element.name());
    let _ = write!(text, "type={element}");
    text
}
