//! What the scenarios of level 3 and of the factorisations share: matrices with gaps, scalars in either memory,
//! and which functions were called.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::{c_int, c_void};

use gpucompat_cases::element::{Element, Number};
use gpucompat_reference::gemm::Expected;

use crate::blas_lab::Name;
use crate::call;
use crate::interface::Interface;
use crate::lab::{Device, SUCCESS, create};

pub const ZERO: Number = Number::new(0.0, 0.0);
pub const ONE: Number = Number::new(1.0, 0.0);

/// The letters of BLAS.
pub const LETTERS: [(char, Element); 4] =
    [('S', Element::F32), ('D', Element::F64), ('C', Element::C32), ('Z', Element::C64)];

/// A handle, random numbers, and what was called.
pub struct Bench {
    pub handle: *mut c_void,
    state: u64,
    called: BTreeSet<String>,
}

impl Bench {
    pub fn new() -> Bench {
        let seed = std::env::var("GEMM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        println!("seed {seed}");
        let handle = match Interface::chosen() {
            Interface::Handles | Interface::Legacy => create(),
            Interface::Xt => {
                let mut handle = std::ptr::null_mut();
                let pointer = &raw mut handle;
                assert_eq!(call!("cublasXtCreate", pointer => *mut *mut c_void), SUCCESS);
                handle
            }
        };
        Bench { handle, state: seed, called: BTreeSet::new() }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn pick<C: Copy>(&mut self, choices: &[C]) -> C {
        choices[(self.next() % choices.len() as u64) as usize]
    }

    /// A random value, rounded to the type.
    pub fn value(&mut self, element: Element) -> Number {
        let mut part = || (self.next() >> 40) as f64 / f64::from(1 << 23) - 1.0;
        let (re, im) = (part(), part());
        let im = if element.is_complex() { im } else { 0.0 };
        if element.is_integer() {
            Number::new((re * 9.0).round(), (im * 9.0).round())
        } else {
            Number::new(re, im)
        }
    }

    /// Notes a function as called; its name.
    pub fn name(&mut self, base: String, wide: bool) -> String {
        let name = if wide { format!("{base}_64") } else { base };
        self.called.insert(name.clone());
        name
    }

    /// The name of a function in the interface that the scenario is run for, noted as called; `None` if that has none, or
    /// not of this width.
    pub fn name_of(&mut self, base: String, wide: bool) -> Option<Name> {
        let name = match Interface::chosen() {
            Interface::Handles => Some(Name::of(&self.name(base, wide), wide)),
            Interface::Legacy => Name::both(&base).into_iter().next().filter(|_| !wide),
            Interface::Xt => {
                let symbol = base.trim_end_matches("_v2").replacen("cublas", "cublasXt", 1);
                let has = wide && !symbol.ends_with("Ex") && !symbol.ends_with("Batched");
                has.then(|| Name::of(&symbol, true))
            }
        }?;
        self.called.insert(name.symbol.clone());
        Some(name)
    }

    /// A scalar in host or device memory, with the handle's pointer mode set for it.
    pub fn scalars<const N: usize>(&mut self, values: [(Element, Number); N]) -> [Scalar; N] {
        let device = self.pick(&[false, true]) && Interface::chosen() == Interface::Handles;
        if Interface::chosen() != Interface::Xt {
            assert_eq!(
                call!("cublasSetPointerMode_v2", self.handle => *mut c_void, c_int::from(device) => c_int),
                SUCCESS
            );
        }
        values.map(|(element, value)| {
            let mut bytes = Vec::new();
            element.encode(value, &mut bytes);
            if device { Scalar::Device(Device::holding(&bytes)) } else { Scalar::Host(bytes) }
        })
    }

    /// A matrix of random elements where `holds` says so, and bytes of ones (NaN) elsewhere.
    pub fn matrix(
        &mut self,
        element: Element,
        [rows, cols]: [usize; 2],
        holds: impl Fn(usize, usize) -> bool,
    ) -> Matrix {
        let ld = rows.max(1) + self.pick(&[0, 3]);
        let mut bytes = vec![0xff; ld * cols * element.bytes()];
        for col in 0..cols {
            for row in (0..rows).filter(|&row| holds(row, col)) {
                let mut one = Vec::new();
                element.encode(self.value(element), &mut one);
                let start = (row + col * ld) * element.bytes();
                bytes[start..start + one.len()].copy_from_slice(&one);
            }
        }
        let on_host = Interface::chosen() == Interface::Xt && self.pick(&[true, true, false]);
        Matrix::holding(element, [rows, cols], ld, bytes).moved(on_host)
    }

    /// Prints what was called, for the test that compares it with the table.
    pub fn finish(self) {
        println!("symbols {}", self.called.into_iter().collect::<Vec<_>>().join(" "));
        let destroy = match Interface::chosen() {
            Interface::Handles | Interface::Legacy => "cublasDestroy_v2",
            Interface::Xt => "cublasXtDestroy",
        };
        assert_eq!(call!(destroy, self.handle => *mut c_void), SUCCESS);
    }
}

/// How a size is passed: in 64 bits, or in the lower half of a register whose upper half is garbage, as C may
/// leave it.
pub fn int(wide: bool, value: usize) -> i64 {
    signed(wide, value as i64)
}

/// The same of a number that may be negative.
pub fn signed(wide: bool, value: i64) -> i64 {
    if wide { value } else { (value & 0xffff_ffff) | 0x5a5a_5a5a_0000_0000 }
}

pub enum Scalar {
    Host(Vec<u8>),
    Device(Device),
}

impl Scalar {
    pub fn address(&self) -> u64 {
        match self {
            Scalar::Host(bytes) => bytes.as_ptr() as u64,
            Scalar::Device(device) => device.address,
        }
    }
}

/// Memory of a matrix.
enum Place {
    Device(Device),
    /// Host memory that CUDA does not know, written through its address.
    Host(Vec<Cell<u8>>),
}

/// A matrix in memory, and what it held before the call.
pub struct Matrix {
    pub element: Element,
    pub rows: usize,
    pub cols: usize,
    pub ld: usize,
    before: Vec<u8>,
    place: Place,
}

impl Matrix {
    pub fn holding(element: Element, [rows, cols]: [usize; 2], ld: usize, before: Vec<u8>) -> Matrix {
        let place = Place::Device(Device::holding(&before));
        Matrix { element, rows, cols, ld, before, place }
    }

    /// The same, in host memory if that is wanted.
    pub fn moved(self, on_host: bool) -> Matrix {
        let place = match self.place {
            Place::Device(_) if on_host => Place::Host(self.before.iter().copied().map(Cell::new).collect()),
            place => place,
        };
        Matrix { place, ..self }
    }

    pub fn is_on_host(&self) -> bool {
        matches!(self.place, Place::Host(_))
    }

    pub fn address(&self) -> u64 {
        match &self.place {
            Place::Device(device) => device.address,
            Place::Host(bytes) => bytes.as_ptr() as u64,
        }
    }

    /// An element as it was.
    pub fn at(&self, row: usize, col: usize) -> Number {
        self.element.decode(&self.before, row + col * self.ld)
    }

    /// Changes an element before the call.
    pub fn set(&mut self, row: usize, col: usize, value: Number) {
        let mut bytes = Vec::new();
        self.element.encode(value, &mut bytes);
        let start = (row + col * self.ld) * bytes.len();
        self.before[start..start + bytes.len()].copy_from_slice(&bytes);
        match &self.place {
            Place::Device(device) => device.set(&self.before),
            Place::Host(bytes) => bytes.iter().zip(&self.before).for_each(|(cell, &byte)| cell.set(byte)),
        }
    }

    /// Fails if a single bit changed.
    pub fn is_untouched(&self) {
        let _ = self.now(|_, _| false);
    }

    /// What is there now, of which all but `written` must be as it was, bit for bit.
    pub fn now(&self, written: impl Fn(usize, usize) -> bool) -> impl Fn(usize, usize) -> Number {
        let now = match &self.place {
            Place::Device(device) => device.get(),
            Place::Host(bytes) => bytes.iter().map(Cell::get).collect(),
        };
        let size = self.element.bytes();
        for (index, (now, then)) in now.chunks(size).zip(self.before.chunks(size)).enumerate() {
            let (row, col) = (index % self.ld, index / self.ld);
            assert!(row < self.rows && written(row, col) || now == then, "({row}, {col}) was written");
        }
        let (element, ld) = (self.element, self.ld);
        move |row, col| element.decode(&now, row + col * ld)
    }

    /// Compares the elements that are written with what is expected, column by column.
    pub fn check(
        &self,
        what: &str,
        want: &[Expected],
        terms: usize,
        written: impl Fn(usize, usize) -> bool + Copy,
    ) {
        let now = self.now(written);
        for (index, &want) in want.iter().enumerate() {
            let (row, col) = (index % self.rows, index / self.rows);
            if written(row, col) {
                close(self.element, what, now(row, col), want, terms);
            }
        }
    }
}

/// `|got − want| ≤ 4·(terms + 8)·u·magnitude`.
pub fn close(element: Element, what: &str, got: Number, want: Expected, terms: usize) {
    let allowed = 4.0 * (terms + 8) as f64 * element.rounding() * want.magnitude;
    assert!((got - want.value).norm() <= allowed, "{what}: {got} is not {} ± {allowed}", want.value);
}

/// An array of addresses in device memory.
pub fn addresses(matrices: &[Matrix]) -> Device {
    let list: Vec<u8> = matrices.iter().flat_map(|matrix| matrix.address().to_le_bytes()).collect();
    Device::holding(&list)
}

/// Integers from bytes.
pub fn integers(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks_exact(4).map(|four| i32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}
