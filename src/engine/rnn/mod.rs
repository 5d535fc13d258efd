//! Recurrent networks as cuDNN's version 8 interface computes them.
//!
//! With x the layer's input at a step, h and c the states before it, h′ and c′ those after it, W and R the
//! matrices of a gate, b its biases, σ the logistic function, ∘ the product of elements:
//!
//! ```text
//! Relu, Tanh   h′ = f(W₀x + R₁h + b₀ + b₁)
//! Lstm         i = σ(W₀x + R₄h + b₀ + b₄)      f = σ(W₁x + R₅h + b₁ + b₅)
//!              g = tanh(W₂x + R₆h + b₂ + b₆)   o = σ(W₃x + R₇h + b₃ + b₇)
//!              c′ = clip(f∘c + i∘g)            h′ = o∘tanh(c′), or P₈·(o∘tanh(c′)) if projected
//! Gru          r = σ(W₀x + R₃h + b₀ + b₃)      i = σ(W₁x + R₄h + b₁ + b₄)
//!              n = tanh(W₂x + b₂ + r∘(R₅h + b₅))
//!              h′ = (1 − i)∘n + i∘h
//! ```
//!
//! The numbers are cuDNN's linear layer ids. Where [`RnnInput::Skip`] holds, the first layer has x in
//! place of each Wx. Source: `cudnnRNNMode_t` and `cudnnGetRNNWeightParams` in NVIDIA's cuDNN documentation,
//! <https://docs.nvidia.com/deeplearning/cudnn/>.
//!
//! The gradient of a clipped cell state is 0 where clipping changed it.

mod backward;
mod backward_raw;
mod forward;
mod forward_raw;
mod functions;
mod gradients;
mod network;
mod panels_raw;
mod sequences;
mod space;
mod weights;
pub(crate) mod widest_raw;

pub use backward::rnn_backward_data;
pub use forward::rnn_forward;
pub use gradients::rnn_backward_weights;
pub use network::{Cell, Clip, ClipNan, Rnn, RnnBias, RnnDirection, RnnInput};
pub use weights::{LinearPlace, RnnWeights};

use crate::dropout_raw::DropoutSeed;
use crate::gemm::gemm;
use crate::shape::{Conj, GemmShape, MatMut, MatRef};
use crate::tensor::{Layout, Real, TensorMut, TensorRef};

/// States of all pseudo layers, to read; without a tensor they are zeros.
#[derive(Clone, Copy, Debug)]
pub struct RnnStates<'a, R> {
    /// `[pseudo layers, batch, projection]`.
    pub h: Option<TensorRef<'a, R>>,
    /// `[pseudo layers, batch, hidden]`; counts for an LSTM only.
    pub c: Option<TensorRef<'a, R>>,
}

/// States of all pseudo layers, to write; without a tensor they are not wanted.
#[derive(Debug)]
pub struct RnnStatesMut<'a, R> {
    /// `[pseudo layers, batch, projection]`.
    pub h: Option<TensorMut<'a, R>>,
    /// `[pseudo layers, batch, hidden]`; written for an LSTM only.
    pub c: Option<TensorMut<'a, R>>,
}

impl<R> RnnStates<'_, R> {
    fn layouts(&self) -> [Option<Layout>; 2] {
        [self.h.as_ref().map(|h| h.layout), self.c.as_ref().map(|c| c.layout)]
    }
}

impl<R> RnnStatesMut<'_, R> {
    fn layouts(&self) -> [Option<Layout>; 2] {
        [self.h.as_ref().map(|h| h.layout), self.c.as_ref().map(|c| c.layout)]
    }
}

/// What a training pass needs beside its operands.
#[derive(Debug)]
pub struct RnnTraining<'a, R> {
    /// At least [`Rnn::reserve_elements`] long; filled with what the backward passes need.
    pub reserve: &'a mut [R],
    /// Where the random numbers of dropout start.
    pub dropout: DropoutSeed,
}

/// Panics unless x and y are tensors of these sequences; the steps of x.
fn check_sequences(rnn: &Rnn, lengths: &[usize], x: &Layout, y: &Layout) -> usize {
    let &[steps, batch, input] = x.dims() else { panic!("x is [steps, batch, input], not {x:?}") };
    assert_eq!([batch, input], [lengths.len(), rnn.input], "x is [steps, batch, input], not {x:?}");
    assert_eq!(y.dims(), [steps, batch, rnn.output()], "y is [steps, batch, output], not {y:?}");
    assert!(lengths.iter().all(|&length| length <= steps), "lengths {lengths:?}, {steps} steps");
    steps
}

/// Panics unless the states h and c have the network's shape.
fn check_states(rnn: &Rnn, batch: usize, [h, c]: [Option<Layout>; 2]) {
    if let Some(h) = h {
        assert_eq!(h.dims(), [rnn.pseudo_layers(), batch, rnn.projection], "h is not {h:?}");
    }
    if let (Some(c), Cell::Lstm) = (c, rnn.cell) {
        assert_eq!(c.dims(), [rnn.pseudo_layers(), batch, rnn.hidden], "c is not {c:?}");
    }
}

/// A matrix over the beginning of a slice.
fn matrix<R>(data: &[R], row_stride: usize, col_stride: usize) -> MatRef<'_, R> {
    MatRef { data, row_stride, col_stride, batch_stride: 0, conjugate: Conj::No }
}

/// `target += a·b`, the rows of the target `stride` apart.
fn multiply<R: Real>(shape: GemmShape, a: MatRef<'_, R>, b: MatRef<'_, R>, target: &mut [R], stride: usize) {
    let target = MatMut { data: target, row_stride: stride, col_stride: 1, batch_stride: 0 };
    gemm(shape, R::ONE, a, b, R::ONE, target);
}

/// `target += values`, element by element.
// Inlined into the functions that switch instruction sets on, or it runs without.
#[allow(clippy::inline_always)]
#[inline(always)]
fn add<R: Real>(target: &mut [R], values: &[R]) {
    assert_eq!(target.len(), values.len(), "vectors of one length");
    for (target, &value) in target.iter_mut().zip(values) {
        *target = *target + value;
    }
}
