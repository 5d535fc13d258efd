//! Programs of several steps on tensors of every layout, against their evaluation one element at a time.

use crate::operands::{Random, Tensor};
use gpucompat_engine::{
    Comparison, Function, Layout, Operand, ProgramOutput, Real, Step, TensorMut, TensorRef, pointwise,
};

/// Sizes of a random tensor of this rank: small, or a long axis among small ones.
fn sizes(random: &mut Random, rank: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> =
        (0..rank).map(|_| random.below(6).max(usize::from(random.below(8) > 0))).collect();
    if rank > 0 && random.below(2) == 0 {
        sizes[random.below(rank)] = 1 + random.below(1500);
    }
    sizes
}

/// A random program on random layouts against its evaluation one element at a time.
fn program_agrees<R: Real>(random: &mut Random) {
    let rank = random.below(6);
    let sizes = sizes(random, rank);
    let inputs: Vec<Tensor<R>> = (0..random.below(4))
        .map(|_| {
            let dims: Vec<usize> =
                sizes.iter().map(|&size| if random.below(3) == 0 { 1 } else { size }).collect();
            let layout = random.layout(&dims);
            Tensor::filled(layout, || random.number())
        })
        .collect();
    // Exact functions only, so that results are compared bit for bit; errors are another test's subject.
    let choices = [
        Function::Identity,
        Function::Neg,
        Function::Abs,
        Function::Add,
        Function::Mul,
        Function::Max,
        Function::Select,
        Function::Compare(Comparison::Gt),
        Function::Div,
        Function::Floor,
    ];
    let steps: Vec<Step> = (0..=random.below(5))
        .map(|number| {
            let mut operand = || match random.below(5) {
                0 | 1 if !inputs.is_empty() => Operand::Input(random.below(inputs.len())),
                2 | 3 if number > 0 => Operand::Step(random.below(number)),
                _ => Operand::Constant(random.number()),
            };
            let operands = [operand(), operand(), operand()];
            let function = if rank > 0 && random.below(6) == 0 {
                Function::GenIndex { axis: random.below(rank) }
            } else {
                choices[random.below(choices.len())]
            };
            Step { function, operands }
        })
        .collect();
    let mut outputs: Vec<(usize, Tensor<R>)> = (0..=random.below(3))
        .map(|_| (random.below(steps.len()), Tensor::poisoned(random.layout(&sizes))))
        .collect();
    let tensors: Vec<TensorRef<'_, R>> = inputs.iter().map(Tensor::as_ref).collect();
    let mut program_outputs: Vec<ProgramOutput<'_, R>> = outputs
        .iter_mut()
        .map(|(step, output)| ProgramOutput {
            step: *step,
            tensor: TensorMut::new(&mut output.data, output.layout),
        })
        .collect();
    pointwise(&steps, &tensors, &mut program_outputs);
    let whole = Layout::packed(&sizes);
    for position in 0..whole.elements() {
        let index = &whole.index_of(position)[..rank];
        let values = evaluate(&steps, &inputs, index);
        for (step, output) in &outputs {
            let result = output.data[output.layout.place(index)].to_double();
            let same = result == values[*step] || (result.is_nan() && values[*step].is_nan());
            assert!(same, "{result} instead of {} at {index:?} of {sizes:?}: {steps:?}", values[*step]);
        }
    }
    assert!(outputs.iter().all(|(_, output)| output.gaps_are_untouched()), "{sizes:?}: {steps:?}");
}

/// The functions that round once at most.
fn exactly(function: Function, [a, b, c]: [f64; 3]) -> f64 {
    match function {
        Function::Identity => a,
        Function::Neg => -a,
        Function::Abs => a.abs(),
        Function::Floor => a.floor(),
        Function::Add => a + b,
        Function::Mul => a * b,
        Function::Div => a / b,
        Function::Max if a.is_nan() || b.is_nan() => f64::NAN,
        Function::Max => a.max(b),
        Function::Compare(Comparison::Gt) => f64::from(u8::from(a > b)),
        Function::Select if a == 0.0 => c,
        Function::Select => b,
        other => unreachable!("{other:?} is not among the choices"),
    }
}

/// The values of the steps at an index, each rounded to the program's type.
fn evaluate<R: Real>(steps: &[Step], inputs: &[Tensor<R>], index: &[usize]) -> Vec<f64> {
    let mut values = Vec::new();
    for step in steps {
        let operands = step.operands.map(|operand| match operand {
            Operand::Input(input) => {
                let Tensor { data, layout } = &inputs[input];
                let at: Vec<usize> = index
                    .iter()
                    .zip(layout.dims())
                    .map(|(&at, &size)| if size == 1 { 0 } else { at })
                    .collect();
                data[layout.place(&at)].to_double()
            }
            // Only an earlier step's value is read; operands beyond the arity may name anything.
            Operand::Step(step) => values[step],
            Operand::Constant(value) => R::of(value).to_double(),
        });
        let value = match step.function {
            Function::GenIndex { axis } => index[axis] as f64,
            function => exactly(function, operands),
        };
        values.push(R::of(value).to_double());
    }
    values
}

#[test]
fn random_programs_on_random_layouts_agree_with_evaluation_by_element() {
    let mut random = Random::new();
    for _ in 0..400 {
        program_agrees::<f32>(&mut random);
        program_agrees::<f64>(&mut random);
    }
}

#[test]
fn a_channels_last_bias_and_relu_cross_blocks_and_tasks() {
    let mut random = Random::new();
    let dims = [3, 67, 41, 13];
    let channels_last = Layout::new(&dims, &[67 * 41 * 13, 1, 13 * 67, 67]);
    for layout in [channels_last, Layout::packed(&dims)] {
        let x = Tensor::<f32>::filled(layout, || random.number());
        let bias = Tensor::<f32>::filled(Layout::packed(&[1, 67, 1, 1]), || random.number());
        let mut y = Tensor::<f32>::poisoned(layout);
        let relu = Function::Relu { lower: 0.0, upper: f64::INFINITY, slope: 0.0 };
        let unused = Operand::Constant(0.0);
        let steps = [
            Step { function: Function::Add, operands: [Operand::Input(0), Operand::Input(1), unused] },
            Step { function: relu, operands: [Operand::Step(0), unused, unused] },
        ];
        let tensor = TensorMut::new(&mut y.data, layout);
        pointwise(&steps, &[x.as_ref(), bias.as_ref()], &mut [ProgramOutput { step: 1, tensor }]);
        for position in 0..layout.elements() {
            let index = layout.index_of(position);
            let place = layout.place(&index[..4]);
            assert_eq!(y.data[place], (x.data[place] + bias.data[index[1]]).max(0.0), "at {index:?}");
        }
    }
}

#[test]
fn a_program_without_inputs_fills_its_outputs() {
    let mut data = [f32::NAN; 7];
    let layout = Layout::new(&[4], &[2]);
    let step = Step { function: Function::Identity, operands: [Operand::Constant(1.5); 3] };
    let tensor = TensorMut::new(&mut data, layout);
    pointwise(&[step], &[], &mut [ProgramOutput { step: 0, tensor }]);
    assert!(data.iter().enumerate().all(|(place, value)| if place % 2 == 0 {
        *value == 1.5
    } else {
        value.is_nan()
    }));
}

#[test]
#[should_panic(expected = "an input of")]
fn inputs_that_do_not_broadcast_are_a_bug_of_the_caller() {
    let (x, mut y) = ([1.0f32; 6], [0.0f32; 6]);
    let step = Step { function: Function::Neg, operands: [Operand::Input(0); 3] };
    let input = TensorRef::new(&x, Layout::packed(&[2]));
    let tensor = TensorMut::new(&mut y, Layout::packed(&[6]));
    pointwise(&[step], &[input], &mut [ProgramOutput { step: 0, tensor }]);
}

#[test]
#[should_panic(expected = "reads step")]
fn a_step_that_reads_itself_is_a_bug_of_the_caller() {
    let mut y = [0.0f32; 6];
    let step = Step { function: Function::Neg, operands: [Operand::Step(0); 3] };
    let tensor = TensorMut::new(&mut y, Layout::packed(&[6]));
    pointwise(&[step], &[], &mut [ProgramOutput { step: 0, tensor }]);
}
