//! `cublas<t>gemm`, `cublas<t>gemmBatched`, `cublas<t>gemmStridedBatched`: signatures only.
//!
//! Sources: <https://docs.nvidia.com/cuda/cublas/#cublas-t-gemm>, `#cublas-t-gemmbatched`,
//! `#cublas-t-gemmstridedbatched`. The `_64` forms take 64-bit sizes; `gemm3m` is the same product by a
//! method with fewer multiplications, which the host has no use for.

macro_rules! cublas_gemm {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, transa: c_int, transb: c_int,
        m: $I, n: $I, k: $I,  alpha: *const c_void,
        a: *const c_void, lda: $I,  b: *const c_void, ldb: $I,
        beta: *const c_void,  c: *mut c_void, ldc: $I)
        compute($crate::handle::registry::is_ours(handle), 0) serve $crate::entry::cublas::product::serve_uniform::<$T>(
            $crate::entry::cublas::product::Args {
                handle, transa, transb, m: m.into(), n: n.into(), k: k.into(), alpha, beta,
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into(),
                batch: $crate::entry::cublas::product::Batch::One })
    } };
}

macro_rules! cublas_gemm_batched {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, transa: c_int, transb: c_int,
        m: $I, n: $I, k: $I,  alpha: *const c_void,
        a: *const *const c_void, lda: $I,  b: *const *const c_void, ldb: $I,
        beta: *const c_void,  c: *const *mut c_void, ldc: $I,  count: $I)
        compute($crate::handle::registry::is_ours(handle), 0) serve $crate::entry::cublas::product::serve_uniform::<$T>(
            $crate::entry::cublas::product::Args {
                handle, transa, transb, m: m.into(), n: n.into(), k: k.into(), alpha, beta,
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into(),
                batch: $crate::entry::cublas::product::Batch::Pointers { count: count.into() } })
    } };
}

macro_rules! cublas_gemm_strided_batched {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, transa: c_int, transb: c_int,
        m: $I, n: $I, k: $I,  alpha: *const c_void,
        a: *const c_void, lda: $I, stride_a: i64,  b: *const c_void, ldb: $I, stride_b: i64,
        beta: *const c_void,  c: *mut c_void, ldc: $I, stride_c: i64,  count: $I)
        compute($crate::handle::registry::is_ours(handle), 0) serve $crate::entry::cublas::product::serve_uniform::<$T>(
            $crate::entry::cublas::product::Args {
                handle, transa, transb, m: m.into(), n: n.into(), k: k.into(), alpha, beta,
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into(),
                batch: $crate::entry::cublas::product::Batch::Strided {
                    a: stride_a, b: stride_b, c: stride_c, count: count.into() } })
    } };
}
