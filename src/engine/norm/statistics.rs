//! Mean and variance.

use super::lines::{AddAll, AddEach, Moments, Same};
use super::nest::{Nest, packed_like};
use super::operand::{check_broadcast, run};
use super::reduce_raw::{Sums, sums};
use super::wide_raw::widest;
use super::{Centering, fill_raw::fill};
use crate::tensor::{Layout, Real, TensorMut, TensorRef};

/// `mean = Σx / m` and `variance = Σ(x − mean)² / m` over the m elements that share a place of `mean`: those
/// along the axes where `mean` has size 1. With [`Centering::None`] the mean is written as 0 and the variance
/// is `Σx² / m`.
///
/// The variance is biased, as batch normalisation in training needs it (cudnnBatchNormalizationForwardTraining;
/// what becomes of it in running averages, `m / (m − 1)` included, is the caller's). Sums are formed in double
/// precision. Of no elements (m = 0) both are NaN, a mean of 0 aside; an infinity among the elements makes the variance NaN.
///
/// # Panics
/// Unless `mean` and `variance` have the same sizes, x's rank, and along each axis x's size or 1.
pub fn statistics<R: Real>(
    centering: Centering,
    x: TensorRef<'_, R>,
    mean: TensorMut<'_, R>,
    variance: TensorMut<'_, R>,
) {
    check_broadcast(&x.layout, &mean.layout, "mean");
    assert!(mean.layout.dims() == variance.layout.dims(), "variance {:?} is not as mean", variance.layout);
    let packed = packed_like(mean.layout.dims(), &x.layout);
    let groups = packed.elements();
    let count = (x.layout.elements() / groups.max(1)) as f64;
    let mut shift = vec![R::ZERO; groups];
    if centering == Centering::Mean && count > 0.0 {
        first_of_each(x, &packed, &mut shift);
    }
    let mut sums = moments(x, &packed, &shift);
    // Single precision is exact enough at once: the squares are added in double. In double precision the
    // mean is found first, since a first element far from it would cost digits of the variance.
    if centering == Centering::Mean && R::epsilon().to_double() <= f64::EPSILON {
        for (shift, sum) in shift.iter_mut().zip(&sums.first) {
            *shift = finite(*shift + R::of(sum / count));
        }
        sums = moments(x, &packed, &shift);
    }
    let means: Vec<R> = match centering {
        Centering::Mean => {
            shift.iter().zip(&sums.first).map(|(shift, sum)| R::of(shift.to_double() + sum / count)).collect()
        }
        Centering::None => shift,
    };
    let variance_of = |sum: &f64, square: &f64| match centering {
        // Rounding may leave less than nothing of elements that are all the same; NaN is kept.
        Centering::Mean => {
            let variance = (square - sum * (sum / count)) / count;
            if variance < 0.0 { 0.0 } else { variance }
        }
        Centering::None => square / count,
    };
    let variances: Vec<R> =
        sums.first.iter().zip(&sums.second).map(|(sum, square)| R::of(variance_of(sum, square))).collect();
    write(TensorRef::new(&means, packed), mean);
    write(TensorRef::new(&variances, packed), variance);
}

/// The first element of each group.
fn first_of_each<R: Real>(x: TensorRef<'_, R>, packed: &Layout, firsts: &mut [R]) {
    let reduced = Layout::new(packed.dims(), x.layout.strides());
    let operands = [&reduced, packed];
    fill(TensorMut::new(firsts, *packed), operands, Vec::new, |buffer, at, firsts| {
        let x = run(x.data, at, 0, firsts.len(), buffer);
        for (first, &x) in firsts.iter_mut().zip(x) {
            *first = finite(x);
        }
    });
}

/// 0 instead of what would make all differences NaN.
fn finite<R: Real>(value: R) -> R {
    if value.is_finite() { value } else { R::ZERO }
}

/// The sums of x − shift and of its square in each group.
fn moments<R: Real>(x: TensorRef<'_, R>, packed: &Layout, shift: &[R]) -> Sums {
    let nest = Nest::new(x.layout.dims(), [&x.layout, packed]);
    sums(&nest, packed.elements(), Vec::new, |buffer, at, length, [first, second]| {
        let x = run(x.data, at, 0, length, buffer);
        if at.strides[1] == 0 {
            let terms = Moments { x, shift: Same(shift[at.places[1]]) };
            widest(AddAll { terms, sums: [&mut first[0], &mut second[0]] });
        } else {
            let terms = Moments { x, shift: &shift[at.places[1]..at.places[1] + length] };
            widest(AddEach { terms, sums: [first, second] });
        }
    })
}

/// Copies elements to where they belong; along axes where `source` has size 1 its element repeats.
pub fn write<R: Real>(source: TensorRef<'_, R>, output: TensorMut<'_, R>) {
    let layout = output.layout;
    fill(output, [&source.layout, &layout], Vec::new, |buffer, at, output| {
        output.copy_from_slice(run(source.data, at, 0, output.len(), buffer));
    });
}
