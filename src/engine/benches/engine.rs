//! The engine by itself, by criterion (`scripts/bench.sh engine`): products and convolutions on shapes that models are made
//! of, in floating-point operations a second. Criterion keeps the last run's figures and tells what changed since.
#![allow(missing_docs)]

#[path = "../examples/shapes/mod.rs"]
mod shapes;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gpucompat_engine::{
    Accumulator, Conj, Conv, Filtering, GemmShape, Input, Layout, MatMut, MatRef, Output, TensorMut,
    TensorRef, bf16, conv_backward_data, conv_backward_filter, conv_forward, f16, gemm,
};
use shapes::PRODUCTS;

/// n, c, k, side of x, side of w, stride: layers of ResNet-50.
const LAYERS: [[usize; 6]; 5] = [
    [4, 3, 64, 224, 7, 2],
    [4, 64, 64, 56, 3, 1],
    [4, 256, 64, 56, 1, 1],
    [4, 128, 128, 56, 3, 2],
    [4, 512, 512, 7, 3, 1],
];

fn products_of<T: Input<Acc> + Output<Acc>, Acc: Accumulator>(
    criterion: &mut Criterion,
    name: &str,
    value: T,
) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    for (m, n, k) in PRODUCTS {
        let (a, b, mut c) = (vec![value; m * k], vec![value; n * k], vec![value; m * n]);
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
        group.bench_function(format!("{m}x{n}x{k}"), |bencher| {
            bencher.iter(|| {
                let shape = GemmShape { m, n, k, batch: 1 };
                let a = MatRef {
                    data: &a[..],
                    row_stride: k,
                    col_stride: 1,
                    batch_stride: 0,
                    conjugate: Conj::No,
                };
                let b = MatRef {
                    data: &b[..],
                    row_stride: 1,
                    col_stride: k,
                    batch_stride: 0,
                    conjugate: Conj::No,
                };
                let c = MatMut { data: &mut c[..], row_stride: n, col_stride: 1, batch_stride: 0 };
                gemm(shape, Acc::from_f64(1.0), a, b, Acc::zero(), c)
            });
        });
    }
    group.finish();
}

fn products(criterion: &mut Criterion) {
    products_of::<f32, f32>(criterion, "gemm_f32", 0.5);
    products_of::<bf16, f32>(criterion, "gemm_bf16", bf16::from_f32(0.5));
    products_of::<f16, f32>(criterion, "gemm_f16", f16::from_f32(0.5));
}

fn convolutions(criterion: &mut Criterion) {
    for direction in ["forward", "backward_data", "backward_filter"] {
        let mut group = criterion.benchmark_group(format!("conv_{direction}_f32"));
        group.sample_size(10);
        for [n, c, k, side, width, stride] in LAYERS {
            let pad = width / 2;
            let out = (side + 2 * pad - width) / stride + 1;
            let (at_x, at_w) = (Layout::packed(&[n, c, side, side]), Layout::packed(&[k, c, width, width]));
            let at_y = Layout::packed(&[n, k, out, out]);
            let conv = Conv {
                groups: 1,
                filtering: Filtering::CrossCorrelation,
                pad: [pad; 3],
                stride: [stride; 3],
                dilation: [1; 3],
            };
            let [mut x, mut w, mut y] = [at_x, at_w, at_y].map(|layout| vec![0.5f32; layout.extent()]);
            group.throughput(Throughput::Elements((2 * n * k * out * out * c * width * width) as u64));
            group.bench_function(format!("{n}x{c}x{side}x{side}_{k}x{width}x{width}_s{stride}"), |bencher| {
                bencher.iter(|| match direction {
                    "forward" => conv_forward(
                        &conv,
                        TensorRef::new(&x, at_x),
                        TensorRef::new(&w, at_w),
                        TensorMut::new(&mut y, at_y),
                    ),
                    "backward_data" => conv_backward_data(
                        &conv,
                        TensorRef::new(&w, at_w),
                        TensorRef::new(&y, at_y),
                        TensorMut::new(&mut x, at_x),
                    ),
                    _ => conv_backward_filter(
                        &conv,
                        TensorRef::new(&x, at_x),
                        TensorRef::new(&y, at_y),
                        TensorMut::new(&mut w, at_w),
                    ),
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, products, convolutions);
criterion_main!(benches);
