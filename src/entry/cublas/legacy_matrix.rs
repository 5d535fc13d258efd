//! Levels 2 and 3 of the legacy interface: signatures only; each is served by the function of the other interface on a
//! handle of ours ([`super::legacy::with_handle`]). `trmm` writes its result over B.
//!
//! Source: <https://docs.nvidia.com/cuda/cublas/#appendix-b-legacy-cublas-api>.

macro_rules! cublas_legacy_gemv {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        trans: c_char, m: c_int, n: c_int, alpha: $crate::entry::cublas::types::ByValue<$T>, a: *const c_void, lda: c_int,
        x: *const c_void, incx: c_int, beta: $crate::entry::cublas::types::ByValue<$T>,
        y: *mut c_void, incy: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            $crate::entry::cublas::gemv::gemv::<$T, $T, $T>($crate::entry::cublas::gemv::Args {
                handle, trans: $crate::entry::cublas::legacy::op(trans), m: m.into(), n: n.into(),
                alpha: (&raw const alpha).cast(), beta: (&raw const beta).cast(), a: a as u64, lda: lda.into(),
                x: $crate::entry::cublas::operand::Strided { address: x as u64, increment: incx.into() },
                y: $crate::entry::cublas::operand::Strided { address: y as u64, increment: incy.into() },
                batch: $crate::entry::cublas::product::Batch::One })
        })
    } };
}
macro_rules! cublas_legacy_gbmv {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        trans: c_char, m: c_int, n: c_int, kl: c_int, ku: c_int, alpha: $crate::entry::cublas::types::ByValue<$T>,
        a: *const c_void, lda: c_int, x: *const c_void, incx: c_int, beta: $crate::entry::cublas::types::ByValue<$T>,
        y: *mut c_void, incy: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level2::band_product::<$T>(
            $crate::entry::cublas::legacy::op(trans), matrix_and_vectors!(handle, a, x, incx, y, incy, Band { m: m, n: n, kl: kl, ku: ku, ld: lda }),
            (&raw const alpha).cast(), (&raw const beta).cast()))
    } };
}
macro_rules! cublas_legacy_symv {
    ($symbol:ident, $T:ident, $symmetry:ident) => { export! { $symbol of Cublas (
        uplo: c_char, n: c_int, alpha: $crate::entry::cublas::types::ByValue<$T>, a: *const c_void, lda: c_int,
        x: *const c_void, incx: c_int, beta: $crate::entry::cublas::types::ByValue<$T>,
        y: *mut c_void, incy: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            let uplo = $crate::entry::cublas::legacy::uplo(uplo);
            $crate::entry::cublas::level2::symmetric_product::<$T>(gpucompat_engine::blas::Symmetry::$symmetry,
                matrix_and_vectors!(handle, a, x, incx, y, incy, Triangular { uplo: uplo, n: n, ld: lda }), (&raw const alpha).cast(), (&raw const beta).cast())
        })
    } };
}
macro_rules! cublas_legacy_sbmv {
    ($symbol:ident, $T:ident, $symmetry:ident) => { export! { $symbol of Cublas (
        uplo: c_char, n: c_int, k: c_int, alpha: $crate::entry::cublas::types::ByValue<$T>, a: *const c_void, lda: c_int,
        x: *const c_void, incx: c_int, beta: $crate::entry::cublas::types::ByValue<$T>,
        y: *mut c_void, incy: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            let uplo = $crate::entry::cublas::legacy::uplo(uplo);
            $crate::entry::cublas::level2::symmetric_product::<$T>(gpucompat_engine::blas::Symmetry::$symmetry,
                matrix_and_vectors!(handle, a, x, incx, y, incy, TriangularBand { uplo: uplo, n: n, k: k, ld: lda }), (&raw const alpha).cast(), (&raw const beta).cast())
        })
    } };
}
macro_rules! cublas_legacy_spmv {
    ($symbol:ident, $T:ident, $symmetry:ident) => { export! { $symbol of Cublas (
        uplo: c_char, n: c_int, alpha: $crate::entry::cublas::types::ByValue<$T>, a: *const c_void,
        x: *const c_void, incx: c_int, beta: $crate::entry::cublas::types::ByValue<$T>,
        y: *mut c_void, incy: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            let uplo = $crate::entry::cublas::legacy::uplo(uplo);
            $crate::entry::cublas::level2::symmetric_product::<$T>(gpucompat_engine::blas::Symmetry::$symmetry,
                matrix_and_vectors!(handle, a, x, incx, y, incy, Packed { uplo: uplo, n: n }), (&raw const alpha).cast(), (&raw const beta).cast())
        })
    } };
}
macro_rules! cublas_legacy_ger {
    ($symbol:ident, $T:ident, $conj:ident) => { export! { $symbol of Cublas (
        m: c_int, n: c_int, alpha: $crate::entry::cublas::types::ByValue<$T>, x: *const c_void, incx: c_int,
        y: *const c_void, incy: c_int, a: *mut c_void, lda: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level2::rank_one::<$T, $T>(
            gpucompat_engine::Conj::$conj,
            matrix_and_vectors!(handle, a, x, incx, y, incy, Full { m: m, n: n, ld: lda }), (&raw const alpha).cast()))
    } };
}
macro_rules! cublas_legacy_syr {
    ($symbol:ident, $T:ident, $conj:ident, $S:ident) => { export! { $symbol of Cublas (
        uplo: c_char, n: c_int, alpha: $crate::entry::cublas::types::ByValue<$S>, x: *const c_void, incx: c_int,
        a: *mut c_void, lda: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            let uplo = $crate::entry::cublas::legacy::uplo(uplo);
            $crate::entry::cublas::level2::rank_one::<$T, $S>(gpucompat_engine::Conj::$conj,
                matrix_and_vectors!(handle, a, x, incx, Triangular { uplo: uplo, n: n, ld: lda }), (&raw const alpha).cast())
        })
    } };
}
macro_rules! cublas_legacy_spr {
    ($symbol:ident, $T:ident, $conj:ident, $S:ident) => { export! { $symbol of Cublas (
        uplo: c_char, n: c_int, alpha: $crate::entry::cublas::types::ByValue<$S>, x: *const c_void, incx: c_int,
        a: *mut c_void)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            let uplo = $crate::entry::cublas::legacy::uplo(uplo);
            $crate::entry::cublas::level2::rank_one::<$T, $S>(gpucompat_engine::Conj::$conj,
                matrix_and_vectors!(handle, a, x, incx, Packed { uplo: uplo, n: n }), (&raw const alpha).cast())
        })
    } };
}
macro_rules! cublas_legacy_syr2 {
    ($symbol:ident, $T:ident, $symmetry:ident) => { export! { $symbol of Cublas (
        uplo: c_char, n: c_int, alpha: $crate::entry::cublas::types::ByValue<$T>, x: *const c_void, incx: c_int,
        y: *const c_void, incy: c_int, a: *mut c_void, lda: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            let uplo = $crate::entry::cublas::legacy::uplo(uplo);
            $crate::entry::cublas::level2::rank_two::<$T>(gpucompat_engine::blas::Symmetry::$symmetry,
                matrix_and_vectors!(handle, a, x, incx, y, incy, Triangular { uplo: uplo, n: n, ld: lda }), (&raw const alpha).cast())
        })
    } };
}
macro_rules! cublas_legacy_spr2 {
    ($symbol:ident, $T:ident, $symmetry:ident) => { export! { $symbol of Cublas (
        uplo: c_char, n: c_int, alpha: $crate::entry::cublas::types::ByValue<$T>, x: *const c_void, incx: c_int,
        y: *const c_void, incy: c_int, a: *mut c_void)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            let uplo = $crate::entry::cublas::legacy::uplo(uplo);
            $crate::entry::cublas::level2::rank_two::<$T>(gpucompat_engine::blas::Symmetry::$symmetry,
                matrix_and_vectors!(handle, a, x, incx, y, incy, Packed { uplo: uplo, n: n }), (&raw const alpha).cast())
        })
    } };
}
macro_rules! cublas_legacy_trmv {
    ($symbol:ident, $T:ident, $which:ident) => { export! { $symbol of Cublas (
        uplo: c_char, trans: c_char, diag: c_char, n: c_int, a: *const c_void, lda: c_int, x: *mut c_void, incx: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            let (uplo, modes) = ($crate::entry::cublas::legacy::uplo(uplo), [$crate::entry::cublas::legacy::op(trans), $crate::entry::cublas::legacy::diag(diag)]);
            $crate::entry::cublas::level2::triangular::<$T>($crate::entry::cublas::level2::Triangular::$which, modes,
                matrix_and_vectors!(handle, a, x, incx, Triangular { uplo: uplo, n: n, ld: lda }))
        })
    } };
}
macro_rules! cublas_legacy_tbmv {
    ($symbol:ident, $T:ident, $which:ident) => { export! { $symbol of Cublas (
        uplo: c_char, trans: c_char, diag: c_char, n: c_int, k: c_int, a: *const c_void, lda: c_int, x: *mut c_void, incx: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            let (uplo, modes) = ($crate::entry::cublas::legacy::uplo(uplo), [$crate::entry::cublas::legacy::op(trans), $crate::entry::cublas::legacy::diag(diag)]);
            $crate::entry::cublas::level2::triangular::<$T>($crate::entry::cublas::level2::Triangular::$which, modes,
                matrix_and_vectors!(handle, a, x, incx, TriangularBand { uplo: uplo, n: n, k: k, ld: lda }))
        })
    } };
}
macro_rules! cublas_legacy_tpmv {
    ($symbol:ident, $T:ident, $which:ident) => { export! { $symbol of Cublas (
        uplo: c_char, trans: c_char, diag: c_char, n: c_int, a: *const c_void, x: *mut c_void, incx: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            let (uplo, modes) = ($crate::entry::cublas::legacy::uplo(uplo), [$crate::entry::cublas::legacy::op(trans), $crate::entry::cublas::legacy::diag(diag)]);
            $crate::entry::cublas::level2::triangular::<$T>($crate::entry::cublas::level2::Triangular::$which, modes,
                matrix_and_vectors!(handle, a, x, incx, Packed { uplo: uplo, n: n }))
        })
    } };
}
macro_rules! cublas_legacy_gemm {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        transa: c_char, transb: c_char, m: c_int, n: c_int, k: c_int,
        alpha: $crate::entry::cublas::types::ByValue<$T>, a: *const c_void, lda: c_int, b: *const c_void, ldb: c_int,
        beta: $crate::entry::cublas::types::ByValue<$T>, c: *mut c_void, ldc: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            $crate::entry::cublas::product::serve_uniform::<$T>($crate::entry::cublas::product::Args {
                handle, transa: $crate::entry::cublas::legacy::op(transa), transb: $crate::entry::cublas::legacy::op(transb), m: m.into(), n: n.into(), k: k.into(),
                alpha: (&raw const alpha).cast(), beta: (&raw const beta).cast(),
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into(),
                batch: $crate::entry::cublas::product::Batch::One })
        })
    } };
}
macro_rules! cublas_legacy_symm {
    ($symbol:ident, $T:ident, $symmetry:ident) => { export! { $symbol of Cublas (
        side: c_char, uplo: c_char, m: c_int, n: c_int,
        alpha: $crate::entry::cublas::types::ByValue<$T>, a: *const c_void, lda: c_int, b: *const c_void, ldb: c_int,
        beta: $crate::entry::cublas::types::ByValue<$T>, c: *mut c_void, ldc: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            $crate::entry::cublas::symmetric::serve::<$T>(::gpucompat_engine::Symmetry::$symmetry,
                $crate::entry::cublas::symmetric::Args {
                    handle, side: $crate::entry::cublas::legacy::side(side), uplo: $crate::entry::cublas::legacy::uplo(uplo), m: m.into(), n: n.into(),
                    alpha: (&raw const alpha).cast(), beta: (&raw const beta).cast(), a: a as u64, lda: lda.into(),
                    b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into() })
        })
    } };
}
macro_rules! cublas_legacy_syrk {
    ($symbol:ident, $T:ident, $symmetry:ident, $S:ident) => { export! { $symbol of Cublas (
        uplo: c_char, trans: c_char, n: c_int, k: c_int,
        alpha: $crate::entry::cublas::types::ByValue<$S>, a: *const c_void, lda: c_int,
        beta: $crate::entry::cublas::types::ByValue<$S>, c: *mut c_void, ldc: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            $crate::entry::cublas::rank_update::serve_square::<$T>(::gpucompat_engine::Symmetry::$symmetry,
                $crate::entry::cublas::rank_update::Args {
                    handle, uplo: $crate::entry::cublas::legacy::uplo(uplo), trans: $crate::entry::cublas::legacy::op(trans), n: n.into(), k: k.into(),
                    alpha: (&raw const alpha).cast(), beta: (&raw const beta).cast(), a: a as u64, lda: lda.into(),
                    b: a as u64, ldb: lda.into(), c: c as u64, ldc: ldc.into() })
        })
    } };
}
macro_rules! cublas_legacy_syr2k {
    ($symbol:ident, $T:ident, $symmetry:ident, $S:ident) => { export! { $symbol of Cublas (
        uplo: c_char, trans: c_char, n: c_int, k: c_int,
        alpha: $crate::entry::cublas::types::ByValue<$T>, a: *const c_void, lda: c_int, b: *const c_void, ldb: c_int,
        beta: $crate::entry::cublas::types::ByValue<$S>, c: *mut c_void, ldc: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            $crate::entry::cublas::rank_update::serve_pair::<$T>(::gpucompat_engine::Symmetry::$symmetry,
                $crate::entry::cublas::rank_update::Products::Both,
                $crate::entry::cublas::rank_update::Args {
                    handle, uplo: $crate::entry::cublas::legacy::uplo(uplo), trans: $crate::entry::cublas::legacy::op(trans), n: n.into(), k: k.into(),
                    alpha: (&raw const alpha).cast(), beta: (&raw const beta).cast(), a: a as u64, lda: lda.into(),
                    b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into() })
        })
    } };
}
macro_rules! cublas_legacy_trmm {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        side: c_char, uplo: c_char, trans: c_char, diag: c_char, m: c_int, n: c_int,
        alpha: $crate::entry::cublas::types::ByValue<$T>, a: *const c_void, lda: c_int, b: *mut c_void, ldb: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            $crate::entry::cublas::triangular::multiply::<$T>($crate::entry::cublas::triangular::Args {
                handle, modes: [$crate::entry::cublas::legacy::side(side), $crate::entry::cublas::legacy::uplo(uplo), $crate::entry::cublas::legacy::op(trans), $crate::entry::cublas::legacy::diag(diag)],
                m: m.into(), n: n.into(), alpha: (&raw const alpha).cast(),
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into() }, b as u64, ldb.into())
        })
    } };
}
macro_rules! cublas_legacy_trsm {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        side: c_char, uplo: c_char, trans: c_char, diag: c_char, m: c_int, n: c_int,
        alpha: $crate::entry::cublas::types::ByValue<$T>, a: *const c_void, lda: c_int, b: *mut c_void, ldb: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| {
            $crate::entry::cublas::triangular::solve::<$T>($crate::entry::cublas::triangular::Args {
                handle, modes: [$crate::entry::cublas::legacy::side(side), $crate::entry::cublas::legacy::uplo(uplo), $crate::entry::cublas::legacy::op(trans), $crate::entry::cublas::legacy::diag(diag)],
                m: m.into(), n: n.into(), alpha: (&raw const alpha).cast(),
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into() })
        })
    } };
}
