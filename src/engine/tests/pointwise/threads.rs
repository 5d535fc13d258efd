//! Results do not depend on the number of threads: the same work in processes with 1, 2 and 3.

use gpucompat_engine::{
    Function, Layout, NanRule, Operand, ProgramOutput, Reduction, SoftmaxAlgorithm, SoftmaxMode, Step,
    TensorMut, TensorRef, pointwise, reduce, set_threads, softmax, softmax_backward,
};

const THREADS: &str = "GPUCOMPAT_TEST_THREADS";

/// Bits of results that several threads share.
fn fingerprint() -> Vec<u64> {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 16_777_216.0 - 0.5
    };
    let dims = [3, 70, 37, 41];
    let (packed, channels_last) = (Layout::packed(&dims), Layout::new(&dims, &[106_190, 1, 2870, 70]));
    let x: Vec<f32> = (0..packed.elements()).map(|_| noise()).collect();
    let wide: Vec<f64> = x.iter().map(|&x| f64::from(x) / 3.0).collect();
    let (mut bits, mut wide_bits) = (Vec::new(), Vec::new());
    let mut keep = |values: &[f32]| bits.extend(values.iter().map(|value| value.to_bits()));
    for layout in [packed, channels_last] {
        let x = TensorRef::new(&x, layout);
        let (mut y, mut dx) = (vec![f32::NAN; packed.elements()], vec![f32::NAN; packed.elements()]);
        let step = Step { function: Function::Gelu, operands: [Operand::Input(0); 3] };
        let output = ProgramOutput { step: 0, tensor: TensorMut::new(&mut y, packed) };
        pointwise(&[step], &[x], &mut [output]);
        keep(&y);
        for mode in [SoftmaxMode::Instance, SoftmaxMode::Channel] {
            softmax(SoftmaxAlgorithm::Accurate, mode, x, TensorMut::new(&mut y, layout));
            let y_ref = TensorRef::new(&y, layout);
            softmax_backward(SoftmaxAlgorithm::Accurate, mode, y_ref, x, TensorMut::new(&mut dx, layout));
            keep(&y);
            keep(&dx);
        }
        for y_dims in [[1, 1, 1, 1], [1, 70, 1, 1], [3, 1, 37, 41], [3, 70, 1, 1], [1, 70, 37, 41]] {
            let y_layout = Layout::packed(&y_dims);
            let mut y = vec![f32::NAN; y_layout.elements()];
            reduce(Reduction::Add, NanRule::Propagate, x, TensorMut::new(&mut y, y_layout));
            keep(&y);
            // Sums are accumulated in double precision, so only these show their order.
            let mut y = vec![f64::NAN; y_layout.elements()];
            let x = TensorRef::new(&wide, layout);
            reduce(Reduction::Add, NanRule::Propagate, x, TensorMut::new(&mut y, y_layout));
            wide_bits.extend(y.iter().map(|value| value.to_bits()));
        }
    }
    bits.into_iter().map(u64::from).chain(wide_bits).collect()
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
            let name = format!("gpucompat-pointwise-threads-{}-{threads}", std::process::id());
            let out = std::env::temp_dir().join(name);
            let status = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "threads::one_two_and_three_threads_give_the_same_bits"])
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
    assert!(results[0] == results[1], "one thread and two");
    assert!(results[0] == results[2], "one thread and three");
}
