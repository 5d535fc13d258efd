//! What a product of cuBLASLt is, read from its descriptors and judged: the same for the call itself, the
//! heuristic and the check of an algorithm.
//!
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublasltmatmul>.

use gpucompat_engine as engine;

use super::attributes::{MatmulDesc, MatrixLayout, Scalars};
use super::epilogue::{Aux, Bias, Epilogue};
use super::matmul::Args;
use super::scaling::ScaledTypes;
use crate::boundary::args::{Compute, DataType, Op};
use crate::boundary::status::Error;

/// `CUBLASLT_EPILOGUE_DEFAULT`.
const DEFAULT_EPILOGUE: u32 = cudarc::cublaslt::sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_DEFAULT as u32;

/// Whether A, B, C and D may have these types: NVIDIA's table, and 8-bit floating C of D's type.
pub fn check_types(compute: Compute, scale: DataType, [a, b, c, d]: [DataType; 4]) -> Result<(), Error> {
    use DataType::{Bf16, C32, C64, E4m3, E5m2, F16, F32, F64, I8, I32};
    let float8 = match (a, b) {
        (E4m3, E4m3) => d != E5m2,
        (E4m3, E5m2) | (E5m2, E4m3) => true,
        _ => false,
    };
    let legal = match compute {
        Compute::F16 => (a, d, scale) == (F16, F16, F16),
        Compute::F32 => {
            let narrow = float8 && matches!(d, Bf16 | F16 | F32 | E4m3 | E5m2);
            (narrow || matches!((a, d), (Bf16, Bf16) | (F16, F16) | (Bf16 | F16 | F32 | I8, F32)))
                && scale == F32
                || (a, d, scale) == (C32, C32, C32)
        }
        Compute::F64 => (a, d, scale) == (F64, F64, F64) || (a, d, scale) == (C64, C64, C64),
        Compute::I32 => (a, d, scale) == (I8, I32, I32) || (a, d, scale) == (I8, I8, F32),
    };
    let alike = (float8 || a == b) && (c == d || d.is_float8() && matches!(c, Bf16 | F16));
    if legal && alike { Ok(()) } else { Err(Error::NotSupported("combination of types")) }
}

/// A validated product, without addresses: what the heuristic judges too.
#[derive(Debug)]
pub struct Problem {
    /// Rows of D.
    pub m: usize,
    /// Columns of D.
    pub n: usize,
    /// Columns of op(A).
    pub k: usize,
    /// The operation.
    pub desc: MatmulDesc,
    /// Its epilogue.
    pub epilogue: Epilogue,
    /// Layout of A.
    pub a: MatrixLayout,
    /// Layout of B.
    pub b: MatrixLayout,
    /// Layout of C.
    pub c: MatrixLayout,
    /// Layout of D.
    pub d: MatrixLayout,
}

impl Problem {
    /// Reads and checks the descriptors of a call.
    pub fn read(args: &Args) -> Result<Problem, Error> {
        let desc = MatmulDesc::read(args.descriptor)?;
        let (a, b) = (MatrixLayout::read(args.a_layout)?, MatrixLayout::read(args.b_layout)?);
        let (c, d) = (MatrixLayout::read(args.c_layout)?, MatrixLayout::read(args.d_layout)?);
        let op_shape = |layout: &MatrixLayout, op: Op| {
            if op.transposes() { (layout.cols, layout.rows) } else { (layout.rows, layout.cols) }
        };
        let ((m, k), (depth, n)) = (op_shape(&a, desc.transa), op_shape(&b, desc.transb));
        if k != depth || (d.rows, d.cols) != (m, n) || (c.rows, c.cols) != (m, n) {
            return Err(Error::InvalidValue("matrix shapes"));
        }
        if [a.batch, b.batch, c.batch].iter().any(|&batch| batch != d.batch) {
            return Err(Error::InvalidValue("batch counts"));
        }
        if d.batch > 1 && d.batch_stride == 0 {
            return Err(Error::InvalidValue("batch stride of D"));
        }
        let epilogue = Epilogue::from_c(desc.epilogue)?;
        let problem = Problem { m, n, k, desc, epilogue, a, b, c, d };
        problem.check_types()?;
        problem.check_fused()?;
        Ok(problem)
    }

    /// Whether the product needs more than the engine's product with a bias and an activation.
    pub fn is_fused(&self) -> bool {
        let layouts = [&self.a, &self.b, &self.c, &self.d];
        self.epilogue.aux != Aux::No
            || self.epilogue.writes_bias()
            || self.epilogue.bias == Bias::PerRow && self.d.batch > 1 && self.desc.bias_stride != 0
            || !self.desc.scalars.are_single()
            || self.a.element.is_float8()
            || self.d.element == DataType::I8
            || !self.desc.scaling.is_none()
            || layouts.iter().any(|layout| layout.order.is_tiled())
    }

    /// The type of the bias, or of its gradient.
    pub fn bias_type(&self) -> DataType {
        let by_default = match self.d.element {
            DataType::I8 => DataType::F32,
            d if !self.a.element.is_float8() => d,
            DataType::F32 => DataType::Bf16,
            d if !d.is_float8() => d,
            _ if self.c.element == DataType::F16 => DataType::F16,
            _ => DataType::Bf16,
        };
        self.desc.bias_type.unwrap_or(by_default)
    }

    /// The type of a GELU's auxiliary matrix.
    pub fn aux_type(&self) -> DataType {
        self.desc.aux_type.unwrap_or(self.d.element)
    }

    fn check_types(&self) -> Result<(), Error> {
        use DataType::{Bf16, C32, C64, F16, F32, I8, I32};
        let (ab, d) = (self.a.element, self.d.element);
        let elements = [ab, self.b.element, self.c.element, d];
        check_types(Compute::from_c(self.desc.compute)?, self.desc.scale, elements)?;
        let plain = self.desc.epilogue == DEFAULT_EPILOGUE;
        let only_plain = matches!(d, C32 | C64 | I32) || (ab, d) == (I8, F32);
        let bias_type = self.bias_type();
        let bias_fits = self.epilogue.bias == Bias::No
            || bias_type == d
            || bias_type == F32
            || matches!(bias_type, F16 | Bf16) && (bias_type == ab || ab.is_float8());
        if (plain || !only_plain) && bias_fits {
            Ok(())
        } else {
            Err(Error::NotSupported("combination of types"))
        }
    }

    /// What a bias and an activation alone do not need.
    fn check_fused(&self) -> Result<(), Error> {
        let aux = (self.epilogue.aux == Aux::Output && self.epilogue.activation == engine::Activation::Gelu)
            .then(|| self.aux_type());
        let (ab, c, d) = ([self.a.element, self.b.element], self.c.element, self.d.element);
        self.desc.scaling.check(ScaledTypes { ab, c, d, aux }, self.d.batch)?;
        if !self.is_fused() {
            return Ok(());
        }
        if matches!(d, DataType::C32 | DataType::C64) {
            return Err(Error::NotSupported("complex numbers in tiles or with a vector of alphas"));
        }
        if d == DataType::I32 && !self.desc.scalars.are_single() {
            return Err(Error::NotSupported("a vector of integer alphas"));
        }
        if self.desc.alpha_stride != 0 {
            match self.desc.scalars {
                Scalars::AlphaVectorBetaZero => return Err(Error::InvalidValue("batch stride of alpha")),
                Scalars::DeviceVectors => {
                    return Err(Error::NotSupported("vectors of alpha and beta in a batch"));
                }
                Scalars::Host | Scalars::Device | Scalars::AlphaVectorBetaHost => {}
            }
        }
        let narrow = self.a.element.is_float8() || d == DataType::I8;
        if narrow && (self.epilogue.writes_bias() || self.epilogue.aux == Aux::Input) {
            return Err(Error::NotSupported("gradients of 8-bit types"));
        }
        if d == DataType::I8 && self.epilogue.aux != Aux::No {
            return Err(Error::NotSupported("an auxiliary output of 8-bit integers"));
        }
        if self.epilogue.writes_bias() && self.d.batch > 1 && self.desc.bias_stride == 0 {
            return Err(Error::NotSupported("bias gradients of a batch in one vector"));
        }
        self.check_aux()
    }

    fn check_aux(&self) -> Result<(), Error> {
        if self.epilogue.aux == Aux::No {
            return Ok(());
        }
        let mask = self.epilogue.activation == engine::Activation::Relu;
        let step = if mask { 128 } else { 8 };
        let ld = self.desc.aux_ld;
        if ld % step != 0 || ld < self.m as i64 {
            return Err(Error::InvalidValue("leading dimension of the auxiliary matrix"));
        }
        if self.desc.aux_stride % step != 0 {
            return Err(Error::InvalidValue("batch stride of the auxiliary matrix"));
        }
        if self.epilogue.aux == Aux::Output && self.d.batch > 1 && self.desc.aux_stride == 0 {
            return Err(Error::InvalidValue("batch stride of the auxiliary matrix"));
        }
        let aux = self.aux_type();
        let fits = aux == self.d.element
            || self.d.element.is_float8() && matches!(aux, DataType::F16 | DataType::Bf16 | DataType::E4m3);
        if mask || fits { Ok(()) } else { Err(Error::InvalidValue("type of the auxiliary matrix")) }
    }
}

/// The log's words: shapes, layout, types, epilogue.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (op_a, op_b) = (self.desc.transa.letter(), self.desc.transb.letter());
        write!(f, "trans={op_a}{op_b} m={} n={} k={}", self.m, self.n, self.k)?;
        write!(
            f,
            " lda={} ldb={} ldc={} ldd={} batch={}",
            self.a.ld, self.b.ld, self.c.ld, self.d.ld, self.d.batch
        )?;
        write!(f, " type={}->{}", self.a.element.name(), self.d.element.name())?;
        let Epilogue { bias, activation, aux } = self.epilogue;
        write!(f, " bias={bias:?} activation={activation:?} aux={aux:?} order={:?}", self.d.order)
    }
}
