//! Where the windows lie.

use std::ops::Range;

use super::{Pool, PoolMode};
use crate::tensor::Layout;

/// Sizes of a pooling, brought to three spatial axes; the missing outer ones have size 1.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// How averages are formed.
    pub mode: PoolMode,
    /// Spatial sizes of x.
    pub x: [usize; 3],
    /// Spatial sizes of y.
    pub y: [usize; 3],
    /// Elements of the window.
    pub window: [usize; 3],
    /// How far the first window begins before x.
    pub pad: [usize; 3],
    /// From window to window.
    pub stride: [usize; 3],
}

/// Three spatial values of an axis array such as sizes or strides [N, C, spatial…].
pub fn spatial(values: &[usize], missing: usize) -> [usize; 3] {
    let axes = values.len() - 2;
    std::array::from_fn(|axis| if axis + axes < 3 { missing } else { values[axis + axes - 1] })
}

impl Geometry {
    /// The geometry of a call.
    ///
    /// # Panics
    /// Unless both have the same N and C and the same one to three spatial axes, and the window and its
    /// steps are not 0.
    pub fn new(pool: &Pool, x: &Layout, y: &Layout) -> Geometry {
        assert!((3..=5).contains(&x.rank()) && x.rank() == y.rank(), "x {x:?}, y {y:?}");
        assert!(x.dims()[..2] == y.dims()[..2], "N and C differ: x {x:?}, y {y:?}");
        let axes = x.rank() - 2;
        let spread = |values: &[usize; 3], missing: usize| -> [usize; 3] {
            std::array::from_fn(|axis| if axis + axes < 3 { missing } else { values[axis + axes - 3] })
        };
        let (window, stride) = (spread(&pool.window, 1), spread(&pool.stride, 1));
        assert!(!window.contains(&0) && !stride.contains(&0), "a window or its step is 0: {pool:?}");
        let pad = spread(&pool.pad, 0);
        Geometry { mode: pool.mode, x: spatial(x.dims(), 1), y: spatial(y.dims(), 1), window, pad, stride }
    }

    /// The part inside x of window `position` along an axis.
    #[inline]
    pub fn clip(&self, axis: usize, position: usize) -> Range<usize> {
        let start = position * self.stride[axis];
        let inside = |end: usize| end.saturating_sub(self.pad[axis]).min(self.x[axis]);
        inside(start)..inside(start + self.window[axis])
    }

    /// The windows along an axis that lie wholly inside x, of those that y has.
    pub fn whole(&self, axis: usize) -> Range<usize> {
        let end = (self.x[axis] + self.pad[axis]).checked_sub(self.window[axis]);
        let end = end.map_or(0, |last| last / self.stride[axis] + 1).min(self.y[axis]);
        self.pad[axis].div_ceil(self.stride[axis]).min(end)..end
    }

    /// What the sum over a window is divided by that has this many elements inside x.
    pub fn divisor(&self, inside: usize) -> usize {
        match self.mode {
            PoolMode::Max => 1,
            PoolMode::AverageIncludingPadding => self.window.iter().product(),
            PoolMode::AverageExcludingPadding => inside.max(1),
        }
    }

    /// Elements that a window touches at most.
    pub fn window_size(&self) -> usize {
        (0..3).map(|axis| self.window[axis].min(self.x[axis])).product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nan_rule::NanRule;

    #[test]
    fn whole_windows_are_those_that_clipping_leaves_alone() {
        for (size, window, pad, stride) in
            [(7, 3, 1, 2), (5, 2, 3, 1), (3, 5, 1, 1), (4, 4, 0, 4), (1, 1, 2, 3)]
        {
            let pool = Pool {
                mode: PoolMode::Max,
                nan: NanRule::Ignore,
                window: [window, 0, 0],
                pad: [pad, 0, 0],
                stride: [stride, 0, 0],
            };
            let geometry = Geometry::new(&pool, &Layout::packed(&[1, 1, size]), &Layout::packed(&[1, 1, 9]));
            for position in 0..9 {
                let is_whole = geometry.clip(2, position).len() == window;
                assert_eq!(geometry.whole(2).contains(&position), is_whole, "{position} of {geometry:?}");
            }
        }
    }
}
