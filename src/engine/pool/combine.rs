//! What becomes of the elements of a window.

// Called in loops that are inlined into functions of wider registers.
#![allow(clippy::inline_always)]

use crate::tensor::Real;

/// So many elements are brought together before what comes of them joins the others in double precision: long
/// sums stay exact.
pub const SPAN: usize = 64;

/// Brings elements together, one after the other.
pub trait Combine: Copy + Send + Sync {
    /// What to start from.
    fn start<R: Real>() -> R;
    /// With one more element.
    fn with<R: Real>(before: R, element: R) -> R;
    /// What comes of a window without elements.
    fn of_none<R: Real>() -> R;
}

/// The largest element, or NaN if there is one.
#[derive(Clone, Copy)]
pub struct Largest;

/// The largest element that is a number; NaN if none is.
#[derive(Clone, Copy)]
pub struct LargestNumber;

/// The sum.
#[derive(Clone, Copy)]
pub struct Sum;

impl Combine for Largest {
    #[inline(always)]
    fn start<R: Real>() -> R {
        -R::infinity()
    }
    #[inline(always)]
    fn with<R: Real>(before: R, element: R) -> R {
        if element > before || element.is_nan() { element } else { before }
    }
    #[inline(always)]
    fn of_none<R: Real>() -> R {
        -R::infinity()
    }
}

impl Combine for LargestNumber {
    #[inline(always)]
    fn start<R: Real>() -> R {
        R::nan()
    }
    #[inline(always)]
    fn with<R: Real>(before: R, element: R) -> R {
        if element > before || before.is_nan() { element } else { before }
    }
    #[inline(always)]
    fn of_none<R: Real>() -> R {
        -R::infinity()
    }
}

impl Combine for Sum {
    #[inline(always)]
    fn start<R: Real>() -> R {
        R::ZERO
    }
    #[inline(always)]
    fn with<R: Real>(before: R, element: R) -> R {
        before + element
    }
    #[inline(always)]
    fn of_none<R: Real>() -> R {
        R::ZERO
    }
}
