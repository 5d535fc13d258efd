//! Geometry: the three directions as sums over taps.
//!
//! Forward and backward data are both `out[o] = Σ_t w_t · in[o·step + offset_t]`, reading 0 outside the
//! input. Forward has a tap for each place of the filter. Backward data with stride s falls apart into s
//! phases per axis, positions i ≡ a (mod s) of dx: each reads dy with step 1 and only the taps f with
//! i + pad − f·dilation divisible by s.

use super::{Conv, Filtering};
use crate::tensor::Layout;

/// Spatial axes; fewer are widened by leading axes of size 1.
pub const AXES: usize = 3;

/// A tensor [N, C, spatial…] with its spatial axes widened to three.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Images.
    pub images: usize,
    /// Elements from image to image.
    pub image_stride: usize,
    /// Channels, of all groups.
    pub channels: usize,
    /// Elements from channel to channel.
    pub channel_stride: usize,
    /// Spatial sizes.
    pub sizes: [usize; AXES],
    /// Elements between spatial neighbours.
    pub strides: [usize; AXES],
}

impl View {
    /// The view of a layout of rank 3 to 5.
    pub fn of(layout: &Layout) -> View {
        let (dims, strides) = (layout.dims(), layout.strides());
        let spatial = dims.len() - 2;
        View {
            images: dims[0],
            image_stride: strides[0],
            channels: dims[1],
            channel_stride: strides[1],
            sizes: widened(&dims[2..], spatial, 1),
            strides: widened(&strides[2..], spatial, 0),
        }
    }

    /// Whether channels lie next to each other and columns do not.
    pub fn is_channels_last(&self) -> bool {
        self.channel_stride == 1 && self.channels > 1 && (self.strides[2] != 1 || self.sizes[2] == 1)
    }

    /// Sizes and strides of images and spatial axes: a position's place without its channel.
    pub fn grid(&self) -> Grid {
        let [depth, height, width] = self.strides;
        Grid {
            counts: [self.images, self.sizes[0], self.sizes[1], self.sizes[2]],
            strides: [self.image_stride, depth, height, width],
        }
    }
}

/// The `spatial` values that count, behind as many of `fill` as three axes leave.
fn widened<T: Copy>(values: &[T], spatial: usize, fill: T) -> [T; AXES] {
    let mut all = [fill; AXES];
    all[AXES - spatial..].copy_from_slice(&values[..spatial]);
    all
}

/// Positions (image, depth, row, column), the last fastest, and the places they lie at.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// How many along each axis.
    pub counts: [usize; 4],
    /// Elements between neighbours.
    pub strides: [usize; 4],
}

impl Grid {
    /// How many positions.
    pub fn len(&self) -> usize {
        self.counts.iter().product()
    }

    /// The coordinates of a position.
    pub fn coordinates(&self, mut position: usize) -> [usize; 4] {
        let mut at = [0; 4];
        for axis in (0..4).rev() {
            at[axis] = position % self.counts[axis];
            position /= self.counts[axis];
        }
        at
    }

    /// Calls `run(first, coordinates, length)` for the longest runs of `range` that stay in one row;
    /// `first` counts from the start of the range.
    pub fn runs(&self, range: std::ops::Range<usize>, mut run: impl FnMut(usize, [usize; 4], usize)) {
        if range.is_empty() {
            return;
        }
        let mut at = self.coordinates(range.start);
        let mut position = range.start;
        while position < range.end {
            let length = (self.counts[3] - at[3]).min(range.end - position);
            run(position - range.start, at, length);
            position += length;
            at[3] = 0;
            for axis in (0..3).rev() {
                at[axis] += 1;
                if at[axis] < self.counts[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
    }

    /// The places of `range`, appended.
    pub fn places(&self, range: std::ops::Range<usize>, places: &mut Vec<usize>) {
        self.runs(range, |_, at, length| {
            let first: usize = at.iter().zip(self.strides).map(|(&index, stride)| index * stride).sum();
            places.extend((0..length).map(|step| first + step * self.strides[3]));
        });
    }
}

/// One place of the filter, and what it reads.
#[derive(Clone, Copy, Debug)]
pub struct Tap {
    /// Its place in the filter, channels aside.
    pub filter: usize,
    /// The input position is `o·step + offset` for output position o.
    pub offset: [isize; AXES],
}

/// A part of the output: all of it, or one phase.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Place of its first position in the output, channels aside.
    pub first: usize,
    /// What its taps' places in the filter are counted from.
    pub filter: usize,
}

/// `out[o] = Σ_t w_t · in[o·step + offset_t]` on parts of the output that differ in the w alone.
#[derive(Clone, Debug)]
pub struct Gather {
    /// The parts of the output that are computed alike.
    pub parts: Vec<Part>,
    /// A part's positions.
    pub output: Grid,
    /// Input positions from one output position to the next.
    pub step: [usize; AXES],
    /// The taps, last axis fastest.
    pub taps: Vec<Tap>,
}

/// A convolution's numbers for three spatial axes.
#[derive(Clone, Copy)]
struct Geometry {
    filtering: Filtering,
    pad: [usize; AXES],
    stride: [usize; AXES],
    dilation: [usize; AXES],
}

impl Geometry {
    fn of(conv: &Conv, rank: usize) -> Geometry {
        let spatial = rank - 2;
        Geometry {
            filtering: conv.filtering,
            pad: widened(&conv.pad, spatial, 0),
            stride: widened(&conv.stride, spatial, 1),
            dilation: widened(&conv.dilation, spatial, 1),
        }
    }

    /// The filter index that stands at step `f` of the window.
    fn filter_index(&self, f: usize, size: usize) -> usize {
        match self.filtering {
            Filtering::CrossCorrelation => f,
            Filtering::Convolution => size - 1 - f,
        }
    }
}

/// Along one axis: filter index and offset of each tap.
type Steps = Vec<(usize, isize)>;

/// Every combination of the axes' taps.
fn combine(axes: [Steps; AXES], w: &View) -> Vec<Tap> {
    let [depth, height, width] = axes;
    let mut taps = Vec::with_capacity(depth.len() * height.len() * width.len());
    for &(d, offset_d) in &depth {
        for &(h, offset_h) in &height {
            for &(v, offset_w) in &width {
                let filter = d * w.strides[0] + h * w.strides[1] + v * w.strides[2];
                taps.push(Tap { filter, offset: [offset_d, offset_h, offset_w] });
            }
        }
    }
    taps
}

/// Forward: the whole output at once.
pub fn forward(conv: &Conv, rank: usize, w: &View, y: &View) -> Gather {
    let geometry = Geometry::of(conv, rank);
    let axes = std::array::from_fn(|axis| {
        let size = w.sizes[axis];
        let offset = |f| (f * geometry.dilation[axis]) as isize - geometry.pad[axis] as isize;
        (0..size).map(|f| (geometry.filter_index(f, size), offset(f))).collect()
    });
    let parts = vec![Part { first: 0, filter: 0 }];
    Gather { parts, output: y.grid(), step: geometry.stride, taps: combine(axes, w) }
}

/// Backward data: the phases of dx.
pub fn backward(conv: &Conv, rank: usize, w: &View, dx: &View) -> Vec<Gather> {
    let geometry = Geometry::of(conv, rank);
    let mut phases = Vec::new();
    let counts: [usize; AXES] = std::array::from_fn(|axis| geometry.stride[axis].min(dx.sizes[axis]));
    for number in 0..counts.iter().product() {
        let phase = [number / (counts[1] * counts[2]), number / counts[2] % counts[1], number % counts[2]];
        let axes = std::array::from_fn(|axis| {
            let (size, stride) = (w.sizes[axis], geometry.stride[axis] as isize);
            let ahead =
                |f| (phase[axis] + geometry.pad[axis]) as isize - (f * geometry.dilation[axis]) as isize;
            let reaches = |f: &usize| ahead(*f) % stride == 0;
            let steps = (0..size).filter(reaches);
            steps.map(|f| (geometry.filter_index(f, size), ahead(f) / stride)).collect()
        });
        let mut output = dx.grid();
        let first = phase.iter().zip(dx.strides).map(|(&index, stride)| index * stride).sum();
        for (axis, &phase) in phase.iter().enumerate() {
            output.counts[axis + 1] = (dx.sizes[axis] - phase).div_ceil(geometry.stride[axis]);
            output.strides[axis + 1] *= geometry.stride[axis];
        }
        let parts = vec![Part { first, filter: 0 }];
        phases.push(Gather { parts, output, step: [1; AXES], taps: combine(axes, w) });
    }
    phases
}

impl Gather {
    /// Each part for itself.
    pub fn apart(&self) -> impl Iterator<Item = Gather> {
        self.parts.iter().map(|&part| Gather { parts: vec![part], ..self.clone() })
    }

    /// The same with the taps' places counted from the least of them.
    fn rebased(mut self) -> Gather {
        let base = self.taps.iter().map(|tap| tap.filter).min().unwrap_or(0);
        self.taps.iter_mut().for_each(|tap| tap.filter -= base);
        self.parts.iter_mut().for_each(|part| part.filter += base);
        self
    }

    /// Whether parts of both can be computed as one.
    fn is_like(&self, other: &Gather) -> bool {
        let alike = |(a, b): (&Tap, &Tap)| a.offset == b.offset && a.filter == b.filter;
        self.output.counts == other.output.counts
            && self.taps.len() == other.taps.len()
            && self.taps.iter().zip(&other.taps).all(alike)
    }
}

/// Phases whose taps read the same positions, put together: one matrix of windows serves them all.
pub fn merged(phases: Vec<Gather>) -> Vec<Gather> {
    let mut merged: Vec<Gather> = Vec::new();
    for phase in phases.into_iter().map(Gather::rebased) {
        match merged.iter_mut().find(|other| other.is_like(&phase)) {
            Some(other) => other.parts.extend(phase.parts),
            None => merged.push(phase),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_a_range_across_rows_and_images() {
        let grid = Grid { counts: [2, 1, 2, 3], strides: [100, 0, 10, 1] };
        let mut places = Vec::new();
        grid.places(1..9, &mut places);
        assert_eq!(places, [1, 2, 10, 11, 12, 100, 101, 102]);
    }

    #[test]
    fn phases_of_a_strided_gradient_share_out_the_taps() {
        let w = View::of(&Layout::packed(&[1, 1, 4]));
        let dx = View::of(&Layout::packed(&[1, 1, 5]));
        let conv = Conv {
            groups: 1,
            filtering: Filtering::CrossCorrelation,
            pad: [1, 0, 0],
            stride: [2, 1, 1],
            dilation: [1; 3],
        };
        let phases = backward(&conv, 3, &w, &dx);
        let taps =
            |phase: &Gather| phase.taps.iter().map(|tap| (tap.filter, tap.offset[2])).collect::<Vec<_>>();
        assert_eq!(phases.len(), 2);
        assert_eq!((taps(&phases[0]), phases[0].output.counts[3]), (vec![(1, 0), (3, -1)], 3));
        assert_eq!((taps(&phases[1]), phases[1].output.counts[3]), (vec![(0, 1), (2, 0)], 2));
    }

    #[test]
    fn phases_that_read_alike_are_put_together() {
        let w = View::of(&Layout::packed(&[1, 1, 16]));
        let dx = View::of(&Layout::packed(&[1, 1, 80]));
        let conv = Conv {
            groups: 1,
            filtering: Filtering::Convolution,
            pad: [4, 0, 0],
            stride: [8, 1, 1],
            dilation: [1; 3],
        };
        let merged = merged(backward(&conv, 3, &w, &dx));
        let parts: Vec<Vec<usize>> =
            merged.iter().map(|gather| gather.parts.iter().map(|part| part.first).collect()).collect();
        assert_eq!(parts, [[0, 1, 2, 3], [4, 5, 6, 7]]);
        assert_eq!(merged[0].parts.iter().map(|part| part.filter).collect::<Vec<_>>(), [3, 2, 1, 0]);
        assert_eq!(merged[0].taps.iter().map(|tap| tap.filter).collect::<Vec<_>>(), [8, 0]);
    }
}
