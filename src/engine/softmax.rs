//! Softmax over channels or over whole instances.
//!
//! The elements that are normalised together are a group. Tiles of several groups are gathered, normalised
//! where they fit the cache, and written out. Sums are accumulated in double precision.

#![allow(unsafe_code)]

mod tile;

use crate::gemm::block_raw::SharedOutput;
use crate::pointwise::scatter_raw::write_run;
use crate::pointwise::walk::Walk;
use crate::pointwise::widest_raw::on_widest;
use crate::tensor::{Layout, Real, TensorMut, TensorRef};
use crate::threads;
use tile::{Across, Backward, Forward, Shape};

/// `cudnnSoftmaxAlgorithm_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftmaxAlgorithm {
    /// eˣ/Σeˣ as it stands: overflows for large x.
    Fast,
    /// The same after the greatest x has been subtracted.
    Accurate,
    /// Its logarithm.
    Log,
}

/// `cudnnSoftmaxMode_t`: what is normalised together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftmaxMode {
    /// All elements of one n.
    Instance,
    /// The channels at each place of each n.
    Channel,
}

/// y ← softmax(x): with m the greatest of a group (0 for `Fast`) and s = Σ e^(x−m) over it,
/// y = e^(x−m)/s, for `Log` y = x − m − ln s.
///
/// Axis 0 is n, axis 1 is c. A NaN or nothing but −∞ makes a group's result NaN; so does ∞, but for `Fast`,
/// where its own share is NaN and the others' are 0.
///
/// Source: `cudnnSoftmaxForward`,
/// <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html>.
///
/// # Panics
/// If sizes differ, there are fewer than two axes, or elements of y share a place: bugs of the caller.
pub fn softmax<R: Real>(
    algorithm: SoftmaxAlgorithm,
    mode: SoftmaxMode,
    x: TensorRef<'_, R>,
    y: TensorMut<'_, R>,
) {
    each_tile(mode, [x], y, |shape, [values]| on_widest(Forward { algorithm, shape, values }));
}

/// The gradient of [`softmax`], from its result y and the gradient dy of that:
/// dx ← y·(dy − Σ dy·y), for `Log` dx ← dy − eʸ·Σ dy, sums over the group.
///
/// Source: `cudnnSoftmaxBackward`,
/// <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html>.
///
/// # Panics
/// As [`softmax`].
pub fn softmax_backward<R: Real>(
    algorithm: SoftmaxAlgorithm,
    mode: SoftmaxMode,
    y: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    dx: TensorMut<'_, R>,
) {
    each_tile(mode, [dy, y], dx, |shape, [values, y]| on_widest(Backward { algorithm, shape, y, values }));
}

/// About how many elements a tile has.
const TILE: usize = 16_384;
/// Groups side by side are taken as many at a time, at least.
const NARROW: usize = 16;

/// The axes of a group and those between groups, widest stride first.
struct Axes {
    between: Vec<usize>,
    within: Vec<usize>,
}

impl Axes {
    fn of(mode: SoftmaxMode, layout: &Layout) -> Axes {
        let (mut within, mut between): (Vec<usize>, Vec<usize>) =
            (0..layout.rank()).partition(|&axis| axis == 1 || (axis > 1 && mode == SoftmaxMode::Instance));
        for axes in [&mut within, &mut between] {
            axes.sort_by_key(|&axis| std::cmp::Reverse(layout.strides()[axis]));
        }
        Axes { between, within }
    }
}

/// The ways through one tensor.
struct Ways {
    between: Walk,
    within: Walk,
}

/// A run of a tile's elements that lie equally far apart in a tensor.
struct TileRun {
    /// Elements of the tile before.
    offset: usize,
    /// Where the first lies in the tensor.
    place: usize,
    /// From place to place.
    step: usize,
    /// How many.
    length: usize,
}

impl Ways {
    fn of(axes: &Axes, layout: &Layout) -> Ways {
        let walk = |axes: &[usize]| Walk::new(axes, layout.dims(), layout.strides());
        Ways { between: walk(&axes.between), within: walk(&axes.within) }
    }

    /// Visits a tile that begins with this group, in the order in which it is stored.
    fn visit(&self, shape: Shape, first: usize, mut visit: impl FnMut(TileRun)) {
        let (outer, inner, outer_first, inner_first) = match shape.across {
            Across::Rows => (&self.between, &self.within, first, 0),
            Across::Columns => (&self.within, &self.between, 0, first),
        };
        let (outer_count, inner_count) = shape.sizes();
        let mut outer = outer.at(outer_first);
        let start = inner.at(inner_first);
        for line in 0..outer_count {
            let base = outer.run(1).place;
            let mut offset = line * inner_count;
            start.clone().take(inner_count, |run| {
                let place = base + run.place;
                visit(TileRun { offset, place, step: inner.step(), length: run.length });
                offset += run.length;
            });
            outer.advance(1);
        }
    }

    fn gather<R: Real>(&self, shape: Shape, first: usize, data: &[R], tile: &mut [R]) {
        self.visit(shape, first, |TileRun { offset, place, step, length }| {
            let tile = &mut tile[offset..offset + length];
            match step {
                0 => tile.fill(data[place]),
                1 => tile.copy_from_slice(&data[place..place + length]),
                _ => {
                    for (value, &element) in tile.iter_mut().zip(data[place..].iter().step_by(step)) {
                        *value = element;
                    }
                }
            }
        });
    }
}

/// Gathers each tile of the inputs, lets `compute` change the first, and writes that one.
fn each_tile<R: Real, const N: usize>(
    mode: SoftmaxMode,
    inputs: [TensorRef<'_, R>; N],
    output: TensorMut<'_, R>,
    compute: impl Fn(Shape, [&mut [R]; N]) + Send + Sync,
) {
    let layout = output.layout;
    assert!(layout.rank() >= 2, "axes n and c of {layout:?}");
    assert!(layout.is_injective(), "elements of the output share a place: {layout:?}");
    for input in &inputs {
        assert!(input.layout.dims() == layout.dims(), "{:?} and {:?}", input.layout.dims(), layout.dims());
    }
    if layout.elements() == 0 {
        return;
    }
    let axes = Axes::of(mode, &layout);
    let input_ways = inputs.map(|input| Ways::of(&axes, &input.layout));
    let ways = Ways::of(&axes, &layout);
    let length: usize = axes.within.iter().map(|&axis| layout.dims()[axis]).product();
    let groups = layout.elements() / length;
    let (across, most) = if groups > 1 && length > 1 && ways.between.step() < ways.within.step() {
        (Across::Columns, (TILE / length / NARROW * NARROW).max(NARROW))
    } else {
        (Across::Rows, (TILE / length).max(1))
    };
    let shared = SharedOutput::new(output.data);
    threads::for_each(groups.div_ceil(most), |task| {
        let first = task * most;
        let shape = Shape { across, length, groups: most.min(groups - first) };
        let mut tiles = [(); N].map(|()| vec![R::ZERO; shape.groups * length]);
        for ((tile, ways), input) in tiles.iter_mut().zip(&input_ways).zip(&inputs) {
            ways.gather(shape, first, input.data, tile);
        }
        compute(shape, tiles.each_mut().map(Vec::as_mut_slice));
        ways.visit(shape, first, |TileRun { offset, place, step, length }| {
            // SAFETY: each group is one task's, and different elements have different places, as asserted.
            unsafe { write_run(&shared, place, step, &tiles[0][offset..offset + length]) };
        });
    });
}
