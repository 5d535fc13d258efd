//! Depthwise convolutions of planes that are too small to go along vector registers: channels do, copied
//! side by side [`LANES`] at a time, and the sums are copied back.

use super::direct::Direct;
use super::lanes::{Channels, LANES, Padding, Region};
use super::plan::{AXES, Tap};
use super::product_raw::write_run;
use super::transpose_raw::transpose_back;
use super::windows_raw::{Windows, sum_windows};
use crate::tensor::Real;
use crate::{scratch, threads};

/// The most output positions of an image.
const SMALL: usize = 256;
/// The most elements that are copied at a time.
const COPIED: usize = 1 << 14;
/// Multiplications of a task.
const WORTH: usize = 1 << 18;

/// The box of the input that an image's windows reach over: its first position and its sizes.
fn reached<R>(part: &Direct<'_, R>) -> ([isize; AXES], [usize; AXES]) {
    let gather = part.gather;
    let offsets = |axis: usize| gather.taps.iter().map(move |tap| tap.offset[axis]);
    let least = [0, 1, 2].map(|axis| offsets(axis).min().unwrap_or(0));
    let most = [0, 1, 2].map(|axis| offsets(axis).max().unwrap_or(0));
    let last = |axis: usize| gather.output.counts[axis + 1].saturating_sub(1) * gather.step[axis];
    (least, [0, 1, 2].map(|axis| last(axis) + (most[axis] - least[axis]) as usize + 1))
}

/// Whether [`run`] is the best for a part.
pub fn takes<R>(part: &Direct<'_, R>) -> bool {
    let positions: usize = part.gather.output.counts[1..].iter().product();
    let reached = reached(part).1.iter().fold(LANES, |all, &size| all.saturating_mul(size));
    part.input.channels == part.groups
        && part.output.channels >= LANES
        && (1..=SMALL).contains(&positions)
        && part.input.strides[2] <= 1
        && reached <= COPIED
}

/// Computes a part that [`takes`] accepts.
pub fn run<R: Real>(part: &Direct<'_, R>) {
    let (outputs, gather) = (part.output.channels, part.gather);
    let (taps, [images, depths, heights, columns]) = (gather.taps.len(), gather.output.counts);
    let (repeats, positions) = (outputs / part.groups, depths * heights * columns);
    let (first, sizes) = reached(part);
    let strides = [sizes[1] * sizes[2] * LANES, sizes[2] * LANES, LANES];
    let place =
        |tap: &Tap| (0..AXES).map(|axis| (tap.offset[axis] - first[axis]) as usize * strides[axis]).sum();
    let offsets: Vec<usize> = gather.taps.iter().map(place).collect();
    let steps = [0, 1, 2].map(|axis| gather.step[axis] * strides[axis]);
    let input = Channels { data: part.data, view: part.input, repeats };
    let (copied, sums) = (sizes.iter().product::<usize>() * LANES, positions * LANES);
    let [of_image, of_depth, of_row, of_column] = gather.output.strides;
    // A plane whose rows follow each other is written as one.
    let run = if depths == 1 && of_row == columns * of_column { positions } else { columns };
    let total = outputs.div_ceil(LANES) * images;
    let together = (WORTH / (sums * taps.max(1))).clamp(1, total.div_ceil(16).max(1));
    threads::for_each(total.div_ceil(together), |task| {
        scratch::with(copied + 2 * sums + taps * LANES, |scratch: &mut [R]| {
            scratch.fill(R::ZERO);
            let (copy, scratch) = scratch.split_at_mut(copied);
            let (weights, scratch) = scratch.split_at_mut(taps * LANES);
            let (out, planes) = scratch.split_at_mut(sums);
            for index in task * together..((task + 1) * together).min(total) {
                let (block, image) = (index / images, index % images);
                let lanes = block * LANES..((block + 1) * LANES).min(outputs);
                if image == 0 || index == task * together {
                    read_weights(part, lanes.clone(), weights);
                }
                let region = Region { image, first, counts: sizes };
                input.copy(lanes.clone(), region, Padding::IsClear, copy);
                let counts = [depths, heights, columns];
                let windows = Windows { input: copy, offsets: &offsets, steps, weights, counts };
                sum_windows(windows, out);
                transpose_back(out, planes);
                for (k, plane) in lanes.zip(planes.chunks_exact(positions)) {
                    let first = gather.parts[0].first + image * of_image + k * part.output.channel_stride;
                    for (row, sums) in plane.chunks_exact(run).enumerate() {
                        let first = first + row / heights * of_depth + row % heights * of_row;
                        write_run(part.shared, first, of_column, sums);
                    }
                }
            }
        });
    });
}

/// The factors of some output channels, [`LANES`] a tap.
fn read_weights<R: Real>(part: &Direct<'_, R>, outputs: std::ops::Range<usize>, weights: &mut [R]) {
    let (filter, repeats) = (&part.filter, part.output.channels / part.groups);
    for (weights, tap) in weights.chunks_exact_mut(LANES).zip(&part.gather.taps) {
        let place = part.gather.parts[0].filter + tap.filter;
        for (weight, k) in weights.iter_mut().zip(outputs.clone()) {
            *weight =
                filter.data[place + k / repeats * filter.group_stride + k % repeats * filter.out_stride];
        }
    }
}
