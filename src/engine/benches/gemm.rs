//! GFLOP/s of the engine's products on the shapes that models are made of (throughput = 2·m·n·k).
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gpucompat_engine::{Conj, GemmShape, MatMut, MatRef, gemm};

const SHAPES: [(usize, usize, usize); 9] = [
    (1, 4096, 4096),
    (8, 4096, 4096),
    (32, 1024, 1024),
    (128, 1024, 1024),
    (512, 512, 512),
    (2048, 2048, 2048),
    (64, 12544, 147),
    (256, 3136, 1152),
    (4096, 77, 64),
];

fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm_f32");
    group.sample_size(10);
    for (m, n, k) in SHAPES {
        let (a, b, mut c) = (vec![0.5f32; m * k], vec![0.25f32; n * k], vec![0.0f32; m * n]);
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
        group.bench_function(format!("{m}x{n}x{k}"), |bencher| {
            bencher.iter(|| {
                let shape = GemmShape { m, n, k, batch: 1 };
                let a =
                    MatRef { data: &a, row_stride: k, col_stride: 1, batch_stride: 0, conjugate: Conj::No };
                let b =
                    MatRef { data: &b, row_stride: 1, col_stride: k, batch_stride: 0, conjugate: Conj::No };
                let c = MatMut { data: &mut c[..], row_stride: n, col_stride: 1, batch_stride: 0 };
                gemm(shape, 1.0f32, a, b, 0.0, c)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, products);
criterion_main!(benches);
