//! What a descriptor of the real library holds, asked through its own getters.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use cudarc::cublaslt::sys::{
    cublasLtMatmulDescAttributes_t as MatmulAttribute, cublasLtMatrixLayoutAttribute_t as LayoutAttribute,
    cublasLtOrder_t as CLayoutOrder,
};

use crate::boundary::args::{DataType, Op};
use crate::boundary::status::{Error, SUCCESS};
use crate::native::find::{Library, Slot};
use crate::native::inside::calling_native;

type GetAttribute = unsafe extern "C" fn(*const c_void, c_int, *mut c_void, usize, *mut usize) -> c_int;

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `CUBLASLT_ORDER_COL`.
    Col,
    /// `CUBLASLT_ORDER_ROW`.
    Row,
}

/// A `cublasLtMatrixLayout_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixLayout {
    /// Elements.
    pub element: DataType,
    /// Memory order.
    pub order: Order,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Distance between columns (rows for [`Order::Row`]), elements.
    pub ld: usize,
    /// Matrices.
    pub batch: usize,
    /// Distance between them, elements.
    pub batch_stride: i64,
}

/// A `cublasLtMatmulDesc_t`, as far as we serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatmulDesc {
    /// `cublasComputeType_t`.
    pub compute: c_int,
    /// Type of alpha and beta.
    pub scale: DataType,
    /// `cublasLtPointerMode_t`.
    pub pointer_mode: c_int,
    /// op(A).
    pub transa: Op,
    /// op(B).
    pub transb: Op,
    /// `cublasLtEpilogue_t`.
    pub epilogue: u32,
    /// Address of the bias vector.
    pub bias: u64,
    /// Type of the bias; `None`: that of D.
    pub bias_type: Option<DataType>,
    /// Distance between the bias vectors of a batch, elements.
    pub bias_stride: i64,
}

fn read<T: Default>(slot: &'static Slot, descriptor: *const c_void, attribute: u32) -> Result<T, Error> {
    let getter = slot.real().ok_or(Error::NotInitialized)?;
    // SAFETY: both slots below name getters of this prototype.
    let getter: GetAttribute = unsafe { std::mem::transmute(getter) };
    let (mut value, mut written) = (T::default(), 0);
    let out = (&raw mut value).cast();
    // SAFETY: `out` has room for `size_of::<T>()` bytes, which the getter is told; the caller owes a
    // descriptor that the real library made.
    let status = calling_native(|| unsafe {
        getter(descriptor, attribute as c_int, out, size_of::<T>(), &raw mut written)
    });
    if status == SUCCESS { Ok(value) } else { Err(Error::InvalidValue("descriptor attribute")) }
}

impl MatrixLayout {
    /// Reads a layout descriptor. Errors: `INVALID_VALUE` for null; `NOT_SUPPORTED` for an order that only
    /// a device's kernels use.
    pub fn read(descriptor: *const c_void) -> Result<MatrixLayout, Error> {
        static SLOT: Slot = Slot::new(Library::CublasLt, c"cublasLtMatrixLayoutGetAttribute");
        if descriptor.is_null() {
            return Err(Error::InvalidValue("matrix layout"));
        }
        let get = |attribute: LayoutAttribute| attribute as u32;
        let order: c_int = read(&SLOT, descriptor, get(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_ORDER))?;
        let order = if order == CLayoutOrder::CUBLASLT_ORDER_COL as c_int {
            Order::Col
        } else if order == CLayoutOrder::CUBLASLT_ORDER_ROW as c_int {
            Order::Row
        } else {
            return Err(Error::NotSupported("matrix order other than column and row"));
        };
        let element: u32 = read(&SLOT, descriptor, get(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_TYPE))?;
        let rows: u64 = read(&SLOT, descriptor, get(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_ROWS))?;
        let cols: u64 = read(&SLOT, descriptor, get(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_COLS))?;
        let ld: i64 = read(&SLOT, descriptor, get(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_LD))?;
        let batch: i32 = read(&SLOT, descriptor, get(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT))?;
        let batch_stride: i64 =
            read(&SLOT, descriptor, get(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET))?;
        let size = |value: i128, name| usize::try_from(value).map_err(|_| Error::InvalidValue(name));
        let layout = MatrixLayout {
            element: DataType::from_c(element as c_int)?,
            order,
            rows: size(rows.into(), "rows")?,
            cols: size(cols.into(), "cols")?,
            ld: size(ld.into(), "ld")?,
            batch: size(batch.into(), "batch count")?,
            batch_stride,
        };
        let run = if order == Order::Col { layout.rows } else { layout.cols };
        if layout.ld < run { Err(Error::InvalidValue("ld")) } else { Ok(layout) }
    }
}

impl MatmulDesc {
    /// Reads an operation descriptor. Errors: `INVALID_VALUE` for null.
    pub fn read(descriptor: *const c_void) -> Result<MatmulDesc, Error> {
        static SLOT: Slot = Slot::new(Library::CublasLt, c"cublasLtMatmulDescGetAttribute");
        const SAME_AS_D: c_int = -1;
        if descriptor.is_null() {
            return Err(Error::InvalidValue("operation descriptor"));
        }
        let int = |attribute: MatmulAttribute| read::<c_int>(&SLOT, descriptor, attribute as u32);
        let bias: u64 = read(&SLOT, descriptor, MatmulAttribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER as u32)?;
        let bias_stride: i64 =
            read(&SLOT, descriptor, MatmulAttribute::CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE as u32)?;
        // CUDA 11's library has no such attribute: its bias has D's type.
        let bias_type = int(MatmulAttribute::CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE).unwrap_or(SAME_AS_D);
        Ok(MatmulDesc {
            compute: int(MatmulAttribute::CUBLASLT_MATMUL_DESC_COMPUTE_TYPE)?,
            scale: DataType::from_c(int(MatmulAttribute::CUBLASLT_MATMUL_DESC_SCALE_TYPE)?)?,
            pointer_mode: int(MatmulAttribute::CUBLASLT_MATMUL_DESC_POINTER_MODE)?,
            transa: Op::from_c(int(MatmulAttribute::CUBLASLT_MATMUL_DESC_TRANSA)?, "transa")?,
            transb: Op::from_c(int(MatmulAttribute::CUBLASLT_MATMUL_DESC_TRANSB)?, "transb")?,
            epilogue: read(&SLOT, descriptor, MatmulAttribute::CUBLASLT_MATMUL_DESC_EPILOGUE as u32)?,
            bias,
            bias_type: if bias_type == SAME_AS_D { None } else { Some(DataType::from_c(bias_type)?) },
            bias_stride,
        })
    }
}
