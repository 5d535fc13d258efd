//! Pooling of tensors [N, C, spatial…] with one to three spatial axes.
//!
//! Two ways through memory: along the channels where they are neighbours ([`columns`]), else along the last
//! spatial axis ([`rows`]), whose lines are copied where they have gaps.

mod backward;
mod columns;
mod combine;
mod forward;
mod geometry;
mod rows;

pub use backward::pool_backward;
pub use forward::pool_forward;

use crate::nan_rule::NanRule;

/// `cudnnPoolingMode_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// The largest element.
    Max,
    /// The sum divided by the size of the whole window.
    AverageIncludingPadding,
    /// The sum divided by how many elements of the window are x's.
    AverageExcludingPadding,
}

/// A pooling. Of each array the first entries count, one for each spatial axis of the tensors, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What becomes of a window.
    pub mode: PoolMode,
    /// For [`PoolMode::Max`]; averages propagate NaN whatever it says.
    pub nan: NanRule,
    /// Elements of the window.
    pub window: [usize; 3],
    /// How far the first window begins before the first element.
    pub pad: [usize; 3],
    /// From window to window.
    pub stride: [usize; 3],
}
