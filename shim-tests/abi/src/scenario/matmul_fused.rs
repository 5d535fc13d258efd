//! cuBLASLt's products with everything that may go with them, at random: auxiliary buffers, gradients, scales,
//! vectors of scalars, 8-bit types, tiled orders. Each by an algorithm made from its number and checked.

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::{Element, Number};
use gpucompat_reference::lt::{gelu, gelu_slope, places, runs};

use crate::call;
use crate::lab::{Device, SUCCESS, calls, foreign_handles};
use crate::matmul::{Descriptor, create, noise};

use Element::{Bf16, E4m3, E5m2, F16, F32, F64, I8, I32};

/// A, B, C, D, the scale type and the compute type.
const TYPES: [([Element; 4], Element, c_int); 17] = [
    ([F32, F32, F32, F32], F32, 68),
    ([F64, F64, F64, F64], F64, 70),
    ([F16, F16, F16, F16], F32, 68),
    ([F16, F16, F16, F16], F16, 64),
    ([F16, F16, F32, F32], F32, 68),
    ([Bf16, Bf16, Bf16, Bf16], F32, 68),
    ([I8, I8, I32, I32], I32, 72),
    ([I8, I8, I8, I8], F32, 72),
    ([I8, I8, F32, F32], F32, 68),
    ([E4m3, E4m3, Bf16, Bf16], F32, 68),
    ([E4m3, E4m3, F16, F16], F32, 68),
    ([E4m3, E4m3, F32, F32], F32, 68),
    ([E4m3, E4m3, Bf16, E4m3], F32, 68),
    ([E4m3, E5m2, F16, E4m3], F32, 68),
    ([E5m2, E4m3, Bf16, E5m2], F32, 68),
    ([E4m3, E5m2, F32, F32], F32, 68),
    ([E5m2, E4m3, E5m2, E5m2], F32, 68),
];

const EPILOGUES: [u32; 16] = [1, 4, 2, 6, 130, 134, 136, 152, 32, 36, 160, 164, 192, 208, 256, 512];
/// Bits of `cublasLtEpilogue_t`.
const BIAS: u32 = 4;
const RELU: u32 = 2;
const GELU: u32 = 32;
const DRELU: u32 = 8;
const DGELU: u32 = 64;
const AUX: u32 = 128;
const BGRAD: u32 = 16;
const BGRADA: u32 = 256;
const BGRADB: u32 = 512;

/// Random choices.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.roll(choices.len())]
    }
}

/// A batch of matrices in device memory.
pub struct Operand {
    /// Its layout descriptor.
    pub layout: Descriptor,
    /// Its memory.
    pub device: Device,
    element: Element,
    places: Vec<Vec<usize>>,
    stride: usize,
    before: Vec<u8>,
}

impl Operand {
    /// With random elements.
    pub fn random(
        dice: &mut Dice,
        element: Element,
        order: i32,
        rows: usize,
        cols: usize,
        batch: usize,
    ) -> Operand {
        let (run, count) = runs(order, rows, cols);
        let ld = run.max(1) + if dice.roll(2) == 0 { 0 } else { dice.roll(5) };
        let stride = ld * count + dice.roll(4);
        let before = noise(element, stride * batch, dice.roll(1 << 30) as u64);
        let layout = Descriptor::layout(element, rows, cols, ld);
        layout.set(1, order).set(5, batch as i32).set(6, stride as i64);
        let device = Device::holding(&before);
        Operand { layout, device, element, places: places(order, rows, cols, ld), stride, before }
    }

    fn place(&self, matrix: usize, row: usize, col: usize) -> usize {
        matrix * self.stride + self.places[row][col]
    }

    /// What it held when it was made.
    pub fn at(&self, matrix: usize, row: usize, col: usize) -> f64 {
        self.element.decode(&self.before, self.place(matrix, row, col)).re
    }

    /// Compares what it holds now with `want` within `allowed`, and that nothing else was written.
    pub fn check(&self, what: &str, batch: usize, want: impl Fn(usize, usize, usize) -> (f64, f64)) {
        let after = self.device.get();
        let mut touched = vec![false; self.stride * batch];
        for matrix in 0..batch {
            for row in 0..self.places.len() {
                for col in 0..self.places[row].len() {
                    let place = self.place(matrix, row, col);
                    touched[place] = true;
                    let got = self.element.decode(&after, place).re;
                    let (value, allowed) = want(matrix, row, col);
                    check(self.element, got, value, allowed, &|| format!("{what}: [{matrix}, {row}, {col}]"));
                }
            }
        }
        for (place, touched) in touched.iter().enumerate() {
            let range = place * self.element.bytes()..(place + 1) * self.element.bytes();
            assert!(
                *touched || after[range.clone()] == self.before[range],
                "{what}: padding {place} was written"
            );
        }
    }
}

fn rounded(element: Element, value: f64) -> f64 {
    let value = match element {
        I8 => value.round_ties_even().clamp(-128.0, 127.0),
        _ => value,
    };
    let mut bytes = Vec::new();
    element.encode(Number::new(value, 0.0), &mut bytes);
    element.decode(&bytes, 0).re
}

/// `got` must be what some number within `allowed` of `want` is rounded to.
fn check(element: Element, got: f64, want: f64, allowed: f64, what: &dyn Fn() -> String) {
    let (low, high) = (rounded(element, want - allowed), rounded(element, want + allowed));
    let fits = got >= low && got <= high || got.is_nan() && want.is_nan();
    assert!(fits, "{}: {got}, expected {want} ± {allowed:e}: {low} to {high}", what());
}

fn vector(element: Element, count: usize, seed: u64) -> (Device, Vec<f64>) {
    let bytes = noise(element, count, seed);
    let values = (0..count).map(|index| element.decode(&bytes, index).re).collect();
    (Device::holding(&bytes), values)
}

/// Everything at random.
pub fn matrix() {
    let cases = std::env::var("MATMUL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let seed: u64 = std::env::var("MATMUL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let handle = create();
    for case in 0..cases {
        product(handle, seed * 100_000 + case);
    }
    println!("cases {cases}");
    assert_eq!(foreign_handles(), 0);
    assert_eq!(calls("libcublasLt.so.12", "foreign_algorithm"), 0);
}

// One call from its choices to its reference, in the order in which they depend on each other.
#[allow(clippy::too_many_lines)]
fn product(handle: *mut c_void, seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for _ in 0..4 {
        dice.roll(2);
    }
    let (elements, scale, compute) = dice.pick(&TYPES);
    let [ab, _, c_type, out] = elements;
    let (narrow, float8) = (ab.bytes() == 1, matches!(ab, E4m3 | E5m2));
    let mut epilogue = dice.pick(&EPILOGUES);
    let only_plain = out == I32 || ab == I8 && out == F32;
    let no_gradients =
        narrow && (epilogue & (DRELU | DGELU | BGRADA | BGRADB) != 0 || ab == I8 && epilogue & AUX != 0);
    if only_plain || no_gradients {
        epilogue = if only_plain { 1 } else { dice.pick(&[1, 4, 6, 36]) };
    }
    let mode = if out == I32 { dice.roll(2) } else { dice.roll(5) };
    let (m, n, k, batch) = (1 + dice.roll(40), 1 + dice.roll(37), dice.roll(40), 1 + dice.roll(3));
    let ops = [dice.roll(2), dice.roll(2)];
    let shape = |op: usize, rows: usize, cols: usize| if op == 0 { (rows, cols) } else { (cols, rows) };
    let shapes = [shape(ops[0], m, k), shape(ops[1], k, n), (m, n), (m, n)];
    let operands: [Operand; 4] = std::array::from_fn(|index| {
        let order = if dice.roll(3) == 0 { dice.roll(5) } else { dice.roll(2) } as i32;
        Operand::random(&mut dice, elements[index], order, shapes[index].0, shapes[index].1, batch)
    });
    let desc = Descriptor::operation(compute, scale);
    desc.set(2, mode as i32).set(3, ops[0] as i32).set(4, ops[1] as i32).set(7, epilogue).set(25, 1i8);
    // Scales of 8-bit floating operands; magnitudes.
    let factors: Vec<f32> = (0..5).map(|_| dice.pick(&[0.5f32, 1.75, 3.0, 0.1])).collect();
    let factor_device = Device::holding(&crate::lab::bytes(&factors));
    let amax = Device::holding(&crate::lab::bytes(&[-7.0; 2]));
    let aux_type = if epilogue & (GELU | AUX) == GELU | AUX && out == E4m3 && ab == E4m3 {
        dice.pick(&[E4m3, F16])
    } else {
        out
    };
    let is8 = |element| matches!(element, E4m3 | E5m2);
    let aux8 = epilogue & (GELU | AUX) == GELU | AUX && is8(aux_type);
    let with_scale = [is8(ab), is8(elements[1]), is8(c_type), is8(out), aux8];
    for (index, attribute) in [17, 18, 19, 20, 23].into_iter().enumerate() {
        if with_scale[index] {
            desc.set(attribute, factor_device.address + 4 * index as u64);
        }
    }
    let factor = |index: usize| if with_scale[index] { f64::from(factors[index]) } else { 1.0 };
    if is8(out) {
        desc.set(21, amax.address);
    }
    if aux8 {
        desc.set(24, amax.address + 4);
    }
    // Bias, or room for its gradient.
    let bias_type = match out {
        I8 => F32,
        E4m3 | E5m2 if c_type == F16 => F16,
        E4m3 | E5m2 => Bf16,
        F32 if float8 => Bf16,
        other => other,
    };
    let bias_length = if epilogue == BGRADB { n } else { m };
    let writes_bias = epilogue & (BGRAD | BGRADA | BGRADB) != 0;
    let bias_stride = if writes_bias || dice.roll(2) == 0 { bias_length + 1 } else { 0 };
    let (bias_device, bias) = vector(bias_type, (bias_length + 1) * batch, seed ^ 0x77);
    desc.set(8, bias_device.address).set(10, bias_stride as i64);
    // The auxiliary buffer.
    let mask = epilogue & (RELU | DRELU) != 0;
    let step = if mask { 128 } else { 8 };
    let aux_ld = m.next_multiple_of(step) + step * dice.roll(2);
    let aux_stride = aux_ld * n + step;
    let aux_bytes = if mask {
        noise(I8, aux_stride * batch / 8, seed ^ 0x5)
    } else {
        noise(aux_type, aux_stride * batch, seed ^ 0x5)
    };
    let aux = Device::holding(&aux_bytes);
    if epilogue & AUX != 0 {
        desc.set(11, aux.address).set(12, aux_ld as i64).set(13, aux_stride as i64);
        if aux_type != out {
            desc.set(22, aux_type.cuda());
        }
    }
    let bit = |bytes: &[u8], matrix: usize, row: usize, col: usize| {
        let place = matrix * aux_stride + col * aux_ld + row;
        bytes[place / 8] >> (place % 8) & 1 == 1
    };
    // Scalars.
    let choices: &[f64] = if scale == I32 { &[1.0, 0.0, -2.0] } else { &[1.0, 0.0, -0.75] };
    let alpha_stride = if mode == 4 && dice.roll(2) == 0 { m } else { 0 };
    let encode = |values: &[f64]| {
        let mut bytes = Vec::new();
        values.iter().for_each(|&value| scale.encode(Number::new(value, 0.0), &mut bytes));
        bytes
    };
    let mut draw = |count: usize| (0..count).map(|_| dice.pick(choices)).collect::<Vec<f64>>();
    let (alphas, betas) = (draw(m * batch), draw(m));
    let (alpha_bytes, beta_bytes) = (encode(&alphas), encode(&betas));
    let (alpha_device, beta_device) = (Device::holding(&alpha_bytes), Device::holding(&beta_bytes));
    let alpha_at = if mode == 0 { alpha_bytes.as_ptr() as u64 } else { alpha_device.address };
    let beta_at = match mode {
        0 | 4 => beta_bytes.as_ptr() as u64,
        3 => 0,
        _ => beta_device.address,
    };
    desc.set(14, alpha_stride as i64);
    let alpha =
        |matrix: usize, row: usize| if mode < 2 { alphas[0] } else { alphas[matrix * alpha_stride + row] };
    let beta = |row: usize| match mode {
        2 => betas[row],
        3 => 0.0,
        _ => betas[0],
    };
    let what = format!(
        "seed {seed}: {elements:?} compute {compute} epilogue {epilogue} mode {mode} m{m} n{n} k{k} batch{batch}"
    );
    let types = elements.map(Element::cuda);
    let algo = algorithm(handle, &desc, &operands, types, scale, compute, &what);
    let [a, b, c, d] = &operands;
    let status = call!("cublasLtMatmul", handle => *mut c_void, desc.0 => *mut c_void, alpha_at => u64,
        a.device.address => u64, a.layout.0 => *mut c_void, b.device.address => u64, b.layout.0 => *mut c_void,
        beta_at => u64, c.device.address => u64, c.layout.0 => *mut c_void, d.device.address => u64,
        d.layout.0 => *mut c_void, algo.as_ptr() => *const u64, std::ptr::null_mut() => *mut c_void, 0 => usize,
        std::ptr::null_mut() => *mut c_void);
    assert_eq!(status, SUCCESS, "{what}");
    // The reference.
    let get = |operand: usize, matrix: usize, row: usize, col: usize| {
        let (row, col) = if ops[operand] == 0 { (row, col) } else { (col, row) };
        operands[operand].at(matrix, row, col)
    };
    let unit = if out == F64 || out == I32 || out == I8 { f64::powi(2.0, -53) } else { f64::powi(2.0, -24) };
    let forward = |matrix: usize, row: usize, col: usize| {
        let (factor_ab, factor_c) = (alpha(matrix, row) * factor(0) * factor(1), beta(row) * factor(2));
        let (mut sum, mut size) = (0.0, 0.0);
        for l in 0..k {
            let term = get(0, matrix, row, l) * get(1, matrix, l, col);
            sum += term;
            size += term.abs();
        }
        let mut value = factor_ab * sum;
        size *= factor_ab.abs();
        if factor_c != 0.0 {
            value += factor_c * c.at(matrix, row, col);
            size += (factor_c * c.at(matrix, row, col)).abs();
        }
        if epilogue & BIAS != 0 {
            value += bias[matrix * bias_stride + row];
            size += bias[matrix * bias_stride + row].abs();
        }
        (value, (k + 16) as f64 * unit * size + f64::MIN_POSITIVE)
    };
    let last = |matrix: usize, row: usize, col: usize| {
        let (value, allowed) = forward(matrix, row, col);
        if epilogue & DRELU != 0 {
            return if bit(&aux_bytes, matrix, row, col) { (value, allowed) } else { (0.0, 0.0) };
        }
        if epilogue & DGELU != 0 {
            let x = out.decode(&aux_bytes, matrix * aux_stride + col * aux_ld + row).re;
            let slope = gelu_slope(x);
            return (value * slope, 1.2 * allowed + 16.0 * unit * value.abs());
        }
        match epilogue & (RELU | GELU) {
            RELU => (value.max(0.0), allowed),
            GELU => (gelu(value), 1.2 * allowed + 16.0 * unit * value.abs()),
            _ => (value, allowed),
        }
    };
    let scaled = |(value, allowed): (f64, f64), by: f64| {
        (value * by, allowed * by.abs() + 4.0 * unit * (value * by).abs())
    };
    d.check(&format!("{what}: D"), batch, |matrix, row, col| scaled(last(matrix, row, col), factor(3)));
    let all = || {
        (0..batch)
            .flat_map(move |matrix| (0..n).flat_map(move |col| (0..m).map(move |row| (matrix, row, col))))
    };
    let largest = |of: &dyn Fn(usize, usize, usize) -> (f64, f64)| {
        all()
            .map(|(matrix, row, col)| of(matrix, row, col))
            .fold((0.0f64, 0.0f64), |(value, allowed), (x, error)| (value.max(x.abs()), allowed.max(error)))
    };
    let magnitudes = crate::lab::floats(&amax.get());
    for (index, (asked, of)) in
        [(is8(out), &last as &dyn Fn(usize, usize, usize) -> (f64, f64)), (aux8, &forward)]
            .into_iter()
            .enumerate()
    {
        let (value, allowed) = if asked { largest(of) } else { (-7.0, 0.0) };
        check(F32, f64::from(magnitudes[index]), value, allowed, &|| format!("{what}: magnitude {index}"));
    }
    // The auxiliary buffer afterwards.
    let aux_after = aux.get();
    if epilogue & (DRELU | DGELU) != 0 || epilogue & AUX == 0 {
        assert!(aux_after == aux_bytes, "{what}: the auxiliary input was written");
    } else if mask {
        for (matrix, row, col) in all() {
            let (value, allowed) = forward(matrix, row, col);
            let decided = value.abs() > allowed;
            assert!(
                !decided || bit(&aux_after, matrix, row, col) == (value > 0.0),
                "{what}: mask [{matrix}, {row}, {col}]"
            );
        }
    } else {
        for (matrix, row, col) in all() {
            let (value, allowed) = scaled(forward(matrix, row, col), factor(4));
            let got = aux_type.decode(&aux_after, matrix * aux_stride + col * aux_ld + row).re;
            check(aux_type, got, value, allowed, &|| format!("{what}: aux [{matrix}, {row}, {col}]"));
        }
    }
    // The gradient of the bias.
    let bias_after = bias_device.get();
    for matrix in 0..if writes_bias { batch } else { 0 } {
        for index in 0..bias_length {
            let terms: Vec<(f64, f64)> = match epilogue {
                BGRADA => (0..k).map(|l| (get(0, matrix, index, l), 0.0)).collect(),
                BGRADB => (0..k).map(|l| (get(1, matrix, l, index), 0.0)).collect(),
                _ => (0..n).map(|col| last(matrix, index, col)).collect(),
            };
            let sum: f64 = terms.iter().map(|term| term.0).sum();
            let size: f64 = terms.iter().map(|term| term.0.abs()).sum();
            let allowed =
                terms.iter().map(|term| term.1).sum::<f64>() + (terms.len() + 8) as f64 * unit * size;
            let got = bias_type.decode(&bias_after, matrix * bias_stride + index).re;
            check(bias_type, got, sum, allowed, &|| format!("{what}: bias gradient [{matrix}, {index}]"));
        }
    }
    for index in (0..bias.len()).filter(|index| !writes_bias || index % (bias_length + 1) == bias_length) {
        assert_eq!(bias_type.decode(&bias_after, index).re, bias[index], "{what}: bias {index} was written");
    }
}

/// Our algorithm from its number, checked for this product.
fn algorithm(
    handle: *mut c_void,
    desc: &Descriptor,
    operands: &[Operand; 4],
    [a, b, c, d]: [i32; 4],
    scale: Element,
    compute: c_int,
    what: &str,
) -> [u64; 8] {
    let (mut id, mut count) = (-1, -1);
    let (id_place, counted) = (&raw mut id, &raw mut count);
    let status = call!("cublasLtMatmulAlgoGetIds", handle => *mut c_void, compute => c_int, scale.cuda() => c_int,
        a => c_int, b => c_int, c => c_int, d => c_int, 8 => c_int, id_place => *mut c_int, counted => *mut c_int);
    assert_eq!((status, count), (SUCCESS, 1), "{what}");
    let mut algo = [0u64; 8];
    let place = algo.as_mut_ptr();
    let status = call!("cublasLtMatmulAlgoInit", handle => *mut c_void, compute => c_int, scale.cuda() => c_int,
        a => c_int, b => c_int, c => c_int, d => c_int, id => c_int, place => *mut u64);
    assert_eq!(status, SUCCESS, "{what}");
    let mut result = [u64::MAX; 12];
    let place = result.as_mut_ptr();
    let status = call!("cublasLtMatmulAlgoCheck", handle => *mut c_void, desc.0 => *mut c_void,
        operands[0].layout.0 => *mut c_void, operands[1].layout.0 => *mut c_void, operands[2].layout.0 => *mut c_void,
        operands[3].layout.0 => *mut c_void, algo.as_ptr() => *const u64, place => *mut u64);
    assert_eq!(status, SUCCESS, "{what}");
    assert_eq!((result[8], result[9] & 0xffff_ffff), (0, 0), "{what}: no workspace, status success");
    assert!(result[..8].iter().all(|&word| word == u64::MAX), "{what}: the result's algorithm was written");
    algo
}
