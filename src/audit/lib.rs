//! `libgpucompat_audit.so`, named in `LD_AUDIT` beside the preloaded `libgpucompat.so`, reaches programs that symbol
//! interposition does not: those that look cuBLAS or cuDNN up with `dlopen` and `dlsym`, or load their extensions with
//! `RTLD_DEEPBIND`.
//!
//! The dynamic linker asks an audit library before it binds a symbol, and tells who asks and who defines it. A name that
//! one of NVIDIA's libraries defines and libgpucompat exports is bound to libgpucompat, except for NVIDIA's libraries
//! themselves (cuDNN's dispatcher looks the same names up in its own parts) and for libgpucompat, which looks for the
//! native function. Nothing else is changed. Source: rtld-audit(7).
//!
//! The dynamic linker keeps this library in a namespace of its own: it shares no memory with the program's libraries,
//! and reads libgpucompat's symbol table where it lies.

#![allow(unsafe_code)]

pub mod image;

use std::ffi::{CStr, c_char, c_uint};
use std::sync::atomic::{AtomicPtr, Ordering};

use image::LinkMap;

/// What an object of the program is to us; kept in the cookie that the dynamic linker hands back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Role {
    /// The program, its extensions, every library that is none of the below.
    Program = 1,
    /// Defines functions that libgpucompat stands in front of.
    Served = 2,
    /// Another library of NVIDIA's: what it looks up is its own business.
    Vendor = 3,
    /// libgpucompat.so.
    Shim = 4,
}

/// The program's namespace (`LM_ID_BASE`).
const BASE_NAMESPACE: libc::c_long = 0;
/// `LA_FLG_BINDTO`: tell us when a symbol is bound to this object.
const TELL_BINDINGS_TO: c_uint = 1;
/// The newest version of the interface that this library was written for (`LAV_CURRENT` of glibc 2.35).
const NEWEST_INTERFACE: c_uint = 2;

/// libgpucompat.so as the dynamic linker knows it.
static SHIM: AtomicPtr<LinkMap> = AtomicPtr::new(std::ptr::null_mut());

impl Role {
    /// The role of the file at `path`. Empty for the program itself.
    fn of(path: &str) -> Role {
        let file = path.rsplit('/').next().unwrap_or(path);
        let begins = |names: &[&str]| names.iter().any(|name| file.starts_with(name));
        if begins(&["libgpucompat"]) {
            Role::Shim
        } else if begins(&["libcublas", "libcudnn"]) {
            Role::Served
        } else if begins(&["libcusolver", "libcusparse", "libcufft", "libnvblas", "libcudart", "libcupti"]) {
            Role::Vendor
        } else {
            Role::Program
        }
    }

    /// Whether its look-ups are to find libgpucompat.
    fn is_led(cookie: usize) -> bool {
        cookie == Role::Program as usize
    }
}

/// Called first: the version of the interface that both sides know, 0 for none.
#[unsafe(no_mangle)]
pub extern "C" fn la_version(version: c_uint) -> c_uint {
    version.min(NEWEST_INTERFACE)
}

/// Called when an object is loaded: notes its role.
///
/// # Safety
/// `map` and `cookie` are the dynamic linker's, live while the object is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn la_objopen(
    map: *mut LinkMap,
    namespace: libc::c_long,
    cookie: *mut usize,
) -> c_uint {
    if namespace != BASE_NAMESPACE {
        return 0;
    }
    // SAFETY: the caller's promise; the name is a C string that lives as long as the map.
    let path = unsafe { CStr::from_ptr((*map).name) }.to_string_lossy();
    let role = Role::of(&path);
    // SAFETY: the caller's promise.
    unsafe { *cookie = role as usize };
    if role == Role::Shim {
        SHIM.store(map, Ordering::Release);
    }
    if role == Role::Served { TELL_BINDINGS_TO } else { 0 }
}

/// Called before a symbol of a served library is bound, by the loader or by `dlsym`: the address to bind.
///
/// # Safety
/// The dynamic linker's promise: `symbol` is the definition with its absolute address, `name` a C string, the cookies
/// those of [`la_objopen`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn la_symbind64(
    symbol: *mut libc::Elf64_Sym,
    _index: c_uint,
    asking: *mut usize,
    _defining: *mut usize,
    _flags: *mut c_uint,
    name: *const c_char,
) -> usize {
    // SAFETY: the caller's promise.
    let (native, asking, name) = unsafe { ((*symbol).st_value as usize, *asking, CStr::from_ptr(name)) };
    let shim = SHIM.load(Ordering::Acquire);
    if !Role::is_led(asking) || shim.is_null() {
        return native;
    }
    // SAFETY: libgpucompat is preloaded and so never unloaded: its map and its symbol table stay.
    unsafe { image::exported(shim, name) }.unwrap_or(native)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nvidias_libraries_are_told_apart_by_their_files() {
        assert_eq!(Role::of(""), Role::Program);
        assert_eq!(Role::of("/usr/bin/python3"), Role::Program);
        assert_eq!(Role::of("/x/site-packages/nvidia/cublas/lib/libcublas.so.12"), Role::Served);
        assert_eq!(Role::of("libcublasLt.so.13"), Role::Served);
        assert_eq!(Role::of("/x/libcudnn_graph.so.9"), Role::Served);
        assert_eq!(Role::of("/x/libcusolver.so.11"), Role::Vendor);
        assert_eq!(Role::of("/opt/libgpucompat.so"), Role::Shim);
        assert_eq!(Role::of("/opt/cublas/libtorch_cuda.so"), Role::Program);
    }

    #[test]
    fn only_the_program_is_led() {
        assert!(Role::is_led(Role::Program as usize));
        for role in [Role::Served, Role::Vendor, Role::Shim] {
            assert!(!Role::is_led(role as usize));
        }
    }
}
