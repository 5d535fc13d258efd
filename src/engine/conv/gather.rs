//! Forward and backward data: `out[g, k, o] = Σ_{c,t} w[k, c, t]·in[g, c, o·step + offset_t]`.

use super::channels_raw;
use super::direct::Direct;
use super::image::{Image, Order, Positions};
use super::operand::{Matrix, Places};
use super::plan::{self, Gather, View};
use super::product_raw::{Shape, Target, product};
use super::{Conv, ConvKernel, kernel};
use crate::gemm::block_raw::SharedOutput;
use crate::tensor::{Real, TensorMut, TensorRef};

/// Output channels of a group that are too few to make a product worth it.
const FEW: usize = 4;

/// The filter as a direction sees it.
#[derive(Clone, Copy)]
struct Filter<'a, R> {
    data: &'a [R],
    /// Elements between output channels.
    out_stride: usize,
    /// Elements between input channels.
    in_stride: usize,
    /// Elements between groups.
    group_stride: usize,
}

/// Forward.
pub fn forward<R: Real>(
    conv: &Conv,
    x: TensorRef<'_, R>,
    w: TensorRef<'_, R>,
    y: TensorMut<'_, R>,
) -> ConvKernel {
    let (input, filter, output) = (View::of(&x.layout), View::of(&w.layout), View::of(&y.layout));
    let gather = plan::forward(conv, x.layout.rank(), &filter, &output);
    let per_group = filter.image_stride * (filter.images / conv.groups);
    let weights = Filter {
        data: w.data,
        out_stride: filter.image_stride,
        in_stride: filter.channel_stride,
        group_stride: per_group,
    };
    run(conv.groups, x.data, input, weights, &SharedOutput::new(y.data), output, &gather);
    kernel(&filter)
}

/// Backward data, phase by phase.
pub fn backward<R: Real>(
    conv: &Conv,
    w: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    dx: TensorMut<'_, R>,
) -> ConvKernel {
    let (input, filter, output) = (View::of(&dy.layout), View::of(&w.layout), View::of(&dx.layout));
    let per_group = filter.image_stride * (filter.images / conv.groups);
    let weights = Filter {
        data: w.data,
        out_stride: filter.channel_stride,
        in_stride: filter.image_stride,
        group_stride: per_group,
    };
    let shared = SharedOutput::new(dx.data);
    for gather in plan::backward(conv, dy.layout.rank(), &filter, &output) {
        run(conv.groups, dy.data, input, weights, &shared, output, &gather);
    }
    kernel(&filter)
}

/// One part of the output as a product.
fn run<R: Real>(
    groups: usize,
    data: &[R],
    input: View,
    filter: Filter<'_, R>,
    shared: &SharedOutput<'_, R>,
    output: View,
    gather: &Gather,
) {
    let (channels, outputs) = (input.channels / groups, output.channels / groups);
    if outputs <= FEW || channels == 1 && outputs <= 2 * FEW {
        let filter_strides = [filter.group_stride, filter.out_stride, filter.in_stride];
        let part =
            Direct { groups, data, input, filter: filter.data, filter_strides, shared, output, gather };
        if channels_raw::takes(&part) {
            channels_raw::run(&part);
        } else {
            part.run();
        }
        return;
    }
    let channels_last = output.is_channels_last();
    let order = if channels_last { Order::ChannelsFastest } else { Order::TapsFastest };
    let image = Image::new(data, input, channels, order, gather);
    let place = |channel: usize, tap: usize| channel * filter.in_stride + gather.taps[tap].filter;
    let taps = gather.taps.len();
    let table = match order {
        Order::TapsFastest => (0..channels * taps).map(|line| place(line / taps, line % taps)).collect(),
        Order::ChannelsFastest => {
            (0..channels * taps).map(|line| place(line % channels, line / channels)).collect()
        }
    };
    let weights = Matrix {
        data: filter.data,
        group_stride: filter.group_stride,
        line_stride: filter.out_stride,
        depth: Places::Table(table),
    };
    let positions = gather.output.len();
    let (of_channels, of_positions) = (Places::Every(output.channel_stride), Places::Grid(gather.output));
    let depth = image.lines();
    let windows = Positions(&image);
    let (first, group_stride, span_stride) = (gather.first, outputs * output.channel_stride, 0);
    if channels_last {
        let shape = Shape { groups, rows: positions, columns: outputs, depth, spans: 1 };
        let target = Target {
            output: shared,
            first,
            group_stride,
            span_stride,
            rows: of_positions,
            columns: of_channels,
        };
        product(shape, &windows, &weights, &target);
    } else {
        let shape = Shape { groups, rows: outputs, columns: positions, depth, spans: 1 };
        let target = Target {
            output: shared,
            first,
            group_stride,
            span_stride,
            rows: of_channels,
            columns: of_positions,
        };
        product(shape, &weights, &windows, &target);
    }
}
