//! Level 1, a number of a vector: `dot`, `nrm2`, `asum`, `iamax`, `iamin`.
//!
//! Vectors are cut into blocks of a fixed length; a block is summed in a fixed number of interleaved partial sums, and
//! the blocks' sums pairwise. So neither threads nor increments change a bit of a result, and errors grow with the
//! logarithm of the length.

use num_traits::Float;

use super::number::{BlasElement, Number};
use super::vector::Vector;
use crate::dtype::Accumulator;
use crate::shape::Conj;
use crate::tensor::Real;
use crate::threads;

/// Elements in a block.
const BLOCK: usize = 1 << 13;
/// Interleaved partial sums of a block.
const LANES: usize = 16;

/// Which element [`extreme_index`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// The largest magnitude.
    Largest,
    /// The smallest magnitude.
    Smallest,
}

/// `Σ xᵢ·yᵢ`, or `Σ conj(xᵢ)·yᵢ`.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-dot>.
///
/// # Panics
/// If the vectors differ in length.
pub fn dot<S: BlasElement>(conj: Conj, x: Vector<'_, S>, y: Vector<'_, S>) -> S::Exec {
    assert_eq!(x.len(), y.len(), "vectors of the same length");
    over_blocks(x.len(), |start, end| {
        let (mut own_x, mut own_y) = (Vec::new(), Vec::new());
        let (x, y) = (block(x, start, end, &mut own_x), block(y, start, end, &mut own_y));
        match conj {
            Conj::No => lanes(x, y, |x, y| x.value() * y.value()),
            Conj::Yes => lanes(x, y, |x, y| Accumulator::conj(x.value()) * y.value()),
        }
    })
}

/// [`dot`] of contiguous numbers in one block, whatever their count.
pub(super) fn dot_numbers<T: Number>(conj: Conj, x: &[T], y: &[T]) -> T {
    match conj {
        Conj::No => lanes(x, y, |x, y| x * y),
        Conj::Yes => lanes(x, y, |x, y| Accumulator::conj(x) * y),
    }
}

/// `√(Σ|xᵢ|²)`, without overflow or underflow on the way: single precision and narrower elements are squared in
/// double precision, double precision is scaled by a power of two where need be. A NaN makes it NaN.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-nrm2>.
pub fn nrm2<S: BlasElement>(x: Vector<'_, S>) -> <S::Exec as Number>::Part {
    let largest = if <S::Exec as Number>::Part::DOUBLE { largest_part(x) } else { 1.0 };
    let scale = if (1e-140..1e140).contains(&largest) || largest == 0.0 || largest.is_infinite() {
        1.0
    } else {
        // The power of two next to it, within what its inverse can be.
        Float::powi(2.0, -(Float::log2(largest) as i32).clamp(-1020, 1020))
    };
    let sum = over_blocks(x.len(), |start, end| {
        let mut own = Vec::new();
        let x = block(x, start, end, &mut own);
        lanes(x, x, |x, _| {
            let value = x.value();
            let (re, im) = (value.re().to_double() * scale, value.im().to_double() * scale);
            if S::Exec::COMPLEX { re * re + im * im } else { re * re }
        })
    });
    Real::of(Float::sqrt(sum) / scale)
}

/// `Σ |Re xᵢ| + |Im xᵢ|`, summed in double precision.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-asum>.
pub fn asum<S: BlasElement>(x: Vector<'_, S>) -> <S::Exec as Number>::Part {
    Real::of(over_blocks(x.len(), |start, end| {
        let mut own = Vec::new();
        let x = block(x, start, end, &mut own);
        lanes(x, x, |x, _| Float::abs(x.value().re().to_double()) + Float::abs(x.value().im().to_double()))
    }))
}

/// The position, from 0, of the first element whose `|Re x| + |Im x|` is extreme; `None` of an empty vector. A NaN is
/// never extreme; where there is nothing else, the first element is.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublasi-t-amax>.
pub fn extreme_index<S: BlasElement>(extreme: Extreme, x: Vector<'_, S>) -> Option<usize> {
    let better = |new: <S::Exec as Number>::Part, best: <S::Exec as Number>::Part| match extreme {
        Extreme::Largest => new > best,
        Extreme::Smallest => new < best,
    };
    let mut found = vec![None; x.len().div_ceil(BLOCK)];
    threads::for_each_chunk(&mut found, 1, |number, slot| {
        let range = number * BLOCK..((number + 1) * BLOCK).min(x.len());
        for index in range {
            let size = x.get(index).value().size();
            if !size.is_nan() && slot[0].is_none_or(|(best, _)| better(size, best)) {
                slot[0] = Some((size, index));
            }
        }
    });
    let best = found.into_iter().flatten().reduce(|best, new| if better(new.0, best.0) { new } else { best });
    match best {
        Some((_, index)) => Some(index),
        None => (!x.is_empty()).then_some(0),
    }
}

fn largest_part<S: BlasElement>(x: Vector<'_, S>) -> f64 {
    (0..x.len()).fold(0.0, |largest, index| {
        let value = x.get(index).value();
        let (re, im) = (Float::abs(value.re().to_double()), Float::abs(value.im().to_double()));
        f64::max(largest, f64::max(re, im))
    })
}

/// The elements from `start` to `end`; `own` holds them where they do not lie one after the other.
fn block<'a, S: Copy>(x: Vector<'a, S>, start: usize, end: usize, own: &'a mut Vec<S>) -> &'a [S] {
    if let Some(slice) = x.slice() {
        return &slice[start..end];
    }
    own.extend((start..end).map(|index| x.get(index)));
    own
}

/// The sum of what `sum` makes of each block, added pairwise.
fn over_blocks<T: Accumulator>(len: usize, sum: impl Fn(usize, usize) -> T + Send + Sync) -> T {
    let mut sums = vec![T::zero(); len.div_ceil(BLOCK)];
    threads::for_each_chunk(&mut sums, 1, |number, slot| {
        slot[0] = sum(number * BLOCK, ((number + 1) * BLOCK).min(len));
    });
    pairwise(&sums)
}

fn pairwise<T: Accumulator>(values: &[T]) -> T {
    match values {
        [] => T::zero(),
        [value] => *value,
        _ => {
            let (first, second) = values.split_at(values.len() / 2);
            pairwise(first).plus(pairwise(second))
        }
    }
}

/// `Σ term(xᵢ, yᵢ)` in interleaved partial sums, so that it vectorises.
fn lanes<S: Copy, T: Accumulator>(x: &[S], y: &[S], term: impl Fn(S, S) -> T) -> T {
    let mut sums = [T::zero(); LANES];
    let (x_chunks, y_chunks) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let (x_rest, y_rest) = (x_chunks.remainder(), y_chunks.remainder());
    for (x, y) in x_chunks.zip(y_chunks) {
        for lane in 0..LANES {
            sums[lane] = sums[lane].plus(term(x[lane], y[lane]));
        }
    }
    for (sum, (&x, &y)) in sums.iter_mut().zip(x_rest.iter().zip(y_rest)) {
        *sum = sum.plus(term(x, y));
    }
    pairwise(&sums)
}
