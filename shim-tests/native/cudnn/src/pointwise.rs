//! Functions of single elements.

use std::ffi::{c_int, c_void};

use crate::activation::Activation;
use crate::arguments::scalar;
use crate::array::{Array, Blend, indices};
use crate::convolve::play;
use crate::handle::called;
use crate::object::value;
use crate::status::{BAD_PARAM, of};
use crate::tensor::Tensor;

/// `y ← α·f(x) + β·y`.
///
/// # Safety
/// `alpha` and `beta` are readable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnActivationForward(
    handle: *mut c_void,
    activation: *const c_void,
    alpha: *const c_void,
    x_desc: *const c_void,
    x: u64,
    beta: *const c_void,
    y_desc: *const c_void,
    y: u64,
) -> c_int {
    of(|| {
        let stream = called("cudnnActivationForward", handle)?.stream;
        let play = play("cudnnActivationForward")?;
        let function = value::<Activation>(activation)?.function()?;
        let (x_desc, y_desc) = (&*value::<Tensor>(x_desc)?, &*value::<Tensor>(y_desc)?);
        if x_desc.kind != y_desc.kind || x_desc.dims != y_desc.dims {
            return Err(BAD_PARAM);
        }
        let blend = Blend { alpha: scalar(alpha, x_desc.kind)?, beta: scalar(beta, x_desc.kind)? };
        let values: Vec<f64> = x_desc.at(x)?.load(stream)?.into_iter().map(function).collect();
        y_desc.at(y)?.store(stream, play, blend, &values)
    })
}

/// `c ← α·a + β·c`; a size of a is c's or 1.
///
/// # Safety
/// `alpha` and `beta` are readable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnAddTensor(
    handle: *mut c_void,
    alpha: *const c_void,
    a_desc: *const c_void,
    a: u64,
    beta: *const c_void,
    c_desc: *const c_void,
    c: u64,
) -> c_int {
    of(|| {
        let stream = called("cudnnAddTensor", handle)?.stream;
        let play = play("cudnnAddTensor")?;
        let (a_desc, c_desc) = (&*value::<Tensor>(a_desc)?, &*value::<Tensor>(c_desc)?);
        let blend = Blend { alpha: scalar(alpha, c_desc.kind)?, beta: scalar(beta, c_desc.kind)? };
        let (a, c) = (a_desc.at(a)?, c_desc.at(c)?);
        let fits = a_desc.kind == c_desc.kind
            && a.dims.len() == c.dims.len()
            && a.dims.iter().zip(&c.dims).all(|(&size, &full)| size == 1 || size == full);
        if !fits {
            return Err(BAD_PARAM);
        }
        c.store(stream, play, blend, &spread(&a, &a.load(stream)?, &c.dims))
    })
}

/// The values of `a`, repeated along its axes of size 1 until they fill `dims`.
fn spread(a: &Array, values: &[f64], dims: &[usize]) -> Vec<f64> {
    let source = |number| {
        let at = indices(number, dims);
        a.dims.iter().zip(at).fold(0, |offset, (&size, at)| offset * size + at.min(size - 1))
    };
    (0..dims.iter().product()).map(|number| values[source(number)]).collect()
}
