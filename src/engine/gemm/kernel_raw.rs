//! The two ways to pack a product's operands and multiply what was packed.

#![allow(unsafe_code)]

use half::bf16;
use half::slice::HalfFloatSliceExt;

use super::lines::Stretch;
use super::micro_bf16_raw::MicroBf16;
use super::micro_raw::{Keep, Micro, Panel, Size};
use crate::dtype::{Accumulator, Input};
use crate::scratch::AnyBits;

/// How operands of type `AB` are packed, and the innermost product of what was packed, summed in `Acc`.
pub trait PackedKernel<AB, Acc>: Copy + Sync {
    /// What is packed.
    type Element: AnyBits + Sync + Send;
    /// Depths in one packed element.
    const FOLD: usize;

    /// The most rows of a tile of the innermost product.
    fn rows(self) -> usize;
    /// Columns of a panel.
    fn columns(self) -> usize;
    /// Columns that the product writes where `columns` are asked for.
    fn written(self, columns: usize) -> usize;

    /// A few lines as the left operand: as they lie, or in `scratch` (rows × packed depth elements).
    fn left<'s>(
        self,
        lines: &'s Stretch<'_, AB>,
        scratch: &'s mut [Self::Element],
    ) -> Panel<'s, Self::Element>;

    /// Packs lines as a panel of the right operand; columns beyond the last are left as they are.
    fn right(self, lines: &Stretch<'_, AB>, panel: &mut [Self::Element]);

    /// `C ← A·B`, or `C ← C + A·B`; as [`Micro::product`], the depth in packed elements.
    ///
    /// # Safety
    /// As [`Micro::product`].
    unsafe fn product(
        self,
        size: Size,
        a: Panel<'_, Self::Element>,
        b: &[Self::Element],
        keep: Keep,
        c: *mut Acc,
        c_stride: usize,
    );
}

/// Operands widened to the accumulator's type as they are packed.
impl<AB: Input<Acc>, Acc: Accumulator> PackedKernel<AB, Acc> for Micro {
    type Element = Acc;
    const FOLD: usize = 1;

    fn rows(self) -> usize {
        self.rows
    }

    fn columns(self) -> usize {
        self.columns
    }

    fn written(self, columns: usize) -> usize {
        Micro::written(self, columns)
    }

    fn left<'s>(self, lines: &'s Stretch<'_, AB>, scratch: &'s mut [Acc]) -> Panel<'s, Acc> {
        if lines.depth_stride == 1 {
            let as_they_lie = AB::as_accumulators(lines.data);
            if let Some(data) = as_they_lie.filter(|_| !lines.crowd()) {
                return Panel { data, row_stride: lines.line_stride, depth_stride: 1 };
            }
            for (line, target) in scratch.chunks_exact_mut(lines.depth).take(lines.lines).enumerate() {
                AB::widen_run(lines.line(line), target);
            }
            return Panel { data: scratch, row_stride: lines.depth, depth_stride: 1 };
        }
        for (depth, target) in scratch.chunks_exact_mut(lines.lines).take(lines.depth).enumerate() {
            if lines.line_stride == 1 {
                AB::widen_run(lines.across(depth), target);
            } else {
                for (line, target) in target.iter_mut().enumerate() {
                    *target = lines.at(line, depth).widen();
                }
            }
        }
        Panel { data: scratch, row_stride: 1, depth_stride: lines.lines }
    }

    fn right(self, lines: &Stretch<'_, AB>, panel: &mut [Acc]) {
        if lines.line_stride == 1 {
            for (depth, target) in panel.chunks_exact_mut(self.columns).take(lines.depth).enumerate() {
                AB::widen_run(lines.across(depth), &mut target[..lines.lines]);
            }
        } else if lines.depth_stride == 1 {
            interleave(lines, panel, self.columns, |line, run: &mut [Acc]| AB::widen_run(line, run));
        } else {
            for (depth, target) in panel.chunks_exact_mut(self.columns).take(lines.depth).enumerate() {
                for (line, target) in target[..lines.lines].iter_mut().enumerate() {
                    *target = lines.at(line, depth).widen();
                }
            }
        }
    }

    unsafe fn product(
        self,
        size: Size,
        a: Panel<'_, Acc>,
        b: &[Acc],
        keep: Keep,
        c: *mut Acc,
        c_stride: usize,
    ) {
        // SAFETY: forwarded.
        unsafe { Micro::product(self, size, a, b, keep, c, c_stride) };
    }
}

/// Two depths side by side in one element, for instructions that multiply pairs.
impl PackedKernel<bf16, f32> for MicroBf16 {
    type Element = u32;
    const FOLD: usize = 2;

    fn rows(self) -> usize {
        MicroBf16::ROWS
    }

    fn columns(self) -> usize {
        MicroBf16::COLUMNS
    }

    fn written(self, columns: usize) -> usize {
        MicroBf16::written(columns)
    }

    fn left<'s>(self, lines: &'s Stretch<'_, bf16>, scratch: &'s mut [u32]) -> Panel<'s, u32> {
        let packed = lines.depth.div_ceil(2);
        if lines.depth_stride == 1 {
            if let Some(data) = pairs_as_they_lie(lines) {
                return Panel { data, row_stride: lines.line_stride / 2, depth_stride: 1 };
            }
            for (line, target) in scratch.chunks_exact_mut(packed).take(lines.lines).enumerate() {
                pairs_along(lines.line(line), target);
            }
            return Panel { data: scratch, row_stride: packed, depth_stride: 1 };
        }
        for (pair, target) in scratch.chunks_exact_mut(lines.lines).take(packed).enumerate() {
            pairs_across(lines, pair, target);
        }
        Panel { data: scratch, row_stride: 1, depth_stride: lines.lines }
    }

    fn right(self, lines: &Stretch<'_, bf16>, panel: &mut [u32]) {
        if lines.depth_stride == 1 && lines.line_stride != 1 {
            interleave(lines, panel, MicroBf16::COLUMNS, |line, run: &mut [u32]| pairs_along(line, run));
            return;
        }
        let packed = lines.depth.div_ceil(2);
        for (pair, target) in panel.chunks_exact_mut(MicroBf16::COLUMNS).take(packed).enumerate() {
            pairs_across(lines, pair, &mut target[..lines.lines]);
        }
    }

    unsafe fn product(
        self,
        size: Size,
        a: Panel<'_, u32>,
        b: &[u32],
        keep: Keep,
        c: *mut f32,
        c_stride: usize,
    ) {
        // SAFETY: forwarded.
        unsafe { MicroBf16::product(self, size, a, b, keep, c, c_stride) };
    }
}

/// The numbers as pairs, if each line is whole pairs at places where pairs may lie.
fn pairs_as_they_lie<'a>(lines: &Stretch<'a, bf16>) -> Option<&'a [u32]> {
    let whole = !lines.crowd()
        && lines.depth.is_multiple_of(2)
        && (lines.line_stride.is_multiple_of(2) || lines.lines == 1);
    // SAFETY: a bf16 is two bytes of which any are a value, and so are the four of a u32.
    let (before, pairs, _) = unsafe { lines.data.align_to::<u32>() };
    (whole && before.is_empty()).then_some(pairs)
}

fn pair(low: u16, high: u16) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

/// The pairs of a line, the last filled up with 0.
fn pairs_along(line: &[bf16], target: &mut [u32]) {
    let line: &[u16] = line.reinterpret_cast();
    let whole = line.len() / 2;
    for (target, pair_of) in target.iter_mut().zip(line.chunks_exact(2)) {
        *target = pair(pair_of[0], pair_of[1]);
    }
    if line.len() % 2 == 1 {
        target[whole] = pair(line[2 * whole], 0);
    }
}

/// Pair `number` of every line.
fn pairs_across(lines: &Stretch<'_, bf16>, number: usize, target: &mut [u32]) {
    let (low, high) = (2 * number, 2 * number + 1);
    if lines.line_stride == 1 {
        let low: &[u16] = lines.across(low).reinterpret_cast();
        if high < lines.depth {
            let high: &[u16] = lines.across(high).reinterpret_cast();
            for (target, (&low, &high)) in target.iter_mut().zip(low.iter().zip(high)) {
                *target = pair(low, high);
            }
        } else {
            for (target, &low) in target.iter_mut().zip(low) {
                *target = pair(low, 0);
            }
        }
        return;
    }
    let bits = |line, depth| if depth < lines.depth { lines.at(line, depth).to_bits() } else { 0 };
    for (line, target) in target.iter_mut().enumerate() {
        *target = pair(bits(line, low), bits(line, high));
    }
}

/// Lines that lie along the depth, side by side in a panel `pitch` wide: four at a time, converted by `convert`.
fn interleave<AB: Copy, E: AnyBits>(
    lines: &Stretch<'_, AB>,
    panel: &mut [E],
    pitch: usize,
    convert: impl Fn(&[AB], &mut [E]),
) {
    /// Depths that are converted at a time; even, so that pairs stay together.
    const RUN: usize = 128;
    let packed = panel.len() / pitch;
    let fold = if packed < lines.depth { 2 } else { 1 };
    let zero = panel[0];
    for first in (0..lines.lines).step_by(4) {
        let count = (lines.lines - first).min(4);
        for start in (0..lines.depth).step_by(RUN) {
            let length = (lines.depth - start).min(RUN);
            let run = length.div_ceil(fold);
            let mut rows = [[zero; RUN]; 4];
            for (line, row) in rows[..count].iter_mut().enumerate() {
                convert(&lines.line(first + line)[start..start + length], &mut row[..run]);
            }
            let target = &mut panel[start / fold * pitch..][..run * pitch];
            if count == 4 {
                let [a, b, c, d] = &rows;
                for (index, target) in target.chunks_exact_mut(pitch).enumerate() {
                    target[first..first + 4].copy_from_slice(&[a[index], b[index], c[index], d[index]]);
                }
            } else {
                for (index, target) in target.chunks_exact_mut(pitch).enumerate() {
                    for line in 0..count {
                        target[first + line] = rows[line][index];
                    }
                }
            }
        }
    }
}
