//! Matrices of fresh random numbers with gaps, poisoned wherever nothing may be read or written.

use gpucompat_engine::{Conj, Field, MatMut, MatRef, Triangle};
use gpucompat_reference::gemm::{Expected, Number};
use gpucompat_reference::structured::Half;
use num_traits::{Float, ToPrimitive};

/// Random numbers; the seed is printed where a test fails.
pub struct Random {
    pub seed: u64,
    state: u64,
}

impl Random {
    pub fn from_clock() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Random::with_seed(now.as_nanos() as u64)
    }

    pub fn with_seed(seed: u64) -> Random {
        Random { seed, state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Between −1 and 1.
    pub fn number(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub fn pick<C: Copy>(&mut self, choices: &[C]) -> C {
        choices[(self.next() % choices.len() as u64) as usize]
    }

    pub fn element<T: Field>(&mut self) -> T {
        from_number(Number::new(self.number(), self.number()))
    }
}

pub fn from_number<T: Field>(value: Number) -> T {
    let part = |x: f64| <T::Real as num_traits::NumCast>::from(x).unwrap();
    T::from_parts(part(value.re), part(value.im))
}

pub fn number<T: Field>(value: T) -> Number {
    Number::new(value.re().to_f64().unwrap(), value.im().to_f64().unwrap())
}

/// Unit roundoff.
pub fn roundoff<T: Field>() -> f64 {
    T::Real::epsilon().to_f64().unwrap() / 2.0
}

pub fn half(triangle: Triangle) -> Half {
    if triangle == Triangle::Lower { Half::Lower } else { Half::Upper }
}

/// A column-major matrix.
#[derive(Clone, Debug)]
pub struct Matrix<T> {
    pub data: Vec<T>,
    pub rows: usize,
    pub ld: usize,
}

impl<T: Field> Matrix<T> {
    /// Random elements where `holds` says so, NaN everywhere else.
    pub fn random(
        random: &mut Random,
        rows: usize,
        cols: usize,
        holds: impl Fn(usize, usize) -> bool,
    ) -> Matrix<T> {
        let ld = rows.max(1) + random.pick(&[0, 1, 5]);
        let poison = from_number(Number::new(f64::NAN, f64::NAN));
        let mut data = vec![poison; ld * cols];
        for col in 0..cols {
            for row in (0..rows).filter(|&row| holds(row, col)) {
                data[row + col * ld] = random.element();
            }
        }
        Matrix { data, rows, ld }
    }

    pub fn at(&self, row: usize, col: usize) -> Number {
        number(self.data[row + col * self.ld])
    }

    pub fn set(&mut self, row: usize, col: usize, value: T) {
        self.data[row + col * self.ld] = value;
    }

    pub fn view(&self) -> MatRef<'_, T> {
        MatRef { data: &self.data, row_stride: 1, col_stride: self.ld, batch_stride: 0, conjugate: Conj::No }
    }

    pub fn output(&mut self) -> MatMut<'_, T> {
        MatMut { data: &mut self.data, row_stride: 1, col_stride: self.ld, batch_stride: 0 }
    }

    /// Whether all elements but those of `written` are still those of `before`, bit for bit.
    pub fn keeps(&self, before: &Matrix<T>, written: impl Fn(usize, usize) -> bool) {
        for index in 0..self.data.len() {
            let (row, col) = (index % self.ld, index / self.ld);
            if row >= self.rows || !written(row, col) {
                let bits = |value: Number| [value.re.to_bits(), value.im.to_bits()];
                let (now, then) = (bits(self.at(row, col)), bits(before.at(row, col)));
                assert_eq!(now, then, "({row}, {col}) was written");
            }
        }
    }
}

/// `op(X)` as tests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    N,
    T,
    C,
}

impl Op {
    pub const ALL: [Op; 3] = [Op::N, Op::T, Op::C];

    /// The view of op(X) of a stored X.
    pub fn view<T: Field>(self, matrix: &Matrix<T>) -> MatRef<'_, T> {
        let view = matrix.view();
        let conjugate = if self == Op::C { Conj::Yes } else { Conj::No };
        match self {
            Op::N => view,
            _ => MatRef { row_stride: view.col_stride, col_stride: 1, conjugate, ..view },
        }
    }

    /// Element (i, j) of op(X).
    pub fn at(self, x: impl Fn(usize, usize) -> Number, i: usize, j: usize) -> Number {
        match self {
            Op::N => x(i, j),
            Op::T => x(j, i),
            Op::C => x(j, i).conj(),
        }
    }

    /// Rows and columns of X if op(X) has these.
    pub fn stored(self, rows: usize, cols: usize) -> [usize; 2] {
        if self == Op::N { [rows, cols] } else { [cols, rows] }
    }
}

/// `|got − want| ≤ 4·(terms + 8)·u·magnitude`.
pub fn close<T: Field>(got: Number, want: Expected, terms: usize) {
    let allowed = 4.0 * (terms + 8) as f64 * roundoff::<T>() * want.magnitude;
    let error = (got - want.value).norm();
    assert!(error <= allowed, "{got} is not {} ± {allowed}", want.value);
}
