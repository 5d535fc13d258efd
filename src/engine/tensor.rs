//! N-dimensional strided operands of the neural-network functions.
//!
//! Element (i₀, i₁, …) of a tensor is `data[Σ iₐ·strideₐ]`. Functions on tensors compute in [`Real`]: single
//! or double precision; whoever holds narrower elements widens them before and rounds the result once after.

use num_traits::{Float, FloatConst};

use crate::contract;
use crate::dtype::{Accumulator, Input, Output};

/// The most axes a tensor has, cuDNN's `CUDNN_DIM_MAX`.
pub const MAX_RANK: usize = 8;

/// A type that the functions on tensors compute in: `f32` or `f64`.
pub trait Real:
    Accumulator + Input<Self> + Output<Self> + Float + FloatConst + Default + std::fmt::Debug + std::iter::Sum
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The nearest value.
    fn of(value: f64) -> Self;
    /// The same value, exactly.
    fn to_double(self) -> f64;
    /// The same value, or the nearest in single precision.
    fn to_single(self) -> f32;
    /// Whether this is `f64`.
    const DOUBLE: bool;
    /// Single-precision numbers as they lie, if this is `f32`.
    fn singles(data: &[f32]) -> Option<&[Self]>;
    /// The same, to write.
    fn singles_mut(data: &mut [f32]) -> Option<&mut [Self]>;
    /// The other way round.
    fn as_singles(data: &[Self]) -> Option<&[f32]>;
    /// The same, to write.
    fn as_singles_mut(data: &mut [Self]) -> Option<&mut [f32]>;
    /// Double-precision numbers as they lie, if this is `f64`.
    fn doubles(data: &[f64]) -> Option<&[Self]>;
    /// The same, to write.
    fn doubles_mut(data: &mut [f64]) -> Option<&mut [Self]>;
}

macro_rules! real {
    ($ty:ident, $double:literal, |$data:ident| $single:expr, $doubled:expr) => {
        impl Real for $ty {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            fn of(value: f64) -> Self {
                value as $ty
            }
            fn to_double(self) -> f64 {
                self.into()
            }
            fn to_single(self) -> f32 {
                self as f32
            }
            const DOUBLE: bool = $double;
            fn singles($data: &[f32]) -> Option<&[Self]> {
                $single
            }
            fn singles_mut($data: &mut [f32]) -> Option<&mut [Self]> {
                $single
            }
            fn as_singles($data: &[Self]) -> Option<&[f32]> {
                $single
            }
            fn as_singles_mut($data: &mut [Self]) -> Option<&mut [f32]> {
                $single
            }
            fn doubles($data: &[f64]) -> Option<&[Self]> {
                $doubled
            }
            fn doubles_mut($data: &mut [f64]) -> Option<&mut [Self]> {
                $doubled
            }
        }
    };
}
real!(f32, false, |data| Some(data), {
    let _ = data;
    None
});
real!(
    f64,
    true,
    |data| {
        let _ = data;
        None
    },
    Some(data)
);

/// Sizes and strides of a tensor, both counted in elements, outermost axis first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    rank: usize,
    dims: [usize; MAX_RANK],
    strides: [usize; MAX_RANK],
}

impl Layout {
    /// A layout with these sizes and strides.
    ///
    /// # Panics
    /// If the two differ in length or there are more than [`MAX_RANK`] axes.
    pub fn new(dims: &[usize], strides: &[usize]) -> Layout {
        assert!(dims.len() == strides.len() && dims.len() <= MAX_RANK, "{dims:?} / {strides:?}");
        let mut layout = Layout { rank: dims.len(), dims: [1; MAX_RANK], strides: [0; MAX_RANK] };
        layout.dims[..dims.len()].copy_from_slice(dims);
        layout.strides[..dims.len()].copy_from_slice(strides);
        layout
    }

    /// The last axis contiguous, no gaps.
    pub fn packed(dims: &[usize]) -> Layout {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for (axis, &size) in dims.iter().enumerate().rev() {
            strides[axis] = step;
            step *= size.max(1);
        }
        Layout::new(dims, &strides[..dims.len()])
    }

    /// How many axes.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Sizes.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Elements between neighbours along each axis.
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.rank]
    }

    /// How many elements.
    pub fn elements(&self) -> usize {
        self.dims().iter().product()
    }

    /// One past the last place an element lies at; 0 if there are none.
    ///
    /// # Panics
    /// If it does not fit the address space.
    pub fn extent(&self) -> usize {
        contract::extent(self.dims(), self.strides())
    }

    /// [`Layout::extent`], or None if it does not fit the address space.
    pub fn checked_extent(&self) -> Option<usize> {
        contract::checked_extent(self.dims(), self.strides())
    }

    /// The place of an element.
    pub fn place(&self, index: &[usize]) -> usize {
        index.iter().zip(self.strides()).map(|(&position, &stride)| position * stride).sum()
    }

    /// The element that comes at this position when the last axis runs fastest.
    pub fn index_of(&self, mut position: usize) -> [usize; MAX_RANK] {
        let mut index = [0; MAX_RANK];
        for axis in (0..self.rank).rev() {
            index[axis] = position % self.dims[axis];
            position /= self.dims[axis];
        }
        index
    }

    /// Whether no two elements share a place, judged by nested strides: each, from the smallest up, must
    /// step over all that the smaller ones reach.
    pub fn is_injective(&self) -> bool {
        contract::is_injective(self.dims(), self.strides())
    }

    /// Whether the elements lie as [`Layout::packed`] would lay them, axes of size 1 aside.
    pub fn is_packed(&self) -> bool {
        let packed = Layout::packed(self.dims());
        (0..self.rank).all(|axis| self.dims[axis] <= 1 || self.strides[axis] == packed.strides[axis])
    }
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}/{:?}", self.dims(), self.strides())
    }
}

/// A tensor to read.
#[derive(Debug)]
pub struct TensorRef<'a, T> {
    /// The elements, and perhaps gaps.
    pub data: &'a [T],
    /// Where they lie.
    pub layout: Layout,
}

impl<T> Clone for TensorRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for TensorRef<'_, T> {}

/// A tensor to write; places between its elements are left alone.
#[derive(Debug)]
pub struct TensorMut<'a, T> {
    /// The elements, and perhaps gaps.
    pub data: &'a mut [T],
    /// Where they lie.
    pub layout: Layout,
}

impl<'a, T> TensorRef<'a, T> {
    /// A tensor over a slice.
    ///
    /// # Panics
    /// If the layout reaches beyond the slice.
    pub fn new(data: &'a [T], layout: Layout) -> TensorRef<'a, T> {
        assert!(layout.extent() <= data.len(), "{layout:?} reaches beyond {} elements", data.len());
        TensorRef { data, layout }
    }
}

impl<'a, T> TensorMut<'a, T> {
    /// A tensor over a slice.
    ///
    /// # Panics
    /// If the layout reaches beyond the slice, or two elements share a place.
    pub fn new(data: &'a mut [T], layout: Layout) -> TensorMut<'a, T> {
        assert!(layout.extent() <= data.len(), "{layout:?} reaches beyond {} elements", data.len());
        assert!(layout.is_injective(), "elements of the output share a place: {layout:?}");
        TensorMut { data, layout }
    }

    /// The same tensor, borrowed for a while.
    pub fn reborrow(&mut self) -> TensorMut<'_, T> {
        TensorMut { data: self.data, layout: self.layout }
    }

    /// The same tensor, to read.
    pub fn as_ref(&self) -> TensorRef<'_, T> {
        TensorRef { data: self.data, layout: self.layout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_layouts_count_from_the_last_axis() {
        let layout = Layout::packed(&[2, 3, 4]);
        assert_eq!(layout.strides(), [12, 4, 1]);
        assert_eq!((layout.elements(), layout.extent(), layout.place(&[1, 2, 3])), (24, 24, 23));
        assert_eq!(layout.index_of(23)[..3], [1, 2, 3]);
        assert!(layout.is_packed() && Layout::new(&[2, 1, 3], &[3, 77, 1]).is_packed());
    }

    #[test]
    fn shared_places_and_empty_tensors_are_recognised() {
        assert!(!Layout::new(&[2, 3], &[2, 1]).is_injective());
        assert!(!Layout::new(&[2, 3], &[0, 1]).is_injective());
        assert!(Layout::new(&[2, 3], &[1, 2]).is_injective());
        assert_eq!(Layout::packed(&[2, 0, 4]).extent(), 0);
    }
}
