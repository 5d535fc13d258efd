//! Writes every element of an output, piece by piece.

#![allow(unsafe_code)]

use std::ops::Range;

use super::nest::{At, Nest};
use super::operand::run;
use super::wide_raw::{line, store};
use crate::gemm::block_raw::SharedOutput;
use crate::tensor::{Layout, MAX_RANK, Real, TensorMut};
use crate::threads;

/// `body(state, at, y)` fills each piece of `y`, the last of the operands that `at` tells the places of.
pub fn fill<R: Real, const K: usize, State>(
    y: TensorMut<'_, R>,
    operands: [&Layout; K],
    state: impl Fn() -> State + Send + Sync,
    body: impl Fn(&mut State, At<K>, &mut [R]) + Send + Sync,
) {
    assert!(*operands[K - 1] == y.layout, "the last operand is the output");
    assert!(y.layout.is_injective(), "elements of the output share a place: {:?}", y.layout);
    let nest = Nest::new(y.layout.dims(), operands);
    let output = SharedOutput::new(y.data);
    nest.for_each(
        1,
        || (state(), Vec::new()),
        |(state, buffer), at, length| {
            let (place, stride) = (at.places[K - 1], at.strides[K - 1]);
            if stride == 1 || length == 1 {
                // SAFETY: pieces are different elements of an output in which no two share a place.
                return body(state, at, unsafe { line(&output, place, length) });
            }
            buffer.resize(length, R::ZERO);
            body(state, at, buffer);
            // SAFETY: as above.
            unsafe { store(&output, place, stride, buffer) };
        },
    );
}

/// `body(state, index, line)` fills each line of `y` along `axis`; `index` is that of the line's first element.
/// A task fills `bundle` lines.
pub fn fill_lines<R: Real, State>(
    y: TensorMut<'_, R>,
    axis: usize,
    bundle: usize,
    state: impl Fn() -> State + Send + Sync,
    body: impl Fn(&mut State, &[usize], &mut [R]) + Send + Sync,
) {
    let layout = y.layout;
    assert!(layout.is_injective(), "elements of the output share a place: {layout:?}");
    if layout.dims().contains(&0) {
        return;
    }
    let mut dims = [1; MAX_RANK];
    dims[..layout.rank()].copy_from_slice(layout.dims());
    let (length, stride) = (dims[axis], layout.strides()[axis]);
    dims[axis] = 1;
    let starts = Layout::new(&dims[..layout.rank()], layout.strides());
    let (lines, bundle) = (starts.elements(), bundle.max(1));
    let output = SharedOutput::new(y.data);
    threads::for_each(lines.div_ceil(bundle), |task| {
        let (mut state, mut buffer) = (state(), Vec::new());
        for number in task * bundle..((task + 1) * bundle).min(lines) {
            let index = &starts.index_of(number)[..layout.rank()];
            let place = layout.place(index);
            if stride == 1 || length == 1 {
                // SAFETY: lines are different elements of an output in which no two share a place.
                body(&mut state, index, unsafe { line(&output, place, length) });
                continue;
            }
            buffer.resize(length, R::ZERO);
            body(&mut state, index, &mut buffer);
            // SAFETY: as above.
            unsafe { store(&output, place, stride, &buffer) };
        }
    });
}

/// `body(state, n, channels, block)` fills all spatial places of a few channels of one n of `y` [N, C, …]:
/// `block` is packed, its channels innermost, and 0 at first. A task fills `width` channels or fewer.
pub fn fill_blocks<R: Real, State>(
    y: TensorMut<'_, R>,
    width: usize,
    state: impl Fn() -> State + Send + Sync,
    body: impl Fn(&mut State, usize, Range<usize>, &mut [R]) + Send + Sync,
) {
    let layout = y.layout;
    assert!(layout.is_injective(), "elements of the output share a place: {layout:?}");
    if layout.dims().contains(&0) {
        return;
    }
    let (channels, strides) = (layout.dims()[1], layout.strides());
    let blocks = channels.div_ceil(width);
    let output = SharedOutput::new(y.data);
    threads::for_each(layout.dims()[0] * blocks, |task| {
        let (n, first) = (task / blocks, task % blocks * width);
        let range = first..(first + width).min(channels);
        let mut block = vec![R::ZERO; layout.elements() / layout.dims()[0] / channels * range.len()];
        body(&mut state(), n, range.clone(), &mut block);
        let spatial = layout.rank() - 2;
        let mut own = [range.len(); MAX_RANK];
        own[..spatial].copy_from_slice(&layout.dims()[2..]);
        let mut to = [strides[1]; MAX_RANK];
        to[..spatial].copy_from_slice(&strides[2..]);
        let target = Layout::new(&own[..=spatial], &to[..=spatial]);
        // SAFETY: blocks are different elements of an output in which no two share a place.
        unsafe { store_block(&output, n * strides[0] + first * strides[1], &target, &block) };
    });
}

/// `body(state, at, count, stack)` fills all channels of up to `width` neighbouring spatial places of `y`
/// [N, C, …], the last of the operands, which all have its sizes. `at` tells where the first channel of each
/// lies, with the strides from place to place; `stack` is C packed lines of `count` elements.
pub fn fill_stacks<R: Real, const K: usize, State>(
    y: TensorMut<'_, R>,
    operands: [&Layout; K],
    width: usize,
    state: impl Fn() -> State + Send + Sync,
    body: impl Fn(&mut State, At<K>, usize, &mut [R]) + Send + Sync,
) {
    let layout = y.layout;
    assert!(
        operands.iter().all(|operand| operand.dims() == layout.dims()),
        "{operands:?} are not of one size"
    );
    assert!(*operands[K - 1] == layout, "the last operand is the output");
    assert!(layout.is_injective(), "elements of the output share a place: {layout:?}");
    let (channels, channel_stride) = (layout.dims()[1], layout.strides()[1]);
    if channels == 0 {
        return;
    }
    let first_channel = |operand: &Layout| {
        let mut dims = [1; MAX_RANK];
        dims[..operand.rank()].copy_from_slice(operand.dims());
        dims[1] = 1;
        Layout::new(&dims[..operand.rank()], operand.strides())
    };
    let firsts = operands.map(first_channel);
    let nest = Nest::with_pieces(width, firsts[0].dims(), std::array::from_fn(|k| &firsts[k]));
    let output = SharedOutput::new(y.data);
    let state = || (state(), Vec::new());
    nest.for_each(channels, state, |(state, stack), at, count| {
        stack.resize(channels * count, R::ZERO);
        body(state, at, count, stack);
        let target = Layout::new(&[channels, count], &[channel_stride, at.strides[K - 1]]);
        // SAFETY: stacks are different elements of an output in which no two share a place.
        unsafe { store_block(&output, at.places[K - 1], &target, stack) };
    });
}

/// Writes a packed block to where `target` says, counted from `start`.
///
/// # Safety
/// Meanwhile nothing else touches these elements.
unsafe fn store_block<R: Real>(output: &SharedOutput<'_, R>, start: usize, target: &Layout, block: &[R]) {
    let packed = Layout::packed(target.dims());
    let nest = Nest::new(target.dims(), [target, &packed]);
    let mut buffer = Vec::new();
    nest.outer.walk(0..nest.outer.count(), |piece| {
        let (at, length) = (nest.at(piece), nest.length(piece));
        let values = run(block, at, 1, length, &mut buffer);
        let place = start + at.places[0];
        if at.strides[0] == 1 || length == 1 {
            // SAFETY: forwarded.
            unsafe { line(output, place, length) }.copy_from_slice(values);
        } else {
            // SAFETY: forwarded.
            unsafe { store(output, place, at.strides[0], values) };
        }
    });
}
