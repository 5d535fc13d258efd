//! QR factorisation and least squares, in LAPACK's storage: GEQRF, GELS.
//!
//! `A = Q·R` with `Q = H₁·H₂·…·H_k`, `H_i = I − τ_i·v·vᴴ`, v = (0 … 0, 1, v_{i+1} … v_m); R takes the upper
//! triangle of A, the elements of v below its 1 the places under the diagonal. R's diagonal is real, with the
//! sign opposite to that of the element it replaces. Sources: LAPACK Users' Guide, "Orthogonal factorizations";
//! xLARFG, xGEQR2.

use num_traits::{Float, One};

use super::field::Field;
use super::triangular::triangular_solve;
use super::view::{Diagonal, Side, Triangle, Triangular, add_scaled, columns};
use crate::shape::MatMut;

/// Factors the m×n matrix in the columns of `a`, `ld` apart; `tau` gets its min(m, n) scalars.
///
/// # Panics
/// If the matrix or `tau` do not fit their slices.
pub fn qr_factor<T: Field>(m: usize, n: usize, a: &mut [T], ld: usize, tau: &mut [T]) {
    for step in 0..m.min(n) {
        let end = ((step + 1) * ld).min(a.len());
        let (done, rest) = a.split_at_mut(end);
        let column = &mut done[step * ld + step..step * ld + m];
        tau[step] = reflector(column);
        for other in rest.chunks_mut(ld).take(n - step - 1) {
            reflect(&column[1..], tau[step].conj(), &mut other[step..m]);
        }
    }
}

/// Minimises `‖B − A·X‖₂` for the m×n A of full rank, m ≥ n, and each column of the m×`cols` B. A becomes its
/// QR factorisation, the first n rows of B become X, and the squared norms of the rest of its columns are those
/// of the residuals. The answer counts from 1: the first zero on R's diagonal, where A lacks full rank and X is
/// not computed; 0 if there is none.
///
/// # Panics
/// If m < n, or an operand does not fit its slice.
pub fn least_squares<T: Field>(
    m: usize,
    n: usize,
    cols: usize,
    a: &mut [T],
    ld: usize,
    b: &mut [T],
    ldb: usize,
) -> i32 {
    assert!(m >= n, "{m} equations for {n} unknowns");
    let mut tau = vec![T::zero(); n];
    qr_factor(m, n, a, ld, &mut tau);
    for right in b.chunks_mut(ldb.max(1)).take(cols) {
        for (step, tau) in tau.iter().enumerate() {
            reflect(&a[step * ld + step + 1..step * ld + m], tau.conj(), &mut right[step..m]);
        }
    }
    let info = super::factor::singular_at(n, a, ld);
    if info == 0 {
        let r = Triangular { matrix: columns(a, ld), triangle: Triangle::Upper, diagonal: Diagonal::Stored };
        let x = MatMut { data: b, row_stride: 1, col_stride: ldb, batch_stride: 0 };
        triangular_solve(Side::Left, n, cols, T::one(), r, x);
    }
    info
}

/// `x ← (I − τ·v·vᴴ)·x`, v = (1, `tail`).
fn reflect<T: Field>(tail: &[T], tau: T, x: &mut [T]) {
    let Some((first, rest)) = x.split_first_mut() else { return };
    if tau == T::zero() {
        return;
    }
    let dot = tail.iter().zip(&*rest).fold(*first, |sum, (v, &x)| sum.add_product(v.conj(), x));
    let factor = -(tau * dot);
    *first += factor;
    add_scaled(rest, factor, tail);
}

/// The reflector that makes `x` a multiple of the first unit vector: its τ; `x` becomes (β, v₂ … ), β real.
/// Nothing is done (τ = 0) where `x` already is a real multiple.
fn reflector<T: Field>(x: &mut [T]) -> T {
    let Some((first, tail)) = x.split_first_mut() else { return T::zero() };
    let zero = <T::Real as num_traits::Zero>::zero();
    let one = <T::Real as One>::one();
    if first.im() == zero && tail.iter().all(|&element| element == T::zero()) {
        return T::zero();
    }
    // Very small columns are enlarged: their norm would lose digits, or vanish.
    let small = T::Real::min_positive_value() / T::Real::epsilon();
    let largest = tail.iter().fold(first.magnitude(), |most, element| most.max(element.magnitude()));
    let enlargement = if largest < small { one / small } else { one };
    if largest < small {
        *first = first.scaled(enlargement);
        tail.iter_mut().for_each(|element| *element = element.scaled(enlargement));
    }
    let norm = norm(*first, tail);
    let beta = if first.re().is_sign_negative() { norm } else { -norm };
    let tau = T::from_parts((beta - first.re()) / beta, -first.im() / beta);
    let divisor = *first - T::from_real(beta);
    tail.iter_mut().for_each(|element| *element = element.divided_by(divisor));
    *first = T::from_real(beta / enlargement);
    tau
}

/// The Euclidean norm, its squares scaled so that they neither overflow nor underflow.
fn norm<T: Field>(first: T, tail: &[T]) -> T::Real {
    let parts = || std::iter::once(&first).chain(tail).flat_map(|element| [element.re(), element.im()]);
    let zero = <T::Real as num_traits::Zero>::zero();
    let largest = parts().fold(zero, |most, part| most.max(part.abs()));
    if largest == zero || largest.is_infinite() {
        return largest;
    }
    let sum = parts().fold(zero, |sum, part| sum + (part / largest) * (part / largest));
    largest * sum.sqrt()
}
