//! Calls that are computed after they have returned: behind a busy stream, and at each launch of a graph.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::call;
use crate::lab::{Device, NOT_SUPPORTED, SUCCESS, bytes, counter, create, floats};

fn stream() -> *mut c_void {
    let mut made = std::ptr::null_mut();
    let pointer = &raw mut made;
    assert_eq!(call!("cudaStreamCreateWithFlags", pointer => *mut *mut c_void, 1 => u32), SUCCESS);
    made
}

fn on(stream: *mut c_void) -> *mut c_void {
    let handle = create();
    assert_eq!(call!("cublasSetStream_v2", handle => *mut c_void, stream => *mut c_void), SUCCESS);
    handle
}

fn synchronize(stream: *mut c_void) {
    assert_eq!(call!("cudaStreamSynchronize", stream => *mut c_void), SUCCESS);
}

/// Numbers that are exact in single precision, and so are sums of a few products of them.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7 + seed * 13) % 17) as f32 - 8.0).collect()
}

/// `op(A)·B` of square matrices by columns.
fn product(n: usize, a: &[f32], b: &[f32], transposed: bool) -> Vec<f32> {
    let at = |row: usize, inner: usize| if transposed { a[inner + row * n] } else { a[row + inner * n] };
    let element = |row: usize, col: usize| (0..n).map(|inner| at(row, inner) * b[inner + col * n]).sum();
    (0..n * n).map(|index| element(index % n, index / n)).collect()
}

/// `C ← A·B + β·C`, square.
fn sgemm(handle: *mut c_void, n: usize, [a, b, c]: [u64; 3], beta: f32) -> c_int {
    let (n, one) = (n as c_int, 1.0f32);
    call!("cublasSgemm_v2", handle => *mut c_void, 0 => c_int, 0 => c_int, n => c_int, n => c_int, n => c_int,
        &raw const one => *const f32, a => u64, n => c_int, b => u64, n => c_int,
        &raw const beta => *const f32, c => u64, n => c_int)
}

/// What the device holds now, nothing waited for.
fn peek(device: &Device, count: usize) -> Vec<f32> {
    let mut values = vec![0.0f32; count];
    let target = values.as_mut_ptr();
    let status = call!("simgpu_peek", device.address => u64, target => *mut f32, count * 4 => usize);
    assert_eq!(status, SUCCESS);
    values
}

static OPEN: AtomicBool = AtomicBool::new(false);

extern "C" fn gate(_: *mut c_void) {
    while !OPEN.load(Ordering::SeqCst) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn block(stream: *mut c_void) {
    OPEN.store(false, Ordering::SeqCst);
    let (function, nothing) = (gate as extern "C" fn(*mut c_void), std::ptr::null_mut::<c_void>());
    let status = call!("cudaLaunchHostFunc", stream => *mut c_void,
        function => extern "C" fn(*mut c_void), nothing => *mut c_void);
    assert_eq!(status, SUCCESS);
}

/// Calls return while their stream is held up, keep its order, read what was queued before them, and hold nobody else up.
pub fn busy_stream() {
    const N: usize = 24;
    let (held, free) = (stream(), stream());
    let (first, second) = (on(held), on(free));
    let (a, b) = (numbers(N * N, 1), numbers(N * N, 2));
    let new_a = numbers(N * N, 5);
    let (on_a, on_b) = (Device::holding(&bytes(&a)), Device::holding(&bytes(&b)));
    let (c, other) =
        (Device::holding(&bytes(&vec![f32::NAN; N * N])), Device::holding(&bytes(&vec![f32::NAN; N * N])));
    let d = Device::holding(&bytes(&vec![f32::NAN; N * N]));
    let mut pinned: *mut f32 = std::ptr::null_mut();
    let pointer = &raw mut pinned;
    assert_eq!(call!("cudaMallocHost", pointer => *mut *mut f32, N * N * 4 => usize), SUCCESS);
    // SAFETY: as many floats of host memory.
    unsafe { std::slice::from_raw_parts_mut(pinned, N * N) }.copy_from_slice(&new_a);
    let before = Device::holding(&bytes(&a));
    // The first call may probe the library, which waits for the device.
    assert_eq!(sgemm(first, N, [on_a.address, on_b.address, other.address], 0.0), SUCCESS);
    synchronize(held);
    block(held);
    // A is overwritten by a copy that waits for the gate; the products behind it see the new one.
    let status = call!("cudaMemcpyAsync", on_a.address => u64, pinned => *const f32, N * N * 4 => usize, 1 => c_int,
        held => *mut c_void);
    assert_eq!(status, SUCCESS);
    assert_eq!(sgemm(first, N, [on_a.address, on_b.address, c.address], 0.0), SUCCESS);
    assert_eq!(
        sgemm(first, N, [c.address, on_b.address, d.address], 0.0),
        SUCCESS,
        "on the first one's result"
    );
    assert!(peek(&c, N * N).iter().all(|value| value.is_nan()), "the gate is shut");
    // Another stream goes on meanwhile.
    assert_eq!(sgemm(second, N, [before.address, on_b.address, other.address], 0.0), SUCCESS);
    synchronize(free);
    assert_eq!(peek(&other, N * N), product(N, &a, &b, false));
    assert!(peek(&d, N * N).iter().all(|value| value.is_nan()), "the gate is still shut");
    OPEN.store(true, Ordering::SeqCst);
    synchronize(held);
    let expected = product(N, &new_a, &b, false);
    assert_eq!(peek(&c, N * N), expected);
    assert_eq!(peek(&d, N * N), product(N, &expected, &b, false));
}

/// One operand is read where it is, in page-locked memory, and the others are copied: on a busy stream and in a graph.
pub fn mixed_operands() {
    const N: usize = 8;
    let stream = stream();
    let handle = on(stream);
    let (a, b) = (numbers(N * N, 1), numbers(N * N, 2));
    let mut pinned: *mut f32 = std::ptr::null_mut();
    let pointer = &raw mut pinned;
    assert_eq!(call!("cudaMallocHost", pointer => *mut *mut f32, N * N * 4 => usize), SUCCESS);
    // SAFETY: as many floats of host memory.
    let in_place = unsafe { std::slice::from_raw_parts_mut(pinned, N * N) };
    in_place.copy_from_slice(&a);
    let (on_b, c) = (Device::holding(&bytes(&b)), Device::holding(&bytes(&vec![f32::NAN; N * N])));
    let operands = [pinned as u64, on_b.address, c.address];
    assert_eq!(sgemm(handle, N, operands, 0.0), SUCCESS);
    synchronize(stream);
    block(stream);
    c.set(&bytes(&vec![f32::NAN; N * N]));
    assert_eq!(sgemm(handle, N, operands, 0.0), SUCCESS, "it does not wait for the gate");
    assert!(peek(&c, N * N).iter().all(|value| value.is_nan()));
    OPEN.store(true, Ordering::SeqCst);
    synchronize(stream);
    assert_eq!(peek(&c, N * N), product(N, &a, &b, false));
    let graph = captured(stream, 0, || assert_eq!(sgemm(handle, N, operands, 0.0), SUCCESS));
    let new_a = numbers(N * N, 9);
    in_place.copy_from_slice(&new_a);
    graph.launch(stream);
    synchronize(stream);
    assert_eq!(peek(&c, N * N), product(N, &new_a, &b, false));
}

struct Graph {
    graph: *mut c_void,
    executable: *mut c_void,
}

/// Records what `calls` does.
fn captured(stream: *mut c_void, mode: c_int, calls: impl FnOnce()) -> Graph {
    let (mut graph, mut executable) = (std::ptr::null_mut(), std::ptr::null_mut());
    assert_eq!(call!("cudaStreamBeginCapture", stream => *mut c_void, mode => c_int), SUCCESS);
    calls();
    let pointer = &raw mut graph;
    let ended = call!("cudaStreamEndCapture", stream => *mut c_void, pointer => *mut *mut c_void);
    assert_eq!(ended, SUCCESS, "the capture is whole");
    let pointer = &raw mut executable;
    let made = call!("cudaGraphInstantiate", pointer => *mut *mut c_void, graph => *mut c_void, 0 => u64);
    assert_eq!(made, SUCCESS);
    Graph { graph, executable }
}

impl Graph {
    fn launch(&self, stream: *mut c_void) {
        let launched = call!("cudaGraphLaunch", self.executable => *mut c_void, stream => *mut c_void);
        assert_eq!(launched, SUCCESS);
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        assert_eq!(call!("cudaGraphDestroy", self.graph => *mut c_void), SUCCESS);
        assert_eq!(call!("cudaGraphExecDestroy", self.executable => *mut c_void), SUCCESS);
    }
}

/// A chain of products, a product with a vector, an update and an inner product, recorded in every mode of capture and
/// launched with data that changes: nothing is computed before the launch, and everything at each.
pub fn graphs() {
    const N: usize = 20;
    let stream = stream();
    let handle = on(stream);
    let b = numbers(N * N, 2);
    let x = numbers(N, 3);
    for mode in 0..3 {
        let on_a = Device::holding(&bytes(&numbers(N * N, 1)));
        let (on_b, on_x) = (Device::holding(&bytes(&b)), Device::holding(&bytes(&x)));
        let c = Device::holding(&bytes(&vec![1.0; N * N]));
        let (y, z, dot) = (
            Device::holding(&bytes(&[2.0; N])),
            Device::holding(&bytes(&[3.0; N])),
            Device::holding(&bytes(&[9.0])),
        );
        let graph = captured(stream, mode, || {
            let (n, one, half, zero) = (N as c_int, 1.0f32, 0.5f32, 0.0f32);
            assert_eq!(sgemm(handle, N, [on_a.address, on_b.address, c.address], 1.0), SUCCESS);
            // y ← Cᵀ·x, then z ← y/2 + z, then dot ← y·z.
            let status = call!("cublasSgemv_v2", handle => *mut c_void, 1 => c_int, n => c_int, n => c_int,
                &raw const one => *const f32, c.address => u64, n => c_int, on_x.address => u64, 1 => c_int,
                &raw const zero => *const f32, y.address => u64, 1 => c_int);
            assert_eq!(status, SUCCESS);
            let status = call!("cublasSaxpy_v2", handle => *mut c_void, n => c_int, &raw const half => *const f32,
                y.address => u64, 1 => c_int, z.address => u64, 1 => c_int);
            assert_eq!(status, SUCCESS);
            assert_eq!(call!("cublasSetPointerMode_v2", handle => *mut c_void, 1 => c_int), SUCCESS);
            let status = call!("cublasSdot_v2", handle => *mut c_void, n => c_int, y.address => u64, 1 => c_int,
                z.address => u64, 1 => c_int, dot.address => u64);
            assert_eq!(status, SUCCESS);
            assert_eq!(call!("cublasSetPointerMode_v2", handle => *mut c_void, 0 => c_int), SUCCESS);
        });
        assert!(
            floats(&c.get()).iter().all(|&value| value == 1.0),
            "nothing is computed while it is recorded"
        );
        assert_eq!(floats(&dot.get()), [9.0]);
        let (mut c_now, mut z_now) = (vec![1.0f32; N * N], vec![3.0f32; N]);
        for launch in 0..3 {
            let a = numbers(N * N, 20 + launch);
            on_a.set(&bytes(&a));
            graph.launch(stream);
            synchronize(stream);
            for (c, ab) in c_now.iter_mut().zip(product(N, &a, &b, false)) {
                *c += ab;
            }
            let column = |col: usize| (0..N).map(|row| c_now[row + col * N] * x[row]).sum();
            let y_now: Vec<f32> = (0..N).map(column).collect();
            for (z, y) in z_now.iter_mut().zip(&y_now) {
                *z += 0.5 * y;
            }
            let sum: f64 = y_now.iter().zip(&z_now).map(|(&y, &z)| f64::from(y) * f64::from(z)).sum();
            assert_eq!(floats(&c.get()), c_now, "mode {mode} launch {launch}");
            assert_eq!(floats(&y.get()), y_now);
            assert_eq!(floats(&z.get()), z_now);
            let got = f64::from(floats(&dot.get())[0]);
            assert!((got - sum).abs() <= 1e-5 * sum.abs().max(1.0), "{got} {sum}");
        }
    }
}

/// What can be read only now is refused while a graph is recorded, and spoils neither the capture nor anything else.
pub fn refused_in_graphs() {
    const N: usize = 4;
    let stream = stream();
    let handle = on(stream);
    let c = Device::holding(&bytes(&[3.0; N * N]));
    let (one, list) = (Device::holding(&bytes(&[1.0])), Device::holding(&[0; 24]));
    let (n, beta) = (N as c_int, 0.0f32);
    let graph = captured(stream, 0, || {
        assert_eq!(call!("cublasSetPointerMode_v2", handle => *mut c_void, 1 => c_int), SUCCESS);
        let status = call!("cublasSgemm_v2", handle => *mut c_void, 0 => c_int, 0 => c_int, n => c_int, n => c_int,
            n => c_int, one.address => u64, c.address => u64, n => c_int, c.address => u64, n => c_int,
            one.address => u64, c.address => u64, n => c_int);
        assert_eq!(status, NOT_SUPPORTED, "factors in device memory");
        assert_eq!(call!("cublasSetPointerMode_v2", handle => *mut c_void, 0 => c_int), SUCCESS);
        let status = call!("cublasSgemmBatched", handle => *mut c_void, 0 => c_int, 0 => c_int, n => c_int, n => c_int,
            n => c_int, &raw const beta => *const f32, list.address => u64, n => c_int, list.address => u64, n => c_int,
            &raw const beta => *const f32, list.address => u64, n => c_int, 1 => c_int);
        assert_eq!(status, NOT_SUPPORTED, "a list of addresses in device memory");
        let mut answer = 7.0f32;
        let pointer = &raw mut answer;
        let status = call!("cublasSnrm2_v2", handle => *mut c_void, n => c_int, c.address => u64, 1 => c_int,
            pointer => *mut f32);
        assert_eq!(status, NOT_SUPPORTED, "an answer to the host");
        assert_eq!(answer, 7.0);
        // A good one beside them.
        assert_eq!(sgemm(handle, N, [c.address, c.address, c.address], 0.0), SUCCESS);
    });
    assert!(floats(&c.get()).iter().all(|&value| value == 3.0));
    graph.launch(stream);
    synchronize(stream);
    assert!(floats(&c.get()).iter().all(|&value| value == 36.0));
}

/// Page-locked memory comes back when a graph goes, and calls in flight hold no more than they may.
pub fn memory() {
    const N: usize = 256;
    const BYTES: i64 = (N * N * 4) as i64;
    let stream = stream();
    let handle = on(stream);
    let a = Device::holding(&bytes(&numbers(N * N, 1)));
    let c = Device::holding(&bytes(&vec![0.0; N * N]));
    let before = counter("pinned_bytes");
    for round in 0..20 {
        let graph = captured(stream, 2, || {
            assert_eq!(sgemm(handle, N, [a.address, a.address, c.address], 0.0), SUCCESS);
        });
        graph.launch(stream);
        drop(graph);
        synchronize(stream);
        let held = counter("pinned_bytes") - before;
        assert!(held <= 8 * BYTES, "{held} bytes are held after {} graphs", round + 1);
    }
    // GPU_COMPAT_STAGING_MB=2: a call takes three quarters of it.
    for _ in 0..50 {
        assert_eq!(sgemm(handle, N, [a.address, a.address, c.address], 0.0), SUCCESS);
        let held = counter("pinned_bytes") - before;
        assert!(held <= 12 * BYTES, "{held} bytes are held by calls in flight");
    }
    synchronize(stream);
    assert_eq!(floats(&c.get()), product(N, &numbers(N * N, 1), &numbers(N * N, 1), false));
}
