//! Code compiled once for each width of vector register; the machine decides which runs.
//!
//! Results may differ between machines in the last places, since not all round a product before adding to
//! it; on one machine they do not depend on the number of threads.

#![allow(unsafe_code)]
// The body must be inlined into the functions that switch instruction sets on, or it runs without.
#![allow(clippy::inline_always)]

/// Loops that the compiler turns into vector code.
///
/// Implementations of `run`, and whatever their loops call, are `#[inline(always)]`.
pub trait Vectorised {
    /// What the loops compute.
    type Output;
    /// Runs them; `FUSED` if the machine has fused multiply-add.
    fn run<const FUSED: bool>(self) -> Self::Output;
}

/// Runs the loops with the widest registers that this machine has.
pub fn on_widest<V: Vectorised>(loops: V) -> V::Output {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            // SAFETY: the machine has the instruction sets that the function is compiled for.
            return unsafe { with_avx512(loops) };
        }
        // SAFETY: as above.
        return unsafe { with_avx2(loops) };
    }
    loops.run::<false>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<V: Vectorised>(loops: V) -> V::Output {
    loops.run::<true>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512dq")]
fn with_avx512<V: Vectorised>(loops: V) -> V::Output {
    loops.run::<true>()
}
