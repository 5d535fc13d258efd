//! The engine's products against the reference, over every combination of types.

use gpucompat_cases::element::Element;
use gpucompat_cases::gemm::{GemmCase, Types};
use gpucompat_engine::{
    Accumulator, Activation, C32, C64, Conj, Epilogue, GemmShape, Input, MatMut, MatRef, Output, bf16, f16,
    gemm, gemm_with_epilogue,
};
use proptest::prelude::*;

/// An element type by its bytes, as the cases encode it.
trait Coded: Copy {
    fn decode(bytes: &[u8]) -> Self;
    fn encode(self, bytes: &mut Vec<u8>);
}

macro_rules! coded {
    ($($ty:ty),*) => {$(
        impl Coded for $ty {
            fn decode(bytes: &[u8]) -> Self {
                <$ty>::from_le_bytes(bytes.try_into().unwrap())
            }
            fn encode(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}
coded!(f32, f64, i8, i32, f16, bf16);

impl<T: Coded> Coded for num_complex::Complex<T> {
    fn decode(bytes: &[u8]) -> Self {
        let (re, im) = bytes.split_at(bytes.len() / 2);
        num_complex::Complex::new(T::decode(re), T::decode(im))
    }
    fn encode(self, bytes: &mut Vec<u8>) {
        self.re.encode(bytes);
        self.im.encode(bytes);
    }
}

fn decode<T: Coded>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(T::decode).collect()
}

fn operand<'a, T>(case: &GemmCase, index: usize, op: char, data: &'a [T]) -> MatRef<'a, T> {
    let stored = case.stored(index);
    let (row_stride, col_stride) = if op == 'n' { (1, stored.ld) } else { (stored.ld, 1) };
    let conjugate = if op == 'c' { Conj::Yes } else { Conj::No };
    MatRef { data, row_stride, col_stride, batch_stride: stored.stride, conjugate }
}

fn run<AB, Out, Acc>(case: &GemmCase, scalar: impl Fn(f64) -> Acc) -> Result<(), String>
where
    AB: Coded + Input<Acc>,
    Out: Coded + Output<Acc>,
    Acc: Accumulator,
{
    let data = case.data();
    let (a, b, mut c): (Vec<AB>, Vec<AB>, Vec<Out>) = (decode(&data.a), decode(&data.b), decode(&data.c));
    let stored = case.stored(2);
    let shape = GemmShape { m: case.m, n: case.n, k: case.k, batch: case.batch };
    let output =
        MatMut { data: &mut c[..], row_stride: 1, col_stride: stored.ld, batch_stride: stored.stride.max(1) };
    let (a, b) = (operand(case, 0, case.transa, &a), operand(case, 1, case.transb, &b));
    gemm(shape, scalar(case.alpha), a, b, scalar(case.beta), output);
    let mut after = Vec::new();
    c.iter().for_each(|element| element.encode(&mut after));
    case.check(&data.c, &after, &data.expected)
}

/// Every combination of types that the engine multiplies, with the number of the one that runs it.
fn check(case: &GemmCase) -> Result<(), String> {
    use Element::{Bf16, C32 as C32E, C64 as C64E, CI8, F16, F32, F64, I8, I32};
    let single = |value: f64| value as f32;
    let complex = |value: f64| {
        let number = case.scalar(value);
        C32::new(number.re as f32, number.im as f32)
    };
    match (case.types.ab, case.types.c) {
        (F32, F32) => run::<f32, f32, f32>(case, single),
        (F64, F64) => run::<f64, f64, f64>(case, |value| value),
        (C32E, C32E) => run::<C32, C32, C32>(case, complex),
        (C64E, C64E) => run::<C64, C64, C64>(case, |value| case.scalar(value)),
        (F16, F16) => run::<f16, f16, f32>(case, single),
        (F16, F32) => run::<f16, f32, f32>(case, single),
        (Bf16, Bf16) => run::<bf16, bf16, f32>(case, single),
        (Bf16, F32) => run::<bf16, f32, f32>(case, single),
        (I8, I32) => run::<i8, i32, i32>(case, |value| value as i32),
        (I8, F32) => run::<i8, f32, f32>(case, single),
        (CI8, C32E) => run::<num_complex::Complex<i8>, C32, C32>(case, complex),
        other => Err(format!("no such combination: {other:?}")),
    }
}

fn all_types() -> Vec<Types> {
    use Element::{Bf16, C32, C64, CI8, F16, F32, F64, I8, I32};
    let scaled = |ab, c, scale| Types { ab, c, scale };
    vec![
        Types::uniform(F32),
        Types::uniform(F64),
        Types::uniform(C32),
        Types::uniform(C64),
        scaled(F16, F16, F32),
        scaled(F16, F32, F32),
        scaled(Bf16, Bf16, F32),
        scaled(Bf16, F32, F32),
        scaled(I8, I32, I32),
        scaled(I8, F32, F32),
        scaled(CI8, C32, C32),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn random_products_of_every_type_agree_with_the_reference(
        kind in 0usize..11, batch in 1usize..4, seed in 0u64..1 << 40,
    ) {
        let case = GemmCase::random(all_types()[kind], batch, seed);
        prop_assert_eq!(check(&case), Ok(()));
    }
}

#[test]
fn edge_cases_of_every_type_agree_with_the_reference() {
    for case in all_types().into_iter().flat_map(GemmCase::edges) {
        assert_eq!(check(&case), Ok(()));
    }
}

#[test]
fn large_products_cross_tiles_and_panels() {
    for text in [
        "f32->f32:f32 nt m300 n270 k600 lda301 ldb270 ldc300 alpha1.5 beta-1 batch1 gap0 seed1",
        "f16->f16:f32 tn m300 n20 k1100 lda1100 ldb1100 ldc300 alpha1 beta1 batch1 gap0 seed2",
        "bf16->f32:f32 nn m1 n700 k1100 lda1 ldb1100 ldc1 alpha1 beta0 batch2 gap3 seed3",
        "c32->c32:c32 cn m513 n2 k520 lda520 ldb520 ldc513 alpha1 beta0.5 batch1 gap0 seed4",
        "i8->i32:i32 tn m300 n300 k300 lda300 ldb300 ldc300 alpha1 beta1 batch1 gap0 seed5",
        "f64->f64:f64 tc m700 n1 k1500 lda1500 ldb1 ldc700 alpha0.25 beta0 batch1 gap0 seed6",
    ] {
        let case: GemmCase = text.parse().unwrap();
        assert_eq!(check(&case), Ok(()));
    }
}

#[test]
fn beta_zero_never_reads_c() {
    let case: GemmCase =
        "f32->f32:f32 nn m5 n4 k3 lda5 ldb3 ldc5 alpha1 beta0 batch1 gap0 seed1".parse().unwrap();
    assert!(case.data().c.iter().all(|&byte| byte == 0xff), "C holds nothing but NaN before");
    assert_eq!(check(&case), Ok(()));
}

#[test]
fn alpha_zero_never_reads_a_and_b() {
    let nan = [f32::NAN; 4];
    let mut c = [1.0f32, 2.0, 3.0, 4.0];
    let matrix =
        || MatRef { data: &nan[..], row_stride: 1, col_stride: 2, batch_stride: 0, conjugate: Conj::No };
    let output = MatMut { data: &mut c[..], row_stride: 1, col_stride: 2, batch_stride: 0 };
    gemm(GemmShape { m: 2, n: 2, k: 2, batch: 1 }, 0.0f32, matrix(), matrix(), 2.0, output);
    assert_eq!(c, [2.0, 4.0, 6.0, 8.0]);
}

#[test]
fn zero_depth_scales_c_and_reads_nothing() {
    let mut c = [1.0f32, f32::NAN];
    let nothing = || MatRef::<f32> {
        data: &[][..],
        row_stride: 1,
        col_stride: 1,
        batch_stride: 0,
        conjugate: Conj::No,
    };
    let shape = GemmShape { m: 2, n: 1, k: 0, batch: 1 };
    gemm(
        shape,
        1.0f32,
        nothing(),
        nothing(),
        0.0,
        MatMut { data: &mut c[..], row_stride: 1, col_stride: 2, batch_stride: 0 },
    );
    assert_eq!(c, [0.0, 0.0]);
}

#[test]
fn infinities_and_nan_propagate() {
    let (a, b) = ([f32::INFINITY, 1.0], [0.0f32, 2.0]);
    let mut c = [0.0f32];
    let a = MatRef { data: &a[..], row_stride: 1, col_stride: 1, batch_stride: 0, conjugate: Conj::No };
    let b = MatRef { data: &b[..], row_stride: 1, col_stride: 2, batch_stride: 0, conjugate: Conj::No };
    let shape = GemmShape { m: 1, n: 1, k: 2, batch: 1 };
    gemm(
        shape,
        1.0f32,
        a,
        b,
        0.0,
        MatMut { data: &mut c[..], row_stride: 1, col_stride: 1, batch_stride: 0 },
    );
    assert!(c[0].is_nan(), "∞·0 + 1·2 is NaN, not {}", c[0]);
}

#[test]
fn a_batch_stride_of_zero_is_one_matrix_for_all() {
    let (a, b) = ([1.0f32, 2.0], [3.0f32, 4.0, 5.0, 6.0]);
    let mut c = [0.0f32; 2];
    let a = MatRef { data: &a[..], row_stride: 1, col_stride: 1, batch_stride: 0, conjugate: Conj::No };
    let b = MatRef { data: &b[..], row_stride: 1, col_stride: 2, batch_stride: 2, conjugate: Conj::No };
    let shape = GemmShape { m: 1, n: 1, k: 2, batch: 2 };
    gemm(
        shape,
        1.0f32,
        a,
        b,
        0.0,
        MatMut { data: &mut c[..], row_stride: 1, col_stride: 1, batch_stride: 1 },
    );
    assert_eq!(c, [11.0, 17.0]);
}

#[test]
fn the_epilogue_comes_before_rounding_and_c_may_lie_apart() {
    let half = |x: f32| f16::from_f32(x);
    let (a, b, c) = ([half(1.0), half(-2.0)], [half(3.0)], [half(10.0), half(20.0)]);
    let mut d = [half(0.0); 2];
    let column = |data| MatRef { data, row_stride: 1, col_stride: 2, batch_stride: 0, conjugate: Conj::No };
    let output = MatMut { data: &mut d[..], row_stride: 1, col_stride: 2, batch_stride: 0 };
    let bias = [0.5f32, -100.0];
    let epilogue = Epilogue { bias: Some(&bias[..]), activation: Activation::Relu };
    let shape = GemmShape { m: 2, n: 1, k: 1, batch: 1 };
    gemm_with_epilogue(
        shape,
        2.0f32,
        column(&a[..]),
        column(&b[..]),
        0.5,
        Some(column(&c[..])),
        output,
        &epilogue,
    );
    assert_eq!(d, [half(11.5), half(0.0)]);
}

#[test]
#[should_panic(expected = "share a place")]
fn overlapping_outputs_are_a_bug_of_the_caller() {
    let one = [1.0f32; 4];
    let mut c = [0.0f32; 4];
    let matrix =
        || MatRef { data: &one[..], row_stride: 1, col_stride: 2, batch_stride: 0, conjugate: Conj::No };
    let output = MatMut { data: &mut c[..], row_stride: 1, col_stride: 1, batch_stride: 0 };
    gemm(GemmShape { m: 2, n: 2, k: 2, batch: 1 }, 1.0f32, matrix(), matrix(), 0.0, output);
}
