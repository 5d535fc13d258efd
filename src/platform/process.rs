//! What a process tells of itself, and its end.

#![allow(unsafe_code)]

/// The command line, its words separated by spaces.
pub fn command_line() -> String {
    let words = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ")
}

/// The most memory, bytes, that the process had in main memory at a time; 0 if the system does not tell.
pub fn peak_bytes() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `getrusage` writes the whole structure; all-zero bytes are a valid one if it fails.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10
}

/// The system's number of this thread, as profilers have it.
pub fn thread_number() -> i32 {
    // SAFETY: no precondition.
    unsafe { libc::gettid() }
}

/// Has `run` called when the process ends by `exit`, or by returning from `main`. It must not unwind.
pub fn at_exit(run: extern "C" fn()) {
    // SAFETY: a function of this library, which is never unloaded while anything of ours can still be called; where no more
    // can be registered nothing happens.
    unsafe { libc::atexit(run) };
}
