//! Elements brought to a mean and a deviation.

use super::Normalization;
use super::fill_raw::fill;
use super::lines::{Normalize, Same};
use super::operand::{Parameter, check_broadcast, layout_of, run};
use super::wide_raw::widest;
use crate::tensor::{Real, TensorMut, TensorRef};

/// `y = scale·(x − mean)·inv_std + bias`, each parameter spread over x along the axes where it has size 1.
///
/// The arithmetic of cudnnBatchNormalizationForwardInference and …ForwardTraining, and of
/// cudnnNormalizationForward* and the layer, instance and RMS norms of cuDNN's graph API. NaN and infinities
/// of any operand propagate.
///
/// # Panics
/// Unless y has x's sizes and each parameter x's rank and along each axis x's size or 1.
pub fn normalize<R: Real>(x: TensorRef<'_, R>, by: &Normalization<'_, R>, y: TensorMut<'_, R>) {
    by.check(&x.layout);
    assert!(y.layout.dims() == x.layout.dims(), "y {:?} has not x's sizes {:?}", y.layout, x.layout);
    let rank = x.layout.rank();
    let (scale, bias) = (layout_of(by.scale.as_ref(), rank), layout_of(by.bias.as_ref(), rank));
    let layout = y.layout;
    let operands = [&x.layout, &by.mean.layout, &by.inv_std.layout, &scale, &bias, &layout];
    let buffers = || std::array::from_fn(|_| Vec::new());
    fill(y, operands, buffers, |buffers: &mut [Vec<R>; 9], at, y| {
        let length = y.len();
        let [b0, b1, b2, b3, b4, b5, b6, b7, b8] = buffers;
        let x = run(x.data, at, 0, length, b0);
        let mean = Parameter::of(Some(by.mean), R::ZERO, at, 1, length, b1);
        let inv_std = Parameter::of(Some(by.inv_std), R::ONE, at, 2, length, b2);
        let scale = Parameter::of(by.scale, R::ONE, at, 3, length, b3);
        let bias = Parameter::of(by.bias, R::ZERO, at, 4, length, b4);
        match (mean, inv_std, scale, bias) {
            (
                Parameter::Same(mean),
                Parameter::Same(inv_std),
                Parameter::Same(scale),
                Parameter::Same(bias),
            ) => {
                let (scale, bias) = (Same(scale), Same(bias));
                widest(Normalize { x, mean: Same(mean), inv_std: Same(inv_std), scale, bias, y });
            }
            (Parameter::Same(mean), Parameter::Same(inv_std), scale, bias) => {
                let (scale, bias) = (scale.each(length, b7), bias.each(length, b8));
                widest(Normalize { x, mean: Same(mean), inv_std: Same(inv_std), scale, bias, y });
            }
            (mean, inv_std, scale, bias) => {
                let (mean, inv_std) = (mean.each(length, b5), inv_std.each(length, b6));
                let (scale, bias) = (scale.each(length, b7), bias.each(length, b8));
                widest(Normalize { x, mean, inv_std, scale, bias, y });
            }
        }
    });
}

impl<R: Real> Normalization<'_, R> {
    /// Panics unless the parameters spread over x.
    pub(super) fn check(&self, x: &crate::tensor::Layout) {
        check_broadcast(x, &self.mean.layout, "mean");
        check_broadcast(x, &self.inv_std.layout, "inv_std");
        if let Some(scale) = &self.scale {
            check_broadcast(x, &scale.layout, "scale");
        }
        if let Some(bias) = &self.bias {
            check_broadcast(x, &bias.layout, "bias");
        }
    }
}
