//! Prints `m n k type gflops` for the shapes that models are made of; `scripts/bench.sh gemm` sets them
//! beside PyTorch's. The best of repeated runs, about half a second a shape.

mod shapes;

use std::time::Instant;

use gpucompat_engine::{Accumulator, Conj, GemmShape, Input, MatMut, MatRef, Output, bf16, f16, gemm};
use shapes::PRODUCTS;

fn measure<T: Input<Acc> + Output<Acc>, Acc: Accumulator>(name: &str, value: T) {
    for (m, n, k) in PRODUCTS {
        let (a, b, mut c) = (vec![value; m * k], vec![value; n * k], vec![value; m * n]);
        let mut once = || {
            let left =
                MatRef { data: &a[..], row_stride: k, col_stride: 1, batch_stride: 0, conjugate: Conj::No };
            let right =
                MatRef { data: &b[..], row_stride: 1, col_stride: k, batch_stride: 0, conjugate: Conj::No };
            let output = MatMut { data: &mut c[..], row_stride: n, col_stride: 1, batch_stride: 0 };
            let started = Instant::now();
            gemm(GemmShape { m, n, k, batch: 1 }, Acc::from_f64(1.0), left, right, Acc::zero(), output);
            started.elapsed().as_secs_f64()
        };
        once();
        let (mut best, started) = (f64::INFINITY, Instant::now());
        while started.elapsed().as_secs_f64() < 0.5 {
            best = best.min(once());
        }
        println!("{m} {n} {k} {name} {:.2}", 2.0 * (m * n * k) as f64 / best / 1e9);
    }
}

fn main() {
    measure::<f32, f32>("float32", 0.5);
    measure::<bf16, f32>("bfloat16", bf16::from_f32(0.5));
    measure::<f16, f32>("float16", f16::from_f32(0.5));
}
