//! The operands of the products that convolutions are made of.

use std::ops::Range;

use super::plan::Grid;
use crate::gemm::micro_raw::Panel;
use crate::tensor::Real;

/// A matrix of lines (rows of the left operand, or columns of the right) over a depth, one per group. Ranges
/// that are asked for are never empty.
pub trait Operand<R>: Sync {
    /// What need be known about a stretch of the depth, whichever lines are read.
    type Depth;

    /// Finds it out.
    fn depth(&self, depth: Range<usize>) -> Self::Depth;

    /// These rows over this depth, as they lie or in `scratch` (rows × depth elements).
    fn rows<'s>(
        &'s self,
        group: usize,
        rows: Range<usize>,
        depth: &Self::Depth,
        scratch: &'s mut [R],
    ) -> Panel<'s, R>;

    /// Packs these columns over this depth into `out`, laid out as `panels` says; places of the last panel
    /// beyond the last column are left.
    fn columns(
        &self,
        group: usize,
        columns: Range<usize>,
        depth: &Self::Depth,
        panels: Panels,
        out: &mut [R],
    );
}

/// Columns packed panel by panel: column j at depth l, both counted from the first packed, lies at
/// `j / width · stride + l·width + j mod width`.
#[derive(Clone, Copy, Debug)]
pub struct Panels {
    /// Columns of a panel.
    pub width: usize,
    /// Elements from panel to panel.
    pub stride: usize,
}

impl Panels {
    /// The numbers of the panels that these columns fill and the columns of each.
    pub fn each(self, columns: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let starts = columns.clone().step_by(self.width);
        starts.map(move |first| first..(first + self.width).min(columns.end)).enumerate()
    }
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
        1 => copy_run(&data[place..place + target.len()], target),
        _ => {
            let source = data[place..].iter().step_by(stride);
            target.iter_mut().zip(source).for_each(|(target, &source)| *target = source);
        }
    }
}

/// Copies a run of equal length. Most are part of a row of an image, too short to call a function for; they
/// are copied as two blocks that overlap.
#[inline]
pub fn copy_run<R: Real>(source: &[R], target: &mut [R]) {
    let length = target.len();
    assert!(source.len() == length);
    match length {
        0 => {}
        1 => target[0] = source[0],
        2..4 => ends::<R, 2>(source, target),
        4..8 => ends::<R, 4>(source, target),
        8..16 => ends::<R, 8>(source, target),
        16..=32 => ends::<R, 16>(source, target),
        _ => target.copy_from_slice(source),
    }
}

/// Copies the first B elements and the last.
#[inline]
fn ends<R: Real, const B: usize>(source: &[R], target: &mut [R]) {
    if let (Some(&first), Some(&last)) = (source.first_chunk::<B>(), source.last_chunk::<B>()) {
        if let Some(target) = target.first_chunk_mut::<B>() {
            *target = first;
        }
        if let Some(target) = target.last_chunk_mut::<B>() {
            *target = last;
        }
    }
}

/// Zeros, as [`copy_run`] copies.
#[inline]
pub fn clear_run<R: Real>(target: &mut [R]) {
    match target {
        [] => {}
        [one] => *one = R::ZERO,
        [one, other] => (*one, *other) = (R::ZERO, R::ZERO),
        _ => target.fill(R::ZERO),
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

/// Whether places follow each other without a gap.
fn in_a_row(places: &[usize]) -> bool {
    places.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

/// Lines and depths that are transposed at a time.
const SQUARE: usize = 4;

impl<R: Real> Matrix<'_, R> {
    /// The elements of a group from a line on.
    fn from(&self, group: usize, line: usize) -> &[R] {
        self.data.get(group * self.group_stride + line * self.line_stride..).unwrap_or_default()
    }

    /// `out[(l − l₀)·pitch + i − i₀]`, the depths at these places.
    fn by_depth(&self, data: &[R], lines: usize, places: &[usize], pitch: usize, out: &mut [R]) {
        let stride = self.line_stride;
        let squares = if stride == 1 { 0 } else { lines / SQUARE * SQUARE };
        for (places, out) in places.chunks(SQUARE).zip(out.chunks_mut(SQUARE * pitch)) {
            let mut first = 0;
            if places.len() == SQUARE && in_a_row(places) {
                for line in (0..squares).step_by(SQUARE) {
                    let row =
                        |step: usize| data[(line + step) * stride + places[0]..].first_chunk::<SQUARE>();
                    if let (Some(a), Some(b), Some(c), Some(d)) = (row(0), row(1), row(2), row(3)) {
                        for l in 0..SQUARE {
                            let target = &mut out[l * pitch + line..l * pitch + line + SQUARE];
                            target.copy_from_slice(&[a[l], b[l], c[l], d[l]]);
                        }
                    }
                }
                first = squares;
            }
            for (out, &place) in out.chunks_mut(pitch).zip(places) {
                if first < lines {
                    copy_strided(data, first * stride + place, stride, &mut out[first..lines]);
                }
            }
        }
    }
}

impl<R: Real> Operand<R> for Matrix<'_, R> {
    type Depth = Vec<usize>;

    fn depth(&self, depth: Range<usize>) -> Vec<usize> {
        let mut places = Vec::with_capacity(depth.len());
        self.depth.list(depth, &mut places);
        places
    }

    fn rows<'s>(
        &'s self,
        group: usize,
        rows: Range<usize>,
        depth: &Vec<usize>,
        scratch: &'s mut [R],
    ) -> Panel<'s, R> {
        let (lines, pitch) = (rows.len(), depth.len());
        let data = self.from(group, rows.start);
        if self.line_stride == 1 {
            self.by_depth(data, lines, depth, lines, scratch);
            return Panel { data: scratch, row_stride: 1, depth_stride: lines };
        }
        let in_a_row = in_a_row(depth);
        for (line, target) in scratch.chunks_exact_mut(pitch).take(lines).enumerate() {
            let line = &data[line * self.line_stride..];
            if in_a_row {
                copy_run(&line[depth[0]..depth[0] + pitch], target);
            } else {
                target.iter_mut().zip(depth).for_each(|(target, &place)| *target = line[place]);
            }
        }
        Panel { data: scratch, row_stride: pitch, depth_stride: 1 }
    }

    fn columns(
        &self,
        group: usize,
        columns: Range<usize>,
        depth: &Vec<usize>,
        panels: Panels,
        out: &mut [R],
    ) {
        for (panel, columns) in panels.each(columns) {
            let out = &mut out[panel * panels.stride..];
            self.by_depth(self.from(group, columns.start), columns.len(), depth, panels.width, out);
        }
    }
}
