//! Forward and backward data: `out[g, k, o] = Σ_{c,t} w[k, c, t]·in[g, c, o·step + offset_t]`.

use super::channels_raw;
use super::direct::Direct;
use super::image::{Image, Order, Positions};
use super::operand::{Matrix, Places};
use super::plan::{self, Gather, View};
use super::product_raw::{Shape, Target, product, write_run};
use super::small_planes;
use super::{Conv, ConvKernel, kernel};
use crate::gemm::block_raw::SharedOutput;
use crate::tensor::{Real, TensorMut, TensorRef};
use crate::{scratch, threads};

/// Output channels of a group that are too few to make a product worth it.
const FEW: usize = 4;

/// Lines of the filter and depths that are copied at a time: whole cache lines of it are used.
const LINES: usize = 16;
/// See [`LINES`].
const DEPTHS: usize = 32;

/// The filter as a direction sees it: (group, output, input, tap) at the sum of their places.
#[derive(Clone, Copy)]
pub struct Filter<'a, R> {
    /// The elements.
    pub data: &'a [R],
    /// Elements between groups.
    pub group_stride: usize,
    /// Elements between output channels.
    pub out_stride: usize,
    /// Elements between input channels.
    pub in_stride: usize,
}

/// Everything but what is read: the operands of one direction.
#[derive(Clone, Copy)]
struct Operands<'a, R> {
    groups: usize,
    data: &'a [R],
    input: View,
    filter: Filter<'a, R>,
    shared: &'a SharedOutput<'a, R>,
    output: View,
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
    let shared = SharedOutput::new(y.data);
    let weights = Filter {
        data: w.data,
        group_stride: filter.image_stride * (filter.images / conv.groups),
        out_stride: filter.image_stride,
        in_stride: filter.channel_stride,
    };
    let operands =
        Operands { groups: conv.groups, data: x.data, input, filter: weights, shared: &shared, output };
    operands.run(&gather);
    operands.kernel(&filter)
}

/// Backward data.
pub fn backward<R: Real>(
    conv: &Conv,
    w: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    dx: TensorMut<'_, R>,
) -> ConvKernel {
    let (input, filter, output) = (View::of(&dy.layout), View::of(&w.layout), View::of(&dx.layout));
    let shared = SharedOutput::new(dx.data);
    let weights = Filter {
        data: w.data,
        group_stride: filter.image_stride * (filter.images / conv.groups),
        out_stride: filter.channel_stride,
        in_stride: filter.image_stride,
    };
    let operands =
        Operands { groups: conv.groups, data: dy.data, input, filter: weights, shared: &shared, output };
    for gather in plan::merged(plan::backward(conv, dy.layout.rank(), &filter, &output)) {
        operands.run(&gather);
    }
    operands.kernel(&filter)
}

impl<R: Real> Operands<'_, R> {
    /// Input channels of a group.
    fn channels(&self) -> usize {
        self.input.channels / self.groups
    }

    /// Output channels of a group.
    fn outputs(&self) -> usize {
        self.output.channels / self.groups
    }

    fn is_direct(&self) -> bool {
        self.outputs() <= FEW || self.channels() == 1 && self.outputs() <= 2 * FEW
    }

    fn kernel(&self, w: &View) -> ConvKernel {
        match (self.is_direct(), self.channels()) {
            (true, 1) => ConvKernel::Depthwise,
            (true, _) => ConvKernel::FewChannels,
            (false, _) => kernel(w),
        }
    }

    /// Computes the parts of a gather.
    fn run(&self, gather: &Gather) {
        let depth = pitch(self.channels() * gather.taps.len());
        let lines = self.outputs() * gather.parts.len();
        let fits = self.groups * lines * depth <= scratch::elements::<R>(scratch::Use::Copy);
        if gather.parts.len() > 1 && (self.is_direct() || !fits) {
            gather.apart().for_each(|gather| self.run(&gather));
        } else if self.is_direct() {
            let Operands { groups, data, input, filter, shared, output } = *self;
            let part = Direct { groups, data, input, filter, shared, output, gather };
            if channels_raw::takes(&part) {
                channels_raw::run(&part);
            } else if small_planes::takes(&part) {
                small_planes::run(&part);
            } else {
                part.run();
            }
        } else {
            self.multiply(gather, if fits { Copying::Allowed } else { Copying::TooLarge });
        }
    }

    /// The parts as a product of the filter's lines with the windows. Lines of one output channel follow
    /// each other part by part, so that they fill the same stretches of the output; with channels last, all
    /// channels of a part.
    fn multiply(&self, gather: &Gather, copying: Copying) {
        let (channels, outputs, parts) = (self.channels(), self.outputs(), gather.parts.len());
        let channels_last = self.output.is_channels_last();
        let order = if channels_last { Order::ChannelsFastest } else { Order::TapsFastest };
        let image = Image::new(self.data, self.input, channels, order, gather);
        let taps = gather.taps.len();
        let depths: Vec<usize> = (0..image.lines())
            .map(|line| match order {
                Order::TapsFastest => (line / taps, line % taps),
                Order::ChannelsFastest => (line % channels, line / channels),
            })
            .map(|(channel, tap)| channel * self.filter.in_stride + gather.taps[tap].filter)
            .collect();
        let line = |line: usize| {
            if channels_last { (line % outputs, line / outputs) } else { (line / parts, line % parts) }
        };
        let in_filter =
            |(output, part): (usize, usize)| output * self.filter.out_stride + gather.parts[part].filter;
        let in_output =
            |(output, part): (usize, usize)| output * self.output.channel_stride + gather.parts[part].first;
        let lines = outputs * parts;
        let sources: Vec<usize> = (0..lines).map(line).map(in_filter).collect();
        let targets = Places::Table((0..lines).map(line).map(in_output).collect());
        let as_it_lies = depths.windows(2).all(|pair| pair[1] == pair[0] + 1);
        if copying == Copying::TooLarge || as_it_lies && parts == 1 {
            let part = gather.parts[0].filter;
            let weights = Matrix {
                data: self.filter.data.get(part..).unwrap_or_default(),
                group_stride: self.filter.group_stride,
                line_stride: self.filter.out_stride,
                depth: Places::Table(depths),
            };
            return self.product(&image, &weights, lines, targets);
        }
        let pitch = pitch(depths.len());
        scratch::with(self.groups * lines * pitch, |copy: &mut [R]| {
            self.copy_filter(&sources, &depths, copy);
            let weights = Matrix {
                data: copy,
                group_stride: lines * pitch,
                line_stride: pitch,
                depth: Places::Every(1),
            };
            self.product(&image, &weights, lines, targets);
        });
    }

    /// `copy[(g·lines + i)·pitch + l] = filter[g·group_stride + lines[i] + depths[l]]`.
    fn copy_filter(&self, lines: &[usize], depths: &[usize], copy: &mut [R]) {
        if depths.is_empty() {
            return;
        }
        let shared = SharedOutput::new(copy);
        let blocks = lines.len().div_ceil(LINES);
        threads::for_each(self.groups * blocks, |task| {
            let (group, block) = (task / blocks, task % blocks);
            let own = block * LINES..((block + 1) * LINES).min(lines.len());
            let data = &self.filter.data[group * self.filter.group_stride..];
            let mut run = [R::ZERO; DEPTHS];
            for (number, depths_of_run) in depths.chunks(DEPTHS).enumerate() {
                for line in own.clone() {
                    let data = &data[lines[line]..];
                    run.iter_mut().zip(depths_of_run).for_each(|(target, &place)| *target = data[place]);
                    let first = (group * lines.len() + line) * pitch(depths.len()) + number * DEPTHS;
                    write_run(&shared, first, 1, &run[..depths_of_run.len()]);
                }
            }
        });
    }

    /// The product of the windows with a filter of `lines` lines a group, which go to `targets`.
    fn product(&self, image: &Image<'_, R>, weights: &Matrix<'_, R>, lines: usize, targets: Places) {
        let Operands { groups, shared, output, .. } = *self;
        let (positions, depth, spans) = (image.grid().len(), image.lines(), 1);
        let of_positions = Places::Grid(*image.grid());
        let (first, group_stride, span_stride) = (0, self.outputs() * output.channel_stride, 0);
        let windows = Positions(image);
        if output.is_channels_last() {
            let shape = Shape { groups, rows: positions, columns: lines, depth, spans };
            let (rows, columns) = (of_positions, targets);
            let target = Target { output: shared, first, group_stride, span_stride, rows, columns };
            product(shape, &windows, weights, &target);
        } else {
            let shape = Shape { groups, rows: lines, columns: positions, depth, spans };
            let (rows, columns) = (targets, of_positions);
            let target = Target { output: shared, first, group_stride, span_stride, rows, columns };
            product(shape, weights, &windows, &target);
        }
    }
}

/// Elements from line to line of a copied filter: lines must not all start at the same place of a page, or
/// they compete for the same places of the cache.
fn pitch(depth: usize) -> usize {
    depth.next_multiple_of(LINES) + LINES
}

/// Whether the filter may be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copying {
    /// To scratch memory.
    Allowed,
    /// It would take too much of that.
    TooLarge,
}
