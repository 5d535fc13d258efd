//! What callers owe the engine, asserted in one place: a detector of bugs above, not validation.

use crate::shape::{GemmShape, MatMut, MatRef};

/// Panics unless every element that the product touches lies inside its slice, and no two elements of the
/// output share a place.
pub fn check<A, B, C>(shape: GemmShape, a: &MatRef<'_, A>, b: &MatRef<'_, B>, c: &MatMut<'_, C>) {
    let GemmShape { m, n, k, batch } = shape;
    if k > 0 {
        let end = extent(&[m, k, batch], &[a.row_stride, a.col_stride, a.batch_stride]);
        assert!(end <= a.data.len(), "A reaches to {end}, its slice to {}", a.data.len());
        let end = extent(&[k, n, batch], &[b.row_stride, b.col_stride, b.batch_stride]);
        assert!(end <= b.data.len(), "B reaches to {end}, its slice to {}", b.data.len());
    }
    let strides = [c.row_stride, c.col_stride, c.batch_stride];
    let end = extent(&[m, n, batch], &strides);
    assert!(end <= c.data.len(), "C reaches to {end}, its slice to {}", c.data.len());
    assert!(
        is_injective(&[m, n, batch], &strides),
        "elements of C share a place: {shape:?}, strides {strides:?}"
    );
}

/// One past the last index that these sizes and strides reach; 0 if any size is 0.
///
/// # Panics
/// If it does not fit the address space.
pub fn extent(sizes: &[usize], strides: &[usize]) -> usize {
    checked_extent(sizes, strides).expect("an operand's extent fits the address space")
}

/// [`extent`], or None if it does not fit the address space.
pub fn checked_extent(sizes: &[usize], strides: &[usize]) -> Option<usize> {
    if sizes.contains(&0) {
        return Some(0);
    }
    sizes
        .iter()
        .zip(strides)
        .try_fold(1usize, |end, (&size, &stride)| end.checked_add((size - 1).checked_mul(stride)?))
}

/// Whether the index map is one-to-one, judged by nested strides: each, from the smallest up, must step
/// over all that the smaller ones reach. Enough for every layout that BLAS and cuDNN allow an output.
pub fn is_injective(sizes: &[usize], strides: &[usize]) -> bool {
    let mut axes: Vec<(usize, usize)> =
        strides.iter().copied().zip(sizes.iter().copied()).filter(|&(_, size)| size > 1).collect();
    axes.sort_unstable();
    let mut reach = 0;
    axes.into_iter().all(|(stride, size)| {
        let steps_over = stride > reach;
        reach += stride * (size - 1);
        steps_over
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_outputs_are_caught() {
        assert!(is_injective(&[3, 4, 2], &[1, 3, 12]));
        assert!(is_injective(&[3, 4, 2], &[1, 20, 3]));
        assert!(!is_injective(&[3, 4, 2], &[1, 2, 12]));
        assert!(!is_injective(&[3, 4, 2], &[1, 3, 0]));
    }

    #[test]
    fn the_extent_counts_the_last_element_not_the_last_column() {
        assert_eq!(extent(&[3, 4, 1], &[1, 5, 0]), 18);
        assert_eq!(extent(&[0, 4, 1], &[1, 5, 0]), 0);
    }
}
