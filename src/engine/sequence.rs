//! Packed sequences: cuDNN's `SEQ_MAJOR_PACKED` layout and the [steps, batch, vector] tensors that are computed on.
//!
//! Sequences come longest first. All vectors of step 0 lie one after the other, then those of step 1 of the sequences
//! that are long enough, and so on, without padding.

use crate::tensor::{Layout, Real};

/// How many vectors the sequences have together.
pub fn packed_vectors(lengths: &[usize]) -> usize {
    lengths.iter().sum()
}

/// Spreads packed sequences over [steps, batch, vector], last axis fastest; places beyond a sequence's end are 0.
///
/// # Panics
/// If a slice is too short.
pub fn unpack_sequences<R: Real>(packed: &[R], lengths: &[usize], vector: usize, unpacked: &mut [R]) {
    unpacked.fill(R::ZERO);
    for (from, to) in runs(lengths, vector) {
        unpacked[to..to + vector].copy_from_slice(&packed[from..from + vector]);
    }
}

/// The other way round.
///
/// # Panics
/// If a slice is too short.
pub fn pack_sequences<R: Real>(unpacked: &[R], lengths: &[usize], vector: usize, packed: &mut [R]) {
    for (to, from) in runs(lengths, vector) {
        packed[to..to + vector].copy_from_slice(&unpacked[from..from + vector]);
    }
}

/// The layout of [`unpack_sequences`].
pub fn unpacked_layout(steps: usize, batch: usize, vector: usize) -> Layout {
    Layout::packed(&[steps, batch, vector])
}

/// Where each vector lies, packed and unpacked.
fn runs(lengths: &[usize], vector: usize) -> impl Iterator<Item = (usize, usize)> {
    let batch = lengths.len();
    let steps = lengths.iter().copied().max().unwrap_or(0);
    let present = (0..steps).flat_map(move |step| (0..batch).map(move |sequence| (step, sequence)));
    present
        .filter(|&(step, sequence)| step < lengths[sequence])
        .enumerate()
        .map(move |(position, (step, sequence))| (position * vector, (step * batch + sequence) * vector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_undoes_unpacking() {
        let lengths = [4, 2, 1];
        let packed: Vec<f32> = (0..14).map(|i| i as f32 + 1.0).collect();
        let mut unpacked = [f32::NAN; 4 * 3 * 2];
        unpack_sequences(&packed, &lengths, 2, &mut unpacked);
        assert_eq!(unpacked[..8], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(unpacked[10..14], [0.0, 0.0, 11.0, 12.0]);
        let mut back = vec![0.0; 14];
        pack_sequences(&unpacked, &lengths, 2, &mut back);
        assert_eq!(back, packed);
    }
}
