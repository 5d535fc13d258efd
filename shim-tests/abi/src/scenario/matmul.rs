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
pub struct Descriptor(pub *mut c_void, &'static str);

impl Descriptor {
    /// An operation.
    pub fn operation(compute: c_int, scale: Element) -> Descriptor {
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

    /// A matrix.
    pub fn layout(element: Element, rows: usize, cols: usize, ld: usize) -> Descriptor {
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

    /// A transform.
    pub fn transform(scale: Element) -> Descriptor {
        let mut made = std::ptr::null_mut();
        let out = &raw mut made;
        let function = crate::lab::native("libcublasLt.so.12", "cublasLtMatrixTransformDescCreate");
        // SAFETY: as above.
        let create: unsafe extern "C" fn(*mut *mut c_void, c_int) -> c_int =
            unsafe { std::mem::transmute(function) };
        // SAFETY: `out` is writable.
        assert_eq!(unsafe { create(out, scale.cuda()) }, SUCCESS);
        Descriptor(made, "cublasLtMatrixTransformDesc")
    }

    /// Sets an attribute.
    pub fn set<T>(&self, attribute: c_int, value: T) -> &Descriptor {
        let function = crate::lab::native("libcublasLt.so.12", &format!("{}SetAttribute", self.1));
        // SAFETY: as above.
        let set: unsafe extern "C" fn(*mut c_void, c_int, *const T, usize) -> c_int =
            unsafe { std::mem::transmute(function) };
        // SAFETY: the value is `size_of::<T>()` bytes.
        assert_eq!(unsafe { set(self.0, attribute, &raw const value, size_of::<T>()) }, SUCCESS);
        self
    }
}

/// A cuBLASLt handle.
pub fn create() -> *mut c_void {
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
pub fn noise(element: Element, count: usize, seed: u64) -> Vec<u8> {
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
    assert_eq!(matmul(desc.0, &tiled, &layout(), alpha), INVALID_VALUE, "ld of a tiled order");
    tiled.set(1, 9i32);
    assert_eq!(matmul(desc.0, &tiled, &layout(), alpha), NOT_SUPPORTED, "an unknown order");
    let judged = |status: c_int, what: &str| {
        assert_eq!(matmul(desc.0, &layout(), &layout(), alpha), status, "{what}");
    };
    desc.set(EPILOGUE, 130).set(12, 128i64);
    judged(INVALID_VALUE, "a mask without address");
    desc.set(11, c.address).set(12, 64i64);
    judged(INVALID_VALUE, "the ld of a mask");
    desc.set(12, 0i64);
    judged(INVALID_VALUE, "an ld that was never set");
    desc.set(EPILOGUE, 160).set(12, 12i64);
    judged(INVALID_VALUE, "the ld of an auxiliary matrix");
    desc.set(12, 8i64).set(22, Element::F16.cuda());
    judged(INVALID_VALUE, "the type of an auxiliary matrix");
    desc.set(22, -1i32).set(EPILOGUE, 3);
    judged(NOT_SUPPORTED, "an unknown epilogue");
    desc.set(EPILOGUE, 1).set(17, c.address);
    judged(INVALID_VALUE, "a scale of A in single precision");
    desc.set(17, 0u64).set(21, c.address);
    judged(INVALID_VALUE, "the largest magnitude of D in single precision");
    desc.set(21, 0u64).set(31, 1i32);
    judged(NOT_SUPPORTED, "scales of 4-bit types");
    desc.set(31, 2i32);
    judged(NOT_SUPPORTED, "scale modes that differ");
    desc.set(31, 0i32).set(6, 0i32);
    judged(NOT_SUPPORTED, "one triangle");
    desc.set(6, 2i32).set(2, 5i32);
    judged(NOT_SUPPORTED, "an unknown pointer mode");
    desc.set(2, 0i32);
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
    attributes(&algo);
    assert_eq!(calls("libcublasLt.so.12", "foreign_algorithm"), 0);
}

/// What our algorithm says of itself.
fn attributes(algo: &[u64; 12]) {
    let ask = |function: &str, attribute: c_int, room: usize| {
        let (mut value, mut written) = (u64::MAX, usize::MAX);
        let (place, counted) = (&raw mut value, &raw mut written);
        let status = call!(function, algo.as_ptr() => *const u64, attribute => c_int, place => *mut u64, room => usize,
            counted => *mut usize);
        (status, value, written)
    };
    let (cap, get) = ("cublasLtMatmulAlgoCapGetAttribute", "cublasLtMatmulAlgoConfigGetAttribute");
    let upper = u64::MAX << 32;
    assert_eq!(ask(cap, 0, 4), (SUCCESS, upper, 4), "no split of k");
    assert_eq!(ask(cap, 11, 4), (SUCCESS, upper | 31, 4), "every pointer mode");
    assert_eq!(ask(cap, 12, 4), (SUCCESS, upper | 0x3ff, 4), "every epilogue");
    assert_eq!(ask(cap, 15, 8), (SUCCESS, 1, 8), "ordinary arithmetic");
    assert_eq!(ask(cap, 6, 0), (SUCCESS, u64::MAX, 4), "the size of the list of tiles");
    assert_eq!(ask(cap, 0, 8), (INVALID_VALUE, u64::MAX, usize::MAX), "a wrong size");
    assert_eq!(ask(cap, 99, 4).0, INVALID_VALUE, "an unknown capability");
    assert_eq!(ask(get, 2, 4), (SUCCESS, upper | 1, 4), "k in one part");
    let set = |attribute: c_int, value: u32, bytes: usize| {
        let place = &raw const value;
        call!("cublasLtMatmulAlgoConfigSetAttribute", algo.as_ptr() => *const u64, attribute => c_int, place => *const u32,
            bytes => usize)
    };
    assert_eq!((set(1, 0, 4), set(2, 1, 4), set(7, 0, 2)), (SUCCESS, SUCCESS, SUCCESS), "what it is");
    for (attribute, value, bytes) in [(1, 5, 4), (2, 4, 4), (0, 7, 4), (7, 0, 4), (77, 0, 4)] {
        assert_eq!(set(attribute, value, bytes), INVALID_VALUE, "attribute {attribute} value {value}");
    }
}

/// Algorithms of the native library reach it, whatever the policy says of products.
pub fn native_algorithms() {
    let library = "libcublasLt.so.12";
    let native = [7u64; 8];
    let (mut value, mut written) = (0u64, 0usize);
    let (place, counted) = (&raw mut value, &raw mut written);
    let status = call!("cublasLtMatmulAlgoCapGetAttribute", native.as_ptr() => *const u64, 0 => c_int, place => *mut u64,
        4 => usize, counted => *mut usize);
    assert_eq!((status, calls(library, "cublasLtMatmulAlgoCapGetAttribute")), (NOT_SUPPORTED, 1));
    let handle = create();
    let (mut id, mut count) = (-1, -1);
    let (id_place, counted) = (&raw mut id, &raw mut count);
    let status = call!("cublasLtMatmulAlgoGetIds", handle => *mut c_void, 68 => c_int, 0 => c_int, 0 => c_int,
        0 => c_int, 0 => c_int, 0 => c_int, 1 => c_int, id_place => *mut c_int, counted => *mut c_int);
    assert_eq!((status, id, count), (SUCCESS, 21, 1), "the native library's own number");
    assert_eq!(calls(library, "foreign_algorithm"), 0);
}

/// A cuBLAS handle of ours in place of cuBLASLt's: product without an algorithm, heuristic, transform.
pub fn on_a_cublas_handle() {
    let handle = crate::lab::create();
    let layouts: Vec<Descriptor> = (0..4).map(|_| Descriptor::layout(Element::F32, 2, 2, 2)).collect();
    let desc = Descriptor::operation(68, Element::F32);
    heuristic_for(handle, &desc, &layouts);
    let (a, d) = (Device::holding(&bytes(&[1.0, 2.0, 3.0, 4.0])), Device::holding(&bytes(&[9.0; 4])));
    let (one, zero) = (1.0f32, 0.0f32);
    let (alpha, beta, layout) = (&raw const one, &raw const zero, layouts[0].0);
    let status = call!("cublasLtMatmul", handle => *mut c_void, desc.0 => *mut c_void, alpha => *const f32,
        a.address => u64, layout => *mut c_void, a.address => u64, layout => *mut c_void, beta => *const f32,
        d.address => u64, layout => *mut c_void, d.address => u64, layout => *mut c_void,
        std::ptr::null_mut() => *mut c_void, std::ptr::null_mut() => *mut c_void, 0 => usize,
        std::ptr::null_mut() => *mut c_void);
    assert_eq!((status, floats(&d.get())), (SUCCESS, vec![7.0, 10.0, 15.0, 22.0]));
    let desc = Descriptor::transform(Element::F32);
    let status = call!("cublasLtMatrixTransform", handle => *mut c_void, desc.0 => *mut c_void, alpha => *const f32,
        a.address => u64, layout => *mut c_void, beta => *const f32, 0 => u64, std::ptr::null_mut() => *mut c_void,
        d.address => u64, layout => *mut c_void, std::ptr::null_mut() => *mut c_void);
    assert_eq!((status, floats(&d.get())), (SUCCESS, vec![1.0, 2.0, 3.0, 4.0]));
}
