//! The same products by each backend, in a process of their own: the choice is one for the whole process.

use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicUsize, Ordering};

use gpucompat_engine::{
    Accumulator, Backend, C32, C64, Conj, GemmShape, HostBlas, Input, Kernel, MatMut, MatRef, Output, gemm,
    set_gemm_backend, set_host_blas,
};

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Fortran's gemm as its page describes it, slow and obvious.
unsafe extern "C" fn reference<T: Accumulator>(
    transa: *const c_char,
    transb: *const c_char,
    m: *const c_int,
    n: *const c_int,
    k: *const c_int,
    alpha: *const T,
    a: *const T,
    lda: *const c_int,
    b: *const T,
    ldb: *const c_int,
    beta: *const T,
    c: *mut T,
    ldc: *const c_int,
    _: usize,
    _: usize,
) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the engine passes live numbers, and matrices of these sizes.
    unsafe {
        let [m, n, k] = [*m, *n, *k].map(|size| size as usize);
        let [lda, ldb, ldc] = [*lda, *ldb, *ldc].map(|ld| ld as usize);
        let at = |trans: *const c_char, data: *const T, ld: usize, row: usize, column: usize| {
            let (row, column) = if *trans as u8 == b'T' { (column, row) } else { (row, column) };
            *data.add(row + column * ld)
        };
        for i in 0..m {
            for j in 0..n {
                let terms = (0..k).map(|l| (at(transa, a, lda, i, l), at(transb, b, ldb, l, j)));
                let sum = terms.fold(T::zero(), |sum, (x, y)| sum.add_product(x, y));
                let place = c.add(i + j * ldc);
                let product = T::zero().add_product(*alpha, sum);
                *place = if *beta == T::zero() { product } else { product.add_product(*beta, *place) };
            }
        }
    }
}

fn numbers<T: Accumulator>(length: usize, seed: usize) -> Vec<T> {
    (0..length).map(|index| T::from_f64(((index * 37 + seed * 11) % 19) as f64 - 9.0)).collect()
}

/// The product in layouts by rows and by columns; its elements, and which kernels computed it.
fn results<T: Accumulator + Input<T> + Output<T>>() -> (Vec<T>, Vec<Kernel>) {
    let (mut all, mut kernels) = (Vec::new(), Vec::new());
    for (m, n, k) in [(30, 40, 50), (65, 33, 7), (20, 300, 270)] {
        for (a_by_rows, b_by_rows, c_by_rows) in
            (0..8).map(|bits| (bits & 1 == 1, bits & 2 == 2, bits & 4 == 4))
        {
            let lies = |rows: usize, columns: usize, by_rows: bool| {
                if by_rows { (columns + 1, 1) } else { (1, rows + 2) }
            };
            let matrix = |data, (row_stride, col_stride)| MatRef {
                data,
                row_stride,
                col_stride,
                batch_stride: (m + 3) * (n + 3) * (k + 3),
                conjugate: Conj::No,
            };
            let length = 2 * (m + 3) * (n + 3) * (k + 3);
            let (a, b, mut c) = (numbers::<T>(length, 1), numbers::<T>(length, 2), numbers::<T>(length, 3));
            let (left, right) =
                (matrix(&a[..], lies(m, k, a_by_rows)), matrix(&b[..], lies(k, n, b_by_rows)));
            let (row_stride, col_stride) = lies(m, n, c_by_rows);
            let batch_stride = (m + 3) * (n + 3);
            let output = MatMut { data: &mut c[..], row_stride, col_stride, batch_stride };
            let shape = GemmShape { m, n, k, batch: 2 };
            kernels.push(gemm(shape, T::from_f64(2.0), left, right, T::from_f64(-3.0), output));
            all.extend(c);
        }
    }
    (all, kernels)
}

/// Integers, of which every order of summation gives the same number.
#[test]
fn every_backend_gives_the_same_integers_and_is_the_one_that_was_asked_for() {
    fn compare<T: Accumulator + Input<T> + Output<T> + std::fmt::Debug>(by: Kernel) {
        set_gemm_backend(Backend::Own);
        let (own, kernels) = results::<T>();
        let complex = kernels.iter().all(|&kernel| kernel == Kernel::Matrixmultiply);
        assert!(complex == T::COMPLEX && (complex || kernels.iter().all(|&kernel| kernel == Kernel::Packed)));
        set_gemm_backend(if by == Kernel::Host { Backend::Host } else { Backend::Matrixmultiply });
        let before = CALLS.load(Ordering::Relaxed);
        let (other, kernels) = results::<T>();
        assert!(kernels.iter().all(|&kernel| kernel == by), "{kernels:?}");
        assert!(own == other, "{by:?} and our own differ");
        let calls = CALLS.load(Ordering::Relaxed) - before;
        assert_eq!(calls, if by == Kernel::Host { 2 * kernels.len() } else { 0 });
    }
    compare::<f32>(Kernel::Matrixmultiply);
    compare::<f64>(Kernel::Matrixmultiply);
    compare::<C32>(Kernel::Matrixmultiply);
    let blas = HostBlas {
        sgemm: reference::<f32>,
        dgemm: reference::<f64>,
        cgemm: reference::<C32>,
        zgemm: reference::<C64>,
    };
    // SAFETY: the functions are those that are asked for.
    unsafe { set_host_blas(blas) };
    compare::<f32>(Kernel::Host);
    compare::<f64>(Kernel::Host);
    compare::<C32>(Kernel::Host);
    compare::<C64>(Kernel::Host);
}
