//! Tensors cut for depthwise convolutions: channels by [`LANES`], positions by tiles, each copied to scratch
//! memory with its channels side by side, whatever the tensor's layout.

use super::operand::{clear_run, copy_run};
use super::plan::{AXES, View};
use super::transpose_raw::transpose;
use crate::tensor::Real;

/// Channels that lie side by side: the widest register of the smallest type.
pub const LANES: usize = 16;

/// Channels of a tensor that are read side by side.
#[derive(Clone, Copy)]
pub struct Channels<'a, R> {
    /// The elements.
    pub data: &'a [R],
    /// Where they lie.
    pub view: View,
    /// Lanes in a row that read the same channel.
    pub repeats: usize,
}

/// What a copy holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Anything: zeros are to be written.
    Clear,
    /// Zeros where they belong.
    IsClear,
}

/// A box of positions, which may reach beyond the tensor.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// The image.
    pub image: usize,
    /// The first position.
    pub first: [isize; AXES],
    /// Positions along each axis.
    pub counts: [usize; AXES],
}

impl Region {
    /// Elements of its copy.
    pub fn elements(&self) -> usize {
        self.counts.iter().product::<usize>() * LANES
    }
}

/// Where the lanes of a copy come from: places of each lane's image.
struct Lanes {
    places: [usize; LANES],
    count: usize,
    /// The farthest of them.
    farthest: usize,
    /// Whether they lie next to each other.
    together: bool,
}

impl<R: Real> Channels<'_, R> {
    /// Copies lanes `lanes` of a region to `copy`, position by position, [`LANES`] elements each, zeros
    /// outside the tensor. Lanes that are not asked for are left, or cleared where all is.
    pub fn copy(&self, lanes: std::ops::Range<usize>, region: Region, padding: Padding, copy: &mut [R]) {
        let view = &self.view;
        let place = |lane: usize| {
            region.image * view.image_stride + (lanes.start + lane) / self.repeats * view.channel_stride
        };
        let count = lanes.len();
        let places: [usize; LANES] = std::array::from_fn(|lane| place(lane.min(count - 1)));
        let together = places[..count].windows(2).all(|pair| pair[1] == pair[0] + 1);
        let farthest = places.into_iter().max().unwrap_or(0);
        let lanes = Lanes { places, count, farthest, together };
        let [depths, rows, columns] = region.counts;
        let (heights, width, size) = if self.is_one_run(&region) {
            (1, rows * columns, rows * columns)
        } else {
            (rows, columns, view.sizes[2])
        };
        // Columns `before..until` lie inside.
        let before = ((-region.first[2]).max(0) as usize).min(width);
        let until = (size as isize - region.first[2]).clamp(before as isize, width as isize) as usize;
        let column = region.first[2].max(0) as usize * view.strides[2];
        let inside = |axis: usize, step: usize| {
            let index = region.first[axis] + step as isize;
            (0..view.sizes[axis] as isize).contains(&index).then(|| index as usize * view.strides[axis])
        };
        let mut rows = copy.chunks_exact_mut(width * LANES);
        for d in 0..depths {
            for h in 0..heights {
                let Some(row) = rows.next() else { unreachable!("the copy has a row for each") };
                match (inside(0, d), inside(1, h)) {
                    (Some(d), Some(h)) if before < until => {
                        self.run(&lanes, d + h + column, &mut row[before * LANES..until * LANES]);
                        if padding == Padding::Clear {
                            clear_run(&mut row[..before * LANES]);
                            clear_run(&mut row[until * LANES..]);
                        }
                    }
                    _ if padding == Padding::Clear => clear_run(row),
                    _ => {}
                }
            }
        }
    }

    /// Whether the rows of a region are whole rows of the tensor without a gap between them.
    fn is_one_run(&self, region: &Region) -> bool {
        let (view, [_, heights, width]) = (&self.view, region.counts);
        let rows = 0..=view.sizes[1] as isize - heights as isize;
        region.first[2] == 0
            && width == view.sizes[2]
            && view.strides[1] == width * view.strides[2]
            && rows.contains(&region.first[1])
    }

    /// Copies a run of columns, the first `place` elements from each lane's start.
    fn run(&self, lanes: &Lanes, place: usize, run: &mut [R]) {
        let stride = self.view.strides[2];
        let columns = run.len() / LANES;
        if lanes.together {
            let first = lanes.places[0] + place;
            for (column, target) in run.chunks_exact_mut(LANES).enumerate() {
                let source = &self.data[first + column * stride..];
                match lanes.count {
                    LANES => target.copy_from_slice(&source[..LANES]),
                    count => copy_run(&source[..count], &mut target[..count]),
                }
            }
        } else if stride == 1 || columns == 1 {
            let rows = lanes.places.map(|lane| lane + place);
            transpose(self.data, &rows[..lanes.count], lanes.farthest + place, run);
        } else {
            for (column, target) in run.chunks_exact_mut(LANES).enumerate() {
                let place = place + column * stride;
                for (target, lane) in target.iter_mut().zip(&lanes.places[..lanes.count]) {
                    *target = self.data[lane + place];
                }
            }
        }
    }
}
