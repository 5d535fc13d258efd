//! Local response normalisation across channels, of packed tensors [N, C, spatial…].

use crate::norm::Near;

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Lrn {
    /// Channels of a window.
    pub n: usize,
    /// α, divided by n before it is used.
    pub alpha: f64,
    /// β.
    pub beta: f64,
    /// k.
    pub k: f64,
}

/// Sizes of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// C.
    pub channels: usize,
    /// All spatial sizes multiplied.
    pub places: usize,
}

impl Lrn {
    /// Whether the window around a channel holds another: (n − 1)/2 before it, and n − 1 − (n − 1)/2 after.
    fn holds(&self, centre: usize, channel: usize) -> bool {
        let behind = (self.n - 1) / 2;
        channel + behind >= centre && channel <= centre + (self.n - 1 - behind)
    }

    /// s of every element.
    fn scales(&self, x: &[f64], sizes: Sizes) -> Vec<f64> {
        let sum = |at: usize| neighbours(at, sizes, |centre, channel| self.holds(centre, channel));
        let squares = |at: usize| sum(at).iter().map(|&other| x[other] * x[other]).sum::<f64>();
        (0..x.len()).map(|at| self.k + self.alpha / self.n as f64 * squares(at)).collect()
    }
}

/// The elements of the same place whose channel stands in this relation to that of element `at`.
fn neighbours(at: usize, sizes: Sizes, related: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let Sizes { channels, places } = sizes;
    let (n, own, place) = (at / places / channels, at / places % channels, at % places);
    let element = |channel: usize| (n * channels + channel) * places + place;
    (0..channels).filter(|&channel| related(own, channel)).map(element).collect()
}

/// `x·s^(−β)`.
pub fn forward(lrn: &Lrn, x: &[f64], sizes: Sizes) -> Vec<Near> {
    let y = |(&x, scale): (&f64, f64)| x * scale.powf(-lrn.beta);
    let values = x.iter().zip(lrn.scales(x, sizes)).map(y);
    values.map(|value| Near { value, magnitude: value.abs() }).collect()
}

/// `dy·s^(−β) − 2αβ/n·x·Σ dy·y/s`.
pub fn backward(lrn: &Lrn, x: &[f64], dy: &[f64], sizes: Sizes) -> Vec<Near> {
    let (y, scales) = (forward(lrn, x, sizes), lrn.scales(x, sizes));
    let factor = 2.0 * lrn.alpha * lrn.beta / lrn.n as f64;
    let dx = |at: usize| {
        let direct = dy[at] * scales[at].powf(-lrn.beta);
        let mut near = Near { value: direct, magnitude: direct.abs() };
        for other in neighbours(at, sizes, |own, centre| lrn.holds(centre, own)) {
            let term = factor * x[at] * dy[other] * y[other].value / scales[other];
            near.value -= term;
            near.magnitude += term.abs();
        }
        near
    };
    (0..x.len()).map(dx).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_channels_by_hand() {
        let lrn = Lrn { n: 2, alpha: 2.0, beta: 1.0, k: 1.0 };
        let y = forward(&lrn, &[1.0, 2.0, 3.0], Sizes { channels: 3, places: 1 });
        for (y, want) in y.iter().zip([1.0 / 6.0, 2.0 / 14.0, 3.0 / 10.0]) {
            assert!((y.value - want).abs() < 1e-15, "{y:?} {want}");
        }
    }

    #[test]
    fn the_gradient_agrees_with_differences() {
        let lrn = Lrn { n: 4, alpha: 0.5, beta: 0.75, k: 1.5 };
        let sizes = Sizes { channels: 6, places: 2 };
        let x: Vec<f64> = (0..12).map(|at| f64::from(at * 7 % 12) / 4.0 - 1.0).collect();
        let dy: Vec<f64> = (0..12).map(|at| f64::from(at * 5 % 12) / 4.0 - 1.5).collect();
        let loss =
            |x: &[f64]| -> f64 { forward(&lrn, x, sizes).iter().zip(&dy).map(|(y, dy)| y.value * dy).sum() };
        for (at, dx) in backward(&lrn, &x, &dy, sizes).iter().enumerate() {
            let moved = |by: f64| {
                let mut x = x.clone();
                x[at] += by;
                loss(&x)
            };
            assert!(((moved(1e-5) - moved(-1e-5)) / 2e-5 - dx.value).abs() < 1e-8, "{at}: {dx:?}");
        }
    }
}
