//! Level 1, served: validated, staged, computed by the engine, written back.
//!
//! With n ≤ 0 there is nothing to do, and a result is 0; for `nrm2`, `asum`, `iamax` and `iamin` an increment ≤ 0 makes
//! the result 0 as well. Scalars and results lie where the pointer mode says.
//!
//! Errors: `NOT_INITIALIZED` unknown handle; `INVALID_VALUE` a null scalar, result or vector (nothing is touched);
//! `ALLOC_FAILED`, `EXECUTION_FAILED` staging failed (nothing is written before all is computed).
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublas-level-1-function-reference>.

use std::ffi::c_void;

use gpucompat_engine::blas::{self, BlasElement, Extreme, Factor, ModifiedRotation, Number};
use gpucompat_engine::{Accumulator, Conj};

use super::operand::{Element, Strided, served};
use crate::boundary::status::Error;
use crate::entry::call::{Call, Given, Timing};
use crate::entry::route::Served;
use crate::handle::registry::owner;
use crate::staging::host_buffer::Plain;

/// The engine's kernel, in the log.
const KERNEL: &str = "vector";

/// The real type of a vector's norms.
type Part<S> = <<S as BlasElement>::Exec as Number>::Part;

/// The handle and the size of a call, and its vectors.
#[derive(Clone, Copy)]
pub struct Args {
    /// The cuBLAS handle.
    pub handle: *mut c_void,
    /// Elements.
    pub n: i64,
    /// x.
    pub x: Strided,
    /// y; of functions without one, x again.
    pub y: Strided,
}

impl Args {
    /// The number of elements, 0 for a negative one; NOT_INITIALIZED for an unknown handle.
    fn len(&self) -> Result<usize, Error> {
        let _known = owner(self.handle).ok_or(Error::NotInitialized)?;
        Ok(usize::try_from(self.n).unwrap_or(0))
    }

    fn served<S: Element>(&self, call: &Call) -> Served {
        let (incx, incy) = (self.x.increment, self.y.increment);
        served(call, KERNEL, format!("n={} incx={incx} incy={incy} type={}", self.n, S::TYPE.name()))
    }
}

/// A scalar of type `A` as a factor of elements of type `S`.
fn factor<S: Element, A: Element>(
    call: &Call,
    name: &'static str,
    address: *const c_void,
) -> Result<Factor<S::Exec>, Error> {
    Ok(Factor::of(call.scalar::<A>(name, address)?.value()))
}

/// `y ← α·x + y`, α of type `A`; α = 0 touches nothing.
pub fn axpy<S: Element, A: Element>(args: Args, alpha: *const c_void) -> Result<Served, Error> {
    let n = args.len()?;
    if n == 0 {
        return Ok(Served::nothing());
    }
    let given = Given((args, alpha, n));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, alpha, n))| {
        let alpha = factor::<S, A>(call, "alpha", alpha)?;
        if alpha.is_zero() {
            return Ok(Served::nothing());
        }
        let x = args.x.read::<S>("x", n, call)?;
        let mut y = args.y.fetch::<S>("y", n, call)?;
        call.transfer.wait()?;
        blas::axpy(alpha, x.view(), y.view_mut());
        y.write_back(call)?;
        Ok(args.served::<S>(call))
    })
}

/// `y ← x`.
pub fn copy<S: Element>(args: Args) -> Result<Served, Error> {
    let n = args.len()?;
    if n == 0 {
        return Ok(Served::nothing());
    }
    let given = Given((args, n));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, n))| {
        let x = args.x.read::<S>("x", n, call)?;
        let mut y = args.y.room::<S>("y", n, call)?;
        call.transfer.wait()?;
        blas::copy(x.view(), y.view_mut());
        y.write_back(call)?;
        Ok(args.served::<S>(call))
    })
}

/// `x ↔ y`.
pub fn swap<S: Element>(args: Args) -> Result<Served, Error> {
    let n = args.len()?;
    if n == 0 {
        return Ok(Served::nothing());
    }
    let given = Given((args, n));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, n))| {
        let mut x = args.x.fetch::<S>("x", n, call)?;
        let mut y = args.y.fetch::<S>("y", n, call)?;
        call.transfer.wait()?;
        blas::swap(x.view_mut(), y.view_mut());
        x.write_back(call)?;
        y.write_back(call)?;
        Ok(args.served::<S>(call))
    })
}

/// `x ← α·x`, α of type `A`.
pub fn scal<S: Element, A: Element>(args: Args, alpha: *const c_void) -> Result<Served, Error> {
    let n = args.len()?;
    if n == 0 {
        return Ok(Served::nothing());
    }
    let given = Given((args, alpha, n));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, alpha, n))| {
        let alpha = factor::<S, A>(call, "alpha", alpha)?;
        let mut x = args.x.fetch::<S>("x", n, call)?;
        call.transfer.wait()?;
        blas::scal(alpha, x.view_mut());
        x.write_back(call)?;
        Ok(args.served::<S>(call))
    })
}

/// `Σ xᵢ·yᵢ`, or `Σ conj(xᵢ)·yᵢ`, as an element.
pub fn dot<S: Element>(conj: Conj, args: Args, result: *mut c_void) -> Result<Served, Error> {
    let n = args.len()?;
    let given = Given((args, result, n));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, result, n))| {
        let mut sum = S::Exec::zero();
        let result = call.result::<S>("result", result)?;
        if n > 0 {
            let x = args.x.read::<S>("x", n, call)?;
            let y = args.y.read::<S>("y", n, call)?;
            call.transfer.wait()?;
            sum = blas::dot(conj, x.view(), y.view());
        }
        result.write(call, S::nearest(sum))?;
        Ok(args.served::<S>(call))
    })
}

/// `√Σ|xᵢ|²`.
pub fn nrm2<S: Element>(args: Args, result: *mut c_void) -> Result<Served, Error> {
    real_result::<S>(args, result, blas::nrm2::<S>)
}

/// `Σ |Re xᵢ| + |Im xᵢ|`.
pub fn asum<S: Element>(args: Args, result: *mut c_void) -> Result<Served, Error> {
    real_result::<S>(args, result, blas::asum::<S>)
}

fn real_result<S: Element>(
    args: Args,
    result: *mut c_void,
    of: fn(blas::Vector<'_, S>) -> Part<S>,
) -> Result<Served, Error> {
    let n = args.len()?;
    let given = Given((args, result, n));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, result, n))| {
        let mut value = S::Exec::zero().re();
        let result = call.result::<S::RealElement>("result", result)?;
        if n > 0 && args.x.increment > 0 {
            let x = args.x.read::<S>("x", n, call)?;
            call.transfer.wait()?;
            value = of(x.view());
        }
        result.write(call, <S::RealElement as BlasElement>::nearest(value.convert()))?;
        Ok(args.served::<S>(call))
    })
}

/// The position, from 1, of the first element of extreme magnitude, as an integer of type `I`.
pub fn extreme_index<S: Element, I: Plain + TryFrom<usize>>(
    extreme: Extreme,
    args: Args,
    result: *mut c_void,
) -> Result<Served, Error> {
    let n = args.len()?;
    let given = Given((args, result, n));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, result, n))| {
        let mut position = 0;
        let result = call.result::<I>("result", result)?;
        if n > 0 && args.x.increment > 0 {
            let x = args.x.read::<S>("x", n, call)?;
            call.transfer.wait()?;
            position = blas::extreme_index(extreme, x.view()).map_or(0, |index| index + 1);
        }
        let position = I::try_from(position).map_err(|_| Error::Internal)?;
        result.write(call, position)?;
        Ok(args.served::<S>(call))
    })
}

/// `x ← c·x + s·y`, `y ← c·y − conj(s)·x`; the real c of type `C`, s of type `A`.
pub fn rot<S: Element, C: Element, A: Element>(
    args: Args,
    c: *const c_void,
    s: *const c_void,
) -> Result<Served, Error> {
    let n = args.len()?;
    if n == 0 {
        return Ok(Served::nothing());
    }
    let given = Given((args, c, s, n));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, c, s, n))| {
        let c = call.scalar::<C>("c", c)?.value().convert::<S::Exec>().re();
        let s = factor::<S, A>(call, "s", s)?;
        let mut x = args.x.fetch::<S>("x", n, call)?;
        let mut y = args.y.fetch::<S>("y", n, call)?;
        call.transfer.wait()?;
        blas::rot(c, s, x.view_mut(), y.view_mut());
        x.write_back(call)?;
        y.write_back(call)?;
        Ok(args.served::<S>(call))
    })
}

/// The rotation that makes b zero: r over a, z over b (real types), c of type `C`, and s.
pub fn rotg<S: Element, C: Element>(
    handle: *mut c_void,
    [a, b, c, s]: [*mut c_void; 4],
) -> Result<Served, Error> {
    let _known = owner(handle).ok_or(Error::NotInitialized)?;
    let call = Call::on(handle)?;
    let (first, second) = (call.scalar::<S>("a", a)?.value(), call.scalar::<S>("b", b)?.value());
    // Reading what will be written shows that all of it can be, before the first write.
    let _writable = (call.scalar::<C>("c", c)?, call.scalar::<S>("s", s)?);
    let rotation = blas::rotg(first, second);
    call.write_scalars("a", a, &[S::nearest(rotation.r)])?;
    if !S::Exec::COMPLEX {
        call.write_scalars("b", b, &[S::nearest(rotation.z)])?;
    }
    call.write_scalars("c", c, &[C::nearest(rotation.c.convert())])?;
    call.write_scalars("s", s, &[S::nearest(rotation.s)])?;
    Ok(served(&call, KERNEL, format!("type={}", S::TYPE.name())))
}

/// `(x; y) ← H·(x; y)` with the H of `param`'s five numbers.
pub fn rotm<S: Element<Exec: gpucompat_engine::Real>>(
    args: Args,
    param: *const c_void,
) -> Result<Served, Error> {
    let n = args.len()?;
    if n == 0 {
        return Ok(Served::nothing());
    }
    let given = Given((args, param, n));
    Call::of(args.handle, Timing::Deferrable)?.run(given, move |call, &Given((args, param, n))| {
        let param = call.scalars::<S, 5>("param", param)?.map(BlasElement::value);
        let mut x = args.x.fetch::<S>("x", n, call)?;
        let mut y = args.y.fetch::<S>("y", n, call)?;
        call.transfer.wait()?;
        blas::rotm(ModifiedRotation::of_param(param), x.view_mut(), y.view_mut());
        x.write_back(call)?;
        y.write_back(call)?;
        Ok(args.served::<S>(call))
    })
}

/// The modified rotation of d₁, d₂, x₁ (all three in and out) and y₁, into `param`.
pub fn rotmg<S: Element<Exec: gpucompat_engine::Real>>(
    handle: *mut c_void,
    [d1, d2, x1]: [*mut c_void; 3],
    y1: *const c_void,
    param: *mut c_void,
) -> Result<Served, Error> {
    let _known = owner(handle).ok_or(Error::NotInitialized)?;
    let call = Call::on(handle)?;
    let value = |name, address: *const c_void| call.scalar::<S>(name, address).map(BlasElement::value);
    let (mut first, mut second, mut x) = (value("d1", d1)?, value("d2", d2)?, value("x1", x1)?);
    let y = value("y1", y1)?;
    let mut numbers = call.scalars::<S, 5>("param", param)?.map(BlasElement::value);
    blas::rotmg(&mut first, &mut second, &mut x, y).write_param(&mut numbers);
    for (name, address, value) in [("d1", d1, first), ("d2", d2, second), ("x1", x1, x)] {
        call.write_scalars(name, address, &[S::nearest(value)])?;
    }
    call.write_scalars("param", param, &numbers.map(S::nearest))?;
    Ok(served(&call, KERNEL, format!("type={}", S::TYPE.name())))
}
