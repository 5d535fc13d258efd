//! Pieces of operands as slices.

use super::nest::At;
use crate::tensor::{Layout, MAX_RANK, Real, TensorRef};

/// A parameter along a piece.
#[derive(Clone, Copy)]
pub enum Parameter<'a, R> {
    /// The same for all elements.
    Same(R),
    /// One for each element.
    Each(&'a [R]),
}

impl<'a, R: Real> Parameter<'a, R> {
    /// Operand `k`'s part in a piece; `default` if there is no such operand.
    pub fn of<const K: usize>(
        tensor: Option<TensorRef<'a, R>>,
        default: R,
        at: At<K>,
        k: usize,
        length: usize,
        buffer: &'a mut Vec<R>,
    ) -> Parameter<'a, R> {
        match tensor {
            None => Parameter::Same(default),
            Some(tensor) if at.strides[k] == 0 => Parameter::Same(tensor.data[at.places[k]]),
            Some(tensor) => Parameter::Each(run(tensor.data, at, k, length, buffer)),
        }
    }

    /// One value for each element.
    pub fn each(self, length: usize, buffer: &'a mut Vec<R>) -> &'a [R] {
        match self {
            Parameter::Each(values) => values,
            Parameter::Same(value) => {
                buffer.clear();
                buffer.resize(length, value);
                buffer
            }
        }
    }
}

/// A piece of operand `k` as a slice.
pub fn run<'a, R: Copy, const K: usize>(
    data: &'a [R],
    at: At<K>,
    k: usize,
    length: usize,
    buffer: &'a mut Vec<R>,
) -> &'a [R] {
    gather(data, at.places[k], at.strides[k], length, buffer)
}

/// Elements `stride` apart: as they lie if they are neighbours, else a copy.
pub fn gather<'a, R: Copy>(
    data: &'a [R],
    place: usize,
    stride: usize,
    length: usize,
    buffer: &'a mut Vec<R>,
) -> &'a [R] {
    if stride == 1 || length == 1 {
        return &data[place..place + length];
    }
    buffer.clear();
    buffer.extend((0..length).map(|position| data[place + position * stride]));
    buffer
}

/// The layout of an operand that may be absent: then a single element that repeats.
pub fn layout_of<R>(tensor: Option<&TensorRef<'_, R>>, rank: usize) -> Layout {
    tensor.map_or(Layout::new(&[1; MAX_RANK][..rank], &[0; MAX_RANK][..rank]), |tensor| tensor.layout)
}

/// Panics unless the parameter has x's rank and along each axis x's size or 1.
pub fn check_broadcast(x: &Layout, parameter: &Layout, name: &str) {
    let fits = x.rank() == parameter.rank()
        && x.dims().iter().zip(parameter.dims()).all(|(&size, &own)| own == size || own == 1);
    assert!(fits, "{name} {parameter:?} does not spread over x {x:?}");
}
