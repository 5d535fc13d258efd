//! Work compiled for every width of vector register; the widest that the machine has does it.

#![allow(unsafe_code)]

use crate::gemm::block_raw::BlockProduct;
use crate::gemm::vector_raw::Vector;
use crate::tensor::Real;

/// Work that is compiled once for each width of vector register.
pub(crate) trait Job<R: Real> {
    /// Does it.
    ///
    /// # Safety
    /// The machine has V's instruction set.
    unsafe fn run<V: Vector<R>>(self);
}

/// Does the work in the widest registers that this machine has.
pub(crate) fn on_widest<R: Real>(job: impl Job<R>) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: just detected.
            return unsafe { avx512(job) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: just detected.
            return unsafe { avx2(job) };
        }
    }
    // SAFETY: arrays need no instruction set.
    unsafe { job.run::<[R; 4]>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512<R: Real, J: Job<R>>(job: J) {
    // SAFETY: this function is compiled for avx512f, so its caller has it.
    unsafe { job.run::<<R as BlockProduct>::Vector512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<R: Real, J: Job<R>>(job: J) {
    // SAFETY: this function is compiled for avx2 and fma, so its caller has them.
    unsafe { job.run::<<R as BlockProduct>::Vector256>() }
}

/// Has the work done, one after the other, in registers of every width that this machine has.
#[cfg(test)]
pub(super) fn on_every_width<R: Real, J: Job<R>>(job: impl Fn() -> J) {
    // SAFETY: arrays need no instruction set.
    unsafe { job().run::<[R; 4]>() };
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: just detected.
            unsafe { avx2(job()) };
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: just detected.
            unsafe { avx512(job()) };
        }
    }
}
