//! `cublasLtMatmul`: `D ← epilogue(α·op(A)·op(B) + β·C + bias)`, every order, strided batches.
//!
//! | operand | shape        | read              | written         |
//! |---------|--------------|-------------------|-----------------|
//! | A, B    | as laid out  | if α ≠ 0 and k > 0, or for their gradient | never |
//! | C       | m×n          | if β ≠ 0          | never, unless it is D |
//! | bias    | m, or n      | if the epilogue says so | as a gradient, only on success |
//! | aux     | m×n          | for a gradient    | in a forward pass, only on success |
//! | D       | m×n          | never, unless it is tiled | only on success |
//!
//! Products with a bias, ReLU or GELU go straight through the engine; all others through [`super::fused`].
//!
//! Errors: `INVALID_VALUE` for null descriptors, shapes that do not fit, a short leading dimension, an auxiliary
//! leading dimension that is not divisible as documented, or a scale of a matrix that has none;
//! `NOT_SUPPORTED` for types, epilogues, orders or scale modes that the host has no form of.
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublasltmatmul>.

use std::ffi::c_void;

use gpucompat_engine as engine;

use super::attributes::{MatmulDesc, MatrixLayout, Scalars};
use super::epilogue::{Aux, Bias};
use super::fused;
use super::problem::Problem;
use crate::boundary::args::{DataType, Op};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Given, PointerMode, Timing};
use crate::entry::cublas::types::{c32, c64, f16};
use crate::entry::route::Served;
use crate::native::context::Stream;
use crate::staging::host_buffer::Plain;
use crate::staging::region::{Bases, Region};
use crate::staging::staged::Staged;

macro_rules! cublaslt_matmul {
    ($symbol:ident) => { export! { $symbol of CublasLt (
        handle: *mut c_void, descriptor: *const c_void,
        alpha: *const c_void,  a: *const c_void, a_layout: *const c_void,  b: *const c_void, b_layout: *const c_void,
        beta: *const c_void,  c: *const c_void, c_layout: *const c_void,  d: *mut c_void, d_layout: *const c_void,
        algo: *const c_void,  workspace: *mut c_void, workspace_bytes: usize,  stream: *mut c_void)
        compute(
            $crate::handle::registry::is_ours(handle) || $crate::entry::cublaslt::algorithm::is_ours(algo),
            $crate::entry::cublaslt::matmul::types_key(descriptor, a_layout, d_layout))
        serve $crate::entry::cublaslt::matmul::serve($crate::entry::cublaslt::matmul::Args {
            handle, descriptor, alpha, beta, stream,
            a: a as u64, a_layout, b: b as u64, b_layout, c: c as u64, c_layout, d: d as u64, d_layout })
    } };
}

/// The arguments as they came.
#[derive(Clone, Copy)]
pub struct Args {
    /// A cuBLASLt or cuBLAS handle.
    pub handle: *mut c_void,
    /// `cublasLtMatmulDesc_t`.
    pub descriptor: *const c_void,
    /// α, of the descriptor's scale type.
    pub alpha: *const c_void,
    /// β.
    pub beta: *const c_void,
    /// The stream to work on.
    pub stream: *mut c_void,
    /// Address of A.
    pub a: u64,
    /// Layout of A.
    pub a_layout: *const c_void,
    /// Address of B.
    pub b: u64,
    /// Layout of B.
    pub b_layout: *const c_void,
    /// Address of C.
    pub c: u64,
    /// Layout of C.
    pub c_layout: *const c_void,
    /// Address of D.
    pub d: u64,
    /// Layout of D.
    pub d_layout: *const c_void,
}

impl Args {
    /// The arguments of a question about a product that is not computed.
    pub fn of_layouts(handle: *mut c_void, descriptor: *const c_void, layouts: [*const c_void; 4]) -> Args {
        let [a_layout, b_layout, c_layout, d_layout] = layouts;
        let (alpha, beta, stream) = (std::ptr::null(), std::ptr::null(), std::ptr::null_mut());
        let [a, b, c, d] = [0; 4];
        Args { handle, descriptor, alpha, beta, stream, a, a_layout, b, b_layout, c, c_layout, d, d_layout }
    }
}

/// A number for the types of a call, for the policy's lessons; 0 if the descriptors cannot be read.
pub fn types_key(descriptor: *const c_void, a: *const c_void, d: *const c_void) -> u32 {
    // Asking costs three calls of the real library, which only a process that has lessons needs.
    static HEALTHY: u32 = 0;
    if crate::policy::verdict::native_everywhere(crate::native::find::Library::CublasLt) {
        return HEALTHY;
    }
    match (MatmulDesc::read(descriptor), MatrixLayout::read(a), MatrixLayout::read(d)) {
        (Ok(desc), Ok(a), Ok(d)) => {
            crate::entry::cublas::legal::raw_key(a.element as i32, d.element as i32, desc.compute)
        }
        _ => HEALTHY,
    }
}

/// Serves `cublasLtMatmul`.
pub fn serve(args: Args) -> Result<Served, Error> {
    let problem = Problem::read(&args)?;
    let beta_is_given = problem.desc.scalars == Scalars::AlphaVectorBetaZero || !args.beta.is_null();
    if args.alpha.is_null() || !beta_is_given {
        return Err(Error::InvalidValue(if args.alpha.is_null() { "alpha" } else { "beta" }));
    }
    if problem.m == 0 || problem.n == 0 || problem.d.batch == 0 {
        return Ok(Served::nothing());
    }
    if args.d == 0 {
        return Err(Error::InvalidValue("d"));
    }
    if problem.epilogue.bias != Bias::No && problem.desc.bias == 0 {
        return Err(Error::InvalidValue("bias pointer"));
    }
    if problem.epilogue.aux != Aux::No && problem.desc.aux == 0 {
        return Err(Error::InvalidValue("auxiliary pointer"));
    }
    let mode = match problem.desc.scalars {
        Scalars::Device => PointerMode::Device,
        // Vectors are read by their addresses; what is a number beside them lies on the host.
        _ => PointerMode::Host,
    };
    let stream = Stream(args.stream.cast());
    if !problem.is_fused() {
        let call = Call::of_stream(args.handle, stream, mode, Timing::Deferrable)?;
        return call.run((problem, Given(args)), |call, (problem, args)| problem.dispatch(call, &args.0));
    }
    let call = Call::on_stream(args.handle, stream, mode)?;
    if problem.d.element == DataType::I32 {
        fused::serve_integers(&problem, &call, &args)
    } else if matches!(problem.d.element, DataType::F64 | DataType::I8) {
        fused::serve::<f64>(&problem, &call, &args)
    } else {
        fused::serve::<f32>(&problem, &call, &args)
    }
}

impl Problem {
    fn dispatch(&self, call: &Call, args: &Args) -> Result<Served, Error> {
        use DataType::{Bf16, C32, C64, F16, F32, F64, I8, I32};
        let same = |value: f32| value;
        match (self.a.element, self.d.element, self.desc.scale) {
            (F32, F32, _) => self.run::<f32, f32, f32, f32>(call, args, same),
            (F64, F64, _) => self.run::<f64, f64, f64, f64>(call, args, |value| value),
            (C32, C32, _) => self.run::<c32, c32, c32, c32>(call, args, |value| value),
            (C64, C64, _) => self.run::<c64, c64, c64, c64>(call, args, |value| value),
            (F16, F16, F16) => self.run::<f16, f16, f32, f16>(call, args, f16::to_f32),
            (F16, F16, _) => self.run::<f16, f16, f32, f32>(call, args, same),
            (F16, F32, _) => self.run::<f16, f32, f32, f32>(call, args, same),
            (Bf16, Bf16, _) => self.run::<half::bf16, half::bf16, f32, f32>(call, args, same),
            (Bf16, F32, _) => self.run::<half::bf16, f32, f32, f32>(call, args, same),
            (I8, I32, _) => self.run::<i8, i32, i32, i32>(call, args, |value| value),
            (I8, F32, _) => self.run::<i8, f32, f32, f32>(call, args, same),
            _ => Err(Error::NotSupported("combination of types")),
        }
    }

    fn run<AB, Out, Acc, Scale>(
        &self,
        call: &Call,
        args: &Args,
        widen: fn(Scale) -> Acc,
    ) -> Result<Served, Error>
    where
        AB: engine::Input<Acc> + Plain,
        Out: engine::Output<Acc> + Plain,
        Acc: engine::Accumulator,
        Scale: Plain,
    {
        let alpha = widen(call.scalar::<Scale>("alpha", args.alpha)?);
        let beta = widen(call.scalar::<Scale>("beta", args.beta)?);
        let zero = Acc::zero();
        let k = if alpha == zero { 0 } else { self.k };
        let a = stage_input::<AB>(call, "a", &self.a, args.a, k)?;
        let b = stage_input::<AB>(call, "b", &self.b, args.b, k)?;
        // With β = 0 nothing is read of C; with C = D in place the copy of C is the one that is written.
        let c = if beta == zero { None } else { Some(stage::<Out>(call, "c", &self.c, args.c)?) };
        let bias = self.stage_bias::<Acc>(call)?;
        let mut d = call.transfer.room_for::<Out>("d", &self.d.region(args.d)?)?;
        call.transfer.wait()?;
        let bias = bias.map(|arrived| arrived());
        let shape = engine::GemmShape { m: self.m, n: self.n, k, batch: self.d.batch };
        let strides = Strides::of(&self.d, &d.layout);
        let output = engine::MatMut {
            data: d.elements_mut(),
            row_stride: strides.row,
            col_stride: strides.col,
            batch_stride: strides.batch,
        };
        let kernel = engine::gemm_with_epilogue(
            shape,
            alpha,
            matrix(a.as_ref(), &self.a, self.desc.transa),
            matrix(b.as_ref(), &self.b, self.desc.transb),
            beta,
            c.as_ref().map(|c| matrix(Some(c), &self.c, Op::N)),
            output,
            &engine::Epilogue { bias: bias.as_deref(), activation: self.epilogue.activation },
        );
        call.transfer.copy_out("d", d)?;
        Ok(Served {
            what: self.to_string(),
            bytes_in: call.transfer.bytes_in(),
            bytes_out: call.transfer.bytes_out(),
            kernel: kernel.name(),
        })
    }

    /// The bias, on its way here; widened to the accumulator's type when it has arrived.
    fn stage_bias<'c, Acc: engine::Accumulator>(
        &self,
        call: &'c Call,
    ) -> Result<Option<Widened<'c, Acc>>, Error> {
        if self.epilogue.bias == Bias::No {
            return Ok(None);
        }
        let bases = Bases::Strided { base: self.desc.bias, stride: 0, count: 1 };
        let region = Region { rows: self.m, cols: 1, ld: self.m.max(1), bases };
        let bias: Widened<'c, Acc> = match self.bias_type() {
            DataType::F16 => widened(call, &region, |x: f16| Acc::from_f64(x.to_f64()))?,
            DataType::Bf16 => widened(call, &region, |x: half::bf16| Acc::from_f64(x.to_f64()))?,
            DataType::F32 => widened(call, &region, |x: f32| Acc::from_f64(x.into()))?,
            DataType::F64 => widened(call, &region, Acc::from_f64)?,
            _ => return Err(Error::NotSupported("bias type")),
        };
        Ok(Some(bias))
    }
}

/// Elements to be had after the wait.
type Widened<'c, Acc> = Box<dyn FnOnce() -> Vec<Acc> + 'c>;

fn widened<'c, T: Plain, Acc>(
    call: &'c Call,
    region: &Region,
    widen: impl Fn(T) -> Acc + 'c,
) -> Result<Widened<'c, Acc>, Error> {
    let staged = call.transfer.operand::<T>("bias", region)?;
    Ok(Box::new(move || staged.elements().iter().map(|&element| widen(element)).collect()))
}

fn stage_input<'c, T: Plain>(
    call: &'c Call,
    name: &'static str,
    layout: &MatrixLayout,
    address: u64,
    k: usize,
) -> Result<Option<Staged<'c, T>>, Error> {
    if k == 0 { Ok(None) } else { stage(call, name, layout, address).map(Some) }
}

fn stage<'c, T: Plain>(
    call: &'c Call,
    name: &'static str,
    layout: &MatrixLayout,
    address: u64,
) -> Result<Staged<'c, T>, Error> {
    if address == 0 {
        return Err(Error::InvalidValue(name));
    }
    call.transfer.operand(name, &layout.region(address)?)
}

/// Where element (row, col) of the matrix lies in its staged copy.
struct Strides {
    row: usize,
    col: usize,
    batch: usize,
}

impl Strides {
    fn of(layout: &MatrixLayout, staged: &crate::staging::region::HostLayout) -> Strides {
        let by_rows = layout.order == engine::MatrixOrder::Row;
        let (row, col) = if by_rows { (staged.col_stride, 1) } else { (1, staged.col_stride) };
        Strides { row, col, batch: staged.batch_stride }
    }
}

fn matrix<'a, T: Plain>(
    staged: Option<&'a Staged<'_, T>>,
    layout: &MatrixLayout,
    op: Op,
) -> engine::MatRef<'a, T> {
    let (data, strides) = match staged {
        Some(staged) => (staged.elements(), Strides::of(layout, &staged.layout)),
        None => (&[][..], Strides { row: 1, col: 1, batch: 0 }),
    };
    let (row_stride, col_stride) =
        if op.transposes() { (strides.col, strides.row) } else { (strides.row, strides.col) };
    let conjugate = if op == Op::C { engine::Conj::Yes } else { engine::Conj::No };
    engine::MatRef { data, row_stride, col_stride, batch_stride: strides.batch, conjugate }
}
