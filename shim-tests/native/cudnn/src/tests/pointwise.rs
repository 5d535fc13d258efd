//! Activation, addition, and the function whose arguments are counted.

use super::{FLOAT, address, make, room, scalar, tensor};
use crate::activation::{cudnnCreateActivationDescriptor, cudnnSetActivationDescriptor};
use crate::handle::cudnnCreate;
use crate::pointwise::{cudnnActivationForward, cudnnAddTensor};
use crate::status::{BAD_PARAM, NOT_SUPPORTED, SUCCESS};
use crate::unserved::cudnnNormalizationForwardInference;

/// f of three values.
fn activated(mode: i32, nan: i32, x: [f32; 3]) -> Result<[f32; 3], i32> {
    let (handle, activation) = (make(cudnnCreate), make(cudnnCreateActivationDescriptor));
    assert_eq!(cudnnSetActivationDescriptor(activation, mode, nan, 0.0), SUCCESS);
    let desc = tensor(FLOAT, &[1, 3, 1, 1], &[3, 1, 1, 1]);
    let (one, zero, mut y) = (1.0f32, 0.0f32, [f32::NAN; 3]);
    // SAFETY: descriptors fit the buffers, scalars are floats.
    let status = unsafe {
        let (alpha, beta) = (scalar(&one), scalar(&zero));
        cudnnActivationForward(handle, activation, alpha, desc, address(&x), beta, desc, room(&mut y))
    };
    if status == SUCCESS { Ok(y) } else { Err(status) }
}

#[test]
fn activations_are_their_formulas_and_nan_goes_as_asked() {
    assert_eq!(activated(1, 0, [-1.0, 0.5, f32::NAN]), Ok([0.0, 0.5, 0.0]));
    let kept = activated(1, 1, [-1.0, 0.5, f32::NAN]).unwrap();
    assert_eq!(kept[..2], [0.0, 0.5]);
    assert!(kept[2].is_nan());
    assert_eq!(activated(0, 0, [0.0, f32::INFINITY, f32::NEG_INFINITY]), Ok([0.5, 1.0, 0.0]));
    assert_eq!(activated(2, 0, [0.0, 1.0, -1.0]), Ok([0.0, 1f64.tanh() as f32, (-1f64).tanh() as f32]));
    assert_eq!(activated(4, 0, [0.0; 3]), Err(NOT_SUPPORTED));
}

#[test]
fn addition_repeats_a_along_its_axes_of_size_one() {
    let handle = make(cudnnCreate);
    let a_desc = tensor(FLOAT, &[2, 2, 1, 1], &[2, 1, 1, 1]);
    let c_desc = tensor(FLOAT, &[2, 2, 1, 2], &[4, 2, 2, 1]);
    let (a, mut c) = ([1.0f32, 10.0, 2.0, 20.0], [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let (alpha, beta) = (2.0f32, -1.0f32);
    let mut add = |a_desc, c_desc| {
        // SAFETY: descriptors fit the buffers, scalars are floats.
        unsafe {
            let (alpha, beta) = (scalar(&alpha), scalar(&beta));
            cudnnAddTensor(handle, alpha, a_desc, address(&a), beta, c_desc, room(&mut c))
        }
    };
    let three = tensor(FLOAT, &[1, 3, 1, 1], &[3, 1, 1, 1]);
    assert_eq!([add(three, c_desc), add(a_desc, c_desc)], [BAD_PARAM, SUCCESS]);
    assert_eq!(c, [1.0, 0.0, 17.0, 16.0, -1.0, -2.0, 33.0, 32.0]);
}

#[test]
fn the_forwarded_function_asks_for_every_argument() {
    let handle = make(cudnnCreate);
    let call = |mode, y, epsilon, groups| {
        cudnnNormalizationForwardInference(
            handle, mode, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, y, epsilon, groups,
        )
    };
    assert_eq!(call(1, 18, 19.5, 20), SUCCESS);
    assert_eq!(call(0, 18, 19.5, 20), BAD_PARAM);
    assert_eq!(call(1, 0, 19.5, 20), BAD_PARAM);
    assert_eq!(call(1, 18, 19.0, 20), BAD_PARAM);
    assert_eq!(call(1, 18, 19.5, 0), BAD_PARAM);
}
