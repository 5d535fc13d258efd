//! Local response normalisation across channels.
//!
//! All channels of a few neighbouring places are copied side by side, so that every layout is computed alike:
//! the copy is little beside the power.

// Loops must be inlined into the functions that switch wider registers on.
#![allow(clippy::inline_always)]

use std::ops::Range;

use crate::norm::fill_raw::fill_stacks;
use crate::norm::wide_raw::{Kernel, widest};
use crate::tensor::{Real, TensorMut, TensorRef};

/// Places that are computed side by side; no power of two, so that lines of a copy do not crowd in few sets of
/// the cache.
const WIDTH: usize = 112;

/// The parameters of a normalisation across channels (cudnnSetLRNDescriptor).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    /// Channels of a window: with c as its centre from c − ⌊(n − 1)/2⌋ to n − 1 further.
    pub n: usize,
    /// α.
    pub alpha: f64,
    /// β.
    pub beta: f64,
    /// k.
    pub k: f64,
}

impl Lrn {
    /// The channels in the window around one.
    fn window(&self, centre: usize, channels: usize) -> Range<usize> {
        let behind = (self.n - 1) / 2;
        centre.saturating_sub(behind)..(centre + self.n - behind).min(channels)
    }

    /// The channels whose windows hold this one.
    fn holders(&self, channel: usize, channels: usize) -> Range<usize> {
        let behind = (self.n - 1) / 2;
        (channel + 1 + behind).saturating_sub(self.n)..(channel + behind + 1).min(channels)
    }
}

/// `y = x·s^(−β)` with `s = k + α/n·Σ x²` over the window's channels: cudnnLRNCrossChannelForward.
///
/// x and y are [N, C, spatial…]. Windows are clipped to the channels that there are; α is divided by n all the
/// same. A NaN makes all windows that hold it NaN; an infinity makes its own y NaN and the others' 0 (β > 0).
///
/// # Panics
/// Unless x and y have the same sizes and at least two axes, and n is at least 1.
pub fn lrn_forward<R: Real>(lrn: &Lrn, x: TensorRef<'_, R>, y: TensorMut<'_, R>) {
    check(lrn, &[&x], &y);
    let layout = y.layout;
    let buffers = || (Vec::new(), Vec::new());
    fill_stacks(y, [&x.layout, &layout], WIDTH, buffers, |(x_stack, scale), at, count, y| {
        load(x, at.places[0], at.strides[0], count, x_stack);
        scale.resize(x_stack.len(), R::ZERO);
        widest(Scale { lrn, x: x_stack, count, s: scale });
        widest(Scaled { beta: lrn.beta, x: x_stack, scale, y });
    });
}

/// `dx = dy·s^(−β) − 2αβ/n·x·Σ dy·y/s`, the sum over the channels whose windows hold x's, and s that of
/// [`lrn_forward`]: cudnnLRNCrossChannelBackward. x and y are the forward call's.
///
/// # Panics
/// Unless all have the same sizes and at least two axes, and n is at least 1.
pub fn lrn_backward<R: Real>(
    lrn: &Lrn,
    x: TensorRef<'_, R>,
    y: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    dx: TensorMut<'_, R>,
) {
    check(lrn, &[&x, &y, &dy], &dx);
    let layout = dx.layout;
    let operands = [&x.layout, &y.layout, &dy.layout, &layout];
    let buffers = || [(); 4].map(|()| Vec::new());
    fill_stacks(dx, operands, WIDTH, buffers, |[x_stack, ratio, dy_stack, scale], at, count, dx| {
        load(x, at.places[0], at.strides[0], count, x_stack);
        load(y, at.places[1], at.strides[1], count, ratio);
        load(dy, at.places[2], at.strides[2], count, dy_stack);
        scale.resize(x_stack.len(), R::ZERO);
        widest(Scale { lrn, x: x_stack, count, s: scale });
        for ((ratio, &dy), &scale) in ratio.iter_mut().zip(&*dy_stack).zip(&*scale) {
            *ratio = dy * *ratio / scale;
        }
        widest(Scaled { beta: lrn.beta, x: dy_stack, scale, y: dx });
        widest(Correct { lrn, x: x_stack, ratio, count, dx });
    });
}

fn check<R: Real>(lrn: &Lrn, inputs: &[&TensorRef<'_, R>], output: &TensorMut<'_, R>) {
    assert!(lrn.n > 0, "a window has at least one channel: {lrn:?}");
    assert!(output.layout.rank() >= 2, "no axis of channels: {:?}", output.layout);
    for input in inputs {
        let same = input.layout.dims() == output.layout.dims();
        assert!(same, "sizes differ: {:?}, {:?}", input.layout, output.layout);
    }
}

/// All channels of `count` places, a packed line for each channel.
fn load<R: Real>(from: TensorRef<'_, R>, place: usize, stride: usize, count: usize, stack: &mut Vec<R>) {
    let (channels, step) = (from.layout.dims()[1], from.layout.strides()[1]);
    stack.resize(channels * count, R::ZERO);
    if stride == 1 {
        for (channel, line) in stack.chunks_exact_mut(count).enumerate() {
            let start = place + channel * step;
            line.copy_from_slice(&from.data[start..start + count]);
        }
    } else {
        for position in 0..count {
            let start = place + position * stride;
            for channel in 0..channels {
                stack[channel * count + position] = from.data[start + channel * step];
            }
        }
    }
}

/// `s = k + α/n·Σ x²`.
struct Scale<'a, R> {
    lrn: &'a Lrn,
    x: &'a [R],
    count: usize,
    s: &'a mut [R],
}

impl<R: Real> Kernel for Scale<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let channels = self.x.len() / self.count;
        let (k, factor) = (R::of(self.lrn.k), R::of(self.lrn.alpha / self.lrn.n as f64));
        for (channel, scale) in self.s.chunks_exact_mut(self.count).enumerate() {
            scale.fill(R::ZERO);
            let window = self.lrn.window(channel, channels);
            let lines = &self.x[window.start * self.count..window.end * self.count];
            for line in lines.chunks_exact(self.count) {
                for (sum, &x) in scale.iter_mut().zip(line) {
                    *sum = *sum + x * x;
                }
            }
            for sum in scale {
                *sum = k + factor * *sum;
            }
        }
    }
}

/// `y = x·s^(−β)`, by square roots for the usual β.
struct Scaled<'a, R> {
    beta: f64,
    x: &'a [R],
    scale: &'a [R],
    y: &'a mut [R],
}

impl<R: Real> Scaled<'_, R> {
    #[inline(always)]
    fn each(self, power: impl Fn(R) -> R) {
        for ((y, &x), &scale) in self.y.iter_mut().zip(self.x).zip(self.scale) {
            *y = x * power(scale);
        }
    }
}

impl<R: Real> Kernel for Scaled<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        if self.beta == 0.75 {
            self.each(|scale| R::ONE / (scale.sqrt() * scale.sqrt().sqrt()));
        } else if self.beta == 0.5 {
            self.each(|scale| R::ONE / scale.sqrt());
        } else if self.beta == 1.0 {
            self.each(|scale| R::ONE / scale);
        } else {
            let exponent = R::of(-self.beta);
            self.each(|scale| scale.powf(exponent));
        }
    }
}

/// `dx −= 2αβ/n·x·Σ ratio`.
struct Correct<'a, R> {
    lrn: &'a Lrn,
    x: &'a [R],
    ratio: &'a [R],
    count: usize,
    dx: &'a mut [R],
}

impl<R: Real> Kernel for Correct<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let (lrn, count) = (self.lrn, self.count);
        let channels = self.x.len() / count;
        let factor = R::of(2.0 * lrn.alpha * lrn.beta / lrn.n as f64);
        let mut sum = [R::ZERO; WIDTH];
        let lines = self.dx.chunks_exact_mut(count).zip(self.x.chunks_exact(count));
        for (channel, (dx, x)) in lines.enumerate() {
            let sum = &mut sum[..count];
            sum.fill(R::ZERO);
            let holders = lrn.holders(channel, channels);
            for line in self.ratio[holders.start * count..holders.end * count].chunks_exact(count) {
                for (sum, &ratio) in sum.iter_mut().zip(line) {
                    *sum = *sum + ratio;
                }
            }
            for ((dx, &x), &sum) in dx.iter_mut().zip(x).zip(&*sum) {
                *dx = *dx - factor * x * sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_look_as_far_back_as_cudnn_does() {
        let lrn = Lrn { n: 10, alpha: 1.0, beta: 1.0, k: 1.0 };
        assert_eq!(lrn.window(20, 100), 16..26);
        assert_eq!((lrn.window(2, 100), lrn.window(98, 100)), (0..8, 94..100));
    }

    #[test]
    fn holders_are_the_centres_of_the_windows_that_hold_a_channel() {
        for n in 1..9 {
            let lrn = Lrn { n, alpha: 1.0, beta: 1.0, k: 1.0 };
            for channel in 0..7 {
                let holds = |&centre: &usize| lrn.window(centre, 7).contains(&channel);
                assert!((0..7).filter(holds).eq(lrn.holders(channel, 7)), "channel {channel}, n {n}");
            }
        }
    }
}
