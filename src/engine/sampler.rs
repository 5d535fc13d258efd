//! Spatial transformers: affine grids, and bilinear samples of images at the points of a grid.
//!
//! Coordinates run from −1 to 1 between the centres of the corner pixels, x along the width and y along the
//! height.

use crate::norm::fill_raw::{fill_blocks, fill_lines, fill_stacks};
use crate::norm::nest::{At, TASK};
use crate::tensor::{Layout, Real, TensorMut, TensorRef};

/// Channels of a block of dx that one task fills.
const BLOCK: usize = 16;
/// Points that are sampled side by side; no power of two, so that lines of a copy do not crowd in few sets of
/// the cache.
const WIDTH: usize = 112;

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
    fn inside(&self) -> Pixels<R> {
        let mut pixels = Pixels { places: [0; 4], weights: [R::ZERO; 4], count: 0 };
        for (place, weight) in self.places.into_iter().zip(self.weights()) {
            if let Some(place) = place {
                (pixels.places[pixels.count], pixels.weights[pixels.count]) = (place, weight);
                pixels.count += 1;
            }
        }
        pixels
    }

    /// How fast the blend of the pixels changes per pixel along the width and along the height.
    fn slopes(&self, pixel: impl Fn(usize) -> R) -> [R; 2] {
        let [x, y] = self.along;
        let [v0, v1, v2, v3] = self.places.map(|place| place.map_or(R::ZERO, &pixel));
        [(v1 - v0) * (R::ONE - y) + (v3 - v2) * y, (v2 - v0) * (R::ONE - x) + (v3 - v1) * x]
    }
}

/// The weighted pixels around a point that are inside the image: none if the point is beyond the border.
#[derive(Clone, Copy)]
struct Pixels<R> {
    places: [usize; 4],
    weights: [R; 4],
    count: usize,
}

impl<R: Real> Pixels<R> {
    fn around(point: Point<R>) -> Pixels<R> {
        match point {
            Point::At(corners) => corners.inside(),
            _ => Pixels { places: [0; 4], weights: [R::ZERO; 4], count: 0 },
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, R)> {
        let (places, weights) = (&self.places[..self.count], &self.weights[..self.count]);
        places.iter().copied().zip(weights.iter().copied())
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

/// The points of a stack, the grid being the first of its operands.
fn look_up<R: Real, const K: usize>(
    image: &Image,
    grid: TensorRef<'_, R>,
    at: At<K>,
    count: usize,
    points: &mut Vec<Point<R>>,
) {
    let places = (0..count).map(|position| at.places[0] + position * at.strides[0]);
    let step = grid.layout.strides()[3];
    points.clear();
    points.extend(places.map(|place| image.find([grid.data[place], grid.data[place + step]])));
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
    fill_stacks(y, [&points, &images, &layout], WIDTH, Vec::new, |points, at, count, stack| {
        look_up(&image, grid, at, count, points);
        let pixels: Vec<Pixels<R>> = points.iter().copied().map(Pixels::around).collect();
        for (channel, line) in stack.chunks_exact_mut(count).enumerate() {
            for (position, (y, pixels)) in line.iter_mut().zip(&pixels).enumerate() {
                let start = at.places[1] + position * at.strides[1] + channel * channel_stride;
                *y = pixels.iter().map(|(place, weight)| weight * x.data[start + place]).sum();
            }
        }
        for (position, point) in points.iter().enumerate() {
            if matches!(point, Point::Nowhere) {
                stack[position..].iter_mut().step_by(count).for_each(|y| *y = R::nan());
            }
        }
    });
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

fn pixel_gradient<R: Real>(dy: TensorRef<'_, R>, grid: TensorRef<'_, R>, dx: TensorMut<'_, R>) {
    let [_, height, width] = check_grid(&grid.layout);
    let sizes = [dx.layout.dims()[3], dx.layout.dims()[2]];
    let (point_stride, step) = (grid.layout.strides()[2], grid.layout.strides()[3]);
    let (channel_stride, stride) = (dy.layout.strides()[1], dy.layout.strides()[3]);
    fill_blocks(dx, BLOCK, Vec::new, |row: &mut Vec<Pixels<R>>, n, channels, dx| {
        // The block is packed, its channels innermost.
        let image = Image { sizes, strides: [channels.len(), sizes[0] * channels.len()] };
        for h in 0..height {
            let start = grid.layout.place(&[n, h]);
            let places = (0..width).map(|w| start + w * point_stride);
            row.clear();
            row.extend(places.map(|at| Pixels::around(image.find([grid.data[at], grid.data[at + step]]))));
            let start = dy.layout.place(&[n, channels.start, h]);
            for channel in 0..channels.len() {
                for (w, pixels) in row.iter().enumerate() {
                    let dy = dy.data[start + channel * channel_stride + w * stride];
                    for (place, weight) in pixels.iter() {
                        dx[place + channel] = dx[place + channel] + weight * dy;
                    }
                }
            }
        }
    });
}

fn grid_gradient<R: Real>(
    x: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    grid: TensorRef<'_, R>,
    dgrid: TensorMut<'_, R>,
) {
    let [n, height, width] = check_grid(&grid.layout);
    let (channels, of_x, of_dy) = (x.layout.dims()[1], x.layout.strides(), dy.layout.strides());
    let image = Image { sizes: [x.layout.dims()[3], x.layout.dims()[2]], strides: plane_strides(&x.layout) };
    // All of them as tensors [N, 2, H, W], so that the coordinates of a point are its channels.
    let dims = [n, 2, height, width];
    let pairs = |layout: &Layout| {
        let strides = layout.strides();
        Layout::new(&dims, &[strides[0], strides[3], strides[1], strides[2]])
    };
    let (points, gradients) = (pairs(&grid.layout), pairs(&dgrid.layout));
    let images = Layout::new(&dims, &[of_x[0], 0, 0, 0]);
    let samples = Layout::new(&dims, &[of_dy[0], 0, of_dy[2], of_dy[3]]);
    let dgrid = TensorMut::new(dgrid.data, gradients);
    let operands = [&points, &images, &samples, &gradients];
    fill_stacks(dgrid, operands, WIDTH, Vec::new, |points, at, count, stack| {
        look_up(&image, grid, at, count, points);
        let mut sums = [[0.0; WIDTH]; 2];
        for channel in 0..channels {
            for (position, point) in points.iter().enumerate() {
                if let Point::At(corners) = point {
                    let start = at.places[1] + position * at.strides[1] + channel * of_x[1];
                    let dy = dy.data[at.places[2] + position * at.strides[2] + channel * of_dy[1]];
                    let slopes = corners.slopes(|place| x.data[start + place]);
                    sums[0][position] += (dy * slopes[0]).to_double();
                    sums[1][position] += (dy * slopes[1]).to_double();
                }
            }
        }
        let scales = image.scales::<f64>();
        for (axis, line) in stack.chunks_exact_mut(count).enumerate() {
            for (position, point) in points.iter().enumerate() {
                let nowhere = matches!(point, Point::Nowhere);
                line[position] = if nowhere { R::nan() } else { R::of(sums[axis][position] * scales[axis]) };
            }
        }
    });
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
