//! Level 2 through every entry point, with host and device scalars. What is not stored, not referenced or overwritten
//! holds NaN: reading it shows in the result, writing it in the comparison.

use std::ffi::c_void;

use gpucompat_cases::element::{Element, Number};
use gpucompat_cases::judge::Tolerance;
use gpucompat_reference::blas::{Form, sum};
use gpucompat_reference::gemm::Expected;

use crate::blas_lab::{
    LETTERS, Matrix, Name, POISON, PointerMode, Rng, Scalars, Tally, Vector, accumulator, random_mode,
    real_of, rounds,
};
use crate::lab::{Device, create};

const ONE: Number = Number::new(1.0, 0.0);
const ZERO: Number = Number::new(0.0, 0.0);

/// One call to be made.
struct Case<'a> {
    rng: &'a mut Rng,
    tally: &'a mut Tally,
    handle: *mut c_void,
    mode: PointerMode,
    name: Name,
    element: Element,
}

/// In which form a function takes its matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Full,
    Band,
    Packed,
}

/// What a triangle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symmetry {
    Symmetric,
    Hermitian,
}

/// A matrix with one triangle stored, and the arguments that say so.
struct Triangle {
    matrix: Matrix,
    upper: bool,
    n: usize,
    k: usize,
    ld: usize,
}

impl Case<'_> {
    fn what(&self) -> String {
        format!("{} {:?}", self.name.symbol, self.mode)
    }

    fn call(&mut self, arguments: &[u64]) {
        let mut all = vec![self.handle as u64];
        all.extend(arguments);
        let status = self.name.call(&all);
        self.tally.ran(&self.name, status, &format!("{:?} {arguments:x?}", self.mode));
    }

    fn int(&self, value: usize) -> u64 {
        self.name.int(value as i64)
    }

    /// An enumerator: 32 bits whatever the name.
    fn choice(value: usize) -> u64 {
        value as u64 | 0x3333_0000_0000
    }

    fn size(&mut self) -> usize {
        self.rng.between(0, 24)
    }

    fn vector(&mut self, n: usize) -> Vector {
        let increment = self.rng.increment();
        Vector::random(self.rng, self.element, n, increment)
    }

    fn increment(&self, vector: &Vector) -> u64 {
        self.name.int(vector.increment)
    }

    /// α or β: 0, 1 or a random number.
    fn factor(&mut self, element: Element) -> (Number, Scalars) {
        let random = self.rng.number(element);
        let value = self.rng.pick(&[random, random, ONE, ZERO]);
        (value, Scalars::new(self.mode, element, &[value]))
    }

    /// The y of `y ← … + β·y`: poison where it is not read.
    fn output(&mut self, n: usize, beta: Number) -> Vector {
        if beta == ZERO {
            let increment = self.rng.increment();
            return Vector::poisoned(self.element, n, increment);
        }
        self.vector(n)
    }

    fn triangle(&mut self, shape: Shape, value: impl Fn(usize, usize, Number) -> Number) -> Triangle {
        let (n, upper) = (self.size(), self.rng.pick(&[true, false]));
        let k = self.rng.between(0, n + 2);
        let least = if shape == Shape::Band { k + 1 } else { n.max(1) };
        let ld = least + self.rng.between(0, 3);
        let form = match shape {
            Shape::Full => Form::Triangle { upper, ld },
            Shape::Band => Form::TriangularBand { upper, k, ld },
            Shape::Packed => Form::Packed { upper, n },
        };
        let matrix = Matrix::random(self.rng, self.element, (n, n), form, value);
        Triangle { matrix, upper, n, k, ld }
    }

    /// The arguments n, perhaps k.
    fn sizes(&self, shape: Shape, triangle: &Triangle) -> Vec<u64> {
        match shape {
            Shape::Full | Shape::Packed => vec![self.int(triangle.n)],
            Shape::Band => vec![self.int(triangle.n), self.int(triangle.k)],
        }
    }

    /// The arguments A, perhaps lda.
    fn memory(&self, shape: Shape, triangle: &Triangle) -> Vec<u64> {
        let mut arguments = vec![triangle.matrix.memory.address()];
        if shape != Shape::Packed {
            arguments.push(self.int(triangle.ld));
        }
        arguments
    }

    fn gbmv(&mut self, banded: bool) {
        let (m, n) = (self.size(), self.size());
        let (kl, ku) = (self.rng.between(0, m + 1), self.rng.between(0, n + 1));
        let least = if banded { kl + ku + 1 } else { m.max(1) };
        let ld = least + self.rng.between(0, 3);
        let form = if banded { Form::Band { kl, ku, ld } } else { Form::Full { ld } };
        let a = Matrix::random(self.rng, self.element, (m, n), form, |_, _, number| number);
        let op = self.rng.between(0, 2);
        let (rows, cols) = if op == 0 { (m, n) } else { (n, m) };
        let ((alpha, at_alpha), (beta, at_beta)) = (self.factor(self.element), self.factor(self.element));
        let (x, y) = (self.vector(cols), self.output(rows, beta));
        let mut arguments = vec![Self::choice(op), self.int(m), self.int(n)];
        if banded {
            arguments.extend([self.int(kl), self.int(ku)]);
        }
        arguments.extend([
            at_alpha.address(),
            a.memory.address(),
            self.int(ld),
            x.address(),
            self.increment(&x),
        ]);
        arguments.extend([at_beta.address(), y.address(), self.increment(&y)]);
        self.call(&arguments);
        let what = format!("{} op{op} m{m} n{n} {form:?} alpha={alpha} beta={beta}", self.what());
        if m == 0 || n == 0 {
            y.memory.untouched(&what);
            return;
        }
        let element = |i: usize, j: usize| match op {
            0 => a.stored(i, j),
            1 => a.stored(j, i),
            _ => a.stored(j, i).map(|number| number.conj()),
        };
        let row = |i: usize| (0..cols).filter_map(move |j| Some((j, element(i, j)?)));
        y.check(&what, cols, |i| combine(alpha, row(i), &x, beta, || y.old(i)));
    }

    fn symmetric_product(&mut self, shape: Shape, symmetry: Symmetry) {
        let hermitian = symmetry == Symmetry::Hermitian;
        let triangle =
            self.triangle(
                shape,
                |i, j, number| {
                    if hermitian && i == j { Number::new(number.re, f64::NAN) } else { number }
                },
            );
        let n = triangle.n;
        let ((alpha, at_alpha), (beta, at_beta)) = (self.factor(self.element), self.factor(self.element));
        let (x, y) = (self.vector(n), self.output(n, beta));
        let mut arguments = vec![Self::choice(triangle.upper.into())];
        arguments.extend(self.sizes(shape, &triangle));
        arguments.push(at_alpha.address());
        arguments.extend(self.memory(shape, &triangle));
        arguments.extend([
            x.address(),
            self.increment(&x),
            at_beta.address(),
            y.address(),
            self.increment(&y),
        ]);
        self.call(&arguments);
        let a = &triangle.matrix;
        let element = |i: usize, j: usize| {
            if i == j {
                return a
                    .stored(i, i)
                    .map(|number| if hermitian { Number::new(number.re, 0.0) } else { number });
            }
            a.stored(i, j)
                .or_else(|| a.stored(j, i).map(|number| if hermitian { number.conj() } else { number }))
        };
        let what = format!("{} n{n} {:?} alpha={alpha} beta={beta}", self.what(), a.form);
        let row = |i: usize| (0..n).filter_map(move |j| Some((j, element(i, j)?)));
        y.check(&what, n, |i| combine(alpha, row(i), &x, beta, || y.old(i)));
        a.memory.untouched(&what);
    }

    /// Products and solutions. A solution is judged by what it gives when multiplied.
    fn triangular(&mut self, shape: Shape, solve: bool) {
        let unit = self.rng.pick(&[true, false]);
        let triangle = self.triangle(shape, |i, j, number| match (i == j, unit) {
            (true, true) => POISON,
            // Well away from 0, and the others small, so that solutions stay small.
            (true, false) => number + Number::new(2.0_f64.copysign(number.re), 0.0),
            (false, _) if solve => number * 0.25,
            (false, _) => number,
        });
        let (n, op) = (triangle.n, self.rng.between(0, 2));
        let x = self.vector(n);
        let mut arguments =
            vec![Self::choice(triangle.upper.into()), Self::choice(op), Self::choice(unit.into())];
        arguments.extend(self.sizes(shape, &triangle));
        arguments.extend(self.memory(shape, &triangle));
        arguments.extend([x.address(), self.increment(&x)]);
        self.call(&arguments);
        let a = &triangle.matrix;
        let element = |i: usize, j: usize| {
            if i == j && unit {
                return Some(ONE);
            }
            match op {
                0 => a.stored(i, j),
                1 => a.stored(j, i),
                _ => a.stored(j, i).map(|number| number.conj()),
            }
        };
        let what = format!("{} op{op} unit={unit} {:?}", self.what(), a.form);
        let row = |i: usize| (0..n).filter_map(move |j| Some((j, element(i, j)?)));
        if solve {
            let solution = x.all_new();
            let tolerance =
                Tolerance { output: self.element, accumulator: accumulator(self.element), k: 2 * n };
            for i in 0..n {
                let product = sum(row(i).map(|(j, a)| [a, solution[j], ONE]));
                assert!(
                    tolerance.accepts(x.old(i), product),
                    "{what}: row {i}: {product:?} for {}",
                    x.old(i)
                );
            }
            // Elements are right by now: what lies between them is compared.
            x.check(&what, 0, |i| Expected { value: solution[i], magnitude: 0.0 });
        } else {
            x.check(&what, n, |i| combine(ONE, row(i), &x, ZERO, || ZERO));
        }
        a.memory.untouched(&what);
    }

    fn rank_one(&mut self, conjugate: bool) {
        let (m, n) = (self.size(), self.size());
        let ld = m.max(1) + self.rng.between(0, 3);
        let a = Matrix::random(self.rng, self.element, (m, n), Form::Full { ld }, |_, _, number| number);
        let (x, y) = (self.vector(m), self.vector(n));
        let (alpha, at_alpha) = self.factor(self.element);
        let arguments = [
            self.int(m),
            self.int(n),
            at_alpha.address(),
            x.address(),
            self.increment(&x),
            y.address(),
            self.increment(&y),
            a.memory.address(),
            self.int(ld),
        ];
        self.call(&arguments);
        let right = |j| if conjugate { y.old(j).conj() } else { y.old(j) };
        let what = format!("{} m{m} n{n} alpha={alpha}", self.what());
        a.check(&what, 2, |i, j, old| sum([[alpha, x.old(i), right(j)], [old, ONE, ONE]]));
    }

    fn symmetric_update(&mut self, shape: Shape, symmetry: Symmetry, rank: usize) {
        let hermitian = symmetry == Symmetry::Hermitian;
        // α of her and hpr is real.
        let scale = if hermitian && rank == 1 { real_of(self.element) } else { self.element };
        let (alpha, at_alpha) = self.factor(scale);
        let dirty = hermitian && alpha != ZERO;
        let triangle =
            self.triangle(
                shape,
                |i, j, number| {
                    if dirty && i == j { Number::new(number.re, f64::NAN) } else { number }
                },
            );
        let n = triangle.n;
        let (x, y) = (self.vector(n), self.vector(n));
        let mut arguments = vec![
            Self::choice(triangle.upper.into()),
            self.int(n),
            at_alpha.address(),
            x.address(),
            self.increment(&x),
        ];
        if rank == 2 {
            arguments.extend([y.address(), self.increment(&y)]);
        }
        arguments.extend(self.memory(shape, &triangle));
        self.call(&arguments);
        let what = format!("{} {:?} alpha={alpha}", self.what(), triangle.matrix.form);
        if alpha == ZERO {
            triangle.matrix.memory.untouched(&what);
            return;
        }
        let conj = |number: Number| if hermitian { number.conj() } else { number };
        triangle.matrix.check(&what, 3, |i, j, old| {
            let old = if hermitian && i == j { Number::new(old.re, 0.0) } else { old };
            let mut expected = if rank == 1 {
                sum([[alpha, x.old(i), conj(x.old(j))], [old, ONE, ONE]])
            } else {
                sum([
                    [alpha, x.old(i), conj(y.old(j))],
                    [conj(alpha), y.old(i), conj(x.old(j))],
                    [old, ONE, ONE],
                ])
            };
            if hermitian && i == j {
                expected.value.im = 0.0;
            }
            expected
        });
    }

    /// Batches: `output` is the type of y, `scale` that of α and β.
    fn gemv_batched(&mut self, pointers: bool, output: Element, scale: Element) {
        let (m, n, count) = (self.rng.between(1, 20), self.rng.between(1, 20), self.rng.between(0, 4));
        let (ld, op) = (m + self.rng.between(0, 3), self.rng.between(0, 2));
        let (rows, cols) = if op == 0 { (m, n) } else { (n, m) };
        let ((alpha, at_alpha), (beta, at_beta)) = (self.factor(scale), self.factor(scale));
        let (incx, incy) = (self.rng.increment(), self.rng.increment());
        let gap = self.rng.between(0, 3);
        // One vector, or one matrix of one column, that all products of the batch lie in.
        let (height, width) =
            (rows * incy.unsigned_abs() as usize + gap, cols * incx.unsigned_abs() as usize);
        let a =
            Matrix::random(self.rng, self.element, (m, n * count), Form::Full { ld }, |_, _, number| number);
        let batch = |rng: &mut Rng, element, len, increment: i64, distance: usize, poison: bool| {
            let mut values = std::collections::BTreeMap::new();
            for vector in 0..count {
                for i in 0..len {
                    let place = gpucompat_reference::blas::vector_place(len, increment, i);
                    let number = if poison { POISON } else { rng.number(element) };
                    values.insert(vector * distance + place, number);
                }
            }
            crate::blas_lab::Memory::new(element, count * distance + 3, &values)
        };
        let x = batch(self.rng, self.element, cols, incx, width, false);
        let y = batch(self.rng, output, rows, incy, height, beta == ZERO);
        let list = |base: u64, distance: usize, element: Element| {
            let bytes = (distance * element.bytes()) as u64;
            let list: Vec<u8> = (0..count as u64).flat_map(|i| (base + i * bytes).to_le_bytes()).collect();
            Device::holding(&list)
        };
        let lists = [
            list(a.memory.address(), ld * n, self.element),
            list(x.address(), width, self.element),
            list(y.address(), height, output),
        ];
        let operand = |index: usize, base: u64, distance: usize| {
            if pointers { vec![lists[index].address] } else { vec![base, distance as u64] }
        };
        let at = [
            operand(0, a.memory.address(), ld * n),
            operand(1, x.address(), width),
            operand(2, y.address(), height),
        ];
        let mut arguments = vec![Self::choice(op), self.int(m), self.int(n), at_alpha.address()];
        for (index, size) in [self.int(ld), self.name.int(incx), self.name.int(incy)].into_iter().enumerate()
        {
            if index == 2 {
                arguments.push(at_beta.address());
            }
            arguments.extend([at[index][0], size]);
            arguments.extend(&at[index][1..]);
        }
        arguments.push(self.int(count));
        self.call(&arguments);
        let what = format!(
            "{} op{op} m{m} n{n} incx{incx} incy{incy} x{count} alpha={alpha} beta={beta}",
            self.what()
        );
        let mut expected = std::collections::BTreeMap::new();
        for product in 0..count {
            let element = |i: usize, j: usize| match op {
                0 => a.stored(i, j + product * n),
                1 => a.stored(j, i + product * n),
                _ => a.stored(j, i + product * n).map(|number| number.conj()),
            };
            for i in 0..rows {
                let place = product * height + gpucompat_reference::blas::vector_place(rows, incy, i);
                let right =
                    |j| x.old(product * width + gpucompat_reference::blas::vector_place(cols, incx, j));
                let mut terms: Vec<[Number; 3]> = Vec::new();
                if alpha != ZERO {
                    terms.extend((0..cols).map(|j| [alpha, element(i, j).unwrap(), right(j)]));
                }
                if beta != ZERO {
                    terms.push([beta, y.old(place), ONE]);
                }
                expected.insert(place, sum(terms));
            }
        }
        y.check(&what, cols, &expected);
    }
}

/// `α·Σ a·x + β·y`, by BLAS's rules: α = 0 and β = 0 read nothing.
fn combine(
    alpha: Number,
    row: impl Iterator<Item = (usize, Number)>,
    x: &Vector,
    beta: Number,
    y: impl Fn() -> Number,
) -> Expected {
    let mut terms: Vec<[Number; 3]> = Vec::new();
    if alpha != ZERO {
        terms.extend(row.map(|(j, a)| [alpha, a, x.old(j)]));
    }
    if beta != ZERO {
        terms.push([beta, y(), ONE]);
    }
    sum(terms)
}

/// Every function of level 2.
pub fn matrix() {
    let (each, mut rng) = rounds();
    let (handle, mut tally) = (create(), Tally::default());
    let mut run = |base: &str, element: Element, test: &dyn Fn(&mut Case<'_>)| {
        for name in Name::both(base) {
            for _ in 0..each {
                let mode = random_mode(&mut rng, handle);
                let name = name.clone();
                test(&mut Case { rng: &mut rng, tally: &mut tally, handle, mode, name, element });
            }
        }
    };
    for (letter, element) in LETTERS {
        let name = |function: &str| format!("cublas{letter}{function}_v2");
        run(&name("gemv"), element, &|case| case.gbmv(false));
        run(&name("gbmv"), element, &|case| case.gbmv(true));
        let mut symmetries = vec![("s", Symmetry::Symmetric)];
        if element.is_complex() {
            symmetries.push(("h", Symmetry::Hermitian));
            run(&name("geru"), element, &|case| case.rank_one(false));
            run(&name("gerc"), element, &|case| case.rank_one(true));
        } else {
            run(&name("ger"), element, &|case| case.rank_one(false));
        }
        for (first, symmetry) in symmetries {
            let full = if symmetry == Symmetry::Symmetric { "sy" } else { "he" };
            for (middle, shape) in [("y", Shape::Full), ("b", Shape::Band), ("p", Shape::Packed)] {
                let stem = if shape == Shape::Full { full.to_owned() } else { format!("{first}{middle}") };
                // The banded symmetric product exists in real and Hermitian form only, the packed ones likewise.
                let exists = shape == Shape::Full || symmetry == Symmetry::Hermitian || !element.is_complex();
                if exists {
                    run(&name(&format!("{stem}mv")), element, &|case| {
                        case.symmetric_product(shape, symmetry);
                    });
                }
                if exists && shape != Shape::Band {
                    run(&name(&format!("{stem}r")), element, &|case| {
                        case.symmetric_update(shape, symmetry, 1);
                    });
                    run(&name(&format!("{stem}r2")), element, &|case| {
                        case.symmetric_update(shape, symmetry, 2);
                    });
                }
            }
        }
        for (middle, shape) in [("r", Shape::Full), ("b", Shape::Band), ("p", Shape::Packed)] {
            run(&name(&format!("t{middle}mv")), element, &|case| case.triangular(shape, false));
            run(&name(&format!("t{middle}sv")), element, &|case| case.triangular(shape, true));
        }
    }
    let mut batched: Vec<(String, Element, Element, Element)> =
        LETTERS.iter().map(|&(letter, element)| (letter.to_string(), element, element, element)).collect();
    batched.push(("HSH".to_owned(), Element::F16, Element::F16, Element::F32));
    batched.push(("HSS".to_owned(), Element::F16, Element::F32, Element::F32));
    batched.push(("TST".to_owned(), Element::Bf16, Element::Bf16, Element::F32));
    batched.push(("TSS".to_owned(), Element::Bf16, Element::F32, Element::F32));
    for (prefix, element, output, scale) in batched {
        run(&format!("cublas{prefix}gemvBatched"), element, &|case| case.gemv_batched(true, output, scale));
        run(&format!("cublas{prefix}gemvStridedBatched"), element, &|case| {
            case.gemv_batched(false, output, scale);
        });
    }
    tally.print();
}
