//! Products of cuBLASLt with more than a bias and an activation: auxiliary outputs, gradients, scales, vectors
//! of scalars, 8-bit types, tiled orders.
//!
//! ```text
//! Aux = α·scale_A·scale_B·op(A)·op(B) + β·scale_C·C + bias        amax_Aux = max |Aux|
//! D   = epilogue(Aux)                                             amax_D   = max |D|
//! ```
//!
//! Both are then multiplied by scale_Aux and scale_D and rounded once. Everything is computed in single
//! precision; in double where D is of that type, or of 8-bit integers, whose sums are exact in it. The
//! auxiliary matrix lies by columns, whatever the order of D: its leading dimension counts D's rows. Nothing
//! is written before all results are there and their addresses known to be writable.
//! Source: <https://docs.nvidia.com/cuda/cublas/#narrow-precision-data-types-usage>.

use gpucompat_engine as engine;

use super::attributes::{MatrixLayout, Scalars};
use super::epilogue::{Aux, Bias};
use super::matmul::Args;
use super::operand::{Packed, Pending, load, load_real, store, store_real, write_all};
use super::problem::Problem;
use super::scaling::{Blocks, Scale, ScaleMode};
use crate::boundary::args::{DataType, Op};
use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::entry::route::Served;
use crate::staging::region::{Bases, Region};

/// α or β, a number or a number a row.
struct Factor<R> {
    values: Vec<R>,
    row_stride: usize,
    batch_stride: usize,
}

impl<R: engine::Real> Factor<R> {
    fn single(value: R) -> Factor<R> {
        Factor { values: vec![value], row_stride: 0, batch_stride: 0 }
    }

    fn per_row(packed: Packed<R>) -> Factor<R> {
        let engine::PerRow { row_stride, batch_stride, .. } = packed.per_row();
        Factor { values: packed.data, row_stride, batch_stride }
    }

    fn is_zero(&self) -> bool {
        self.values.iter().all(|&value| value == R::ZERO)
    }

    fn scaled(mut self, scale: R) -> Factor<R> {
        self.values.iter_mut().for_each(|value| *value = *value * scale);
        self
    }

    /// Multiplied by a number a row; of one matrix.
    fn times_rows(self, rows: &[R]) -> Factor<R> {
        let own = |row: usize| self.values[row * self.row_stride];
        let values = rows.iter().enumerate().map(|(row, &scale)| own(row) * scale).collect();
        Factor { values, row_stride: 1, batch_stride: 0 }
    }

    fn view(&self) -> engine::PerRow<'_, R> {
        let (row_stride, batch_stride) = (self.row_stride, self.batch_stride);
        engine::PerRow { values: &self.values, row_stride, batch_stride }
    }
}

/// The auxiliary buffer of a forward or backward pass, as it was read.
enum AuxInput<R> {
    None,
    Mask(Vec<u8>),
    Values(Packed<R>),
}

/// Serves a product whose types, scales and epilogue the [`Problem`] has found legal.
pub fn serve<R: engine::Real>(problem: &Problem, call: &Call, args: &Args) -> Result<Served, Error> {
    let [m, n, batch] = [problem.m, problem.n, problem.d.batch];
    let scaling = &problem.desc.scaling;
    let (mut alpha, beta) = (alpha::<R>(problem, call, args)?, beta::<R>(problem, call, args)?);
    let k = if alpha.is_zero() { 0 } else { problem.k };
    let (mut a, mut b, mut column_scale) = (None, None, None);
    if k > 0 || problem.k > 0 && problem.epilogue.bias == Bias::GradientOfA {
        a = Some(load_real::<R>(call, "a", &problem.a, args.a)?);
    }
    if k > 0 || problem.k > 0 && problem.epilogue.bias == Bias::GradientOfB {
        b = Some(load_real::<R>(call, "b", &problem.b, args.b)?);
    }
    if let (true, Some(a), Some(b)) = (k > 0, &mut a, &mut b) {
        if scaling.a.mode == ScaleMode::OuterVector {
            alpha = alpha.times_rows(&numbers(call, "scale of A", scaling.a.address, m)?);
            column_scale = Some(numbers::<R>(call, "scale of B", scaling.b.address, n)?);
        } else if scaling.a.mode.is_blocked() {
            apply_blocks(problem, call, a, b)?;
        } else {
            alpha = alpha.scaled(scalar::<R>(call, scaling.a)? * scalar(call, scaling.b)?);
        }
    }
    let (mut c, mut beta) = (None, beta);
    if !beta.is_zero() {
        c = Some(load_real::<R>(call, "c", &problem.c, args.c)?);
        beta = beta.scaled(scalar(call, scaling.c)?);
    }
    let mut values = vec![R::ZERO; m * n * batch];
    let nothing = Packed::<R>::empty();
    let left = a.as_ref().unwrap_or(&nothing).matrix(problem.desc.transa);
    let right = b.as_ref().unwrap_or(&nothing).matrix(problem.desc.transb);
    let output = engine::MatMut { data: &mut values, row_stride: 1, col_stride: m, batch_stride: m * n };
    let kernel = engine::gemm(engine::GemmShape { m, n, k, batch }, R::ONE, left, right, R::ZERO, output);
    let bias = bias::<R>(problem, call)?;
    let aux = aux_input::<R>(problem, call)?;
    let fused = engine::Fused {
        shape: [m, n, batch],
        alpha: alpha.view(),
        column_scale: column_scale.as_deref(),
        beta: beta.view(),
        c: c.as_ref().map(|c| c.matrix(Op::N)),
        bias: bias.as_ref().map(Packed::per_row),
        step: match (&aux, problem.epilogue.activation) {
            (AuxInput::Mask(mask), _) => engine::FusedStep::ReluGradient(mask),
            (AuxInput::Values(x), _) => engine::FusedStep::GeluGradient(&x.data),
            (AuxInput::None, engine::Activation::None) => engine::FusedStep::None,
            (AuxInput::None, engine::Activation::Relu) => engine::FusedStep::Relu,
            (AuxInput::None, engine::Activation::Gelu) => engine::FusedStep::Gelu,
        },
    };
    fused.combine(&mut values);
    let mut results = Vec::new();
    if problem.epilogue.aux == Aux::Output {
        aux_output(problem, call, &values, &mut results)?;
    }
    fused.finish(&mut values);
    if scaling.amax_d != 0 {
        results.push(magnitude(call, "largest magnitude of D", scaling.amax_d, &values)?);
    }
    let gradient = match problem.epilogue.bias {
        Bias::No | Bias::PerRow => None,
        Bias::GradientOfD => {
            let d = Packed::whole(&values, m, n);
            Some(engine::row_sums(&d, [m, n, batch]))
        }
        Bias::GradientOfA => Some(engine::row_sums(&left, [m, problem.k, batch])),
        Bias::GradientOfB => {
            // The columns of op(B) are the rows of its transpose.
            let (row_stride, col_stride) = (right.col_stride, right.row_stride);
            let transposed = engine::MatRef { row_stride, col_stride, ..right };
            Some(engine::row_sums(&transposed, [n, problem.k, batch]))
        }
    };
    if let Some(gradient) = gradient {
        let length = gradient.len() / batch;
        let layout = MatrixLayout::vectors(problem.bias_type(), length, batch, problem.desc.bias_stride);
        results.push(store_real(call, "bias", &layout, problem.desc.bias, &gradient, R::ONE)?);
    }
    results.push(store_real(call, "d", &problem.d, args.d, &values, scalar(call, scaling.d)?)?);
    write_all(results)?;
    Ok(served(problem, call, kernel))
}

/// Serves 8-bit integers in tiled orders that are summed to 32-bit ones, wrapping as the device does.
pub fn serve_integers(problem: &Problem, call: &Call, args: &Args) -> Result<Served, Error> {
    let [m, n, batch] = [problem.m, problem.n, problem.d.batch];
    let alpha = call.scalar::<i32>("alpha", args.alpha)?;
    let beta = call.scalar::<i32>("beta", args.beta)?;
    let k = if alpha == 0 { 0 } else { problem.k };
    let (mut a, mut b, mut c) = (Packed::empty(), Packed::empty(), None);
    if k > 0 {
        a = load::<i8, i8>(call, "a", &problem.a, args.a, |x| x)?;
        b = load::<i8, i8>(call, "b", &problem.b, args.b, |x| x)?;
    }
    if beta != 0 {
        c = Some(load::<i32, i32>(call, "c", &problem.c, args.c, |x| x)?);
    }
    let mut values = vec![0i32; m * n * batch];
    let output = engine::MatMut { data: &mut values, row_stride: 1, col_stride: m, batch_stride: m * n };
    let kernel = engine::gemm_with_epilogue(
        engine::GemmShape { m, n, k, batch },
        alpha,
        a.matrix(problem.desc.transa),
        b.matrix(problem.desc.transb),
        beta,
        c.as_ref().map(|c| c.matrix(Op::N)),
        output,
        &engine::Epilogue::NONE,
    );
    write_all(vec![store(call, "d", &problem.d, args.d, &values, |x: i32| x)?])?;
    Ok(served(problem, call, kernel))
}

fn served(problem: &Problem, call: &Call, kernel: engine::Kernel) -> Served {
    Served {
        what: problem.to_string(),
        bytes_in: call.transfer.bytes_in(),
        bytes_out: call.transfer.bytes_out(),
        kernel: kernel.name(),
    }
}

/// One number of the scale type, where the call's pointer mode says.
fn one<R: engine::Real>(
    problem: &Problem,
    call: &Call,
    name: &'static str,
    address: *const std::ffi::c_void,
) -> Result<Factor<R>, Error> {
    let value = match problem.desc.scale {
        DataType::F16 => R::of(call.scalar::<engine::f16>(name, address)?.to_f64()),
        DataType::F32 => R::of(call.scalar::<f32>(name, address)?.into()),
        DataType::F64 => R::of(call.scalar::<f64>(name, address)?),
        _ => return Err(Error::NotSupported("scale type")),
    };
    Ok(Factor::single(value))
}

/// A vector of the scale type in device memory, for each matrix of the batch.
fn vector<R: engine::Real>(
    problem: &Problem,
    call: &Call,
    name: &'static str,
    address: *const std::ffi::c_void,
    stride: i64,
) -> Result<Factor<R>, Error> {
    let layout = MatrixLayout::vectors(problem.desc.scale, problem.m, problem.d.batch, stride);
    Ok(Factor::per_row(load_real(call, name, &layout, address as u64)?))
}

fn alpha<R: engine::Real>(problem: &Problem, call: &Call, args: &Args) -> Result<Factor<R>, Error> {
    if problem.desc.scalars.are_single() {
        one(problem, call, "alpha", args.alpha)
    } else {
        vector(problem, call, "alpha", args.alpha, problem.desc.alpha_stride)
    }
}

fn beta<R: engine::Real>(problem: &Problem, call: &Call, args: &Args) -> Result<Factor<R>, Error> {
    match problem.desc.scalars {
        Scalars::AlphaVectorBetaZero => Ok(Factor::single(R::ZERO)),
        Scalars::DeviceVectors => vector(problem, call, "beta", args.beta, 0),
        Scalars::Host | Scalars::Device | Scalars::AlphaVectorBetaHost => {
            one(problem, call, "beta", args.beta)
        }
    }
}

/// Single-precision numbers in device memory.
fn numbers<R: engine::Real>(
    call: &Call,
    name: &'static str,
    address: u64,
    count: usize,
) -> Result<Vec<R>, Error> {
    let layout = MatrixLayout::vectors(DataType::F32, count, 1, 0);
    Ok(load_real(call, name, &layout, address)?.data)
}

/// The one number of a scale; 1 where there is none.
fn scalar<R: engine::Real>(call: &Call, scale: Scale) -> Result<R, Error> {
    if scale.address == 0 {
        return Ok(R::ONE);
    }
    numbers(call, "scale", scale.address, 1)?.first().copied().ok_or(Error::Internal)
}

/// Multiplies A and B by the scales of their blocks.
fn apply_blocks<R: engine::Real>(
    problem: &Problem,
    call: &Call,
    a: &mut Packed<R>,
    b: &mut Packed<R>,
) -> Result<(), Error> {
    let scaling = &problem.desc.scaling;
    let read = |blocks: Blocks, name, address| {
        if !blocks.are_powers() {
            return numbers::<R>(call, name, address, blocks.count());
        }
        let layout = MatrixLayout::vectors(DataType::U8, blocks.count(), 1, 0);
        let of = |scale: engine::Ue8m0| R::of(scale.to_f64());
        Ok(load(call, name, &layout, address, of)?.data)
    };
    let blocks = Blocks::new(scaling.a.mode, problem.m, problem.k);
    let scales = read(blocks, "scale of A", scaling.a.address)?;
    let transposed = problem.desc.transa.transposes();
    engine::scale_by_place(&mut a.data, problem.a.rows, |row, col| {
        let (i, l) = if transposed { (col, row) } else { (row, col) };
        scales[blocks.index(i, l)]
    });
    let blocks = Blocks::new(scaling.b.mode, problem.n, problem.k);
    let scales = read(blocks, "scale of B", scaling.b.address)?;
    let transposed = problem.desc.transb.transposes();
    engine::scale_by_place(&mut b.data, problem.b.rows, |row, col| {
        let (j, l) = if transposed { (row, col) } else { (col, row) };
        scales[blocks.index(j, l)]
    });
    Ok(())
}

fn bias<R: engine::Real>(problem: &Problem, call: &Call) -> Result<Option<Packed<R>>, Error> {
    if problem.epilogue.bias != Bias::PerRow {
        return Ok(None);
    }
    let layout =
        MatrixLayout::vectors(problem.bias_type(), problem.m, problem.d.batch, problem.desc.bias_stride);
    load_real(call, "bias", &layout, problem.desc.bias).map(Some)
}

/// The auxiliary matrix of a GELU.
fn aux_layout(problem: &Problem) -> MatrixLayout {
    MatrixLayout {
        element: problem.aux_type(),
        order: engine::MatrixOrder::Col,
        ld: problem.desc.aux_ld as usize,
        batch_stride: problem.desc.aux_stride,
        ..problem.d
    }
}

/// The bytes of a ReLU's mask.
fn mask_region(problem: &Problem) -> Region {
    let bases = Bases::Strided {
        base: problem.desc.aux,
        stride: problem.desc.aux_stride / 8,
        count: problem.d.batch,
    };
    let rows = problem.m.div_ceil(8);
    Region { rows, cols: problem.n, ld: problem.desc.aux_ld as usize / 8, bases }
}

fn aux_input<R: engine::Real>(problem: &Problem, call: &Call) -> Result<AuxInput<R>, Error> {
    if problem.epilogue.aux != Aux::Input {
        return Ok(AuxInput::None);
    }
    let (m, n, batch) = (problem.m, problem.n, problem.d.batch);
    if problem.epilogue.activation == engine::Activation::Gelu {
        let values = load_real(call, "auxiliary matrix", &aux_layout(problem), problem.desc.aux)?;
        return Ok(AuxInput::Values(values));
    }
    let staged = call.transfer.operand::<u8>("auxiliary matrix", &mask_region(problem))?;
    call.transfer.wait()?;
    let mut mask = vec![0; m * n * batch];
    let (col_stride, batch_stride) = (staged.layout.col_stride, staged.layout.batch_stride);
    engine::BitColumns { rows: m, cols: n, col_stride, batch_stride }.unpack(staged.elements(), &mut mask);
    Ok(AuxInput::Mask(mask))
}

fn aux_output<'c, R: engine::Real>(
    problem: &Problem,
    call: &'c Call,
    values: &[R],
    results: &mut Vec<Pending<'c>>,
) -> Result<(), Error> {
    const NAME: &str = "auxiliary matrix";
    let scaling = &problem.desc.scaling;
    if problem.epilogue.activation == engine::Activation::Gelu {
        let scale = scalar(call, scaling.aux)?;
        results.push(store_real(call, NAME, &aux_layout(problem), problem.desc.aux, values, scale)?);
        if scaling.amax_aux != 0 {
            let name = "largest magnitude of the auxiliary matrix";
            results.push(magnitude(call, name, scaling.amax_aux, values)?);
        }
        return Ok(());
    }
    let mut staged = call.transfer.room_for::<u8>(NAME, &mask_region(problem))?;
    let (col_stride, batch_stride) = (staged.layout.col_stride, staged.layout.batch_stride);
    engine::BitColumns { rows: problem.m, cols: problem.n, col_stride, batch_stride }
        .pack(&engine::relu_mask(values), staged.elements_mut());
    call.transfer.check_destination(NAME, &staged)?;
    results.push(Box::new(move || call.transfer.copy_out(NAME, staged)));
    Ok(())
}

fn magnitude<'c, R: engine::Real>(
    call: &'c Call,
    name: &'static str,
    address: u64,
    values: &[R],
) -> Result<Pending<'c>, Error> {
    let layout = MatrixLayout::vectors(DataType::F32, 1, 1, 0);
    store_real(call, name, &layout, address, &[engine::largest_magnitude(values)], R::ONE)
}
