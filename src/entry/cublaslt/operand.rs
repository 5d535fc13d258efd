//! Operands in any order, fetched and packed by columns in the type they are computed in, and results put back.

use gpucompat_engine as engine;

use super::attributes::MatrixLayout;
use crate::boundary::args::{DataType, Op};
use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::staging::host_buffer::Plain;
use crate::staging::region::HostLayout;

/// A batch of matrices, packed by columns.
pub struct Packed<V> {
    /// The elements.
    pub data: Vec<V>,
    rows: usize,
    batch_stride: usize,
}

impl<V> Packed<V> {
    /// No matrix, for a product without depth.
    pub fn empty() -> Packed<V> {
        Packed { data: Vec::new(), rows: 0, batch_stride: 0 }
    }

    /// Packed elements as the batch of matrices that they are.
    pub fn whole(data: &[V], rows: usize, cols: usize) -> engine::MatRef<'_, V> {
        let (col_stride, batch_stride) = (rows, rows * cols);
        engine::MatRef { data, row_stride: 1, col_stride, batch_stride, conjugate: engine::Conj::No }
    }

    /// op of each matrix.
    pub fn matrix(&self, op: Op) -> engine::MatRef<'_, V> {
        let (row_stride, col_stride) = if op.transposes() { (self.rows, 1) } else { (1, self.rows) };
        let conjugate = if op == Op::C { engine::Conj::Yes } else { engine::Conj::No };
        let batch_stride = self.batch_stride;
        engine::MatRef { data: &self.data, row_stride, col_stride, batch_stride, conjugate }
    }

    /// A number for each row: the rows of one-column matrices.
    pub fn per_row(&self) -> engine::PerRow<'_, V> {
        engine::PerRow { values: &self.data, row_stride: 1, batch_stride: self.batch_stride }
    }
}

/// A result that waits to be written, its destination checked.
pub type Pending<'c> = Box<dyn FnOnce() -> Result<(), Error> + 'c>;

/// The matrices as they lie on the host: all of the batch, or the one that it consists of.
fn on_host(layout: &MatrixLayout, staged: &HostLayout) -> engine::OrderedLayout {
    engine::OrderedLayout {
        order: layout.order,
        rows: layout.rows,
        cols: layout.cols,
        ld: staged.col_stride,
        batch: if layout.batch_stride == 0 { layout.batch.min(1) } else { layout.batch },
        batch_stride: staged.batch_stride,
    }
}

/// Fetches an operand now.
pub fn load<T: Plain, V: Copy + Default + Send>(
    call: &Call,
    name: &'static str,
    layout: &MatrixLayout,
    address: u64,
    convert: impl Fn(T) -> V + Sync,
) -> Result<Packed<V>, Error> {
    if address == 0 {
        return Err(Error::InvalidValue(name));
    }
    let staged = call.transfer.operand::<T>(name, &layout.region(address)?)?;
    call.transfer.wait()?;
    let places = on_host(layout, &staged.layout);
    let batch_stride = if layout.batch_stride == 0 { 0 } else { layout.rows * layout.cols };
    Ok(Packed { data: places.gather(staged.elements(), convert), rows: layout.rows, batch_stride })
}

/// Fetches an operand of any real type now.
pub fn load_real<R: engine::Real>(
    call: &Call,
    name: &'static str,
    layout: &MatrixLayout,
    address: u64,
) -> Result<Packed<R>, Error> {
    fn load_as<T: Plain + engine::Element, R: engine::Real>(
        call: &Call,
        name: &'static str,
        layout: &MatrixLayout,
        address: u64,
    ) -> Result<Packed<R>, Error> {
        load(call, name, layout, address, T::to_real::<R>)
    }
    let load = match layout.element {
        DataType::F16 => load_as::<engine::f16, R>,
        DataType::Bf16 => load_as::<engine::bf16, R>,
        DataType::F32 => load_as::<f32, R>,
        DataType::F64 => load_as::<f64, R>,
        DataType::I8 => load_as::<i8, R>,
        DataType::I32 => load_as::<i32, R>,
        DataType::E4m3 => load_as::<engine::E4m3, R>,
        DataType::E5m2 => load_as::<engine::E5m2, R>,
        DataType::C32 | DataType::C64 | DataType::CI8 | DataType::U8 | DataType::I64 => {
            return Err(Error::NotSupported("data type"));
        }
    };
    load(call, name, layout, address)
}

/// Makes ready to write a packed result; gaps, and the rest of half-filled tiles, keep what they hold.
pub fn store<'c, V: Copy, T: Plain>(
    call: &'c Call,
    name: &'static str,
    layout: &MatrixLayout,
    address: u64,
    packed: &[V],
    convert: impl Fn(V) -> T,
) -> Result<Pending<'c>, Error> {
    if address == 0 {
        return Err(Error::InvalidValue(name));
    }
    let region = layout.region(address)?;
    let mut staged = if layout.order.is_tiled() {
        let staged = call.transfer.copy_in::<T>(name, &region)?;
        call.transfer.wait()?;
        staged
    } else {
        call.transfer.room_for::<T>(name, &region)?
    };
    let places = on_host(layout, &staged.layout);
    places.scatter(packed, staged.elements_mut(), convert);
    call.transfer.check_destination(name, &staged)?;
    Ok(Box::new(move || call.transfer.copy_out(name, staged)))
}

/// The same for a result of any real type, multiplied by `scale` and rounded once.
pub fn store_real<'c, R: engine::Real>(
    call: &'c Call,
    name: &'static str,
    layout: &MatrixLayout,
    address: u64,
    packed: &[R],
    scale: R,
) -> Result<Pending<'c>, Error> {
    fn store_as<'c, T: Plain + engine::Element, R: engine::Real>(
        call: &'c Call,
        name: &'static str,
        layout: &MatrixLayout,
        address: u64,
        packed: &[R],
        scale: R,
    ) -> Result<Pending<'c>, Error> {
        store(call, name, layout, address, packed, |value| T::from_real(scale * value))
    }
    let store = match layout.element {
        DataType::F16 => store_as::<engine::f16, R>,
        DataType::Bf16 => store_as::<engine::bf16, R>,
        DataType::F32 => store_as::<f32, R>,
        DataType::F64 => store_as::<f64, R>,
        DataType::I8 => store_as::<i8, R>,
        DataType::I32 => store_as::<i32, R>,
        DataType::E4m3 => store_as::<engine::E4m3, R>,
        DataType::E5m2 => store_as::<engine::E5m2, R>,
        DataType::C32 | DataType::C64 | DataType::CI8 | DataType::U8 | DataType::I64 => {
            return Err(Error::NotSupported("data type"));
        }
    };
    store(call, name, layout, address, packed, scale)
}

/// Writes all results.
pub fn write_all(results: Vec<Pending<'_>>) -> Result<(), Error> {
    results.into_iter().try_for_each(|write| write())
}
