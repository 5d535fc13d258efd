//! Vector registers as types: the few operations that [`super::lanes_raw`] needs of each.

#![allow(unsafe_code)]
// The operations must be inlined into the functions that switch instruction sets on.
#![allow(clippy::inline_always)]

use crate::dtype::Accumulator;

/// A register of `LANES` elements.
///
/// # Safety
/// Every method owes its callers' machine the instruction set of the type; `load` and `store` read and
/// write `LANES` elements from the pointer on, at any alignment.
pub trait Vector<Element>: Copy {
    /// Elements in a register.
    const LANES: usize;
    /// The same element in every lane.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn splat(element: Element) -> Self;
    /// From memory.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn load(source: *const Element) -> Self;
    /// `self + x·y`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn add_product(self, x: Self, y: Self) -> Self;
    /// To memory.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn store(self, target: *mut Element);
}

/// Every machine and every type.
impl<Acc: Accumulator> Vector<Acc> for [Acc; 4] {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn splat(element: Acc) -> Self {
        [element; 4]
    }
    #[inline(always)]
    unsafe fn load(source: *const Acc) -> Self {
        // SAFETY: the caller owes four readable elements; an array has its elements' alignment.
        unsafe { source.cast::<Self>().read() }
    }
    #[inline(always)]
    unsafe fn add_product(self, x: Self, y: Self) -> Self {
        std::array::from_fn(|lane| self[lane].add_product(x[lane], y[lane]))
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut Acc) {
        // SAFETY: the caller owes four writable elements.
        unsafe { target.cast::<Self>().write(self) }
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! register {
    ($ty:ty, $element:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $add_product:expr) => {
        impl Vector<$element> for $ty {
            const LANES: usize = $lanes;
            #[inline(always)]
            unsafe fn splat(element: $element) -> Self {
                // SAFETY: the caller owes the instruction set.
                unsafe { $splat(element) }
            }
            #[inline(always)]
            unsafe fn load(source: *const $element) -> Self {
                // SAFETY: the caller owes the instruction set and the elements.
                unsafe { $load(source.cast()) }
            }
            #[inline(always)]
            unsafe fn add_product(self, x: Self, y: Self) -> Self {
                let add_product = $add_product;
                // SAFETY: the caller owes the instruction set.
                unsafe { add_product(self, x, y) }
            }
            #[inline(always)]
            unsafe fn store(self, target: *mut $element) {
                // SAFETY: the caller owes the instruction set and the elements.
                unsafe { $store(target.cast(), self) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod registers {
    use std::arch::x86_64::{
        __m256, __m256d, __m256i, __m512, __m512d, __m512i, _mm256_add_epi32, _mm256_fmadd_pd,
        _mm256_fmadd_ps, _mm256_loadu_pd, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_mullo_epi32,
        _mm256_set1_epi32, _mm256_set1_pd, _mm256_set1_ps, _mm256_storeu_pd, _mm256_storeu_ps,
        _mm256_storeu_si256, _mm512_add_epi32, _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_loadu_pd,
        _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mullo_epi32, _mm512_set1_epi32, _mm512_set1_pd,
        _mm512_set1_ps, _mm512_storeu_pd, _mm512_storeu_ps, _mm512_storeu_si512,
    };

    use super::Vector;

    register!(__m256, f32, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, fused_256);
    register!(__m512, f32, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, fused_512);
    register!(__m256d, f64, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, fused_256d);
    register!(__m512d, f64, 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, fused_512d);
    register!(__m256i, i32, 8, _mm256_set1_epi32, _mm256_loadu_si256, _mm256_storeu_si256, integer_256);
    register!(__m512i, i32, 16, _mm512_set1_epi32, _mm512_loadu_si512, _mm512_storeu_si512, integer_512);

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn fused_256(sum: __m256, x: __m256, y: __m256) -> __m256 {
        _mm256_fmadd_ps(x, y, sum)
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn fused_512(sum: __m512, x: __m512, y: __m512) -> __m512 {
        _mm512_fmadd_ps(x, y, sum)
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn fused_256d(sum: __m256d, x: __m256d, y: __m256d) -> __m256d {
        _mm256_fmadd_pd(x, y, sum)
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn fused_512d(sum: __m512d, x: __m512d, y: __m512d) -> __m512d {
        _mm512_fmadd_pd(x, y, sum)
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn integer_256(sum: __m256i, x: __m256i, y: __m256i) -> __m256i {
        _mm256_add_epi32(sum, _mm256_mullo_epi32(x, y))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn integer_512(sum: __m512i, x: __m512i, y: __m512i) -> __m512i {
        _mm512_add_epi32(sum, _mm512_mullo_epi32(x, y))
    }
}
