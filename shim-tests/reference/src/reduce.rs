//! Reductions of sets of numbers, from their definitions.

use crate::pointwise::Expected;

/// Σ x; rounding errors are proportional to Σ |x|.
pub fn sum(set: &[f64]) -> Expected {
    Expected::with_magnitude(set.iter().sum(), set.iter().map(|x| x.abs()).sum())
}

/// Π x.
pub fn product(set: &[f64]) -> Expected {
    Expected::exact(set.iter().product())
}

/// Π x over those that are not 0.
pub fn product_without_zeros(set: &[f64]) -> Expected {
    Expected::exact(set.iter().filter(|x| **x != 0.0).product())
}

/// Σ x divided by how many there are.
pub fn average(set: &[f64]) -> Expected {
    let (total, count) = (sum(set), set.len() as f64);
    Expected { value: total.value / count, magnitude: total.magnitude / count }
}

/// Σ |x|.
pub fn norm1(set: &[f64]) -> Expected {
    Expected::exact(set.iter().map(|x| x.abs()).sum())
}

/// √(Σ x²).
pub fn norm2(set: &[f64]) -> Expected {
    Expected::exact(set.iter().map(|x| x * x).sum::<f64>().sqrt())
}

/// What `beats` every other number of a set; the first of equals.
#[derive(Clone, Copy, Debug)]
pub struct Winner {
    /// The number.
    pub value: f64,
    /// Its position in the set.
    pub index: usize,
}

/// The winner of a set where NaN beats all numbers; `None` if the set is empty.
pub fn winner_with_nan(set: &[f64], beats: impl Fn(f64, f64) -> bool) -> Option<Winner> {
    if let Some(index) = set.iter().position(|x| x.is_nan()) {
        return Some(Winner { value: f64::NAN, index });
    }
    winner_without_nan(set, beats)
}

/// The winner among the numbers of a set; NaN at position 0 if there are none; `None` if it is empty.
pub fn winner_without_nan(set: &[f64], beats: impl Fn(f64, f64) -> bool) -> Option<Winner> {
    let mut best: Option<Winner> = None;
    for (index, &value) in set.iter().enumerate() {
        if !value.is_nan() && best.is_none_or(|best| beats(value, best.value)) {
            best = Some(Winner { value, index });
        }
    }
    best.or((!set.is_empty()).then_some(Winner { value: f64::NAN, index: 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_by_hand() {
        let set = [3.0, -4.0, 0.0];
        assert_eq!((sum(&set).value, sum(&set).magnitude), (-1.0, 7.0));
        assert_eq!((product(&set).value, product_without_zeros(&set).value), (0.0, -12.0));
        assert_eq!((norm1(&set).value, norm2(&set).value, average(&set).value), (7.0, 5.0, -1.0 / 3.0));
    }

    #[test]
    fn the_first_of_equals_wins_and_nan_as_it_is_told() {
        let set = [1.0, f64::NAN, 2.0, 2.0];
        assert_eq!(winner_without_nan(&set, |a, b| a > b).unwrap().index, 2);
        assert_eq!(winner_with_nan(&set, |a, b| a > b).unwrap().index, 1);
        assert!(winner_without_nan(&[], |a, b| a > b).is_none());
    }
}
