//! Elements in memory and the real numbers they are computed as.
//!
//! | element        | widened  | rounded                                       |
//! |----------------|----------|-----------------------------------------------|
//! | f64, f32       | exactly, or to nearest even | to nearest even            |
//! | f16, bf16      | exactly  | to nearest even                               |
//! | i8, u8, i32    | exactly (i32 in f64) | to nearest even, saturated; NaN gives 0 |
//! | i64            | nearest  | the same                                      |

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::tensor::Real;
use crate::threads;

/// Elements that one task converts.
const CHUNK: usize = 1 << 16;

/// An element of a tensor.
pub trait Element: Copy + Send + Sync + 'static {
    /// The value to compute with.
    fn to_real<R: Real>(self) -> R;
    /// The nearest element.
    fn from_real<R: Real>(value: R) -> Self;

    /// The slice itself where the types are the same.
    fn as_real<R: Real>(_: &[Self]) -> Option<&[R]> {
        None
    }
    /// The same, to write.
    fn as_real_mut<R: Real>(_: &mut [Self]) -> Option<&mut [R]> {
        None
    }

    /// Widens a run.
    fn widen_run<R: Real>(source: &[Self], target: &mut [R]) {
        for (target, &source) in target.iter_mut().zip(source) {
            *target = source.to_real();
        }
    }
    /// Rounds a run.
    fn round_run<R: Real>(source: &[R], target: &mut [Self]) {
        for (target, &source) in target.iter_mut().zip(source) {
            *target = Self::from_real(source);
        }
    }
}

macro_rules! float {
    ($ty:ident, $to:ident, $same:ident, $same_mut:ident) => {
        impl Element for $ty {
            fn to_real<R: Real>(self) -> R {
                R::of(self.into())
            }
            fn from_real<R: Real>(value: R) -> Self {
                value.$to()
            }
            fn as_real<R: Real>(data: &[Self]) -> Option<&[R]> {
                R::$same(data)
            }
            fn as_real_mut<R: Real>(data: &mut [Self]) -> Option<&mut [R]> {
                R::$same_mut(data)
            }
        }
    };
}
float!(f32, to_single, singles, singles_mut);
float!(f64, to_double, doubles, doubles_mut);

macro_rules! integer {
    ($($ty:ident),*) => {$(
        impl Element for $ty {
            fn to_real<R: Real>(self) -> R {
                R::of(self as f64)
            }
            fn from_real<R: Real>(value: R) -> Self {
                value.to_double().round_ties_even() as $ty
            }
        }
    )*};
}
integer!(i8, u8, i32, i64);

/// The single-precision number next to `value` towards 0, its last bit set if they differ: rounded once more, to a
/// type of fewer digits, it ends where `value` itself would have. (`from_f64` of the half types looks at the upper
/// half of a double only.)
fn to_odd_single(value: f64) -> f32 {
    let nearest = value as f32;
    if value.is_nan() || f64::from(nearest) == value {
        return nearest;
    }
    let beyond = f64::from(nearest).abs() > value.abs();
    f32::from_bits((nearest.to_bits() - u32::from(beyond)) | 1)
}

macro_rules! half_float {
    ($($ty:ident),*) => {$(
        impl Element for $ty {
            fn to_real<R: Real>(self) -> R {
                R::of(self.to_f64())
            }
            fn from_real<R: Real>(value: R) -> Self {
                $ty::from_f32(if R::DOUBLE { to_odd_single(value.to_double()) } else { value.to_single() })
            }
            fn widen_run<R: Real>(source: &[Self], target: &mut [R]) {
                match R::as_singles_mut(target) {
                    Some(target) => source.convert_to_f32_slice(target),
                    None => target.iter_mut().zip(source).for_each(|(to, from)| *to = from.to_real()),
                }
            }
            fn round_run<R: Real>(source: &[R], target: &mut [Self]) {
                match R::as_singles(source) {
                    Some(source) => target.convert_from_f32_slice(source),
                    None => target.iter_mut().zip(source).for_each(|(to, &from)| *to = Self::from_real(from)),
                }
            }
        }
    )*};
}
half_float!(f16, bf16);

/// `target ← source`, widened.
///
/// # Panics
/// If the lengths differ.
pub fn widen<T: Element, R: Real>(source: &[T], target: &mut [R]) {
    assert_eq!(source.len(), target.len(), "as many values as elements");
    threads::for_each_chunk(target, CHUNK, |start, target| {
        T::widen_run(&source[start..start + target.len()], target);
    });
}

/// `target ← α·values + β·target`, rounded once; β = 0 does not read the target.
///
/// # Panics
/// If the lengths differ.
pub fn blend<T: Element, R: Real>(alpha: R, values: &[R], beta: R, target: &mut [T]) {
    assert_eq!(values.len(), target.len(), "as many values as elements");
    threads::for_each_chunk(target, CHUNK, |start, target| {
        let values = &values[start..start + target.len()];
        if beta == R::ZERO && alpha == R::ONE {
            T::round_run(values, target);
        } else if beta == R::ZERO {
            for (target, &value) in target.iter_mut().zip(values) {
                *target = T::from_real(alpha * value);
            }
        } else {
            for (target, &value) in target.iter_mut().zip(values) {
                *target = T::from_real(alpha * value + beta * target.to_real());
            }
        }
    });
}

/// `values ← α·values`.
pub fn scale<R: Real>(alpha: R, values: &mut [R]) {
    threads::for_each_chunk(values, CHUNK, |_, values| {
        for value in values {
            *value = alpha * *value;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_zero_does_not_read_the_target_and_rounding_happens_once() {
        let mut target = vec![f16::NAN; 70_001];
        let values: Vec<f32> = (0..target.len()).map(|i| i as f32 / 7.0).collect();
        blend(2.0, &values, 0.0, &mut target);
        assert!(target.iter().zip(&values).all(|(&got, &value)| got == f16::from_f32(2.0 * value)));
        blend(1.0, &values, 3.0, &mut target);
        assert_eq!(target[7], f16::from_f32(1.0 + 3.0 * 2.0));
        let mut back = vec![0.0f64; target.len()];
        widen(&target, &mut back);
        assert_eq!(back[7], 7.0);
    }

    #[test]
    fn doubles_just_beside_the_middle_round_to_the_nearer_half() {
        let (low, high) = (bf16::from_f32(1.0), bf16::from_f32(1.0 + 1.0 / 128.0));
        let middle = 1.0 + 1.0 / 256.0f64;
        let round = |value: f64| bf16::from_real(value);
        assert_eq!([round(middle), round(middle.next_down()), round(middle.next_up())], [low, low, high]);
        assert_eq!([round(-middle), round((-middle).next_down())], [-low, -high]);
        assert_eq!([f16::from_real(65_519.999_999_999), f16::from_real(1e300)], [f16::MAX, f16::INFINITY]);
        assert_eq!(f16::from_real(f64::powi(2.0, -25)), f16::from_bits(0), "half of the least number");
        assert_eq!(f16::from_real(f64::powi(2.0, -25).next_up()), f16::from_bits(1));
        assert_eq!(bf16::from_real(f64::NEG_INFINITY), bf16::NEG_INFINITY);
        assert!(f16::from_real(f64::NAN).is_nan());
    }

    #[test]
    fn integers_round_to_even_and_saturate() {
        let mut target = [0i8; 6];
        blend(1.0f32, &[0.5, 1.5, -2.5, 300.0, -300.0, f32::NAN], 0.0, &mut target);
        assert_eq!(target, [0, 2, -2, 127, -128, 0]);
    }
}
