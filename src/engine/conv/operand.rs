//! The operands of the products that convolutions are made of.

use std::ops::Range;

use super::plan::Grid;
use crate::tensor::Real;

/// A few rows of the left operand over a stretch of the depth.
#[derive(Clone, Copy)]
pub struct Panel<'a, R> {
    /// The elements.
    pub data: &'a [R],
    /// Elements from row to row.
    pub row_stride: usize,
    /// Elements from one depth to the next.
    pub depth_stride: usize,
}

/// A matrix of lines (rows of the left operand, or columns of the right) over a depth, one per group.
pub trait Operand<R>: Sync {
    /// These rows over this depth, as they lie or in `scratch` (rows × depth elements).
    fn rows<'s>(
        &'s self,
        group: usize,
        rows: Range<usize>,
        depth: Range<usize>,
        scratch: &'s mut [R],
    ) -> Panel<'s, R>;

    /// `panel[(l − l₀)·pitch + j − j₀]` for these columns over this depth; the rest of the panel is left.
    fn columns(
        &self,
        group: usize,
        columns: Range<usize>,
        depth: Range<usize>,
        pitch: usize,
        panel: &mut [R],
    );
}

/// Where indices lie.
#[derive(Clone, Debug)]
pub enum Places {
    /// Evenly spaced.
    Every(usize),
    /// At these places.
    Table(Vec<usize>),
    /// At the places of a grid's positions.
    Grid(Grid),
}

impl Places {
    /// The places of a range, after clearing `places`.
    pub fn list(&self, range: Range<usize>, places: &mut Vec<usize>) {
        places.clear();
        match self {
            Places::Every(stride) => places.extend(range.map(|index| index * stride)),
            Places::Table(table) => places.extend_from_slice(&table[range]),
            Places::Grid(grid) => grid.places(range, places),
        }
    }
}

/// Fills `target` with the elements at `place`, `place + stride`, …
#[inline]
pub fn copy_strided<R: Real>(data: &[R], place: usize, stride: usize, target: &mut [R]) {
    match stride {
        _ if target.is_empty() => {}
        0 => target.fill(data[place]),
        1 => target.copy_from_slice(&data[place..place + target.len()]),
        _ => {
            let source = data[place..].iter().step_by(stride);
            target.iter_mut().zip(source).for_each(|(target, &source)| *target = source);
        }
    }
}

/// A matrix in memory: element (line i, depth l) at `i·line_stride + places[l]`.
pub struct Matrix<'a, R> {
    /// The elements.
    pub data: &'a [R],
    /// Elements from group to group.
    pub group_stride: usize,
    /// Elements from line to line.
    pub line_stride: usize,
    /// Where the depths lie.
    pub depth: Places,
}

impl<R: Real> Matrix<'_, R> {
    /// `out[(l − l₀)·pitch + i − i₀]`.
    fn pack(&self, group: usize, lines: Range<usize>, depth: Range<usize>, pitch: usize, out: &mut [R]) {
        if lines.is_empty() || depth.is_empty() {
            return;
        }
        let mut places = Vec::new();
        self.depth.list(depth, &mut places);
        let data = &self.data[group * self.group_stride + lines.start * self.line_stride..];
        let (count, stride) = (lines.len(), self.line_stride);
        for (target, &place) in out.chunks_mut(pitch).zip(&places) {
            copy_strided(data, place, stride, &mut target[..count]);
        }
    }
}

impl<R: Real> Operand<R> for Matrix<'_, R> {
    fn rows<'s>(
        &'s self,
        group: usize,
        rows: Range<usize>,
        depth: Range<usize>,
        scratch: &'s mut [R],
    ) -> Panel<'s, R> {
        let pitch = rows.len();
        self.pack(group, rows, depth, pitch, scratch);
        Panel { data: scratch, row_stride: 1, depth_stride: pitch }
    }

    fn columns(
        &self,
        group: usize,
        columns: Range<usize>,
        depth: Range<usize>,
        pitch: usize,
        panel: &mut [R],
    ) {
        self.pack(group, columns, depth, pitch, panel);
    }
}
