//! GEMM problems: `f32->f32:f32 nt m7 n5 k3 lda9 ldb6 ldc8 alpha1.5 beta0 batch2 gap3 seed42`.
//!
//! A line like this is all that a failing test prints and all that running it again takes.

use std::fmt;
use std::str::FromStr;

use gpucompat_reference::gemm::{Activation, Expected, Problem};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::element::{Element, Number};
use crate::judge::Tolerance;

/// The types of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types {
    /// A and B.
    pub ab: Element,
    /// C.
    pub c: Element,
    /// α and β.
    pub scale: Element,
}

impl Types {
    /// All of one type.
    pub const fn uniform(element: Element) -> Types {
        Types { ab: element, c: element, scale: element }
    }

    /// What sums are formed in, for the tolerance.
    pub fn accumulator(self) -> Element {
        match self.ab {
            Element::F64 | Element::C64 => Element::F64,
            Element::I8 if self.c == Element::I32 => Element::I32,
            _ => Element::F32,
        }
    }
}

/// One problem. Matrices are column-major; `gap` is the space between the matrices of a batch, elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GemmCase {
    /// Types.
    pub types: Types,
    /// `n`, `t` or `c` for A.
    pub transa: char,
    /// The same for B.
    pub transb: char,
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Depth.
    pub k: usize,
    /// Leading dimensions of A, B, C.
    pub ld: [usize; 3],
    /// α (real and imaginary part alike for complex types).
    pub alpha: f64,
    /// β.
    pub beta: f64,
    /// Matrices.
    pub batch: usize,
    /// Elements between them.
    pub gap: usize,
    /// What the data are made from.
    pub seed: u64,
}

/// The operands of a case as bytes, and what is expected of C.
pub struct Data {
    /// A, batch by batch, with poison in its padding.
    pub a: Vec<u8>,
    /// B.
    pub b: Vec<u8>,
    /// C before; all poison if β = 0.
    pub c: Vec<u8>,
    /// Each element of C after, by batch, column, row.
    pub expected: Vec<Expected>,
}

/// Rows, columns, leading dimension and distance of an operand.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// Rows as stored.
    pub rows: usize,
    /// Columns as stored.
    pub cols: usize,
    /// Leading dimension.
    pub ld: usize,
    /// Elements from matrix to matrix.
    pub stride: usize,
}

impl GemmCase {
    /// A random case of these types: edge sizes often, and every kind of scalar.
    pub fn random(types: Types, batch: usize, seed: u64) -> GemmCase {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut size = || match rng.random_range(0..10) {
            0 => 0,
            1 | 2 => 1,
            3 => 17,
            4 => rng.random_range(30..70),
            _ => rng.random_range(2..20),
        };
        let (m, n, k) = (size(), size(), size());
        let mut trans = || ['n', 't', 'c'][rng.random_range(0..3)];
        let (transa, transb) = (trans(), trans());
        let rows =
            |transposed: char, plain: usize, other: usize| if transposed == 'n' { plain } else { other };
        let mut ld = |rows: usize| rows.max(1) + if rng.random() { 0 } else { rng.random_range(1..5) };
        let ld = [ld(rows(transa, m, k)), ld(rows(transb, k, n)), ld(m)];
        let mut scalar = || match rng.random_range(0..5) {
            0 => 0.0,
            1 | 2 => 1.0,
            3 => -1.0,
            _ if types.scale.is_integer() => f64::from(rng.random_range(-3..4)),
            _ => f64::from(rng.random_range(-8..9)) / 4.0,
        };
        let (alpha, beta) = (scalar(), scalar());
        let gap = if rng.random() { 0 } else { rng.random_range(1..9) };
        GemmCase { types, transa, transb, m, n, k, ld, alpha, beta, batch, gap, seed }
    }

    /// The cases to try before random ones: sizes 0, 1, primes and one past a power of two; every pair of
    /// operations; tight and large leading dimensions; every kind of α and β, NaN included for real types.
    pub fn edges(types: Types) -> Vec<GemmCase> {
        const SIZES: [[usize; 3]; 12] = [
            [0, 3, 2],
            [3, 0, 2],
            [3, 2, 0],
            [1, 1, 1],
            [1, 7, 13],
            [7, 1, 13],
            [7, 13, 1],
            [17, 17, 17],
            [2, 33, 5],
            [33, 2, 65],
            [16, 31, 8],
            [19, 18, 23],
        ];
        const OPS: [char; 3] = ['n', 't', 'c'];
        let real = !types.scale.is_complex() && !types.scale.is_integer();
        let mut scalars = vec![0.0, 1.0, -1.0, 3.0];
        scalars.extend(real.then_some(f64::NAN));
        let mut cases = Vec::new();
        for (number, (sizes, ops)) in
            SIZES.iter().flat_map(|size| (0..9).map(move |ops| (size, ops))).enumerate()
        {
            let [m, n, k] = *sizes;
            let [transa, transb] = [OPS[ops / 3], OPS[ops % 3]];
            let extra = [0, 1, 29][number % 3];
            let rows = [if transa == 'n' { m } else { k }, if transb == 'n' { k } else { n }, m];
            let ld = rows.map(|rows| rows.max(1) + extra);
            let alpha = scalars[number % scalars.len()];
            let beta = scalars[number / scalars.len() % scalars.len()];
            let (batch, gap, seed) = (1 + number % 3, number % 2 * 5, number as u64);
            cases.push(GemmCase { types, transa, transb, m, n, k, ld, alpha, beta, batch, gap, seed });
        }
        cases
    }

    /// How an operand (0 A, 1 B, 2 C) is stored.
    pub fn stored(&self, operand: usize) -> Stored {
        let (rows, cols) = match operand {
            0 if self.transa == 'n' => (self.m, self.k),
            0 => (self.k, self.m),
            1 if self.transb == 'n' => (self.k, self.n),
            1 => (self.n, self.k),
            _ => (self.m, self.n),
        };
        let ld = self.ld[operand];
        Stored { rows, cols, ld, stride: ld * cols + self.gap }
    }

    /// α or β as a number of the scale type.
    pub fn scalar(&self, value: f64) -> Number {
        Number::new(value, if self.types.scale.is_complex() { value * 0.5 } else { 0.0 })
    }

    /// What errors are measured by.
    pub fn tolerance(&self) -> Tolerance {
        Tolerance { output: self.types.c, accumulator: self.types.accumulator(), k: self.k }
    }

    /// Operands and expected result.
    pub fn data(&self) -> Data {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x5eed);
        let wild = self.seed % 16 == 7 && !self.types.ab.is_complex() && !self.types.ab.is_integer();
        let (a, b) = (self.fill(&mut rng, 0, wild), self.fill(&mut rng, 1, wild));
        let c = if self.beta == 0.0 { self.poison() } else { self.fill(&mut rng, 2, false) };
        let mut expected = Vec::new();
        for batch in 0..self.batch {
            let problem = Problem {
                m: self.m,
                n: self.n,
                k: self.k,
                alpha: self.scalar(self.alpha),
                beta: self.scalar(self.beta),
                activation: Activation::None,
            };
            expected.extend(gpucompat_reference::gemm::gemm(
                problem,
                |i, l| self.op(0, self.transa, &a, batch, i, l),
                |l, j| self.op(1, self.transb, &b, batch, l, j),
                |i, j| self.op(2, 'n', &c, batch, i, j),
                |_| 0.0,
            ));
        }
        Data { a, b, c, expected }
    }

    /// Names the worst element of C after, by its error over the allowed one, and the line that repeats the
    /// case; or an element that was written where nothing should be.
    pub fn check(&self, before: &[u8], after: &[u8], expected: &[Expected]) -> Result<(), String> {
        let stored = self.stored(2);
        let element = self.types.c;
        let mut worst: Option<(f64, String)> = None;
        for (index, (old, new)) in
            before.chunks(element.bytes()).zip(after.chunks(element.bytes())).enumerate()
        {
            let (batch, rest) = (index / stored.stride.max(1), index % stored.stride.max(1));
            let (row, col) = (rest % stored.ld, rest / stored.ld);
            if row < self.m && col < self.n && batch < self.batch {
                let want = expected[(batch * self.n + col) * self.m + row];
                let got = element.decode(new, 0);
                if self.tolerance().accepts(got, want) {
                    continue;
                }
                let allowed = self.tolerance().of(want);
                let excess = (got - want.value).norm() / allowed;
                let excess = if excess.is_nan() { f64::INFINITY } else { excess };
                if worst.as_ref().is_none_or(|(most, _)| excess > *most) {
                    let place = format!("C[{row}, {col}] of matrix {batch}");
                    let want = want.value;
                    worst =
                        Some((excess, format!("{self}: {place} is {got}, expected {want} ± {allowed:e}")));
                }
            } else if old != new {
                return Err(format!("{self}: padding at element {index} was written"));
            }
        }
        worst.map_or(Ok(()), |(_, message)| Err(message))
    }

    fn op(&self, operand: usize, op: char, bytes: &[u8], batch: usize, row: usize, col: usize) -> Number {
        let stored = self.stored(operand);
        let (row, col) = if op == 'n' { (row, col) } else { (col, row) };
        let element = if operand == 2 { self.types.c } else { self.types.ab };
        let value = element.decode(bytes, batch * stored.stride + col * stored.ld + row);
        if op == 'c' { value.conj() } else { value }
    }

    fn elements(&self, operand: usize) -> usize {
        (self.stored(operand).stride * self.batch).max(1)
    }

    fn poison(&self) -> Vec<u8> {
        vec![0xff; self.elements(2) * self.types.c.bytes()]
    }

    fn fill(&self, rng: &mut ChaCha8Rng, operand: usize, wild: bool) -> Vec<u8> {
        let stored = self.stored(operand);
        let element = if operand == 2 { self.types.c } else { self.types.ab };
        let mut bytes = Vec::with_capacity(self.elements(operand) * element.bytes());
        for index in 0..self.elements(operand) {
            let rest = index % stored.stride.max(1);
            if rest % stored.ld >= stored.rows || rest / stored.ld >= stored.cols {
                bytes.extend(std::iter::repeat_n(0xff, element.bytes()));
                continue;
            }
            let mut part = || match element {
                Element::I8 => f64::from(rng.random_range(-128..128)),
                Element::CI8 => f64::from(rng.random_range(-20..21)),
                Element::I32 => f64::from(rng.random_range(-100_000..100_000)),
                _ => rng.random_range(-1.0..1.0),
            };
            let mut value = Number::new(part(), if element.is_complex() { part() } else { 0.0 });
            if wild && rng.random_range(0..40) == 0 {
                value.re = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][rng.random_range(0..3)];
            }
            element.encode(value, &mut bytes);
        }
        bytes
    }
}

impl fmt::Display for GemmCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Types { ab, c, scale } = self.types;
        write!(f, "{}->{}:{} {}{}", ab.name(), c.name(), scale.name(), self.transa, self.transb)?;
        write!(f, " m{} n{} k{}", self.m, self.n, self.k)?;
        write!(f, " lda{} ldb{} ldc{}", self.ld[0], self.ld[1], self.ld[2])?;
        write!(f, " alpha{} beta{}", self.alpha, self.beta)?;
        write!(f, " batch{} gap{} seed{}", self.batch, self.gap, self.seed)
    }
}

impl FromStr for GemmCase {
    type Err = String;

    fn from_str(text: &str) -> Result<GemmCase, String> {
        let mut words = text.split_whitespace();
        let mut next = || words.next().ok_or_else(|| format!("{text:?} is too short"));
        let types = next()?;
        let (ab, rest) = types.split_once("->").ok_or("no ->")?;
        let (c, scale) = rest.split_once(':').ok_or("no :")?;
        let element = |name| Element::from_name(name).ok_or_else(|| format!("{name:?} is no type"));
        let types = Types { ab: element(ab)?, c: element(c)?, scale: element(scale)? };
        let ops: Vec<char> = next()?.chars().collect();
        let mut number = |prefix: &str| -> Result<f64, String> {
            let word = next()?;
            let digits = word.strip_prefix(prefix).ok_or_else(|| format!("{word:?} is no {prefix}"))?;
            digits.parse().map_err(|_| format!("{word:?} is no number"))
        };
        let mut size = |prefix: &str| number(prefix).map(|value| value as usize);
        let (m, n, k) = (size("m")?, size("n")?, size("k")?);
        let ld = [size("lda")?, size("ldb")?, size("ldc")?];
        let (alpha, beta) = (number("alpha")?, number("beta")?);
        let mut size = |prefix: &str| number(prefix).map(|value| value as usize);
        let (batch, gap, seed) = (size("batch")?, size("gap")?, size("seed")? as u64);
        let [transa, transb] = ops[..] else { return Err(format!("{ops:?} are no two operations")) };
        Ok(GemmCase { types, transa, transb, m, n, k, ld, alpha, beta, batch, gap, seed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_round_trips() {
        for seed in 0..200 {
            let case = GemmCase::random(Types::uniform(Element::F32), 1 + seed as usize % 3, seed);
            assert_eq!(case.to_string().parse(), Ok(case));
        }
    }

    #[test]
    fn the_edges_have_every_size_operation_and_scalar() {
        let cases = GemmCase::edges(Types::uniform(Element::F32));
        for wanted in [
            |case: &GemmCase| case.m == 0,
            |case: &GemmCase| case.k == 0 && case.beta == 0.0,
            |case: &GemmCase| case.alpha == 0.0 && case.beta == -1.0,
            |case: &GemmCase| case.alpha.is_nan(),
            |case: &GemmCase| case.transa == 'c' && case.transb == 't' && case.ld[2] > 2 * case.m,
        ] {
            assert!(cases.iter().any(wanted));
        }
        for case in cases {
            let text = case.to_string();
            assert_eq!(text.parse::<GemmCase>().map(|again| again.to_string()), Ok(text));
        }
    }

    #[test]
    fn the_worst_element_is_the_one_reported() {
        let case: GemmCase =
            "f64->f64:f64 nn m3 n1 k1 lda3 ldb1 ldc3 alpha1 beta0 batch1 gap0 seed1".parse().unwrap();
        let data = case.data();
        let errors = [1.0, 5.0, 2.0];
        let after: Vec<u8> = data
            .expected
            .iter()
            .zip(errors)
            .flat_map(|(expected, error)| (expected.value.re + error).to_le_bytes())
            .collect();
        let message = case.check(&data.c, &after, &data.expected).unwrap_err();
        assert!(message.starts_with(&format!("{case}: C[1, 0] of matrix 0")), "{message}");
    }

    #[test]
    fn beta_zero_poisons_all_of_c() {
        let case = GemmCase { beta: 0.0, ..GemmCase::random(Types::uniform(Element::F32), 1, 3) };
        assert!(case.data().c.iter().all(|&byte| byte == 0xff));
    }

    #[test]
    fn a_wrong_element_and_a_touched_gap_are_found() {
        let case: GemmCase =
            "f32->f32:f32 nn m2 n2 k2 lda2 ldb2 ldc3 alpha1 beta0 batch1 gap0 seed1".parse().unwrap();
        let data = case.data();
        let mut right = data.c.clone();
        for (index, expected) in data.expected.iter().enumerate() {
            let place = (index / 2 * 3 + index % 2) * 4;
            right[place..place + 4].copy_from_slice(&(expected.value.re as f32).to_le_bytes());
        }
        assert_eq!(case.check(&data.c, &right, &data.expected), Ok(()));
        let mut wrong = right.clone();
        wrong[1] ^= 0x80;
        assert!(case.check(&data.c, &wrong, &data.expected).is_err());
        let mut touched = right;
        touched[2 * 4] = 0;
        assert!(case.check(&data.c, &touched, &data.expected).is_err());
    }
}
