//! Every pointwise mode of the graph API in a graph of its own, against double precision.

use cudarc::cudnn::sys::{cudnnBackendAttributeName_t as Name, cudnnPointwiseMode_t as Mode};
use gpucompat_cases::conv::Arrangement;
use gpucompat_cases::element::Element;
use gpucompat_reference::pointwise as reference;

use super::workbench::{Operands, Pointwise, Workbench};
use super::{create, destroy};

const DIMS: [usize; 4] = [2, 3, 4, 5];
const COUNT: usize = 120;

/// A mode of one operand, and its meaning; what its operand is between.
type Unary = (Mode, &'static [(Name, f64)], [f64; 2], fn(f64) -> f64);
/// A mode of two operands.
type Binary = (Mode, [f64; 2], fn(f64, f64) -> f64);
/// A gradient: dx of dy and x.
type Gradient = (Mode, &'static [(Name, f64)], fn(f64, f64) -> f64);

const CLIPS: &[(Name, f64)] = &[
    (Name::CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP, -0.25),
    (Name::CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, 0.75),
    (Name::CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, 0.125),
];
const ELU: &[(Name, f64)] = &[(Name::CUDNN_ATTR_POINTWISE_ELU_ALPHA, 1.5)];
const SOFTPLUS: &[(Name, f64)] = &[(Name::CUDNN_ATTR_POINTWISE_SOFTPLUS_BETA, 2.0)];
const SWISH: &[(Name, f64)] = &[(Name::CUDNN_ATTR_POINTWISE_SWISH_BETA, 0.5)];

const UNARY: [Unary; 27] = [
    (Mode::CUDNN_POINTWISE_ABS, &[], [-3.0, 3.0], f64::abs),
    (Mode::CUDNN_POINTWISE_CEIL, &[], [-3.0, 3.0], f64::ceil),
    (Mode::CUDNN_POINTWISE_COS, &[], [-9.0, 9.0], f64::cos),
    (Mode::CUDNN_POINTWISE_EXP, &[], [-5.0, 5.0], f64::exp),
    (Mode::CUDNN_POINTWISE_FLOOR, &[], [-3.0, 3.0], f64::floor),
    (Mode::CUDNN_POINTWISE_LOG, &[], [0.1, 9.0], f64::ln),
    (Mode::CUDNN_POINTWISE_NEG, &[], [-3.0, 3.0], |x| -x),
    (Mode::CUDNN_POINTWISE_RSQRT, &[], [0.1, 9.0], |x| 1.0 / x.sqrt()),
    (Mode::CUDNN_POINTWISE_SIN, &[], [-9.0, 9.0], f64::sin),
    (Mode::CUDNN_POINTWISE_SQRT, &[], [0.0, 9.0], f64::sqrt),
    (Mode::CUDNN_POINTWISE_TAN, &[], [-1.2, 1.2], f64::tan),
    (Mode::CUDNN_POINTWISE_ERF, &[], [-3.0, 3.0], reference::erf),
    (Mode::CUDNN_POINTWISE_IDENTITY, &[], [-3.0, 3.0], |x| x),
    (Mode::CUDNN_POINTWISE_RECIPROCAL, &[], [0.2, 3.0], |x| 1.0 / x),
    (Mode::CUDNN_POINTWISE_RELU_FWD, &[], [-3.0, 3.0], |x| x.max(0.0)),
    (Mode::CUDNN_POINTWISE_RELU_FWD, CLIPS, [-3.0, 3.0], |x| reference::relu(x, -0.25, 0.75, 0.125).value),
    (Mode::CUDNN_POINTWISE_TANH_FWD, &[], [-3.0, 3.0], f64::tanh),
    (Mode::CUDNN_POINTWISE_SIGMOID_FWD, &[], [-5.0, 5.0], reference::sigmoid),
    (Mode::CUDNN_POINTWISE_ELU_FWD, &[], [-3.0, 3.0], |x| reference::elu(x, 1.0)),
    (Mode::CUDNN_POINTWISE_ELU_FWD, ELU, [-3.0, 3.0], |x| reference::elu(x, 1.5)),
    (Mode::CUDNN_POINTWISE_GELU_FWD, &[], [-3.0, 3.0], |x| reference::gelu(x).value),
    (Mode::CUDNN_POINTWISE_SOFTPLUS_FWD, &[], [-3.0, 3.0], |x| reference::softplus(x, 1.0)),
    (Mode::CUDNN_POINTWISE_SOFTPLUS_FWD, SOFTPLUS, [-3.0, 3.0], |x| reference::softplus(x, 2.0)),
    (Mode::CUDNN_POINTWISE_SWISH_FWD, &[], [-3.0, 3.0], |x| reference::swish(x, 1.0)),
    (Mode::CUDNN_POINTWISE_SWISH_FWD, SWISH, [-3.0, 3.0], |x| reference::swish(x, 0.5)),
    (Mode::CUDNN_POINTWISE_GELU_APPROX_TANH_FWD, &[], [-3.0, 3.0], |x| reference::gelu_tanh(x).value),
    (Mode::CUDNN_POINTWISE_LOGICAL_NOT, &[], [-1.0, 1.0], |x| truth(x == 0.0)),
];

const BINARY: [Binary; 19] = [
    (Mode::CUDNN_POINTWISE_ADD, [-3.0, 3.0], |x, b| x + b),
    (Mode::CUDNN_POINTWISE_ADD_SQUARE, [-3.0, 3.0], |x, b| x + b * b),
    (Mode::CUDNN_POINTWISE_DIV, [0.2, 3.0], |x, b| x / b),
    (Mode::CUDNN_POINTWISE_MAX, [-3.0, 3.0], f64::max),
    (Mode::CUDNN_POINTWISE_MIN, [-3.0, 3.0], f64::min),
    (Mode::CUDNN_POINTWISE_MOD, [0.2, 3.0], |x, b| x % b),
    (Mode::CUDNN_POINTWISE_MUL, [-3.0, 3.0], |x, b| x * b),
    (Mode::CUDNN_POINTWISE_POW, [0.2, 3.0], f64::powf),
    (Mode::CUDNN_POINTWISE_SUB, [-3.0, 3.0], |x, b| x - b),
    (Mode::CUDNN_POINTWISE_CMP_EQ, [-3.0, 3.0], |x, b| truth(x == b)),
    (Mode::CUDNN_POINTWISE_CMP_NEQ, [-3.0, 3.0], |x, b| truth(x != b)),
    (Mode::CUDNN_POINTWISE_CMP_GT, [-3.0, 3.0], |x, b| truth(x > b)),
    (Mode::CUDNN_POINTWISE_CMP_GE, [-3.0, 3.0], |x, b| truth(x >= b)),
    (Mode::CUDNN_POINTWISE_CMP_LT, [-3.0, 3.0], |x, b| truth(x < b)),
    (Mode::CUDNN_POINTWISE_CMP_LE, [-3.0, 3.0], |x, b| truth(x <= b)),
    (Mode::CUDNN_POINTWISE_LOGICAL_AND, [-3.0, 3.0], |x, b| truth(x != 0.0 && b != 0.0)),
    (Mode::CUDNN_POINTWISE_LOGICAL_OR, [-3.0, 3.0], |x, b| truth(x != 0.0 || b != 0.0)),
    (Mode::CUDNN_POINTWISE_ATAN2, [-3.0, 3.0], f64::atan2),
    (Mode::CUDNN_POINTWISE_ADD, [-900.0, 900.0], |x, b| x + b),
];

const GRADIENTS: [Gradient; 12] = [
    (Mode::CUDNN_POINTWISE_RELU_BWD, &[], |dy, x| if x > 0.0 { dy } else { 0.0 }),
    (Mode::CUDNN_POINTWISE_RELU_BWD, CLIPS, |dy, x| {
        reference::relu_backward(dy, x, -0.25, 0.75, 0.125).value
    }),
    (Mode::CUDNN_POINTWISE_TANH_BWD, &[], |dy, x| dy * reference::tanh_slope(x)),
    (Mode::CUDNN_POINTWISE_SIGMOID_BWD, &[], |dy, x| dy * reference::sigmoid_slope(x)),
    (Mode::CUDNN_POINTWISE_ELU_BWD, &[], |dy, x| dy * reference::elu_slope(x, 1.0)),
    (Mode::CUDNN_POINTWISE_ELU_BWD, ELU, |dy, x| dy * reference::elu_slope(x, 1.5)),
    (Mode::CUDNN_POINTWISE_GELU_BWD, &[], |dy, x| dy * reference::gelu_slope(x).value),
    (Mode::CUDNN_POINTWISE_SOFTPLUS_BWD, &[], |dy, x| dy * reference::sigmoid(x)),
    (Mode::CUDNN_POINTWISE_SOFTPLUS_BWD, SOFTPLUS, |dy, x| dy * reference::sigmoid(2.0 * x)),
    (Mode::CUDNN_POINTWISE_SWISH_BWD, &[], |dy, x| dy * reference::swish_slope(x, 1.0).value),
    (Mode::CUDNN_POINTWISE_SWISH_BWD, SWISH, |dy, x| dy * reference::swish_slope(x, 0.5).value),
    (Mode::CUDNN_POINTWISE_GELU_APPROX_TANH_BWD, &[], |dy, x| dy * reference::gelu_tanh_slope(x).value),
];

fn truth(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

fn is_logical(mode: Mode) -> bool {
    (Mode::CUDNN_POINTWISE_CMP_EQ as u32..=Mode::CUDNN_POINTWISE_LOGICAL_NOT as u32).contains(&(mode as u32))
}

/// Each mode on tensors of single and half precision, with and without factors, broadcast operands, gaps.
pub fn modes() {
    let handle = create();
    for element in [Element::F32, Element::F16] {
        for (mode, numbers, [low, high], meaning) in UNARY {
            let mut bench = Workbench::new(handle);
            let mut values = bench.random(COUNT, low, high);
            if is_logical(mode) {
                values.iter_mut().step_by(3).for_each(|value| *value = 0.0);
            }
            let x = bench.input(element, &DIMS, Arrangement::Nhwc, &values);
            let y = bench.output(element, &DIMS, Arrangement::Gaps);
            let want: Vec<f64> = bench.values(&x).into_iter().map(meaning).collect();
            let function = Pointwise { mode, numbers, factors: [1.0; 2] };
            bench.pointwise(function, Operands { x: Some(&x), ..Operands::default() }, &y);
            bench.must_run(&format!("{mode:?} of {element:?}"));
            bench.expect(&format!("{mode:?} of {element:?}"), &y, &want, 8.0);
        }
        for (index, (mode, [low, high], meaning)) in BINARY.into_iter().enumerate() {
            let mut bench = Workbench::new(handle);
            let small = [[2, 3, 4, 5], [1, 3, 1, 1], [1, 1, 4, 5], [1, 1, 1, 1]][index % 4];
            let (values, mut others) =
                (bench.random(COUNT, low, high), bench.random(small.iter().product(), low, high));
            others[0] = values[0];
            let x = bench.input(element, &DIMS, Arrangement::Nchw, &values);
            let b = bench.input(element, &small, Arrangement::Nhwc, &others);
            let y = bench.output(element, &DIMS, Arrangement::Sliced);
            let (values, others) = (bench.values(&x), bench.values(&b));
            let factors = if is_logical(mode) || index % 2 == 0 { [1.0; 2] } else { [0.5, 2.0] };
            let want: Vec<f64> = values
                .iter()
                .enumerate()
                .map(|(at, &x)| {
                    let b = others[gpucompat_reference::norm::place(at, &DIMS, &small)];
                    meaning(f64::from(factors[0]) * x, f64::from(factors[1]) * b)
                })
                .collect();
            let function = Pointwise { mode, numbers: &[], factors };
            bench.pointwise(function, Operands { x: Some(&x), b: Some(&b), ..Operands::default() }, &y);
            bench.must_run(&format!("{mode:?} of {element:?}"));
            bench.expect(&format!("{mode:?} of {element:?}"), &y, &want, 16.0);
        }
        for (mode, numbers, meaning) in GRADIENTS {
            let mut bench = Workbench::new(handle);
            let (x, values) = bench.noise(element, &DIMS);
            let (dy, gradients) = bench.noise(element, &DIMS);
            let dx = bench.output(element, &DIMS, Arrangement::Nchw);
            let want: Vec<f64> = gradients.iter().zip(&values).map(|(&dy, &x)| meaning(dy, x)).collect();
            let function = Pointwise { mode, numbers, factors: [1.0; 2] };
            bench.pointwise(function, Operands { x: Some(&x), dy: Some(&dy), ..Operands::default() }, &dx);
            bench.must_run(&format!("{mode:?} of {element:?}"));
            bench.expect(&format!("{mode:?} of {element:?}"), &dx, &want, 8.0);
        }
    }
    println!("modes {}", 2 * (UNARY.len() + BINARY.len() + GRADIENTS.len()));
    destroy(handle);
}

/// A comparison that makes booleans, a selection by them, and positions along an axis.
pub fn selection() {
    let handle = create();
    let mut bench = Workbench::new(handle);
    let ((a, left), (b, right)) = (bench.noise(Element::F32, &DIMS), bench.noise(Element::F32, &DIMS));
    let larger = bench.boolean_output(&DIMS);
    bench.pointwise(
        Pointwise::plain(Mode::CUDNN_POINTWISE_CMP_GT),
        Operands { x: Some(&a), b: Some(&b), ..Operands::default() },
        &larger,
    );
    let y = bench.output(Element::F32, &DIMS, Arrangement::Nchw);
    bench.pointwise(
        Pointwise::plain(Mode::CUDNN_POINTWISE_BINARY_SELECT),
        Operands { x: Some(&a), b: Some(&b), t: Some(&larger), ..Operands::default() },
        &y,
    );
    bench.must_run("a selection");
    let pairs = || left.iter().zip(&right);
    bench.expect("a comparison", &larger, &pairs().map(|(a, b)| truth(a > b)).collect::<Vec<_>>(), 0.0);
    bench.expect("a selection", &y, &pairs().map(|(a, b)| a.max(*b)).collect::<Vec<_>>(), 0.0);
    for axis in 0..4 {
        let mut bench = Workbench::new(handle);
        let (x, _) = bench.noise(Element::F32, &DIMS);
        let y = bench.output(Element::F32, &DIMS, Arrangement::Nhwc);
        let numbers = [(Name::CUDNN_ATTR_POINTWISE_AXIS, axis as f64)];
        let function =
            Pointwise { mode: Mode::CUDNN_POINTWISE_GEN_INDEX, numbers: &numbers, factors: [1.0; 2] };
        bench.pointwise(function, Operands { x: Some(&x), ..Operands::default() }, &y);
        bench.must_run("positions");
        let step: usize = DIMS[axis + 1..].iter().product();
        let want: Vec<f64> = (0..COUNT).map(|at| (at / step % DIMS[axis]) as f64).collect();
        bench.expect(&format!("positions along axis {axis}"), &y, &want, 0.0);
    }
    destroy(handle);
}
