//! Which products of matrices the fast path takes: those that `products.py` gives to the host's kernel without a question.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::operands::Operand;
use super::torch::Form;

/// Products of fewer multiplications are the host's.
static FEW: AtomicUsize = AtomicUsize::new(0);
/// A bit for each of PyTorch's element types whose products are.
static TYPES: AtomicU64 = AtomicU64::new(0);

/// Products are the host's where they take fewer than `few` multiplications, and where the bit of their element type, by
/// PyTorch's number (`c10::ScalarType`), is set in `types`.
pub(super) fn leave(few: usize, types: u64) {
    FEW.store(few, Ordering::Relaxed);
    TYPES.store(types, Ordering::Relaxed);
}

fn bit(element: i32) -> u64 {
    u32::try_from(element).ok().and_then(|number| 1u64.checked_shl(number)).unwrap_or(0)
}

/// Whether a product is the host's: of its last two operands, which are the matrices as PyTorch passes them on. A tensor that
/// is given twice is one operand, so that a sum's addend may be taken for a matrix; that decides who computes, not what.
pub(super) fn are_for_the_host(operands: &[Operand]) -> bool {
    let (first, second) = match operands {
        [] => return false,
        [only] => (only, only),
        [.., first, second] => (first, second),
    };
    let (first, second) = (&first.described.form, &second.described.form);
    TYPES.load(Ordering::Relaxed) & bit(first.element()) != 0
        || multiplications(first, second) < FEW.load(Ordering::Relaxed)
}

/// b·m·k of the first times n of the second.
fn multiplications(first: &Form, second: &Form) -> usize {
    let sizes = first.sizes().iter().chain(second.sizes().last());
    sizes.fold(1, |product: usize, &size| product.saturating_mul(size as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_types_beyond_the_known_ones_are_never_left() {
        assert_eq!([bit(0), bit(6), bit(63)], [1, 64, 1 << 63]);
        assert_eq!([bit(-1), bit(64), bit(i32::MAX)], [0; 3]);
    }

    #[test]
    fn multiplications_are_those_of_the_product() {
        let form = |sizes: &[i64]| Form::of(6, [sizes, sizes].concat());
        assert_eq!(multiplications(&form(&[3, 5]), &form(&[5, 7])), 105);
        assert_eq!(multiplications(&form(&[2, 3, 5]), &form(&[2, 5, 7])), 210);
        assert_eq!(multiplications(&form(&[0, 5]), &form(&[5, 7])), 0);
        assert_eq!(multiplications(&form(&[i64::MAX, 5]), &form(&[5, 7])), usize::MAX);
    }
}
