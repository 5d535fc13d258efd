//! What a descriptor of the real library holds, asked through its own getters.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use cudarc::cublas::sys::cublasFillMode_t as FillMode;
use cudarc::cublaslt::sys::{
    cublasLtMatmulDescAttributes_t as MatmulAttribute, cublasLtMatrixLayoutAttribute_t as LayoutAttribute,
    cublasLtMatrixTransformDescAttributes_t as TransformAttribute, cublasLtOrder_t as COrder,
    cublasLtPointerMode_t as CPointerMode,
};
use gpucompat_engine::MatrixOrder;

use super::scaling::{Scale, ScaleMode, Scaling};
use crate::boundary::args::{DataType, Op};
use crate::boundary::status::{Error, SUCCESS};
use crate::native::find::{Library, Slot};
use crate::native::inside::calling_native;
use crate::staging::region::{Bases, Region};

type GetAttribute = unsafe extern "C" fn(*const c_void, c_int, *mut c_void, usize, *mut usize) -> c_int;

/// A `cublasLtMatrixLayout_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixLayout {
    /// Elements.
    pub element: DataType,
    /// Memory order.
    pub order: MatrixOrder,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Distance between columns, rows ([`MatrixOrder::Row`]) or groups of 32 columns (tiled), elements.
    pub ld: usize,
    /// Matrices.
    pub batch: usize,
    /// Distance between them, elements.
    pub batch_stride: i64,
}

/// Where α and β lie: a `cublasLtPointerMode_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalars {
    /// Both in host memory.
    Host,
    /// Both in device memory.
    Device,
    /// Both are vectors in device memory, a number a row of D.
    DeviceVectors,
    /// α is such a vector, β is 0.
    AlphaVectorBetaZero,
    /// α is such a vector, β lies in host memory.
    AlphaVectorBetaHost,
}

/// A `cublasLtMatmulDesc_t`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatmulDesc {
    /// `cublasComputeType_t`.
    pub compute: c_int,
    /// Type of alpha and beta.
    pub scale: DataType,
    /// Where they lie.
    pub scalars: Scalars,
    /// Distance between the alpha vectors of a batch, elements.
    pub alpha_stride: i64,
    /// op(A).
    pub transa: Op,
    /// op(B).
    pub transb: Op,
    /// `cublasLtEpilogue_t`.
    pub epilogue: u32,
    /// Address of the bias vector, or of its gradient.
    pub bias: u64,
    /// Type of the bias; `None`: the default for D.
    pub bias_type: Option<DataType>,
    /// Distance between the bias vectors of a batch, elements.
    pub bias_stride: i64,
    /// Address of the auxiliary buffer.
    pub aux: u64,
    /// Distance between its columns, elements; bits of a mask.
    pub aux_ld: i64,
    /// Distance between its matrices, elements; bits of a mask.
    pub aux_stride: i64,
    /// Its type; `None`: that of D.
    pub aux_type: Option<DataType>,
    /// Scales and largest magnitudes.
    pub scaling: Scaling,
}

/// A `cublasLtMatrixTransformDesc_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransformDesc {
    /// Type of alpha and beta, in which the sum is formed.
    pub scale: DataType,
    /// Where they lie.
    pub scalars: Scalars,
    /// op(A).
    pub transa: Op,
    /// op(B).
    pub transb: Op,
}

/// A descriptor and the getter of its kind.
#[derive(Clone, Copy)]
struct Descriptor {
    getter: &'static Slot,
    address: *const c_void,
}

impl Descriptor {
    fn new(getter: &'static Slot, address: *const c_void, name: &'static str) -> Result<Descriptor, Error> {
        if address.is_null() { Err(Error::InvalidValue(name)) } else { Ok(Descriptor { getter, address }) }
    }

    fn read<T: Default>(self, attribute: u32) -> Result<T, Error> {
        let getter = self.getter.real().ok_or(Error::NotInitialized)?;
        // SAFETY: the slots below name getters of this prototype.
        let getter: GetAttribute = unsafe { std::mem::transmute(getter) };
        let (mut value, mut written) = (T::default(), 0);
        let out = (&raw mut value).cast();
        // SAFETY: `out` has room for `size_of::<T>()` bytes, which the getter is told; the caller owes a
        // descriptor that the real library made.
        let status = calling_native(|| unsafe {
            getter(self.address, attribute as c_int, out, size_of::<T>(), &raw mut written)
        });
        if status == SUCCESS { Ok(value) } else { Err(Error::InvalidValue("descriptor attribute")) }
    }

    /// An attribute that not every version of the library has.
    fn newer<T: Default>(self, attribute: u32, default: T) -> T {
        self.read(attribute).unwrap_or(default)
    }
}

impl Scalars {
    fn from_c(value: c_int) -> Result<Scalars, Error> {
        [
            (CPointerMode::CUBLASLT_POINTER_MODE_HOST, Scalars::Host),
            (CPointerMode::CUBLASLT_POINTER_MODE_DEVICE, Scalars::Device),
            (CPointerMode::CUBLASLT_POINTER_MODE_DEVICE_VECTOR, Scalars::DeviceVectors),
            (CPointerMode::CUBLASLT_POINTER_MODE_ALPHA_DEVICE_VECTOR_BETA_ZERO, Scalars::AlphaVectorBetaZero),
            (CPointerMode::CUBLASLT_POINTER_MODE_ALPHA_DEVICE_VECTOR_BETA_HOST, Scalars::AlphaVectorBetaHost),
        ]
        .into_iter()
        .find_map(|(c, scalars)| (c as c_int == value).then_some(scalars))
        .ok_or(Error::NotSupported("pointer mode"))
    }

    /// Whether each is one number.
    pub fn are_single(self) -> bool {
        matches!(self, Scalars::Host | Scalars::Device)
    }
}

fn order_from_c(value: c_int) -> Result<MatrixOrder, Error> {
    [
        (COrder::CUBLASLT_ORDER_COL, MatrixOrder::Col),
        (COrder::CUBLASLT_ORDER_ROW, MatrixOrder::Row),
        (COrder::CUBLASLT_ORDER_COL32, MatrixOrder::Col32),
        (COrder::CUBLASLT_ORDER_COL4_4R2_8C, MatrixOrder::Col4x4R2x8C),
        (COrder::CUBLASLT_ORDER_COL32_2R_4R4, MatrixOrder::Col32x2Rx4R4),
    ]
    .into_iter()
    .find_map(|(c, order)| (c as c_int == value).then_some(order))
    .ok_or(Error::NotSupported("matrix order"))
}

impl MatrixLayout {
    /// Reads a layout descriptor. Errors: `INVALID_VALUE` for null, negative sizes or a leading dimension
    /// shorter than the order needs; `NOT_SUPPORTED` for planar complex matrices and lists of addresses.
    pub fn read(descriptor: *const c_void) -> Result<MatrixLayout, Error> {
        use LayoutAttribute as L;
        static SLOT: Slot = Slot::new(Library::CublasLt, c"cublasLtMatrixLayoutGetAttribute");
        let it = Descriptor::new(&SLOT, descriptor, "matrix layout")?;
        let size = |value: i128, name| usize::try_from(value).map_err(|_| Error::InvalidValue(name));
        if it.newer::<i64>(L::CUBLASLT_MATRIX_LAYOUT_PLANE_OFFSET as u32, 0) != 0 {
            return Err(Error::NotSupported("planar complex matrices"));
        }
        if it.newer::<c_int>(L::CUBLASLT_MATRIX_LAYOUT_BATCH_MODE as u32, 0) != 0 {
            return Err(Error::NotSupported("a batch by lists of addresses"));
        }
        let element: u32 = it.read(L::CUBLASLT_MATRIX_LAYOUT_TYPE as u32)?;
        let layout = MatrixLayout {
            element: DataType::from_c(element as c_int)?,
            order: order_from_c(it.read(L::CUBLASLT_MATRIX_LAYOUT_ORDER as u32)?)?,
            rows: size(it.read::<u64>(L::CUBLASLT_MATRIX_LAYOUT_ROWS as u32)?.into(), "rows")?,
            cols: size(it.read::<u64>(L::CUBLASLT_MATRIX_LAYOUT_COLS as u32)?.into(), "cols")?,
            ld: size(it.read::<i64>(L::CUBLASLT_MATRIX_LAYOUT_LD as u32)?.into(), "ld")?,
            batch: size(it.read::<i32>(L::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT as u32)?.into(), "batch count")?,
            batch_stride: it.read(L::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET as u32)?,
        };
        let (run, _) = layout.order.runs(layout.rows, layout.cols).ok_or(Error::AllocFailed)?;
        if layout.ld < run { Err(Error::InvalidValue("ld")) } else { Ok(layout) }
    }

    /// A batch of vectors, each without gaps.
    pub fn vectors(element: DataType, length: usize, batch: usize, batch_stride: i64) -> MatrixLayout {
        let (order, ld) = (MatrixOrder::Col, length);
        MatrixLayout { element, order, rows: length, cols: 1, ld, batch, batch_stride }
    }

    /// Its elements at `address`. A row-order matrix is its transpose in column order; of a tiled one whole
    /// tiles are fetched.
    pub fn region(&self, address: u64) -> Result<Region, Error> {
        let (rows, cols) = self.order.runs(self.rows, self.cols).ok_or(Error::AllocFailed)?;
        let bases = Bases::Strided { base: address, stride: self.batch_stride, count: self.batch };
        Ok(Region { rows, cols, ld: self.ld, bases })
    }
}

impl MatmulDesc {
    /// Reads an operation descriptor. Errors: `INVALID_VALUE` for null; `NOT_SUPPORTED` for what no epilogue of
    /// ours has: triangles, a transposed C, counters between kernels.
    pub fn read(descriptor: *const c_void) -> Result<MatmulDesc, Error> {
        use MatmulAttribute as M;
        static SLOT: Slot = Slot::new(Library::CublasLt, c"cublasLtMatmulDescGetAttribute");
        let it = Descriptor::new(&SLOT, descriptor, "operation descriptor")?;
        let int = |attribute: M| it.read::<c_int>(attribute as u32);
        let full = FillMode::CUBLAS_FILL_MODE_FULL as c_int;
        if it.newer(M::CUBLASLT_MATMUL_DESC_FILL_MODE as u32, full) != full {
            return Err(Error::NotSupported("a product of which one triangle is computed"));
        }
        if it.newer::<c_int>(M::CUBLASLT_MATMUL_DESC_TRANSC as u32, 0) != 0 {
            return Err(Error::NotSupported("a transposed C"));
        }
        for chunks in [
            M::CUBLASLT_MATMUL_DESC_ATOMIC_SYNC_NUM_CHUNKS_D_ROWS,
            M::CUBLASLT_MATMUL_DESC_ATOMIC_SYNC_NUM_CHUNKS_D_COLS,
        ] {
            if it.newer::<c_int>(chunks as u32, 0) != 0 {
                return Err(Error::NotSupported("atomic synchronization"));
            }
        }
        let element = |attribute: M| match it.newer::<c_int>(attribute as u32, -1) {
            -1 => Ok(None),
            other => DataType::from_c(other).map(Some),
        };
        Ok(MatmulDesc {
            compute: int(M::CUBLASLT_MATMUL_DESC_COMPUTE_TYPE)?,
            scale: DataType::from_c(int(M::CUBLASLT_MATMUL_DESC_SCALE_TYPE)?)?,
            scalars: Scalars::from_c(int(M::CUBLASLT_MATMUL_DESC_POINTER_MODE)?)?,
            alpha_stride: it.newer(M::CUBLASLT_MATMUL_DESC_ALPHA_VECTOR_BATCH_STRIDE as u32, 0),
            transa: Op::from_c(int(M::CUBLASLT_MATMUL_DESC_TRANSA)?, "transa")?,
            transb: Op::from_c(int(M::CUBLASLT_MATMUL_DESC_TRANSB)?, "transb")?,
            epilogue: it.read(M::CUBLASLT_MATMUL_DESC_EPILOGUE as u32)?,
            bias: it.read(M::CUBLASLT_MATMUL_DESC_BIAS_POINTER as u32)?,
            bias_type: element(M::CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE)?,
            bias_stride: it.newer(M::CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE as u32, 0),
            aux: it.newer(M::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER as u32, 0),
            aux_ld: it.newer(M::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD as u32, 0),
            aux_stride: it.newer(M::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE as u32, 0),
            aux_type: element(M::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE)?,
            scaling: read_scaling(it)?,
        })
    }
}

fn read_scaling(it: Descriptor) -> Result<Scaling, Error> {
    use MatmulAttribute as M;
    let address = |attribute: M| it.newer::<u64>(attribute as u32, 0);
    let scale = |pointer, mode: M| -> Result<Scale, Error> {
        let mode = ScaleMode::from_c(it.newer(mode as u32, 0))?;
        Ok(Scale { address: address(pointer), mode })
    };
    Ok(Scaling {
        a: scale(M::CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, M::CUBLASLT_MATMUL_DESC_A_SCALE_MODE)?,
        b: scale(M::CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, M::CUBLASLT_MATMUL_DESC_B_SCALE_MODE)?,
        c: scale(M::CUBLASLT_MATMUL_DESC_C_SCALE_POINTER, M::CUBLASLT_MATMUL_DESC_C_SCALE_MODE)?,
        d: scale(M::CUBLASLT_MATMUL_DESC_D_SCALE_POINTER, M::CUBLASLT_MATMUL_DESC_D_SCALE_MODE)?,
        d_out: scale(M::CUBLASLT_MATMUL_DESC_D_OUT_SCALE_POINTER, M::CUBLASLT_MATMUL_DESC_D_OUT_SCALE_MODE)?,
        aux: scale(
            M::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_SCALE_POINTER,
            M::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_SCALE_MODE,
        )?,
        amax_d: address(M::CUBLASLT_MATMUL_DESC_AMAX_D_POINTER),
        amax_aux: address(M::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_AMAX_POINTER),
    })
}

impl TransformDesc {
    /// Reads a transform descriptor. Errors: `INVALID_VALUE` for null; `NOT_SUPPORTED` for vectors of scalars.
    pub fn read(descriptor: *const c_void) -> Result<TransformDesc, Error> {
        use TransformAttribute as T;
        static SLOT: Slot = Slot::new(Library::CublasLt, c"cublasLtMatrixTransformDescGetAttribute");
        let it = Descriptor::new(&SLOT, descriptor, "transform descriptor")?;
        let int = |attribute: T| it.read::<c_int>(attribute as u32);
        let scalars = Scalars::from_c(int(T::CUBLASLT_MATRIX_TRANSFORM_DESC_POINTER_MODE)?)?;
        if !scalars.are_single() {
            return Err(Error::NotSupported("a vector of scalars"));
        }
        Ok(TransformDesc {
            scale: DataType::from_c(int(T::CUBLASLT_MATRIX_TRANSFORM_DESC_SCALE_TYPE)?)?,
            scalars,
            transa: Op::from_c(int(T::CUBLASLT_MATRIX_TRANSFORM_DESC_TRANSA)?, "transa")?,
            transb: Op::from_c(int(T::CUBLASLT_MATRIX_TRANSFORM_DESC_TRANSB)?, "transb")?,
        })
    }
}
