//! Bad arguments and failing copies: the documented status, the output untouched, the next call fine.

use std::ffi::{c_int, c_void};

use crate::blas::{run, sgemm};
use crate::call;
use crate::lab::{
    ALLOC_FAILED, Device, EXECUTION_FAILED, INVALID_VALUE, NOT_SUPPORTED, SUCCESS, bytes, create, floats,
    set_fault,
};

/// The arguments of a 4×4×4 product, to be spoilt one at a time.
struct Call {
    ops: [c_int; 2],
    sizes: [c_int; 3],
    lds: [c_int; 3],
    alpha: *const f32,
    beta: *const f32,
    a: u64,
    b: u64,
    c: u64,
}

impl Call {
    fn sgemm(&self, handle: *mut c_void) -> c_int {
        let ([ta, tb], [m, n, k], [lda, ldb, ldc]) = (self.ops, self.sizes, self.lds);
        call!("cublasSgemm_v2", handle => *mut c_void, ta => c_int, tb => c_int, m => c_int, n => c_int, k => c_int,
            self.alpha => *const f32, self.a => u64, lda => c_int, self.b => u64, ldb => c_int,
            self.beta => *const f32, self.c => u64, ldc => c_int)
    }

    fn gemm_ex(&self, handle: *mut c_void, types: [c_int; 3], compute: c_int, algo: c_int) -> c_int {
        let ([ta, tb], [m, n, k], [lda, ldb, ldc]) = (self.ops, self.sizes, self.lds);
        call!("cublasGemmEx", handle => *mut c_void, ta => c_int, tb => c_int, m => c_int, n => c_int, k => c_int,
            self.alpha => *const f32, self.a => u64, types[0] => c_int, lda => c_int, self.b => u64, types[1] => c_int,
            ldb => c_int, self.beta => *const f32, self.c => u64, types[2] => c_int, ldc => c_int, compute => c_int,
            algo => c_int)
    }
}

/// Each documented misuse.
pub fn bad_input() {
    let handle = create();
    let (a, b) = (Device::holding(&bytes(&[1.0; 16])), Device::holding(&bytes(&[1.0; 16])));
    let c = Device::holding(&bytes(&[3.0; 16]));
    let (one, zero) = (1.0f32, 0.0f32);
    let good = || Call {
        ops: [0, 0],
        sizes: [4; 3],
        lds: [4; 3],
        alpha: &raw const one,
        beta: &raw const zero,
        a: a.address,
        b: b.address,
        c: c.address,
    };
    let spoilt = |what: &str, want: c_int, spoil: &dyn Fn(&mut Call)| {
        let mut call = good();
        spoil(&mut call);
        assert_eq!(call.sgemm(handle), want, "{what}");
        assert!(floats(&c.get()).iter().all(|&value| value == 3.0), "{what}: C was touched");
    };
    spoilt("m < 0", INVALID_VALUE, &|call| call.sizes[0] = -1);
    spoilt("n < 0", INVALID_VALUE, &|call| call.sizes[1] = -1);
    spoilt("k < 0", INVALID_VALUE, &|call| call.sizes[2] = -1);
    spoilt("lda < m", INVALID_VALUE, &|call| call.lds[0] = 3);
    spoilt("ldb < k", INVALID_VALUE, &|call| call.lds[1] = 3);
    spoilt("ldc < m", INVALID_VALUE, &|call| call.lds[2] = 3);
    spoilt("ldc < 1", INVALID_VALUE, &|call| call.lds[2] = 0);
    spoilt("unknown op", INVALID_VALUE, &|call| call.ops[0] = 4);
    spoilt("negative op", INVALID_VALUE, &|call| call.ops[1] = -1);
    spoilt("null alpha", INVALID_VALUE, &|call| call.alpha = std::ptr::null());
    spoilt("null beta", INVALID_VALUE, &|call| call.beta = std::ptr::null());
    spoilt("null A", INVALID_VALUE, &|call| call.a = 0);
    spoilt("null B", INVALID_VALUE, &|call| call.b = 0);
    spoilt("null C", INVALID_VALUE, &|call| call.c = 0);
    spoilt("A is no CUDA memory", EXECUTION_FAILED, &|call| call.a = 0x7777_0000);
    spoilt("B is beyond its allocation", EXECUTION_FAILED, &|call| {
        (call.sizes, call.lds) = ([4, 4000, 4], [4; 3]);
    });
    spoilt("C is no CUDA memory", EXECUTION_FAILED, &|call| call.c = 0x7777_0000);
    let ex = |what: &str, types: [c_int; 3], compute: c_int, algo: c_int, want: c_int| {
        assert_eq!(good().gemm_ex(handle, types, compute, algo), want, "{what}");
        assert!(floats(&c.get()).iter().all(|&value| value == 3.0), "{what}: C was touched");
    };
    ex("A and B of different types", [0, 2, 0], 68, -1, NOT_SUPPORTED);
    ex("an undocumented combination", [0, 0, 2], 68, -1, NOT_SUPPORTED);
    ex("an unknown type", [1000, 1000, 0], 68, -1, NOT_SUPPORTED);
    ex("an unknown compute type", [0, 0, 0], 12, -1, NOT_SUPPORTED);
    ex("double in single", [1, 1, 1], 68, -1, NOT_SUPPORTED);
    ex("an unknown algorithm", [0, 0, 0], 68, 777, NOT_SUPPORTED);
    let batched = call!("cublasSgemmStridedBatched", handle => *mut c_void, 0 => c_int, 0 => c_int, 4 => c_int, 4 => c_int,
        4 => c_int, good().alpha => *const f32, a.address => u64, 4 => c_int, 16 => i64, b.address => u64, 4 => c_int, 16 => i64,
        good().beta => *const f32, c.address => u64, 4 => c_int, 16 => i64, -1 => c_int);
    assert_eq!(batched, INVALID_VALUE, "a negative batch");
    assert_eq!(good().sgemm(handle), SUCCESS, "and a good call still works");
    assert!(floats(&c.get()).iter().all(|&value| value == 4.0));
}

/// Every copy and wait of a call fails in turn: an error, C untouched, and the next call works.
pub fn faults() {
    let handle = create();
    let case = "f32->f32:f32 nt m7 n5 k3 lda9 ldb6 ldc8 alpha1.5 beta1 batch1 gap0 seed42".parse().unwrap();
    run(&sgemm(), handle, &case);
    let (a, b) = (Device::holding(&bytes(&[1.0; 16])), Device::holding(&bytes(&[1.0; 16])));
    let one = 1.0f32;
    let mut failures = 0;
    for fault in ["memcpy_d2h:1", "memcpy_d2h:2", "memcpy_d2h:3", "memcpy_h2d:1", "sync:1"] {
        let c = Device::holding(&bytes(&[3.0; 16]));
        let call = Call {
            ops: [0, 0],
            sizes: [4; 3],
            lds: [4; 3],
            alpha: &raw const one,
            beta: &raw const one,
            a: a.address,
            b: b.address,
            c: c.address,
        };
        set_fault(fault);
        let status = call.sgemm(handle);
        set_fault("");
        assert_eq!(status, EXECUTION_FAILED, "{fault}");
        assert!(floats(&c.get()).iter().all(|&value| value == 3.0), "{fault}: C was touched");
        assert_eq!(call.sgemm(handle), SUCCESS, "the call after {fault}");
        assert!(floats(&c.get()).iter().all(|&value| value == 7.0), "the call after {fault}");
        failures += 1;
    }
    set_fault("memcpy_d2h:1:2");
    let c = Device::holding(&bytes(&[3.0; 16]));
    let (a, b, c_address) = (a.address, b.address, c.address);
    let call = Call {
        ops: [0, 0],
        sizes: [4; 3],
        lds: [4; 3],
        alpha: &raw const one,
        beta: &raw const one,
        a,
        b,
        c: c_address,
    };
    assert_eq!(call.sgemm(handle), ALLOC_FAILED, "out of memory keeps its name");
    set_fault("");
    // More elements than any host has: refused before anything is read.
    let huge = call!("cublasSgemm_v2_64", handle => *mut c_void, 0 => c_int, 0 => c_int, 1 << 40 => i64, 1 << 40 => i64, 1 => i64,
        &raw const one => *const f32, a => u64, 1 << 40 => i64, b => u64, 1 => i64, &raw const one => *const f32, c_address => u64,
        1 << 40 => i64);
    assert_eq!(huge, ALLOC_FAILED, "a result that no memory holds");
    assert!(floats(&c.get()).iter().all(|&value| value == 3.0));
    assert_eq!(failures, 5);
}
