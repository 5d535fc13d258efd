//! Tensors in device memory as arrays of doubles.

use std::ffi::c_int;

use cudarc::cudnn::sys::cudnnDataType_t as DataType;
use gpucompat_cases::element::{Element, Number};
use native_core::mode::Play;

use crate::memory;
use crate::status::{BAD_PARAM, NOT_SUPPORTED};

/// A tensor at an address.
pub struct Array {
    address: u64,
    element: Element,
    /// Its sizes.
    pub dims: Vec<usize>,
    strides: Vec<usize>,
}

/// What a result is made of: `α·value + β·old`.
#[derive(Clone, Copy)]
pub struct Blend {
    /// α.
    pub alpha: f64,
    /// β; if it is 0, the old value is not read.
    pub beta: f64,
}

/// The element of a `cudnnDataType_t`, of those that the stand-in computes with.
fn element(kind: c_int) -> Option<Element> {
    let types = [
        (DataType::CUDNN_DATA_FLOAT, Element::F32),
        (DataType::CUDNN_DATA_DOUBLE, Element::F64),
        (DataType::CUDNN_DATA_HALF, Element::F16),
        (DataType::CUDNN_DATA_BFLOAT16, Element::Bf16),
    ];
    types.iter().find(|row| row.0 as c_int == kind).map(|row| row.1)
}

/// The indices of the `number`-th element, in row-major order.
pub fn indices(mut number: usize, dims: &[usize]) -> Vec<usize> {
    let mut indices = vec![0; dims.len()];
    for axis in (0..dims.len()).rev() {
        indices[axis] = number % dims[axis];
        number /= dims[axis];
    }
    indices
}

impl Array {
    /// Refuses other element types and strides that are not positive (NOT_SUPPORTED), and a tensor that was
    /// never set (BAD_PARAM).
    pub fn new(address: u64, kind: c_int, dims: &[i64], strides: &[i64]) -> Result<Array, c_int> {
        if dims.is_empty() || dims.len() != strides.len() {
            return Err(BAD_PARAM);
        }
        let element = element(kind).ok_or(NOT_SUPPORTED)?;
        let counts = |values: &[i64]| -> Result<Vec<usize>, c_int> {
            values.iter().map(|&value| usize::try_from(value).map_err(|_| NOT_SUPPORTED)).collect()
        };
        Ok(Array { address, element, dims: counts(dims)?, strides: counts(strides)? })
    }

    /// How many elements it has.
    pub fn count(&self) -> usize {
        self.dims.iter().product()
    }

    /// Elements from the first to the last.
    fn span(&self) -> usize {
        self.dims.iter().zip(&self.strides).map(|(&size, &stride)| (size - 1) * stride).sum::<usize>() + 1
    }

    /// Where the elements lie, in row-major order of their indices.
    fn places(&self) -> Vec<usize> {
        let place = |number| {
            indices(number, &self.dims).iter().zip(&self.strides).map(|(&at, &stride)| at * stride).sum()
        };
        (0..self.count()).map(place).collect()
    }

    /// Its values, in row-major order of their indices.
    pub fn load(&self, stream: u64) -> Result<Vec<f64>, c_int> {
        if self.count() == 0 {
            return Ok(Vec::new());
        }
        let bytes = memory::read(self.address, self.span() * self.element.bytes(), stream)?;
        Ok(self.places().into_iter().map(|place| self.element.decode(&bytes, place).re).collect())
    }

    /// Writes a result, given in row-major order, or garbage. What lies between the elements is not touched.
    pub fn store(&self, stream: u64, play: Play, blend: Blend, values: &[f64]) -> Result<(), c_int> {
        let Blend { alpha, beta } = blend;
        let old = if beta == 0.0 { vec![0.0; values.len()] } else { self.load(stream)? };
        let mut bytes = Vec::new();
        for (value, old) in values.iter().zip(old) {
            let result = if play == Play::Garble { 7.0 } else { alpha * value + beta * old };
            self.element.encode(Number::new(result, 0.0), &mut bytes);
        }
        let size = self.element.bytes();
        let places = self.places();
        if places.iter().enumerate().all(|(number, &place)| number == place) {
            return memory::write(self.address, &bytes, stream);
        }
        for (place, one) in places.into_iter().zip(bytes.chunks_exact(size)) {
            memory::write(self.address + (place * size) as u64, one, stream)?;
        }
        Ok(())
    }
}
