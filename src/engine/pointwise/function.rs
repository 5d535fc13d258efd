//! What a step of a program computes.
//!
//! Source: `cudnnPointwiseMode_t` of the cuDNN backend API,
//! <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html>.

/// Which numbers a comparison holds for; NaN differs from everything and is in no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// a = b.
    Eq,
    /// a ≠ b; holds if one is NaN.
    Ne,
    /// a > b.
    Gt,
    /// a ≥ b.
    Ge,
    /// a < b.
    Lt,
    /// a ≤ b.
    Le,
}

/// What a step computes of its operands a, b and c; names as cuDNN's pointwise modes.
///
/// Backward functions take the gradient of the output and the input of the forward function, in this
/// order: dy and x, also for tanh and sigmoid. Conditions give 1 or 0; a number other than 0 is true, NaN
/// too. NaN operands give NaN unless a function says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// a.
    Identity,
    /// −a.
    Neg,
    /// |a|.
    Abs,
    /// 1/a.
    Reciprocal,
    /// √a.
    Sqrt,
    /// 1/√a.
    Rsqrt,
    /// eᵃ.
    Exp,
    /// ln a.
    Log,
    /// The least integer ≥ a.
    Ceil,
    /// The greatest integer ≤ a.
    Floor,
    /// sin a.
    Sin,
    /// cos a.
    Cos,
    /// tan a.
    Tan,
    /// erf a = 2/√π·∫₀ᵃ e^(−t²) dt.
    Erf,
    /// a = 0, as 1 or 0.
    LogicalNot,
    /// lower + slope·(a − lower) for a < lower, else min(a, upper). With slope 0, −∞ gives `lower`.
    Relu {
        /// `CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP`.
        lower: f64,
        /// `CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP`.
        upper: f64,
        /// `CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE`.
        slope: f64,
    },
    /// tanh a.
    Tanh,
    /// 1/(1 + e⁻ᵃ).
    Sigmoid,
    /// a for a > 0, else α·(eᵃ − 1).
    Elu {
        /// α.
        alpha: f64,
    },
    /// a·Φ(a), with Φ(a) = (1 + erf(a/√2))/2.
    Gelu,
    /// a/2·(1 + tanh(√(2/π)·(a + 0.044715·a³))).
    GeluTanh,
    /// ln(1 + e^(β·a))/β.
    Softplus {
        /// β.
        beta: f64,
    },
    /// a/(1 + e^(−β·a)).
    Swish {
        /// β.
        beta: f64,
    },
    /// The index along an axis of the output; no operand is read.
    GenIndex {
        /// The axis.
        axis: usize,
    },
    /// a + b.
    Add,
    /// a + b².
    AddSquare,
    /// a − b.
    Sub,
    /// a·b.
    Mul,
    /// a/b.
    Div,
    /// The lesser; NaN if either is.
    Min,
    /// The greater; NaN if either is.
    Max,
    /// The remainder of a/b rounded towards 0, with the sign of a (C's `fmod`).
    Mod,
    /// a to the power b (C's `pow`, so 1 to any power and any power 0 are 1).
    Pow,
    /// The angle of the point (b, a).
    Atan2,
    /// A condition, as 1 or 0.
    Compare(Comparison),
    /// a ≠ 0 and b ≠ 0, as 1 or 0.
    LogicalAnd,
    /// a ≠ 0 or b ≠ 0, as 1 or 0.
    LogicalOr,
    /// slope·dy for x ≤ lower, 0 for x ≥ upper (unless `upper` is ∞), else dy, also where x is NaN. With
    /// slope 0 the first is 0 whatever dy is.
    ReluBackward {
        /// As in [`Function::Relu`].
        lower: f64,
        /// As in [`Function::Relu`].
        upper: f64,
        /// As in [`Function::Relu`].
        slope: f64,
    },
    /// dy·(1 − tanh² x).
    TanhBackward,
    /// dy·σ(x)·(1 − σ(x)), σ the sigmoid.
    SigmoidBackward,
    /// dy for x > 0, else dy·α·eˣ.
    EluBackward {
        /// α.
        alpha: f64,
    },
    /// dy·(Φ(x) + x·e^(−x²/2)/√(2π)).
    GeluBackward,
    /// dy times the derivative of [`Function::GeluTanh`] at x.
    GeluTanhBackward,
    /// dy·σ(β·x), σ the sigmoid.
    SoftplusBackward {
        /// β.
        beta: f64,
    },
    /// dy·(s + β·x·s·(1 − s)) with s = σ(β·x), σ the sigmoid.
    SwishBackward {
        /// β.
        beta: f64,
    },
    /// b where a ≠ 0 (NaN too), else c: `CUDNN_POINTWISE_BINARY_SELECT` with the predicate first.
    Select,
}

impl Function {
    /// How many operands are read: the first ones.
    pub fn arity(self) -> usize {
        match self {
            Function::GenIndex { .. } => 0,
            Function::Identity
            | Function::Neg
            | Function::Abs
            | Function::Reciprocal
            | Function::Sqrt
            | Function::Rsqrt
            | Function::Exp
            | Function::Log
            | Function::Ceil
            | Function::Floor
            | Function::Sin
            | Function::Cos
            | Function::Tan
            | Function::Erf
            | Function::LogicalNot
            | Function::Relu { .. }
            | Function::Tanh
            | Function::Sigmoid
            | Function::Elu { .. }
            | Function::Gelu
            | Function::GeluTanh
            | Function::Softplus { .. }
            | Function::Swish { .. } => 1,
            Function::Select => 3,
            _ => 2,
        }
    }

    /// Whether an element costs tens of nanoseconds rather than one.
    pub(super) fn is_slow(self) -> bool {
        !matches!(
            self,
            Function::Identity
                | Function::Neg
                | Function::Abs
                | Function::Reciprocal
                | Function::LogicalNot
                | Function::Relu { .. }
                | Function::GenIndex { .. }
                | Function::Add
                | Function::AddSquare
                | Function::Sub
                | Function::Mul
                | Function::Div
                | Function::Min
                | Function::Max
                | Function::Compare(_)
                | Function::LogicalAnd
                | Function::LogicalOr
                | Function::ReluBackward { .. }
                | Function::Select
        )
    }
}
