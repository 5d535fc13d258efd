//! Operations of a graph: what each reads, writes and computes.

use gpucompat_engine::{Centering, Conv, Function, Pool, Reduction};

use crate::entry::cudnn::algorithms::Direction;
use crate::entry::cudnn::operand::Scalars;

/// An operation; tensors by their number in the graph.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// One of a convolution's three directions: the result of two operands.
    Convolution {
        /// Which.
        direction: Direction,
        /// Geometry.
        conv: Conv,
        /// α and β.
        scalars: Scalars,
        /// x or dx.
        x: usize,
        /// w or dw.
        w: usize,
        /// y or dy.
        y: usize,
    },
    /// A function of one to three operands, the first two of them scaled.
    Pointwise {
        /// The function.
        function: Function,
        /// Its operands, in the engine's order.
        operands: [Option<usize>; 3],
        /// Their factors.
        factors: [f64; 3],
        /// The result.
        result: usize,
    },
    /// A reduction over the axes where y has size 1.
    Reduction {
        /// How.
        reduction: Reduction,
        /// The operand.
        x: usize,
        /// The result.
        y: usize,
    },
    /// C = A·B over the last two axes.
    Matmul {
        /// The left matrix.
        a: usize,
        /// The right matrix.
        b: usize,
        /// The product.
        c: usize,
    },
    /// A pooling.
    Pool {
        /// Geometry.
        pool: Pool,
        /// The operand.
        x: usize,
        /// The result.
        y: usize,
    },
    /// A normalization by given or fresh statistics.
    Normalize(Normalize),
    /// The gradients of a normalization by fresh statistics.
    NormalizeBackward {
        /// Whether a mean was subtracted.
        centering: Centering,
        /// x.
        x: usize,
        /// dy.
        dy: usize,
        /// The forward pass's mean; none for RMS norm.
        mean: Option<usize>,
        /// 1/√(variance + ε).
        inv_std: usize,
        /// Scale.
        scale: usize,
        /// Gradient of x.
        dx: usize,
        /// Gradient of the scale.
        dscale: Option<usize>,
        /// Gradient of the bias.
        dbias: Option<usize>,
    },
}

/// A normalization: y = scale·(x − mean)·inv_std + bias.
#[derive(Clone, Copy, Debug)]
pub struct Normalize {
    /// Whether a mean is subtracted.
    pub centering: Centering,
    /// Whether statistics are taken of x (then `mean` and `inv_std` are written, where given) or read.
    pub training: bool,
    /// x.
    pub x: usize,
    /// Mean.
    pub mean: Option<usize>,
    /// 1/√(variance + ε).
    pub inv_std: Option<usize>,
    /// Scale.
    pub scale: usize,
    /// Bias.
    pub bias: Option<usize>,
    /// ε, a scalar tensor.
    pub epsilon: Option<usize>,
    /// y.
    pub y: usize,
}

impl Operation {
    /// Tensors that it reads.
    pub fn reads(&self) -> Vec<usize> {
        match *self {
            Operation::Convolution { direction: Direction::Forward, x, w, .. } => vec![x, w],
            Operation::Convolution { direction: Direction::BackwardData, w, y, .. } => vec![w, y],
            Operation::Convolution { direction: Direction::BackwardFilter, x, y, .. } => vec![x, y],
            Operation::Pointwise { operands, .. } => operands.into_iter().flatten().collect(),
            Operation::Reduction { x, .. } | Operation::Pool { x, .. } => vec![x],
            Operation::Matmul { a, b, .. } => vec![a, b],
            Operation::Normalize(norm) => {
                let given = if norm.training { [None, None] } else { [norm.mean, norm.inv_std] };
                let optional = given.into_iter().chain([norm.bias, norm.epsilon]).flatten();
                [norm.x, norm.scale].into_iter().chain(optional).collect()
            }
            Operation::NormalizeBackward { x, dy, mean, inv_std, scale, .. } => {
                [x, dy, inv_std, scale].into_iter().chain(mean).collect()
            }
        }
    }

    /// Tensors that it writes.
    pub fn writes(&self) -> Vec<usize> {
        match *self {
            Operation::Convolution { direction, x, w, y, .. } => vec![match direction {
                Direction::Forward => y,
                Direction::BackwardData => x,
                Direction::BackwardFilter => w,
            }],
            Operation::Pointwise { result, .. } => vec![result],
            Operation::Reduction { y, .. } | Operation::Pool { y, .. } => vec![y],
            Operation::Matmul { c, .. } => vec![c],
            Operation::Normalize(norm) => {
                let fresh = if norm.training { [norm.mean, norm.inv_std] } else { [None, None] };
                [norm.y].into_iter().chain(fresh.into_iter().flatten()).collect()
            }
            Operation::NormalizeBackward { dx, dscale, dbias, .. } => {
                [dx].into_iter().chain(dscale).chain(dbias).collect()
            }
        }
    }

    /// The log's word.
    pub fn name(&self) -> &'static str {
        match self {
            Operation::Convolution { direction: Direction::Forward, .. } => "conv_forward",
            Operation::Convolution { direction: Direction::BackwardData, .. } => "conv_backward_data",
            Operation::Convolution { direction: Direction::BackwardFilter, .. } => "conv_backward_filter",
            Operation::Pointwise { .. } => "pointwise",
            Operation::Reduction { .. } => "reduction",
            Operation::Matmul { .. } => "matmul",
            Operation::Pool { .. } => "pool",
            Operation::Normalize(_) => "normalize",
            Operation::NormalizeBackward { .. } => "normalize_backward",
        }
    }
}
