//! The GEMM forms that the tests forward: plain, batched, strided, Ex, and the legacy one.

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use gpucompat_cases::element::Element;
use native_core::mode::{CUBLAS, Mode};
use native_core::product::{Activation, Matrix, Product, op, run, scalar};
use native_core::{device, record};

use crate::via_lt;

/// The arguments that all forms share.
pub struct Args {
    handle: *mut c_void,
    ops: [c_int; 2],
    sizes: [i64; 3],
    scalars: [u64; 2],
    addresses: [u64; 3],
    lds: [i64; 3],
    elements: [Element; 3],
    scale: Element,
}

enum Batch {
    Strided([i64; 3], i64),
    Pointers(i64),
}

fn serve(name: &str, args: &Args, batch: &Batch) -> c_int {
    let handle = match record::handle(name, args.handle) {
        Ok(handle) => handle,
        Err(status) => return status,
    };
    if *CUBLAS == Mode::ViaLt && name == "cublasSgemm_v2" {
        return via_lt::sgemm(
            args.handle,
            args.ops,
            args.sizes,
            args.scalars,
            args.addresses,
            args.lds,
            handle.stream,
        );
    }
    let (stream, on_device) = (handle.stream, handle.pointer_mode == 1);
    products(name, args, batch, stream, on_device).unwrap_or_else(|status| status)
}

fn products(name: &str, args: &Args, batch: &Batch, stream: u64, on_device: bool) -> Result<c_int, i32> {
    let play = CUBLAS.play(name);
    if let native_core::mode::Play::Fail(status) = play {
        return Ok(status);
    }
    let alpha = scalar(args.scalars[0], args.scale, on_device, stream)?;
    let beta = scalar(args.scalars[1], args.scale, on_device, stream)?;
    let count = match batch {
        Batch::Strided(_, count) | Batch::Pointers(count) => *count,
    };
    for index in 0..count {
        let address = |operand: usize| match batch {
            Batch::Strided(strides, _) => {
                let distance = strides[operand] * index * args.elements[operand].bytes() as i64;
                Ok::<u64, i32>(args.addresses[operand].wrapping_add_signed(distance))
            }
            Batch::Pointers(_) => {
                let bytes = device::read(args.addresses[operand] + 8 * index as u64, 8, stream)?;
                Ok(bytes.iter().rev().fold(0u64, |word, &byte| word << 8 | u64::from(byte)))
            }
        };
        let matrix = |operand: usize, op: char| {
            let (element, ld) = (args.elements[operand], args.lds[operand] as usize);
            Ok::<_, i32>(Matrix { address: address(operand)?, element, op, row_stride: 1, col_stride: ld })
        };
        let [m, n, k] = args.sizes.map(|size| size as usize);
        let (a, b, c) = (matrix(0, op(args.ops[0]))?, matrix(1, op(args.ops[1]))?, matrix(2, 'n')?);
        let product =
            Product { m, n, k, alpha, beta, a, b, c, d: c, bias: None, activation: Activation::None, stream };
        let status = run(play, product);
        if status != 0 {
            return Ok(status);
        }
    }
    Ok(0)
}

macro_rules! plain {
    ($name:ident, $element:ident, $int:ty) => {
        /// `C ← α·op(A)·op(B) + β·C`.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(
            handle: *mut c_void,
            ta: c_int,
            tb: c_int,
            m: $int,
            n: $int,
            k: $int,
            alpha: u64,
            a: u64,
            lda: $int,
            b: u64,
            ldb: $int,
            beta: u64,
            c: u64,
            ldc: $int,
        ) -> c_int {
            let (sizes, lds) = ([m.into(), n.into(), k.into()], [lda.into(), ldb.into(), ldc.into()]);
            let (elements, scale) = ([Element::$element; 3], Element::$element);
            let args = Args {
                handle,
                ops: [ta, tb],
                sizes,
                scalars: [alpha, beta],
                addresses: [a, b, c],
                lds,
                elements,
                scale,
            };
            serve(stringify!($name), &args, &Batch::Strided([0; 3], 1))
        }
    };
}
plain!(cublasSgemm_v2, F32, c_int);
plain!(cublasSgemm_v2_64, F32, i64);
plain!(cublasDgemm_v2, F64, c_int);
plain!(cublasCgemm_v2, C32, c_int);
plain!(cublasZgemm_v2, C64, c_int);
plain!(cublasHgemm, F16, c_int);

/// Batched, at addresses listed on the device.
#[unsafe(no_mangle)]
pub extern "C" fn cublasSgemmBatched(
    handle: *mut c_void,
    ta: c_int,
    tb: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: u64,
    a: u64,
    lda: c_int,
    b: u64,
    ldb: c_int,
    beta: u64,
    c: u64,
    ldc: c_int,
    count: c_int,
) -> c_int {
    let (sizes, lds) = ([m.into(), n.into(), k.into()], [lda.into(), ldb.into(), ldc.into()]);
    let (elements, scale) = ([Element::F32; 3], Element::F32);
    let args = Args {
        handle,
        ops: [ta, tb],
        sizes,
        scalars: [alpha, beta],
        addresses: [a, b, c],
        lds,
        elements,
        scale,
    };
    serve("cublasSgemmBatched", &args, &Batch::Pointers(count.into()))
}

/// Batched, at fixed distances.
#[unsafe(no_mangle)]
pub extern "C" fn cublasSgemmStridedBatched(
    handle: *mut c_void,
    ta: c_int,
    tb: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: u64,
    a: u64,
    lda: c_int,
    stride_a: i64,
    b: u64,
    ldb: c_int,
    stride_b: i64,
    beta: u64,
    c: u64,
    ldc: c_int,
    stride_c: i64,
    count: c_int,
) -> c_int {
    let (sizes, lds) = ([m.into(), n.into(), k.into()], [lda.into(), ldb.into(), ldc.into()]);
    let (elements, scale) = ([Element::F32; 3], Element::F32);
    let args = Args {
        handle,
        ops: [ta, tb],
        sizes,
        scalars: [alpha, beta],
        addresses: [a, b, c],
        lds,
        elements,
        scale,
    };
    serve("cublasSgemmStridedBatched", &args, &Batch::Strided([stride_a, stride_b, stride_c], count.into()))
}

/// Types as arguments.
#[unsafe(no_mangle)]
pub extern "C" fn cublasGemmEx(
    handle: *mut c_void,
    ta: c_int,
    tb: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: u64,
    a: u64,
    a_type: c_int,
    lda: c_int,
    b: u64,
    b_type: c_int,
    ldb: c_int,
    beta: u64,
    c: u64,
    c_type: c_int,
    ldc: c_int,
    compute: c_int,
    _algo: c_int,
) -> c_int {
    const COMPUTE_16F: c_int = 64;
    const COMPUTE_32I: c_int = 72;
    const NOT_SUPPORTED: c_int = 15;
    let all = [a_type, b_type, c_type].map(Element::from_cuda);
    let [Some(x), Some(y), Some(z)] = all else { return NOT_SUPPORTED };
    let scale = match (compute, z) {
        (COMPUTE_16F, _) => Element::F16,
        (COMPUTE_32I, _) => Element::I32,
        (_, Element::F64 | Element::C32 | Element::C64) => z,
        _ => Element::F32,
    };
    let (sizes, lds) = ([m.into(), n.into(), k.into()], [lda.into(), ldb.into(), ldc.into()]);
    let elements = [x, y, z];
    let args = Args {
        handle,
        ops: [ta, tb],
        sizes,
        scalars: [alpha, beta],
        addresses: [a, b, c],
        lds,
        elements,
        scale,
    };
    serve("cublasGemmEx", &args, &Batch::Strided([0; 3], 1))
}

static LEGACY_ERROR: AtomicI32 = AtomicI32::new(0);
static LEGACY_STREAM: AtomicU64 = AtomicU64::new(0);

/// The legacy interface's product: characters, scalars by value, no status.
#[unsafe(no_mangle)]
pub extern "C" fn cublasSgemm(
    ta: c_char,
    tb: c_char,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: f32,
    a: u64,
    lda: c_int,
    b: u64,
    ldb: c_int,
    beta: f32,
    c: u64,
    ldc: c_int,
) {
    record::count("cublasSgemm");
    let op = |character: c_char| c_int::from(matches!(character as u8, b't' | b'T'));
    let (sizes, lds) = ([m.into(), n.into(), k.into()], [lda.into(), ldb.into(), ldc.into()]);
    let scalars = [(&raw const alpha) as u64, (&raw const beta) as u64];
    let (elements, scale, handle) = ([Element::F32; 3], Element::F32, std::ptr::null_mut());
    let args =
        Args { handle, ops: [op(ta), op(tb)], sizes, scalars, addresses: [a, b, c], lds, elements, scale };
    let stream = LEGACY_STREAM.load(Ordering::Relaxed);
    let status = products("cublasSgemm", &args, &Batch::Strided([0; 3], 1), stream, false);
    LEGACY_ERROR.store(status.unwrap_or_else(|status| status), Ordering::Relaxed);
}

/// Starts the legacy interface.
#[unsafe(no_mangle)]
pub extern "C" fn cublasInit() -> c_int {
    record::count("cublasInit");
    CUBLAS.handle_status()
}

/// Ends the legacy interface.
#[unsafe(no_mangle)]
pub extern "C" fn cublasShutdown() -> c_int {
    0
}

/// The legacy interface's last error, which it clears.
#[unsafe(no_mangle)]
pub extern "C" fn cublasGetError() -> c_int {
    LEGACY_ERROR.swap(0, Ordering::Relaxed)
}

/// The legacy interface's stream.
#[unsafe(no_mangle)]
pub extern "C" fn cublasSetKernelStream(stream: u64) -> c_int {
    LEGACY_STREAM.store(stream, Ordering::Relaxed);
    0
}
