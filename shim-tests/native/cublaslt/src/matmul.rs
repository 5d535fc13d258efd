//! `cublasLtMatmul` and its heuristic.

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::Element;
use native_core::mode::{CUBLASLT, Play};
use native_core::product::{Activation, Matrix, Product, op, run, scalar};
use native_core::{device, record};

use crate::descriptors::{Descriptor, INVALID_VALUE, descriptor};

const NOT_SUPPORTED: c_int = 15;
/// The first word of the stand-in's algorithm.
const ALGORITHM: u64 = 0x5354_414e_4449_4e21;

struct Layout {
    element: Element,
    row_order: bool,
    rows: usize,
    cols: usize,
    ld: usize,
    batch: i64,
    stride: i64,
}

fn layout(pointer: *const c_void) -> Option<Layout> {
    let it: &Descriptor = descriptor(pointer)?;
    Some(Layout {
        element: Element::from_cuda(it.get(0, 0) as i32)?,
        row_order: it.get(1, 0) == 1,
        rows: it.get(2, 0) as usize,
        cols: it.get(3, 0) as usize,
        ld: it.get(4, 0) as usize,
        batch: it.get(5, 1),
        stride: it.get(6, 0),
    })
}

impl Layout {
    fn matrix(&self, address: u64, index: i64, op: char) -> Matrix {
        let address = address.wrapping_add_signed(self.stride * index * self.element.bytes() as i64);
        let (row_stride, col_stride) = if self.row_order { (self.ld, 1) } else { (1, self.ld) };
        Matrix { address, element: self.element, op, row_stride, col_stride }
    }
}

/// One algorithm for everything.
///
/// # Safety
/// `results` has room for one result, `returned` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulAlgoGetHeuristic(
    handle: *mut c_void,
    _desc: *const c_void,
    _a: *const c_void,
    _b: *const c_void,
    _c: *const c_void,
    _d: *const c_void,
    _preference: *const c_void,
    requested: c_int,
    results: *mut u64,
    returned: *mut c_int,
) -> c_int {
    if let Err(status) = record::handle("cublasLtMatmulAlgoGetHeuristic", handle) {
        return status;
    }
    if let Play::Fail(status) = CUBLASLT.play("cublasLtMatmulAlgoGetHeuristic") {
        // SAFETY: the caller owes a writable place.
        unsafe { returned.write(0) };
        return status;
    }
    if requested < 1 {
        return INVALID_VALUE;
    }
    // algo[8], workspace, state + waves (two halves), reserved: 12 words.
    let words: [u64; 12] = [ALGORITHM, 0, 0, 0, 0, 0, 0, 0, 0, 0x3f80_0000_0000_0000, 0, 0];
    for (index, word) in words.iter().enumerate() {
        // SAFETY: the caller owes room for one result of 96 bytes.
        unsafe { results.add(index).write_unaligned(*word) };
    }
    // SAFETY: the caller owes a writable place.
    unsafe { returned.write(1) };
    0
}

/// `D ← act(α·op(A)·op(B) + β·C + bias)`.
///
/// # Safety
/// Scalars are readable; `algo` is null or readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmul(
    handle: *mut c_void,
    desc: *const c_void,
    alpha: u64,
    a: u64,
    la: *const c_void,
    b: u64,
    lb: *const c_void,
    beta: u64,
    c: u64,
    lc: *const c_void,
    d: u64,
    ld: *const c_void,
    algo: *const u64,
    _workspace: *mut c_void,
    _bytes: usize,
    stream: u64,
) -> c_int {
    if let Err(status) = record::handle("cublasLtMatmul", handle) {
        return status;
    }
    // SAFETY: the caller owes 64 readable bytes if it is not null.
    if !algo.is_null() && unsafe { algo.read_unaligned() } != ALGORITHM {
        record::count("foreign_algorithm");
        return INVALID_VALUE;
    }
    let layouts = (layout(la), layout(lb), layout(lc), layout(ld));
    let (Some(desc), (Some(la), Some(lb), Some(lc), Some(ld))) = (descriptor(desc), layouts) else {
        return INVALID_VALUE;
    };
    matmul(desc, [alpha, beta], [a, b, c, d], &[la, lb, lc, ld], stream).unwrap_or_else(|status| status)
}

fn matmul(
    desc: &Descriptor,
    scalars: [u64; 2],
    addresses: [u64; 4],
    layouts: &[Layout; 4],
    stream: u64,
) -> Result<c_int, i32> {
    let [la, lb, lc, ld] = layouts;
    let play = CUBLASLT.play("cublasLtMatmul");
    if let Play::Fail(status) = play {
        return Ok(status);
    }
    let scale = Element::from_cuda(desc.get(1, 0) as i32).ok_or(NOT_SUPPORTED)?;
    let on_device = desc.get(2, 0) == 1;
    let (alpha, beta) =
        (scalar(scalars[0], scale, on_device, stream)?, scalar(scalars[1], scale, on_device, stream)?);
    let (op_a, op_b) = (op(desc.get(3, 0) as i32), op(desc.get(4, 0) as i32));
    let k = if op_a == 'n' { la.cols } else { la.rows };
    let (with_bias, activation) = match desc.get(7, 1) {
        1 => (false, Activation::None),
        2 => (false, Activation::Relu),
        4 => (true, Activation::None),
        6 => (true, Activation::Relu),
        32 => (false, Activation::Gelu),
        36 => (true, Activation::Gelu),
        _ => return Ok(NOT_SUPPORTED),
    };
    let bias: Option<Vec<f64>> = if with_bias {
        let bytes = device::read(desc.get(8, 0) as u64, ld.rows * ld.element.bytes(), stream)?;
        Some((0..ld.rows).map(|row| ld.element.decode(&bytes, row).re).collect())
    } else {
        None
    };
    for index in 0..ld.batch {
        let product = Product {
            m: ld.rows,
            n: ld.cols,
            k,
            alpha,
            beta,
            a: la.matrix(addresses[0], index, op_a),
            b: lb.matrix(addresses[1], index, op_b),
            c: lc.matrix(addresses[2], index, 'n'),
            d: ld.matrix(addresses[3], index, 'n'),
            bias: bias.as_deref(),
            activation,
            stream,
        };
        let status = run(play, product);
        if status != 0 {
            return Ok(status);
        }
    }
    Ok(0)
}
