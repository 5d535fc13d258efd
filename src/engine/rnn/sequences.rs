//! Sequences of different lengths, packed: only steps that exist take memory and time.
//!
//! Sequences are sorted by length, longest first, so that those that reach step t are the first
//! `active[t]` ones. Row `starts[t] + s` of a packed buffer is step t of the s-th longest sequence.

use std::ops::Range;

use crate::tensor::{Layout, Real, TensorMut, TensorRef};

/// A batch of sequences in packed rows.
#[derive(Clone, Debug)]
pub(super) struct Sequences {
    /// The sequence of the batch that comes s-th.
    order: Vec<usize>,
    /// How many sequences reach each step.
    active: Vec<usize>,
    /// The row of each step's first sequence.
    starts: Vec<usize>,
}

/// One step of a walk along the sequences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Rows of this step.
    pub start: usize,
    /// How many.
    pub count: usize,
    /// Rows of the step before it on the walk; none at its beginning.
    pub previous: usize,
    /// Sequences that were walking already; the others, up to `count`, begin with this step.
    pub kept: usize,
}

impl Sequences {
    pub fn new(lengths: &[usize], steps: usize) -> Sequences {
        assert!(lengths.iter().all(|&length| length <= steps), "lengths {lengths:?}, {steps} steps");
        let mut order = (0..lengths.len()).collect::<Vec<_>>();
        order.sort_by_key(|&sequence| std::cmp::Reverse(lengths[sequence]));
        let longest = order.first().map_or(0, |&sequence| lengths[sequence]);
        let reach = |step: usize| order.partition_point(|&sequence| lengths[sequence] > step);
        let active = (0..longest).map(reach).collect::<Vec<_>>();
        let mut end = 0;
        let start = |&count: &usize| {
            end += count;
            end - count
        };
        let starts = active.iter().map(start).collect();
        Sequences { order, active, starts }
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.active.iter().sum()
    }

    /// How many sequences, those of no steps included.
    pub fn batch(&self) -> usize {
        self.order.len()
    }

    /// The steps in the order that a direction (0: forwards, 1: backwards in time) walks them.
    pub fn walk(&self, direction: usize) -> Vec<Step> {
        let longest = self.active.len();
        let step = |position: usize| {
            let time = if direction == 0 { position } else { longest - 1 - position };
            let previous = if direction == 0 { time.wrapping_sub(1) } else { time + 1 };
            let (start, count) = (self.starts[time], self.active[time]);
            match self.active.get(previous) {
                Some(&active) => {
                    Step { start, count, previous: self.starts[previous], kept: count.min(active) }
                }
                None => Step { start, count, previous: 0, kept: 0 },
            }
        };
        (0..longest).map(step).collect()
    }

    /// The row in which a direction ends the s-th longest sequence; none if it has no steps.
    fn last_row(&self, direction: usize, position: usize) -> Option<usize> {
        let length = self.active.partition_point(|&active| active > position);
        let time = if direction == 0 { length.checked_sub(1)? } else { 0 };
        (length > 0).then(|| self.starts[time] + position)
    }

    /// The steps of each sequence: (step, its rows).
    fn times(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        self.starts.iter().zip(&self.active).map(|(&start, &active)| start..start + active).enumerate()
    }

    /// Every row: (row, step, sequence of the batch).
    pub fn each_row(&self) -> impl Iterator<Item = [usize; 3]> {
        self.times()
            .flat_map(|(time, rows)| rows.zip(&self.order).map(move |(row, &sequence)| [row, time, sequence]))
    }

    /// Packs columns of a tensor `[steps, batch, width]`.
    pub fn gather<R: Real>(&self, tensor: TensorRef<'_, R>, columns: Range<usize>) -> Vec<R> {
        let mut rows = vec![R::ZERO; self.rows() * columns.len()];
        if columns.is_empty() {
            return rows;
        }
        for ([_, time, sequence], target) in self.each_row().zip(rows.chunks_exact_mut(columns.len())) {
            read_run(tensor, [time, sequence, columns.start], target);
        }
        rows
    }

    /// Writes packed rows to columns of a tensor `[steps, batch, width]`; steps beyond a sequence's length
    /// stay as they are.
    pub fn scatter<R: Real>(&self, rows: &[R], width: usize, tensor: &mut TensorMut<'_, R>, column: usize) {
        if width == 0 {
            return;
        }
        for ([_, time, sequence], source) in self.each_row().zip(rows.chunks_exact(width)) {
            write_run(source, tensor, [time, sequence, column]);
        }
    }

    /// Zeros at the steps of `[steps, batch, width]` beyond each sequence's length.
    pub fn clear_rest<R: Real>(&self, tensor: &mut TensorMut<'_, R>) {
        let zeros = vec![R::ZERO; tensor.layout.dims()[2]];
        for time in 0..tensor.layout.dims()[0] {
            let active = self.active.get(time).copied().unwrap_or(0);
            for &sequence in &self.order[active..] {
                write_run(&zeros, tensor, [time, sequence, 0]);
            }
        }
    }

    /// The states of one pseudo layer of a tensor `[pseudo layers, batch, width]`, longest sequence first;
    /// zeros without a tensor.
    pub fn gather_state<R: Real>(
        &self,
        tensor: Option<TensorRef<'_, R>>,
        pseudo_layer: usize,
        width: usize,
    ) -> Vec<R> {
        let mut states = vec![R::ZERO; self.batch() * width];
        if let (Some(tensor), true) = (tensor, width > 0) {
            for (&sequence, target) in self.order.iter().zip(states.chunks_exact_mut(width)) {
                read_run(tensor, [pseudo_layer, sequence, 0], target);
            }
        }
        states
    }

    /// Writes one pseudo layer of a tensor `[pseudo layers, batch, width]`.
    pub fn scatter_state<R: Real>(
        &self,
        states: &[R],
        width: usize,
        tensor: Option<&mut TensorMut<'_, R>>,
        pseudo_layer: usize,
    ) {
        if let (Some(tensor), true) = (tensor, width > 0) {
            for (&sequence, source) in self.order.iter().zip(states.chunks_exact(width)) {
                write_run(source, tensor, [pseudo_layer, sequence, 0]);
            }
        }
    }

    /// What a direction leaves behind: each sequence's last row on its walk, or its initial state.
    pub fn last_states<R: Real>(&self, rows: &[R], initial: &[R], width: usize, direction: usize) -> Vec<R> {
        let mut states = initial.to_vec();
        for position in 0..self.batch() {
            if let Some(row) = self.last_row(direction, position) {
                states[position * width..(position + 1) * width]
                    .copy_from_slice(&rows[row * width..(row + 1) * width]);
            }
        }
        states
    }

    /// For each row the state that its step began with: that of the step before on the walk, or the
    /// initial one.
    pub fn earlier_states<R: Real>(
        &self,
        rows: &[R],
        initial: &[R],
        width: usize,
        direction: usize,
    ) -> Vec<R> {
        let mut earlier = vec![R::ZERO; rows.len()];
        for step in self.walk(direction) {
            let target = &mut earlier[step.start * width..(step.start + step.count) * width];
            let (kept, begun) = target.split_at_mut(step.kept * width);
            kept.copy_from_slice(&rows[step.previous * width..(step.previous + step.kept) * width]);
            begun.copy_from_slice(&initial[step.kept * width..step.count * width]);
        }
        earlier
    }
}

/// The rows of a step, to write, and those of the step before it on the walk, to read.
pub(super) fn neighbours<R>(buffer: &mut [R], width: usize, step: Step) -> (&[R], &mut [R]) {
    let (start, previous) = (step.start * width, step.previous * width);
    if step.kept == 0 {
        (&[], &mut buffer[start..start + step.count * width])
    } else if step.previous < step.start {
        let (before, rest) = buffer.split_at_mut(start);
        (&before[previous..previous + step.kept * width], &mut rest[..step.count * width])
    } else {
        let (before, rest) = buffer.split_at_mut(previous);
        (&rest[..step.kept * width], &mut before[start..start + step.count * width])
    }
}

fn read_run<R: Real>(tensor: TensorRef<'_, R>, index: [usize; 3], target: &mut [R]) {
    let (place, stride) = run(&tensor.layout, index);
    if stride == 1 {
        target.copy_from_slice(&tensor.data[place..place + target.len()]);
    } else {
        for (position, element) in target.iter_mut().enumerate() {
            *element = tensor.data[place + position * stride];
        }
    }
}

fn write_run<R: Real>(source: &[R], tensor: &mut TensorMut<'_, R>, index: [usize; 3]) {
    let (place, stride) = run(&tensor.layout, index);
    if stride == 1 {
        tensor.data[place..place + source.len()].copy_from_slice(source);
    } else {
        for (position, &element) in source.iter().enumerate() {
            tensor.data[place + position * stride] = element;
        }
    }
}

/// Where a run along the last axis begins, and its stride.
fn run(layout: &Layout, index: [usize; 3]) -> (usize, usize) {
    (layout.place(&index), layout.strides()[2])
}
