//! Lengths cut into parts: the tiles of products.

use std::ops::Range;

/// `length` in equal parts of at most `most`, a multiple of `unit`.
pub fn even(length: usize, most: usize, unit: usize) -> usize {
    let parts = length.div_ceil(most.max(1)).max(1);
    length.div_ceil(parts).next_multiple_of(unit).max(unit)
}

/// Part `number` of `length` cut every `side`.
pub fn part(number: usize, side: usize, length: usize) -> Range<usize> {
    number * side..((number + 1) * side).min(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_and_whole_units() {
        assert_eq!(even(1000, 512, 32), 512);
        assert_eq!(even(520, 512, 12), 264);
        assert_eq!(even(0, 512, 12), 12);
        assert_eq!([part(0, 5, 12), part(2, 5, 12)], [0..5, 10..12]);
    }
}
