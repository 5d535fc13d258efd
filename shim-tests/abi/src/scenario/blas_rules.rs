//! Levels 1 and 2 at their edges: sizes of zero, increments of zero, scalars of zero, NaN, extreme magnitudes, misuse.

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::{Element, Number};

use crate::blas_lab::{Name, PointerMode, Scalars, Vector, set_mode};
use crate::call;
use crate::lab::{
    ALLOC_FAILED, Device, EXECUTION_FAILED, INVALID_VALUE, NOT_INITIALIZED, NOT_SUPPORTED, SUCCESS, bytes,
    counter, create, floats,
};

const NAN: f64 = f64::NAN;

fn narrow(symbol: &str) -> Name {
    Name::of(symbol, false)
}

fn real(values: &[f64]) -> Vec<Number> {
    values.iter().map(|&value| Number::new(value, 0.0)).collect()
}

/// The result of a function from one vector to a number.
fn reduced(handle: *mut c_void, symbol: &str, element: Element, values: &[f64], increment: i64) -> f64 {
    let name = narrow(symbol);
    let x = Vector::holding(element, &real(values), increment);
    let result = Scalars::new(PointerMode::Host, Element::F64, &real(&[NAN]));
    let status = name.call(&[
        handle as u64,
        name.int(values.len() as i64),
        x.address(),
        name.int(increment),
        result.address(),
    ]);
    assert_eq!(status, SUCCESS, "{symbol}");
    if symbol.contains("amax") || symbol.contains("amin") {
        return f64::from(i32::from_le_bytes(*result.get().first_chunk().unwrap()));
    }
    let result_type = if element == Element::F64 { Element::F64 } else { Element::F32 };
    result_type.decode(&result.get(), 0).re
}

/// What BLAS promises where there is nothing, or nothing ordinary, to compute.
pub fn rules() {
    let handle = create();
    let start = handle as u64;
    nothing_to_do(handle);
    for (values, increment, want) in [(&[][..], 1, 0.0), (&[3.0, 4.0], -1, 0.0), (&[3.0, 4.0], 1, 5.0)] {
        assert_eq!(reduced(handle, "cublasSnrm2_v2", Element::F32, values, increment), want);
    }
    // Magnitudes whose squares no number holds.
    for (symbol, element, value) in [
        ("cublasSnrm2_v2", Element::F32, 2.0f64.powi(120)),
        ("cublasSnrm2_v2", Element::F32, 2.0f64.powi(-140)),
        ("cublasDnrm2_v2", Element::F64, 2.0f64.powi(1000)),
        ("cublasDnrm2_v2", Element::F64, 2.0f64.powi(-1070)),
        ("cublasDnrm2_v2", Element::F64, 2.0f64.powi(-600)),
    ] {
        assert_eq!(reduced(handle, symbol, element, &[value; 4], 1), 2.0 * value, "{symbol} of {value:e}");
    }
    for symbol in ["cublasDnrm2_v2", "cublasDasum_v2"] {
        assert!(reduced(handle, symbol, Element::F64, &[1.0, NAN, f64::INFINITY], 1).is_nan());
        assert_eq!(reduced(handle, symbol, Element::F64, &[1.0, -f64::INFINITY], 1), f64::INFINITY);
    }
    // A NaN is neither the largest nor the smallest; the first of equals is.
    let mixed = [NAN, 2.0, -7.0, NAN, 7.0, 0.5, -0.5];
    assert_eq!(reduced(handle, "cublasIsamax_v2", Element::F32, &mixed, 2), 3.0);
    assert_eq!(reduced(handle, "cublasIsamin_v2", Element::F32, &mixed, 2), 6.0);
    assert_eq!(reduced(handle, "cublasIdamax_v2", Element::F64, &[NAN, NAN], 1), 1.0);
    assert_eq!(reduced(handle, "cublasIdamax_v2", Element::F64, &[NAN, 1.0], 0), 0.0);
    // With an increment of 0 there is one element, used again and again.
    let (copy, axpy) = (narrow("cublasScopy_v2"), narrow("cublasSaxpy_v2"));
    let x = Vector::holding(Element::F32, &real(&[5.0]), 1);
    let y = Vector::poisoned(Element::F32, 3, 2);
    assert_eq!(copy.call(&[start, copy.int(3), x.address(), 0, y.address(), copy.int(2)]), SUCCESS);
    assert_eq!(y.all_new(), real(&[5.0; 3]));
    let two = Scalars::new(PointerMode::Host, Element::F32, &real(&[2.0]));
    assert_eq!(axpy.call(&[start, 3, two.address(), y.address(), 2, x.address(), 0]), SUCCESS);
    assert_eq!(x.all_new(), real(&[35.0]), "three times 2·5 on top of 5");
    zero_factors(handle);
    nan_in_products(handle);
    only_elements_are_moved(handle);
}

/// Neither the places between a vector's elements nor the other triangle cross the bus on the way back.
fn only_elements_are_moved(handle: *mut c_void) {
    let start = handle as u64;
    let two = Scalars::new(PointerMode::Host, Element::F32, &real(&[2.0]));
    let (x, y) = (Device::holding(&bytes(&[1.0; 64])), Device::holding(&bytes(&[1.0; 64])));
    let (s, x, y) = (two.address(), x.address, y.address);
    for (symbol, arguments, read, written) in [
        ("cublasSaxpy_v2", vec![start, 5, s, x, 3, y, 4], 10, 5),
        ("cublasScopy_v2", vec![start, 5, x, 3, y, 4], 5, 5),
        ("cublasSswap_v2", vec![start, 5, x, 3, y, 4], 10, 10),
        ("cublasSsyr_v2", vec![start, 1, 5, s, x, 2, y, 7], 5 + 25, 15),
        ("cublasSspr_v2", vec![start, 1, 5, s, x, 2, y], 5 + 15, 15),
        ("cublasSger_v2", vec![start, 5, 4, s, x, 1, x, 2, y, 7], 5 + 4 + 20, 20),
        ("cublasStrmv_v2", vec![start, 0, 0, 0, 5, y, 7, x, 3], 25 + 5, 5),
    ] {
        call!("simgpu_reset_counters");
        assert_eq!(narrow(symbol).call(&arguments), SUCCESS, "{symbol}");
        assert_eq!((counter("d2h_bytes"), counter("h2d_bytes")), (4 * read, 4 * written), "{symbol}");
    }
}

fn nothing_to_do(handle: *mut c_void) {
    let start = handle as u64;
    let two = Scalars::new(PointerMode::Host, Element::F32, &real(&[2.0]));
    for n in [0, -1] {
        for symbol in ["cublasSaxpy_v2", "cublasSaxpy_v2_64"] {
            let name = Name::of(symbol, symbol.ends_with("_64"));
            let one = name.int(1);
            assert_eq!(
                name.call(&[start, name.int(n), two.address(), 0, one, 0, one]),
                SUCCESS,
                "{symbol} n={n}"
            );
        }
        for mode in [PointerMode::Host, PointerMode::Device] {
            set_mode(handle, mode);
            for symbol in ["cublasSdot_v2", "cublasSnrm2_v2", "cublasSasum_v2", "cublasIsamax_v2"] {
                let name = narrow(symbol);
                let result = Scalars::new(mode, Element::F32, &real(&[NAN]));
                let mut arguments = vec![start, name.int(n), 0, name.int(1)];
                if symbol == "cublasSdot_v2" {
                    arguments.extend([0, name.int(1)]);
                }
                arguments.push(result.address());
                assert_eq!(name.call(&arguments), SUCCESS, "{symbol} n={n}");
                assert_eq!(result.get(), [0; 4], "{symbol} n={n} {mode:?}");
            }
        }
        set_mode(handle, PointerMode::Host);
    }
}

/// With α = 0 the operands it multiplies are not read: they may be anything.
fn zero_factors(handle: *mut c_void) {
    let start = handle as u64;
    let [zero, one, three] =
        [0.0, 1.0, 3.0].map(|value| Scalars::new(PointerMode::Host, Element::F32, &real(&[value])));
    let y = Vector::holding(Element::F32, &real(&[1.0, NAN, 2.0]), 1);
    let axpy = narrow("cublasSaxpy_v2");
    assert_eq!(axpy.call(&[start, 3, zero.address(), 0, 1, y.address(), 1]), SUCCESS);
    y.memory.untouched("axpy with α = 0");
    for (beta, want) in [(&three, [3.0, 6.0]), (&one, [1.0, 2.0]), (&zero, [0.0, 0.0])] {
        for symbol in ["cublasSgemv_v2", "cublasSsymv_v2"] {
            let y = Vector::holding(Element::F32, &real(&[1.0, 2.0]), -2);
            y_is_scaled(symbol, start, &y, [&zero, beta], want);
        }
    }
    let a = Vector::holding(Element::F32, &real(&[NAN; 4]), 1);
    let (ger, syr) = (narrow("cublasSger_v2"), narrow("cublasSsyr_v2"));
    assert_eq!(ger.call(&[start, 2, 2, zero.address(), 0, 1, 0, 1, a.address(), 2]), SUCCESS);
    assert_eq!(syr.call(&[start, 0, 2, zero.address(), 0, 1, a.address(), 2]), SUCCESS);
    a.memory.untouched("updates with α = 0");
}

fn y_is_scaled(symbol: &str, start: u64, y: &Vector, [alpha, beta]: [&Scalars; 2], want: [f64; 2]) {
    let name = narrow(symbol);
    let sizes = if symbol.contains("gemv") { vec![0, 2, 2] } else { vec![1, 2] };
    let rest = [alpha.address(), 0, 2, 0, 1, beta.address(), y.address(), name.int(-2)];
    let arguments: Vec<u64> = [start].into_iter().chain(sizes).chain(rest).collect();
    assert_eq!(name.call(&arguments), SUCCESS, "{symbol}");
    assert_eq!(y.all_new(), real(&want), "{symbol}");
}

/// A zero factor inside a product does not hide a NaN or an infinity.
fn nan_in_products(handle: *mut c_void) {
    let start = handle as u64;
    let [zero, one] = [0.0, 1.0].map(|value| Scalars::new(PointerMode::Host, Element::F32, &real(&[value])));
    let x = Vector::holding(Element::F32, &real(&[0.0, 1.0]), 1);
    let a = Vector::holding(Element::F32, &real(&[NAN, 1.0, f64::INFINITY, 1.0]), 1);
    let y = Vector::poisoned(Element::F32, 2, 1);
    let gemv = narrow("cublasSgemv_v2");
    let arguments =
        [start, 0, 2, 2, one.address(), a.address(), 2, x.address(), 1, zero.address(), y.address(), 1];
    assert_eq!(gemv.call(&arguments), SUCCESS);
    assert!(y.all_new()[0].re.is_nan(), "NaN·0 + ∞·1");
    assert_eq!(y.all_new()[1].re, 1.0);
    let trsv = narrow("cublasStrsv_v2");
    assert_eq!(trsv.call(&[start, 0, 0, 0, 2, a.address(), 2, x.address(), 1]), SUCCESS);
    assert!(x.all_new().iter().all(|x| x.re.is_nan()), "0/NaN, and what follows from it");
    let scal = narrow("cublasSscal_v2");
    assert_eq!(scal.call(&[start, 4, zero.address(), a.address(), 1]), SUCCESS);
    assert!(a.all_new()[0].re.is_nan() && a.all_new()[2].re.is_nan(), "0·NaN and 0·∞");
    // A real factor leaves the other part of a complex number alone.
    let z = Vector::holding(Element::C32, &[Number::new(f64::INFINITY, 1.0)], 1);
    let csscal = narrow("cublasCsscal_v2");
    assert_eq!(csscal.call(&[start, 1, one.address(), z.address(), 1]), SUCCESS);
    assert_eq!(z.all_new(), [Number::new(f64::INFINITY, 1.0)]);
}

/// Each misuse: its status, and nothing is touched.
#[allow(clippy::too_many_lines)] // most of them rows of a table
pub fn bad_input() {
    let handle = create();
    let start = handle as u64;
    let a = Device::holding(&bytes(&[1.0; 64]));
    let (x, y) = (Device::holding(&bytes(&[2.0; 16])), Device::holding(&bytes(&[3.0; 16])));
    let (one, cell) = (1.0f32, 7.0f32);
    let (s, r) = (&raw const one as u64, &raw const cell as u64);
    let minus = Name::of("", false).int(-1);
    let (a_at, x_at, y_at) = (a.address, x.address, y.address);
    let gemv = [start, 0, 4, 4, s, a_at, 4, x_at, 1, s, y_at, 1];
    let gbmv = [start, 0, 4, 4, 1, 1, s, a_at, 3, x_at, 1, s, y_at, 1];
    let symv = [start, 0, 4, s, a_at, 4, x_at, 1, s, y_at, 1];
    let sbmv = [start, 0, 4, 1, s, a_at, 2, x_at, 1, s, y_at, 1];
    let spmv = [start, 0, 4, s, a_at, x_at, 1, s, y_at, 1];
    let trsv = [start, 0, 0, 0, 4, a_at, 4, x_at, 1];
    let tbmv = [start, 0, 0, 0, 4, 1, a_at, 2, x_at, 1];
    let tpmv = [start, 0, 0, 0, 4, a_at, x_at, 1];
    let ger = [start, 4, 4, s, x_at, 1, y_at, 1, a_at, 4];
    let syr = [start, 0, 4, s, x_at, 1, a_at, 4];
    let axpy = [start, 4, s, x_at, 1, y_at, 1];
    let dot = [start, 4, x_at, 1, y_at, 1, r];
    let rot = [start, 4, x_at, 1, y_at, 1, s, s];
    let strided = [start, 0, 4, 4, s, a_at, 4, 16, x_at, 1, 4, s, y_at, 1, 4, 2];
    let (single, double, half, unknown) = (0, 1, 2, 99);
    let axpy_ex = [start, 4, s, single, x_at, single, 1, y_at, single, 1, single];
    let dot_ex = [start, 4, x_at, single, 1, y_at, single, 1, r, single, single];
    let nrm2_ex = [start, 4, x_at, single, 1, r, single, single];
    let rot_ex = [start, 4, x_at, single, 1, y_at, single, 1, s, s, single, single];
    let beyond = 0x7777_0000;
    // Function, a good call's arguments, the position and the value that spoil it, the status.
    let rows: &[(&str, &[u64], usize, u64, c_int)] = &[
        ("cublasSgemv_v2", &gemv, 0, 0x1234_5678, NOT_INITIALIZED),
        ("cublasSgemv_v2", &gemv, 0, 0, NOT_INITIALIZED),
        ("cublasSaxpy_v2", &axpy, 0, 0, NOT_INITIALIZED),
        ("cublasSdot_v2", &dot, 0, 0, NOT_INITIALIZED),
        ("cublasStrsv_v2", &trsv, 0, 0, NOT_INITIALIZED),
        ("cublasSgemv_v2", &gemv, 1, 3, INVALID_VALUE),
        ("cublasSgemv_v2", &gemv, 2, minus, INVALID_VALUE),
        ("cublasSgemv_v2", &gemv, 3, minus, INVALID_VALUE),
        ("cublasSgemv_v2", &gemv, 4, 0, INVALID_VALUE),
        ("cublasSgemv_v2", &gemv, 5, 0, INVALID_VALUE),
        ("cublasSgemv_v2", &gemv, 6, 3, INVALID_VALUE),
        ("cublasSgemv_v2", &gemv, 7, 0, INVALID_VALUE),
        ("cublasSgemv_v2", &gemv, 8, 0, INVALID_VALUE),
        ("cublasSgemv_v2", &gemv, 9, 0, INVALID_VALUE),
        ("cublasSgemv_v2", &gemv, 10, 0, INVALID_VALUE),
        ("cublasSgemv_v2", &gemv, 11, 0, INVALID_VALUE),
        ("cublasSgemv_v2", &gemv, 5, beyond, EXECUTION_FAILED),
        ("cublasSgemv_v2", &gemv, 10, beyond, EXECUTION_FAILED),
        ("cublasSgbmv_v2", &gbmv, 1, 3, INVALID_VALUE),
        ("cublasSgbmv_v2", &gbmv, 4, minus, INVALID_VALUE),
        ("cublasSgbmv_v2", &gbmv, 5, minus, INVALID_VALUE),
        ("cublasSgbmv_v2", &gbmv, 8, 2, INVALID_VALUE),
        ("cublasSsymv_v2", &symv, 1, 2, INVALID_VALUE),
        ("cublasSsymv_v2", &symv, 2, minus, INVALID_VALUE),
        ("cublasSsymv_v2", &symv, 5, 3, INVALID_VALUE),
        ("cublasSsymv_v2", &symv, 7, 0, INVALID_VALUE),
        ("cublasSsbmv_v2", &sbmv, 3, minus, INVALID_VALUE),
        ("cublasSsbmv_v2", &sbmv, 6, 1, INVALID_VALUE),
        ("cublasSspmv_v2", &spmv, 1, 3, INVALID_VALUE),
        ("cublasSspmv_v2", &spmv, 9, 0, INVALID_VALUE),
        ("cublasStrsv_v2", &trsv, 1, 2, INVALID_VALUE),
        ("cublasStrsv_v2", &trsv, 2, 3, INVALID_VALUE),
        ("cublasStrsv_v2", &trsv, 3, 2, INVALID_VALUE),
        ("cublasStrsv_v2", &trsv, 4, minus, INVALID_VALUE),
        ("cublasStrsv_v2", &trsv, 6, 3, INVALID_VALUE),
        ("cublasStrsv_v2", &trsv, 8, 0, INVALID_VALUE),
        ("cublasStbmv_v2", &tbmv, 5, minus, INVALID_VALUE),
        ("cublasStbmv_v2", &tbmv, 7, 1, INVALID_VALUE),
        ("cublasStpmv_v2", &tpmv, 5, 0, INVALID_VALUE),
        ("cublasStpmv_v2", &tpmv, 7, 0, INVALID_VALUE),
        ("cublasSger_v2", &ger, 9, 3, INVALID_VALUE),
        ("cublasSger_v2", &ger, 3, 0, INVALID_VALUE),
        ("cublasSger_v2", &ger, 8, beyond, EXECUTION_FAILED),
        ("cublasSsyr_v2", &syr, 1, 2, INVALID_VALUE),
        ("cublasSsyr_v2", &syr, 7, 3, INVALID_VALUE),
        ("cublasSaxpy_v2", &axpy, 2, 0, INVALID_VALUE),
        ("cublasSaxpy_v2", &axpy, 3, 0, INVALID_VALUE),
        ("cublasSaxpy_v2", &axpy, 5, beyond, EXECUTION_FAILED),
        ("cublasSaxpy_v2", &axpy, 1, 4000, EXECUTION_FAILED),
        ("cublasSdot_v2", &dot, 6, 0, INVALID_VALUE),
        ("cublasSrot_v2", &rot, 7, 0, INVALID_VALUE),
        ("cublasSrot_v2", &rot, 4, beyond, EXECUTION_FAILED),
        ("cublasSgemvStridedBatched", &strided, 15, minus, INVALID_VALUE),
        ("cublasSgemvStridedBatched", &strided, 14, 0, INVALID_VALUE),
        ("cublasAxpyEx", &axpy_ex, 3, double, NOT_SUPPORTED),
        ("cublasAxpyEx", &axpy_ex, 5, half, NOT_SUPPORTED),
        ("cublasAxpyEx", &axpy_ex, 10, double, NOT_SUPPORTED),
        ("cublasAxpyEx", &axpy_ex, 8, unknown, NOT_SUPPORTED),
        ("cublasDotEx", &dot_ex, 9, double, NOT_SUPPORTED),
        ("cublasDotEx", &dot_ex, 6, half, NOT_SUPPORTED),
        ("cublasNrm2Ex", &nrm2_ex, 6, double, NOT_SUPPORTED),
        ("cublasNrm2Ex", &nrm2_ex, 5, 0, INVALID_VALUE),
        ("cublasRotEx", &rot_ex, 10, half, NOT_SUPPORTED),
    ];
    for &(symbol, good, position, value, want) in rows {
        let mut arguments = good.to_vec();
        arguments[position] = value;
        let what = format!("{symbol} with argument {position} = {value:#x}");
        assert_eq!(narrow(symbol).call(&arguments), want, "{what}");
        for (memory, old) in [(&a, 1.0), (&x, 2.0), (&y, 3.0)] {
            assert!(floats(&memory.get()).iter().all(|&value| value == old), "{what}: memory was written");
        }
    }
    // SAFETY: reads a live variable whose address the calls had.
    assert_eq!(unsafe { (&raw const cell).read_volatile() }, 7.0, "no result of a refused call");
    // More elements than any host has.
    for (symbol, arguments) in [
        ("cublasSaxpy_v2_64", vec![start, 1 << 61, s, x_at, 1, y_at, 1]),
        ("cublasSgemv_v2_64", vec![start, 0, 1 << 40, 1 << 40, s, a_at, 1 << 40, x_at, 1, s, y_at, 1]),
        ("cublasSspr_v2_64", vec![start, 0, 1 << 62, s, x_at, 1, a_at]),
    ] {
        let status = Name::of(symbol, true).call(&arguments);
        assert!([ALLOC_FAILED, EXECUTION_FAILED].contains(&status), "{symbol}: {status}");
    }
    for (symbol, good) in [
        ("cublasSgemv_v2", &gemv[..]),
        ("cublasSgbmv_v2", &gbmv),
        ("cublasStbmv_v2", &tbmv),
        ("cublasSger_v2", &ger),
        ("cublasSrot_v2", &rot),
        ("cublasSgemvStridedBatched", &strided),
        ("cublasRotEx", &rot_ex),
    ] {
        assert_eq!(narrow(symbol).call(good), SUCCESS, "{symbol}: and a good call still works");
    }
}
