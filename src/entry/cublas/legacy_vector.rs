//! Level 1 of the legacy interface: signatures only; each is served by [`super::level1`] on a handle of ours
//! ([`super::legacy::with_handle`]). Scalars and results are values; those of `rotg`, `rotm` and `rotmg` lie in host memory.
//!
//! Source: <https://docs.nvidia.com/cuda/cublas/#appendix-b-legacy-cublas-api>.

macro_rules! cublas_legacy_axpy {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        n: c_int, alpha: $crate::entry::cublas::types::ByValue<$T>, x: *const c_void, incx: c_int,
        y: *mut c_void, incy: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level1::axpy::<$T, $T>(
            vectors!(handle, n, x, incx, y, incy), (&raw const alpha).cast()))
    } };
}
macro_rules! cublas_legacy_copy {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        n: c_int, x: *const c_void, incx: c_int, y: *mut c_void, incy: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level1::copy::<$T>(
            vectors!(handle, n, x, incx, y, incy)))
    } };
}
macro_rules! cublas_legacy_swap {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        n: c_int, x: *mut c_void, incx: c_int, y: *mut c_void, incy: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level1::swap::<$T>(
            vectors!(handle, n, x, incx, y, incy)))
    } };
}
macro_rules! cublas_legacy_scal {
    ($symbol:ident, $T:ident, $A:ident) => { export! { $symbol of Cublas (
        n: c_int, alpha: $crate::entry::cublas::types::ByValue<$A>, x: *mut c_void, incx: c_int)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level1::scal::<$T, $A>(
            vectors!(handle, n, x, incx), (&raw const alpha).cast()))
    } };
}
macro_rules! cublas_legacy_dot {
    ($symbol:ident, $T:ident, $conj:ident) => { export! { $symbol of Cublas (
        n: c_int, x: *const c_void, incx: c_int, y: *const c_void, incy: c_int)
        -> $crate::entry::cublas::types::ByValue<$T>, legacy(place)
        serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level1::dot::<$T>(
            gpucompat_engine::Conj::$conj, vectors!(handle, n, x, incx, y, incy), place))
    } };
}
macro_rules! cublas_legacy_nrm2 {
    ($symbol:ident, $T:ident, $R:ident) => { export! { $symbol of Cublas (n: c_int, x: *const c_void, incx: c_int)
        -> $crate::entry::cublas::types::ByValue<$R>, legacy(place)
        serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level1::nrm2::<$T>(
            vectors!(handle, n, x, incx), place))
    } };
}
macro_rules! cublas_legacy_asum {
    ($symbol:ident, $T:ident, $R:ident) => { export! { $symbol of Cublas (n: c_int, x: *const c_void, incx: c_int)
        -> $crate::entry::cublas::types::ByValue<$R>, legacy(place)
        serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level1::asum::<$T>(
            vectors!(handle, n, x, incx), place))
    } };
}
macro_rules! cublas_legacy_extreme {
    ($symbol:ident, $T:ident, $which:ident) => {
        export! { $symbol of Cublas (n: c_int, x: *const c_void, incx: c_int)
            -> c_int, legacy(place)
            serve $crate::entry::cublas::legacy::with_handle(|handle| {
                $crate::entry::cublas::level1::extreme_index::<$T, c_int>(
                    gpucompat_engine::blas::Extreme::$which, vectors!(handle, n, x, incx), place)
            })
        }
    };
}
macro_rules! cublas_legacy_rot {
    ($symbol:ident, $T:ident, $C:ident, $S:ident) => { export! { $symbol of Cublas (
        n: c_int, x: *mut c_void, incx: c_int, y: *mut c_void, incy: c_int,
        c: $crate::entry::cublas::types::ByValue<$C>, s: $crate::entry::cublas::types::ByValue<$S>)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level1::rot::<$T, $C, $S>(
            vectors!(handle, n, x, incx, y, incy), (&raw const c).cast(), (&raw const s).cast()))
    } };
}
macro_rules! cublas_legacy_rotg {
    ($symbol:ident, $T:ident, $C:ident) => { export! { $symbol of Cublas (
        a: *mut c_void, b: *mut c_void, c: *mut c_void, s: *mut c_void)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level1::rotg::<$T, $C>(
            handle, [a, b, c, s]))
    } };
}
macro_rules! cublas_legacy_rotm {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        n: c_int, x: *mut c_void, incx: c_int, y: *mut c_void, incy: c_int, param: *const c_void)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level1::rotm::<$T>(
            vectors!(handle, n, x, incx, y, incy), param))
    } };
}
macro_rules! cublas_legacy_rotmg {
    ($symbol:ident, $T:ident) => { export! { $symbol of Cublas (
        d1: *mut c_void, d2: *mut c_void, x1: *mut c_void, y1: *const c_void, param: *mut c_void)
        legacy serve $crate::entry::cublas::legacy::with_handle(|handle| $crate::entry::cublas::level1::rotmg::<$T>(
            handle, [d1, d2, x1], y1, param))
    } };
}
