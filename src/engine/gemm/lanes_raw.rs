//! Sums of products over contiguous runs, compiled once for each width of vector register.
//!
//! Called by [`super::skinny`] and by the integers' block product; knows neither operands nor batches.
//! Which width runs depends on the machine alone, so results do not depend on the number of threads.

#![allow(unsafe_code)]
// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]
// Rows, columns and lanes of several arrays are walked side by side.
#![allow(clippy::needless_range_loop)]

use std::array::from_fn;

use super::vector_raw::Vector;
use crate::dtype::Accumulator;

/// Lanes of the widest register of the smallest type.
const MOST_LANES: usize = 16;

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Registers of 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Registers of 256 bits, fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every machine has.
    Plain,
}

impl Width {
    /// The widest first.
    pub const ALL: &[Width] = &[
        #[cfg(target_arch = "x86_64")]
        Width::Avx512,
        #[cfg(target_arch = "x86_64")]
        Width::Avx2,
        Width::Plain,
    ];

    /// Whether this machine has it; asked anew each time, answered from std's cache.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Width::Plain => true,
        }
    }

    /// The widest that this machine has.
    pub fn widest() -> Width {
        Width::ALL.iter().copied().find(|width| width.is_available()).unwrap_or(Width::Plain)
    }
}

/// `sums[r·t + i] += Σₗ wide[r][l]·thin[i·depth + l]` for one or two wide rows and t thin ones.
pub fn dots<Acc: Accumulator>(wide: &[&[Acc]], thin: &[Acc], sums: &mut [Acc]) {
    dots_with(Width::widest(), wide, thin, sums);
}

fn dots_with<Acc: Accumulator>(width: Width, wide: &[&[Acc]], thin: &[Acc], sums: &mut [Acc]) {
    assert!(width.is_available());
    match width {
        // SAFETY: arrays need no instruction set.
        Width::Plain => unsafe { dots_body::<Acc, [Acc; 4]>(wide, thin, sums) },
        // SAFETY: asserted to be available.
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => unsafe { dots_avx2(wide, thin, sums) },
        // SAFETY: asserted to be available.
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => unsafe { dots_avx512(wide, thin, sums) },
    }
}

/// Rows of equal length, `stride` apart; `length` elements of each count.
#[derive(Clone, Copy)]
pub struct Rows<'a, Acc> {
    /// The elements.
    pub data: &'a [Acc],
    /// Elements from row to row.
    pub stride: usize,
    /// Elements of a row.
    pub length: usize,
}

/// `sums[i·length + r] += Σₗ factors[i·depth + l]·rows[l][r]` for `depth` rows.
pub fn add_scaled<Acc: Accumulator>(rows: Rows<'_, Acc>, factors: &[Acc], depth: usize, sums: &mut [Acc]) {
    add_scaled_with(Width::widest(), rows, factors, depth, sums);
}

fn add_scaled_with<Acc: Accumulator>(
    width: Width,
    rows: Rows<'_, Acc>,
    factors: &[Acc],
    depth: usize,
    sums: &mut [Acc],
) {
    assert!(width.is_available());
    match width {
        // SAFETY: arrays need no instruction set.
        Width::Plain => unsafe { add_scaled_body::<Acc, [Acc; 4]>(rows, factors, depth, sums) },
        // SAFETY: asserted to be available.
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => unsafe { add_scaled_avx2(rows, factors, depth, sums) },
        // SAFETY: asserted to be available.
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => unsafe { add_scaled_avx512(rows, factors, depth, sums) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn dots_avx2<Acc: Accumulator>(wide: &[&[Acc]], thin: &[Acc], sums: &mut [Acc]) {
    // SAFETY: this function is compiled for avx2 and fma, so its caller has them.
    unsafe { dots_body::<Acc, Acc::Vector256>(wide, thin, sums) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn dots_avx512<Acc: Accumulator>(wide: &[&[Acc]], thin: &[Acc], sums: &mut [Acc]) {
    // SAFETY: this function is compiled for avx512f, so its caller has it.
    unsafe { dots_body::<Acc, Acc::Vector512>(wide, thin, sums) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn add_scaled_avx2<Acc: Accumulator>(rows: Rows<'_, Acc>, factors: &[Acc], depth: usize, sums: &mut [Acc]) {
    // SAFETY: this function is compiled for avx2 and fma, so its caller has them.
    unsafe { add_scaled_body::<Acc, Acc::Vector256>(rows, factors, depth, sums) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn add_scaled_avx512<Acc: Accumulator>(rows: Rows<'_, Acc>, factors: &[Acc], depth: usize, sums: &mut [Acc]) {
    // SAFETY: this function is compiled for avx512f, so its caller has it.
    unsafe { add_scaled_body::<Acc, Acc::Vector512>(rows, factors, depth, sums) };
}

#[inline(always)]
unsafe fn dots_body<Acc: Accumulator, V: Vector<Acc>>(wide: &[&[Acc]], thin: &[Acc], sums: &mut [Acc]) {
    let thin_rows = sums.len() / wide.len();
    let depth = wide[0].len();
    let mut first = 0;
    while first < thin_rows {
        let taken = if thin_rows - first >= 4 { 4 } else { 1 };
        let (thin, sums) = (&thin[first * depth..], &mut sums[first..]);
        // SAFETY: the caller owes V's instruction set.
        unsafe {
            match (wide, taken) {
                (&[r0, r1], 4) => block::<Acc, V, 2, 4>([r0, r1], thin, sums, thin_rows),
                (&[r0, r1], _) => block::<Acc, V, 2, 1>([r0, r1], thin, sums, thin_rows),
                (&[row], 4) => block::<Acc, V, 1, 4>([row], thin, sums, thin_rows),
                (&[row], _) => block::<Acc, V, 1, 1>([row], thin, sums, thin_rows),
                _ => unreachable!("one or two wide rows"),
            }
        }
        first += taken;
    }
}

/// R × T dot products at once: each element loaded is used T or R times.
#[inline(always)]
unsafe fn block<Acc: Accumulator, V: Vector<Acc>, const R: usize, const T: usize>(
    wide: [&[Acc]; R],
    thin: &[Acc],
    sums: &mut [Acc],
    sums_stride: usize,
) {
    let depth = wide[0].len();
    assert!(wide.iter().all(|row| row.len() == depth) && thin.len() >= T * depth);
    let whole = depth / V::LANES * V::LANES;
    // SAFETY: the caller owes V's instruction set.
    let zero = unsafe { V::splat(Acc::zero()) };
    let mut vectors = [[zero; T]; R];
    let mut start = 0;
    while start < whole {
        // SAFETY: start + LANES ≤ whole ≤ depth, the length of each row, by the assertion above.
        let y: [V; T] = from_fn(|t| unsafe { V::load(thin.as_ptr().add(t * depth + start)) });
        for r in 0..R {
            // SAFETY: as above.
            let x = unsafe { V::load(wide[r].as_ptr().add(start)) };
            for t in 0..T {
                // SAFETY: the caller owes V's instruction set.
                vectors[r][t] = unsafe { vectors[r][t].add_product(x, y[t]) };
            }
        }
        start += V::LANES;
    }
    for r in 0..R {
        for t in 0..T {
            let rest = wide[r][whole..].iter().zip(&thin[t * depth + whole..(t + 1) * depth]);
            let sum = &mut sums[r * sums_stride + t];
            *sum = rest.fold(*sum, |sum, (&x, &y)| sum.add_product(x, y));
            let mut lanes = [Acc::zero(); MOST_LANES];
            assert!(V::LANES <= MOST_LANES);
            // SAFETY: just asserted that the lanes fit.
            unsafe { vectors[r][t].store(lanes.as_mut_ptr()) };
            *sum = lanes[..V::LANES].iter().fold(*sum, |sum, &lane| sum.plus(lane));
        }
    }
}

#[inline(always)]
unsafe fn add_scaled_body<Acc: Accumulator, V: Vector<Acc>>(
    rows: Rows<'_, Acc>,
    factors: &[Acc],
    depth: usize,
    sums: &mut [Acc],
) {
    let thin_rows = sums.len() / rows.length;
    let mut first = 0;
    while first < thin_rows {
        let taken = if thin_rows - first >= 4 { 4 } else { 1 };
        let (factors, sums) = (&factors[first * depth..], &mut sums[first * rows.length..]);
        // SAFETY: the caller owes V's instruction set.
        unsafe {
            if taken == 4 {
                strips::<Acc, V, 2, 4>(rows, factors, depth, sums);
            } else {
                strips::<Acc, V, 4, 1>(rows, factors, depth, sums);
            }
        }
        first += taken;
    }
}

/// T rows of sums, a strip of S registers of each kept over the whole depth.
#[inline(always)]
unsafe fn strips<Acc: Accumulator, V: Vector<Acc>, const S: usize, const T: usize>(
    rows: Rows<'_, Acc>,
    factors: &[Acc],
    depth: usize,
    sums: &mut [Acc],
) {
    let length = rows.length;
    assert!(depth == 0 || (depth - 1) * rows.stride + length <= rows.data.len());
    assert!(factors.len() >= T * depth && sums.len() >= T * length);
    let whole = length / (S * V::LANES) * (S * V::LANES);
    for start in (0..whole).step_by(S * V::LANES) {
        let place = |t: usize, s: usize| t * length + start + s * V::LANES;
        // SAFETY: start + S·LANES ≤ whole ≤ length, and `sums` has T·length elements, by the assertion.
        let mut kept: [[V; S]; T] =
            from_fn(|t| from_fn(|s| unsafe { V::load(sums.as_ptr().add(place(t, s))) }));
        for l in 0..depth {
            // SAFETY: row l has `length` elements inside the data, by the assertion.
            let row: [V; S] = from_fn(|s| unsafe {
                V::load(rows.data.as_ptr().add(l * rows.stride + start + s * V::LANES))
            });
            for t in 0..T {
                // SAFETY: the caller owes V's instruction set.
                let factor = unsafe { V::splat(factors[t * depth + l]) };
                for s in 0..S {
                    // SAFETY: as above.
                    kept[t][s] = unsafe { kept[t][s].add_product(factor, row[s]) };
                }
            }
        }
        for t in 0..T {
            for s in 0..S {
                // SAFETY: as where they were loaded.
                unsafe { kept[t][s].store(sums.as_mut_ptr().add(place(t, s))) };
            }
        }
    }
    for l in 0..depth {
        let row = &rows.data[l * rows.stride + whole..l * rows.stride + length];
        for t in 0..T {
            let factor = factors[t * depth + l];
            for (sum, &element) in sums[t * length + whole..(t + 1) * length].iter_mut().zip(row) {
                *sum = sum.add_product(factor, element);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, so that every order of summation gives the same float.
    fn numbers(length: usize, seed: usize) -> Vec<f32> {
        (0..length).map(|index| ((index * 7 + seed * 3) % 11) as f32 - 5.0).collect()
    }

    #[test]
    fn dots_of_every_length_and_count_are_exact() {
        for depth in [0, 1, 15, 16, 17, 40] {
            for thin_rows in 1..7 {
                let (x, y) = (numbers(depth, 1), numbers(depth, 2));
                let thin = numbers(depth * thin_rows, 3);
                for wide in [&[&x[..]][..], &[&x[..], &y[..]][..]] {
                    let mut sums = vec![1.0f32; wide.len() * thin_rows];
                    dots(wide, &thin, &mut sums);
                    for width in Width::ALL.iter().copied().filter(|width| width.is_available()) {
                        let mut again = vec![1.0f32; sums.len()];
                        dots_with(width, wide, &thin, &mut again);
                        assert_eq!(again, sums, "{width:?}");
                    }
                    for (index, sum) in sums.into_iter().enumerate() {
                        let (row, t) = (wide[index / thin_rows], index % thin_rows);
                        let products = row.iter().zip(&thin[t * depth..]).map(|(x, y)| x * y);
                        assert_eq!(sum, 1.0 + products.sum::<f32>(), "depth {depth}, {thin_rows} thin rows");
                    }
                }
            }
        }
    }

    #[test]
    fn scaled_rows_of_every_length_and_count_are_exact() {
        for length in [1, 5, 63, 64, 70, 130] {
            for thin_rows in 1..6 {
                let (depth, stride) = (5, length + 2);
                let (data, factors) = (numbers(depth * stride, 1), numbers(depth * thin_rows, 2));
                let mut sums = vec![1.0f32; length * thin_rows];
                let rows = Rows { data: &data, stride, length };
                add_scaled(rows, &factors, depth, &mut sums);
                for width in Width::ALL.iter().copied().filter(|width| width.is_available()) {
                    let mut again = vec![1.0f32; sums.len()];
                    add_scaled_with(width, rows, &factors, depth, &mut again);
                    assert_eq!(again, sums, "{width:?}");
                }
                for (index, sum) in sums.into_iter().enumerate() {
                    let (t, r) = (index / length, index % length);
                    let products = (0..depth).map(|l| factors[t * depth + l] * data[l * stride + r]);
                    assert_eq!(sum, 1.0 + products.sum::<f32>(), "length {length}, {thin_rows} thin rows");
                }
            }
        }
    }
}
