//! The probe: a tiny product, or convolution, by the real library, with its result compared.
//!
//! A status of success is not believed: kernels built for another architecture have been seen to "run"
//! and leave the output as it was. The operands are small integers, so the right result is exact in every
//! arithmetic mode. It runs on a stream of its own and leaves nothing behind.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fmt;

use super::probe_convolution;
use crate::native::capture::Relaxed;
use crate::native::context::Context;
use crate::native::driver::{DriverError, check, driver};
use crate::native::find::{Library, Slot};
use crate::native::inside::calling_native;

/// Why the probe says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeFailure {
    /// The process has no such library.
    LibraryMissing,
    /// Making a handle failed with this status.
    Handle(c_int),
    /// The product failed with this status.
    Product(c_int),
    /// The convolution failed with this status.
    Convolution(c_int),
    /// The computation "succeeded" with a wrong result.
    WrongResult,
    /// The driver failed before the library was asked.
    Driver(u32),
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeFailure::LibraryMissing => write!(f, "library_missing"),
            ProbeFailure::Handle(status) => write!(f, "no_handle status={status}"),
            ProbeFailure::Product(status) => write!(f, "product status={status}"),
            ProbeFailure::Convolution(status) => write!(f, "convolution status={status}"),
            ProbeFailure::WrongResult => write!(f, "wrong_result"),
            ProbeFailure::Driver(error) => write!(f, "driver_error={error}"),
        }
    }
}

impl From<DriverError> for ProbeFailure {
    fn from(error: DriverError) -> ProbeFailure {
        ProbeFailure::Driver(error.0)
    }
}

/// Rows and columns of the probe's square matrices: large enough for a tiled kernel's main loop.
const ORDER: usize = 32;
/// Elements of each of the probe's three arrays.
pub(super) const ELEMENTS: usize = ORDER * ORDER;
const BYTES: usize = ELEMENTS * size_of::<f32>();

type Create = unsafe extern "C" fn(*mut *mut c_void) -> c_int;
type Destroy = unsafe extern "C" fn(*mut c_void) -> c_int;
type SetStream = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
type Sgemm = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const f32,
    u64,
    c_int,
    u64,
    c_int,
    *const f32,
    u64,
    c_int,
) -> c_int;

/// Whether `library` computes correctly on the current device. cuBLASLt is judged by cuBLAS's product:
/// both carry kernels for the same architectures, and what one lacks alone is learned at its first call.
pub fn run(library: Library) -> Result<(), ProbeFailure> {
    // A fresh thread has no context until its first call of the runtime, which may be the library's own.
    let _entered = Context::current()?.enter()?;
    // The program's first call may come while it captures a stream; the probe works on another.
    let _relaxed = Relaxed::begin()?;
    match library {
        Library::Cublas | Library::CublasLt => calling_native(|| Workbench::open()?.sgemm()),
        Library::Cudnn => calling_native(|| probe_convolution::run(&Workbench::open()?)),
        Library::Cudart => Ok(()),
    }
}

/// Device memory and a stream for one probe; freed when dropped.
pub(super) struct Workbench {
    memory: u64,
    /// The probe's stream.
    pub(super) stream: cudarc::driver::sys::CUstream,
}

impl Workbench {
    fn open() -> Result<Workbench, ProbeFailure> {
        const NON_BLOCKING: u32 = 1;
        let driver = driver()?;
        let mut bench = Workbench { memory: 0, stream: std::ptr::null_mut() };
        // SAFETY: both out-pointers are fields of a live value; the driver checks the rest.
        check(unsafe { (driver.mem_alloc)(&raw mut bench.memory, 3 * BYTES) })?;
        // SAFETY: as above.
        check(unsafe { (driver.stream_create)(&raw mut bench.stream, NON_BLOCKING) })?;
        Ok(bench)
    }

    /// `C ← A·B` by the real library, compared with the exact product.
    fn sgemm(&self) -> Result<(), ProbeFailure> {
        // Entries in −4..=4: every partial sum is an integer below 2^11, exact even in half precision.
        let a: Vec<f32> = (0..ELEMENTS).map(|i| (i * 7 % 9) as f32 - 4.0).collect();
        let b: Vec<f32> = (0..ELEMENTS).map(|i| (i * 5 % 7) as f32 - 3.0).collect();
        let poison = vec![f32::NAN; ELEMENTS];
        for (position, matrix) in [&a, &b, &poison].into_iter().enumerate() {
            self.upload(position, matrix)?;
        }
        self.product()?;
        let result = self.download(2)?;
        let right = (0..ELEMENTS).all(|index| {
            let (row, col) = (index % ORDER, index / ORDER);
            let exact: f32 = (0..ORDER).map(|k| a[row + k * ORDER] * b[k + col * ORDER]).sum();
            result.get(index) == Some(&exact)
        });
        if right { Ok(()) } else { Err(ProbeFailure::WrongResult) }
    }

    fn product(&self) -> Result<(), ProbeFailure> {
        static CREATE: Slot = Slot::new(Library::Cublas, c"cublasCreate_v2");
        static DESTROY: Slot = Slot::new(Library::Cublas, c"cublasDestroy_v2");
        static SET_STREAM: Slot = Slot::new(Library::Cublas, c"cublasSetStream_v2");
        static SGEMM: Slot = Slot::new(Library::Cublas, c"cublasSgemm_v2");
        let (Some(create), Some(destroy), Some(set_stream), Some(sgemm)) =
            (CREATE.real(), DESTROY.real(), SET_STREAM.real(), SGEMM.real())
        else {
            return Err(ProbeFailure::LibraryMissing);
        };
        // SAFETY: the four addresses are cuBLAS's functions of those names, whose prototypes the types
        // above restate (device addresses as u64, enums as int).
        let (create, destroy, set_stream, sgemm): (Create, Destroy, SetStream, Sgemm) = unsafe {
            (
                std::mem::transmute(create),
                std::mem::transmute(destroy),
                std::mem::transmute(set_stream),
                std::mem::transmute(sgemm),
            )
        };
        let mut handle = std::ptr::null_mut();
        // SAFETY: `handle` is writable.
        match unsafe { create(&raw mut handle) } {
            0 => {}
            status => return Err(ProbeFailure::Handle(status)),
        }
        let (one, zero, order) = (1.0f32, 0.0f32, ORDER as c_int);
        let at = |position: usize| self.at(position);
        // SAFETY: the handle was made above, the stream in `open`.
        let mut status = unsafe { set_stream(handle, self.stream.cast()) };
        if status == 0 {
            // SAFETY: three matrices of ORDER² floats lie in `memory`; the scalars outlive the call (host
            // pointer mode is a new handle's default).
            status = unsafe {
                sgemm(
                    handle,
                    0,
                    0,
                    order,
                    order,
                    order,
                    &raw const one,
                    at(0),
                    order,
                    at(1),
                    order,
                    &raw const zero,
                    at(2),
                    order,
                )
            };
        }
        let finished = self.synchronize();
        // SAFETY: made above, used nowhere else.
        let _ = unsafe { destroy(handle) };
        match (status, finished) {
            (0, Ok(())) => Ok(()),
            (0, Err(error)) => Err(error.into()),
            (status, _) => Err(ProbeFailure::Product(status)),
        }
    }

    /// The device address of one of the three arrays.
    pub(super) fn at(&self, position: usize) -> u64 {
        self.memory + (position * BYTES) as u64
    }

    /// Copies an array of at most [`ELEMENTS`] to the device.
    pub(super) fn upload(&self, position: usize, matrix: &[f32]) -> Result<(), DriverError> {
        let driver = driver()?;
        let destination = self.at(position);
        assert!(matrix.len() <= ELEMENTS, "an array of the probe has {ELEMENTS} elements");
        // SAFETY: `matrix` lives until the synchronisation below; the destination lies in our own allocation,
        // where each array has room for ELEMENTS.
        check(unsafe {
            (driver.copy_to_device)(destination, matrix.as_ptr().cast(), size_of_val(matrix), self.stream)
        })?;
        self.synchronize()
    }

    /// An array of [`ELEMENTS`] from the device.
    pub(super) fn download(&self, position: usize) -> Result<Vec<f32>, DriverError> {
        let driver = driver()?;
        let mut matrix = vec![0.0f32; ELEMENTS];
        let source = self.at(position);
        // SAFETY: as in `upload`, the other way round.
        check(unsafe {
            (driver.copy_out_of_device)(matrix.as_mut_ptr().cast(), source, BYTES, self.stream)
        })?;
        self.synchronize()?;
        Ok(matrix)
    }

    /// Waits for the probe's stream.
    pub(super) fn synchronize(&self) -> Result<(), DriverError> {
        // SAFETY: the stream was made in `open`.
        check(unsafe { (driver()?.stream_synchronize)(self.stream) })
    }
}

impl Drop for Workbench {
    fn drop(&mut self) {
        let Ok(driver) = driver() else { return };
        if !self.stream.is_null() {
            // SAFETY: made in `open`, used by nobody else.
            let _ = unsafe { (driver.stream_destroy)(self.stream) };
        }
        // SAFETY: as above.
        let _ = unsafe { (driver.mem_free)(self.memory) };
    }
}
