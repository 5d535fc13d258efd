//! Level 1 through every entry point, with host and device scalars.

use std::ffi::c_void;

use gpucompat_cases::element::{Element, Number};
use gpucompat_cases::judge::Tolerance;
use gpucompat_reference::blas::{extreme, magnitudes, norm, sum};
use gpucompat_reference::gemm::Expected;

use crate::blas_lab::{
    LETTERS, Name, POISON, PointerMode, Rng, Scalars, Tally, Vector, accumulator, random_mode, real_of,
    rounded, rounds,
};
use crate::lab::create;

/// One call to be made: everything that does not depend on the function.
struct Case<'a> {
    rng: &'a mut Rng,
    tally: &'a mut Tally,
    handle: *mut c_void,
    mode: PointerMode,
    name: Name,
    n: usize,
}

const ONE: Number = Number::new(1.0, 0.0);
const ELEMENTS: [Element; 6] =
    [Element::F16, Element::Bf16, Element::F32, Element::F64, Element::C32, Element::C64];

fn expected(value: Number) -> Expected {
    Expected { value, magnitude: value.norm() }
}

/// The type that an element is executed in.
fn executed(element: Element) -> Element {
    if matches!(element, Element::F16 | Element::Bf16) { Element::F32 } else { element }
}

/// Type arguments of the Ex forms; `None` of a function whose name says its types.
#[derive(Clone, Copy)]
enum Typed {
    ByName,
    ByArgument,
}

impl Typed {
    /// A vector's arguments: address, type if asked for, increment.
    fn vector(self, name: &Name, vector: &Vector, element: Element) -> Vec<u64> {
        match self {
            Typed::ByName => vec![vector.address(), name.int(vector.increment)],
            Typed::ByArgument => {
                vec![vector.address(), cuda(element), name.int(vector.increment)]
            }
        }
    }

    /// A type argument, if there is one.
    fn ty(self, element: Element) -> Vec<u64> {
        match self {
            Typed::ByName => Vec::new(),
            Typed::ByArgument => vec![cuda(element)],
        }
    }
}

fn cuda(element: Element) -> u64 {
    u64::from(element.cuda() as u32) | 0x7171_0000_0000
}

impl Case<'_> {
    fn vector(&mut self, element: Element) -> Vector {
        let increment = self.rng.increment();
        Vector::random(self.rng, element, self.n, increment)
    }

    fn call(&mut self, arguments: &[Vec<u64>]) {
        let start = vec![self.handle as u64];
        let all: Vec<u64> = [&start].into_iter().chain(arguments).flatten().copied().collect();
        let status = self.name.call(&all);
        self.tally.ran(&self.name, status, &format!("n={} {:?}", self.n, self.mode));
    }

    fn what(&self) -> String {
        format!("{} n={} {:?}", self.name.symbol, self.n, self.mode)
    }

    fn size(&self) -> Vec<u64> {
        vec![self.name.int(self.n as i64)]
    }

    fn scalar(&mut self, element: Element) -> (Number, Scalars) {
        let value = self.rng.number(element);
        (value, Scalars::new(self.mode, element, &[value]))
    }

    fn axpy(&mut self, typed: Typed, element: Element) {
        let scale = executed(element);
        let (alpha, at) = self.scalar(scale);
        let (x, y) = (self.vector(element), self.vector(element));
        self.call(&[
            self.size(),
            vec![at.address()],
            typed.ty(scale),
            typed.vector(&self.name, &x, element),
            typed.vector(&self.name, &y, element),
            typed.ty(executed(element)),
        ]);
        y.check(&self.what(), 2, |i| sum([[alpha, x.old(i), ONE], [y.old(i), ONE, ONE]]));
        x.memory.untouched(&self.what());
    }

    fn scal(&mut self, typed: Typed, element: Element, scale: Element) {
        let (alpha, at) = self.scalar(scale);
        let x = self.vector(element);
        self.call(&[
            self.size(),
            vec![at.address()],
            typed.ty(scale),
            typed.vector(&self.name, &x, element),
            typed.ty(executed(element)),
        ]);
        x.check(&self.what(), 1, |i| sum([[alpha, x.old(i), ONE]]));
    }

    fn copy(&mut self, typed: Typed, element: Element) {
        let x = self.vector(element);
        let increment = self.rng.increment();
        let y = Vector::poisoned(element, self.n, increment);
        self.call(&[
            self.size(),
            typed.vector(&self.name, &x, element),
            typed.vector(&self.name, &y, element),
        ]);
        assert_eq!(y.all_new(), x.all(), "{}", self.what());
        y.check(&self.what(), 1, |i| expected(x.old(i)));
        x.memory.untouched(&self.what());
    }

    fn swap(&mut self, typed: Typed, element: Element) {
        let (x, y) = (self.vector(element), self.vector(element));
        self.call(&[
            self.size(),
            typed.vector(&self.name, &x, element),
            typed.vector(&self.name, &y, element),
        ]);
        assert_eq!((x.all_new(), y.all_new()), (y.all(), x.all()), "{}", self.what());
        x.check(&self.what(), 1, |i| expected(y.old(i)));
        y.check(&self.what(), 1, |i| expected(x.old(i)));
    }

    fn dot(&mut self, typed: Typed, element: Element, conjugate: bool) {
        let (x, y) = (self.vector(element), self.vector(element));
        let result = Scalars::new(self.mode, element, &[Number::new(f64::NAN, f64::NAN)]);
        self.call(&[
            self.size(),
            typed.vector(&self.name, &x, element),
            typed.vector(&self.name, &y, element),
            vec![result.address()],
            typed.ty(element),
            typed.ty(executed(element)),
        ]);
        let left = |i| if conjugate { x.old(i).conj() } else { x.old(i) };
        let want = sum((0..self.n).map(|i| [left(i), y.old(i), ONE]));
        self.judge(element, element.decode(&result.get(), 0), want, self.n);
    }

    fn judge(&self, element: Element, got: Number, want: Expected, k: usize) {
        let tolerance = Tolerance { output: element, accumulator: accumulator(element), k };
        assert!(tolerance.accepts(got, want), "{}: {got}, wanted {want:?}", self.what());
    }

    /// `nrm2` and `asum`: increments are positive.
    fn reduced(&mut self, typed: Typed, element: Element, reference: fn(Vec<Number>) -> Expected) {
        let increment = self.rng.increment().abs();
        let x = Vector::random(self.rng, element, self.n, increment);
        let real = real_of(element);
        let result = Scalars::new(self.mode, real, &[Number::new(f64::NAN, 0.0)]);
        self.call(&[
            self.size(),
            typed.vector(&self.name, &x, element),
            vec![result.address()],
            typed.ty(real),
            typed.ty(executed(real)),
        ]);
        self.judge(real, real.decode(&result.get(), 0), reference(x.all()), self.n);
    }

    fn extreme(&mut self, typed: Typed, element: Element, largest: bool) {
        let increment = self.rng.increment().abs();
        // Few different sizes, so that the first of equal ones is asked for.
        let coarse = |number: Number| Number::new((number.re * 3.0).round(), (number.im * 3.0).round());
        let values: Vec<Number> = (0..self.n).map(|_| coarse(self.rng.number(element))).collect();
        let x = Vector::holding(element, &values, increment);
        let bytes = if self.name.wide { 8 } else { 4 };
        let result = Scalars::of_bytes(self.mode, vec![0xEE; 8]);
        self.call(&[self.size(), typed.vector(&self.name, &x, element), vec![result.address()]]);
        let mut got = result.get();
        assert!(got[bytes..].iter().all(|&byte| byte == 0xEE), "{}: {got:x?}", self.what());
        got[bytes..].fill(0);
        let position = usize::from_le_bytes(got.try_into().unwrap());
        assert_eq!(position, extreme(values, largest), "{}", self.what());
    }

    fn rot(&mut self, typed: Typed, element: Element, [c_type, s_type]: [Element; 2]) {
        let (mut c, _) = self.scalar(c_type);
        let (s, s_at) = self.scalar(s_type);
        let c_at = Scalars::new(self.mode, c_type, &[c]);
        // Of a complex c only the real part counts.
        c.im = 0.0;
        let (x, y) = (self.vector(element), self.vector(element));
        self.call(&[
            self.size(),
            typed.vector(&self.name, &x, element),
            typed.vector(&self.name, &y, element),
            vec![c_at.address(), s_at.address()],
            typed.ty(s_type),
            typed.ty(executed(element)),
        ]);
        x.check(&self.what(), 2, |i| sum([[c, x.old(i), ONE], [s, y.old(i), ONE]]));
        y.check(&self.what(), 2, |i| sum([[c, y.old(i), ONE], [-s.conj(), x.old(i), ONE]]));
    }

    /// (c s; −s̄ c)·(a; b) = (r; 0), c² + |s|² = 1, and z of real numbers.
    fn rotg(&mut self, typed: Typed, element: Element, c_type: Element) {
        let mut values = [self.rng.number(element), self.rng.number(element)];
        let zero = Number::new(0.0, 0.0);
        let spoil = self.rng.between(0, 5);
        if spoil < 2 {
            values[spoil] = zero;
        } else if spoil == 2 {
            values = [zero; 2];
        }
        let [a, b] = values;
        let at = |mode, ty, value| Scalars::new(mode, ty, &[value]);
        let (at_a, at_b) = (at(self.mode, element, a), at(self.mode, element, b));
        let (at_c, at_s) = (at(self.mode, c_type, POISON), at(self.mode, element, POISON));
        self.call(&[
            vec![at_a.address(), at_b.address()],
            typed.ty(element),
            vec![at_c.address(), at_s.address()],
            typed.ty(element),
            typed.ty(executed(element)),
        ]);
        let [r, z, s] = [&at_a, &at_b, &at_s].map(|scalar| element.decode(&scalar.get(), 0));
        let c = c_type.decode(&at_c.get(), 0);
        let near = 16.0 * element.rounding();
        let what = format!("{} a={a} b={b}: r={r} z={z} c={c} s={s}", self.what());
        assert!((c * a + s * b - r).norm() <= near, "{what}");
        assert!((c * b - s.conj() * a).norm() <= near, "{what}");
        assert!((c.norm_sqr() + s.norm_sqr() - 1.0).abs() <= near, "{what}");
        if element.is_complex() {
            assert_eq!(z, b, "{what}");
        } else if a == zero && b == zero {
            assert_eq!([c.re, s.re, r.re, z.re], [1.0, 0.0, 0.0, 0.0], "{what}");
        } else {
            let leader = if a.norm() > b.norm() { a.re } else { b.re };
            assert!(r.re.signum() == leader.signum(), "{what}");
            let want = match (a.norm() > b.norm(), c.re == 0.0) {
                (true, _) => s.re,
                (false, true) => 1.0,
                (false, false) => 1.0 / c.re,
            };
            // A subnormal c has too few digits to be compared by.
            let coarse = element == Element::F16 && c.norm() < 1e-3;
            assert!(coarse || (z.re - want).abs() <= near * want.abs().max(1.0), "{what}");
        }
    }

    fn rotm(&mut self, typed: Typed, element: Element) {
        let flag = self.rng.pick(&[-2.0, -1.0, 0.0, 1.0]);
        let mut param = [0.0; 4].map(|_: f64| self.rng.number(element).re);
        let (x, y) = (self.vector(element), self.vector(element));
        let given: Vec<Number> =
            [flag].into_iter().chain(param).map(|value| Number::new(value, 0.0)).collect();
        let at = Scalars::new(self.mode, element, &given);
        self.call(&[
            self.size(),
            typed.vector(&self.name, &x, element),
            typed.vector(&self.name, &y, element),
            vec![at.address()],
            typed.ty(element),
            typed.ty(executed(element)),
        ]);
        // h11, h21, h12, h22.
        if flag == -2.0 {
            param = [1.0, 0.0, 0.0, 1.0];
        } else if flag == 0.0 {
            (param[0], param[3]) = (1.0, 1.0);
        } else if flag == 1.0 {
            (param[1], param[2]) = (-1.0, 1.0);
        }
        let [h11, h21, h12, h22] = param.map(|value| Number::new(value, 0.0));
        x.check(&self.what(), 2, |i| sum([[h11, x.old(i), ONE], [h12, y.old(i), ONE]]));
        y.check(&self.what(), 2, |i| sum([[h21, x.old(i), ONE], [h22, y.old(i), ONE]]));
    }

    /// The new d1, d2, x1 and H keep d1·x1² + d2·y1² and make H·(x1; y1) = (new x1; 0).
    fn rotmg(&mut self, typed: Typed, element: Element) {
        let number = |value: f64| rounded(element, Number::new(value, 0.0));
        let scale = if element == Element::F16 { 1.0 } else { self.rng.pick(&[1.0, 1e9, 1e-9]) };
        let d1 = number(self.rng.number(element).re.abs() * scale);
        let d2 = number(self.rng.number(element).re.abs());
        let (x1, y1) = (self.rng.number(element), self.rng.number(element));
        let cell = |value: Number| Scalars::new(self.mode, element, &[value]);
        let cells = [d1, d2, x1, y1].map(cell);
        let param = Scalars::new(self.mode, element, &[number(7.0); 5]);
        let mut arguments = Vec::new();
        for cell in &cells {
            arguments.push(vec![cell.address()]);
            arguments.push(typed.ty(element));
        }
        arguments.extend([vec![param.address()], typed.ty(element), typed.ty(executed(element))]);
        self.call(&arguments);
        let [new_d1, new_d2, new_x1, same_y1] =
            cells.each_ref().map(|cell| element.decode(&cell.get(), 0).re);
        let bytes = param.get();
        let [flag, h11, h21, h12, h22] = std::array::from_fn(|index| element.decode(&bytes, index).re);
        let what = format!("{} {d1} {d2} {x1} {y1}: flag={flag} {h11} {h21} {h12} {h22}", self.what());
        assert_eq!(same_y1, y1.re, "{what}");
        let h = match flag {
            -2.0 => [1.0, 0.0, 0.0, 1.0],
            -1.0 => [h11, h21, h12, h22],
            0.0 => [1.0, h21, h12, 1.0],
            _ => [h11, -1.0, 1.0, h22],
        };
        let implied = match flag {
            -2.0 => [h11, h21, h12, h22].map(|value| value == 7.0),
            -1.0 => [true; 4],
            0.0 => [h11 == 7.0, true, true, h22 == 7.0],
            _ => [true, h21 == 7.0, h12 == 7.0, true],
        };
        assert_eq!(implied, [true; 4], "{what}: what the flag implies is not written");
        let near = 40.0 * element.rounding();
        let close = |got: f64, want: f64, size: f64| {
            assert!((got - want).abs() <= near * size + element.underflow(), "{what}: {got} for {want}");
        };
        let energy = d1.re * x1.re * x1.re + d2.re * y1.re * y1.re;
        if flag == -2.0 {
            return;
        }
        let (top, bottom) = (h[0] * x1.re + h[2] * y1.re, h[1] * x1.re + h[3] * y1.re);
        close(top, new_x1, new_x1.abs());
        close(bottom, 0.0, (h[1] * x1.re).abs() + (h[3] * y1.re).abs());
        close(new_d1 * new_x1 * new_x1, energy, energy);
        assert!(new_d2 >= 0.0, "{what}");
    }
}

/// Every function of level 1 and its Ex form.
pub fn matrix() {
    let (each, mut rng) = rounds();
    let (handle, mut tally) = (create(), Tally::default());
    let mut run = |base: &str, test: &dyn Fn(&mut Case<'_>)| {
        let unsized_name = ["rotg", "rotmg"].iter().any(|word| base.contains(word))
            || base.contains("RotgEx")
            || base.contains("RotmgEx");
        let names: Vec<Name> = Name::both(base).into_iter().take(if unsized_name { 1 } else { 2 }).collect();
        for name in names {
            for round in 0..each {
                let mode = random_mode(&mut rng, handle);
                // Small sizes, and one in which sums take more than a block.
                let n = if round == 0 { 20_000 } else { rng.between(0, 40) };
                let name = name.clone();
                test(&mut Case { rng: &mut rng, tally: &mut tally, handle, mode, name, n });
            }
        }
    };
    for (letter, element) in LETTERS {
        let real = real_of(element);
        let complex = element.is_complex();
        let name = |function: &str| format!("cublas{letter}{function}_v2");
        let mixed = |function: &str| {
            let prefix = if element == Element::C32 { "Cs" } else { "Zd" };
            if complex { format!("cublas{prefix}{function}_v2") } else { name(function) }
        };
        let normed = |function: &str| match element {
            Element::C32 => format!("cublasSc{function}_v2"),
            Element::C64 => format!("cublasDz{function}_v2"),
            _ => name(function),
        };
        let lower = letter.to_ascii_lowercase();
        let by = Typed::ByName;
        run(&name("axpy"), &|case| case.axpy(by, element));
        run(&name("copy"), &|case| case.copy(by, element));
        run(&name("swap"), &|case| case.swap(by, element));
        run(&name("scal"), &|case| case.scal(by, element, element));
        run(&mixed("scal"), &|case| case.scal(by, element, real));
        if complex {
            run(&name("dotu"), &|case| case.dot(by, element, false));
            run(&name("dotc"), &|case| case.dot(by, element, true));
        } else {
            run(&name("dot"), &|case| case.dot(by, element, false));
            run(&name("rotm"), &|case| case.rotm(by, element));
            run(&name("rotmg"), &|case| case.rotmg(by, element));
        }
        run(&normed("nrm2"), &|case| case.reduced(by, element, norm));
        run(&normed("asum"), &|case| case.reduced(by, element, magnitudes));
        run(&format!("cublasI{lower}amax_v2"), &|case| case.extreme(by, element, true));
        run(&format!("cublasI{lower}amin_v2"), &|case| case.extreme(by, element, false));
        run(&name("rot"), &|case| case.rot(by, element, [real, element]));
        run(&mixed("rot"), &|case| case.rot(by, element, [real, real]));
        run(&name("rotg"), &|case| case.rotg(by, element, real));
    }
    for element in ELEMENTS {
        let by = Typed::ByArgument;
        run("cublasAxpyEx", &|case| case.axpy(by, element));
        run("cublasCopyEx", &|case| case.copy(by, element));
        run("cublasSwapEx", &|case| case.swap(by, element));
        run("cublasScalEx", &|case| case.scal(by, element, executed(element)));
        run("cublasDotEx", &|case| case.dot(by, element, false));
        run("cublasDotcEx", &|case| case.dot(by, element, true));
        run("cublasNrm2Ex", &|case| case.reduced(by, element, norm));
        run("cublasAsumEx", &|case| case.reduced(by, element, magnitudes));
        run("cublasIamaxEx", &|case| case.extreme(by, element, true));
        run("cublasIaminEx", &|case| case.extreme(by, element, false));
        run("cublasRotEx", &|case| case.rot(by, element, [element; 2]));
        if element.is_complex() {
            run("cublasRotEx", &|case| case.rot(by, element, [real_of(element); 2]));
        } else {
            run("cublasRotgEx", &|case| case.rotg(by, element, element));
            run("cublasRotmEx", &|case| case.rotm(by, element));
            run("cublasRotmgEx", &|case| case.rotmg(by, element));
        }
    }
    tally.print();
}
