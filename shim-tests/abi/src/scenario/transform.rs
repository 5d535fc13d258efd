//! `cublasLtMatrixTransform`, and products whose 8-bit operands are scaled by rows or by blocks.

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::{Element, Number};

use crate::call;
use crate::lab::{Device, INVALID_VALUE, NOT_SUPPORTED, SUCCESS, bytes, foreign_handles};
use crate::matmul::{Descriptor, create, noise};
use crate::matmul_fused::{Dice, Operand};

/// A, B, C and the scale type.
const TYPES: [([Element; 3], Element); 8] = [
    ([Element::I8, Element::I8, Element::I8], Element::F32),
    ([Element::I32, Element::I8, Element::I32], Element::I32),
    ([Element::I8, Element::F16, Element::F32], Element::F32),
    ([Element::F32, Element::F32, Element::Bf16], Element::F32),
    ([Element::F16, Element::F16, Element::F16], Element::F16),
    ([Element::F64, Element::F32, Element::F64], Element::F64),
    ([Element::F32, Element::E4m3, Element::E5m2], Element::F32),
    ([Element::F16, Element::F32, Element::I8], Element::F32),
];

fn transform(
    handle: *mut c_void,
    desc: &Descriptor,
    [alpha, beta]: [u64; 2],
    addresses: [u64; 3],
    layouts: [*mut c_void; 3],
) -> c_int {
    call!("cublasLtMatrixTransform", handle => *mut c_void, desc.0 => *mut c_void, alpha => u64,
        addresses[0] => u64, layouts[0] => *mut c_void, beta => u64, addresses[1] => u64, layouts[1] => *mut c_void,
        addresses[2] => u64, layouts[2] => *mut c_void, std::ptr::null_mut() => *mut c_void)
}

/// Any order to any order, any types, against a sum of elements.
pub fn matrix() {
    let handle = create();
    for seed in 1..=400u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (elements, scale) = dice.pick(&TYPES);
        let (m, n, batch) = (1 + dice.roll(70), 1 + dice.roll(70), 1 + dice.roll(2));
        let ops = [dice.roll(2), dice.roll(2), 0];
        let operands: [Operand; 3] = std::array::from_fn(|index| {
            let (rows, cols) = if ops[index] == 0 { (m, n) } else { (n, m) };
            let order = dice.roll(5) as i32;
            Operand::random(&mut dice, elements[index], order, rows, cols, batch)
        });
        let on_device = dice.roll(2);
        let choices: &[f64] = if scale == Element::I32 { &[0.0, 1.0, -2.0] } else { &[0.0, 1.0, -0.75] };
        let factors = [dice.pick(choices), dice.pick(choices)];
        let desc = Descriptor::transform(scale);
        desc.set(1, on_device as i32).set(2, ops[0] as i32).set(3, ops[1] as i32);
        let scalars = factors.map(|factor| {
            let mut bytes = Vec::new();
            scale.encode(Number::new(factor, 0.0), &mut bytes);
            bytes
        });
        let devices = [Device::holding(&scalars[0]), Device::holding(&scalars[1])];
        let at = |index: usize| {
            if on_device == 1 { devices[index].address } else { scalars[index].as_ptr() as u64 }
        };
        // What has a factor of 0 may be missing.
        let address = |index: usize| if factors[index] == 0.0 { 0 } else { operands[index].device.address };
        let layout = |index: usize| {
            if factors[index] == 0.0 { std::ptr::null_mut() } else { operands[index].layout.0 }
        };
        let status = transform(
            handle,
            &desc,
            [at(0), at(1)],
            [address(0), address(1), operands[2].device.address],
            [layout(0), layout(1), operands[2].layout.0],
        );
        let what =
            format!("seed {seed}: {elements:?} scale {scale:?} {m}x{n} ops {ops:?} factors {factors:?}");
        assert_eq!(status, SUCCESS, "{what}");
        let unit = if matches!(scale, Element::F64 | Element::I32) {
            f64::powi(2.0, -53)
        } else {
            f64::powi(2.0, -24)
        };
        operands[2].check(&what, batch, |matrix, row, col| {
            let term = |index: usize| {
                let (row, col) = if ops[index] == 0 { (row, col) } else { (col, row) };
                if factors[index] == 0.0 {
                    0.0
                } else {
                    factors[index] * operands[index].at(matrix, row, col)
                }
            };
            (term(0) + term(1), 4.0 * unit * (term(0).abs() + term(1).abs()))
        });
    }
    complex(handle);
    bad_input(handle);
    assert_eq!(foreign_handles(), 0);
}

/// C ← 2·Aᴴ + i·B.
fn complex(handle: *mut c_void) {
    let numbers = |values: &[f32]| Device::holding(&bytes(values));
    let (a, b) = (numbers(&[1.0, 2.0, 3.0, 4.0]), numbers(&[5.0, 6.0, 7.0, 8.0]));
    let c = numbers(&[9.0; 4]);
    let (row, col) = (Descriptor::layout(Element::C32, 1, 2, 1), Descriptor::layout(Element::C32, 2, 1, 2));
    let desc = Descriptor::transform(Element::C32);
    desc.set(2, 2i32);
    let (alpha, beta) = ([2.0f32, 0.0], [0.0f32, 1.0]);
    let scalars = [alpha.as_ptr() as u64, beta.as_ptr() as u64];
    let status = transform(handle, &desc, scalars, [a.address, b.address, c.address], [row.0, col.0, col.0]);
    assert_eq!(status, SUCCESS);
    assert_eq!(crate::lab::floats(&c.get()), [2.0 - 6.0, -4.0 + 5.0, 6.0 - 8.0, -8.0 + 7.0]);
}

fn bad_input(handle: *mut c_void) {
    let memory = Device::holding(&bytes(&[3.0; 64]));
    let layout = || Descriptor::layout(Element::F32, 4, 4, 4);
    let one = 1.0f32;
    let (one, at) = (&raw const one as u64, memory.address);
    let desc = Descriptor::transform(Element::F32);
    let (a, c) = (layout(), layout());
    let judged = |desc: &Descriptor, scalars, addresses, layouts, status: c_int, what: &str| {
        assert_eq!(transform(handle, desc, scalars, addresses, layouts), status, "{what}");
    };
    let nothing = std::ptr::null_mut();
    judged(&desc, [0, one], [at; 3], [a.0, a.0, c.0], INVALID_VALUE, "no alpha");
    judged(&desc, [one, one], [at, 0, at], [a.0, a.0, c.0], INVALID_VALUE, "no B, though beta is 1");
    judged(&desc, [one, one], [at; 3], [a.0, nothing, c.0], INVALID_VALUE, "no layout of B");
    judged(&desc, [one, one], [at; 3], [a.0, a.0, nothing], INVALID_VALUE, "no layout of C");
    let tall = Descriptor::layout(Element::F32, 5, 4, 5);
    judged(&desc, [one, one], [at; 3], [tall.0, a.0, c.0], INVALID_VALUE, "a taller A");
    let many = layout();
    many.set(5, 2i32).set(6, 16i64);
    judged(&desc, [one, one], [at; 3], [many.0, a.0, c.0], INVALID_VALUE, "more As than Cs");
    let complex = Descriptor::layout(Element::C32, 4, 4, 4);
    judged(&desc, [one, one], [at; 3], [complex.0, a.0, c.0], NOT_SUPPORTED, "a complex A");
    let planar = layout();
    planar.set(7, 64i64);
    judged(&desc, [one, one], [at; 3], [planar.0, a.0, c.0], NOT_SUPPORTED, "a planar A");
    desc.set(1, 2i32);
    judged(&desc, [one, one], [at; 3], [a.0, a.0, c.0], NOT_SUPPORTED, "vectors of scalars");
    assert!(crate::lab::floats(&memory.get()).iter().all(|&value| value == 3.0), "C was touched");
}

const OUTER_VECTOR: i32 = 3;
const VECTOR_128: i32 = 4;
const BLOCK_128: i32 = 5;
const VECTOR_32: i32 = 2;

/// The scale of row (column) `i`, element `l` along k, of the numbers as NVIDIA's page lays them out.
fn scale_of(mode: i32, numbers: &[u8], outer: usize, k: usize, i: usize, l: usize) -> f64 {
    let single = |index: usize| Element::F32.decode(numbers, index).re;
    match mode {
        OUTER_VECTOR => single(i),
        VECTOR_128 => single(l / 128 * outer + i),
        BLOCK_128 => single(i / 128 * k.div_ceil(128).div_ceil(4) * 4 + l / 128),
        _ => {
            // Rows of tiles of 128×4; the page's offset within a tile.
            let (tiles, inner) = (k.div_ceil(128), l / 32);
            let (down, across, row) = (i / 128, inner / 4, i % 128);
            let offset = (row % 32) * 16 + (row / 32) * 4 + inner % 4;
            f64::powi(2.0, i32::from(numbers[(down * tiles + across) * 512 + offset]) - 127)
        }
    }
}

/// Scales by rows and by blocks.
pub fn scale_modes() {
    let handle = create();
    let (m, n, k) = (260, 132, 700);
    for (case, modes) in
        [[OUTER_VECTOR; 2], [VECTOR_128; 2], [VECTOR_128, BLOCK_128], [BLOCK_128, VECTOR_128], [VECTOR_32; 2]]
            .into_iter()
            .enumerate()
    {
        let mut dice = Dice(case as u64 + 5);
        let ops = [1 - case % 2, case / 2 % 2];
        let shape = |op: usize, rows, cols| if op == 0 { (rows, cols) } else { (cols, rows) };
        let shapes = [shape(ops[0], m, k), shape(ops[1], k, n), (m, n)];
        let out = [Element::Bf16, Element::F32, Element::F16][case % 3];
        let elements = [Element::E4m3, Element::E5m2, out];
        let operands: [Operand; 3] = std::array::from_fn(|index| {
            Operand::random(&mut dice, elements[index], 0, shapes[index].0, shapes[index].1, 1)
        });
        let numbers = [m, n].map(|outer| {
            let count = outer.next_multiple_of(128) * k.next_multiple_of(128) / 32;
            if modes[0] == VECTOR_32 {
                (0..count).map(|_| 124 + dice.roll(6) as u8).collect()
            } else {
                noise(Element::F32, count, dice.roll(1 << 20) as u64)
            }
        });
        let devices = [Device::holding(&numbers[0]), Device::holding(&numbers[1])];
        let desc = Descriptor::operation(68, Element::F32);
        desc.set(3, ops[0] as i32)
            .set(4, ops[1] as i32)
            .set(17, devices[0].address)
            .set(18, devices[1].address);
        desc.set(31, modes[0]).set(32, modes[1]);
        let (alpha, beta) = (0.5f32, 0.0f32);
        let (alpha_at, beta_at) = (&raw const alpha, &raw const beta);
        let [a, b, d] = &operands;
        let status = call!("cublasLtMatmul", handle => *mut c_void, desc.0 => *mut c_void, alpha_at => *const f32,
            a.device.address => u64, a.layout.0 => *mut c_void, b.device.address => u64, b.layout.0 => *mut c_void,
            beta_at => *const f32, 0 => u64, d.layout.0 => *mut c_void, d.device.address => u64,
            d.layout.0 => *mut c_void, std::ptr::null_mut() => *mut c_void, std::ptr::null_mut() => *mut c_void, 0 => usize,
            std::ptr::null_mut() => *mut c_void);
        assert_eq!(status, SUCCESS, "modes {modes:?}");
        d.check(&format!("modes {modes:?}"), 1, |_, row, col| {
            let (mut sum, mut size) = (0.0, 0.0);
            for l in 0..k {
                let x = if ops[0] == 0 { a.at(0, row, l) } else { a.at(0, l, row) };
                let y = if ops[1] == 0 { b.at(0, l, col) } else { b.at(0, col, l) };
                let scale = scale_of(modes[0], &numbers[0], m, k, row, l)
                    * scale_of(modes[1], &numbers[1], n, k, col, l);
                sum += x * y * scale;
                size += (x * y * scale).abs();
            }
            (0.5 * sum, (k + 16) as f64 * f64::powi(2.0, -24) * size)
        });
    }
}
