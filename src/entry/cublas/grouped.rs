//! `cublas<t>gemmGroupedBatched`, `cublasGemmGroupedBatchedEx`: groups of products, each with its own sizes.
//!
//! Everything that belongs to a group lies in host memory, α and β whatever the pointer mode; the addresses of
//! all matrices, group after group, lie in device memory. Every group is checked before the first is computed;
//! errors are those of `product`. Sources: <https://docs.nvidia.com/cuda/cublas/#cublas-t-gemmgroupedbatched>,
//! `#cublasgemmgroupedbatchedex`.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use super::legal::Types;
use super::matrix::{not_null, size};
use super::product::{Args, Batch, Problem, serve};
use super::types::CudaElement;
use crate::boundary::args::{DataType, Op};
use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::entry::route::Served;
use crate::handle::registry::owner;

macro_rules! cublas_grouped_gemm {
    ($symbol:ident, $T:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, transa: *const c_int, transb: *const c_int,
        m: *const $I, n: *const $I, k: *const $I,  alpha: *const c_void,
        a: *const *const c_void, lda: *const $I,  b: *const *const c_void, ldb: *const $I,
        beta: *const c_void,  c: *const *mut c_void, ldc: *const $I,  groups: $I, group_size: *const $I)
        compute($crate::handle::registry::is_ours(handle), 0) serve
            $crate::entry::cublas::grouped::serve_uniform::<$T, $I>($crate::entry::cublas::grouped::Groups {
                handle, ops: [transa, transb], sizes: [m, n, k], lds: [lda, ldb, ldc], scalars: [alpha, beta],
                addresses: [a as u64, b as u64, c as u64], groups: groups.into(), group_size })
    } };
}
macro_rules! cublas_grouped_gemm_ex {
    ($symbol:ident, $I:ident) => { export! { $symbol of Cublas (
        handle: *mut c_void, transa: *const c_int, transb: *const c_int,
        m: *const $I, n: *const $I, k: *const $I,  alpha: *const c_void,
        a: *const *const c_void, a_type: c_int, lda: *const $I,
        b: *const *const c_void, b_type: c_int, ldb: *const $I,
        beta: *const c_void,  c: *const *mut c_void, c_type: c_int, ldc: *const $I,
        groups: $I, group_size: *const $I,  compute_type: c_int)
        compute($crate::handle::registry::is_ours(handle),
            $crate::entry::cublas::legal::raw_key(a_type, c_type, compute_type)) serve
            $crate::entry::cublas::grouped::serve_ex::<$I>([a_type, b_type, c_type], compute_type,
                $crate::entry::cublas::grouped::Groups {
                    handle, ops: [transa, transb], sizes: [m, n, k], lds: [lda, ldb, ldc], scalars: [alpha, beta],
                    addresses: [a as u64, b as u64, c as u64], groups: groups.into(), group_size })
    } };
}

/// The arguments as they came: arrays of one element a group, and how many groups.
pub struct Groups<I> {
    /// The cuBLAS handle.
    pub handle: *mut c_void,
    /// `cublasOperation_t` of A and B.
    pub ops: [*const c_int; 2],
    /// m, n and k.
    pub sizes: [*const I; 3],
    /// Leading dimensions of A, B and C.
    pub lds: [*const I; 3],
    /// α and β.
    pub scalars: [*const c_void; 2],
    /// Of the arrays of the addresses of A, B and C.
    pub addresses: [u64; 3],
    /// How many groups.
    pub groups: i64,
    /// Products in a group.
    pub group_size: *const I,
}

/// Serves a form whose name says its one type.
pub fn serve_uniform<T: CudaElement, I: Copy + Into<i64>>(groups: Groups<I>) -> Result<Served, Error> {
    serve_groups(&groups, || Ok(Types::uniform(T::TYPE)))
}

/// Serves the Ex form: `types` of A, B and C, which are the same real floating type.
pub fn serve_ex<I: Copy + Into<i64>>(
    types: [c_int; 3],
    compute: c_int,
    groups: Groups<I>,
) -> Result<Served, Error> {
    let [a, b, c] = types;
    serve_groups(&groups, || {
        let types = Types::of_gemm_ex(a, b, c, compute)?;
        let real = matches!(types.c, DataType::F16 | DataType::Bf16 | DataType::F32 | DataType::F64);
        let half_scalars = types.scale == DataType::F16;
        if types.ab == types.c && real && !half_scalars {
            Ok(types)
        } else {
            Err(Error::NotSupported("combination of types"))
        }
    })
}

fn serve_groups<I: Copy + Into<i64>>(
    groups: &Groups<I>,
    types: impl FnOnce() -> Result<Types, Error>,
) -> Result<Served, Error> {
    let _known = owner(groups.handle).ok_or(Error::NotInitialized)?;
    let count = size(groups.groups, "group_count")?;
    let problems = groups.problems(count, types()?)?;
    if problems.is_empty() {
        return Ok(Served::nothing());
    }
    let call = Call::on(groups.handle)?.with_host_scalars();
    let mut last = Served::nothing();
    for problem in &problems {
        let served = serve(&call, problem)?;
        last = Served { what: format!("groups={count} last: {}", served.what), ..served };
    }
    Ok(last)
}

impl<I: Copy + Into<i64>> Groups<I> {
    /// The checked product of each group.
    fn problems(&self, count: usize, types: Types) -> Result<Vec<Problem>, Error> {
        if count == 0 {
            return Ok(Vec::new());
        }
        for (address, name) in [
            (self.ops[0].cast(), "transa_array"),
            (self.ops[1].cast(), "transb_array"),
            (self.sizes[0].cast(), "m_array"),
            (self.sizes[1].cast(), "n_array"),
            (self.sizes[2].cast(), "k_array"),
            (self.lds[0].cast(), "lda_array"),
            (self.lds[1].cast(), "ldb_array"),
            (self.lds[2].cast(), "ldc_array"),
            (self.scalars[0], "alpha_array"),
            (self.scalars[1], "beta_array"),
            (self.group_size.cast(), "group_size"),
        ] {
            not_null(address, name)?;
        }
        let mut first = 0;
        (0..count)
            .map(|group| {
                let args = self.group(group, first, types.scale.bytes());
                first += size(number(self.group_size, group), "group_size")?;
                let ops = (Op::from_c(args.transa, "transa")?, Op::from_c(args.transb, "transb")?);
                Problem::validate(ops, &args, types)
            })
            .collect()
    }

    /// The arguments of one group, whose first product has this number.
    fn group(&self, group: usize, first: usize, scalar_bytes: usize) -> Args {
        let [m, n, k] = self.sizes.map(|array| number(array, group));
        let [lda, ldb, ldc] = self.lds.map(|array| number(array, group));
        let [alpha, beta] = self.scalars.map(|array| array.wrapping_byte_add(group * scalar_bytes));
        let listed = |address: u64| if address == 0 { 0 } else { address.wrapping_add((first * 8) as u64) };
        let [a, b, c] = self.addresses.map(listed);
        let [transa, transb] = self.ops.map(|array| element(array, group));
        let batch = Batch::Pointers { count: number(self.group_size, group) };
        let handle = self.handle;
        Args { handle, transa, transb, m, n, k, alpha, beta, a, lda, b, ldb, c, ldc, batch }
    }
}

/// An integer of one of the caller's arrays.
fn number<I: Copy + Into<i64>>(array: *const I, group: usize) -> i64 {
    element(array, group).into()
}

fn element<I: Copy>(array: *const I, group: usize) -> I {
    // SAFETY: not null (`problems` has checked it), and the caller owes one readable element a group.
    unsafe { array.add(group).read_unaligned() }
}
