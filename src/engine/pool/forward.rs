//! Pooling.

use std::marker::PhantomData;

use super::columns::Columns;
use super::combine::{Combine, Largest, LargestNumber, Sum};
use super::geometry::{Geometry, spatial};
use super::rows::{Join, Slide};
use super::{Pool, PoolMode};
use crate::nan_rule::NanRule;
use crate::norm::fill_raw::fill_lines;
use crate::norm::nest::TASK;
use crate::norm::operand::gather;
use crate::norm::wide_raw::widest;
use crate::tensor::{Real, TensorMut, TensorRef};

/// `y[n, c, o…] = max or average over the elements of x[n, c, …] in window o`, which begins at
/// `o·stride − pad` along each spatial axis: cudnnPoolingForward.
///
/// x and y are [N, C, spatial…]; y's spatial sizes are the caller's. Padding counts as −∞ for the maximum and
/// as 0 for averages. A window wholly in the padding gives −∞ or 0. Which NaN the maximum gives is
/// [`Pool::nan`]'s; of equal elements (0 and −0) it gives the first. Averages propagate NaN.
///
/// # Panics
/// Unless x and y have the same N and C and the same one to three spatial axes, and windows and steps are at
/// least 1.
pub fn pool_forward<R: Real>(pool: &Pool, x: TensorRef<'_, R>, y: TensorMut<'_, R>) {
    match (pool.mode, pool.nan) {
        (PoolMode::Max, NanRule::Propagate) => forward::<R, Largest>(pool, x, y),
        (PoolMode::Max, NanRule::Ignore) => forward::<R, LargestNumber>(pool, x, y),
        _ => forward::<R, Sum>(pool, x, y),
    }
}

fn forward<R: Real, C: Combine>(pool: &Pool, x: TensorRef<'_, R>, y: TensorMut<'_, R>) {
    let geometry = Geometry::new(pool, &x.layout, &y.layout);
    let channels = x.layout.dims()[1];
    if channels > 1 && x.layout.strides()[1] == 1 && y.layout.strides()[1] == 1 {
        along_channels::<R, C>(&geometry, x, y);
    } else {
        along_rows::<R, C>(&geometry, x, y);
    }
}

fn along_channels<R: Real, C: Combine>(geometry: &Geometry, x: TensorRef<'_, R>, y: TensorMut<'_, R>) {
    let steps = spatial(x.layout.strides(), 0);
    let bundle = TASK / (geometry.window_size() * x.layout.dims()[1]).max(1);
    fill_lines(y, 1, bundle, Vec::new, |places, index, y| {
        let [depth, height, width] = spatial(index, 0);
        places.clear();
        for d in geometry.clip(0, depth) {
            for h in geometry.clip(1, height) {
                let row = d * steps[0] + h * steps[1];
                places.extend(geometry.clip(2, width).map(|w| row + w * steps[2]));
            }
        }
        if places.is_empty() {
            return y.fill(C::of_none());
        }
        let x = &x.data[index[0] * x.layout.strides()[0]..];
        let divisor = R::of(geometry.divisor(places.len()) as f64);
        widest(Columns { x, places, divisor, y, combine: PhantomData::<C> });
    });
}

fn along_rows<R: Real, C: Combine>(geometry: &Geometry, x: TensorRef<'_, R>, y: TensorMut<'_, R>) {
    let steps = spatial(x.layout.strides(), 0);
    let axis = y.layout.rank() - 1;
    let bundle = TASK / (geometry.window_size() * geometry.y[2]).max(1);
    let buffers = || (vec![R::ZERO; geometry.x[2]], Vec::new());
    fill_lines(y, axis, bundle, buffers, |(joined, buffer), index, y| {
        let [depth, height, _] = spatial(index, 0);
        let (depths, heights) = (geometry.clip(0, depth), geometry.clip(1, height));
        let rows = depths.len() * heights.len();
        if rows == 0 {
            return y.fill(C::of_none());
        }
        let start = index[0] * x.layout.strides()[0] + index[1] * x.layout.strides()[1];
        joined.fill(C::start());
        for d in depths {
            for h in heights.clone() {
                let place = start + d * steps[0] + h * steps[1];
                let row = gather(x.data, place, steps[2], joined.len(), buffer);
                widest(Join { row, into: joined, combine: PhantomData::<C> });
            }
        }
        widest(Slide { joined, geometry, rows, y, combine: PhantomData::<C> });
    });
}
