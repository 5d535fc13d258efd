//! `cublasLtMatmul`: `D ← act(α·op(A)·op(B) + β·C + bias)`, column or row order, strided batches.
//!
//! | operand | shape        | read              | written         |
//! |---------|--------------|-------------------|-----------------|
//! | A, B    | as laid out  | if α ≠ 0 and k > 0 | never          |
//! | C       | m×n          | if β ≠ 0          | never, unless it is D |
//! | bias    | m            | if the epilogue says so | never    |
//! | D       | m×n          | never             | only on success |
//!
//! Errors: `INVALID_VALUE` for null descriptors, shapes that do not fit or a short leading dimension;
//! `NOT_SUPPORTED` for orders, types, epilogues or pointer modes that the host has no form of.
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublasltmatmul>.

use std::ffi::c_void;

use gpucompat_engine as engine;

use super::attributes::{MatmulDesc, MatrixLayout, Order};
use super::epilogue::{Bias, decompose};
use crate::boundary::args::{Compute, DataType, Op};
use crate::boundary::status::Error;
use crate::entry::call::{Call, PointerMode};
use crate::entry::cublas::types::{c32, c64, f16};
use crate::entry::route::Served;
use crate::native::context::Stream;
use crate::staging::host_buffer::Plain;
use crate::staging::region::{Bases, Region};
use crate::staging::transfer::Staged;

macro_rules! cublaslt_matmul {
    ($symbol:ident) => { export! { $symbol of CublasLt (
        handle: *mut c_void, descriptor: *const c_void,
        alpha: *const c_void,  a: *const c_void, a_layout: *const c_void,  b: *const c_void, b_layout: *const c_void,
        beta: *const c_void,  c: *const c_void, c_layout: *const c_void,  d: *mut c_void, d_layout: *const c_void,
        algo: *const c_void,  workspace: *mut c_void, workspace_bytes: usize,  stream: *mut c_void)
        compute(
            $crate::handle::registry::is_ours(handle) || $crate::entry::cublaslt::heuristic::is_our_algorithm(algo),
            $crate::entry::cublaslt::matmul::types_key(descriptor, a_layout, d_layout))
        serve $crate::entry::cublaslt::matmul::serve($crate::entry::cublaslt::matmul::Args {
            handle, descriptor, alpha, beta, stream,
            a: a as u64, a_layout, b: b as u64, b_layout, c: c as u64, c_layout, d: d as u64, d_layout })
    } };
}

/// The arguments as they came.
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

/// A validated product, without addresses: what the heuristic judges too.
#[derive(Debug)]
pub struct Problem {
    m: usize,
    n: usize,
    k: usize,
    desc: MatmulDesc,
    a: MatrixLayout,
    b: MatrixLayout,
    c: MatrixLayout,
    d: MatrixLayout,
    bias: Bias,
    activation: engine::Activation,
    pointer_mode: PointerMode,
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
    if args.alpha.is_null() || args.beta.is_null() {
        return Err(Error::InvalidValue(if args.alpha.is_null() { "alpha" } else { "beta" }));
    }
    if problem.m == 0 || problem.n == 0 || problem.d.batch == 0 {
        return Ok(Served::nothing());
    }
    if args.d == 0 {
        return Err(Error::InvalidValue("d"));
    }
    let call = Call::on_stream(args.handle, Stream(args.stream.cast()), problem.pointer_mode)?;
    problem.dispatch(&call, &args)
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
        let (bias, activation) = decompose(desc.epilogue)?;
        let pointer_mode = match desc.pointer_mode {
            0 => PointerMode::Host,
            1 => PointerMode::Device,
            _ => return Err(Error::NotSupported("a vector of alphas")),
        };
        let problem = Problem { m, n, k, desc, a, b, c, d, bias, activation, pointer_mode };
        problem.check_types()?;
        Ok(problem)
    }

    fn check_types(&self) -> Result<(), Error> {
        use DataType::{Bf16, C32, C64, F16, F32, F64, I8, I32};
        let (ab, d) = (self.a.element, self.d.element);
        let scale = self.desc.scale;
        let legal = match Compute::from_c(self.desc.compute)? {
            Compute::F16 => (ab, d, scale) == (F16, F16, F16),
            Compute::F32 => {
                matches!((ab, d), (Bf16, Bf16) | (F16, F16) | (Bf16 | F16 | F32, F32)) && scale == F32
                    || (ab, d, scale) == (C32, C32, C32)
            }
            Compute::F64 => (ab, d, scale) == (F64, F64, F64) || (ab, d, scale) == (C64, C64, C64),
            Compute::I32 => (ab, d, scale) == (I8, I32, I32),
        };
        let real = !matches!(d, C32 | C64 | I32);
        let plain = self.bias == Bias::No && self.activation == engine::Activation::None;
        let bias_type = self.desc.bias_type.unwrap_or(d);
        let bias_fits = self.bias == Bias::No
            || bias_type == d
            || bias_type == F32
            || matches!(bias_type, F16 | Bf16) && bias_type == ab;
        if legal && self.b.element == ab && self.c.element == d && (real || plain) && bias_fits {
            Ok(())
        } else {
            Err(Error::NotSupported("combination of types"))
        }
    }

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
        let mut d = call.transfer.room_for::<Out>(&region(&self.d, args.d))?;
        call.transfer.wait()?;
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
            &engine::Epilogue { bias: bias.as_deref(), activation: self.activation },
        );
        call.transfer.copy_out("d", d)?;
        Ok(Served {
            what: self.to_string(),
            bytes_in: call.transfer.bytes_in(),
            bytes_out: call.transfer.bytes_out(),
            kernel: kernel.name(),
        })
    }

    /// The bias, widened to the accumulator's type.
    fn stage_bias<Acc: engine::Accumulator>(&self, call: &Call) -> Result<Option<Vec<Acc>>, Error> {
        if self.bias == Bias::No {
            return Ok(None);
        }
        if self.desc.bias == 0 {
            return Err(Error::InvalidValue("bias pointer"));
        }
        if self.d.batch > 1 && self.desc.bias_stride != 0 {
            return Err(Error::NotSupported("a bias per batch"));
        }
        let (address, m) = (self.desc.bias, self.m);
        let transfer = &call.transfer;
        let bias = match self.desc.bias_type.unwrap_or(self.d.element) {
            DataType::F16 => {
                widened(&transfer.read_now::<f16>("bias", address, m)?, |x| Acc::from_f64(x.to_f64()))
            }
            DataType::Bf16 => {
                widened(&transfer.read_now::<half::bf16>("bias", address, m)?, |x| Acc::from_f64(x.to_f64()))
            }
            DataType::F32 => {
                widened(&transfer.read_now::<f32>("bias", address, m)?, |x| Acc::from_f64(x.into()))
            }
            DataType::F64 => widened(&transfer.read_now::<f64>("bias", address, m)?, Acc::from_f64),
            _ => return Err(Error::NotSupported("bias type")),
        };
        Ok(Some(bias))
    }
}

fn widened<T: Plain, Acc>(staged: &Staged<'_, T>, widen: impl Fn(T) -> Acc) -> Vec<Acc> {
    staged.elements().iter().map(|&element| widen(element)).collect()
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
    call.transfer.operand(name, &region(layout, address))
}

/// A row-order matrix is its transpose in column order.
fn region(layout: &MatrixLayout, address: u64) -> Region {
    let (rows, cols) = match layout.order {
        Order::Col => (layout.rows, layout.cols),
        Order::Row => (layout.cols, layout.rows),
    };
    let bases = Bases::Strided { base: address, stride: layout.batch_stride, count: layout.batch };
    Region { rows, cols, ld: layout.ld, bases }
}

/// Where element (row, col) of the matrix lies in its staged copy.
struct Strides {
    row: usize,
    col: usize,
    batch: usize,
}

impl Strides {
    fn of(layout: &MatrixLayout, staged: &crate::staging::region::HostLayout) -> Strides {
        let (row, col) = match layout.order {
            Order::Col => (1, staged.col_stride),
            Order::Row => (staged.col_stride, 1),
        };
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
        write!(f, " bias={:?} activation={:?} order={:?}", self.bias, self.activation, self.d.order)
    }
}
