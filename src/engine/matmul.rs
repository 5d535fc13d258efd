//! Batched matrix products of tensors: `C ← A·B` over the last two axes, every other axis a batch.

use crate::gemm::gemm;
use crate::shape::{Conj, GemmShape, MatMut, MatRef};
use crate::tensor::{Layout, Real, TensorMut, TensorRef};

/// Whether three layouts are those of one product: equal ranks of at least 2, batch axes of A and B of C's size or 1.
pub fn matmul_fits(a: Layout, b: Layout, c: Layout) -> bool {
    let rank = c.rank();
    if rank < 2 || a.rank() != rank || b.rank() != rank {
        return false;
    }
    let (a, b, c) = (a.dims(), b.dims(), c.dims());
    let batch =
        |dims: &[usize]| dims.iter().zip(&c[..rank - 2]).all(|(&size, &full)| size == full || size == 1);
    a[rank - 2] == c[rank - 2]
        && b[rank - 1] == c[rank - 1]
        && a[rank - 1] == b[rank - 2]
        && batch(&a[..rank - 2])
        && batch(&b[..rank - 2])
}

/// `C ← A·B`.
///
/// # Panics
/// Unless [`matmul_fits`].
pub fn matmul<R: Real>(a: TensorRef<'_, R>, b: TensorRef<'_, R>, c: TensorMut<'_, R>) {
    assert!(matmul_fits(a.layout, b.layout, c.layout), "{:?} · {:?} → {:?}", a.layout, b.layout, c.layout);
    let rank = c.layout.rank();
    let batches = Layout::packed(&c.layout.dims()[..rank - 2]);
    // The innermost batch axis goes to the product as a whole, the rest one after the other.
    let inner = if rank > 2 { c.layout.dims()[rank - 3] } else { 1 };
    let shape = GemmShape {
        m: c.layout.dims()[rank - 2],
        n: c.layout.dims()[rank - 1],
        k: a.layout.dims()[rank - 1],
        batch: inner,
    };
    if shape.m * shape.n * batches.elements() == 0 {
        return;
    }
    let place = |layout: &Layout, index: &[usize]| -> usize {
        let steps = index.iter().zip(layout.dims().iter().zip(layout.strides()));
        steps.map(|(&position, (&size, &stride))| if size == 1 { 0 } else { position * stride }).sum()
    };
    let batch_stride = |layout: &Layout| {
        if rank > 2 && layout.dims()[rank - 3] > 1 { layout.strides()[rank - 3] } else { 0 }
    };
    for outer in 0..batches.elements() / inner {
        let index = &batches.index_of(outer * inner)[..rank - 2];
        let matrix = |tensor: &TensorRef<'_, R>| (place(&tensor.layout, index), tensor.layout);
        let (a_at, a_layout) = matrix(&a);
        let (b_at, b_layout) = matrix(&b);
        let c_at = place(&c.layout, index);
        let operand = |data, layout: Layout| MatRef {
            data,
            row_stride: layout.strides()[rank - 2],
            col_stride: layout.strides()[rank - 1],
            batch_stride: batch_stride(&layout),
            conjugate: Conj::No,
        };
        let output = MatMut {
            row_stride: c.layout.strides()[rank - 2],
            col_stride: c.layout.strides()[rank - 1],
            batch_stride: batch_stride(&c.layout),
            data: &mut c.data[c_at..],
        };
        let tail = |data: &'_ [R], at: usize| at.min(data.len());
        gemm(
            shape,
            R::ONE,
            operand(&a.data[tail(a.data, a_at)..], a_layout),
            operand(&b.data[tail(b.data, b_at)..], b_layout),
            R::ZERO,
            output,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_broadcast_and_strides_are_followed() {
        let values = |count: usize| (0..count).map(|i| (i * 7 % 11) as f64 - 5.0).collect::<Vec<_>>();
        let (a, b) = (values(2 * 3 * 4 * 5), values(3 * 5 * 6));
        // A is transposed within its matrices, B is the same for both outer batches.
        let a_layout = Layout::new(&[2, 3, 4, 5], &[60, 20, 1, 4]);
        let b_layout = Layout::new(&[1, 3, 5, 6], &[0, 30, 6, 1]);
        let c_layout = Layout::packed(&[2, 3, 4, 6]);
        let mut c = vec![f64::NAN; c_layout.extent()];
        matmul(TensorRef::new(&a, a_layout), TensorRef::new(&b, b_layout), TensorMut::new(&mut c, c_layout));
        for (position, &got) in c.iter().enumerate() {
            let [outer, batch, row, col, ..] = c_layout.index_of(position);
            let sum: f64 = (0..5)
                .map(|k| a[a_layout.place(&[outer, batch, row, k])] * b[b_layout.place(&[0, batch, k, col])])
                .sum();
            assert_eq!(got, sum);
        }
    }
}
