//! Givens rotations, plain and modified: `rot`, `rotg`, `rotm`, `rotmg`.

use num_traits::Float;

use super::elementwise::update_both;
use super::number::{BlasElement, Factor, Number};
use super::vector::VectorMut;
use crate::dtype::Accumulator;
use crate::tensor::Real;

/// `x ← c·x + s·y`, `y ← c·y − conj(s)·x`.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-rot>.
///
/// # Panics
/// If the vectors differ in length.
pub fn rot<S: BlasElement>(
    c: <S::Exec as Number>::Part,
    s: Factor<S::Exec>,
    x: VectorMut<'_, S>,
    y: VectorMut<'_, S>,
) {
    let conj = s.conj();
    update_both(x, y, |x, y| {
        let (x, y) = (x.value(), y.value());
        (S::nearest(x.scaled(c) + s.times(y)), S::nearest(y.scaled(c) - conj.times(x)))
    });
}

/// What [`rotg`] makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotation<T: Number> {
    /// Cosine.
    pub c: T::Part,
    /// Sine.
    pub s: T,
    /// What becomes of a.
    pub r: T,
    /// What becomes of b: of real numbers the one number from which c and s can be made again, else b itself.
    pub z: T,
}

/// The rotation with `(c s; −conj(s) c)·(a; b) = (r; 0)`.
///
/// Real: r has the sign of the larger of a and b; z is s where |a| > |b|, else 1/c, or 1 where c = 0. Complex:
/// r = a/|a|·√(|a|² + |b|²); c = 0, s = 1, r = b where a = 0.
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-rotg>.
pub fn rotg<T: Number>(a: T, b: T) -> Rotation<T> {
    if T::COMPLEX { rotg_complex(a, b) } else { rotg_real(a.re(), b.re()) }
}

fn rotg_real<T: Number>(a: T::Part, b: T::Part) -> Rotation<T> {
    let (zero, one) = (T::Part::ZERO, T::Part::ONE);
    let of = |value| T::of_parts(value, zero);
    let (size_a, size_b) = (Float::abs(a), Float::abs(b));
    if size_a == zero && size_b == zero {
        return Rotation { c: one, s: of(zero), r: of(zero), z: of(zero) };
    }
    let leader = if size_a > size_b { a } else { b };
    let r = Float::copysign(Float::hypot(a, b), leader);
    let (c, s) = (a / r, b / r);
    let z = if size_a > size_b {
        s
    } else if c == zero {
        one
    } else {
        one / c
    };
    Rotation { c, s: of(s), r: of(r), z: of(z) }
}

fn rotg_complex<T: Number>(a: T, b: T) -> Rotation<T> {
    let (size_a, size_b) = (a.modulus(), b.modulus());
    if size_a == T::Part::ZERO {
        let one = T::of_parts(T::Part::ONE, T::Part::ZERO);
        return Rotation { c: T::Part::ZERO, s: one, r: b, z: b };
    }
    let norm = Float::hypot(size_a, size_b);
    let phase = T::of_parts(a.re() / size_a, a.im() / size_a);
    let conj_b = Accumulator::conj(b);
    let s = phase * T::of_parts(conj_b.re() / norm, conj_b.im() / norm);
    Rotation { c: size_a / norm, s, r: phase.scaled(norm), z: b }
}

/// The matrix H of the modified rotation, by the flag that stands before it in `param`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModifiedRotation<R> {
    /// −2: H is the identity; −1: all four are in `h`; 0: the diagonal is 1; 1: h₁₂ = 1 and h₂₁ = −1.
    pub flag: R,
    /// h₁₁, h₂₁, h₁₂, h₂₂.
    pub h: [R; 4],
}

impl<R: Real> ModifiedRotation<R> {
    /// From the five numbers of `param`.
    pub fn of_param([flag, h11, h21, h12, h22]: [R; 5]) -> ModifiedRotation<R> {
        ModifiedRotation { flag, h: [h11, h21, h12, h22] }
    }

    /// Writes the flag and the elements that it does not imply into `param`; the others stay.
    pub fn write_param(self, param: &mut [R; 5]) {
        param[0] = self.flag;
        let [h11, h21, h12, h22] = self.h;
        if self.flag == -(R::ONE + R::ONE) {
            return;
        }
        if self.flag < R::ZERO {
            param[1..].copy_from_slice(&[h11, h21, h12, h22]);
        } else if self.flag == R::ZERO {
            (param[2], param[3]) = (h21, h12);
        } else {
            (param[1], param[4]) = (h11, h22);
        }
    }

    /// All four elements of H, h₁₁, h₂₁, h₁₂, h₂₂; `None` for the identity.
    fn full(self) -> Option<[R; 4]> {
        let (zero, one) = (R::ZERO, R::ONE);
        let [h11, h21, h12, h22] = self.h;
        if self.flag == -(one + one) {
            None
        } else if self.flag < zero {
            Some(self.h)
        } else if self.flag == zero {
            Some([one, h21, h12, one])
        } else {
            Some([h11, -one, one, h22])
        }
    }
}

/// `(x; y) ← H·(x; y)` for each pair of elements.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-rotm>.
///
/// # Panics
/// If the vectors differ in length.
pub fn rotm<S: BlasElement<Exec: Real>>(
    rotation: ModifiedRotation<S::Exec>,
    x: VectorMut<'_, S>,
    y: VectorMut<'_, S>,
) {
    let Some([h11, h21, h12, h22]) = rotation.full() else { return };
    update_both(x, y, |x, y| {
        let (x, y) = (x.value(), y.value());
        (S::nearest(x * h11 + y * h12), S::nearest(x * h21 + y * h22))
    });
}

/// The modified rotation that makes the second element of `(√d₁·x₁; √d₂·y₁)` 0; d₁, d₂ and x₁ become those of the
/// rotated vector.
///
/// Source: <https://docs.nvidia.com/cuda/cublas/#cublas-t-rotmg>; Lawson, Hanson, Kincaid, Krogh, Basic Linear Algebra
/// Subprograms for Fortran Usage, 1979.
pub fn rotmg<R: Real>(d1: &mut R, d2: &mut R, x1: &mut R, y1: R) -> ModifiedRotation<R> {
    let (zero, one) = (R::ZERO, R::ONE);
    let nothing = ModifiedRotation { flag: -one, h: [zero; 4] };
    if *d1 < zero {
        (*d1, *d2, *x1) = (zero, zero, zero);
        return nothing;
    }
    let p2 = *d2 * y1;
    if p2 == zero {
        return ModifiedRotation { flag: -(one + one), h: [zero; 4] };
    }
    let p1 = *d1 * *x1;
    let (q1, q2) = (p1 * *x1, p2 * y1);
    let mut made = if Float::abs(q1) > Float::abs(q2) {
        let (h21, h12) = (-y1 / *x1, p2 / p1);
        let u = one - h12 * h21;
        if u <= zero {
            (*d1, *d2, *x1) = (zero, zero, zero);
            return nothing;
        }
        (*d1, *d2, *x1) = (*d1 / u, *d2 / u, *x1 * u);
        ModifiedRotation { flag: zero, h: [one, h21, h12, one] }
    } else if q2 < zero {
        (*d1, *d2, *x1) = (zero, zero, zero);
        return nothing;
    } else {
        let (h11, h22) = (p1 / p2, *x1 / y1);
        let u = one + h11 * h22;
        (*d1, *d2) = (*d2 / u, *d1 / u);
        *x1 = y1 * u;
        ModifiedRotation { flag: one, h: [h11, -one, one, h22] }
    };
    rescale(&mut made, d1, x1, 0);
    let mut second = one;
    rescale(&mut made, d2, &mut second, 1);
    made
}

/// Brings a squared scale factor back between 2⁻²⁴ and 2²⁴ by powers of 2¹², with row `row` of H and x₁.
fn rescale<R: Real>(made: &mut ModifiedRotation<R>, d: &mut R, x: &mut R, row: usize) {
    let gamma = R::of(4096.0);
    let square = gamma * gamma;
    let size = |d: &R| Float::abs(*d);
    while *d != R::ZERO && d.is_finite() && (size(d) <= R::ONE / square || size(d) >= square) {
        made.flag = -R::ONE;
        let small = size(d) <= R::ONE / square;
        let (grow, shrink) = if small { (square, R::ONE / gamma) } else { (R::ONE / square, gamma) };
        *d = *d * grow;
        *x = *x * shrink;
        made.h[row] = made.h[row] * shrink;
        made.h[row + 2] = made.h[row + 2] * shrink;
    }
}
