//! The gradient of pooling.

use std::marker::PhantomData;
use std::ops::Range;

use super::columns::{Place, Shares, Winners};
use super::combine::Sum;
use super::geometry::{Geometry, spatial};
use super::rows::{Join, Scatter};
use super::{Pool, PoolMode};
use crate::norm::fill_raw::fill_blocks;
use crate::norm::operand::gather;
use crate::norm::wide_raw::widest;
use crate::tensor::{Layout, Real, TensorMut, TensorRef};

/// Channels of a block where they are neighbours: two lines of cache in single precision.
const BLOCK: usize = 32;

/// `dx[i] = Σ over the windows that hold i of their part of dy`: cudnnPoolingBackward.
///
/// x and y are the forward call's. A maximum's gradient goes to the first element of the window, in row-major
/// order, that equals y, where y is NaN to the first NaN; an average's in equal shares to all elements inside
/// x. What belongs to padding is dropped, and so is all of a window without an element equal to y.
///
/// # Panics
/// As [`super::pool_forward`], and unless dy has y's sizes and dx has x's.
pub fn pool_backward<R: Real>(
    pool: &Pool,
    x: TensorRef<'_, R>,
    y: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    dx: TensorMut<'_, R>,
) {
    let geometry = Geometry::new(pool, &x.layout, &y.layout);
    assert!(dy.layout.dims() == y.layout.dims(), "dy {:?} has not y's sizes {:?}", dy.layout, y.layout);
    assert!(dx.layout.dims() == x.layout.dims(), "dx {:?} has not x's sizes {:?}", dx.layout, x.layout);
    if y.layout.elements() == 0 {
        return fill_blocks(dx, BLOCK, || (), |(), _, _, _| ());
    }
    let neighbours = [x, y, dy].iter().all(|tensor| tensor.layout.strides()[1] == 1);
    if x.layout.dims()[1] > 1 && neighbours {
        along_channels(&geometry, [x, y, dy], dx);
    } else {
        along_rows(&geometry, [x, y, dy], dx);
    }
}

fn along_channels<R: Real>(geometry: &Geometry, [x, y, dy]: [TensorRef<'_, R>; 3], dx: TensorMut<'_, R>) {
    let [x_steps, y_steps, dy_steps] = [x, y, dy].map(|tensor| spatial(tensor.layout.strides(), 0));
    fill_blocks(dx, BLOCK, Vec::new, |places, n, channels, dx| {
        let first = |tensor: TensorRef<'_, R>| n * tensor.layout.strides()[0] + channels.start;
        let (x, width) = (&x.data[first(x)..], channels.len());
        each_window(geometry, |position| {
            places.clear();
            each_element(geometry, position, |element| {
                let [_, height, width_of_x] = geometry.x;
                let number = (element[0] * height + element[1]) * width_of_x + element[2];
                places.push(Place { x: dot(element, x_steps), dx: number * width });
            });
            let start = first(dy) + dot(position, dy_steps);
            let gradient = &dy.data[start..start + width];
            if geometry.mode == PoolMode::Max {
                let start = first(y) + dot(position, y_steps);
                let y = &y.data[start..start + width];
                widest(Winners { x, places, y, dy: gradient, dx });
            } else {
                let divisor = R::of(geometry.divisor(places.len()) as f64);
                widest(Shares { places, dy: gradient, divisor, dx });
            }
        });
    });
}

fn along_rows<R: Real>(geometry: &Geometry, [x, y, dy]: [TensorRef<'_, R>; 3], dx: TensorMut<'_, R>) {
    let buffers = || [(); 3].map(|()| Vec::new());
    fill_blocks(dx, 1, buffers, |[b0, b1, b2], n, channels, dx| {
        let dy = plane(dy, n, channels.start, b0);
        if geometry.mode == PoolMode::Max {
            let (x, y) = (plane(x, n, channels.start, b1), plane(y, n, channels.start, b2));
            to_winners(geometry, x, y, dy, dx);
        } else {
            to_all(geometry, dy, b1, dx);
        }
    });
}

fn to_winners<R: Real>(geometry: &Geometry, x: &[R], y: &[R], dy: &[R], dx: &mut [R]) {
    let [_, height, width] = geometry.x;
    let mut number = 0;
    each_window(geometry, |position| {
        let (y, dy) = (y[number], dy[number]);
        number += 1;
        for d in geometry.clip(0, position[0]) {
            for h in geometry.clip(1, position[1]) {
                let row = (d * height + h) * width;
                let range = geometry.clip(2, position[2]);
                let wins = |x: &R| *x == y || (x.is_nan() && y.is_nan());
                if let Some(at) = x[row + range.start..row + range.end].iter().position(wins) {
                    let dx = &mut dx[row + range.start + at];
                    *dx = *dx + dy;
                    return;
                }
            }
        }
    });
}

fn to_all<R: Real>(geometry: &Geometry, dy: &[R], spread: &mut Vec<R>, dx: &mut [R]) {
    let [_, height, width] = geometry.x;
    spread.resize(width, R::ZERO);
    for (number, dy) in dy.chunks_exact(geometry.y[2].max(1)).enumerate() {
        let (depth, row) = (number / geometry.y[1], number % geometry.y[1]);
        let (depths, heights) = (geometry.clip(0, depth), geometry.clip(1, row));
        let rows = depths.len() * heights.len();
        widest(Scatter { dy, geometry, rows, spread });
        for d in depths {
            for h in heights.clone() {
                let start = (d * height + h) * width;
                let into = &mut dx[start..start + width];
                widest(Join { row: spread, into, combine: PhantomData::<Sum> });
            }
        }
    }
}

/// All windows in row-major order.
fn each_window(geometry: &Geometry, mut body: impl FnMut([usize; 3])) {
    let [depth, height, width] = geometry.y;
    each(0..depth, 0..height, 0..width, &mut body);
}

/// All elements inside x of a window, in row-major order.
fn each_element(geometry: &Geometry, [depth, height, width]: [usize; 3], mut body: impl FnMut([usize; 3])) {
    each(geometry.clip(0, depth), geometry.clip(1, height), geometry.clip(2, width), &mut body);
}

fn each(depth: Range<usize>, height: Range<usize>, width: Range<usize>, body: &mut impl FnMut([usize; 3])) {
    for d in depth {
        for h in height.clone() {
            width.clone().for_each(|w| body([d, h, w]));
        }
    }
}

fn dot(position: [usize; 3], steps: [usize; 3]) -> usize {
    position[0] * steps[0] + position[1] * steps[1] + position[2] * steps[2]
}

/// All of one channel in row-major order: as it lies if it has no gaps, else a copy.
fn plane<'a, R: Real>(tensor: TensorRef<'a, R>, n: usize, channel: usize, buffer: &'a mut Vec<R>) -> &'a [R] {
    let (dims, strides) = (tensor.layout.dims(), tensor.layout.strides());
    let start = n * strides[0] + channel * strides[1];
    let layout = Layout::new(&dims[2..], &strides[2..]);
    let data = &tensor.data[start..start + layout.extent()];
    if layout.is_packed() {
        return data;
    }
    buffer.clear();
    let (steps, width) = (spatial(strides, 0), dims[dims.len() - 1]);
    let mut line = Vec::new();
    let [depth, height, _] = spatial(dims, 1);
    each(0..depth, 0..height, 0..1, &mut |position| {
        buffer.extend_from_slice(gather(data, dot(position, steps), steps[2], width, &mut line));
    });
    buffer
}
