//! `cublasGemmEx` and its kin, whose element types are arguments: signatures only.
//!
//! Sources: <https://docs.nvidia.com/cuda/cublas/#cublasgemmex>, `#cublas-t-gemmex`,
//! `#cublasgemmbatchedex`, `#cublasgemmstridedbatchedex`.

macro_rules! cublas_gemm_ex_real {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, transa: c_int, transb: c_int,
        m: $I, n: $I, k: $I,  alpha: *const c_void,
        a: *const c_void, a_type: c_int, lda: $I,  b: *const c_void, b_type: c_int, ldb: $I,
        beta: *const c_void,  c: *mut c_void, c_type: c_int, ldc: $I)
        compute($crate::handle::registry::is_ours(handle), $crate::entry::cublas::legal::raw_key(a_type, c_type, 0))
        serve $crate::entry::cublas::product::serve_named_ex::<$T>([a_type, b_type, c_type],
            $crate::entry::cublas::product::Args {
                handle, transa, transb, m: m.into(), n: n.into(), k: k.into(), alpha, beta,
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into(),
                batch: $crate::entry::cublas::product::Batch::One })
    } };
}

macro_rules! cublas_gemm_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, transa: c_int, transb: c_int,
        m: $I, n: $I, k: $I,  alpha: *const c_void,
        a: *const c_void, a_type: c_int, lda: $I,  b: *const c_void, b_type: c_int, ldb: $I,
        beta: *const c_void,  c: *mut c_void, c_type: c_int, ldc: $I,  compute_type: c_int, algo: c_int)
        compute($crate::handle::registry::is_ours(handle), $crate::entry::cublas::legal::raw_key(a_type, c_type, compute_type))
        serve $crate::entry::cublas::product::serve_ex([a_type, b_type, c_type], compute_type, algo,
            $crate::entry::cublas::product::Args {
                handle, transa, transb, m: m.into(), n: n.into(), k: k.into(), alpha, beta,
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into(),
                batch: $crate::entry::cublas::product::Batch::One })
    } };
}

macro_rules! cublas_gemm_batched_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, transa: c_int, transb: c_int,
        m: $I, n: $I, k: $I,  alpha: *const c_void,
        a: *const *const c_void, a_type: c_int, lda: $I,  b: *const *const c_void, b_type: c_int, ldb: $I,
        beta: *const c_void,  c: *const *mut c_void, c_type: c_int, ldc: $I,
        count: $I,  compute_type: c_int, algo: c_int)
        compute($crate::handle::registry::is_ours(handle), $crate::entry::cublas::legal::raw_key(a_type, c_type, compute_type))
        serve $crate::entry::cublas::product::serve_ex([a_type, b_type, c_type], compute_type, algo,
            $crate::entry::cublas::product::Args {
                handle, transa, transb, m: m.into(), n: n.into(), k: k.into(), alpha, beta,
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into(),
                batch: $crate::entry::cublas::product::Batch::Pointers { count: count.into() } })
    } };
}

macro_rules! cublas_gemm_strided_batched_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, transa: c_int, transb: c_int,
        m: $I, n: $I, k: $I,  alpha: *const c_void,
        a: *const c_void, a_type: c_int, lda: $I, stride_a: i64,
        b: *const c_void, b_type: c_int, ldb: $I, stride_b: i64,
        beta: *const c_void,  c: *mut c_void, c_type: c_int, ldc: $I, stride_c: i64,
        count: $I,  compute_type: c_int, algo: c_int)
        compute($crate::handle::registry::is_ours(handle), $crate::entry::cublas::legal::raw_key(a_type, c_type, compute_type))
        serve $crate::entry::cublas::product::serve_ex([a_type, b_type, c_type], compute_type, algo,
            $crate::entry::cublas::product::Args {
                handle, transa, transb, m: m.into(), n: n.into(), k: k.into(), alpha, beta,
                a: a as u64, lda: lda.into(), b: b as u64, ldb: ldb.into(), c: c as u64, ldc: ldc.into(),
                batch: $crate::entry::cublas::product::Batch::Strided {
                    a: stride_a, b: stride_b, c: stride_c, count: count.into() } })
    } };
}
