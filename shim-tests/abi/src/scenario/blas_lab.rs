//! What the scenarios of levels 1 and 2 share: operands with poison around their elements, scalars in host or device
//! memory, and calls with any number of arguments.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};

use gpucompat_cases::element::{Element, Number};
use gpucompat_cases::judge::Tolerance;
use gpucompat_reference::blas::{Form, vector_place};
use gpucompat_reference::gemm::Expected;

use crate::call;
use crate::interface::{Interface, Legacy};
use crate::lab::{Device, SUCCESS, symbol};

/// Random numbers.
pub struct Rng(u64);

impl Rng {
    /// Beginning with a seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to `most`.
    pub fn between(&mut self, least: usize, most: usize) -> usize {
        least + (self.next() % (most - least + 1) as u64) as usize
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.between(0, choices.len() - 1)]
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// A value that the element has, parts between −1 and 1.
    pub fn number(&mut self, element: Element) -> Number {
        let im = if element.is_complex() { self.unit() } else { 0.0 };
        rounded(element, Number::new(self.unit(), im))
    }

    /// An increment that is not 0.
    pub fn increment(&mut self) -> i64 {
        self.pick(&[1, 1, 1, 2, 3, -1, -2, -3])
    }
}

/// The element nearest to a number.
pub fn rounded(element: Element, value: Number) -> Number {
    let mut bytes = Vec::new();
    element.encode(value, &mut bytes);
    element.decode(&bytes, 0)
}

/// Neither a number that could be mistaken for a result, nor one that could take part in a sum unseen.
pub const POISON: Number = Number::new(f64::NAN, f64::NAN);

/// Device memory of one operand: its elements, and poison everywhere else.
pub struct Memory {
    element: Element,
    before: Vec<u8>,
    device: Device,
}

impl Memory {
    /// `len` places with these values, the rest poison.
    pub fn new(element: Element, len: usize, values: &BTreeMap<usize, Number>) -> Memory {
        let mut before = Vec::new();
        for place in 0..len {
            element.encode(*values.get(&place).unwrap_or(&POISON), &mut before);
        }
        let device = Device::holding(&before);
        Memory { element, before, device }
    }

    /// Its address.
    pub fn address(&self) -> u64 {
        self.device.address
    }

    /// What stood at a place before the call.
    pub fn old(&self, place: usize) -> Number {
        self.element.decode(&self.before, place)
    }

    /// What stands everywhere now.
    pub fn now(&self) -> Vec<Number> {
        let after = self.device.get();
        (0..after.len() / self.element.bytes()).map(|place| self.element.decode(&after, place)).collect()
    }

    /// Compares the places of `expected`, in sums of `k` terms, and all others bit for bit.
    pub fn check(&self, what: &str, k: usize, expected: &BTreeMap<usize, Expected>) {
        let after = self.device.get();
        let size = self.element.bytes();
        let tolerance = Tolerance { output: self.element, accumulator: accumulator(self.element), k };
        for place in 0..after.len() / size {
            let got = self.element.decode(&after, place);
            if let Some(&want) = expected.get(&place) {
                assert!(tolerance.accepts(got, want), "{what}: place {place} is {got}, wanted {want:?}");
            } else {
                let bytes = place * size..(place + 1) * size;
                assert_eq!(
                    after[bytes.clone()],
                    self.before[bytes],
                    "{what}: place {place}, no result, was written"
                );
            }
        }
    }

    /// No byte has changed.
    pub fn untouched(&self, what: &str) {
        assert_eq!(self.device.get(), self.before, "{what}: memory was written");
    }
}

/// What sums of these elements are formed in.
pub fn accumulator(element: Element) -> Element {
    if matches!(element, Element::F64 | Element::C64) { Element::F64 } else { Element::F32 }
}

/// A vector in memory.
pub struct Vector {
    /// Its memory.
    pub memory: Memory,
    /// Elements.
    pub n: usize,
    /// Increment.
    pub increment: i64,
}

impl Vector {
    /// Random elements, and some poison behind the last.
    pub fn random(rng: &mut Rng, element: Element, n: usize, increment: i64) -> Vector {
        let values: Vec<Number> = (0..n).map(|_| rng.number(element)).collect();
        Vector::holding(element, &values, increment)
    }

    /// Nothing but poison, for a result that is not read.
    pub fn poisoned(element: Element, n: usize, increment: i64) -> Vector {
        Vector::holding(element, &vec![POISON; n], increment)
    }

    /// These elements.
    pub fn holding(element: Element, values: &[Number], increment: i64) -> Vector {
        let n = values.len();
        let places = values.iter().enumerate().map(|(i, &value)| (vector_place(n, increment, i), value));
        let len = n * increment.unsigned_abs() as usize + 3;
        Vector { memory: Memory::new(element, len, &places.collect()), n, increment }
    }

    /// Its address.
    pub fn address(&self) -> u64 {
        self.memory.address()
    }

    /// Element i before the call.
    pub fn old(&self, i: usize) -> Number {
        self.memory.old(vector_place(self.n, self.increment, i))
    }

    /// All elements before the call.
    pub fn all(&self) -> Vec<Number> {
        (0..self.n).map(|i| self.old(i)).collect()
    }

    /// All elements now.
    pub fn all_new(&self) -> Vec<Number> {
        let now = self.memory.now();
        (0..self.n).map(|i| now[vector_place(self.n, self.increment, i)]).collect()
    }

    /// Compares each element, and what lies between them.
    pub fn check(&self, what: &str, k: usize, expected: impl Fn(usize) -> Expected) {
        let at = |i| (vector_place(self.n, self.increment, i), expected(i));
        self.memory.check(what, k, &(0..self.n).map(at).collect());
    }
}

/// A matrix in memory.
pub struct Matrix {
    /// Its memory.
    pub memory: Memory,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Form.
    pub form: Form,
}

impl Matrix {
    /// Random elements where `value` leaves them, which gets (i, j) and the random number.
    pub fn random(
        rng: &mut Rng,
        element: Element,
        (rows, cols): (usize, usize),
        form: Form,
        value: impl Fn(usize, usize, Number) -> Number,
    ) -> Matrix {
        let mut values = BTreeMap::new();
        for j in 0..cols {
            for i in 0..rows {
                if let Some(place) = form.place(i, j) {
                    let number = rng.number(element);
                    assert!(
                        values.insert(place, value(i, j, number)).is_none(),
                        "{form:?} stores two in one"
                    );
                }
            }
        }
        let len = match form {
            Form::Full { ld }
            | Form::Band { ld, .. }
            | Form::Triangle { ld, .. }
            | Form::TriangularBand { ld, .. } => ld * cols,
            Form::Packed { n, .. } => n * (n + 1) / 2,
        };
        Matrix { memory: Memory::new(element, len + 2, &values), rows, cols, form }
    }

    /// Element (i, j) before the call, if it is stored.
    pub fn stored(&self, i: usize, j: usize) -> Option<Number> {
        self.form.place(i, j).map(|place| self.memory.old(place))
    }

    /// Compares each stored element, and everything else.
    pub fn check(&self, what: &str, k: usize, expected: impl Fn(usize, usize, Number) -> Expected) {
        let mut all = BTreeMap::new();
        for j in 0..self.cols {
            for i in 0..self.rows {
                if let Some(place) = self.form.place(i, j) {
                    all.insert(place, expected(i, j, self.memory.old(place)));
                }
            }
        }
        self.memory.check(what, k, &all);
    }
}

/// Scalars in host or device memory.
pub enum Scalars {
    /// Host memory, written through its address.
    Host(Vec<Cell<u8>>),
    /// Device memory.
    Device(Device),
}

impl Scalars {
    /// These values, where the mode says.
    pub fn new(mode: PointerMode, element: Element, values: &[Number]) -> Scalars {
        let mut bytes = Vec::new();
        values.iter().for_each(|&value| element.encode(value, &mut bytes));
        Scalars::of_bytes(mode, bytes)
    }

    /// These bytes.
    pub fn of_bytes(mode: PointerMode, bytes: Vec<u8>) -> Scalars {
        match mode {
            PointerMode::Host => Scalars::Host(bytes.into_iter().map(Cell::new).collect()),
            PointerMode::Device => Scalars::Device(Device::holding(&bytes)),
        }
    }

    /// Their address.
    pub fn address(&self) -> u64 {
        match self {
            Scalars::Host(bytes) => bytes.as_ptr() as u64,
            Scalars::Device(device) => device.address,
        }
    }

    /// What stands there now.
    pub fn get(&self) -> Vec<u8> {
        match self {
            Scalars::Host(bytes) => bytes.iter().map(Cell::get).collect(),
            Scalars::Device(device) => device.get(),
        }
    }
}

/// Where scalars lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerMode {
    /// In host memory.
    Host,
    /// In device memory.
    Device,
}

/// A pointer mode, set on the handle.
pub fn random_mode(rng: &mut Rng, handle: *mut c_void) -> PointerMode {
    let mode = rng.pick(&[PointerMode::Host, PointerMode::Device]);
    let mode = if Interface::chosen() == Interface::Handles { mode } else { PointerMode::Host };
    set_mode(handle, mode);
    mode
}

/// Sets the pointer mode of a handle.
pub fn set_mode(handle: *mut c_void, mode: PointerMode) {
    let number = c_int::from(mode == PointerMode::Device);
    assert_eq!(call!("cublasSetPointerMode_v2", handle => *mut c_void, number => c_int), SUCCESS);
}

/// A function's name, with `_64` or without.
#[derive(Clone, Debug)]
pub struct Name {
    /// The symbol.
    pub symbol: String,
    /// Whether integers have 64 bits.
    pub wide: bool,
    /// The legacy function that is meant.
    legacy: Option<Legacy>,
}

impl Name {
    /// Both names of a function: the ordinary one and the `_64` one; of the legacy interface the one that it has.
    pub fn both(base: &str) -> Vec<Name> {
        if Interface::chosen() == Interface::Legacy {
            let name =
                |legacy: Legacy| Name { symbol: legacy.symbol.clone(), wide: false, legacy: Some(legacy) };
            return Legacy::of(base).map(name).into_iter().collect();
        }
        vec![Name::of(base, false), Name::of(&format!("{base}_64"), true)]
    }

    /// One name.
    pub fn of(symbol: &str, wide: bool) -> Name {
        Name { symbol: symbol.to_owned(), wide, legacy: None }
    }

    /// An integer argument. A function of 32-bit ones must not look at the upper half, which holds rubbish.
    pub fn int(&self, value: i64) -> u64 {
        if self.wide { value as u64 } else { u64::from(value as i32 as u32) | 0x5A5A_5A5A_0000_0000 }
    }

    /// Calls it. The arguments are integers and addresses, each in a place of eight bytes as x86-64 passes them;
    /// more than the function has do no harm.
    pub fn call(&self, arguments: &[u64]) -> c_int {
        type Function = unsafe extern "C" fn(
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
            u64,
        ) -> c_int;
        if let Some(legacy) = &self.legacy {
            return legacy.call(arguments);
        }
        let mut a = [0xDEAD_0000_DEAD_0000; 18];
        a[..arguments.len()].copy_from_slice(arguments);
        // SAFETY: an exported function of at most 18 integers and pointers, called with those its page names.
        let function: Function = unsafe { std::mem::transmute(symbol(&self.symbol)) };
        // SAFETY: as above; the test owns what the arguments point to.
        unsafe {
            function(
                a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13],
                a[14], a[15], a[16], a[17],
            )
        }
    }
}

/// The letters of the four types.
pub const LETTERS: [(char, Element); 4] =
    [('S', Element::F32), ('D', Element::F64), ('C', Element::C32), ('Z', Element::C64)];

/// The element of the parts of a complex element.
pub fn real_of(element: Element) -> Element {
    match element {
        Element::C32 => Element::F32,
        Element::C64 => Element::F64,
        other => other,
    }
}

/// The names that were called, and how often.
#[derive(Default)]
pub struct Tally {
    names: std::collections::BTreeSet<String>,
    cases: u64,
}

impl Tally {
    /// Notes a call, which must have succeeded.
    pub fn ran(&mut self, name: &Name, status: c_int, what: &str) {
        assert_eq!(status, SUCCESS, "{} {what}", name.symbol);
        self.names.insert(name.symbol.clone());
        self.cases += 1;
    }

    /// Prints them for the test that compares them with the table.
    pub fn print(&self) {
        println!("symbols {}", self.names.iter().map(String::as_str).collect::<Vec<_>>().join(" "));
        println!("cases {}", self.cases);
    }
}

/// `BLAS_CASES` a function, beginning with `BLAS_SEED`.
pub fn rounds() -> (u64, Rng) {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let seed = number("BLAS_SEED", 1);
    eprintln!("again with BLAS_SEED={seed}");
    (number("BLAS_CASES", 10), Rng::new(seed))
}
