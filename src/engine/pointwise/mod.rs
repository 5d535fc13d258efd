//! Programs of pointwise steps, each tensor read and written once.
//!
//! What cuDNN has many functions for is one program here: `cudnnAddTensor`, `cudnnOpTensor`,
//! `cudnnScaleTensor`, `cudnnSetTensor`, `cudnnTransformTensor`, `cudnnActivationForward` and `…Backward`,
//! and the pointwise nodes of a graph.

mod apply;
mod function;
pub(crate) mod math;
mod run_raw;
pub(crate) mod scatter_raw;
mod single;
pub(crate) mod walk;
pub(crate) mod widest_raw;

use crate::tensor::{Real, TensorMut, TensorRef};
pub use function::{Comparison, Function};

/// Where a step's operand comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// The element of an input, by its number.
    Input(usize),
    /// The value of an earlier step, by its number.
    Step(usize),
    /// The same number everywhere, rounded to the program's type.
    Constant(f64),
}

/// One function of a program.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What is computed.
    pub function: Function,
    /// Of what: the first [`Function::arity`] operands are read, the others ignored.
    pub operands: [Operand; 3],
}

/// An output of a program: the value of a step.
#[derive(Debug)]
pub struct ProgramOutput<'a, R> {
    /// The step's number.
    pub step: usize,
    /// Where its values go; overwritten, never read.
    pub tensor: TensorMut<'a, R>,
}

/// `outputs[o][i] ← value of step outputs[o].step at i`, where step s is
/// `functionₛ(operands at i)` for each index i of the outputs.
///
/// All outputs have the same sizes. An input has as many axes, each as large as the outputs' or of size 1;
/// along the latter its element is the same for all. Steps are computed in the program's type and rounded
/// after each step. What the functions compute, and what becomes of NaN, is said at [`Function`].
///
/// Source: `cudnnPointwiseMode_t`, `CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR`,
/// <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html>.
///
/// # Panics
/// If sizes do not match, elements of an output share a place, or a step reads or an output takes what is
/// not there: bugs of the caller.
pub fn pointwise<R: Real>(steps: &[Step], inputs: &[TensorRef<'_, R>], outputs: &mut [ProgramOutput<'_, R>]) {
    let Some(first) = outputs.first() else { return };
    let layout = first.tensor.layout;
    let sizes = layout.dims();
    for output in &*outputs {
        let tensor = &output.tensor.layout;
        assert!(tensor.dims() == sizes, "outputs of {:?} and {sizes:?}", tensor.dims());
        assert!(tensor.is_injective(), "elements of the output share a place: {tensor:?}");
        assert!(output.step < steps.len(), "step {} of {}", output.step, steps.len());
    }
    for input in inputs {
        let dims = input.layout.dims();
        let fits = dims.len() == sizes.len()
            && dims.iter().zip(sizes).all(|(&size, &whole)| size == whole || size == 1);
        assert!(fits, "an input of {dims:?} for an output of {sizes:?}");
    }
    for (number, step) in steps.iter().enumerate() {
        if let Function::GenIndex { axis } = step.function {
            assert!(axis < sizes.len(), "axis {axis} of {sizes:?}");
        }
        for &operand in &step.operands[..step.function.arity()] {
            match operand {
                Operand::Input(input) => assert!(input < inputs.len(), "input {input} of {}", inputs.len()),
                Operand::Step(read) => assert!(read < number, "step {number} reads step {read}"),
                Operand::Constant(_) => {}
            }
        }
    }
    if layout.elements() > 0 {
        run_raw::run(steps, inputs, outputs, sizes);
    }
}
