//! Convolutions over one to three spatial axes: forward, backward data, backward filter.
//!
//! `y[n,k,o] = Σ_{c,f} w[k,c,f]·x[n, g·C/groups + c, o·stride − pad + f·dilation]` and its two adjoints
//! (cudnnConvolutionForward, cudnnConvolutionBackwardData, cudnnConvolutionBackwardFilter), for tensors of any
//! strides. Positions outside the input read as 0, and that 0 is multiplied like any other number: a filter
//! element that is NaN or infinite makes NaN of an output whose window reaches into the padding. NaN and
//! infinities inside the window propagate.
//!
//! Most convolutions are products of the filter with a matrix of windows ([`image`]) that is made tile by
//! tile, directly in the form that the innermost product reads ([`crate::gemm::micro_raw`]): the scratch memory of all
//! threads stays inside [`crate::scratch_bytes`]. Positions go along vector registers where columns lie next
//! to each other (NCHW), channels where those do (NHWC).

mod channels_raw;
mod correlate_raw;
mod direct;
mod filter;
mod filter_depthwise;
mod gather;
mod image;
mod lanes;
mod operand;
mod plan;
mod planes_raw;
mod product_raw;
mod small_planes;
mod transpose_raw;
mod windows_raw;

use crate::tensor::{Layout, Real, TensorMut, TensorRef};
use plan::View;

/// Whether the filter is applied as it lies or flipped along every spatial axis (cudnnConvolutionMode_t).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filtering {
    /// As it lies: CUDNN_CROSS_CORRELATION, what networks mean by convolution.
    CrossCorrelation,
    /// Flipped: CUDNN_CONVOLUTION, what mathematics means by it.
    Convolution,
}

/// One convolution's geometry. Arrays are per spatial axis, outermost first; the first (rank − 2) entries
/// count. The padding is that before the input; how far the windows reach beyond its end follows from y.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Independent convolutions that channels are shared out to.
    pub groups: usize,
    /// Whether the filter is flipped.
    pub filtering: Filtering,
    /// Positions of zeros before the input.
    pub pad: [usize; 3],
    /// Input positions from one output position to the next, at least 1.
    pub stride: [usize; 3],
    /// Input positions from one place of the filter to the next, at least 1.
    pub dilation: [usize; 3],
}

/// What computed a convolution; the log prints [`ConvKernel::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConvKernel {
    /// The output is empty.
    None,
    /// A filter of one place: a plain product.
    OneByOne,
    /// A product with the matrix of windows, made tile by tile.
    Im2col,
    /// One input channel a group, each tap a run of it; or channel by channel where those lie together.
    Depthwise,
    /// Few output channels a group, each tap a run of an input channel.
    FewChannels,
}

impl ConvKernel {
    /// The log's word.
    pub fn name(self) -> &'static str {
        match self {
            ConvKernel::None => "none",
            ConvKernel::OneByOne => "conv_1x1",
            ConvKernel::Im2col => "conv_im2col",
            ConvKernel::Depthwise => "conv_depthwise",
            ConvKernel::FewChannels => "conv_few_channels",
        }
    }
}

/// `y[n,k,o] = Σ_{c,f} w[k,c,f]·x[n, g·C/groups + c, o·stride − pad + f·dilation]`.
///
/// x is [N, C, spatial…], w [K, C/groups, spatial…], y [N, K, spatial…], of rank 3, 4 or 5 and any strides;
/// g = ⌊k·groups/K⌋; f counts backwards for [`Filtering::Convolution`]. See cudnnConvolutionForward.
///
/// # Panics
/// If ranks or channels do not fit together, or a stride, a dilation or the number of groups is 0.
pub fn conv_forward<R: Real>(
    conv: &Conv,
    x: TensorRef<'_, R>,
    w: TensorRef<'_, R>,
    y: TensorMut<'_, R>,
) -> ConvKernel {
    check(conv, &x.layout, &w.layout, &y.layout);
    if y.layout.elements() == 0 {
        return ConvKernel::None;
    }
    gather::forward(conv, x, w, y)
}

/// `dx[n,c,i] = Σ w[k,c,f]·dy[n,k,o]` over all k of c's group and all (o, f) with o·stride − pad + f·dilation = i:
/// the adjoint of [`conv_forward`] in x, and the transposed convolution. Positions that no window reaches
/// become 0. Shapes as there; see cudnnConvolutionBackwardData.
///
/// # Panics
/// As [`conv_forward`].
pub fn conv_backward_data<R: Real>(
    conv: &Conv,
    w: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    dx: TensorMut<'_, R>,
) -> ConvKernel {
    check(conv, &dx.layout, &w.layout, &dy.layout);
    if dx.layout.elements() == 0 {
        return ConvKernel::None;
    }
    gather::backward(conv, w, dy, dx)
}

/// `dw[k,c,f] = Σ_{n,o} dy[n,k,o]·x[n, g·C/groups + c, o·stride − pad + f·dilation]`: the adjoint of
/// [`conv_forward`] in w. Shapes as there; see cudnnConvolutionBackwardFilter.
///
/// # Panics
/// As [`conv_forward`].
pub fn conv_backward_filter<R: Real>(
    conv: &Conv,
    x: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    dw: TensorMut<'_, R>,
) -> ConvKernel {
    check(conv, &x.layout, &dw.layout, &dy.layout);
    if dw.layout.elements() == 0 {
        return ConvKernel::None;
    }
    filter::backward(conv, x, dy, dw)
}

/// The kernel's name for a filter of these sizes.
fn kernel(w: &View) -> ConvKernel {
    if w.sizes == [1; 3] { ConvKernel::OneByOne } else { ConvKernel::Im2col }
}

/// Panics unless the three tensors belong to one convolution.
fn check(conv: &Conv, x: &Layout, w: &Layout, y: &Layout) {
    let rank = x.rank();
    assert!((3..=5).contains(&rank), "a convolution's tensors have 3 to 5 axes, not {x:?}");
    assert!(w.rank() == rank && y.rank() == rank, "ranks differ: {x:?} {w:?} {y:?}");
    let spatial = ..rank - 2;
    assert!(
        conv.groups > 0 && conv.stride[spatial].iter().chain(&conv.dilation[spatial]).all(|&step| step > 0),
        "groups, strides and dilations are at least 1: {conv:?}"
    );
    let (x, w, y) = (x.dims(), w.dims(), y.dims());
    assert!(x[0] == y[0], "batches differ: {x:?} {y:?}");
    assert!(w[0] == y[1] && w[0] % conv.groups == 0, "output channels: {w:?} {y:?}, {} groups", conv.groups);
    assert!(w[1] * conv.groups == x[1], "input channels: {x:?} {w:?}, {} groups", conv.groups);
}
