//! Backward filter of depthwise convolutions: `dw[k, t] = Σ_p dy[k, p]·x[c, p·step + offset_t]`, c being the
//! one input channel of k's group.
//!
//! Output channels are taken [`LANES`] at a time, positions tile by tile. Both operands of a tile are copied
//! with their channels side by side, x with its padding, so that the sums need know neither layouts nor
//! borders. Where channels lie together in memory as well, a task takes many of them tile by tile, so that it
//! reads what lies together at one time. Tiles are put together to spans, each with sums of its own that are added in order at the end;
//! all cuts follow from the shapes alone, so that nothing else changes a bit.

use super::correlate_raw::{Boxes, correlate};
use super::lanes::{Channels, LANES, Padding, Region};
use super::plan::{AXES, Gather, Tap, View};
use crate::tensor::Real;
use crate::{scratch, threads};

/// The most elements that are copied at a time: they stay in the second-level cache.
const COPIED: usize = 1 << 16;
/// The most elements of all channels of a tile where they lie together: they stay there as well.
const NEAR: usize = 1 << 17;
/// Multiplications that make a task worth handing out.
const WORTH: usize = 1 << 20;
/// Tasks that the work is cut into if each of them is worth it.
const TASKS: usize = 32;

/// The operands and how they are cut.
pub struct Gradient<'a, R> {
    x: Channels<'a, R>,
    dy: Channels<'a, R>,
    gather: &'a Gather,
    /// The most positions of a tile.
    tile: [usize; AXES],
    /// The least offset of any tap.
    least: [isize; AXES],
    /// Input positions from the first tap to the last.
    reach: [usize; AXES],
}

impl<'a, R: Real> Gradient<'a, R> {
    /// The gradient of a filter whose taps read x as the gather says for the positions of dy; `None` if they
    /// reach too far for a tile.
    ///
    /// # Panics
    /// If x has no channels, or those of dy are not a multiple of them.
    pub fn of(x: (&'a [R], View), dy: (&'a [R], View), gather: &'a Gather) -> Option<Gradient<'a, R>> {
        let repeats = dy.1.channels / x.1.channels;
        assert!(repeats * x.1.channels == dy.1.channels, "a depthwise convolution");
        let offsets = |axis: usize| gather.taps.iter().map(move |tap| tap.offset[axis]);
        let least = [0, 1, 2].map(|axis| offsets(axis).min().unwrap_or(0));
        let most = [0, 1, 2].map(|axis| offsets(axis).max().unwrap_or(0));
        let mut gradient = Gradient {
            x: Channels { data: x.0, view: x.1, repeats },
            dy: Channels { data: dy.0, view: dy.1, repeats: 1 },
            gather,
            tile: [1; AXES],
            least,
            reach: [0, 1, 2].map(|axis| (most[axis] - least[axis]) as usize),
        };
        for axis in (0..AXES).rev() {
            let (mut low, mut high) = (1, gather.output.counts[axis + 1].max(1));
            while low < high {
                gradient.tile[axis] = (low + high).div_ceil(2);
                let near = !gradient.is_channels_last() || gradient.copied() / LANES * dy.1.channels <= NEAR;
                if gradient.copied() <= COPIED && near {
                    low = gradient.tile[axis];
                } else {
                    high = gradient.tile[axis] - 1;
                }
            }
            gradient.tile[axis] = low;
        }
        (gradient.copied() <= COPIED).then_some(gradient)
    }

    /// Whether channels lie together in both operands.
    fn is_channels_last(&self) -> bool {
        self.x.view.is_channels_last() && self.dy.view.is_channels_last()
    }

    /// Positions of x that a tile's windows reach over.
    fn reached(&self, tile: [usize; AXES]) -> [usize; AXES] {
        [0, 1, 2].map(|axis| (tile[axis] - 1) * self.gather.step[axis] + self.reach[axis] + 1)
    }

    /// Elements of both copies of a full tile.
    fn copied(&self) -> usize {
        let positions = |counts: [usize; AXES]| counts.iter().fold(1usize, |all, &n| all.saturating_mul(n));
        positions(self.reached(self.tile)).saturating_add(positions(self.tile)).saturating_mul(LANES)
    }

    /// Writes dw: output channel k and tap t at `k·image_stride` and the tap's place.
    pub fn run(&self, dw: &mut [R], image_stride: usize) {
        let (outputs, taps) = (self.dy.view.channels, &self.gather.taps);
        let counts = self.gather.output.counts;
        let across = [0, 1, 2].map(|axis| counts[axis + 1].div_ceil(self.tile[axis]));
        let (blocks, tiles) = (outputs.div_ceil(LANES), counts[0] * across.iter().product::<usize>());
        let work = self.gather.output.len() * outputs.next_multiple_of(LANES) * taps.len();
        let tasks = (work / WORTH).clamp(1, TASKS);
        // Blocks of channels that a task takes, and spans of tiles.
        let together =
            if self.is_channels_last() { blocks.div_ceil(tasks.div_ceil(tiles.max(1))) } else { 1 };
        let spans = tasks.div_ceil(blocks.div_ceil(together)).min(tiles).max(1);
        let matrix = taps.len() * LANES;
        let mut sums = vec![R::ZERO; spans * blocks * matrix];
        let groups = blocks.div_ceil(together);
        let mut parts: Vec<&mut [R]> = Vec::with_capacity(spans * groups);
        for span in sums.chunks_mut(blocks * matrix) {
            parts.extend(span.chunks_mut(together * matrix));
        }
        threads::for_each_chunk(&mut parts, 1, |task, parts| {
            let (span, first) = (task / groups, task % groups * together);
            let tiles = span * tiles / spans..(span + 1) * tiles / spans;
            parts.iter_mut().for_each(|sums| self.sum(first, tiles.clone(), across, sums));
        });
        for k in 0..outputs {
            for (t, tap) in taps.iter().enumerate() {
                let first = k / LANES * matrix + t * LANES + k % LANES;
                let of_spans = sums[first..].iter().step_by(blocks * matrix);
                dw[k * image_stride + tap.filter] = of_spans.fold(R::ZERO, |sum, &part| sum + part);
            }
        }
    }

    /// Adds the products of some tiles to the sums of some blocks of output channels.
    fn sum(&self, block: usize, tiles: std::ops::Range<usize>, across: [usize; AXES], sums: &mut [R]) {
        let (matrix, outputs) = (self.gather.taps.len() * LANES, self.dy.view.channels);
        let per_image: usize = across.iter().product();
        // The padding of a tile that is the whole image is the same for every image and channel.
        let padding = if per_image == 1 { Padding::IsClear } else { Padding::Clear };
        scratch::with(self.copied(), |scratch: &mut [R]| {
            scratch.fill(R::ZERO);
            for tile in tiles {
                let (image, tile) = (tile / per_image, tile % per_image);
                let at = [tile / (across[1] * across[2]), tile / across[2] % across[1], tile % across[2]];
                let tile = self.tile(image, at);
                for (number, sums) in sums.chunks_mut(matrix).enumerate() {
                    let first = (block + number) * LANES;
                    let lanes = first..(first + LANES).min(outputs);
                    let (input, rest) = scratch.split_at_mut(tile.input.elements());
                    let gradient = &mut rest[..tile.gradient.elements()];
                    self.x.copy(lanes.clone(), tile.input, padding, input);
                    self.dy.copy(lanes, tile.gradient, padding, gradient);
                    let (offsets, steps, counts) = (&tile.offsets, tile.steps, tile.gradient.counts);
                    correlate(Boxes { input, offsets, steps, gradient, counts }, sums);
                }
            }
        });
    }

    /// The tile at these coordinates of an image.
    fn tile(&self, image: usize, at: [usize; AXES]) -> Tile {
        let step = self.gather.step;
        let first = [0, 1, 2].map(|axis| at[axis] * self.tile[axis]);
        let left = [0, 1, 2].map(|axis| self.gather.output.counts[axis + 1] - first[axis]);
        let counts = [0, 1, 2].map(|axis| self.tile[axis].min(left[axis]));
        let sizes = self.reached(counts);
        let origin = [0, 1, 2].map(|axis| (first[axis] * step[axis]) as isize + self.least[axis]);
        let strides = [sizes[1] * sizes[2] * LANES, sizes[2] * LANES, LANES];
        let place = |tap: &Tap| {
            (0..AXES).map(|axis| (tap.offset[axis] - self.least[axis]) as usize * strides[axis]).sum()
        };
        Tile {
            input: Region { image, first: origin, counts: sizes },
            gradient: Region { image, first: first.map(|index| index as isize), counts },
            offsets: self.gather.taps.iter().map(place).collect(),
            steps: [0, 1, 2].map(|axis| step[axis] * strides[axis]),
        }
    }
}

/// What is copied for a tile, and how the copies are read.
struct Tile {
    input: Region,
    gradient: Region,
    /// Where each tap's first position starts in the copy of the input.
    offsets: Vec<usize>,
    /// Elements of it from one position of the gradient to the next.
    steps: [usize; AXES],
}
