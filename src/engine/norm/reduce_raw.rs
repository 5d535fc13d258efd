//! Sums over some axes, two at a time, in double precision and in an order that the shape alone decides.

#![allow(unsafe_code)]

use super::nest::{At, Nest, PIECE, TASK};
use super::wide_raw::line;
use crate::gemm::block_raw::SharedOutput;
use crate::threads;

/// Two sums for each element of a packed result.
pub struct Sums {
    /// The first sum of each.
    pub first: Vec<f64>,
    /// The second sum of each.
    pub second: Vec<f64>,
}

/// Adds up over the loops that do not move the last operand, a packed result of `results` elements.
///
/// `add(state, at, length, sums)` adds one piece: both sums have an element for each of the piece's, or one
/// for all where the innermost loop does not move the result.
pub fn sums<const K: usize, State>(
    nest: &Nest<K>,
    results: usize,
    state: impl Fn() -> State + Send + Sync,
    add: impl Fn(&mut State, At<K>, usize, [&mut [f64]; 2]) + Send + Sync,
) -> Sums {
    let (kept, rest) = nest.split(K - 1);
    let inner_is_kept = nest.inner.strides[K - 1] != 0;
    let piece = nest.piece_size().max(1);
    let per_unit = (TASK / piece).clamp(1, rest.count().max(1));
    let chunks = rest.count().div_ceil(per_unit);
    let units = kept.count() * chunks;
    let bundle = (TASK / (per_unit * piece)).max(1);
    let mut partial = Sums { first: vec![0.0; chunks * results], second: vec![0.0; chunks * results] };
    let (first, second) = (SharedOutput::new(&mut partial.first), SharedOutput::new(&mut partial.second));
    threads::for_each(units.div_ceil(bundle), |task| {
        let mut state = state();
        for unit in task * bundle..((task + 1) * bundle).min(units) {
            let (chunk, result) = (unit / kept.count(), unit % kept.count());
            kept.walk(result..result + 1, |at| {
                let range = chunk * per_unit..((chunk + 1) * per_unit).min(rest.count());
                let width = if inner_is_kept { nest.length(at) } else { 1 };
                let start = chunk * results + at.places[K - 1];
                // SAFETY: units differ in their chunk, and so in the block of `results` sums, or in the
                // place of their results inside it: the result is packed, and its loops are all in `kept`.
                let (first, second) = unsafe { (line(&first, start, width), line(&second, start, width)) };
                rest.walk(range, |piece| {
                    let piece = at.plus(piece);
                    add(&mut state, nest.at(piece), nest.length(piece), [&mut *first, &mut *second]);
                });
            });
        }
    });
    Sums { first: total(partial.first, results), second: total(partial.second, results) }
}

/// The chunks' sums added up in their order.
fn total(partial: Vec<f64>, results: usize) -> Vec<f64> {
    if partial.len() == results {
        return partial;
    }
    let mut totals = vec![0.0; results];
    let shared = SharedOutput::new(&mut totals);
    threads::for_each(results.div_ceil(PIECE), |block| {
        let start = block * PIECE;
        // SAFETY: blocks do not overlap.
        let totals = unsafe { line(&shared, start, PIECE.min(results - start)) };
        for chunk in partial.chunks_exact(results) {
            for (total, part) in totals.iter_mut().zip(&chunk[start..]) {
                *total += part;
            }
        }
    });
    totals
}
