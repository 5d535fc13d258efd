//! Devices, and which one is current on a thread.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Code, Outcome};
use crate::models::{self, Model};

/// How many devices can be simulated at once.
pub const MAX_DEVICES: usize = 8;

static MODEL: LazyLock<Model> = LazyLock::new(models::chosen);
static COUNT: LazyLock<i32> = LazyLock::new(|| {
    let wanted = std::env::var("SIMGPU_DEVICES").ok().and_then(|value| value.parse().ok()).unwrap_or(1);
    i32::clamp(wanted, 0, MAX_DEVICES as i32)
});
static USED: AtomicBool = AtomicBool::new(false);
static FORKED: AtomicBool = AtomicBool::new(false);
/// One byte a device, whose address is the primary context's handle.
static CONTEXTS: [u8; MAX_DEVICES] = [0; MAX_DEVICES];

thread_local! {
    /// The context stack: device ordinals. Never dropped: a program's own statics make calls when the main thread's
    /// locals are gone.
    static STACK: ManuallyDrop<RefCell<Vec<i32>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
    static LAST_ERROR: Cell<i32> = const { Cell::new(0) };
}

/// The simulated model.
pub fn model() -> Model {
    *MODEL
}

/// How many devices there are.
pub fn count() -> i32 {
    *COUNT
}

/// The device's ordinal, if there is such a device.
pub fn checked(ordinal: i32) -> Outcome<i32> {
    if (0..count()).contains(&ordinal) { Ok(ordinal) } else { Err(Code::INVALID_DEVICE) }
}

/// Marks the process as one that uses CUDA; in a child forked after that, everything fails, as on a real
/// driver.
pub fn begin() -> Outcome {
    if is_forked() {
        return Err(Code::INITIALIZATION);
    }
    if !USED.swap(true, Ordering::Relaxed) {
        extern "C" fn in_child() {
            FORKED.store(true, Ordering::Relaxed);
        }
        // SAFETY: `in_child` only stores to an atomic, which is safe in a forked child.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    }
    if count() == 0 { Err(Code::NO_DEVICE) } else { Ok(()) }
}

/// Whether this is a child forked after CUDA was used: nothing may be locked or waited for.
pub fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// The device that is current on this thread: 0 until one is set.
pub fn current() -> i32 {
    STACK.with(|stack| stack.borrow().last().copied()).unwrap_or(0)
}

/// As [`current`]; makes the primary context current if the thread has none, as runtime calls do.
pub fn ensure_current() -> i32 {
    STACK.with(|stack| {
        let stack = &mut *stack.borrow_mut();
        if stack.is_empty() {
            stack.push(0);
        }
        *stack.last().unwrap_or(&0)
    })
}

/// `cudaSetDevice`.
pub fn set_current(ordinal: i32) -> Outcome {
    let ordinal = checked(ordinal)?;
    STACK.with(|stack| {
        let stack = &mut *stack.borrow_mut();
        stack.pop();
        stack.push(ordinal);
    });
    Ok(())
}

/// The current context's device; `None` if the thread has no context.
pub fn context() -> Option<i32> {
    STACK.with(|stack| stack.borrow().last().copied())
}

/// `cuCtxPushCurrent`.
pub fn push(ordinal: i32) {
    STACK.with(|stack| stack.borrow_mut().push(ordinal));
}

/// `cuCtxPopCurrent`.
pub fn pop() -> Outcome<i32> {
    STACK.with(|stack| stack.borrow_mut().pop()).ok_or(Code::INVALID_CONTEXT)
}

/// The handle of a device's primary context.
pub fn context_handle(ordinal: i32) -> usize {
    std::ptr::from_ref(&CONTEXTS[ordinal as usize]) as usize
}

/// The device of a context handle.
pub fn device_of_context(handle: usize) -> Outcome<i32> {
    (0..count()).find(|&ordinal| context_handle(ordinal) == handle).ok_or(Code::INVALID_CONTEXT)
}

/// Keeps the code of a failed runtime call for `cudaGetLastError`.
pub fn keep_error(code: Code) {
    LAST_ERROR.with(|last| last.set(code.0));
}

/// The last error of this thread; cleared if `clear`.
pub fn last_error(clear: bool) -> i32 {
    LAST_ERROR.with(|last| if clear { last.replace(0) } else { last.get() })
}

/// A device attribute by the number that runtime and driver share.
#[allow(clippy::match_same_arms)] // rows of a table
pub fn attribute(number: i32, ordinal: i32) -> Outcome<i32> {
    let _ = checked(ordinal)?;
    let model = model();
    Ok(match number {
        1..=3 => 1024,     // threads a block; x; y
        4 => 64,           // z
        5 => i32::MAX,     // grid x
        6 | 7 => 65_535,   // grid y, z
        8 => 49_152,       // shared memory a block
        9 => 65_536,       // constant memory
        10 => 32,          // warp
        11 => i32::MAX,    // pitch
        12 | 82 => 65_536, // registers a block, a multiprocessor
        13 => 2_407_000,   // clock, kHz
        14 => 512,         // texture alignment
        16 => model.multiprocessors,
        15 | 19 | 31 | 41 | 83 | 89 => 1, // overlap, mapped host memory, concurrent kernels, one address space, managed
        33 => ordinal + 1,                // PCI bus
        36 => 14_001_000,                 // memory clock
        37 => 512,                        // bus width
        38 => 100_663_296,                // L2 bytes
        39 => 1536,                       // threads a multiprocessor
        40 => 2,                          // copy engines
        75 => model.capability.0,
        76 => model.capability.1,
        78 | 90 | 95 => 1, // stream priorities, preemption, cooperative launch
        81 => 102_400,     // shared memory a multiprocessor
        97 => 101_376,     // shared memory a block, opt-in
        106 => 24,         // blocks a multiprocessor
        111 => 1024,       // reserved shared memory a block
        115 => 1,          // memory pools
        _ => 0,
    })
}
