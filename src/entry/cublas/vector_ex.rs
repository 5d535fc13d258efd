//! Level 1 with element types as arguments, `cublasAxpyEx` to `cublasRotmgEx`: signatures only; which combinations of
//! types there are stands in [`super::level1_ex`].
//!
//! Source: <https://docs.nvidia.com/cuda/cublas/#blas-like-extension>.

macro_rules! cublas_axpy_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, alpha: *const c_void, alpha_type: c_int, x: *const c_void, x_type: c_int, incx: $I,
        y: *mut c_void, y_type: c_int, incy: $I, execution_type: c_int)
        compute($crate::handle::registry::is_ours(handle),
            $crate::entry::cublas::legal::raw_key(x_type, alpha_type, execution_type))
        serve $crate::entry::cublas::level1_ex::axpy(
            vectors!(handle, n, x, incx, y, incy), alpha, alpha_type, [x_type, y_type], execution_type)
    } };
}
macro_rules! cublas_copy_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, x: *const c_void, x_type: c_int, incx: $I, y: *mut c_void, y_type: c_int, incy: $I)
        compute($crate::handle::registry::is_ours(handle), $crate::entry::cublas::legal::raw_key(x_type, y_type, 0))
        serve $crate::entry::cublas::level1_ex::copy(vectors!(handle, n, x, incx, y, incy), [x_type, y_type])
    } };
}
macro_rules! cublas_swap_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, x: *mut c_void, x_type: c_int, incx: $I, y: *mut c_void, y_type: c_int, incy: $I)
        compute($crate::handle::registry::is_ours(handle), $crate::entry::cublas::legal::raw_key(x_type, y_type, 0))
        serve $crate::entry::cublas::level1_ex::swap(vectors!(handle, n, x, incx, y, incy), [x_type, y_type])
    } };
}
macro_rules! cublas_scal_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, alpha: *const c_void, alpha_type: c_int, x: *mut c_void, x_type: c_int, incx: $I,
        execution_type: c_int)
        compute($crate::handle::registry::is_ours(handle),
            $crate::entry::cublas::legal::raw_key(x_type, alpha_type, execution_type))
        serve $crate::entry::cublas::level1_ex::scal(
            vectors!(handle, n, x, incx), alpha, alpha_type, x_type, execution_type)
    } };
}
macro_rules! cublas_dot_ex {
    ($symbol:ident, $conj:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, x: *const c_void, x_type: c_int, incx: $I, y: *const c_void, y_type: c_int,
        incy: $I, result: *mut c_void, result_type: c_int, execution_type: c_int)
        compute($crate::handle::registry::is_ours(handle),
            $crate::entry::cublas::legal::raw_key(x_type, result_type, execution_type))
        serve $crate::entry::cublas::level1_ex::dot(gpucompat_engine::Conj::$conj,
            vectors!(handle, n, x, incx, y, incy), [x_type, y_type, result_type], execution_type, result)
    } };
}
macro_rules! cublas_nrm2_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, x: *const c_void, x_type: c_int, incx: $I, result: *mut c_void, result_type: c_int,
        execution_type: c_int)
        compute($crate::handle::registry::is_ours(handle),
            $crate::entry::cublas::legal::raw_key(x_type, result_type, execution_type))
        serve $crate::entry::cublas::level1_ex::nrm2(
            vectors!(handle, n, x, incx), [x_type, result_type], execution_type, result)
    } };
}
macro_rules! cublas_asum_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, x: *const c_void, x_type: c_int, incx: $I, result: *mut c_void, result_type: c_int,
        execution_type: c_int)
        compute($crate::handle::registry::is_ours(handle),
            $crate::entry::cublas::legal::raw_key(x_type, result_type, execution_type))
        serve $crate::entry::cublas::level1_ex::asum(
            vectors!(handle, n, x, incx), [x_type, result_type], execution_type, result)
    } };
}
macro_rules! cublas_extreme_ex {
    ($symbol:ident, $which:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, x: *const c_void, x_type: c_int, incx: $I, result: *mut $I)
        compute($crate::handle::registry::is_ours(handle), $crate::entry::cublas::legal::raw_key(x_type, 0, 0))
        serve $crate::entry::cublas::level1_ex::extreme_index::<$I>(
            gpucompat_engine::blas::Extreme::$which, vectors!(handle, n, x, incx), x_type, result.cast())
    } };
}
macro_rules! cublas_rot_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, x: *mut c_void, x_type: c_int, incx: $I, y: *mut c_void, y_type: c_int, incy: $I,
        c: *const c_void, s: *const c_void, cs_type: c_int, execution_type: c_int)
        compute($crate::handle::registry::is_ours(handle),
            $crate::entry::cublas::legal::raw_key(x_type, cs_type, execution_type))
        serve $crate::entry::cublas::level1_ex::rot(
            vectors!(handle, n, x, incx, y, incy), [c, s], [x_type, y_type], cs_type, execution_type)
    } };
}
macro_rules! cublas_rotg_ex {
    ($symbol:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, a: *mut c_void, b: *mut c_void, ab_type: c_int, c: *mut c_void, s: *mut c_void,
        cs_type: c_int, execution_type: c_int)
        compute($crate::handle::registry::is_ours(handle),
            $crate::entry::cublas::legal::raw_key(ab_type, cs_type, execution_type))
        serve $crate::entry::cublas::level1_ex::rotg(handle, [a, b, c, s], [ab_type, cs_type], execution_type)
    } };
}
macro_rules! cublas_rotm_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, n: $I, x: *mut c_void, x_type: c_int, incx: $I, y: *mut c_void, y_type: c_int, incy: $I,
        param: *const c_void, param_type: c_int, execution_type: c_int)
        compute($crate::handle::registry::is_ours(handle),
            $crate::entry::cublas::legal::raw_key(x_type, param_type, execution_type))
        serve $crate::entry::cublas::level1_ex::rotm(
            vectors!(handle, n, x, incx, y, incy), param, [x_type, y_type, param_type], execution_type)
    } };
}
macro_rules! cublas_rotmg_ex {
    ($symbol:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, d1: *mut c_void, d1_type: c_int, d2: *mut c_void, d2_type: c_int, x1: *mut c_void,
        x1_type: c_int, y1: *const c_void, y1_type: c_int, param: *mut c_void, param_type: c_int,
        execution_type: c_int)
        compute($crate::handle::registry::is_ours(handle),
            $crate::entry::cublas::legal::raw_key(d1_type, param_type, execution_type))
        serve $crate::entry::cublas::level1_ex::rotmg(handle, [d1, d2, x1], y1, param,
            [d1_type, d2_type, x1_type, y1_type, param_type], execution_type)
    } };
}
