//! cuBLASLt: products by descriptor, with the stand-in's descriptors, as PyTorch uses the real library's.

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::{Element, Number};
use gpucompat_cases::judge::Tolerance;
use gpucompat_reference::gemm::{Activation, Problem, gemm};

use crate::call;
use crate::lab::{Device, INVALID_VALUE, NOT_SUPPORTED, SUCCESS, bytes, calls, floats, foreign_handles};

const COMPUTE_TYPES: [(Element, Element, Element, c_int); 9] = [
    (Element::F32, Element::F32, Element::F32, 68),
    (Element::F32, Element::F32, Element::F32, 77),
    (Element::F64, Element::F64, Element::F64, 70),
    (Element::F16, Element::F16, Element::F32, 68),
    (Element::F16, Element::F16, Element::F16, 64),
    (Element::F16, Element::F32, Element::F32, 68),
    (Element::Bf16, Element::Bf16, Element::F32, 68),
    (Element::C32, Element::C32, Element::C32, 68),
    (Element::I8, Element::I32, Element::I32, 72),
];

const TRANSA: c_int = 3;
const EPILOGUE: c_int = 7;
const BIAS_POINTER: c_int = 8;

/// A descriptor of the stand-in's.
struct Descriptor(*mut c_void, &'static str);

impl Descriptor {
    fn operation(compute: c_int, scale: Element) -> Descriptor {
        let mut made = std::ptr::null_mut();
        let out = &raw mut made;
        let function = crate::lab::native("libcublasLt.so.12", "cublasLtMatmulDescCreate");
        // SAFETY: cuBLASLt's function of this name has this prototype.
        let create: unsafe extern "C" fn(*mut *mut c_void, c_int, c_int) -> c_int =
            unsafe { std::mem::transmute(function) };
        // SAFETY: `out` is writable.
        assert_eq!(unsafe { create(out, compute, scale.cuda()) }, SUCCESS);
        Descriptor(made, "cublasLtMatmulDesc")
    }

    fn layout(element: Element, rows: usize, cols: usize, ld: usize) -> Descriptor {
        let mut made = std::ptr::null_mut();
        let out = &raw mut made;
        let function = crate::lab::native("libcublasLt.so.12", "cublasLtMatrixLayoutCreate");
        // SAFETY: as above.
        let create: unsafe extern "C" fn(*mut *mut c_void, c_int, u64, u64, i64) -> c_int =
            unsafe { std::mem::transmute(function) };
        // SAFETY: `out` is writable.
        assert_eq!(unsafe { create(out, element.cuda(), rows as u64, cols as u64, ld as i64) }, SUCCESS);
        Descriptor(made, "cublasLtMatrixLayout")
    }

    fn set<T>(&self, attribute: c_int, value: T) -> &Descriptor {
        let function = crate::lab::native("libcublasLt.so.12", &format!("{}SetAttribute", self.1));
        // SAFETY: as above.
        let set: unsafe extern "C" fn(*mut c_void, c_int, *const T, usize) -> c_int =
            unsafe { std::mem::transmute(function) };
        // SAFETY: the value is `size_of::<T>()` bytes.
        assert_eq!(unsafe { set(self.0, attribute, &raw const value, size_of::<T>()) }, SUCCESS);
        self
    }
}

fn create() -> *mut c_void {
    let mut handle = std::ptr::null_mut();
    let pointer = &raw mut handle;
    assert_eq!(call!("cublasLtCreate", pointer => *mut *mut c_void), SUCCESS);
    handle
}

/// Every type, order, transposition and epilogue against the reference, C apart from D.
pub fn matrix() {
    let handle = create();
    let mut cases = 0;
    for (index, &(ab, out, scale, compute)) in COMPUTE_TYPES.iter().enumerate() {
        for variant in 0..48usize {
            let plain = out.is_complex() || out.is_integer();
            let epilogue = if plain { 0 } else { variant % 6 };
            product(handle, [ab, out, scale], compute, epilogue, variant, (index * 100 + variant) as u64);
            cases += 1;
        }
    }
    println!("cases {cases}");
    assert_eq!(foreign_handles(), 0);
    assert_eq!(call!("cublasLtDestroy", handle => *mut c_void), SUCCESS);
}

const EPILOGUES: [(c_int, bool, Activation); 6] = [
    (1, false, Activation::None),
    (4, true, Activation::None),
    (2, false, Activation::Relu),
    (6, true, Activation::Relu),
    (32, false, Activation::Gelu),
    (36, true, Activation::Gelu),
];

/// Random operand bytes of `count` elements.
fn noise(element: Element, count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let unit = (state >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0;
        if element.is_integer() { (unit * 100.0).round() } else { unit }
    };
    let mut bytes = Vec::new();
    for _ in 0..count {
        let value = Number::new(next(), if element.is_complex() { next() } else { 0.0 });
        element.encode(value, &mut bytes);
    }
    bytes
}

fn product(
    handle: *mut c_void,
    [ab, out, scale]: [Element; 3],
    compute: c_int,
    epilogue: usize,
    variant: usize,
    seed: u64,
) {
    let (m, n, k, batch) = (1 + variant % 7, 1 + variant % 5 * 3, variant % 9, 1 + variant % 2);
    let (ta, tb) = (variant / 2 % 3, variant / 6 % 3);
    let row_order = variant % 4 == 3;
    let (alpha, beta) = ([1.0f64, 2.0, 0.0][variant % 3], [0.0f64, 1.0, -1.0, 0.5][variant % 4]);
    let beta = if scale.is_integer() { beta.round() } else { beta };
    let shape = |op: usize, rows: usize, cols: usize| if op == 0 { (rows, cols) } else { (cols, rows) };
    let shapes = [shape(ta, m, k), shape(tb, k, n), (m, n), (m, n)];
    let elements = [ab, ab, out, out];
    let pad = variant % 3;
    let ld = |(rows, cols): (usize, usize)| (if row_order { cols } else { rows }).max(1) + pad;
    let stride = |shape: (usize, usize)| ld(shape) * if row_order { shape.0 } else { shape.1 } + 3;
    let at = |shape: (usize, usize), row: usize, col: usize| {
        if row_order { row * ld(shape) + col } else { col * ld(shape) + row }
    };
    let data: Vec<Vec<u8>> = (0..4)
        .map(|index| noise(elements[index], stride(shapes[index]) * batch, seed * 4 + index as u64))
        .collect();
    let devices: Vec<Device> = data.iter().map(|bytes| Device::holding(bytes)).collect();
    let layouts: Vec<Descriptor> = (0..4)
        .map(|index| {
            let layout =
                Descriptor::layout(elements[index], shapes[index].0, shapes[index].1, ld(shapes[index]));
            layout.set(1, i32::from(row_order)).set(5, batch as i32).set(6, stride(shapes[index]) as i64);
            layout
        })
        .collect();
    let (number, with_bias, activation) = EPILOGUES[epilogue];
    let bias_bytes = noise(out, m, seed + 9);
    let bias = Device::holding(&bias_bytes);
    let desc = Descriptor::operation(compute, scale);
    desc.set(TRANSA, ta as i32)
        .set(TRANSA + 1, tb as i32)
        .set(EPILOGUE, number)
        .set(BIAS_POINTER, bias.address);
    let scalar = |value: f64| {
        let mut bytes = Vec::new();
        scale.encode(Number::new(value, 0.0), &mut bytes);
        bytes
    };
    let (alpha_bytes, beta_bytes) = (scalar(alpha), scalar(beta));
    let algo = heuristic_for(handle, &desc, &layouts);
    let what = format!("{ab:?}->{out:?} compute {compute} epilogue {number} variant {variant} seed {seed}");
    let status = call!("cublasLtMatmul", handle => *mut c_void, desc.0 => *mut c_void, alpha_bytes.as_ptr() => *const u8,
        devices[0].address => u64, layouts[0].0 => *mut c_void, devices[1].address => u64, layouts[1].0 => *mut c_void,
        beta_bytes.as_ptr() => *const u8, devices[2].address => u64, layouts[2].0 => *mut c_void, devices[3].address => u64,
        layouts[3].0 => *mut c_void, algo.as_ptr() => *const u64, std::ptr::null_mut() => *mut c_void, 0 => usize,
        std::ptr::null_mut() => *mut c_void);
    assert_eq!(status, SUCCESS, "{what}");
    let after = devices[3].get();
    let accumulator = if out == Element::F64 {
        out
    } else if out.is_integer() {
        Element::I32
    } else {
        Element::F32
    };
    let tolerance = Tolerance { output: out, accumulator, k: k + 4 };
    let mut touched: Vec<bool> = vec![false; stride(shapes[3]) * batch];
    for index in 0..batch {
        let get = |operand: usize, op: usize, row: usize, col: usize| {
            let (row, col) = if op == 0 { (row, col) } else { (col, row) };
            let place = index * stride(shapes[operand]) + at(shapes[operand], row, col);
            let value = elements[operand].decode(&data[operand], place);
            if op == 2 { value.conj() } else { value }
        };
        let problem =
            Problem { m, n, k, alpha: Number::new(alpha, 0.0), beta: Number::new(beta, 0.0), activation };
        let expected = gemm(
            problem,
            |i, l| get(0, ta, i, l),
            |l, j| get(1, tb, l, j),
            |i, j| get(2, 0, i, j),
            |i| if with_bias { out.decode(&bias_bytes, i).re } else { 0.0 },
        );
        for (position, want) in expected.iter().enumerate() {
            let place = index * stride(shapes[3]) + at(shapes[3], position % m, position / m);
            touched[place] = true;
            let got = out.decode(&after, place);
            assert!(
                tolerance.accepts(got, *want),
                "{what}: D[{}, {}] is {got}, expected {}",
                position % m,
                position / m,
                want.value
            );
        }
    }
    for (place, touched) in touched.iter().enumerate() {
        let range = place * out.bytes()..(place + 1) * out.bytes();
        assert!(*touched || after[range.clone()] == data[3][range], "{what}: padding {place} was written");
    }
}

/// The algorithm that the heuristic gives, 64 bytes of it.
fn heuristic_for(handle: *mut c_void, desc: &Descriptor, layouts: &[Descriptor]) -> [u64; 12] {
    let mut result = [u64::MAX; 12];
    let mut count: c_int = -1;
    let (place, counted) = (result.as_mut_ptr(), &raw mut count);
    let status = call!("cublasLtMatmulAlgoGetHeuristic", handle => *mut c_void, desc.0 => *mut c_void, layouts[0].0 => *mut c_void,
        layouts[1].0 => *mut c_void, layouts[2].0 => *mut c_void, layouts[3].0 => *mut c_void,
        std::ptr::null_mut() => *mut c_void, 1 => c_int, place => *mut u64, counted => *mut c_int);
    assert_eq!((status, count), (SUCCESS, 1));
    assert_eq!(result[8], 0, "no workspace is asked for");
    assert_eq!(result[9] & 0xffff_ffff, 0, "the result's own status is success");
    result
}

/// Misuse of cuBLASLt.
pub fn bad_input() {
    let handle = create();
    let c = Device::holding(&bytes(&[3.0; 16]));
    let one = 1.0f32;
    let layout = || Descriptor::layout(Element::F32, 4, 4, 4);
    let desc = Descriptor::operation(68, Element::F32);
    let matmul = |desc: *mut c_void, a: &Descriptor, d: &Descriptor, alpha: *const f32| {
        let b = layout();
        call!("cublasLtMatmul", handle => *mut c_void, desc => *mut c_void, alpha => *const f32, c.address => u64, a.0 => *mut c_void,
            c.address => u64, b.0 => *mut c_void, alpha => *const f32, c.address => u64, d.0 => *mut c_void, c.address => u64,
            d.0 => *mut c_void, std::ptr::null_mut() => *mut c_void, std::ptr::null_mut() => *mut c_void, 0 => usize,
            std::ptr::null_mut() => *mut c_void)
    };
    let alpha = &raw const one;
    assert_eq!(matmul(std::ptr::null_mut(), &layout(), &layout(), alpha), INVALID_VALUE, "no operation");
    assert_eq!(
        matmul(desc.0, &Descriptor::layout(Element::F32, 4, 5, 4), &layout(), alpha),
        INVALID_VALUE,
        "k differs"
    );
    assert_eq!(
        matmul(desc.0, &layout(), &Descriptor::layout(Element::F32, 5, 4, 5), alpha),
        INVALID_VALUE,
        "m differs"
    );
    assert_eq!(
        matmul(desc.0, &Descriptor::layout(Element::F32, 4, 4, 3), &layout(), alpha),
        INVALID_VALUE,
        "short ld"
    );
    assert_eq!(matmul(desc.0, &layout(), &layout(), std::ptr::null()), INVALID_VALUE, "no alpha");
    assert_eq!(
        matmul(desc.0, &Descriptor::layout(Element::F16, 4, 4, 4), &layout(), alpha),
        NOT_SUPPORTED,
        "A unlike B"
    );
    let tiled = layout();
    tiled.set(1, 2i32);
    assert_eq!(matmul(desc.0, &tiled, &layout(), alpha), NOT_SUPPORTED, "an order of tensor cores");
    desc.set(EPILOGUE, 152);
    assert_eq!(
        matmul(desc.0, &layout(), &layout(), alpha),
        NOT_SUPPORTED,
        "an epilogue with a second output"
    );
    desc.set(EPILOGUE, 4).set(BIAS_POINTER, 0u64);
    assert_eq!(matmul(desc.0, &layout(), &layout(), alpha), INVALID_VALUE, "a bias without address");
    assert!(floats(&c.get()).iter().all(|&value| value == 3.0), "D was touched");
}

/// The heuristic gives one algorithm, which the native library never gets to see.
pub fn heuristic() {
    let handle = create();
    let layouts: Vec<Descriptor> = (0..4).map(|_| Descriptor::layout(Element::F32, 4, 4, 4)).collect();
    let desc = Descriptor::operation(68, Element::F32);
    let algo = heuristic_for(handle, &desc, &layouts);
    let mut count: c_int = -1;
    let mut result = [0u64; 12];
    let (place, counted) = (result.as_mut_ptr(), &raw mut count);
    for (requested, results) in [(0, place), (1, std::ptr::null_mut())] {
        let status = call!("cublasLtMatmulAlgoGetHeuristic", handle => *mut c_void, desc.0 => *mut c_void, layouts[0].0 => *mut c_void,
            layouts[1].0 => *mut c_void, layouts[2].0 => *mut c_void, layouts[3].0 => *mut c_void,
            std::ptr::null_mut() => *mut c_void, requested => c_int, results => *mut u64, counted => *mut c_int);
        assert_eq!(status, INVALID_VALUE);
    }
    let mut value = 0u64;
    let out = &raw mut value;
    let status = call!("cublasLtMatmulAlgoCapGetAttribute", algo.as_ptr() => *const u64, 0 => c_int, out => *mut u64, 8 => usize,
        std::ptr::null_mut() => *mut usize);
    assert_eq!(status, NOT_SUPPORTED);
    assert_eq!(calls("libcublasLt.so.12", "foreign_algorithm"), 0);
}
