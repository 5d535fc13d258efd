//! What is copied, when, and where.

use std::ffi::{c_int, c_void};

use gpucompat_cases::gemm::GemmCase;

use crate::blas::{Entry, Form, invoke, run, scalar, sgemm};
use crate::call;
use crate::lab::{Device, SUCCESS, bytes, counter, create, floats};

fn counted(entry: &Entry, handle: *mut c_void, text: &str) -> (i64, i64) {
    let case: GemmCase = text.parse().unwrap();
    let data = case.data();
    let (a, b, c) = (Device::holding(&data.a), Device::holding(&data.b), Device::holding(&data.c));
    let (alpha, beta) = (scalar(&case, case.alpha), scalar(&case, case.beta));
    call!("simgpu_reset_counters");
    let at = [a.address, b.address, c.address];
    assert_eq!(
        invoke(entry, handle, &case, [alpha.as_ptr() as u64, beta.as_ptr() as u64], at),
        SUCCESS,
        "{text}"
    );
    case.check(&data.c, &c.get(), &data.expected).unwrap();
    (counter("d2h_bytes"), counter("h2d_bytes"))
}

/// Exactly the bytes of the rectangles that are read and written: no padding, no C for β = 0, no A and B for
/// α = 0, one copy of a matrix that the whole batch shares.
pub fn minimum_bytes() {
    let handle = create();
    let (m, n, k, batch) = (7i64, 5i64, 3i64, 4i64);
    let base = "f32->f32:f32 nt m7 n5 k3 lda9 ldb6 ldc8";
    let plain = sgemm();
    let (ab, c) = (4 * (m * k + n * k), 4 * m * n);
    assert_eq!(counted(&plain, handle, &format!("{base} alpha1 beta0 batch1 gap0 seed1")), (ab, c));
    assert_eq!(counted(&plain, handle, &format!("{base} alpha1 beta1 batch1 gap0 seed1")), (ab + c, c));
    assert_eq!(counted(&plain, handle, &format!("{base} alpha0 beta1 batch1 gap0 seed1")), (c, c));
    assert_eq!(counted(&plain, handle, &format!("{base} alpha0 beta0 batch1 gap0 seed1")), (0, c));
    let strided = Entry { symbol: "cublasSgemmStridedBatched".to_owned(), form: Form::Strided, ..sgemm() };
    assert_eq!(
        counted(&strided, handle, &format!("{base} alpha1 beta0 batch4 gap5 seed1")),
        (batch * ab, batch * c)
    );
    // One A for the whole batch.
    let (a, b, c) = (
        Device::holding(&bytes(&[1.0; 16])),
        Device::holding(&bytes(&[1.0; 64])),
        Device::holding(&bytes(&[0.0; 64])),
    );
    let (one, zero) = (1.0f32, 0.0f32);
    call!("simgpu_reset_counters");
    let status = call!("cublasSgemmStridedBatched", handle => *mut c_void, 0 => c_int, 0 => c_int, 4 => c_int, 4 => c_int, 4 => c_int,
        &raw const one => *const f32, a.address => u64, 4 => c_int, 0 => i64, b.address => u64, 4 => c_int, 16 => i64,
        &raw const zero => *const f32, c.address => u64, 4 => c_int, 16 => i64, 4 => c_int);
    assert_eq!(status, SUCCESS);
    assert_eq!((counter("d2h_bytes"), counter("h2d_bytes")), (4 * (16 + 64), 4 * 64));
    assert!(floats(&c.get()).iter().all(|&value| value == 4.0));
}

/// Page-locked and managed operands are read where they are: nothing crosses the bus.
pub fn host_visible() {
    let handle = create();
    for kind in ["cudaHostAlloc", "cudaMallocManaged"] {
        let floats_at = |count: usize, value: f32| {
            let mut address: *mut f32 = std::ptr::null_mut();
            let pointer = &raw mut address;
            assert_eq!(call!(kind, pointer => *mut *mut f32, count * 4 => usize, 1 => u32), SUCCESS);
            // SAFETY: the simulator gave `count` floats of host memory.
            let slice = unsafe { std::slice::from_raw_parts_mut(address, count) };
            slice.fill(value);
            slice
        };
        let (a, b, c) = (floats_at(16, 2.0), floats_at(16, 3.0), floats_at(16, f32::NAN));
        let (one, zero) = (1.0f32, 0.0f32);
        call!("simgpu_reset_counters");
        let status = call!("cublasSgemm_v2", handle => *mut c_void, 0 => c_int, 0 => c_int, 4 => c_int, 4 => c_int, 4 => c_int,
            &raw const one => *const f32, a.as_ptr() => *const f32, 4 => c_int, b.as_ptr() => *const f32, 4 => c_int,
            &raw const zero => *const f32, c.as_mut_ptr() => *mut f32, 4 => c_int);
        assert_eq!(status, SUCCESS, "{kind}");
        let null = std::ptr::null_mut::<c_void>();
        assert_eq!(call!("cudaStreamSynchronize", null => *mut c_void), SUCCESS);
        assert_eq!((counter("d2h_bytes"), counter("h2d_bytes")), (0, 0), "{kind}");
        assert!(c.iter().all(|&value| value == 24.0), "{kind}: {c:?}");
    }
}

/// Operands written by work that is still queued are read after it, on every kind of stream.
pub fn stream_order() {
    let handle = create();
    let mut made: *mut c_void = std::ptr::null_mut();
    let pointer = &raw mut made;
    assert_eq!(call!("cudaStreamCreateWithFlags", pointer => *mut *mut c_void, 1 => u32), SUCCESS);
    let named = |value: usize| std::ptr::without_provenance_mut::<c_void>(value);
    for (what, stream) in
        [("user", made), ("legacy", named(0)), ("legacy by name", named(1)), ("per thread", named(2))]
    {
        let (a, b) = (Device::holding(&bytes(&[0.0; 16])), Device::holding(&bytes(&[2.0; 16])));
        let (c, copy) = (Device::holding(&bytes(&[-1.0; 16])), Device::holding(&bytes(&[-1.0; 16])));
        let mut source: *mut f32 = std::ptr::null_mut();
        let pointer = &raw mut source;
        assert_eq!(call!("cudaMallocHost", pointer => *mut *mut f32, 64 => usize), SUCCESS);
        // SAFETY: sixteen floats of host memory.
        unsafe { std::slice::from_raw_parts_mut(source, 16) }.fill(5.0);
        assert_eq!(call!("cublasSetStream_v2", handle => *mut c_void, stream => *mut c_void), SUCCESS);
        call!("simgpu_set_delay_us", 20_000 => u64);
        // A is written by a copy that takes 20 ms to begin; C is copied on by work queued after the product.
        assert_eq!(
            call!("cudaMemcpyAsync", a.address => u64, source => *const f32, 64 => usize, 1 => c_int, stream => *mut c_void),
            SUCCESS
        );
        let (one, zero) = (1.0f32, 0.0f32);
        let status = call!("cublasSgemm_v2", handle => *mut c_void, 0 => c_int, 0 => c_int, 4 => c_int, 4 => c_int, 4 => c_int,
            &raw const one => *const f32, a.address => u64, 4 => c_int, b.address => u64, 4 => c_int,
            &raw const zero => *const f32, c.address => u64, 4 => c_int);
        assert_eq!(status, SUCCESS);
        assert_eq!(
            call!("cudaMemcpyAsync", copy.address => u64, c.address => u64, 64 => usize, 3 => c_int, stream => *mut c_void),
            SUCCESS
        );
        assert_eq!(call!("cudaStreamSynchronize", stream => *mut c_void), SUCCESS);
        call!("simgpu_set_delay_us", 0 => u64);
        assert!(floats(&copy.get()).iter().all(|&value| value == 40.0), "{what}: {:?}", floats(&copy.get()));
    }
}

/// A handle works on the device it was made for, whatever is current when it is used.
pub fn devices() {
    assert_eq!(call!("cudaSetDevice", 1 => c_int), SUCCESS);
    let second = create();
    let case = "f32->f32:f32 nt m7 n5 k3 lda9 ldb6 ldc8 alpha1 beta1 batch1 gap0 seed3".parse().unwrap();
    run(&sgemm(), second, &case);
    let on_second = Device::holding(&bytes(&[1.0; 16]));
    assert_eq!(call!("cudaSetDevice", 0 => c_int), SUCCESS);
    let first = create();
    run(&sgemm(), first, &case);
    let one = 1.0f32;
    let address = on_second.address;
    let status = call!("cublasSgemm_v2", second => *mut c_void, 0 => c_int, 0 => c_int, 4 => c_int, 4 => c_int, 4 => c_int,
        &raw const one => *const f32, address => u64, 4 => c_int, address => u64, 4 => c_int, &raw const one => *const f32,
        address => u64, 4 => c_int);
    assert_eq!(status, SUCCESS);
    assert!(floats(&on_second.get()).iter().all(|&value| value == 5.0));
    let mut current: c_int = -1;
    let pointer = &raw mut current;
    assert_eq!(call!("cudaGetDevice", pointer => *mut c_int), SUCCESS);
    assert_eq!(current, 0, "the thread's own device is put back");
    // A thread without a context of its own: the handle brings one.
    let (handle, address) = (second as usize, on_second.address);
    std::thread::spawn(move || {
        let one = 1.0f32;
        let handle = handle as *mut c_void;
        let status = call!("cublasSgemm_v2", handle => *mut c_void, 0 => c_int, 0 => c_int, 4 => c_int, 4 => c_int, 4 => c_int,
            &raw const one => *const f32, address => u64, 4 => c_int, address => u64, 4 => c_int,
            &raw const one => *const f32, address => u64, 4 => c_int);
        assert_eq!(status, SUCCESS);
    })
    .join()
    .unwrap();
    assert!(floats(&on_second.get()).iter().all(|&value| value == 105.0));
}
