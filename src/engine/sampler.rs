//! Spatial transformers: affine grids, and bilinear samples of images at the points of a grid.
//!
//! Coordinates run from −1 to 1 between the centres of the corner pixels, x along the width and y along the
//! height.

use std::ops::Range;

use crate::norm::fill_raw::{fill_blocks, fill_lines, fill_stacks};
use crate::norm::nest::TASK;
use crate::tensor::{Layout, Real, TensorMut, TensorRef};

/// Channels of a block of dx that one task fills.
const BLOCK: usize = 16;
/// Points that are sampled side by side.
const WIDTH: usize = 128;

/// Coordinate `position` of `count`: from −1 to 1, and 0 of one.
fn coordinate<R: Real>(position: usize, count: usize) -> R {
    if count < 2 { R::ZERO } else { R::of((2 * position) as f64 / (count - 1) as f64 - 1.0) }
}

/// `grid[n, h, w] = θ[n]·(x_w, y_h, 1)ᵀ` with x_w and y_h from −1 to 1: cudnnSpatialTfGridGeneratorForward.
///
/// θ is [N, 2, 3], the grid [N, H, W, 2] with (x, y) in its last axis. Along an axis of one pixel the
/// coordinate is 0.
///
/// # Panics
/// Unless θ and the grid have these sizes.
pub fn affine_grid<R: Real>(theta: TensorRef<'_, R>, grid: TensorMut<'_, R>) {
    let [n, height, width] = check_grid(&grid.layout);
    assert!(theta.layout.dims() == [n, 2, 3], "θ {:?} of a grid {:?}", theta.layout, grid.layout);
    fill_lines(
        grid,
        3,
        TASK / 8,
        || (),
        |(), index, point| {
            let (x, y) = (coordinate::<R>(index[2], width), coordinate::<R>(index[1], height));
            for (row, point) in point.iter_mut().enumerate() {
                let theta = |column| theta.data[theta.layout.place(&[index[0], row, column])];
                *point = theta(0) * x + theta(1) * y + theta(2);
            }
        },
    );
}

/// `dθ[n] = Σ over h, w of dgrid[n, h, w]ᵀ·(x_w, y_h, 1)`: cudnnSpatialTfGridGeneratorBackward. Sums are
/// formed in double precision.
///
/// # Panics
/// Unless dgrid is [N, H, W, 2] and dθ [N, 2, 3].
pub fn affine_grid_backward<R: Real>(dgrid: TensorRef<'_, R>, dtheta: TensorMut<'_, R>) {
    let [n, height, width] = check_grid(&dgrid.layout);
    assert!(dtheta.layout.dims() == [n, 2, 3], "dθ {:?} of a grid {:?}", dtheta.layout, dgrid.layout);
    fill_lines(
        dtheta,
        2,
        1,
        || (),
        |(), index, dtheta| {
            let mut sums = [0.0; 3];
            for h in 0..height {
                let start = dgrid.layout.place(&[index[0], h, 0, index[1]]);
                let (mut along_x, mut all) = (0.0, 0.0);
                for w in 0..width {
                    let gradient = dgrid.data[start + w * dgrid.layout.strides()[2]].to_double();
                    along_x += gradient * coordinate::<f64>(w, width);
                    all += gradient;
                }
                sums[0] += along_x;
                sums[1] += all * coordinate::<f64>(h, height);
                sums[2] += all;
            }
            dtheta.iter_mut().zip(sums).for_each(|(dtheta, sum)| *dtheta = R::of(sum));
        },
    );
}

/// A point of a grid among the pixels of an image.
#[derive(Clone, Copy)]
enum Point<R> {
    /// A coordinate is NaN.
    Nowhere,
    /// All pixels around it lie beyond the border.
    Outside,
    /// Between pixels.
    At(Corners<R>),
}

/// The up to four pixels around a point: the two of the upper row, then those of the lower.
#[derive(Clone, Copy)]
struct Corners<R> {
    /// Where each begins in the image; none beyond the border.
    places: [Option<usize>; 4],
    /// The share of the second pixel along the width and along the height.
    along: [R; 2],
}

impl<R: Real> Corners<R> {
    fn weights(&self) -> [R; 4] {
        let [x, y] = self.along;
        let (x_first, y_first) = (R::ONE - x, R::ONE - y);
        [x_first * y_first, x * y_first, x_first * y, x * y]
    }

    /// The pixels inside and their weights.
    fn inside(&self) -> impl Iterator<Item = (usize, R)> {
        self.places.into_iter().zip(self.weights()).filter_map(|(place, weight)| Some((place?, weight)))
    }

    /// How fast the blend of the pixels changes per pixel along the width and along the height.
    fn slopes(&self, pixel: impl Fn(usize) -> R) -> [R; 2] {
        let [x, y] = self.along;
        let [v0, v1, v2, v3] = self.places.map(|place| place.map_or(R::ZERO, &pixel));
        [(v1 - v0) * (R::ONE - y) + (v3 - v2) * y, (v2 - v0) * (R::ONE - x) + (v3 - v1) * x]
    }
}

/// An image in which points are looked up: width and height, and the strides along them.
struct Image {
    sizes: [usize; 2],
    strides: [usize; 2],
}

impl Image {
    /// How many pixels a coordinate's unit is along the width and along the height.
    fn scales<R: Real>(&self) -> [R; 2] {
        self.sizes.map(|size| R::of(size.saturating_sub(1) as f64 / 2.0))
    }

    /// The point with coordinates (x, y).
    fn find<R: Real>(&self, coordinates: [R; 2]) -> Point<R> {
        if coordinates[0].is_nan() || coordinates[1].is_nan() {
            return Point::Nowhere;
        }
        let scales = self.scales::<R>();
        let pixels = [0, 1].map(|axis| (coordinates[axis] + R::ONE) * scales[axis]);
        // NaN here is an infinite coordinate along an axis of one pixel.
        let touches = |axis: usize| pixels[axis] >= -R::ONE && pixels[axis] < R::of(self.sizes[axis] as f64);
        if !(touches(0) && touches(1)) {
            return Point::Outside;
        }
        let floors = pixels.map(R::floor);
        // From −1, which is beyond the border, to size − 1.
        let firsts = floors.map(|floor| floor.to_double() as isize);
        let place_along = |axis: usize, step: isize| {
            let pixel = usize::try_from(firsts[axis] + step).ok()?;
            (pixel < self.sizes[axis]).then_some(pixel * self.strides[axis])
        };
        let place = |x: isize, y: isize| Some(place_along(0, x)? + place_along(1, y)?);
        let places = [place(0, 0), place(1, 0), place(0, 1), place(1, 1)];
        Point::At(Corners { places, along: [pixels[0] - floors[0], pixels[1] - floors[1]] })
    }
}

/// `y[n, c, h, w]` = x[n, c] at the point grid[n, h, w], bilinear between the four pixels around it, pixels
/// beyond the border counting as 0: cudnnSpatialTfSamplerForward.
///
/// x is [N, C, Hx, Wx], the grid [N, H, W, 2] with (x, y) in its last axis, y [N, C, H, W]. A point with a NaN
/// coordinate gives NaN, one with an infinite coordinate 0. Of pixels beyond the border nothing is added; of
/// those inside also what has weight 0, so that an infinity there gives NaN.
///
/// # Panics
/// Unless x, grid and y have these sizes.
pub fn sample_grid<R: Real>(x: TensorRef<'_, R>, grid: TensorRef<'_, R>, y: TensorMut<'_, R>) {
    check_samples(&x.layout, &grid.layout, &y.layout);
    let image = Image { sizes: [x.layout.dims()[3], x.layout.dims()[2]], strides: plane_strides(&x.layout) };
    let channel_stride = x.layout.strides()[1];
    let layout = y.layout;
    // The grid, and the image of each n, as tensors of y's sizes.
    let of_grid = grid.layout.strides();
    let points = Layout::new(layout.dims(), &[of_grid[0], 0, of_grid[1], of_grid[2]]);
    let images = Layout::new(layout.dims(), &[x.layout.strides()[0], 0, 0, 0]);
    fill_stacks(
        y,
        [&points, &images, &layout],
        WIDTH,
        || (),
        |(), at, count, stack| {
            for position in 0..count {
                let place = at.places[0] + position * at.strides[0];
                let line = stack[position..].iter_mut().step_by(count);
                match image.find([grid.data[place], grid.data[place + of_grid[3]]]) {
                    Point::Nowhere => line.for_each(|y| *y = R::nan()),
                    Point::Outside => line.for_each(|y| *y = R::ZERO),
                    Point::At(corners) => {
                        let start = at.places[1] + position * at.strides[1];
                        for (channel, y) in line.enumerate() {
                            let start = start + channel * channel_stride;
                            *y = corners.inside().map(|(place, weight)| weight * x.data[start + place]).sum();
                        }
                    }
                }
            }
        },
    );
}

/// The gradients of [`sample_grid`]: cudnnSpatialTfSamplerBackward.
///
/// `dx` of a pixel is the sum of dy times its weight over the points around it. `dgrid` is, per coordinate, the
/// sum over the channels of dy times the slope of the blend, pixels beyond the border counting as 0. Where a
/// point lies on a pixel the slope is that towards the next one. A point with a NaN coordinate adds nothing to
/// dx and has NaN in dgrid.
///
/// # Panics
/// Unless x and dx are [N, C, Hx, Wx], dy [N, C, H, W], and grid and dgrid [N, H, W, 2].
pub fn sample_grid_backward<R: Real>(
    x: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    grid: TensorRef<'_, R>,
    dx: TensorMut<'_, R>,
    dgrid: TensorMut<'_, R>,
) {
    check_samples(&x.layout, &grid.layout, &dy.layout);
    assert!(dx.layout.dims() == x.layout.dims(), "dx {:?} has not x's sizes {:?}", dx.layout, x.layout);
    let same = dgrid.layout.dims() == grid.layout.dims();
    assert!(same, "dgrid {:?} has not the grid's sizes {:?}", dgrid.layout, grid.layout);
    pixel_gradient(dy, grid, dx);
    grid_gradient(x, dy, grid, dgrid);
}

/// dy's elements of `channels` at one point.
fn gradients<R: Real>(
    dy: TensorRef<'_, R>,
    [n, h, w]: [usize; 3],
    channels: Range<usize>,
) -> impl Iterator<Item = R> {
    let (start, step) = (dy.layout.place(&[n, 0, h, w]), dy.layout.strides()[1]);
    channels.map(move |channel| dy.data[start + channel * step])
}

fn point<R: Real>(image: &Image, grid: TensorRef<'_, R>, index: [usize; 3]) -> Point<R> {
    let place = grid.layout.place(&index);
    image.find([grid.data[place], grid.data[place + grid.layout.strides()[3]]])
}

fn pixel_gradient<R: Real>(dy: TensorRef<'_, R>, grid: TensorRef<'_, R>, dx: TensorMut<'_, R>) {
    let (height, width) = (grid.layout.dims()[1], grid.layout.dims()[2]);
    let sizes = [dx.layout.dims()[3], dx.layout.dims()[2]];
    fill_blocks(
        dx,
        BLOCK,
        || (),
        |(), n, channels, dx| {
            // The block is packed, its channels innermost.
            let image = Image { sizes, strides: [channels.len(), sizes[0] * channels.len()] };
            for index in (0..height * width).map(|number| [n, number / width, number % width]) {
                if let Point::At(corners) = point(&image, grid, index) {
                    for (channel, dy) in gradients(dy, index, channels.clone()).enumerate() {
                        for (place, weight) in corners.inside() {
                            dx[place + channel] = dx[place + channel] + weight * dy;
                        }
                    }
                }
            }
        },
    );
}

fn grid_gradient<R: Real>(
    x: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    grid: TensorRef<'_, R>,
    dgrid: TensorMut<'_, R>,
) {
    let (channels, channel_stride) = (x.layout.dims()[1], x.layout.strides()[1]);
    let image = Image { sizes: [x.layout.dims()[3], x.layout.dims()[2]], strides: plane_strides(&x.layout) };
    let bundle = TASK / (4 * channels).max(1);
    fill_lines(
        dgrid,
        3,
        bundle,
        || (),
        |(), index, dgrid| {
            let index = [index[0], index[1], index[2]];
            match point(&image, grid, index) {
                Point::Nowhere => dgrid.fill(R::nan()),
                Point::Outside => dgrid.fill(R::ZERO),
                Point::At(corners) => {
                    let start = index[0] * x.layout.strides()[0];
                    let mut sums = [0.0; 2];
                    for (channel, dy) in gradients(dy, index, 0..channels).enumerate() {
                        let start = start + channel * channel_stride;
                        let slopes = corners.slopes(|place| x.data[start + place]);
                        (0..2).for_each(|axis| sums[axis] += (dy * slopes[axis]).to_double());
                    }
                    let scales = image.scales::<f64>();
                    (0..2).for_each(|axis| dgrid[axis] = R::of(sums[axis] * scales[axis]));
                }
            }
        },
    );
}

/// From pixel to pixel along the width and along the height.
fn plane_strides(layout: &Layout) -> [usize; 2] {
    [layout.strides()[3], layout.strides()[2]]
}

fn check_grid(grid: &Layout) -> [usize; 3] {
    match *grid.dims() {
        [n, height, width, 2] => [n, height, width],
        _ => panic!("a grid is [N, H, W, 2], not {grid:?}"),
    }
}

fn check_samples(x: &Layout, grid: &Layout, y: &Layout) {
    let [n, height, width] = check_grid(grid);
    let fits = x.rank() == 4 && x.dims()[0] == n && *y.dims() == [n, x.dims()[1], height, width];
    assert!(fits, "x {x:?}, grid {grid:?}, samples {y:?}");
}
