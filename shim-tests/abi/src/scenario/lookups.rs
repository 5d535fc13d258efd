//! Programs that open cuBLAS and cuDNN themselves and look their functions up: where each name leads.

use std::ffi::{CString, c_int, c_void};

use crate::lab::{bound_to, native, symbol};

/// Prints the file that each name of `NAMES` is bound to, looked up as `LOOKUP` says.
pub fn lookups() {
    for name in std::env::var("NAMES").expect("NAMES is set").split(' ') {
        println!("{name} {}", bound_to(symbol(name)));
    }
}

/// The same for a library that was opened with `RTLD_DEEPBIND`, and for NVIDIA's libraries themselves.
pub fn other_ways() {
    type Lookup = unsafe extern "C" fn(*mut c_void, *const libc::c_char) -> *mut c_void;
    let folder = std::env::var("STANDIN_DIR").expect("STANDIN_DIR is set");
    let path = CString::new(format!("{folder}/libcublas.so.12")).unwrap();
    let flags: c_int = libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_DEEPBIND;
    // SAFETY: loads a library made for this test.
    let deep = unsafe { libc::dlopen(path.as_ptr(), flags) };
    // SAFETY: a live handle, and a C string.
    println!("deepbind {}", bound_to(unsafe { libc::dlsym(deep, c"cublasSgemm_v2".as_ptr()) }));
    // A look-up by NVIDIA's own library stays there, whoever called it: the stand-in has a function that looks up.
    let address = native("libcublas.so.12", "standin_lookup");
    // SAFETY: the stand-in exports this function.
    let lookup: Lookup = unsafe { std::mem::transmute(address) };
    // SAFETY: a live handle and a C string.
    let found = unsafe { lookup(deep, c"cublasSgemm_v2".as_ptr()) };
    println!("vendor {}", bound_to(found));
}
