//! Convolution and its two gradients by the definition, in double precision. This plays the vendor: it shares
//! nothing with the reference that results are judged by.
//!
//! With y's position p, a filter's tap r and an axis's stride, dilation and padding, the tap sees x at
//! `q = p·stride + r·dilation − padding`. Every triple (x, w, y) that the definition multiplies is visited once:
//! forward adds `x·w` to y, the gradient of x adds `w·dy` to dx, the gradient of w adds `x·dy` to dw.

use crate::array::indices;

/// Sizes and movement; tensors are row-major: x is n×c×…, w is k×(c/groups)×…, y is n×k×….
pub struct Problem {
    /// x's sizes.
    pub x: Vec<usize>,
    /// w's sizes.
    pub w: Vec<usize>,
    /// y's sizes.
    pub y: Vec<usize>,
    /// Groups of channels.
    pub groups: usize,
    /// Zeros before x, an axis.
    pub before: Vec<usize>,
    /// Zeros after x, an axis.
    pub after: Vec<usize>,
    /// Steps from output to output, an axis.
    pub stride: Vec<usize>,
    /// Steps from tap to tap, an axis.
    pub dilation: Vec<usize>,
    /// Which way taps are counted.
    pub taps: Taps,
}

/// Which way taps are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Taps {
    /// From the last: `CUDNN_CONVOLUTION`.
    Flipped,
    /// From the first: `CUDNN_CROSS_CORRELATION`.
    InOrder,
}

impl Problem {
    /// Whether the sizes fit together.
    pub fn is_consistent(&self) -> bool {
        let (x, w, y, groups) = (&self.x, &self.w, &self.y, self.groups);
        let spatial = x.len().wrapping_sub(2);
        let moves = [&self.before, &self.after, &self.stride, &self.dilation];
        if x.len() < 3 || w.len() != x.len() || y.len() != x.len() || w.contains(&0) {
            return false;
        }
        if groups == 0 || moves.iter().any(|values| values.len() != spatial) {
            return false;
        }
        y[0] == x[0]
            && x[1] == w[1] * groups
            && y[1] == w[0]
            && w[0].is_multiple_of(groups)
            && (0..spatial).all(|axis| {
                let reach = (w[axis + 2] - 1) * self.dilation[axis];
                let padded = x[axis + 2] + self.before[axis] + self.after[axis];
                padded > reach && y[axis + 2] == (padded - reach - 1) / self.stride[axis] + 1
            })
    }

    /// For each position of y and, within it, each tap: the position in x, if the tap is not on the padding.
    fn sources(&self) -> Vec<Option<usize>> {
        let (x, w, y) = (&self.x[2..], &self.w[2..], &self.y[2..]);
        let (positions, taps) = (y.iter().product::<usize>(), w.iter().product::<usize>());
        let source = |position: &[usize], tap: &[usize]| {
            (0..x.len()).try_fold(0, |offset, axis| {
                let step = match self.taps {
                    Taps::Flipped => w[axis] - 1 - tap[axis],
                    Taps::InOrder => tap[axis],
                };
                let padded = position[axis] * self.stride[axis] + step * self.dilation[axis];
                let at = padded.checked_sub(self.before[axis]).filter(|&at| at < x[axis])?;
                Some(offset * x[axis] + at)
            })
        };
        (0..positions * taps).map(|pair| source(&indices(pair / taps, y), &indices(pair % taps, w))).collect()
    }

    /// Visits the numbers of the elements of x, w and y that are multiplied.
    fn each_product(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let size = |dims: &[usize]| dims[2..].iter().product::<usize>();
        let (places, taps, positions) = (size(&self.x), size(&self.w), size(&self.y));
        let (channels, filters, depth) = (self.x[1], self.w[0], self.w[1]);
        let sources = self.sources();
        for n in 0..self.x[0] {
            for k in 0..filters {
                let first_channel = k / (filters / self.groups) * depth;
                for c in 0..depth {
                    let x = (n * channels + first_channel + c) * places;
                    let w = (k * depth + c) * taps;
                    let y = (n * filters + k) * positions;
                    for (pair, source) in sources.iter().enumerate() {
                        if let Some(source) = source {
                            visit(x + source, w + pair % taps, y + pair / taps);
                        }
                    }
                }
            }
        }
    }

    /// y.
    pub fn forward(&self, x: &[f64], w: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; self.y.iter().product()];
        self.each_product(|of_x, of_w, of_y| y[of_y] += x[of_x] * w[of_w]);
        y
    }

    /// The gradient of x.
    pub fn backward_data(&self, w: &[f64], dy: &[f64]) -> Vec<f64> {
        let mut dx = vec![0.0; self.x.iter().product()];
        self.each_product(|of_x, of_w, of_y| dx[of_x] += w[of_w] * dy[of_y]);
        dx
    }

    /// The gradient of w.
    pub fn backward_filter(&self, x: &[f64], dy: &[f64]) -> Vec<f64> {
        let mut dw = vec![0.0; self.w.iter().product()];
        self.each_product(|of_x, of_w, of_y| dw[of_w] += x[of_x] * dy[of_y]);
        dw
    }
}
