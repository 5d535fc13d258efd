//! Level 1, `cublas<t>axpy` to `cublas<t>rotmg`: signatures only; the functions stand in [`super::level1`].
//!
//! The `_64` forms take 64-bit sizes and give 64-bit positions.
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublas-level-1-function-reference>.

/// The arguments of a function of one vector, or of two.
macro_rules! vectors {
    ($handle:ident, $n:ident, $x:ident, $incx:ident) => {
        vectors!($handle, $n, $x, $incx, $x, $incx)
    };
    ($handle:ident, $n:ident, $x:ident, $incx:ident, $y:ident, $incy:ident) => {
        $crate::entry::cublas::level1::Args {
            handle: $handle,
            n: $n.into(),
            x: $crate::entry::cublas::operand::Strided { address: $x as u64, increment: $incx.into() },
            y: $crate::entry::cublas::operand::Strided { address: $y as u64, increment: $incy.into() },
        }
    };
}

macro_rules! cublas_axpy {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, alpha: *const c_void, x: *const c_void, incx: $I, y: *mut c_void, incy: $I)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::level1::axpy::<$T, $T>(vectors!(handle, n, x, incx, y, incy), alpha)
    } };
}
macro_rules! cublas_copy {
    ($symbol:ident, $T:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, n: $I, x: *const c_void, incx: $I, y: *mut c_void, incy: $I)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level1::copy::<$T>(vectors!(handle, n, x, incx, y, incy))
        }
    };
}
macro_rules! cublas_swap {
    ($symbol:ident, $T:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, n: $I, x: *mut c_void, incx: $I, y: *mut c_void, incy: $I)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level1::swap::<$T>(vectors!(handle, n, x, incx, y, incy))
        }
    };
}
macro_rules! cublas_scal {
    ($symbol:ident, $T:ident, $A:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, n: $I, alpha: *const c_void, x: *mut c_void, incx: $I)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level1::scal::<$T, $A>(vectors!(handle, n, x, incx), alpha)
        }
    };
}
macro_rules! cublas_dot {
    ($symbol:ident, $T:ident, $conj:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, x: *const c_void, incx: $I, y: *const c_void, incy: $I, result: *mut c_void)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::level1::dot::<$T>(
            gpucompat_engine::Conj::$conj, vectors!(handle, n, x, incx, y, incy), result)
    } };
}
macro_rules! cublas_nrm2 {
    ($symbol:ident, $T:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, n: $I, x: *const c_void, incx: $I, result: *mut c_void)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level1::nrm2::<$T>(vectors!(handle, n, x, incx), result)
        }
    };
}
macro_rules! cublas_asum {
    ($symbol:ident, $T:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, n: $I, x: *const c_void, incx: $I, result: *mut c_void)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level1::asum::<$T>(vectors!(handle, n, x, incx), result)
        }
    };
}
macro_rules! cublas_extreme {
    ($symbol:ident, $T:ident, $which:ident, $I:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, n: $I, x: *const c_void, incx: $I, result: *mut $I)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level1::extreme_index::<$T, $I>(
                gpucompat_engine::blas::Extreme::$which, vectors!(handle, n, x, incx), result.cast())
        }
    };
}
macro_rules! cublas_rot {
    ($symbol:ident, $T:ident, $C:ident, $S:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, x: *mut c_void, incx: $I, y: *mut c_void, incy: $I,
        c: *const c_void, s: *const c_void)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::level1::rot::<$T, $C, $S>(vectors!(handle, n, x, incx, y, incy), c, s)
    } };
}
macro_rules! cublas_rotg {
    ($symbol:ident, $T:ident, $C:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, a: *mut c_void, b: *mut c_void, c: *mut c_void, s: *mut c_void)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level1::rotg::<$T, $C>(handle, [a, b, c, s])
        }
    };
}
macro_rules! cublas_rotm {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, x: *mut c_void, incx: $I, y: *mut c_void, incy: $I, param: *const c_void)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cublas::level1::rotm::<$T>(vectors!(handle, n, x, incx, y, incy), param)
    } };
}
macro_rules! cublas_rotmg {
    ($symbol:ident, $T:ident) => {
        export! { $symbol of Cublas (
            handle: *mut c_void, d1: *mut c_void, d2: *mut c_void, x1: *mut c_void, y1: *const c_void,
            param: *mut c_void)
            compute($crate::handle::registry::is_ours(handle), 0)
            serve $crate::entry::cublas::level1::rotmg::<$T>(handle, [d1, d2, x1], y1, param)
        }
    };
}
