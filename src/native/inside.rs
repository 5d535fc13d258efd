//! Are we inside a native library right now?
//!
//! libcublas calls `cublasLtMatmul` through its PLT, so the call lands in our export; cuBLAS calls made
//! while a native function runs belong to that function, with its own descriptors and handles, and go
//! straight on.

use std::cell::Cell;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is below a native call that we forwarded.
pub fn inside_native() -> bool {
    // A thread whose locals are gone is in its last destructors: whatever it calls, pass it on.
    DEPTH.try_with(|depth| depth.get() > 0).unwrap_or(true)
}

/// Runs `call`, a call of a native function, with the mark set.
pub fn calling_native<R>(call: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            let _ = DEPTH.try_with(|depth| depth.set(depth.get() - 1));
        }
    }
    if DEPTH.try_with(|depth| depth.set(depth.get() + 1)).is_err() {
        return call();
    }
    let _leave = Leave;
    call()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_set_only_while_the_native_function_runs() {
        assert!(!inside_native());
        let nested = calling_native(|| calling_native(inside_native) && inside_native());
        assert!(nested);
        assert!(!inside_native());
    }

    #[test]
    fn a_panic_below_clears_the_mark() {
        let caught = std::panic::catch_unwind(|| calling_native(|| panic!("below")));
        assert!(caught.is_err());
        assert!(!inside_native());
    }
}
