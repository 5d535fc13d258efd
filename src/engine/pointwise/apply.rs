//! One step on a block: a loop over slices for each function.

// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]

use super::function::{Comparison, Function};
use super::math;
use super::widest_raw::Vectorised;
use crate::tensor::Real;

/// A step on a block. Operands are as long as the target, those beyond the function's arity empty.
pub struct Apply<'a, R> {
    /// What is computed.
    pub function: Function,
    /// Of what.
    pub operands: [&'a [R]; 3],
    /// Where it goes; overwritten.
    pub target: &'a mut [R],
}

impl<R: Real> Vectorised for Apply<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        match self.function.arity() {
            1 => one::<R, FUSED>(self),
            2 => two::<R, FUSED>(self),
            3 => three(self),
            _ => unreachable!("indices are loaded, not computed"),
        }
    }
}

/// target ← f(a).
#[inline(always)]
fn each<R: Real>(step: Apply<'_, R>, f: impl Fn(R) -> R) {
    for (target, &a) in step.target.iter_mut().zip(step.operands[0]) {
        *target = f(a);
    }
}

/// target ← f(a, b).
#[inline(always)]
fn each_pair<R: Real>(step: Apply<'_, R>, f: impl Fn(R, R) -> R) {
    let [a, b, _] = step.operands;
    for ((target, &a), &b) in step.target.iter_mut().zip(a).zip(b) {
        *target = f(a, b);
    }
}

/// 1 or 0.
#[inline(always)]
fn condition<R: Real>(holds: bool) -> R {
    if holds { R::ONE } else { R::ZERO }
}

#[inline(always)]
fn one<R: Real, const FUSED: bool>(step: Apply<'_, R>) {
    match step.function {
        Function::Identity => step.target.copy_from_slice(step.operands[0]),
        Function::Neg => each(step, |a| -a),
        Function::Abs => each(step, R::abs),
        Function::Reciprocal => each(step, |a| R::ONE / a),
        Function::Sqrt => each(step, R::sqrt),
        Function::Rsqrt => each(step, |a| R::ONE / a.sqrt()),
        Function::Exp => each(step, math::exp::<R, FUSED>),
        Function::Log => each(step, R::ln),
        Function::Ceil => each(step, R::ceil),
        Function::Floor => each(step, R::floor),
        Function::Sin => each(step, R::sin),
        Function::Cos => each(step, R::cos),
        Function::Tan => each(step, R::tan),
        Function::Erf => each(step, math::erf::<R, FUSED>),
        Function::LogicalNot => each(step, |a| condition(a == R::ZERO)),
        Function::Relu { lower, upper, slope } => relu(step, lower, upper, slope),
        Function::Tanh => each(step, math::tanh::<R, FUSED>),
        Function::Sigmoid => each(step, math::sigmoid::<R, FUSED>),
        Function::Elu { alpha } => {
            let alpha = R::of(alpha);
            each(step, |a| if a > R::ZERO { a } else { alpha * math::exp_m1::<R, FUSED>(a) });
        }
        Function::Gelu => each(step, |a| a * math::normal::<R, FUSED>(a)),
        Function::GeluTanh => each(step, math::gelu_tanh::<R, FUSED>),
        Function::Softplus { beta } => {
            let beta = R::of(beta);
            each(step, |a| math::softplus::<R, FUSED>(beta * a) / beta);
        }
        Function::Swish { beta } => {
            let beta = R::of(beta);
            each(step, |a| a * math::sigmoid::<R, FUSED>(beta * a));
        }
        other => unreachable!("{other:?} has more than one operand"),
    }
}

#[inline(always)]
fn two<R: Real, const FUSED: bool>(step: Apply<'_, R>) {
    match step.function {
        Function::Add => each_pair(step, |a, b| a + b),
        Function::AddSquare => each_pair(step, |a, b| a + b * b),
        Function::Sub => each_pair(step, |a, b| a - b),
        Function::Mul => each_pair(step, |a, b| a * b),
        Function::Div => each_pair(step, |a, b| a / b),
        Function::Min => each_pair(step, |a, b| if a < b || a.is_nan() { a } else { b }),
        Function::Max => each_pair(step, |a, b| if a > b || a.is_nan() { a } else { b }),
        Function::Mod => each_pair(step, |a, b| a % b),
        Function::Pow => each_pair(step, R::powf),
        Function::Atan2 => each_pair(step, R::atan2),
        Function::Compare(comparison) => compare(step, comparison),
        Function::LogicalAnd => each_pair(step, |a, b| condition(a != R::ZERO && b != R::ZERO)),
        Function::LogicalOr => each_pair(step, |a, b| condition(a != R::ZERO || b != R::ZERO)),
        Function::ReluBackward { lower, upper, slope } => relu_backward(step, lower, upper, slope),
        // tanh x = 2σ(2x) − 1, so its derivative is four times that of σ at 2x.
        Function::TanhBackward => {
            let (two, four) = (R::of(2.0), R::of(4.0));
            each_pair(step, |dy, x| dy * (four * math::sigmoid_slope::<R, FUSED>(two * x)));
        }
        Function::SigmoidBackward => each_pair(step, |dy, x| dy * math::sigmoid_slope::<R, FUSED>(x)),
        Function::EluBackward { alpha } => {
            let alpha = R::of(alpha);
            each_pair(step, |dy, x| if x > R::ZERO { dy } else { dy * (alpha * math::exp::<R, FUSED>(x)) });
        }
        Function::GeluBackward => each_pair(step, |dy, x| {
            dy * (math::normal::<R, FUSED>(x) + x * math::normal_density::<R, FUSED>(x))
        }),
        Function::GeluTanhBackward => each_pair(step, |dy, x| dy * math::gelu_tanh_slope::<R, FUSED>(x)),
        Function::SoftplusBackward { beta } => {
            let beta = R::of(beta);
            each_pair(step, |dy, x| dy * math::sigmoid::<R, FUSED>(beta * x));
        }
        Function::SwishBackward { beta } => {
            let beta = R::of(beta);
            each_pair(step, |dy, x| {
                let z = beta * x;
                dy * (math::sigmoid::<R, FUSED>(z) + z * math::sigmoid_slope::<R, FUSED>(z))
            });
        }
        other => unreachable!("{other:?} has another number of operands"),
    }
}

/// Only `Select` has three operands.
#[inline(always)]
fn three<R: Real>(step: Apply<'_, R>) {
    let [predicate, yes, no] = step.operands;
    for (((target, &predicate), &yes), &no) in step.target.iter_mut().zip(predicate).zip(yes).zip(no) {
        *target = if predicate == R::ZERO { no } else { yes };
    }
}

#[inline(always)]
fn compare<R: Real>(step: Apply<'_, R>, comparison: Comparison) {
    match comparison {
        Comparison::Eq => each_pair(step, |a, b| condition(a == b)),
        Comparison::Ne => each_pair(step, |a, b| condition(a != b)),
        Comparison::Gt => each_pair(step, |a, b| condition(a > b)),
        Comparison::Ge => each_pair(step, |a, b| condition(a >= b)),
        Comparison::Lt => each_pair(step, |a, b| condition(a < b)),
        Comparison::Le => each_pair(step, |a, b| condition(a <= b)),
    }
}

#[inline(always)]
fn relu<R: Real>(step: Apply<'_, R>, lower: f64, upper: f64, slope: f64) {
    let (lower, upper, slope) = (R::of(lower), R::of(upper), R::of(slope));
    let clip = |a: R| if a > upper { upper } else { a };
    if slope == R::ZERO {
        // Not lower + 0·(a − lower), which is NaN for −∞.
        each(step, |a| if a < lower { lower } else { clip(a) });
    } else {
        each(step, |a| if a < lower { lower + slope * (a - lower) } else { clip(a) });
    }
}

#[inline(always)]
fn relu_backward<R: Real>(step: Apply<'_, R>, lower: f64, upper: f64, slope: f64) {
    let (lower, slope) = (R::of(lower), R::of(slope));
    // Nothing compares with NaN: without an upper bound, +∞ passes too.
    let upper = if upper == f64::INFINITY { R::nan() } else { R::of(upper) };
    let clip = |dy: R, x: R| if x >= upper { R::ZERO } else { dy };
    if slope == R::ZERO {
        each_pair(step, |dy, x| if x <= lower { R::ZERO } else { clip(dy, x) });
    } else {
        each_pair(step, |dy, x| if x <= lower { slope * dy } else { clip(dy, x) });
    }
}
