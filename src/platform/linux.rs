//! Linux: `dlopen`/`dlsym` of what is already in the process, raw writes, the load hook.

#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_void};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

/// A library that was in the process when we asked; it is kept loaded from then on.
#[derive(Clone, Copy)]
pub struct LoadedLibrary(*mut c_void);

// SAFETY: a `dlopen` handle is an opaque token that glibc lets any thread use.
unsafe impl Send for LoadedLibrary {}
// SAFETY: as above; `dlsym` takes its own lock.
unsafe impl Sync for LoadedLibrary {}

impl LoadedLibrary {
    /// The address of `symbol` in this library (or one it depends on), never one of ours.
    pub fn symbol(self, symbol: &CStr) -> Option<*mut c_void> {
        // SAFETY: `self.0` came from a successful `dlopen` and is never closed; `symbol` is a C string.
        let address = unsafe { libc::dlsym(self.0, symbol.as_ptr()) };
        foreign(address)
    }
}

/// The library `soname` if the process has loaded it; never loads one.
pub fn find_loaded(soname: &CStr) -> Option<LoadedLibrary> {
    // SAFETY: RTLD_NOLOAD only looks up; `soname` is a C string.
    let handle = unsafe { libc::dlopen(soname.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    (!handle.is_null()).then_some(LoadedLibrary(handle))
}

/// The next definition of `symbol` after ours in the global scope.
pub fn next_symbol(symbol: &CStr) -> Option<*mut c_void> {
    // SAFETY: RTLD_NEXT is a pseudo-handle that `dlsym` accepts; `symbol` is a C string.
    foreign(unsafe { libc::dlsym(libc::RTLD_NEXT, symbol.as_ptr()) })
}

/// A symbol of the program's global scope, wherever it is defined.
pub fn global_symbol(symbol: &CStr) -> Option<*mut c_void> {
    // SAFETY: RTLD_DEFAULT is a pseudo-handle that `dlsym` accepts; `symbol` is a C string.
    foreign(unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) })
}

fn foreign(address: *mut c_void) -> Option<*mut c_void> {
    (!address.is_null() && !own_image_contains(address)).then_some(address)
}

/// Whether `address` lies in this very library: a symbol found there must not count as the native one.
pub fn own_image_contains(address: *const c_void) -> bool {
    static OWN_BASE: OnceLock<usize> = OnceLock::new();
    let own = *OWN_BASE.get_or_init(|| image_base(own_image_contains as *const c_void));
    own != 0 && image_base(address) == own
}

/// Whether `address`, which is looked up and not followed, lies in a library whose file name begins with `name`.
#[allow(clippy::not_unsafe_ptr_arg_deref)]
pub fn image_is(address: *const c_void, name: &str) -> bool {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `dladdr` accepts any address and writes `info` when it returns non-zero.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) };
    // SAFETY: initialised by `dladdr`, and all-zero bytes are a valid `Dl_info` anyway.
    let path = unsafe { info.assume_init() }.dli_fname;
    if found == 0 || path.is_null() {
        return false;
    }
    // SAFETY: a C string that lives as long as the image, which holds `address`.
    let path = unsafe { CStr::from_ptr(path) }.to_string_lossy();
    path.rsplit('/').next().is_some_and(|file| file.starts_with(name))
}

/// Load address of the image that holds `address`; 0 if none does.
fn image_base(address: *const c_void) -> usize {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `dladdr` accepts any address and writes `info` when it returns non-zero.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) };
    if found == 0 {
        return 0;
    }
    // SAFETY: initialised by `dladdr`, and all-zero bytes are a valid `Dl_info` anyway.
    unsafe { info.assume_init() }.dli_fbase as usize
}

/// Copies bytes from an address of this process that may not be readable: false then, where a load would fault.
pub fn read_own_memory(address: u64, bytes: &mut [u8]) -> bool {
    let length = bytes.len();
    let into = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: length };
    let from =
        libc::iovec { iov_base: std::ptr::with_exposed_provenance_mut(address as usize), iov_len: length };
    // SAFETY: `into` is live memory of its length; the kernel checks `from` and refuses what is not readable.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &raw const into, 1, &raw const from, 1, 0) };
    usize::try_from(read) == Ok(length)
}

/// Writes finished lines to standard error; a closed or full one is not our host's problem.
pub fn write_stderr(lines: &str) {
    let mut rest = lines.as_bytes();
    while !rest.is_empty() {
        // SAFETY: the buffer is `rest.len()` bytes of live memory; `write` has no other precondition.
        let written = unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => rest = &rest[written.min(rest.len())..],
            _ => return,
        }
    }
}

/// Appends finished lines to `path`, opened for this once: nothing is inherited by a fork, no
/// descriptor is held in somebody else's process. A symbolic link at `path` is not followed, a pipe not waited for.
pub fn append_to_file(path: &OsStr, lines: &str) -> std::io::Result<()> {
    let mut how = std::fs::OpenOptions::new();
    opened(path, how.append(true).create(true))?.write_all(lines.as_bytes())
}

/// Writes a file anew, readable by its owner alone, and then puts it in its place: what was there is gone, or all of it is
/// there. Only a file is replaced, no link, no pipe, no device.
pub fn write_file(path: &OsStr, text: &str) -> std::io::Result<()> {
    let path = Path::new(path);
    if path.symlink_metadata().is_ok_and(|known| !known.is_file()) {
        return Err(std::io::Error::new(ErrorKind::AlreadyExists, "it exists and is no file"));
    }
    let mut name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let fresh = path.with_file_name(name);
    let mut how = std::fs::OpenOptions::new();
    let written = opened(fresh.as_os_str(), how.write(true).create_new(true))
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&fresh, path));
    if written.as_ref().is_err_and(|error| error.kind() != ErrorKind::AlreadyExists) {
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

fn opened(path: &OsStr, how: &mut std::fs::OpenOptions) -> std::io::Result<std::fs::File> {
    how.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK).open(path)
}

/// When the library was loaded, and into which process: a forked child is another.
#[derive(Debug)]
pub struct Load {
    /// The process.
    pub process: u32,
    /// The moment.
    pub at: SystemTime,
}

/// When the library was loaded.
pub fn load() -> &'static Load {
    static LOAD: OnceLock<Load> = OnceLock::new();
    LOAD.get_or_init(|| Load { process: std::process::id(), at: SystemTime::now() })
}

/// Runs when the library is loaded: notes the environment and the moment, nothing else.
#[ctor::ctor(unsafe)]
fn note_environment() {
    let _ = crate::config::config();
    let _ = load();
}
