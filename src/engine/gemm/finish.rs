//! From an accumulated sum to an element of the output.

use crate::dtype::{Accumulator, Output};
use crate::epilogue::Epilogue;
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

impl<Acc: Accumulator, Out: Output<Acc>> Finish<'_, Acc, Out> {
    /// The output element at (row, col) of matrix `batch` for this sum of products (`None`: there is no
    /// product); `current` reads what the output holds now, and is called only if β needs it.
    pub fn element(&self, [batch, row, col]: [usize; 3], sum: Option<Acc>, current: &dyn Fn() -> Out) -> Out {
        let zero = Acc::zero();
        let product = sum.map_or(zero, |sum| zero.add_product(self.alpha, sum));
        let value = if self.beta == zero {
            product
        } else {
            let c = match &self.source {
                Source::InPlace => current(),
                Source::Apart(c) => c.data[batch * c.batch_stride + row * c.row_stride + col * c.col_stride],
                Source::Absent => return Out::round(self.epilogue.apply(row, product)),
            };
            product.add_product(self.beta, c.widen())
        };
        Out::round(self.epilogue.apply(row, value))
    }
}
