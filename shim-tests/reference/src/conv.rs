//! Convolutions in their three directions as nested loops.

/// Sizes of one convolution over three spatial axes; leading ones are 1 where there are fewer.
///
/// Tensors are packed, the last axis fastest: x [n, c, x…], w [k, c/groups, w…], y [n, k, y…].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Images.
    pub n: usize,
    /// Input channels, of all groups.
    pub c: usize,
    /// Output channels, of all groups.
    pub k: usize,
    /// Groups; divides `c` and `k`.
    pub groups: usize,
    /// Spatial sizes of the input.
    pub x: [usize; 3],
    /// Spatial sizes of the filter.
    pub w: [usize; 3],
    /// Spatial sizes of the output.
    pub y: [usize; 3],
    /// Zeros before the input; windows may reach beyond its end as well.
    pub pad: [usize; 3],
    /// Input positions between output positions.
    pub stride: [usize; 3],
    /// Input positions between places of the filter.
    pub dilation: [usize; 3],
    /// Whether the filter is flipped along every spatial axis.
    pub flip: bool,
}

/// What the result may be compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The result in double precision.
    pub value: f64,
    /// Σ|a|·|b|: rounding errors are proportional to this, not to the result.
    pub magnitude: f64,
    /// How many products were added.
    pub terms: usize,
}

impl Expected {
    const ZERO: Expected = Expected { value: 0.0, magnitude: 0.0, terms: 0 };

    fn add(&mut self, a: f64, b: f64) {
        self.value += a * b;
        self.magnitude += a.abs() * b.abs();
        self.terms += 1;
    }
}

impl Problem {
    /// Elements of x.
    pub fn x_len(&self) -> usize {
        self.n * self.c * self.x.iter().product::<usize>()
    }

    /// Elements of w.
    pub fn w_len(&self) -> usize {
        self.k * (self.c / self.groups) * self.w.iter().product::<usize>()
    }

    /// Elements of y.
    pub fn y_len(&self) -> usize {
        self.n * self.k * self.y.iter().product::<usize>()
    }

    /// Calls `product(x, w, y)` with the places of every product `x·w` that is part of an output y; products
    /// with the padding are left out.
    fn for_each(&self, mut product: impl FnMut(usize, usize, usize)) {
        let (of_group, to_group) = (self.c / self.groups, self.k / self.groups);
        for n in 0..self.n {
            for k in 0..self.k {
                for c in 0..of_group {
                    for o in 0..self.y.iter().product() {
                        for f in 0..self.w.iter().product() {
                            let (o, f) = (position(o, self.y), position(f, self.w));
                            let Some(i) = self.reads(o, f) else { continue };
                            let stored = if self.flip { [0, 1, 2].map(|a| self.w[a] - 1 - f[a]) } else { f };
                            let channel = k / to_group * of_group + c;
                            product(
                                place(n * self.c + channel, self.x, i),
                                place(k * of_group + c, self.w, stored),
                                place(n * self.k + k, self.y, o),
                            );
                        }
                    }
                }
            }
        }
    }

    /// The input position that step `f` of the window of output position `o` reads; `None` in the padding.
    fn reads(&self, o: [usize; 3], f: [usize; 3]) -> Option<[usize; 3]> {
        let mut i = [0; 3];
        for axis in 0..3 {
            let ahead = o[axis] * self.stride[axis] + f[axis] * self.dilation[axis];
            i[axis] = ahead.checked_sub(self.pad[axis]).filter(|&index| index < self.x[axis])?;
        }
        Some(i)
    }
}

/// The position with this number in a box, the last axis fastest.
fn position(number: usize, sizes: [usize; 3]) -> [usize; 3] {
    [number / (sizes[1] * sizes[2]), number / sizes[2] % sizes[1], number % sizes[2]]
}

/// The place of a position of a packed tensor's `outer`-th box.
fn place(outer: usize, sizes: [usize; 3], at: [usize; 3]) -> usize {
    ((outer * sizes[0] + at[0]) * sizes[1] + at[1]) * sizes[2] + at[2]
}

/// y, from x and w.
pub fn forward(problem: &Problem, x: &[f64], w: &[f64]) -> Vec<Expected> {
    let mut y = vec![Expected::ZERO; problem.y_len()];
    problem.for_each(|at_x, at_w, at_y| y[at_y].add(x[at_x], w[at_w]));
    y
}

/// dx, from w and dy.
pub fn backward_data(problem: &Problem, w: &[f64], dy: &[f64]) -> Vec<Expected> {
    let mut dx = vec![Expected::ZERO; problem.x_len()];
    problem.for_each(|at_x, at_w, at_y| dx[at_x].add(dy[at_y], w[at_w]));
    dx
}

/// dw, from x and dy.
pub fn backward_filter(problem: &Problem, x: &[f64], dy: &[f64]) -> Vec<Expected> {
    let mut dw = vec![Expected::ZERO; problem.w_len()];
    problem.for_each(|at_x, at_w, at_y| dw[at_w].add(x[at_x], dy[at_y]));
    dw
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(flip: bool) -> Problem {
        Problem {
            n: 1,
            c: 1,
            k: 1,
            groups: 1,
            x: [1, 1, 4],
            w: [1, 1, 2],
            y: [1, 1, 3],
            pad: [0, 0, 1],
            stride: [1, 1, 2],
            dilation: [1; 3],
            flip,
        }
    }

    fn values(expected: Vec<Expected>) -> Vec<f64> {
        expected.into_iter().map(|expected| expected.value).collect()
    }

    #[test]
    fn a_line_by_hand() {
        let (x, w, y) = ([1.0, 2.0, 3.0, 4.0], [10.0, 1.0], [1.0, 2.0, 3.0]);
        assert_eq!(values(forward(&line(false), &x, &w)), [1.0, 23.0, 40.0]);
        assert_eq!(values(forward(&line(true), &x, &w)), [10.0, 32.0, 4.0]);
        assert_eq!(values(backward_data(&line(false), &w, &y)), [1.0, 20.0, 2.0, 30.0]);
        assert_eq!(values(backward_filter(&line(false), &x, &y)), [2.0 * 2.0 + 3.0 * 4.0, 1.0 + 2.0 * 3.0]);
    }

    #[test]
    fn groups_do_not_mix() {
        let problem =
            Problem { c: 2, k: 2, groups: 2, x: [1; 3], w: [1; 3], y: [1; 3], pad: [0; 3], ..line(false) };
        assert_eq!(values(forward(&problem, &[2.0, 3.0], &[5.0, 7.0])), [10.0, 21.0]);
    }
}
