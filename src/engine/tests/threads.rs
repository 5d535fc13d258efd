//! Results do not depend on the number of threads: the same products in processes with 1, 2 and 3.

use gpucompat_engine::{Conj, GemmShape, Input, MatMut, MatRef, Output, bf16, blas, f16, gemm, set_threads};

const THREADS: &str = "GPUCOMPAT_TEST_THREADS";

/// The product of A by rows and B by columns, in a narrower type.
fn of_halves<T: Input<f32> + Output<f32>>(
    shape: GemmShape,
    a: &[f32],
    b: &[f32],
    narrow: impl Fn(f32) -> T,
) -> Vec<T> {
    let [a, b] = [a, b].map(|values| values.iter().map(|&x| narrow(x)).collect::<Vec<T>>());
    let mut c = vec![narrow(0.0); shape.m * shape.n];
    let matrix = |data, row_stride, col_stride| MatRef {
        data,
        row_stride,
        col_stride,
        batch_stride: 0,
        conjugate: Conj::No,
    };
    let (left, right) = (matrix(&a[..], shape.k, 1), matrix(&b[..], 1, shape.k));
    let output = MatMut { data: &mut c[..], row_stride: shape.n, col_stride: 1, batch_stride: 0 };
    gemm(shape, 1.0f32, left, right, 0.0, output);
    c
}

/// Bits of a few products that several threads share.
fn fingerprint() -> Vec<u32> {
    let noise = |length: usize, seed: u64| -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        };
        (0..length).map(|_| next()).collect()
    };
    let mut bits = Vec::new();
    for (m, n, k) in [(700, 600, 300), (1, 900, 2000), (300, 300, 1200), (7, 900, 700), (900, 13, 600)] {
        let (a, b, mut c) = (noise(m * k, 1), noise(n * k, 2), noise(m * n, 3));
        let shape = GemmShape { m, n, k, batch: 1 };
        let left =
            MatRef { data: &a[..], row_stride: k, col_stride: 1, batch_stride: 0, conjugate: Conj::No };
        let right =
            MatRef { data: &b[..], row_stride: 1, col_stride: k, batch_stride: 0, conjugate: Conj::No };
        gemm(
            shape,
            1.25f32,
            left,
            right,
            0.5,
            MatMut { data: &mut c[..], row_stride: n, col_stride: 1, batch_stride: 0 },
        );
        bits.extend(c.iter().map(|x| x.to_bits()));
        bits.extend(of_halves(shape, &a, &b, f16::from_f32).iter().map(|x| u32::from(x.to_bits())));
        bits.extend(of_halves(shape, &a, &b, bf16::from_f32).iter().map(|x| u32::from(x.to_bits())));
    }
    let (x, mut y) = (noise(300_000, 4), noise(300_000, 5));
    blas::axpy(blas::Factor::Real(0.75), vector(&x), blas::VectorMut::new(&mut y, 300_000, 1));
    bits.extend(y.iter().map(|y| y.to_bits()));
    bits.extend(
        [blas::dot(Conj::No, vector(&x), vector(&y)), blas::nrm2(vector(&x)), blas::asum(vector(&y))]
            .map(f32::to_bits),
    );
    bits.extend(blas::extreme_index(blas::Extreme::Largest, vector(&x)).map(|index| index as u32));
    bits
}

fn vector(values: &[f32]) -> blas::Vector<'_, f32> {
    blas::Vector::new(values, values.len(), 1)
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    if let Ok(threads) = std::env::var(THREADS) {
        set_threads(threads.parse().unwrap());
        let bytes: Vec<u8> = fingerprint().iter().flat_map(|word| word.to_le_bytes()).collect();
        std::fs::write(std::env::var("GPUCOMPAT_TEST_OUT").unwrap(), bytes).unwrap();
        return;
    }
    let results: Vec<Vec<u8>> = (1..=3)
        .map(|threads| {
            let out =
                std::env::temp_dir().join(format!("gpucompat-threads-{}-{threads}", std::process::id()));
            let status = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "one_two_and_three_threads_give_the_same_bits"])
                .env(THREADS, threads.to_string())
                .env("GPUCOMPAT_TEST_OUT", &out)
                .status()
                .unwrap();
            assert!(status.success());
            let bytes = std::fs::read(&out).unwrap();
            std::fs::remove_file(out).unwrap();
            bytes
        })
        .collect();
    assert!(!results[0].is_empty());
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
}
