//! From an accumulated sum to an element of the output.

#![allow(unsafe_code)]

use super::block_raw::SharedOutput;
use super::packed_raw::Along;
use crate::dtype::{Accumulator, Output};
use crate::epilogue::{Activation, Epilogue};
use crate::shape::MatRef;

/// Where `β·C` comes from.
#[derive(Clone, Copy)]
pub enum Source<'a, Out> {
    /// C is the output itself.
    InPlace,
    /// C lies apart.
    Apart(MatRef<'a, Out>),
    /// There is no C; β is 0.
    Absent,
}

/// What happens to each sum of products.
pub struct Finish<'a, Acc, Out> {
    /// α.
    pub alpha: Acc,
    /// β.
    pub beta: Acc,
    /// C.
    pub source: Source<'a, Out>,
    /// Bias and activation.
    pub epilogue: &'a Epilogue<'a, Acc>,
}

/// A run of output elements along a row or a column.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Matrix, row and column of the first element.
    pub at: [usize; 3],
    /// Whether the run goes along a row or a column.
    pub along: Along,
    /// Place of the first element.
    pub first: usize,
    /// Elements from one to the next.
    pub stride: usize,
}

impl<Acc: Accumulator, Out: Output<Acc>> Finish<'_, Acc, Out> {
    /// Finishes the sums of a line, in place, and writes them.
    ///
    /// # Safety
    /// No other thread touches the line's elements meanwhile.
    pub unsafe fn write(&self, line: Line, sums: &mut [Acc], output: &SharedOutput<'_, Out>) {
        let Some(last) = sums.len().checked_sub(1) else { return };
        // SAFETY: only asserted to be inside the output.
        unsafe { output.place(line.first + last * line.stride) };
        // SAFETY: the caller's promise.
        let start = unsafe { output.place(line.first) };
        let place = |index: usize| start.wrapping_add(index * line.stride);
        let (zero, one) = (Acc::zero(), Acc::from_f64(1.0));
        for sum in &mut *sums {
            *sum = zero.add_product(self.alpha, *sum);
        }
        if self.beta != zero {
            let [batch, row, col] = line.at;
            match &self.source {
                Source::InPlace => {
                    for (index, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: between the first place and the last, both inside the output, and ours.
                        *sum = sum.add_product(self.beta, unsafe { place(index).read() }.widen());
                    }
                }
                Source::Apart(c) => {
                    let first = batch * c.batch_stride + row * c.row_stride + col * c.col_stride;
                    let stride = if line.along == Along::Row { c.col_stride } else { c.row_stride };
                    for (index, sum) in sums.iter_mut().enumerate() {
                        *sum = sum.add_product(self.beta, c.data[first + index * stride].widen());
                    }
                }
                Source::Absent => {}
            }
        }
        if let Some(bias) = self.epilogue.bias {
            let row = line.at[1];
            match line.along {
                Along::Row => sums.iter_mut().for_each(|sum| *sum = sum.add_product(bias[row], one)),
                Along::Column => {
                    let length = sums.len();
                    for (sum, &bias) in sums.iter_mut().zip(&bias[row..row + length]) {
                        *sum = sum.add_product(bias, one);
                    }
                }
            }
        }
        match self.epilogue.activation {
            Activation::None => {}
            Activation::Relu => sums.iter_mut().for_each(|sum| *sum = sum.relu()),
            Activation::Gelu => sums.iter_mut().for_each(|sum| *sum = sum.gelu()),
        }
        if line.stride == 1 {
            // SAFETY: as many elements, inside the output and ours.
            Out::round_run(sums, unsafe { std::slice::from_raw_parts_mut(start, sums.len()) });
        } else {
            for (index, &sum) in sums.iter().enumerate() {
                // SAFETY: as above.
                unsafe { place(index).write(Out::round(sum)) };
            }
        }
    }
}
