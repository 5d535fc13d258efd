//! Affine grids and bilinear samples, of packed tensors. −1 and 1 are the centres of the corner pixels.

use crate::norm::Near;

/// Sizes of images and of grids.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Images.
    pub n: usize,
    /// Channels.
    pub channels: usize,
    /// Height of an image.
    pub image_height: usize,
    /// Width of an image.
    pub image_width: usize,
    /// Height of a grid.
    pub height: usize,
    /// Width of a grid.
    pub width: usize,
}

/// The gradients of samples.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// With respect to the images.
    pub dx: Vec<Near>,
    /// With respect to the grid.
    pub dgrid: Vec<Near>,
}

const NOTHING: Near = Near { value: 0.0, magnitude: 0.0 };

fn add(near: &mut Near, term: f64) {
    near.value += term;
    near.magnitude += term.abs();
}

/// (x, y, 1) of a point before θ.
fn point(h: usize, w: usize, sizes: Sizes) -> [f64; 3] {
    let along = |at: usize, count: usize| {
        if count == 1 { 0.0 } else { 2.0 * at as f64 / (count - 1) as f64 - 1.0 }
    };
    [along(w, sizes.width), along(h, sizes.height), 1.0]
}

/// `body(n, h, w)` for all points of the grids.
fn each_point(sizes: Sizes, mut body: impl FnMut(usize, usize, usize)) {
    for n in 0..sizes.n {
        for h in 0..sizes.height {
            (0..sizes.width).for_each(|w| body(n, h, w));
        }
    }
}

/// The grid [N, H, W, 2] of θ [N, 2, 3].
pub fn affine_grid(theta: &[f64], sizes: Sizes) -> Vec<Near> {
    let mut grid = vec![];
    each_point(sizes, |n, h, w| {
        for row in 0..2 {
            let mut coordinate = NOTHING;
            for (column, value) in point(h, w, sizes).into_iter().enumerate() {
                let factor = theta[(n * 2 + row) * 3 + column];
                add(&mut coordinate, factor * value);
                coordinate.magnitude += factor.abs();
            }
            grid.push(coordinate);
        }
    });
    grid
}

/// dθ [N, 2, 3] of dgrid [N, H, W, 2].
pub fn affine_grid_backward(dgrid: &[f64], sizes: Sizes) -> Vec<Near> {
    let mut dtheta = vec![NOTHING; sizes.n * 6];
    each_point(sizes, |n, h, w| {
        for row in 0..2 {
            let gradient = dgrid[((n * sizes.height + h) * sizes.width + w) * 2 + row];
            for (column, value) in point(h, w, sizes).into_iter().enumerate() {
                add(&mut dtheta[(n * 2 + row) * 3 + column], gradient * value);
            }
        }
    });
    dtheta
}

/// A pixel near a point: where it lies in a channel, its weight and the weight's slope along x and y.
struct Neighbour {
    pixel: usize,
    weight: f64,
    slopes: [f64; 2],
}

/// The pixels nearer than 1 along both axes. A point on a pixel counts as just beyond it.
fn neighbours([x, y]: [f64; 2], sizes: Sizes) -> Vec<Neighbour> {
    let scales = [(sizes.image_width - 1) as f64 / 2.0, (sizes.image_height - 1) as f64 / 2.0];
    let (x, y) = ((x + 1.0) * scales[0], (y + 1.0) * scales[1]);
    // Weight and slope of pixel `at` for a coordinate.
    let tent = |coordinate: f64, at: usize| {
        let distance = coordinate - at as f64;
        match distance {
            -1.0..0.0 => Some((1.0 + distance, 1.0)),
            0.0..1.0 => Some((1.0 - distance, -1.0)),
            _ => None,
        }
    };
    let mut found = vec![];
    for row in 0..sizes.image_height {
        for column in 0..sizes.image_width {
            if let (Some((along_x, slope_x)), Some((along_y, slope_y))) = (tent(x, column), tent(y, row)) {
                found.push(Neighbour {
                    pixel: row * sizes.image_width + column,
                    weight: along_x * along_y,
                    slopes: [slope_x * along_y * scales[0], along_x * slope_y * scales[1]],
                });
            }
        }
    }
    found
}

fn at(grid: &[f64], n: usize, h: usize, w: usize, sizes: Sizes) -> [f64; 2] {
    let start = ((n * sizes.height + h) * sizes.width + w) * 2;
    [grid[start], grid[start + 1]]
}

/// y [N, C, H, W] of x [N, C, Hx, Wx] at the points of the grid; NaN where a coordinate is.
pub fn sample(x: &[f64], grid: &[f64], sizes: Sizes) -> Vec<Near> {
    let Sizes { n, channels, height, width, .. } = sizes;
    let mut y = vec![NOTHING; n * channels * height * width];
    each_point(sizes, |n, h, w| {
        let coordinates = at(grid, n, h, w, sizes);
        for channel in 0..channels {
            let plane = (n * channels + channel) * sizes.image_height * sizes.image_width;
            let y = &mut y[((n * channels + channel) * height + h) * width + w];
            for neighbour in neighbours(coordinates, sizes) {
                add(y, neighbour.weight * x[plane + neighbour.pixel]);
            }
            if coordinates.iter().any(|coordinate| coordinate.is_nan()) {
                y.value = f64::NAN;
            }
        }
    });
    y
}

/// dx and dgrid; a point with a NaN coordinate has NaN in dgrid and no part in dx.
pub fn sample_backward(x: &[f64], dy: &[f64], grid: &[f64], sizes: Sizes) -> Gradients {
    let Sizes { channels, height, width, .. } = sizes;
    let (mut dx, mut dgrid) = (vec![NOTHING; x.len()], vec![NOTHING; grid.len()]);
    each_point(sizes, |n, h, w| {
        let coordinates = at(grid, n, h, w, sizes);
        let start = ((n * height + h) * width + w) * 2;
        for channel in 0..channels {
            let plane = (n * channels + channel) * sizes.image_height * sizes.image_width;
            let dy = dy[((n * channels + channel) * height + h) * width + w];
            for Neighbour { pixel, weight, slopes } in neighbours(coordinates, sizes) {
                add(&mut dx[plane + pixel], weight * dy);
                for axis in 0..2 {
                    add(&mut dgrid[start + axis], dy * slopes[axis] * x[plane + pixel]);
                }
            }
        }
        if coordinates.iter().any(|coordinate| coordinate.is_nan()) {
            dgrid[start].value = f64::NAN;
            dgrid[start + 1].value = f64::NAN;
        }
    });
    Gradients { dx, dgrid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_and_middles_by_hand() {
        let sizes = Sizes { n: 1, channels: 1, image_height: 2, image_width: 3, height: 1, width: 4 };
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let grid = [-1.0, -1.0, 1.0, 1.0, 0.5, 0.0, 1.5, 1.0];
        let y: Vec<f64> = sample(&x, &grid, sizes).iter().map(|near| near.value).collect();
        assert_eq!(y, [1.0, 6.0, 4.0, 3.0]);
    }

    #[test]
    fn the_identity_gives_the_coordinates_themselves() {
        let sizes = Sizes { n: 1, channels: 1, image_height: 1, image_width: 1, height: 2, width: 3 };
        let grid = affine_grid(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], sizes);
        let values: Vec<f64> = grid.iter().map(|near| near.value).collect();
        assert_eq!(values, [-1.0, -1.0, 0.0, -1.0, 1.0, -1.0, -1.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
    }
}
