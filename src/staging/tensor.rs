//! The elements of an N-dimensional operand, and the fewest rectangular copies that fetch exactly them.
//!
//! On the host the elements lie packed in the order of their device strides (channels-last stays
//! channels-last), without the gaps and without repetitions: an axis of stride 0 is fetched once.

use gpucompat_engine::Layout;

use super::region::{CopyPlan, HostLayout, Rectangle};
use crate::boundary::status::Error;

/// Where an operand lies on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorRegion {
    /// Device address of element 0.
    pub base: u64,
    /// Sizes and strides on the device, elements.
    pub layout: Layout,
}

/// Copies that fetch a tensor, or put it back, and the layout they make on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorPlan {
    /// Sizes as on the device, strides of the packed copy.
    pub layout: Layout,
    /// The copies.
    pub copies: CopyPlan,
}

/// More rectangles than this, and an operand that is only read is fetched with its gaps in one copy.
const MANY_RECTANGLES: usize = 32;
/// Unless it consists of gaps for the most part.
const MOST_GAPS: usize = 8;

struct Axis {
    size: usize,
    stride: usize,
}

impl TensorRegion {
    /// The copies that move exactly the elements.
    pub fn plan(&self, element_bytes: usize) -> Result<TensorPlan, Error> {
        let dims = self.layout.dims();
        self.checked_extent(element_bytes)?;
        if dims.contains(&0) {
            let nothing = HostLayout { col_stride: 1, batch_stride: 0, elements: 0 };
            let copies = CopyPlan { layout: nothing, rectangles: Vec::new() };
            return Ok(TensorPlan { layout: Layout::packed(dims), copies });
        }
        let mut order: Vec<usize> =
            (0..dims.len()).filter(|&axis| dims[axis] > 1 && self.layout.strides()[axis] > 0).collect();
        order.sort_by_key(|&axis| self.layout.strides()[axis]);
        let mut strides = vec![0; dims.len()];
        let mut elements = 1usize;
        for &axis in &order {
            strides[axis] = elements;
            elements = elements.checked_mul(dims[axis]).ok_or(Error::AllocFailed)?;
        }
        let axes = order.iter().map(|&axis| Axis { size: dims[axis], stride: self.layout.strides()[axis] });
        let rectangles = self.rectangles(&merged(axes), element_bytes)?;
        let layout = HostLayout { col_stride: 1, batch_stride: 0, elements };
        Ok(TensorPlan { layout: Layout::new(dims, &strides), copies: CopyPlan { layout, rectangles } })
    }

    /// The same for an operand that is only read: gaps may come along where that saves copies.
    pub fn plan_read(&self, element_bytes: usize) -> Result<TensorPlan, Error> {
        let plan = self.plan(element_bytes)?;
        let span = self.layout.extent();
        if plan.copies.rectangles.len() <= MANY_RECTANGLES || span / MOST_GAPS > plan.copies.layout.elements {
            return Ok(plan);
        }
        let whole = Rectangle {
            device: self.base,
            host: 0,
            width: span,
            height: 1,
            device_pitch: span,
            host_pitch: span,
        };
        let layout = HostLayout { col_stride: 1, batch_stride: 0, elements: span };
        Ok(TensorPlan { layout: self.layout, copies: CopyPlan { layout, rectangles: vec![whole] } })
    }

    /// Elements from the first to the last, refused if their bytes do not fit the address space.
    pub fn checked_extent(&self, element_bytes: usize) -> Result<usize, Error> {
        self.layout
            .checked_extent()
            .filter(|end| end.checked_mul(element_bytes).is_some())
            .ok_or(Error::AllocFailed)
    }

    /// The copies for axes in the order of their strides.
    fn rectangles(&self, axes: &[Axis], element_bytes: usize) -> Result<Vec<Rectangle>, Error> {
        let (width, rest) = match axes.first() {
            Some(axis) if axis.stride == 1 => (axis.size, &axes[1..]),
            _ => (1, axes),
        };
        // A rectangle's runs must not overlap; axes that do (a sliding window) go run by run.
        let (height, pitch, outer) = match rest.first() {
            Some(axis) if axis.stride >= width => (axis.size, axis.stride, &rest[1..]),
            _ => (1, width, rest),
        };
        let count = outer.iter().try_fold(1usize, |count, axis| count.checked_mul(axis.size));
        let count = count.ok_or(Error::AllocFailed)?;
        let one = width * height;
        let rectangle = |index: usize| {
            let mut rest = index;
            let mut offset = 0;
            for axis in outer {
                offset += rest % axis.size * axis.stride;
                rest /= axis.size;
            }
            Rectangle {
                device: self.base + (offset * element_bytes) as u64,
                host: index * one,
                width,
                height,
                device_pitch: pitch,
                host_pitch: width,
            }
        };
        Ok((0..count).map(rectangle).collect())
    }
}

/// Joins neighbours where one goes on where the other ends.
fn merged(axes: impl Iterator<Item = Axis>) -> Vec<Axis> {
    let mut merged: Vec<Axis> = Vec::new();
    for axis in axes {
        match merged.last_mut() {
            Some(last) if axis.stride == last.stride * last.size => last.size *= axis.size,
            _ => merged.push(axis),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(dims: &[usize], strides: &[usize]) -> TensorRegion {
        TensorRegion { base: 4096, layout: Layout::new(dims, strides) }
    }

    /// Runs the plan on a "device" whose element at address 4096 + 4·i is i, and compares every element.
    fn check(region: &TensorRegion, plan: &TensorPlan) {
        let mut host = vec![usize::MAX; plan.copies.layout.elements];
        for copy in &plan.copies.rectangles {
            for run in 0..copy.height {
                for column in 0..copy.width {
                    let source = (copy.device as usize - 4096) / 4 + run * copy.device_pitch + column;
                    host[copy.host + run * copy.host_pitch + column] = source;
                }
            }
        }
        assert!(host.iter().all(|&element| element != usize::MAX), "a host element was never fetched");
        for position in 0..region.layout.elements() {
            let index = &region.layout.index_of(position)[..region.layout.rank()];
            assert_eq!(host[plan.layout.place(index)], region.layout.place(index), "{region:?} at {index:?}");
        }
    }

    #[test]
    fn every_plan_brings_each_element_to_its_place() {
        for (dims, strides) in [
            (vec![2, 3, 4, 5], vec![60, 20, 5, 1]),
            (vec![2, 3, 4, 5], vec![60, 1, 15, 3]),
            (vec![2, 3, 4, 5], vec![200, 50, 10, 2]),
            (vec![2, 3, 4, 5], vec![1, 2, 6, 24]),
            (vec![2, 3, 4], vec![100, 0, 7]),
            (vec![5, 4], vec![1, 1]),
            (vec![4, 3], vec![2, 1]),
            (vec![1, 1, 1], vec![9, 9, 9]),
            (vec![3, 1, 2], vec![2, 77, 1]),
            (vec![70, 2, 3], vec![9, 4, 1]),
        ] {
            let region = region(&dims, &strides);
            check(&region, &region.plan(4).unwrap());
            check(&region, &region.plan_read(4).unwrap());
        }
    }

    #[test]
    fn dense_tensors_of_any_order_take_one_copy() {
        for strides in [[60, 20, 5, 1], [60, 1, 15, 3], [1, 2, 6, 24]] {
            let plan = region(&[2, 3, 4, 5], &strides).plan(4).unwrap();
            assert_eq!((plan.copies.rectangles.len(), plan.layout.strides()), (1, &strides[..]));
        }
        assert_eq!(region(&[2, 3, 4], &[20, 5, 1]).plan(4).unwrap().copies.rectangles.len(), 2);
    }

    #[test]
    fn many_small_copies_become_one_for_an_operand_that_is_only_read() {
        let region = region(&[70, 2, 3], &[9, 4, 1]);
        assert_eq!(region.plan(4).unwrap().copies.rectangles.len(), 70);
        assert_eq!(region.plan_read(4).unwrap().copies.rectangles.len(), 1);
    }

    #[test]
    fn empty_tensors_need_no_copy_and_impossible_ones_are_refused() {
        assert!(region(&[2, 0, 3], &[3, 3, 1]).plan(4).unwrap().copies.rectangles.is_empty());
        assert!(region(&[1 << 40, 1 << 40], &[1 << 40, 1]).plan(4).is_err());
    }
}
