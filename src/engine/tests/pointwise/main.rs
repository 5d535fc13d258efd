//! Pointwise programs, reductions and softmax against the reference.

mod functions;
mod operands;
mod programs;
mod reduce;
mod softmax;
mod threads;
