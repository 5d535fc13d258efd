//! Normalisation over any axes: statistics, `scale·(x − mean)·inv_std + bias`, and the gradients.
//!
//! Tensors are packed, the last axis fastest. A parameter has x's rank, and along each axis x's size or 1.

/// What a result may be compared with.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    /// The result in double precision.
    pub value: f64,
    /// The sum of the absolute values of what was added: rounding errors are proportional to this.
    pub magnitude: f64,
}

/// A parameter and its sizes.
#[derive(Clone, Copy, Debug)]
pub struct Spread<'a> {
    /// The elements.
    pub values: &'a [f64],
    /// The sizes.
    pub dims: &'a [usize],
}

impl Spread<'_> {
    /// The element that counts for element `position` of a tensor of these sizes.
    pub fn at(&self, position: usize, dims: &[usize]) -> f64 {
        self.values[place(position, dims, self.dims)]
    }
}

/// Whether the mean is subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Centering {
    /// It is.
    Mean,
    /// It is taken as 0.
    None,
}

/// Mean and biased variance.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// Σx / m.
    pub mean: Vec<Near>,
    /// Σ(x − mean)² / m.
    pub variance: Vec<Near>,
}

/// What a normalisation subtracts and multiplies by.
#[derive(Clone, Copy, Debug)]
pub struct Normalization<'a> {
    /// The mean.
    pub mean: Spread<'a>,
    /// 1 / √(variance + ε).
    pub inv_std: Spread<'a>,
    /// The factor.
    pub scale: Option<Spread<'a>>,
    /// The term.
    pub bias: Option<Spread<'a>>,
}

/// The gradients, those of scale and bias in the sizes that were asked for.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// With respect to x.
    pub dx: Vec<Near>,
    /// With respect to the scale.
    pub dscale: Vec<Near>,
    /// With respect to the bias.
    pub dbias: Vec<Near>,
}

/// Where, in a packed tensor of sizes `own`, the element lies that element `position` of a packed tensor of
/// sizes `dims` shares.
pub fn place(position: usize, dims: &[usize], own: &[usize]) -> usize {
    let (mut rest, mut place, mut step) = (position, 0, 1);
    for (&size, &own) in dims.iter().zip(own).rev() {
        if own != 1 {
            place += rest % size * step;
        }
        rest /= size;
        step *= own;
    }
    place
}

/// Σ of `term(position)` over the elements that share a place of a tensor of sizes `own`. What each addition
/// rounds away is added at the end, so that long sums are exact enough for results in double precision.
fn sums(dims: &[usize], own: &[usize], term: impl Fn(usize) -> Near) -> Vec<Near> {
    let mut sums = vec![Near { value: 0.0, magnitude: 0.0 }; own.iter().product()];
    let mut lost = vec![0.0; sums.len()];
    for position in 0..dims.iter().product() {
        let place = place(position, dims, own);
        let (sum, Near { value, magnitude }) = (&mut sums[place], term(position));
        let total = sum.value + value;
        lost[place] += if sum.value.abs() >= value.abs() {
            (sum.value - total) + value
        } else {
            (value - total) + sum.value
        };
        sum.value = total;
        sum.magnitude += magnitude;
    }
    sums.iter().zip(lost).map(|(sum, lost)| Near { value: sum.value + lost, ..*sum }).collect()
}

/// A number without an error of its own.
fn exact(value: f64) -> Near {
    Near { value, magnitude: value.abs() }
}

/// A product, the magnitudes multiplied as well.
fn product(x: Near, y: Near) -> Near {
    Near { value: x.value * y.value, magnitude: x.magnitude * y.magnitude }
}

fn divided(sums: &[Near], count: f64) -> Vec<Near> {
    sums.iter().map(|sum| Near { value: sum.value / count, magnitude: sum.magnitude / count }).collect()
}

/// Mean and variance over the axes where `own` is 1.
pub fn statistics(centering: Centering, x: &[f64], dims: &[usize], own: &[usize]) -> Statistics {
    let count = x.len() as f64 / own.iter().product::<usize>() as f64;
    let mean = match centering {
        Centering::Mean => divided(&sums(dims, own, |position| exact(x[position])), count),
        Centering::None => vec![Near { value: 0.0, magnitude: 0.0 }; own.iter().product()],
    };
    let distance = |position: usize| x[position] - mean[place(position, dims, own)].value;
    let variance = divided(&sums(dims, own, |position| exact(distance(position).powi(2))), count);
    Statistics { mean, variance }
}

/// `scale·(x − mean)·inv_std + bias`.
pub fn normalize(x: &[f64], dims: &[usize], by: &Normalization<'_>) -> Vec<Near> {
    let element = |position: usize| {
        let factor = by.inv_std.at(position, dims) * by.scale.map_or(1.0, |scale| scale.at(position, dims));
        let bias = by.bias.map_or(0.0, |bias| bias.at(position, dims));
        let mean = by.mean.at(position, dims);
        Near {
            value: (x[position] - mean) * factor + bias,
            magnitude: (x[position].abs() + mean.abs()) * factor.abs() + bias.abs(),
        }
    };
    (0..x.len()).map(element).collect()
}

/// The gradients where mean and inv_std are x's own, by the chain rule through both.
pub fn normalize_backward(
    centering: Centering,
    x: &[f64],
    dy: &[f64],
    dims: &[usize],
    by: &Normalization<'_>,
    scale_dims: &[usize],
    bias_dims: &[usize],
) -> Gradients {
    let groups = by.mean.dims;
    let count = x.len() as f64 / groups.iter().product::<usize>() as f64;
    let hat = |at: usize| {
        let (mean, inv_std) = (by.mean.at(at, dims), by.inv_std.at(at, dims));
        Near { value: (x[at] - mean) * inv_std, magnitude: (x[at].abs() + mean.abs()) * inv_std.abs() }
    };
    let g = |at: usize| exact(dy[at] * by.scale.map_or(1.0, |scale| scale.at(at, dims)));
    let first = divided(&sums(dims, groups, g), count);
    let second = divided(&sums(dims, groups, |at| product(g(at), hat(at))), count);
    let through_mean = if centering == Centering::Mean { 1.0 } else { 0.0 };
    let dx = |at: usize| {
        let (inv_std, group) = (by.inv_std.at(at, dims), place(at, dims, groups));
        let (first, second) = (first[group], product(hat(at), second[group]));
        Near {
            value: inv_std * (g(at).value - through_mean * first.value - second.value),
            magnitude: inv_std.abs() * (g(at).magnitude + first.magnitude + second.magnitude),
        }
    };
    Gradients {
        dx: (0..x.len()).map(dx).collect(),
        dscale: sums(dims, scale_dims, |at| product(exact(dy[at]), hat(at))),
        dbias: sums(dims, bias_dims, |at| exact(dy[at])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rows_by_hand() {
        let x = [1.0, 3.0, 10.0, 10.0];
        let statistics = statistics(Centering::Mean, &x, &[2, 2], &[2, 1]);
        assert_eq!(statistics.mean.iter().map(|mean| mean.value).collect::<Vec<_>>(), [2.0, 10.0]);
        assert_eq!(statistics.variance.iter().map(|mean| mean.value).collect::<Vec<_>>(), [1.0, 0.0]);
    }

    #[test]
    fn the_gradient_agrees_with_differences() {
        let (dims, own) = ([2, 3], [2, 1]);
        let (x, dy) = ([0.5, -1.0, 2.0, 3.0, 1.0, -2.0], [1.0, 0.25, -0.5, 2.0, -1.0, 0.75]);
        let scale = [1.5, -0.5, 2.0];
        let loss = |x: &[f64], centering| {
            let statistics = statistics(centering, x, &dims, &own);
            let mean: Vec<f64> = statistics.mean.iter().map(|near| near.value).collect();
            let inv_std: Vec<f64> =
                statistics.variance.iter().map(|v| (v.value + 0.1).sqrt().recip()).collect();
            let by = Normalization {
                mean: Spread { values: &mean, dims: &own },
                inv_std: Spread { values: &inv_std, dims: &own },
                scale: Some(Spread { values: &scale, dims: &[1, 3] }),
                bias: None,
            };
            let loss: f64 = normalize(x, &dims, &by).iter().zip(dy).map(|(y, dy)| y.value * dy).sum();
            (loss, normalize_backward(centering, x, &dy, &dims, &by, &[1, 3], &[1, 3]))
        };
        for centering in [Centering::Mean, Centering::None] {
            let (_, gradients) = loss(&x, centering);
            for at in 0..x.len() {
                let moved = |by: f64| {
                    let mut x = x;
                    x[at] += by;
                    loss(&x, centering).0
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!(
                    (slope - gradients.dx[at].value).abs() < 1e-7,
                    "{at}: {slope} {:?}",
                    gradients.dx[at]
                );
            }
        }
    }
}
