//! BLAS levels 1 and 2 against slow sums in double precision, at sizes that take several blocks and threads.
//!
//! Tolerance: (k + 8)·u·Σ|terms|, u half the distance from 1 to the next number, k the terms of a sum. The forms of
//! matrices and the rules for scalars are tested through the C functions (`shim-tests/abi`, `blas1`, `blas2`).

use gpucompat_engine::blas::{
    self, BlasElement, Diagonal, Extreme, Factor, Number, Storage, Stored, Symmetry, Transposition, Triangle,
    Vector, VectorMut,
};
use gpucompat_engine::{C32, C64, Conj, Real};
use gpucompat_reference::blas::{extreme, magnitudes, norm, sum};
use gpucompat_reference::gemm::{Expected, Number as Exact};

const ONE: Exact = Exact::new(1.0, 0.0);

/// Random numbers, with the seed they began with.
struct Rng {
    seed: u64,
    state: u64,
}

impl Rng {
    fn from_clock() -> Rng {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Rng { seed: now.as_nanos() as u64, state: now.as_nanos() as u64 }
    }

    /// Between −1 and 1, by SplitMix64.
    fn number(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

fn number<T: Number>(rng: &mut Rng) -> T {
    T::of_parts(Real::of(rng.number()), Real::of(rng.number()))
}

fn numbers<T: Number>(rng: &mut Rng, count: usize) -> Vec<T> {
    (0..count).map(|_| number(rng)).collect()
}

fn exact<T: Number>(value: T) -> Exact {
    Exact::new(value.re().to_double(), value.im().to_double())
}

fn unit<T: Number>() -> f64 {
    if <T::Part as Real>::DOUBLE { f64::EPSILON / 2.0 } else { f64::from(f32::EPSILON) / 2.0 }
}

fn close<T: Number>(what: &str, got: T, want: Expected, k: usize) {
    let allowed = (k + 8) as f64 * unit::<T>() * want.magnitude * 4.0;
    let error = (exact(got) - want.value).norm();
    assert!(error <= allowed, "{what}: {got:?} for {want:?}, error {error:e} > {allowed:e}");
}

/// Every function of level 1 on long vectors, contiguous and with gaps that hold NaN.
fn long_vectors<T: Number + BlasElement<Exec = T>>(rng: &mut Rng, n: usize, step: isize) {
    let what = format!("n={n} step={step} seed={}", rng.seed);
    let gap = step.unsigned_abs();
    let poison = T::of_parts(Real::of(f64::NAN), Real::of(f64::NAN));
    let spread = |values: &[T]| {
        let mut memory = vec![poison; n * gap];
        VectorMut::new(&mut memory, n, step).scatter(values);
        memory
    };
    let (x_values, y_values) = (numbers::<T>(rng, n), numbers::<T>(rng, n));
    let (x, y) = (spread(&x_values), spread(&y_values));
    let (x_view, y_view) = (Vector::new(&x, n, step), Vector::new(&y, n, step));
    let all = |values: &[T]| values.iter().map(|&value| exact(value)).collect::<Vec<_>>();
    let (xs, ys) = (all(&x_values), all(&y_values));
    let pairs = || xs.iter().zip(&ys);
    // Blocks of partial sums: errors grow with the logarithm of the length.
    let depth = 1024;
    close(&what, blas::dot(Conj::No, x_view, y_view), sum(pairs().map(|(&x, &y)| [x, y, ONE])), depth);
    close(
        &what,
        blas::dot(Conj::Yes, x_view, y_view),
        sum(pairs().map(|(&x, &y)| [x.conj(), y, ONE])),
        depth,
    );
    close(&what, blas::nrm2(x_view), norm(xs.clone()), depth);
    close(&what, blas::asum(x_view), magnitudes(xs.clone()), depth);
    for (which, largest) in [(Extreme::Largest, true), (Extreme::Smallest, false)] {
        // Sizes are compared in the element's precision, in which some are equal that differ in double precision.
        let sizes = x_values.iter().map(|value| Exact::new(value.size().to_double(), 0.0));
        let position = blas::extreme_index(which, x_view).map_or(0, |index| index + 1);
        assert_eq!(position, extreme(sizes, largest), "{what}");
    }
    let (alpha, c) = (number::<T>(rng), number::<T>(rng).re());
    let mut sums = y.clone();
    blas::axpy(Factor::Full(alpha), x_view, VectorMut::new(&mut sums, n, step));
    let (mut turned_x, mut turned_y) = (x.clone(), y.clone());
    blas::rot(
        c,
        Factor::Full(alpha),
        VectorMut::new(&mut turned_x, n, step),
        VectorMut::new(&mut turned_y, n, step),
    );
    let mut scaled = x.clone();
    blas::scal(Factor::Full(alpha), VectorMut::new(&mut scaled, n, step));
    let (a, cosine) = (exact(alpha), Exact::new(c.to_double(), 0.0));
    for i in 0..n {
        let at = |memory: &[T]| Vector::new(memory, n, step).get(i);
        close(&what, at(&sums), sum([[a, xs[i], ONE], [ys[i], ONE, ONE]]), 2);
        close(&what, at(&turned_x), sum([[cosine, xs[i], ONE], [a, ys[i], ONE]]), 2);
        close(&what, at(&turned_y), sum([[cosine, ys[i], ONE], [-a.conj(), xs[i], ONE]]), 2);
        close(&what, at(&scaled), sum([[a, xs[i], ONE]]), 1);
    }
    let (mut left, mut right) = (x.clone(), y.clone());
    blas::swap(VectorMut::new(&mut left, n, step), VectorMut::new(&mut right, n, step));
    blas::copy(Vector::new(&left, n, step), VectorMut::new(&mut right, n, step));
    assert!((0..n).all(|i| Vector::new(&right, n, step).get(i) == y_values[i]), "{what}");
    for memory in [&sums, &turned_x, &turned_y, &scaled, &left, &right] {
        let gaps = (0..n * gap).filter(|place| !place.is_multiple_of(gap));
        assert!(
            gaps.clone().all(|place| memory[place].re() != memory[place].re()),
            "{what}: a gap was written"
        );
    }
}

#[test]
fn long_vectors_agree_with_the_reference_in_every_type_and_step() {
    let mut rng = Rng::from_clock();
    for n in [0, 1, 17, 8192, 8193, 200_001] {
        for step in [1, -1, 3] {
            long_vectors::<f32>(&mut rng, n, step);
            long_vectors::<f64>(&mut rng, n, step);
            long_vectors::<C32>(&mut rng, n, step);
            long_vectors::<C64>(&mut rng, n, step);
        }
    }
}

#[test]
fn a_sum_does_not_depend_on_the_increment() {
    let mut rng = Rng::from_clock();
    let values = numbers::<f32>(&mut rng, 30_000);
    let mut spread = vec![f32::NAN; 90_000];
    VectorMut::new(&mut spread, 30_000, 3).scatter(&values);
    let of = |x: Vector<'_, f32>| [blas::dot(Conj::No, x, x), blas::nrm2(x), blas::asum(x)].map(f32::to_bits);
    assert_eq!(of(Vector::new(&values, 30_000, 1)), of(Vector::new(&spread, 30_000, 3)), "seed {}", rng.seed);
}

#[test]
fn norms_of_huge_and_tiny_numbers_neither_overflow_nor_vanish() {
    for exponent in [-1074, -1060, -1022, -600, -1, 0, 600, 1020] {
        let value = 2.0f64.powi(exponent / 2) * 2.0f64.powi(exponent - exponent / 2);
        assert_eq!(
            blas::nrm2(Vector::new(&[value; 16], 16, 1)),
            4.0 * value.min(f64::MAX / 4.0),
            "2^{exponent}"
        );
        let complex = [C64::new(value, 0.0), C64::new(0.0, -value)];
        let norm = blas::nrm2(Vector::new(&complex, 2, 1));
        assert!(
            (norm - value * 2.0f64.sqrt()).abs() <= (value * 1e-15).max(5e-324),
            "2^{exponent}: {norm:e}"
        );
    }
    for value in [f32::MAX / 4.0, f32::MIN_POSITIVE, f32::from_bits(1)] {
        assert_eq!(blas::nrm2(Vector::new(&[value; 4], 4, 1)), 2.0 * value);
    }
    assert!(blas::nrm2(Vector::new(&[f64::NAN, 0.0], 2, 1)).is_nan());
    assert_eq!(blas::nrm2(Vector::new(&[f64::NEG_INFINITY, 1.0], 2, 1)), f64::INFINITY);
    assert_eq!(blas::nrm2(Vector::new(&[] as &[f64], 0, 1)), 0.0);
}

#[test]
fn complex_quotients_neither_overflow_nor_vanish() {
    let mut rng = Rng::from_clock();
    for scale in [1e-200, 1.0, 1e200] {
        let (a, b) = (number::<C64>(&mut rng), number::<C64>(&mut rng));
        let got = (a * scale).over(b * scale);
        assert!((got * b - a).norm() <= 1e-14 * a.norm().max(b.norm()), "{a} / {b} at {scale}: {got}");
    }
    assert_eq!(C32::new(1.0, 2.0).over(C32::new(0.0, 1.0)), C32::new(2.0, -1.0));
}

/// Products, solutions and updates with one large triangle; the other one holds NaN.
fn large_triangle<T: Number + BlasElement<Exec = T>>(rng: &mut Rng, triangle: Triangle) {
    let n = 151;
    let ld = n + 2;
    let stored = Stored { rows: n, cols: n, storage: Storage::Triangular { triangle, ld } };
    let nan = T::of_parts(Real::of(f64::NAN), Real::of(f64::NAN));
    let mut a = vec![nan; ld * n];
    for col in 0..n {
        let column = stored.column(col);
        for (row, place) in column.rows.clone().zip(column.places()) {
            let small = number::<T>(rng).scaled(Real::of(1.0 / n as f64));
            a[place] = if row == col { small + T::of_parts(Real::of(1.0), Real::of(0.0)) } else { small };
        }
    }
    let before = a.clone();
    let element = |i: usize, j: usize| {
        let (row, col) = if (i <= j) == (triangle == Triangle::Upper) { (i, j) } else { (j, i) };
        (exact(before[row + col * ld]), (row, col) == (i, j))
    };
    let (x, y) = (numbers::<T>(rng, n), numbers::<T>(rng, n));
    let (alpha, beta) = (number::<T>(rng), number::<T>(rng));
    let what = format!("{triangle:?} seed {}", rng.seed);
    let (x_view, y_view) = (Vector::new(&x, n, 1), Vector::new(&y, n, 1));
    for symmetry in [Symmetry::Symmetric, Symmetry::Hermitian] {
        let mut result = y.clone();
        blas::symmetric_product(symmetry, alpha, &a, stored, x_view, beta, VectorMut::new(&mut result, n, 1));
        for i in 0..n {
            let row = (0..n).map(|j| {
                let (value, own) = element(i, j);
                let value = match (symmetry, i == j, own) {
                    (Symmetry::Hermitian, true, _) => Exact::new(value.re, 0.0),
                    (Symmetry::Hermitian, false, false) => value.conj(),
                    _ => value,
                };
                [exact(alpha), value, exact(x[j])]
            });
            close(&what, result[i], sum(row.chain([[exact(beta), exact(y[i]), ONE]])), n);
        }
        blas::rank_two(symmetry, alpha, x_view, y_view, &mut a, stored);
        for col in 0..n {
            let outside = (0..ld).filter(|row| !stored.column(col).rows.contains(row));
            for row in outside {
                assert!(
                    a[row + col * ld].re() != a[row + col * ld].re(),
                    "{what}: ({row}, {col}) was written"
                );
            }
        }
        a.copy_from_slice(&before);
    }
    for op in [Transposition::None, Transposition::Transposed, Transposition::Adjoint] {
        for diagonal in [Diagonal::Stored, Diagonal::Unit] {
            let mut result = x.clone();
            blas::triangular_solve(op, diagonal, &a, stored, VectorMut::new(&mut result, n, 1));
            let solution = result.clone();
            blas::triangular_product(op, diagonal, &a, stored, VectorMut::new(&mut result, n, 1));
            for i in 0..n {
                let size = exact(x[i]).norm() + exact(solution[i]).norm() + 1.0;
                close(&what, result[i], Expected { value: exact(x[i]), magnitude: size }, 4 * n);
            }
            assert!(solution != x, "{what}: something was solved");
        }
    }
}

#[test]
fn large_triangles_agree_with_the_reference_and_solutions_undo_products() {
    let mut rng = Rng::from_clock();
    for triangle in [Triangle::Upper, Triangle::Lower] {
        large_triangle::<f32>(&mut rng, triangle);
        large_triangle::<f64>(&mut rng, triangle);
        large_triangle::<C32>(&mut rng, triangle);
        large_triangle::<C64>(&mut rng, triangle);
    }
}

#[test]
fn a_modified_rotation_of_extreme_weights_is_rescaled() {
    for (d1, d2, x1, y1) in
        [(1e12, 1.0, 1.0, 0.5), (1e-12, 1.0, 1.0, 1e-8), (2.0, 1e-20, 1.0, 1.0), (1.0, 1e20, 1.0, 1.0)]
    {
        let (mut new_d1, mut new_d2, mut new_x1): (f64, f64, f64) = (d1, d2, x1);
        let mut param = [7.0; 5];
        blas::rotmg(&mut new_d1, &mut new_d2, &mut new_x1, y1).write_param(&mut param);
        let [flag, h11, h21, h12, h22] = param;
        assert_eq!(flag, -1.0, "{param:?}");
        let energy = d1 * x1 * x1 + d2 * y1 * y1;
        assert!((new_d1 * new_x1 * new_x1 - energy).abs() <= 1e-14 * energy, "{new_d1} {new_x1}");
        assert!((h11 * x1 + h12 * y1 - new_x1).abs() <= 1e-14 * new_x1.abs(), "{param:?}");
        assert!((h21 * x1 + h22 * y1).abs() <= 1e-14 * (h21 * x1).abs(), "{param:?}");
        for weight in [new_d1, new_d2] {
            assert!((2.0f64.powi(-24)..2.0f64.powi(24)).contains(&weight), "{weight:e}");
        }
    }
    let (mut d1, mut d2, mut x1) = (-1.0, 1.0, 1.0);
    let mut param = [7.0; 5];
    blas::rotmg(&mut d1, &mut d2, &mut x1, 1.0).write_param(&mut param);
    assert_eq!(
        (d1, d2, x1, param),
        (0.0, 0.0, 0.0, [-1.0, 0.0, 0.0, 0.0, 0.0]),
        "a negative weight gives zeros"
    );
}
