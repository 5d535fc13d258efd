//! Chains of pointwise operations as one program, which the engine runs in one pass over the output.

use gpucompat_engine::{Function, Operand, Step};

use super::operation::Operation;

/// A program and the tensors that it reads and could write.
pub struct Fusion {
    /// The steps.
    pub steps: Vec<Step>,
    /// The tensor of each input.
    pub inputs: Vec<usize>,
    /// The step of each tensor that an operation of the chain writes.
    pub results: Vec<(usize, usize)>,
}

/// How many operations from the first on make a chain: pointwise, of one output size.
pub fn chain<'a>(operations: &[Operation], dims: impl Fn(usize) -> &'a [usize]) -> usize {
    let size = |operation: &Operation| match operation {
        Operation::Pointwise { result, .. } => Some(dims(*result)),
        _ => None,
    };
    let Some(first) = operations.first().and_then(size) else { return 0 };
    operations.iter().take_while(|operation| size(operation) == Some(first)).count()
}

/// The program of a chain. A factor other than 1 is a multiplication of its own.
pub fn fuse(chain: &[Operation]) -> Fusion {
    let mut fusion = Fusion { steps: Vec::new(), inputs: Vec::new(), results: Vec::new() };
    for operation in chain {
        let Operation::Pointwise { function, operands, factors, result } = *operation else { continue };
        let mut places = [Operand::Constant(0.0); 3];
        for (place, (operand, factor)) in places.iter_mut().zip(operands.into_iter().zip(factors)) {
            if let Some(tensor) = operand {
                *place = fusion.scaled(tensor, factor);
            }
        }
        fusion.steps.push(Step { function, operands: places });
        fusion.results.push((fusion.steps.len() - 1, result));
    }
    fusion
}

impl Fusion {
    fn operand(&mut self, tensor: usize) -> Operand {
        if let Some(&(step, _)) = self.results.iter().find(|(_, result)| *result == tensor) {
            return Operand::Step(step);
        }
        let known = self.inputs.iter().position(|&input| input == tensor);
        Operand::Input(known.unwrap_or_else(|| {
            self.inputs.push(tensor);
            self.inputs.len() - 1
        }))
    }

    fn scaled(&mut self, tensor: usize, factor: f64) -> Operand {
        let operand = self.operand(tensor);
        if factor == 1.0 {
            return operand;
        }
        let operands = [operand, Operand::Constant(factor), Operand::Constant(0.0)];
        self.steps.push(Step { function: Function::Mul, operands });
        Operand::Step(self.steps.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointwise(function: Function, operands: [Option<usize>; 3], result: usize) -> Operation {
        Operation::Pointwise { function, operands, factors: [1.0, 0.5, 1.0], result }
    }

    #[test]
    fn a_chain_of_one_size_becomes_one_program() {
        let relu = Function::Relu { lower: 0.0, upper: f64::INFINITY, slope: 0.0 };
        let operations = [
            pointwise(Function::Add, [Some(0), Some(1), None], 2),
            pointwise(relu, [Some(2), None, None], 3),
            pointwise(Function::Add, [Some(3), Some(1), None], 4),
        ];
        let dims = [vec![2], vec![1], vec![2], vec![2], vec![1]];
        assert_eq!(chain(&operations, |tensor| &dims[tensor][..]), 2);
        let fusion = fuse(&operations[..2]);
        assert_eq!(fusion.inputs, [0, 1]);
        assert_eq!(fusion.steps.len(), 3, "the factor of 0.5 is a step");
        assert_eq!(fusion.results, [(1, 2), (2, 3)]);
        assert_eq!(fusion.steps[2].operands[0], Operand::Step(1));
    }
}
