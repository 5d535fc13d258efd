//! Pooling over any number of spatial axes: one window after the other.
//!
//! Tensors are packed [N, C, spatial…], the last axis fastest.

use crate::norm::Near;

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The largest element; NaN if there is one.
    Max,
    /// The largest element that is a number; NaN if there are elements but no numbers.
    MaxOfNumbers,
    /// The sum divided by the size of the window.
    AverageIncludingPadding,
    /// The sum divided by how many elements are x's.
    AverageExcludingPadding,
}

/// A pooling, an entry for each spatial axis.
#[derive(Clone, Debug)]
pub struct Pool {
    /// What becomes of a window.
    pub mode: Mode,
    /// Its sizes.
    pub window: Vec<usize>,
    /// How far the first begins before x.
    pub pad: Vec<usize>,
    /// From window to window.
    pub stride: Vec<usize>,
}

impl Pool {
    /// The positions in x of the elements of each window, in the order of y.
    fn windows(&self, x_dims: &[usize], y_dims: &[usize]) -> Vec<Vec<usize>> {
        (0..y_dims.iter().product()).map(|position| self.elements(position, x_dims, y_dims)).collect()
    }

    fn elements(&self, position: usize, x_dims: &[usize], y_dims: &[usize]) -> Vec<usize> {
        let of_window = self.window.iter().product();
        let element = |number| {
            let (mut number, mut rest, mut place, mut step): (usize, _, _, _) = (number, position, 0, 1);
            for axis in (0..x_dims.len()).rev() {
                let mut at = rest % y_dims[axis];
                rest /= y_dims[axis];
                if axis >= 2 {
                    let (window, pad) = (self.window[axis - 2], self.pad[axis - 2]);
                    at = (at * self.stride[axis - 2] + number % window).checked_sub(pad)?;
                    number /= window;
                }
                if at >= x_dims[axis] {
                    return None;
                }
                place += at * step;
                step *= x_dims[axis];
            }
            Some(place)
        };
        (0..of_window).filter_map(element).collect()
    }

    fn divisor(&self, elements: &[usize]) -> f64 {
        match self.mode {
            Mode::AverageIncludingPadding => self.window.iter().product::<usize>() as f64,
            _ => elements.len() as f64,
        }
    }

    fn largest(&self, elements: &[usize], x: &[f64]) -> f64 {
        let nan = elements.iter().filter(|&&at| x[at].is_nan()).count();
        if nan > 0 && (self.mode == Mode::Max || nan == elements.len()) {
            return f64::NAN;
        }
        elements.iter().fold(f64::NEG_INFINITY, |largest, &at| largest.max(x[at]))
    }

    fn is_max(&self) -> bool {
        matches!(self.mode, Mode::Max | Mode::MaxOfNumbers)
    }
}

/// `y`.
pub fn forward(pool: &Pool, x: &[f64], x_dims: &[usize], y_dims: &[usize]) -> Vec<Near> {
    let of_window = |elements: &Vec<usize>| {
        if pool.is_max() {
            return Near { value: pool.largest(elements, x), magnitude: 0.0 };
        }
        if elements.is_empty() {
            return Near { value: 0.0, magnitude: 0.0 };
        }
        let sum: f64 = elements.iter().map(|&at| x[at]).sum();
        let magnitude: f64 = elements.iter().map(|&at| x[at].abs()).sum();
        Near { value: sum / pool.divisor(elements), magnitude: magnitude / pool.divisor(elements) }
    };
    pool.windows(x_dims, y_dims).iter().map(of_window).collect()
}

/// `dx`; a maximum's gradient goes to the first element that is the maximum.
pub fn backward(pool: &Pool, x: &[f64], dy: &[f64], x_dims: &[usize], y_dims: &[usize]) -> Vec<Near> {
    let mut dx = vec![Near { value: 0.0, magnitude: 0.0 }; x.len()];
    let mut add = |at: usize, share: f64| {
        dx[at].value += share;
        dx[at].magnitude += share.abs();
    };
    for (elements, &dy) in pool.windows(x_dims, y_dims).iter().zip(dy) {
        if pool.is_max() {
            let largest = pool.largest(elements, x);
            let is_largest = |&&at: &&usize| x[at] == largest || x[at].is_nan() && largest.is_nan();
            elements.iter().find(is_largest).into_iter().for_each(|&at| add(at, dy));
        } else {
            elements.iter().for_each(|&at| add(at, dy / pool.divisor(elements)));
        }
    }
    dx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_by_hand() {
        let pool = |mode| Pool { mode, window: vec![3], pad: vec![1], stride: vec![2] };
        let (x, x_dims, y_dims) = ([1.0, 5.0, 3.0, 2.0], [1, 1, 4], [1, 1, 2]);
        let values = |near: Vec<Near>| near.iter().map(|near| near.value).collect::<Vec<f64>>();
        let y = |mode| values(forward(&pool(mode), &x, &x_dims, &y_dims));
        assert_eq!(y(Mode::Max), [5.0, 5.0]);
        assert_eq!(y(Mode::AverageExcludingPadding), [3.0, 10.0 / 3.0]);
        assert_eq!(y(Mode::AverageIncludingPadding), [2.0, 10.0 / 3.0]);
        let dx = |mode| values(backward(&pool(mode), &x, &[6.0, 12.0], &x_dims, &y_dims));
        assert_eq!(dx(Mode::Max), [0.0, 18.0, 0.0, 0.0]);
        assert_eq!(dx(Mode::AverageIncludingPadding), [2.0, 6.0, 4.0, 4.0]);
    }
}
