//! Loops compiled once more for wider vector registers, and the lines of an output that threads share.
//!
//! The loops are plain Rust and never fuse a product with a sum, so every width gives the same bits.

#![allow(unsafe_code)]

use crate::gemm::block_raw::SharedOutput;

/// A loop over slices. `run` must be `#[inline(always)]`, and so must all that it calls: what stays a
/// function of its own, as the body of `for_each` may, is compiled for the narrowest registers.
pub trait Kernel {
    /// What the loop gives.
    type Output;
    /// Runs the loop.
    fn run(self) -> Self::Output;
}

/// Runs the loop with the widest registers that the machine has. 256 bits are enough where memory is the
/// limit, as in all that runs here.
pub fn widest<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: just found to be there.
        return unsafe { with_avx2(kernel) };
    }
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

/// `length` elements of the output from `start` on.
///
/// # Safety
/// While the slice lives, nothing else touches these elements, this thread included.
#[allow(clippy::mut_from_ref)]
pub unsafe fn line<'a, T: Copy>(output: &'a SharedOutput<'_, T>, start: usize, length: usize) -> &'a mut [T] {
    if length == 0 {
        return &mut [];
    }
    // SAFETY: nothing is read or written here, and the last element is asserted to be inside the slice.
    unsafe { output.place(start + length - 1) };
    // SAFETY: as many elements as asserted; they are initialised, since they come from a slice, and ours
    // alone by this function's contract.
    unsafe { std::slice::from_raw_parts_mut(output.place(start), length) }
}

/// Writes `values` to the elements `stride` apart from `start` on.
///
/// # Safety
/// Meanwhile nothing else touches these elements.
pub unsafe fn store<T: Copy>(output: &SharedOutput<'_, T>, start: usize, stride: usize, values: &[T]) {
    for (position, &value) in values.iter().enumerate() {
        // SAFETY: `place` asserts that the element exists; it is ours by this function's contract.
        unsafe { output.place(start + position * stride).write(value) };
    }
}
