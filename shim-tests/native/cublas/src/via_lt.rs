//! `cublasSgemm_v2` as the real library does it: by calling `cublasLtMatmul` through the global scope, where
//! a preloaded library is found first, with descriptors and a handle of its own.

use std::ffi::{CStr, c_int, c_void};

type Create3 = unsafe extern "C" fn(*mut *mut c_void, c_int, c_int) -> c_int;
type Create4 = unsafe extern "C" fn(*mut *mut c_void, c_int, u64, u64, i64) -> c_int;
type Set = unsafe extern "C" fn(*mut c_void, c_int, *const c_void, usize) -> c_int;
type Destroy = unsafe extern "C" fn(*mut c_void) -> c_int;
type Matmul = unsafe extern "C" fn(
    *mut c_void,
    *mut c_void,
    u64,
    u64,
    *mut c_void,
    u64,
    *mut c_void,
    u64,
    u64,
    *mut c_void,
    u64,
    *mut c_void,
    *const c_void,
    *mut c_void,
    usize,
    u64,
) -> c_int;

const INTERNAL_ERROR: c_int = 14;

/// A function of cuBLASLt: through the global scope if `global`, else from the library itself.
fn find(name: &CStr, global: bool) -> *mut c_void {
    if global {
        // SAFETY: looks up a name in the global scope.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        if !found.is_null() {
            return found;
        }
    }
    // SAFETY: looks up the library that the test has loaded.
    let library = unsafe { libc::dlopen(c"libcublasLt.so.12".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    if library.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: a live handle and a C string.
    unsafe { libc::dlsym(library, name.as_ptr()) }
}

/// The product by cuBLASLt.
pub fn sgemm(
    handle: *mut c_void,
    ops: [c_int; 2],
    [m, n, k]: [i64; 3],
    [alpha, beta]: [u64; 2],
    [a, b, c]: [u64; 3],
    lds: [i64; 3],
    stream: u64,
) -> c_int {
    const COMPUTE_32F: c_int = 68;
    const F32: c_int = 0;
    const TRANSA: c_int = 3;
    let names = [
        c"cublasLtMatmulDescCreate",
        c"cublasLtMatrixLayoutCreate",
        c"cublasLtMatmulDescSetAttribute",
        c"cublasLtMatmulDescDestroy",
        c"cublasLtMatrixLayoutDestroy",
    ];
    let [desc_create, layout_create, set, desc_destroy, layout_destroy] = names.map(|name| find(name, false));
    let matmul = find(c"cublasLtMatmul", true);
    if [desc_create, layout_create, set, desc_destroy, layout_destroy, matmul].iter().any(|it| it.is_null()) {
        return INTERNAL_ERROR;
    }
    // SAFETY: cuBLASLt's functions of these names have these prototypes.
    let (desc_create, layout_create, set, desc_destroy, layout_destroy, matmul): (
        Create3,
        Create4,
        Set,
        Destroy,
        Destroy,
        Matmul,
    ) = unsafe {
        (
            std::mem::transmute(desc_create),
            std::mem::transmute(layout_create),
            std::mem::transmute(set),
            std::mem::transmute(desc_destroy),
            std::mem::transmute(layout_destroy),
            std::mem::transmute(matmul),
        )
    };
    let mut desc = std::ptr::null_mut();
    // SAFETY: `desc` is writable.
    unsafe { desc_create(&raw mut desc, COMPUTE_32F, F32) };
    for (index, op) in ops.iter().enumerate() {
        // SAFETY: `desc` was just made; the value is four bytes.
        unsafe { set(desc, TRANSA + index as c_int, std::ptr::from_ref(op).cast(), 4) };
    }
    let shape = |op: c_int, rows: i64, cols: i64| if op == 0 { (rows, cols) } else { (cols, rows) };
    let layout = |(rows, cols): (i64, i64), ld: i64| {
        let mut layout = std::ptr::null_mut();
        // SAFETY: `layout` is writable.
        unsafe { layout_create(&raw mut layout, F32, rows as u64, cols as u64, ld) };
        layout
    };
    let la = layout(shape(ops[0], m, k), lds[0]);
    let lb = layout(shape(ops[1], k, n), lds[1]);
    let lc = layout((m, n), lds[2]);
    let none = std::ptr::null_mut();
    // SAFETY: descriptors made above; addresses and scalars are the caller's.
    let status =
        unsafe { matmul(handle, desc, alpha, a, la, b, lb, beta, c, lc, c, lc, none, none, 0, stream) };
    // SAFETY: made above, used no more.
    unsafe { desc_destroy(desc) };
    for layout in [la, lb, lc] {
        // SAFETY: as above.
        unsafe { layout_destroy(layout) };
    }
    status
}
