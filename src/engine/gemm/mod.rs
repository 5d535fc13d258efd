//! `D ← act(α·A·B + β·C + bias)`, batched, in every type of [`crate::dtype`].
//!
//! BLAS's rules: β = 0 does not read C; α = 0 and k = 0 do not read A and B; a size of 0 touches nothing;
//! NaN and infinities propagate, 0·∞ inside a product included; places of C between its elements (padding,
//! gaps in a batch) are never written.

pub mod block_raw;
mod finish_raw;
mod host_raw;
mod kernel_raw;
pub mod lanes_bf16_raw;
pub mod lanes_raw;
mod lines;
pub mod micro_bf16_raw;
pub mod micro_raw;
pub mod packed_raw;
mod panel;
mod select;
mod skinny;
mod tiles_raw;
pub mod vector_raw;

pub use host_raw::{Backend, FortranGemm, HostBlas, set_gemm_backend, set_host_blas};
pub use select::Kernel;

use crate::contract;
use crate::dtype::{Accumulator, Input, Output};
use crate::epilogue::Epilogue;
use crate::shape::{Conj, GemmShape, MatMut, MatRef};
use finish_raw::{Finish, Source};
use host_raw::Plan;
use select::{Thick, Traits};

/// `C ← α·A·B + β·C` for each matrix of the batch; the kernel that computed it.
///
/// # Panics
/// If an operand does not fit its slice or elements of C share a place: bugs of the caller.
pub fn gemm<AB: Input<Acc>, Out: Output<Acc>, Acc: Accumulator>(
    shape: GemmShape,
    alpha: Acc,
    a: MatRef<'_, AB>,
    b: MatRef<'_, AB>,
    beta: Acc,
    c: MatMut<'_, Out>,
) -> Kernel {
    run(shape, alpha, a, b, beta, Source::InPlace, c, &Epilogue::NONE)
}

/// `D ← act(α·A·B + β·C + bias)` with C apart from D; `c` may be `None` if β = 0.
///
/// # Panics
/// As [`gemm`].
pub fn gemm_with_epilogue<AB: Input<Acc>, Out: Output<Acc>, Acc: Accumulator>(
    shape: GemmShape,
    alpha: Acc,
    a: MatRef<'_, AB>,
    b: MatRef<'_, AB>,
    beta: Acc,
    c: Option<MatRef<'_, Out>>,
    d: MatMut<'_, Out>,
    epilogue: &Epilogue<'_, Acc>,
) -> Kernel {
    let source = c.map_or(Source::Absent, Source::Apart);
    assert!(beta == Acc::zero() || c.is_some(), "β ≠ 0 needs C");
    run(shape, alpha, a, b, beta, source, d, epilogue)
}

fn run<AB: Input<Acc>, Out: Output<Acc>, Acc: Accumulator>(
    shape: GemmShape,
    alpha: Acc,
    mut a: MatRef<'_, AB>,
    mut b: MatRef<'_, AB>,
    beta: Acc,
    source: Source<'_, Out>,
    d: MatMut<'_, Out>,
    epilogue: &Epilogue<'_, Acc>,
) -> Kernel {
    let no_product = shape.k == 0 || alpha == Acc::zero();
    let shape = if no_product { GemmShape { k: 0, ..shape } } else { shape };
    if shape.m == 0 || shape.n == 0 || shape.batch == 0 {
        return Kernel::Scale;
    }
    contract::check(shape, &a, &b, &d);
    let rows = epilogue.bias.map_or(shape.m, <[Acc]>::len);
    assert!(rows >= shape.m, "the bias has {rows} elements, the output {} rows", shape.m);
    if !Acc::COMPLEX {
        (a.conjugate, b.conjugate) = (Conj::No, Conj::No);
    }
    if let (Source::Apart(c), true) = (&source, beta != Acc::zero()) {
        let end =
            contract::extent(&[shape.m, shape.n, shape.batch], &[c.row_stride, c.col_stride, c.batch_stride]);
        assert!(end <= c.data.len(), "C reaches to {end}, its slice to {}", c.data.len());
    }
    let plain = matches!(source, Source::InPlace) || beta == Acc::zero();
    let direct = plain
        && epilogue.is_none()
        && a.conjugate == Conj::No
        && b.conjugate == Conj::No
        && AB::as_accumulators(&[]).is_some()
        && Out::as_accumulators_mut(&mut []).is_some();
    let host = host_raw::host_blas().filter(|blas| direct && Acc::of_host(blas).is_some());
    let host = host.and_then(|blas| Some((blas, Plan::of(shape, &a, &b, &d)?)));
    let thick = if host.is_some() {
        Thick::Host
    } else if Acc::COMPLEX || host_raw::backend() == Backend::Matrixmultiply {
        Thick::Tiles
    } else {
        Thick::Packed
    };
    let traits = Traits { no_product, direct, thick, thin: thin::<Acc>() };
    let kernel = select::select(shape, traits);
    let finish = Finish { alpha, beta, source, epilogue };
    match kernel {
        Kernel::Scale => tiles_raw::scale(shape, &finish, d),
        Kernel::Skinny => tiles_raw::skinny(shape, a, b, &finish, d),
        Kernel::Host => {
            let Some((blas, plan)) = host else { unreachable!("selected only where there is a plan") };
            tiles_raw::by_host(blas, plan, shape, a, b, &finish, d);
        }
        Kernel::Packed => packed_raw::product(shape, a, b, &finish, d),
        Kernel::Matrixmultiply => tiles_raw::direct(shape, a, b, &finish, d),
        Kernel::Widened => tiles_raw::widened(shape, a, b, &finish, d),
    }
    kernel
}

/// How many rows or columns are few. Complex numbers have no vector registers of ours, so matrixmultiply
/// is ahead of the skinny kernel from the second row on.
const fn thin<Acc: Accumulator>() -> usize {
    if Acc::COMPLEX { 1 } else { 16 }
}
