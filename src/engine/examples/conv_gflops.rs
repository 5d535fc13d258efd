//! Convolutions of well-known networks, timed on request; `scripts/bench.sh conv` sets them beside PyTorch's.
//!
//! Its argument is the number of threads. Prints one line a layer, `network direction layout n c k groups x w stride pad` with spatial sizes as
//! 56x56, and an empty line. Then it answers each line of its input, the number of a layer, with the
//! least seconds of repeated runs, so that whoever asks can time something else in between.

use std::io::{BufRead, Write};
use std::time::Instant;

use gpucompat_engine::{
    Conv, Filtering, Layout, TensorMut, TensorRef, conv_backward_data, conv_backward_filter, conv_forward,
    set_threads,
};

/// Seconds a layer is repeated for.
const PATIENCE: f64 = 0.25;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    Forward,
    Data,
    Filter,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Nchw,
    Nhwc,
}

#[derive(Clone, Copy)]
struct Layer {
    network: &'static str,
    direction: Direction,
    order: Order,
    n: usize,
    c: usize,
    k: usize,
    groups: usize,
    x: &'static [usize],
    w: &'static [usize],
    stride: usize,
    pad: usize,
    dilation: usize,
}

/// A square layer with half-filter padding: c, k, groups, side of x, side of w, stride.
fn square(
    network: &'static str,
    n: usize,
    [c, k, groups]: [usize; 3],
    x: &'static [usize],
    w: &'static [usize],
    stride: usize,
) -> Layer {
    let (direction, order) = (Direction::Forward, Order::Nchw);
    Layer { network, direction, order, n, c, k, groups, x, w, stride, pad: w[0] / 2, dilation: 1 }
}

fn resnet() -> Vec<Layer> {
    let layer = |c, k, x, w, stride| square("resnet50", 4, [c, k, 1], x, w, stride);
    vec![
        layer(3, 64, &[224, 224], &[7, 7], 2),
        layer(64, 64, &[56, 56], &[1, 1], 1),
        layer(64, 64, &[56, 56], &[3, 3], 1),
        layer(64, 256, &[56, 56], &[1, 1], 1),
        layer(256, 64, &[56, 56], &[1, 1], 1),
        layer(128, 128, &[56, 56], &[3, 3], 2),
        layer(256, 512, &[56, 56], &[1, 1], 2),
        layer(128, 128, &[28, 28], &[3, 3], 1),
        layer(512, 128, &[28, 28], &[1, 1], 1),
        layer(256, 256, &[14, 14], &[3, 3], 1),
        layer(256, 1024, &[14, 14], &[1, 1], 1),
        layer(512, 512, &[7, 7], &[3, 3], 1),
        layer(2048, 512, &[7, 7], &[1, 1], 1),
    ]
}

fn mobilenet() -> Vec<Layer> {
    let layer = |c, k, groups, x, w, stride| square("mobilenetv2", 4, [c, k, groups], x, w, stride);
    vec![
        layer(3, 32, 1, &[224, 224], &[3, 3], 2),
        layer(32, 32, 32, &[112, 112], &[3, 3], 1),
        layer(32, 16, 1, &[112, 112], &[1, 1], 1),
        layer(16, 96, 1, &[112, 112], &[1, 1], 1),
        layer(96, 96, 96, &[112, 112], &[3, 3], 2),
        layer(144, 24, 1, &[56, 56], &[1, 1], 1),
        layer(144, 144, 144, &[56, 56], &[3, 3], 1),
        layer(192, 192, 192, &[28, 28], &[3, 3], 1),
        layer(384, 384, 384, &[14, 14], &[3, 3], 1),
        layer(384, 64, 1, &[14, 14], &[1, 1], 1),
        layer(960, 960, 960, &[7, 7], &[3, 3], 1),
        layer(320, 1280, 1, &[7, 7], &[1, 1], 1),
    ]
}

fn unet() -> Vec<Layer> {
    let layer = |c, k, x, w| square("unet", 1, [c, k, 1], x, w, 1);
    let up =
        |c, k, x| Layer { direction: Direction::Data, pad: 0, ..square("unet", 1, [k, c, 1], x, &[2, 2], 2) };
    vec![
        layer(1, 64, &[256, 256], &[3, 3]),
        layer(64, 64, &[256, 256], &[3, 3]),
        layer(128, 128, &[128, 128], &[3, 3]),
        layer(256, 256, &[64, 64], &[3, 3]),
        layer(512, 512, &[32, 32], &[3, 3]),
        layer(512, 1024, &[16, 16], &[3, 3]),
        up(1024, 512, &[32, 32]),
        up(128, 64, &[256, 256]),
        layer(128, 64, &[256, 256], &[3, 3]),
        layer(64, 2, &[256, 256], &[1, 1]),
    ]
}

fn hifigan() -> Vec<Layer> {
    let layer = |c, k, x, w| square("hifigan", 1, [c, k, 1], x, w, 1);
    let wide = |c, x, w: &'static [usize], dilation| Layer {
        pad: w[0] / 2 * dilation,
        dilation,
        ..square("hifigan", 1, [c, c, 1], x, w, 1)
    };
    let up = |c, k, x, w: &'static [usize], stride| Layer {
        direction: Direction::Data,
        pad: (w[0] - stride) / 2,
        ..square("hifigan", 1, [k, c, 1], x, w, stride)
    };
    vec![
        layer(80, 512, &[100], &[7]),
        up(512, 256, &[800], &[16], 8),
        wide(256, &[800], &[3], 1),
        wide(256, &[800], &[11], 5),
        up(256, 128, &[6400], &[16], 8),
        wide(128, &[6400], &[7], 3),
        up(128, 64, &[12800], &[4], 2),
        wide(64, &[12800], &[3], 1),
        wide(64, &[12800], &[11], 5),
        up(64, 32, &[25600], &[4], 2),
        wide(32, &[25600], &[3], 3),
        wide(32, &[25600], &[11], 1),
        layer(32, 1, &[25600], &[7]),
    ]
}

fn layers() -> Vec<Layer> {
    let resnet = resnet();
    let nhwc = |layer: &Layer| Layer { network: "resnet50-nhwc", order: Order::Nhwc, ..*layer };
    let single = |layer: &Layer| Layer { network: "resnet50-one", n: 1, ..*layer };
    let data = |layer: &Layer| Layer { network: "resnet50-data", direction: Direction::Data, ..*layer };
    let filter = |layer: &Layer| Layer { network: "resnet50-filter", direction: Direction::Filter, ..*layer };
    let trained = || [2, 3, 5, 6, 7, 9, 11].into_iter().map(|number| &resnet[number]);
    let mut layers = resnet.clone();
    layers.extend(resnet.iter().skip(1).step_by(2).map(single));
    layers.extend(resnet.iter().step_by(2).map(nhwc));
    layers.extend(mobilenet());
    layers.extend(mobilenet().iter().skip(1).step_by(3).map(|layer| Layer {
        network: "mobilenetv2-nhwc",
        order: Order::Nhwc,
        ..*layer
    }));
    layers.extend(unet());
    layers.extend(hifigan());
    layers.extend(trained().map(data));
    layers.extend(trained().map(filter));
    let depthwise = || mobilenet().into_iter().filter(|layer| layer.groups > 1);
    for (network, order) in [("depthwise-filter", Order::Nchw), ("depthwise-filter-nhwc", Order::Nhwc)] {
        let direction = Direction::Filter;
        layers.extend(depthwise().map(|layer| Layer { network, direction, order, ..layer }));
    }
    layers
}

impl Layer {
    /// Sizes and layout of a tensor.
    fn layout(&self, first: usize, second: usize, spatial: &[usize]) -> Layout {
        let dims = [&[first, second], spatial].concat();
        if self.order == Order::Nchw {
            return Layout::packed(&dims);
        }
        let last = Layout::packed(&[&[first], spatial, &[second]].concat());
        let mut strides = last.strides().to_vec();
        let channel = strides.pop().unwrap_or(1);
        strides.insert(1, channel);
        Layout::new(&dims, &strides)
    }

    /// Least seconds of repeated runs.
    fn time(&self) -> f64 {
        let at_x = self.layout(self.n, self.c, self.x);
        let at_w = self.layout(self.k, self.c / self.groups, self.w);
        let reach = |side: usize| (side - 1) * self.dilation + 1;
        let out: Vec<usize> = (self.x.iter().zip(self.w))
            .map(|(x, &w)| (x + 2 * self.pad - reach(w)) / self.stride + 1)
            .collect();
        let at_y = self.layout(self.n, self.k, &out);
        let conv = Conv {
            groups: self.groups,
            filtering: Filtering::CrossCorrelation,
            pad: [self.pad; 3],
            stride: [self.stride; 3],
            dilation: [self.dilation; 3],
        };
        let numbers = |layout: &Layout| {
            (0..layout.extent()).map(|index| (index * 7 % 13) as f32 / 13.0 - 0.5).collect::<Vec<f32>>()
        };
        let (mut x, mut w, mut y) = (numbers(&at_x), numbers(&at_w), numbers(&at_y));
        let mut once = || {
            let started = Instant::now();
            match self.direction {
                Direction::Forward => conv_forward(
                    &conv,
                    TensorRef::new(&x, at_x),
                    TensorRef::new(&w, at_w),
                    TensorMut::new(&mut y, at_y),
                ),
                Direction::Data => conv_backward_data(
                    &conv,
                    TensorRef::new(&w, at_w),
                    TensorRef::new(&y, at_y),
                    TensorMut::new(&mut x, at_x),
                ),
                Direction::Filter => conv_backward_filter(
                    &conv,
                    TensorRef::new(&x, at_x),
                    TensorRef::new(&y, at_y),
                    TensorMut::new(&mut w, at_w),
                ),
            };
            started.elapsed().as_secs_f64()
        };
        once();
        let (mut best, started) = (f64::INFINITY, Instant::now());
        while started.elapsed().as_secs_f64() < PATIENCE {
            best = best.min(once());
        }
        best
    }
}

fn main() {
    if let Some(threads) = std::env::args().nth(1) {
        set_threads(threads.parse().expect("the number of threads"));
    }
    let sides = |sides: &[usize]| sides.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
    let layers = layers();
    for layer in &layers {
        let Layer { network, direction, order, n, c, k, groups, stride, pad, dilation, .. } = layer;
        println!(
            "{network} {direction:?} {order:?} {n} {c} {k} {groups} {} {} {stride} {pad} {dilation}",
            sides(layer.x),
            sides(layer.w),
        );
    }
    println!();
    for line in std::io::stdin().lock().lines() {
        let number: usize = line.expect("input is text").parse().expect("the number of a layer");
        println!("{:e}", layers[number].time());
        std::io::stdout().flush().expect("output is read");
    }
}
