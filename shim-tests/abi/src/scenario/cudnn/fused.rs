//! Graphs of several operations, as PyTorch and cudnn-frontend build them, against double precision.

use cudarc::cudnn::sys::{
    cudnnPointwiseMode_t as Mode, cudnnReduceTensorOp_t as Reduce, cudnnResampleMode_t as Resample,
};
use gpucompat_cases::conv::{Arrangement, ConvCase};
use gpucompat_cases::element::Element;
use gpucompat_reference::norm::place;
use gpucompat_reference::{pointwise as reference, reduce};

use super::graph::{Place, TensorSpec};
use super::workbench::{Operands, Pointwise, Workbench};
use super::{create, destroy};

/// A convolution's operands on a bench, and its result before anything is added.
struct Convolved {
    case: ConvCase,
    x: TensorSpec,
    w: TensorSpec,
    sums: Vec<f64>,
}

/// x and w of a case, which says 1 and 0 for α and β.
fn convolved(bench: &mut Workbench, text: &str) -> Convolved {
    let case: ConvCase = text.parse().unwrap();
    let operand = |bench: &mut Workbench, index: usize| {
        let dims = case.dims(index);
        let values = bench.random(dims.iter().product(), -1.0, 1.0);
        let spec = bench.input(case.element(index), &dims, case.lie[index], &values);
        let values = bench.values(&spec);
        (spec, values)
    };
    let ((x, x_values), (w, w_values)) = (operand(bench, 0), operand(bench, 1));
    let problem = case.problem();
    let sums = gpucompat_reference::conv::forward(&problem, &x_values, &w_values);
    Convolved { case, x, w, sums: sums.into_iter().map(|sum| sum.value).collect() }
}

fn add() -> Pointwise<'static> {
    Pointwise::plain(Mode::CUDNN_POINTWISE_ADD)
}

fn of<'a>(x: &'a TensorSpec, b: &'a TensorSpec) -> Operands<'a> {
    Operands { x: Some(x), b: Some(b), ..Operands::default() }
}

fn alone(x: &TensorSpec) -> Operands<'_> {
    Operands { x: Some(x), ..Operands::default() }
}

const CASES: [&str; 5] = [
    "f32->f32 forward n2 c4 k6 groups1 in6x7 win3x3 pre1x1 post1x1 stride1x1 dil1x1 cross nchw:nchw:nchw alpha1 beta0 seed1",
    "f16->f16 forward n2 c8 k16 groups2 in9x8 win3x2 pre1x0 post0x1 stride2x1 dil1x2 cross nhwc:nhwc:nhwc alpha1 beta0 seed2",
    "bf16->bf16 forward n1 c5 k3 groups1 in7x7 win1x1 pre0x0 post0x0 stride1x1 dil1x1 cross nchw:nchw:nchw alpha1 beta0 seed3",
    "f32->f32 forward n1 c3 k4 groups1 in4x5x6 win2x3x2 pre0x1x1 post1x1x0 stride1x1x2 dil1x1x1 cross nhwc:nhwc:nhwc alpha1 beta0 seed4",
    "f32->f32 forward n2 c3 k3 groups3 in9 win4 pre2 post1 stride1 dil1 cross sliced:nchw:gaps alpha1 beta0 seed5",
];

/// What varies of [`add_relu`].
#[derive(Clone, Copy, PartialEq)]
enum Variant {
    /// In order.
    Plain,
    /// The operations are given in reverse.
    Reversed,
    /// The convolution's result is the program's.
    Kept,
    /// z is poison and its factor 0, as PyTorch says that there is none.
    Unread,
}

/// `cudnn_convolution_add_relu`: conv → add(α₂·z) → add(bias) → relu, the results between them virtual.
pub fn add_relu() {
    let handle = create();
    let variants = [Variant::Plain, Variant::Reversed, Variant::Kept, Variant::Unread];
    for (text, variant) in CASES.into_iter().flat_map(|text| variants.map(|variant| (text, variant))) {
        let mut bench = Workbench::new(handle);
        let Convolved { case, x, w, sums } = convolved(&mut bench, text);
        let dims = case.dims(2);
        let (z, z_values) = if variant == Variant::Unread {
            (bench.output(case.output, &dims, case.lie[2]), vec![0.0; sums.len()])
        } else {
            bench.noise(case.output, &dims)
        };
        let factor = if variant == Variant::Unread { 0.0 } else { 0.5 };
        let mut small = vec![1; dims.len()];
        small[1] = dims[1];
        let (bias, bias_values) = bench.noise(case.output, &small);
        let conv = if variant == Variant::Kept {
            bench.output(Element::F32, &dims, Arrangement::Nhwc)
        } else {
            bench.between(&dims)
        };
        let (with_z, with_bias) = (bench.between(&dims), bench.between(&dims));
        let y = bench.output(case.output, &dims, case.lie[2]);
        bench.convolution(&ConvCase { output: Element::F32, ..case }, [&x, &w, &conv]);
        bench.pointwise(Pointwise { factors: [1.0, factor], ..add() }, of(&conv, &z), &with_z);
        bench.pointwise(add(), of(&with_z, &bias), &with_bias);
        bench.pointwise(Pointwise::plain(Mode::CUDNN_POINTWISE_RELU_FWD), alone(&with_bias), &y);
        if variant == Variant::Reversed {
            bench.operations.reverse();
        }
        bench.must_run(text);
        let sum = |at: usize| sums[at] + 0.5 * z_values[at] + bias_values[place(at, &dims, &small)];
        let want: Vec<f64> = (0..sums.len()).map(|at| sum(at).max(0.0)).collect();
        bench.expect(text, &y, &want, 60.0);
        if variant == Variant::Kept {
            bench.expect(text, &conv, &sums, 60.0);
        }
    }
    destroy(handle);
}

/// A function of one number, and its meaning.
type Activation = (Mode, fn(f64) -> f64);
/// What a reduction makes of a set.
type Meaning = fn(&[f64]) -> f64;

/// conv → scale → bias → activation, scale and bias a value a channel, for some activations.
pub fn scale_bias_activation() {
    let handle = create();
    let activations: [Activation; 5] = [
        (Mode::CUDNN_POINTWISE_RELU_FWD, |x| x.max(0.0)),
        (Mode::CUDNN_POINTWISE_SIGMOID_FWD, reference::sigmoid),
        (Mode::CUDNN_POINTWISE_TANH_FWD, f64::tanh),
        (Mode::CUDNN_POINTWISE_GELU_FWD, |x| reference::gelu(x).value),
        (Mode::CUDNN_POINTWISE_SWISH_FWD, |x| reference::swish(x, 1.0)),
    ];
    for (text, (mode, meaning)) in CASES.into_iter().zip(activations) {
        let mut bench = Workbench::new(handle);
        let Convolved { case, x, w, sums } = convolved(&mut bench, text);
        let dims = case.dims(2);
        let mut small = vec![1; dims.len()];
        small[1] = dims[1];
        let ((scale, factors), (bias, offsets)) =
            (bench.noise(Element::F32, &small), bench.noise(Element::F32, &small));
        let (conv, scaled, moved) = (bench.between(&dims), bench.between(&dims), bench.between(&dims));
        let y = bench.output(case.output, &dims, case.lie[2]);
        bench.convolution(&ConvCase { output: Element::F32, ..case }, [&x, &w, &conv]);
        bench.pointwise(Pointwise::plain(Mode::CUDNN_POINTWISE_MUL), of(&conv, &scale), &scaled);
        bench.pointwise(add(), of(&scaled, &bias), &moved);
        bench.pointwise(Pointwise::plain(mode), alone(&moved), &y);
        bench.must_run(text);
        let channel = |at: usize| place(at, &dims, &small);
        let want: Vec<f64> = (0..sums.len())
            .map(|at| meaning(sums[at] * factors[channel(at)] + offsets[channel(at)]))
            .collect();
        bench.expect(text, &y, &want, 60.0);
    }
    destroy(handle);
}

/// A scalar by value as operand: y = (x + 2.5)·x.
pub fn scalars_by_value() {
    let handle = create();
    let mut bench = Workbench::new(handle);
    let dims = [2, 3, 4, 5];
    let (x, values) = bench.noise(Element::F32, &dims);
    let constant = bench.scalar(4, 2.5);
    let moved = bench.between(&dims);
    let y = bench.output(Element::F32, &dims, Arrangement::Nchw);
    bench.pointwise(add(), of(&x, &constant), &moved);
    bench.pointwise(Pointwise::plain(Mode::CUDNN_POINTWISE_MUL), of(&moved, &x), &y);
    bench.must_run("a scalar by value");
    bench.expect("a scalar by value", &y, &values.iter().map(|x| (x + 2.5) * x).collect::<Vec<_>>(), 8.0);
    destroy(handle);
}

/// Each reduction over several sets of axes, alone and after a pointwise operation.
pub fn reductions() {
    let handle = create();
    let dims = [3, 4, 5, 6];
    let operators: [(Reduce, Meaning); 9] = [
        (Reduce::CUDNN_REDUCE_TENSOR_ADD, |set| reduce::sum(set).value),
        (Reduce::CUDNN_REDUCE_TENSOR_MUL, |set| reduce::product(set).value),
        (Reduce::CUDNN_REDUCE_TENSOR_MIN, |set| set.iter().copied().fold(f64::INFINITY, f64::min)),
        (Reduce::CUDNN_REDUCE_TENSOR_MAX, |set| set.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        (Reduce::CUDNN_REDUCE_TENSOR_AMAX, |set| set.iter().fold(0.0, |most: f64, x| most.max(x.abs()))),
        (Reduce::CUDNN_REDUCE_TENSOR_AVG, |set| reduce::average(set).value),
        (Reduce::CUDNN_REDUCE_TENSOR_NORM1, |set| reduce::norm1(set).value),
        (Reduce::CUDNN_REDUCE_TENSOR_NORM2, |set| reduce::norm2(set).value),
        (Reduce::CUDNN_REDUCE_TENSOR_MUL_NO_ZEROS, |set| reduce::product_without_zeros(set).value),
    ];
    let mut done = 0;
    for (operator, meaning) in operators {
        for small in [[3, 1, 1, 1], [1, 4, 1, 1], [1, 1, 1, 1], [3, 4, 5, 1]] {
            for squared in [false, true] {
                let mut bench = Workbench::new(handle);
                let (x, mut values) = bench.noise(Element::F32, &dims);
                let y = bench.output(Element::F32, &small, Arrangement::Nchw);
                let known = if squared {
                    let between = bench.between(&dims);
                    bench.pointwise(Pointwise::plain(Mode::CUDNN_POINTWISE_MUL), of(&x, &x), &between);
                    values.iter_mut().for_each(|x| *x *= *x);
                    bench.reduction(operator, &between, &y)
                } else {
                    bench.reduction(operator, &x, &y)
                };
                if !known {
                    println!("unknown {operator:?}");
                    continue;
                }
                done += 1;
                bench.must_run(&format!("{operator:?} to {small:?}"));
                let mut sets = vec![Vec::new(); small.iter().product()];
                for (at, &value) in values.iter().enumerate() {
                    sets[place(at, &dims, &small)].push(value);
                }
                let want: Vec<f64> = sets.iter().map(|set| meaning(set)).collect();
                bench.expect(&format!("{operator:?} to {small:?}"), &y, &want, 100.0);
            }
        }
    }
    println!("reductions {done}");
    destroy(handle);
}

/// c = gelu(a·b + bias), with batches, a batch shared, and transposed operands.
pub fn matmul_bias_gelu() {
    let handle = create();
    let shapes: [[[usize; 3]; 2]; 4] =
        [[[1, 5, 7], [1, 7, 4]], [[3, 5, 7], [3, 7, 4]], [[3, 5, 7], [1, 7, 4]], [[2, 17, 33], [2, 33, 9]]];
    for (index, [left, right]) in shapes.into_iter().enumerate() {
        for element in [Element::F32, Element::F16, Element::Bf16] {
            let mut bench = Workbench::new(handle);
            let ((mut a, a_values), (b, b_values)) =
                (bench.noise(element, &left), bench.noise(element, &right));
            let [batch, m, k] = left;
            let n = right[2];
            let (dims, small) = ([batch, m, n], [1, 1, n]);
            let mut a_at = |at: [usize; 3]| (at[0] * m + at[1]) * k + at[2];
            let transposed = |at: [usize; 3]| at[0] * m * k + at[2] * m + at[1];
            let mut flipped = transposed;
            let a_at: &mut dyn FnMut([usize; 3]) -> usize = if index % 2 == 1 {
                a.strides = vec![m * k, 1, m];
                &mut flipped
            } else {
                &mut a_at
            };
            let (bias, offsets) = bench.noise(element, &small);
            let (product, moved) = (bench.between(&dims), bench.between(&dims));
            let y = bench.output(element, &dims, Arrangement::Nchw);
            bench.matmul(&a, &b, &product);
            bench.pointwise(add(), of(&product, &bias), &moved);
            bench.pointwise(Pointwise::plain(Mode::CUDNN_POINTWISE_GELU_FWD), alone(&moved), &y);
            bench.must_run(&format!("{left:?}·{right:?}"));
            let mut want = Vec::new();
            for batch in 0..batch {
                let other = if right[0] == 1 { 0 } else { batch };
                for i in 0..m {
                    for j in 0..n {
                        let sum: f64 = (0..k)
                            .map(|l| a_values[a_at([batch, i, l])] * b_values[(other * k + l) * n + j])
                            .sum();
                        want.push(reference::gelu(sum + offsets[j]).value);
                    }
                }
            }
            bench.expect(&format!("{element:?} {left:?}·{right:?}"), &y, &want, 100.0);
        }
    }
    destroy(handle);
}

/// Poolings of all modes, with padding.
pub fn pooling() {
    let handle = create();
    let (dims, window, stride, before, after) = ([2, 3, 7, 8], [3, 2], [2, 1], [1, 0], [1, 1]);
    let out = [2, 3, (7 + 2 - 3) / 2 + 1, (8 + 1 - 2) + 1];
    for mode in [
        Resample::CUDNN_RESAMPLE_MAXPOOL,
        Resample::CUDNN_RESAMPLE_AVGPOOL_INCLUDE_PADDING,
        Resample::CUDNN_RESAMPLE_AVGPOOL_EXCLUDE_PADDING,
    ] {
        for lies in [Arrangement::Nchw, Arrangement::Nhwc] {
            let mut bench = Workbench::new(handle);
            let values = bench.random(dims.iter().product(), -1.0, 1.0);
            let x = bench.input(Element::F32, &dims, lies, &values);
            let values = bench.values(&x);
            let y = bench.output(Element::F32, &out, lies);
            bench.pooling(mode, [&window, &stride, &before, &after], &x, &y);
            bench.must_run(&format!("{mode:?}"));
            let mut want = Vec::new();
            for at in 0..out.iter().product::<usize>() {
                let (column, row, plane) = (at % out[3], at / out[3] % out[2], at / out[3] / out[2]);
                let mut set = Vec::new();
                for i in 0..window[0] {
                    for j in 0..window[1] {
                        let (h, w) = (row * stride[0] + i, column * stride[1] + j);
                        let inside =
                            h >= before[0] && h - before[0] < 7 && w >= before[1] && w - before[1] < 8;
                        if inside {
                            set.push(values[(plane * 7 + h - before[0]) * 8 + w - before[1]]);
                        }
                    }
                }
                let sum: f64 = set.iter().sum();
                want.push(match mode {
                    Resample::CUDNN_RESAMPLE_MAXPOOL => set.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    Resample::CUDNN_RESAMPLE_AVGPOOL_EXCLUDE_PADDING => sum / set.len() as f64,
                    _ => sum / 6.0,
                });
            }
            bench.expect(&format!("{mode:?} {lies:?}"), &y, &want, 16.0);
        }
    }
    destroy(handle);
}

/// What no graph may be: its status, and nothing is written.
pub fn impossible() {
    let handle = create();
    let dims = [2, 3, 4, 5];
    let relu = || Pointwise::plain(Mode::CUDNN_POINTWISE_RELU_FWD);
    // A virtual tensor that nothing writes.
    let mut bench = Workbench::new(handle);
    let orphan = bench.tensor(Element::F32, &dims, Arrangement::Nchw, Place::Virtual);
    let y = bench.output(Element::F32, &dims, Arrangement::Nchw);
    bench.pointwise(relu(), alone(&orphan), &y);
    assert!(bench.run() != super::SUCCESS, "a virtual tensor that nothing writes");
    assert!(bench.values(&y).iter().all(|value| value.is_nan()));
    // Two operations that wait for each other.
    let mut bench = Workbench::new(handle);
    let (a, b) = (bench.between(&dims), bench.between(&dims));
    bench.pointwise(relu(), alone(&a), &b);
    bench.pointwise(relu(), alone(&b), &a);
    assert!(bench.run() != super::SUCCESS, "a cycle");
    // One tensor written twice.
    let mut bench = Workbench::new(handle);
    let (x, _) = bench.noise(Element::F32, &dims);
    let y = bench.output(Element::F32, &dims, Arrangement::Nchw);
    bench.pointwise(relu(), alone(&x), &y);
    bench.pointwise(relu(), alone(&x), &y);
    assert!(bench.run() != super::SUCCESS, "a tensor written twice");
    assert!(bench.values(&y).iter().all(|value| value.is_nan()));
    destroy(handle);
}
