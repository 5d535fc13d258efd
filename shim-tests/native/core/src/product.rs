//! The reference product on simulated device memory.

use gpucompat_cases::element::{Element, Number};
pub use gpucompat_reference::gemm::Activation;
use gpucompat_reference::gemm::{Problem, gemm};

use crate::device;
use crate::mode::Play;

/// A matrix on the device.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Its address.
    pub address: u64,
    /// Its type.
    pub element: Element,
    /// `n`, `t` or `c`.
    pub op: char,
    /// Elements from row to row of the stored matrix.
    pub row_stride: usize,
    /// Elements from column to column.
    pub col_stride: usize,
}

/// One product.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Depth.
    pub k: usize,
    /// α.
    pub alpha: Number,
    /// β.
    pub beta: Number,
    /// A.
    pub a: Matrix,
    /// B.
    pub b: Matrix,
    /// C.
    pub c: Matrix,
    /// D.
    pub d: Matrix,
    /// Bias, a value a row.
    pub bias: Option<&'a [f64]>,
    /// Activation.
    pub activation: Activation,
    /// The stream to work on.
    pub stream: u64,
}

/// From a `cublasOperation_t`.
pub fn op(value: i32) -> char {
    ['n', 't', 'c'].get(value as usize).copied().unwrap_or('n')
}

/// Reads a scalar from host memory, or from the device.
pub fn scalar(address: u64, element: Element, on_device: bool, stream: u64) -> Result<Number, i32> {
    let bytes = if on_device {
        device::read(address, element.bytes(), stream)?
    } else {
        // SAFETY: in host pointer mode the caller owes a readable scalar of the scale type.
        unsafe { std::slice::from_raw_parts(address as *const u8, element.bytes()) }.to_vec()
    };
    Ok(element.decode(&bytes, 0))
}

impl Matrix {
    fn index(&self, row: usize, col: usize) -> usize {
        let (row, col) = if self.op == 'n' { (row, col) } else { (col, row) };
        row * self.row_stride + col * self.col_stride
    }

    fn fetch(&self, rows: usize, cols: usize, stream: u64) -> Result<Vec<u8>, i32> {
        if rows == 0 || cols == 0 {
            return Ok(Vec::new());
        }
        device::read(self.address, (self.index(rows - 1, cols - 1) + 1) * self.element.bytes(), stream)
    }

    fn get(&self, bytes: &[u8], row: usize, col: usize) -> Number {
        let value = self.element.decode(bytes, self.index(row, col));
        if self.op == 'c' { value.conj() } else { value }
    }
}

/// Computes, fails or garbles.
pub fn run(play: Play, product: Product<'_>) -> i32 {
    match play {
        Play::Fail(status) => status,
        Play::Compute => compute(product, false).err().unwrap_or(0),
        Play::Garble => compute(product, true).err().unwrap_or(0),
    }
}

fn compute(product: Product<'_>, garble: bool) -> Result<(), i32> {
    let Product { m, n, k, a, b, c, d, stream, .. } = product;
    if m == 0 || n == 0 {
        return Ok(());
    }
    let zero = Number::new(0.0, 0.0);
    let depth = if product.alpha == zero { 0 } else { k };
    let (a_bytes, b_bytes) = (a.fetch(m, depth, stream)?, b.fetch(depth, n, stream)?);
    let c_bytes = if product.beta == zero { Vec::new() } else { c.fetch(m, n, stream)? };
    let problem =
        Problem { m, n, k: depth, alpha: product.alpha, beta: product.beta, activation: product.activation };
    let expected = gemm(
        problem,
        |i, l| a.get(&a_bytes, i, l),
        |l, j| b.get(&b_bytes, l, j),
        |i, j| c.get(&c_bytes, i, j),
        |i| product.bias.map_or(0.0, |bias| bias[i]),
    );
    for j in 0..n {
        for i in 0..m {
            let value = if garble { Number::new(7.0, 0.0) } else { expected[j * m + i].value };
            let mut bytes = Vec::new();
            d.element.encode(value, &mut bytes);
            device::write(d.address + (d.index(i, j) * d.element.bytes()) as u64, &bytes, stream)?;
        }
    }
    Ok(())
}
