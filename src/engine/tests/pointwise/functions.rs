//! Every function of pointwise steps against its definition.

use crate::operands::{Random, agrees};
use gpucompat_engine::{
    Comparison, Function, Layout, Operand, ProgramOutput, Real, Step, TensorMut, TensorRef, pointwise,
};
use gpucompat_reference::pointwise::{self as reference, Expected};

const COMPARISONS: [Comparison; 6] =
    [Comparison::Eq, Comparison::Ne, Comparison::Gt, Comparison::Ge, Comparison::Lt, Comparison::Le];

/// One of each; those with parameters more than once.
fn functions() -> Vec<Function> {
    use Function::*;
    let mut functions = vec![
        Identity,
        Neg,
        Abs,
        Reciprocal,
        Sqrt,
        Rsqrt,
        Exp,
        Log,
        Ceil,
        Floor,
        Sin,
        Cos,
        Tan,
        Erf,
        LogicalNot,
        Tanh,
        Sigmoid,
        Elu { alpha: 1.0 },
        Elu { alpha: 0.3 },
        Gelu,
        GeluTanh,
        Softplus { beta: 1.0 },
        Softplus { beta: 2.5 },
        Swish { beta: 1.0 },
        Swish { beta: 0.7 },
        Add,
        AddSquare,
        Sub,
        Mul,
        Div,
        Min,
        Max,
        Mod,
        Pow,
        Atan2,
        LogicalAnd,
        LogicalOr,
        TanhBackward,
        SigmoidBackward,
        EluBackward { alpha: 0.3 },
        GeluBackward,
        GeluTanhBackward,
        SoftplusBackward { beta: 2.5 },
        SwishBackward { beta: 0.7 },
        Select,
    ];
    let infinity = f64::INFINITY;
    for (lower, upper, slope) in
        [(0.0, infinity, 0.0), (0.0, 6.0, 0.0), (-0.5, 0.75, 0.25), (0.0, infinity, 0.01)]
    {
        functions.push(Relu { lower, upper, slope });
        functions.push(ReluBackward { lower, upper, slope });
    }
    functions.extend(COMPARISONS.map(Compare));
    functions
}

fn condition(holds: bool) -> Expected {
    Expected::exact(f64::from(u8::from(holds)))
}

/// What a function should give, in double precision; parameters as the program's type holds them.
fn expected<R: Real>(function: Function, [a, b, c]: [f64; 3]) -> Expected {
    use Function::*;
    let held = |parameter: f64| R::of(parameter).to_double();
    // dy multiplies the slope's rounding error, also below the normal numbers.
    let least = R::min_positive_value().to_double();
    let times = |dy: f64, slope: Expected| Expected {
        value: dy * slope.value,
        magnitude: dy.abs() * slope.magnitude.max(least),
    };
    let exact = Expected::exact;
    match function {
        Identity => exact(a),
        Neg => exact(-a),
        Abs => exact(a.abs()),
        Reciprocal => exact(1.0 / a),
        Sqrt => exact(a.sqrt()),
        Rsqrt => exact(1.0 / a.sqrt()),
        Exp => exact(a.exp()),
        Log => exact(a.ln()),
        Ceil => exact(a.ceil()),
        Floor => exact(a.floor()),
        Sin => exact(a.sin()),
        Cos => exact(a.cos()),
        Tan => exact(a.tan()),
        Erf => exact(reference::erf(a)),
        LogicalNot => condition(a == 0.0),
        Relu { lower, upper, slope } => reference::relu(a, held(lower), held(upper), held(slope)),
        Tanh => exact(a.tanh()),
        Sigmoid => exact(reference::sigmoid(a)),
        Elu { alpha } => exact(reference::elu(a, held(alpha))),
        Gelu => reference::gelu(a),
        GeluTanh => reference::gelu_tanh(a),
        Softplus { beta } => Expected::with_magnitude(
            reference::softplus(a, held(beta)),
            reference::softplus(a, held(beta)) * (1.0 + a.abs()),
        ),
        Swish { beta } => {
            // Where the sigmoid is below the normal numbers, a multiplies its rounding error.
            let sigmoid = reference::sigmoid(held(beta) * a) + least;
            let magnitude = a * sigmoid * (1.0 + (held(beta) * a).abs());
            Expected::with_magnitude(reference::swish(a, held(beta)), magnitude)
        }
        GenIndex { .. } => unreachable!("tested by itself"),
        Add => exact(a + b),
        AddSquare => Expected::with_magnitude(a + b * b, a.abs() + b * b),
        Sub => exact(a - b),
        Mul => exact(a * b),
        Div => exact(a / b),
        Min | Max if a.is_nan() || b.is_nan() => exact(f64::NAN),
        Min => exact(a.min(b)),
        Max => exact(a.max(b)),
        Mod => exact(a % b),
        Pow => exact(a.powf(b)),
        Atan2 => exact(a.atan2(b)),
        Compare(Comparison::Eq) => condition(a == b),
        Compare(Comparison::Ne) => condition(a != b),
        Compare(Comparison::Gt) => condition(a > b),
        Compare(Comparison::Ge) => condition(a >= b),
        Compare(Comparison::Lt) => condition(a < b),
        Compare(Comparison::Le) => condition(a <= b),
        LogicalAnd => condition(a != 0.0 && b != 0.0),
        LogicalOr => condition(a != 0.0 || b != 0.0),
        ReluBackward { lower, upper, slope } => {
            reference::relu_backward(a, b, held(lower), held(upper), held(slope))
        }
        TanhBackward => times(a, exact(reference::tanh_slope(b))),
        SigmoidBackward => times(a, exact(reference::sigmoid_slope(b))),
        EluBackward { alpha } => times(a, exact(reference::elu_slope(b, held(alpha)))),
        GeluBackward => times(a, reference::gelu_slope(b)),
        GeluTanhBackward => times(a, reference::gelu_tanh_slope(b)),
        SoftplusBackward { beta } => {
            let value = reference::sigmoid(held(beta) * b);
            times(a, Expected::with_magnitude(value, value * (1.0 + (held(beta) * b).abs())))
        }
        SwishBackward { beta } => {
            let slope = reference::swish_slope(b, held(beta));
            let magnitude = slope.magnitude * (1.0 + (held(beta) * b).abs());
            times(a, Expected { magnitude, ..slope })
        }
        Select => exact(if a == 0.0 { c } else { b }),
    }
}

/// A program of one step, on packed vectors.
fn apply<R: Real>(function: Function, operands: &[Vec<R>; 3]) -> Vec<R> {
    let layout = Layout::packed(&[operands[0].len()]);
    let inputs = operands.each_ref().map(|operand| TensorRef::new(operand, layout));
    let mut output = vec![R::nan(); operands[0].len()];
    let steps = [Step { function, operands: [0, 1, 2].map(Operand::Input) }];
    pointwise(&steps, &inputs, &mut [ProgramOutput { step: 0, tensor: TensorMut::new(&mut output, layout) }]);
    output
}

/// Numbers of every scale from 2⁻²⁰ to 2⁷, and some that are special.
fn numbers<R: Real>(random: &mut Random, count: usize) -> Vec<R> {
    let special = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 6.0, 0.75, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let mut number = |_| {
        R::of(match random.below(4) {
            0 => special[random.below(special.len())],
            1 => (random.number() * 4.0).round(),
            _ => random.number() * 2f64.powi(random.below(28) as i32 - 20),
        })
    };
    (0..count).map(&mut number).collect()
}

/// Whether the derivative may be a difference that cancels, or a number that the type holds as 0.
fn vanishes(function: Function) -> bool {
    matches!(
        function,
        Function::TanhBackward
            | Function::SigmoidBackward
            | Function::EluBackward { .. }
            | Function::GeluBackward
            | Function::GeluTanhBackward
            | Function::SoftplusBackward { .. }
            | Function::SwishBackward { .. }
    )
}

fn functions_agree<R: Real>() {
    let mut random = Random::new();
    for function in functions() {
        let operands = [(); 3].map(|()| numbers::<R>(&mut random, 3001));
        let results = apply(function, &operands);
        for (index, &result) in results.iter().enumerate() {
            let values = operands.each_ref().map(|operand| operand[index]);
            if vanishes(function) && values[0].is_infinite() {
                // ∞ times a slope that rounding decides.
                continue;
            }
            let expected = expected::<R>(function, values.map(Real::to_double));
            assert!(
                agrees(result, expected, 12.0),
                "{function:?} of {values:?} is {result:?}, not {expected:?}"
            );
        }
    }
}

#[test]
fn every_function_agrees_with_its_definition_in_single_precision() {
    functions_agree::<f32>();
}

#[test]
fn every_function_agrees_with_its_definition_in_double_precision() {
    functions_agree::<f64>();
}

#[test]
fn exp_tanh_sigmoid_erf_are_within_two_units_in_the_last_place_over_all_floats() {
    let mut random = Random::new();
    let mut x: Vec<f32> = (0..100_000).map(|_| f32::from_bits(random.bits() as u32)).collect();
    x.extend((0..100_000).map(|_| (random.number() * 110.0) as f32));
    x.extend((0..50_000).map(|_| (random.number() * 5.0) as f32));
    for (function, exact) in [
        (Function::Exp, f64::exp as fn(f64) -> f64),
        (Function::Tanh, f64::tanh),
        (Function::Sigmoid, reference::sigmoid),
        (Function::Erf, reference::erf),
        (Function::Elu { alpha: 1.0 }, |x| reference::elu(x, 1.0)),
    ] {
        let results = apply(function, &[x.clone(), vec![0.0; x.len()], vec![0.0; x.len()]]);
        let mut worst = (0.0, 0.0);
        for (&x, &result) in x.iter().zip(&results) {
            let want = exact(x.into());
            let rounded = want as f32;
            if !rounded.is_finite() {
                assert!(result.is_nan() == rounded.is_nan() && (rounded.is_nan() || result == rounded));
                continue;
            }
            // The distance to the next number away from 0.
            let unit = f64::from(f32::from_bits(rounded.abs().to_bits() + 1)) - f64::from(rounded.abs());
            let error = (f64::from(result) - want).abs() / unit;
            if error > worst.0 || error.is_nan() {
                worst = (error, x);
            }
        }
        assert!(worst.0 <= 2.0, "{function:?} of {}: {} units in the last place", worst.1, worst.0);
    }
}

#[test]
fn erf_in_double_precision_agrees_with_known_values() {
    // Computed with 40 digits.
    for (x, want) in [
        (1e-300, 1.128_379_167_095_512_6e-300),
        (1e-10, 1.128_379_167_095_512_6e-10),
        (0.1, 0.112_462_916_018_284_9),
        (0.5, 0.520_499_877_813_046_5),
        (0.99, 0.838_508_069_555_369_8),
        (1.0, 0.842_700_792_949_714_9),
        (1.01, 0.846_810_496_228_276_7),
        (1.5, 0.966_105_146_475_310_7),
        (2.0, 0.995_322_265_018_952_7),
        (2.9, 0.999_958_902_121_900_5),
        (3.0, 0.999_977_909_503_001_4),
        (4.0, 0.999_999_984_582_742_1),
        (5.5, 0.999_999_999_999_992_6),
        (5.9, 0.999_999_999_999_999_9),
        (6.5, 1.0),
        (f64::INFINITY, 1.0),
    ] {
        for sign in [1.0, -1.0] {
            let result = apply(Function::Erf, &[vec![sign * x], vec![0.0], vec![0.0]])[0];
            assert!((result - sign * want).abs() <= 1e-15 * want, "erf {x} = {result}, not {want}");
        }
    }
}

#[test]
fn erf_in_double_precision_is_exact_to_fifteen_digits_everywhere() {
    let mut random = Random::new();
    let x: Vec<f64> = (0..20_000).map(|_| random.number() * 7.0).collect();
    let results = apply(Function::Erf, &[x.clone(), vec![0.0; x.len()], vec![0.0; x.len()]]);
    for (&x, result) in x.iter().zip(results) {
        let want = reference::erf(x);
        assert!((result - want).abs() <= 1e-15 * want.abs(), "erf {x} = {result}, not {want}");
    }
}

#[test]
fn minus_infinity_and_nan_pass_relu_as_in_cudnn() {
    let relu = Function::Relu { lower: 0.0, upper: f64::INFINITY, slope: 0.0 };
    let x = vec![f32::NEG_INFINITY, f32::NAN, f32::INFINITY];
    let result = apply(relu, &[x.clone(), x.clone(), x]);
    assert!(result[0] == 0.0 && result[1].is_nan() && result[2] == f32::INFINITY, "{result:?}");
}

#[test]
fn the_gradient_of_relu_at_zero_is_zero_and_an_unbounded_one_passes_infinity() {
    let backward = Function::ReluBackward { lower: 0.0, upper: f64::INFINITY, slope: 0.0 };
    let dy = vec![f32::INFINITY, 3.0, 3.0, f32::NAN];
    let x = vec![0.0f32, f32::INFINITY, f32::NAN, -1.0];
    assert_eq!(format!("{:?}", apply(backward, &[dy, x.clone(), x])), "[0.0, 3.0, 3.0, 0.0]");
}
