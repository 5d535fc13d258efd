//! Next in chain: where the native definition of a function is.
//!
//! `dlsym(RTLD_NEXT, …)` sees nothing of cuBLAS under PyPI's PyTorch, which loads its libraries
//! RTLD_LOCAL, so the loaded library is asked by its soname first. A library that is not in the process
//! is never loaded by us: a second copy would have its own state.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use crate::platform;

/// A library of NVIDIA's whose functions we stand in front of, or call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    /// cuBLAS.
    Cublas,
    /// cuBLASLt.
    CublasLt,
    /// cuDNN.
    Cudnn,
    /// The CUDA runtime.
    Cudart,
}

/// How many [`Library`] values there are.
pub const LIBRARY_COUNT: usize = 4;

impl Library {
    /// The name that log lines use.
    pub fn name(self) -> &'static str {
        match self {
            Library::Cublas => "cublas",
            Library::CublasLt => "cublaslt",
            Library::Cudnn => "cudnn",
            Library::Cudart => "cudart",
        }
    }

    /// Position in tables indexed by library.
    pub fn index(self) -> usize {
        match self {
            Library::Cublas => 0,
            Library::CublasLt => 1,
            Library::Cudnn => 2,
            Library::Cudart => 3,
        }
    }

    /// Sonames to look for, newest CUDA first.
    fn sonames(self) -> &'static [&'static CStr] {
        match self {
            Library::Cublas => &[c"libcublas.so.13", c"libcublas.so.12", c"libcublas.so.11"],
            Library::CublasLt => &[c"libcublasLt.so.13", c"libcublasLt.so.12", c"libcublasLt.so.11"],
            Library::Cudnn => &[c"libcudnn.so.9", c"libcudnn.so.8"],
            Library::Cudart => &[c"libcudart.so.13", c"libcudart.so.12", c"libcudart.so.11.0"],
        }
    }

    /// The native definition of `symbol`, if the process holds one.
    pub fn find(self, symbol: &CStr) -> Option<*mut c_void> {
        self.sonames()
            .iter()
            .filter_map(|soname| platform::find_loaded(soname))
            .find_map(|library| library.symbol(symbol))
            .or_else(|| platform::next_symbol(symbol))
    }
}

/// One intercepted function: its native address once found, and what the policy remembers about it.
pub struct Slot {
    /// The library that exports the function.
    pub library: Library,
    /// The function's exported name.
    pub symbol: &'static CStr,
    real: AtomicPtr<c_void>,
    /// Bit per event that the log tells only once about this function.
    pub told: AtomicU8,
}

impl Slot {
    /// A slot that has found nothing yet.
    pub const fn new(library: Library, symbol: &'static CStr) -> Slot {
        Slot { library, symbol, real: AtomicPtr::new(std::ptr::null_mut()), told: AtomicU8::new(0) }
    }

    /// The function's name as text.
    pub fn name(&self) -> &'static str {
        self.symbol.to_str().unwrap_or("?")
    }

    /// The native function; looked up until found, since a program may load its library late.
    pub fn real(&self) -> Option<*mut c_void> {
        let known = self.real.load(Ordering::Acquire);
        if !known.is_null() {
            return Some(known);
        }
        let found = self.library.find(self.symbol)?;
        self.real.store(found, Ordering::Release);
        Some(found)
    }

    /// True the first time it is asked for `event`.
    pub fn first(&self, event: Event) -> bool {
        self.told.fetch_or(event as u8, Ordering::Relaxed) & event as u8 == 0
    }
}

/// What the log tells once a function.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Event {
    /// The function was refused for one of our handles.
    Refused = 1,
    /// The native library has no such function.
    Absent = 2,
}
