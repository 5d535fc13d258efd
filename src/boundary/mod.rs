//! Where C meets Rust: the macros that export, the panic guard, statuses and C integers.
//!
//! The only place with `catch_unwind` and `no_mangle`. It knows no operation.

#[macro_use]
pub mod export;
pub mod args;
#[cfg(target_arch = "x86_64")]
pub mod forward_x86_64;
pub mod panic;
pub mod status;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "gpucompat serves x86-64 Linux; another system needs its own forwarding jump and platform module"
);
