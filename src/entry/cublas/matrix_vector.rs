//! Level 2, `cublas<t>gemv` to `cublas<t>hpr2`: signatures only; the functions stand in [`super::gemv`] and
//! [`super::level2`].
//!
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublas-level-2-function-reference>.

/// The arguments of a function of a matrix and one vector, or two.
macro_rules! matrix_and_vectors {
    ($handle:ident, $a:ident, $x:ident, $incx:ident, $form:ident { $($size:ident: $value:expr),* }) => {
        matrix_and_vectors!($handle, $a, $x, $incx, $x, $incx, $form { $($size: $value),* })
    };
    ($handle:ident, $a:ident, $x:ident, $incx:ident, $y:ident, $incy:ident, $form:ident { $($size:ident: $value:expr),* }) => {
        $crate::entry::cublas::level2::Args {
            handle: $handle,
            a: $a as u64,
            matrix: $crate::entry::cublas::level2::Matrix::$form { $($size: $value.into()),* },
            x: $crate::entry::cublas::operand::Strided { address: $x as u64, increment: $incx.into() },
            y: $crate::entry::cublas::operand::Strided { address: $y as u64, increment: $incy.into() },
        }
    };
}

macro_rules! cublas_gemv {
    ($symbol:ident, $T:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, trans: c_int, m: $I, n: $I, alpha: *const c_void, a: *const c_void, lda: $I,
            x: *const c_void, incx: $I, beta: *const c_void, y: *mut c_void, incy: $I)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::gemv::gemv::<$T, $T, $T>($crate::entry::cublas::gemv::Args {
                handle, trans, m: m.into(), n: n.into(), alpha, beta, a: a as u64, lda: lda.into(),
                x: $crate::entry::cublas::operand::Strided { address: x as u64, increment: incx.into() },
                y: $crate::entry::cublas::operand::Strided { address: y as u64, increment: incy.into() },
                batch: $crate::entry::cublas::product::Batch::One })
        }
    };
}
macro_rules! cublas_gemv_batched {
    ($symbol:ident, $T:ident, $Y:ident, $S:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, trans: c_int, m: $I, n: $I, alpha: *const c_void, a: *const *const c_void, lda: $I,
        x: *const *const c_void, incx: $I, beta: *const c_void, y: *const *mut c_void, incy: $I, count: $I)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::gemv::gemv::<$T, $Y, $S>($crate::entry::cublas::gemv::Args {
            handle, trans, m: m.into(), n: n.into(), alpha, beta, a: a as u64, lda: lda.into(),
            x: $crate::entry::cublas::operand::Strided { address: x as u64, increment: incx.into() },
            y: $crate::entry::cublas::operand::Strided { address: y as u64, increment: incy.into() },
            batch: $crate::entry::cublas::product::Batch::Pointers { count: count.into() } })
    } };
}
macro_rules! cublas_gemv_strided_batched {
    ($symbol:ident, $T:ident, $Y:ident, $S:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, trans: c_int, m: $I, n: $I, alpha: *const c_void, a: *const c_void, lda: $I, stride_a: i64,
        x: *const c_void, incx: $I, stride_x: i64, beta: *const c_void, y: *mut c_void, incy: $I, stride_y: i64,
        count: $I)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::gemv::gemv::<$T, $Y, $S>($crate::entry::cublas::gemv::Args {
            handle, trans, m: m.into(), n: n.into(), alpha, beta, a: a as u64, lda: lda.into(),
            x: $crate::entry::cublas::operand::Strided { address: x as u64, increment: incx.into() },
            y: $crate::entry::cublas::operand::Strided { address: y as u64, increment: incy.into() },
            batch: $crate::entry::cublas::product::Batch::Strided {
                a: stride_a, b: stride_x, c: stride_y, count: count.into() } })
    } };
}
macro_rules! cublas_gbmv {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, trans: c_int, m: $I, n: $I, kl: $I, ku: $I, alpha: *const c_void, a: *const c_void, lda: $I,
        x: *const c_void, incx: $I, beta: *const c_void, y: *mut c_void, incy: $I)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::level2::band_product::<$T>(trans, matrix_and_vectors!(
            handle, a, x, incx, y, incy, Band { m: m, n: n, kl: kl, ku: ku, ld: lda }), alpha, beta)
    } };
}
macro_rules! cublas_symv {
    ($symbol:ident, $T:ident, $symmetry:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, uplo: c_int, n: $I, alpha: *const c_void, a: *const c_void, lda: $I,
        x: *const c_void, incx: $I, beta: *const c_void, y: *mut c_void, incy: $I)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::level2::symmetric_product::<$T>(
            gpucompat_engine::blas::Symmetry::$symmetry,
            matrix_and_vectors!(handle, a, x, incx, y, incy, Triangular { uplo: uplo, n: n, ld: lda }), alpha, beta)
    } };
}
macro_rules! cublas_sbmv {
    ($symbol:ident, $T:ident, $symmetry:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, uplo: c_int, n: $I, k: $I, alpha: *const c_void, a: *const c_void, lda: $I,
        x: *const c_void, incx: $I, beta: *const c_void, y: *mut c_void, incy: $I)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::level2::symmetric_product::<$T>(
            gpucompat_engine::blas::Symmetry::$symmetry, matrix_and_vectors!(
                handle, a, x, incx, y, incy, TriangularBand { uplo: uplo, n: n, k: k, ld: lda }), alpha, beta)
    } };
}
macro_rules! cublas_spmv {
    ($symbol:ident, $T:ident, $symmetry:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, uplo: c_int, n: $I, alpha: *const c_void, a: *const c_void,
            x: *const c_void, incx: $I, beta: *const c_void, y: *mut c_void, incy: $I)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level2::symmetric_product::<$T>(
                gpucompat_engine::blas::Symmetry::$symmetry,
                matrix_and_vectors!(handle, a, x, incx, y, incy, Packed { uplo: uplo, n: n }), alpha, beta)
        }
    };
}
macro_rules! cublas_ger {
    ($symbol:ident, $T:ident, $conj:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, m: $I, n: $I, alpha: *const c_void, x: *const c_void, incx: $I,
            y: *const c_void, incy: $I, a: *mut c_void, lda: $I)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level2::rank_one::<$T, $T>(gpucompat_engine::Conj::$conj,
                matrix_and_vectors!(handle, a, x, incx, y, incy, Full { m: m, n: n, ld: lda }), alpha)
        }
    };
}
macro_rules! cublas_syr {
    ($symbol:ident, $T:ident, $conj:ident, $S:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, uplo: c_int, n: $I, alpha: *const c_void, x: *const c_void, incx: $I,
            a: *mut c_void, lda: $I)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level2::rank_one::<$T, $S>(gpucompat_engine::Conj::$conj,
                matrix_and_vectors!(handle, a, x, incx, Triangular { uplo: uplo, n: n, ld: lda }), alpha)
        }
    };
}
macro_rules! cublas_spr {
    ($symbol:ident, $T:ident, $conj:ident, $S:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, uplo: c_int, n: $I, alpha: *const c_void, x: *const c_void, incx: $I, a: *mut c_void)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::level2::rank_one::<$T, $S>(gpucompat_engine::Conj::$conj,
            matrix_and_vectors!(handle, a, x, incx, Packed { uplo: uplo, n: n }), alpha)
    } };
}
macro_rules! cublas_syr2 {
    ($symbol:ident, $T:ident, $symmetry:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, uplo: c_int, n: $I, alpha: *const c_void, x: *const c_void, incx: $I,
        y: *const c_void, incy: $I, a: *mut c_void, lda: $I)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::level2::rank_two::<$T>(gpucompat_engine::blas::Symmetry::$symmetry,
            matrix_and_vectors!(handle, a, x, incx, y, incy, Triangular { uplo: uplo, n: n, ld: lda }), alpha)
    } };
}
macro_rules! cublas_spr2 {
    ($symbol:ident, $T:ident, $symmetry:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, uplo: c_int, n: $I, alpha: *const c_void, x: *const c_void, incx: $I,
            y: *const c_void, incy: $I, a: *mut c_void)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level2::rank_two::<$T>(gpucompat_engine::blas::Symmetry::$symmetry,
                matrix_and_vectors!(handle, a, x, incx, y, incy, Packed { uplo: uplo, n: n }), alpha)
        }
    };
}
macro_rules! cublas_trmv {
    ($symbol:ident, $T:ident, $which:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, uplo: c_int, trans: c_int, diag: c_int, n: $I, a: *const c_void, lda: $I,
            x: *mut c_void, incx: $I)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level2::triangular::<$T>(
                $crate::entry::cublas::level2::Triangular::$which, [trans, diag],
                matrix_and_vectors!(handle, a, x, incx, Triangular { uplo: uplo, n: n, ld: lda }))
        }
    };
}
macro_rules! cublas_tbmv {
    ($symbol:ident, $T:ident, $which:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, uplo: c_int, trans: c_int, diag: c_int, n: $I, k: $I, a: *const c_void, lda: $I,
        x: *mut c_void, incx: $I)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::level2::triangular::<$T>(
            $crate::entry::cublas::level2::Triangular::$which, [trans, diag],
            matrix_and_vectors!(handle, a, x, incx, TriangularBand { uplo: uplo, n: n, k: k, ld: lda }))
    } };
}
macro_rules! cublas_tpmv {
    ($symbol:ident, $T:ident, $which:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, uplo: c_int, trans: c_int, diag: c_int, n: $I, a: *const c_void,
            x: *mut c_void, incx: $I)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level2::triangular::<$T>(
                $crate::entry::cublas::level2::Triangular::$which, [trans, diag],
                matrix_and_vectors!(handle, a, x, incx, Packed { uplo: uplo, n: n }))
        }
    };
}
