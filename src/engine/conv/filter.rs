//! Backward filter: `dw[g, k, (c,t)] = Σ_p dy[g, k, p]·window[g, (c,t), p]` over all positions p of dy.
//!
//! Where the filter is too small to give many tiles, the positions are cut into spans that are summed each
//! for itself and then added in order. Depthwise convolutions are no products; see [`super::filter_depthwise`].

use super::filter_depthwise::Gradient;
use super::image::{Image, Lines, Order};
use super::operand::{Matrix, Operand, Places};
use super::plan::{self, View};
use super::product_raw::{Shape, Target, add_spans, product};
use super::{Conv, ConvKernel, kernel};
use crate::gemm::block_raw::SharedOutput;
use crate::scratch;
use crate::tensor::{Real, TensorMut, TensorRef};

/// Spans that many threads can share.
const SPANS: usize = 16;
/// Multiplications that make a span worth a sum of its own.
const WORTH: usize = 1 << 22;
/// Elements of a filter that are large enough to be shared out as they are.
const LARGE: usize = 1 << 18;

/// Backward filter.
pub fn backward<R: Real>(
    conv: &Conv,
    x: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    dw: TensorMut<'_, R>,
) -> ConvKernel {
    let (input, filter, output) = (View::of(&x.layout), View::of(&dw.layout), View::of(&dy.layout));
    let gather = plan::forward(conv, x.layout.rank(), &filter, &output);
    let (channels, outputs) = (input.channels / conv.groups, output.channels / conv.groups);
    let depthwise =
        (channels == 1).then(|| Gradient::of((x.data, input), (dy.data, output), &gather)).flatten();
    if let Some(gradient) = depthwise {
        gradient.run(dw.data, filter.image_stride);
        return ConvKernel::Depthwise;
    }
    let channels_last = output.is_channels_last();
    let order = if channels_last { Order::ChannelsFastest } else { Order::TapsFastest };
    let image = Image::new(x.data, input, channels, order, &gather);
    let gradient = Matrix {
        data: dy.data,
        group_stride: outputs * output.channel_stride,
        line_stride: output.channel_stride,
        depth: Places::Grid(gather.output),
    };
    let taps = gather.taps.len();
    let place = |line: usize| match order {
        Order::TapsFastest => line / taps * filter.channel_stride + gather.taps[line % taps].filter,
        Order::ChannelsFastest => {
            line % channels * filter.channel_stride + gather.taps[line / channels].filter
        }
    };
    let lines = Places::Table((0..image.lines()).map(place).collect());
    let of_outputs = Places::Every(filter.image_stride);
    let windows = Lines(&image);
    let problem = Shape {
        groups: conv.groups,
        rows: outputs,
        columns: image.lines(),
        depth: gather.output.len(),
        spans: 1,
    };
    let group_stride = outputs * filter.image_stride;
    let shared = SharedOutput::new(dw.data);
    if channels_last {
        let target = Target {
            output: &shared,
            first: 0,
            group_stride,
            span_stride: 0,
            rows: of_outputs,
            columns: lines,
        };
        in_spans(problem, &gradient, &windows, &target);
    } else {
        let shape = Shape { rows: problem.columns, columns: problem.rows, ..problem };
        let target = Target {
            output: &shared,
            first: 0,
            group_stride,
            span_stride: 0,
            rows: lines,
            columns: of_outputs,
        };
        in_spans(shape, &windows, &gradient, &target);
    }
    kernel(&filter)
}

/// How many spans the depth of a product is cut into: a function of its shape and of the scratch memory.
fn spans<R: Real>(shape: Shape) -> usize {
    let elements = shape.groups * shape.rows * shape.columns;
    if elements >= LARGE {
        return 1;
    }
    let fitting = scratch::elements::<R>(scratch::Use::Copy) / elements.max(1);
    (elements * shape.depth / WORTH).min(SPANS).min(fitting).min(shape.depth).max(1)
}

/// The product, its depth cut into spans.
fn in_spans<R: Real>(shape: Shape, a: &impl Operand<R>, b: &impl Operand<R>, target: &Target<'_, R>) {
    let spans = spans::<R>(shape);
    if spans == 1 {
        product(shape, a, b, target);
        return;
    }
    let matrix = shape.rows * shape.columns;
    let mut sums = vec![R::ZERO; spans * shape.groups * matrix];
    let apart = Target {
        output: &SharedOutput::new(&mut sums),
        first: 0,
        group_stride: matrix,
        span_stride: shape.groups * matrix,
        rows: Places::Every(shape.columns),
        columns: Places::Every(1),
    };
    product(Shape { spans, ..shape }, a, b, &apart);
    add_spans(shape, &sums, target);
}
