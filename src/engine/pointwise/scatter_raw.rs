//! Writing runs of elements to an output that several threads fill.

#![allow(unsafe_code)]

use super::walk::Run;
use crate::gemm::block_raw::SharedOutput;

/// Elements that lie side by side.
pub fn pointer<T: Copy>(data: &SharedOutput<'_, T>, run: Run) -> *mut [T] {
    // SAFETY: these are places, not yet accesses. The last is asserted to be inside the data.
    let (first, _last) = unsafe { (data.place(run.place), data.place(run.place + run.length - 1)) };
    std::ptr::slice_from_raw_parts_mut(first, run.length)
}

/// Writes values to the places `place`, `place + step`, … There is at least one.
///
/// # Safety
/// The elements at these places are this thread's alone meanwhile.
pub unsafe fn write_run<T: Copy>(data: &SharedOutput<'_, T>, place: usize, step: usize, values: &[T]) {
    if step == 1 {
        // SAFETY: `pointer` asserts that the run is inside the data, which is initialised; the rest is this
        // function's contract.
        unsafe { &mut *pointer(data, Run { place, length: values.len() }) }.copy_from_slice(values);
        return;
    }
    for (index, &value) in values.iter().enumerate() {
        // SAFETY: `place` asserts that the element is inside the data; the rest is this function's contract.
        unsafe { data.place(place + index * step).write(value) };
    }
}
