//! The laboratory: functions by name as the program would bind them, and simulated device memory.

use std::ffi::{CString, c_int, c_void};
use std::sync::Mutex;

/// The native libraries that were loaded; none is ever unloaded.
static LOADED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Loads native libraries as PyTorch does: by path, not into the global scope. `STANDIN_DIR` has the stand-ins,
/// `CUDNN_DIR` NVIDIA's own libcudnn, which goes before the stand-in.
pub fn load_native_libraries() {
    let folder = |name| std::env::var(name).ok();
    let (standins, cudnn) = (folder("STANDIN_DIR"), folder("CUDNN_DIR"));
    let of_standins = ["libcublasLt.so.12", "libcublas.so.12"].map(|name| (name, standins.as_ref()));
    let of_cudnn = ("libcudnn.so.9", cudnn.as_ref().or(standins.as_ref()));
    for (name, folder) in of_standins.into_iter().chain([of_cudnn]) {
        let Some(folder) = folder else { continue };
        let path = CString::new(format!("{folder}/{name}")).unwrap();
        // SAFETY: loads a library made for this test, or NVIDIA's.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{path:?} does not load");
        LOADED.lock().unwrap().push(handle as usize);
    }
}

/// A function as the program binds it: one that links the libraries finds the global scope first, one that opens them
/// itself (`LOOKUP=library`) asks the library that it has opened.
pub fn symbol(name: &str) -> *mut c_void {
    let text = CString::new(name).unwrap();
    let find = |scope: *mut c_void| {
        // SAFETY: looks a name up in the global scope or in a library that stays loaded.
        unsafe { libc::dlsym(scope, text.as_ptr()) }
    };
    let global = || Some(find(libc::RTLD_DEFAULT)).filter(|at| !at.is_null());
    let own = || {
        LOADED.lock().unwrap().iter().map(|&library| find(library as *mut c_void)).find(|at| !at.is_null())
    };
    let opens_itself = std::env::var("LOOKUP").is_ok_and(|way| way == "library");
    let found = if opens_itself { own().or_else(global) } else { global().or_else(own) };
    found.unwrap_or_else(|| panic!("{name} is not exported"))
}

/// The name of the file that a function is bound to.
pub fn bound_to(address: *mut c_void) -> String {
    // SAFETY: all-zero bytes are a valid `Dl_info`, and `dladdr` takes any address.
    let (found, info) = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        (libc::dladdr(address, &raw mut info), info)
    };
    assert!(found != 0, "{address:?} lies in a loaded library");
    // SAFETY: a C string that lives as long as the library.
    let path = unsafe { std::ffi::CStr::from_ptr(info.dli_fname) }.to_string_lossy().into_owned();
    path.rsplit('/').next().unwrap_or(&path).to_owned()
}

/// A function of a native library itself.
pub fn native(library: &str, name: &str) -> *mut c_void {
    let (library, name) = (CString::new(library).unwrap(), CString::new(name).unwrap());
    // SAFETY: looks up a library that was loaded before.
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
    assert!(!handle.is_null(), "{library:?} is not loaded");
    // SAFETY: a live handle and a C string.
    let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?} is not in {library:?}");
    address
}

/// Calls an exported function by name with the arguments' own types; the result is an int.
#[macro_export]
macro_rules! call {
    ($name:expr $(, $arg:expr => $ty:ty)* $(,)?) => {{
        let address = $crate::lab::symbol($name);
        // SAFETY: the test gives the types that NVIDIA's page of this name gives.
        let function: unsafe extern "C" fn($($ty),*) -> std::ffi::c_int = unsafe { std::mem::transmute(address) };
        // SAFETY: as above; the test owns what the arguments point to.
        unsafe { function($($arg),*) }
    }};
}

/// How often the stand-in's function was called.
pub fn calls(library: &str, name: &str) -> u64 {
    let name = CString::new(name).unwrap();
    // SAFETY: the stand-ins export this function.
    let function: unsafe extern "C" fn(*const libc::c_char) -> u64 =
        unsafe { std::mem::transmute(native(library, "standin_calls")) };
    // SAFETY: a C string.
    unsafe { function(name.as_ptr()) }
}

/// How many handles the stand-ins saw that were not their own.
pub fn foreign_handles() -> u64 {
    let of = |library| {
        // SAFETY: the stand-ins export this function.
        let function: unsafe extern "C" fn() -> u64 =
            unsafe { std::mem::transmute(native(library, "standin_foreign_handles")) };
        // SAFETY: takes nothing.
        unsafe { function() }
    };
    ["libcublas.so.12", "libcublasLt.so.12", "libcudnn.so.9"].map(of).iter().sum()
}

/// A simulator counter.
pub fn counter(name: &str) -> i64 {
    let text = CString::new(name).unwrap();
    // SAFETY: the simulator exports this function.
    let function: unsafe extern "C" fn(*const libc::c_char) -> i64 =
        unsafe { std::mem::transmute(symbol("simgpu_counter")) };
    // SAFETY: a C string.
    unsafe { function(text.as_ptr()) }
}

/// Makes the n-th call of a kind fail; an empty text ends all faults.
pub fn set_fault(specification: &str) {
    let text = CString::new(specification).unwrap();
    assert_eq!(call!("simgpu_set_fault", text.as_ptr() => *const libc::c_char), 0);
}

/// Device memory with these bytes, freed when dropped.
pub struct Device {
    /// Its address.
    pub address: u64,
    bytes: usize,
}

impl Device {
    /// Allocates and fills it.
    pub fn holding(bytes: &[u8]) -> Device {
        let mut address = 0u64;
        let size = bytes.len().max(1);
        let pointer = &raw mut address;
        assert_eq!(call!("cudaMalloc", pointer => *mut u64, size => usize), 0);
        let device = Device { address, bytes: bytes.len() };
        device.set(bytes);
        device
    }

    /// Overwrites it.
    pub fn set(&self, bytes: &[u8]) {
        assert!(bytes.len() <= self.bytes);
        let source = bytes.as_ptr();
        if !bytes.is_empty() {
            let status = call!("simgpu_poke", self.address => u64, source => *const u8, bytes.len() => usize);
            assert_eq!(status, 0);
        }
    }

    /// Reads it once everything that is queued has run.
    pub fn get(&self) -> Vec<u8> {
        let finish = symbol("simgpu_finish");
        // SAFETY: the simulator's function of that name takes and returns nothing.
        (unsafe { std::mem::transmute::<*mut c_void, extern "C" fn()>(finish) })();
        let mut bytes = vec![0; self.bytes];
        let target = bytes.as_mut_ptr();
        if self.bytes > 0 {
            let status = call!("simgpu_peek", self.address => u64, target => *mut u8, self.bytes => usize);
            assert_eq!(status, 0);
        }
        bytes
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        call!("cudaFree", self.address => u64);
    }
}

/// Bytes of floats.
pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Floats from bytes.
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

/// A new cuBLAS handle.
pub fn create() -> *mut c_void {
    let mut handle = std::ptr::null_mut();
    let pointer = &raw mut handle;
    assert_eq!(call!("cublasCreate_v2", pointer => *mut *mut c_void), 0);
    assert!(!handle.is_null());
    handle
}

/// The status names that tests use.
pub const SUCCESS: c_int = 0;
pub const NOT_INITIALIZED: c_int = 1;
pub const ALLOC_FAILED: c_int = 3;
pub const INVALID_VALUE: c_int = 7;
pub const EXECUTION_FAILED: c_int = 13;
pub const NOT_SUPPORTED: c_int = 15;
