//! Which kernel computes a product: an ordered list, the plainest last.

use crate::shape::GemmShape;

/// What computed a product; the log prints [`Kernel::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// No depth or α = 0: C ← β·C.
    Scale,
    /// Few rows or few columns: the larger operand is read once, as it lies.
    Skinny,
    /// Packed operands, our innermost product.
    Packed,
    /// A BLAS that the process holds.
    Host,
    /// Tiles computed in place by matrixmultiply.
    Matrixmultiply,
    /// Tiles widened, accumulated by matrixmultiply, finished and rounded once.
    Widened,
}

impl Kernel {
    /// The log's word.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Scale => "scale",
            Kernel::Skinny => "skinny",
            Kernel::Packed => "packed",
            Kernel::Host => "host_blas",
            Kernel::Matrixmultiply => "matrixmultiply",
            Kernel::Widened => "widened_matrixmultiply",
        }
    }
}

/// What selection needs to know beside the shape.
#[derive(Clone, Copy)]
pub struct Traits {
    /// The product is empty: k = 0 or α = 0.
    pub no_product: bool,
    /// Operands, accumulator and output are one type, nothing is conjugated and C is the output in place.
    pub direct: bool,
    /// Who multiplies what is not thin.
    pub thick: Thick,
    /// The most rows or columns that count as few.
    pub thin: usize,
}

/// Who multiplies what is neither empty nor thin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thick {
    /// A BLAS that was handed in and can take the product as it lies.
    Host,
    /// Our innermost product: real numbers.
    Packed,
    /// matrixmultiply.
    Tiles,
}

/// The first kernel of the list that can take the product.
pub fn select(shape: GemmShape, traits: Traits) -> Kernel {
    if traits.no_product {
        Kernel::Scale
    } else if shape.m.min(shape.n) <= traits.thin {
        Kernel::Skinny
    } else if traits.thick == Thick::Host {
        Kernel::Host
    } else if traits.thick == Thick::Packed {
        Kernel::Packed
    } else if traits.direct {
        Kernel::Matrixmultiply
    } else {
        Kernel::Widened
    }
}

/// Rows and columns of the tiles that C is cut into. A function of the shape alone, so that results do
/// not depend on the number of threads.
pub fn tile(shape: GemmShape) -> (usize, usize) {
    const SIDE: usize = 256;
    let halves = |length: usize| length.div_ceil(length.div_ceil(SIDE).max(1)).next_multiple_of(16);
    (halves(shape.m).max(1), halves(shape.n).max(1))
}

/// The same for [`Kernel::Skinny`]: a tile spans the thin side.
pub fn strip(shape: GemmShape) -> (usize, usize) {
    const LENGTH: usize = 64;
    if shape.n <= shape.m { (LENGTH, shape.n) } else { (shape.m, LENGTH) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_the_output_evenly() {
        let shape = |m, n| GemmShape { m, n, k: 1, batch: 1 };
        assert_eq!(tile(shape(512, 512)), (256, 256));
        assert_eq!(tile(shape(257, 3)), (144, 16));
        assert_eq!(tile(shape(1, 1)), (16, 16));
    }

    #[test]
    fn the_shape_and_the_types_choose_the_kernel() {
        let traits = Traits { no_product: false, direct: true, thick: Thick::Tiles, thin: 2 };
        assert_eq!(select(GemmShape { m: 2, n: 9, k: 3, batch: 1 }, traits), Kernel::Skinny);
        assert_eq!(select(GemmShape { m: 3, n: 9, k: 3, batch: 1 }, traits), Kernel::Matrixmultiply);
        let traits = Traits { direct: false, ..traits };
        assert_eq!(select(GemmShape { m: 3, n: 9, k: 3, batch: 1 }, traits), Kernel::Widened);
        let traits = Traits { thick: Thick::Packed, ..traits };
        assert_eq!(select(GemmShape { m: 3, n: 9, k: 3, batch: 1 }, traits), Kernel::Packed);
        let traits = Traits { thick: Thick::Host, ..traits };
        assert_eq!(select(GemmShape { m: 3, n: 9, k: 3, batch: 1 }, traits), Kernel::Host);
        let traits = Traits { no_product: true, ..traits };
        assert_eq!(select(GemmShape { m: 3, n: 9, k: 0, batch: 1 }, traits), Kernel::Scale);
    }
}
