//! The same calls through another interface: a scenario of the interface with handles (`cublasSaxpy_v2`), run with
//! `BLAS_INTERFACE=legacy`, calls the legacy functions (`cublasSaxpy`: no handle, characters, scalars and results by value,
//! errors by `cublasGetError`), and with `BLAS_INTERFACE=xt` those of cublasXt (sizes of 64 bits, matrices in host or
//! device memory).
//!
//! On x86-64 integers and addresses go to one list of registers and places on the stack, floating-point numbers to
//! another, so that one call with as many of both as any function takes is a call of each of them.

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::Element;

use crate::call;
use crate::lab::symbol;

/// Which functions are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// Those with a handle, `_v2`.
    Handles,
    /// Those of `cublas.h`.
    Legacy,
    /// Those of `cublasXt.h`.
    Xt,
}

impl Interface {
    /// What `BLAS_INTERFACE` says.
    pub fn chosen() -> Interface {
        match std::env::var("BLAS_INTERFACE").as_deref() {
            Ok("legacy") => Interface::Legacy,
            Ok("xt") => Interface::Xt,
            _ => Interface::Handles,
        }
    }
}

/// What the arguments of a function with a handle become, a letter each: `h` the handle, `i` an integer or an address,
/// `t` `u` `d` `s` an enumerator, `A` a scalar of the function's type, `R` a real one; `T` `N` `X` the place of a result of
/// the function's type, a real or an integer one; `-` what the legacy function does not have.
const SIGNATURES: &[(&str, &str)] = &[
    ("axpy", "hiAiiii"),
    ("copy", "hiiiii"),
    ("swap", "hiiiii"),
    ("scal", "hiAii"),
    ("sscal", "hiRii"),
    ("dscal", "hiRii"),
    ("dot", "hiiiiiT"),
    ("dotu", "hiiiiiT"),
    ("dotc", "hiiiiiT"),
    ("nrm2", "hiiiN"),
    ("asum", "hiiiN"),
    ("amax", "hiiiX"),
    ("amin", "hiiiX"),
    ("rot", "hiiiiiRA"),
    ("srot", "hiiiiiRR"),
    ("drot", "hiiiiiRR"),
    ("rotg", "hiiii"),
    ("rotm", "hiiiiii"),
    ("rotmg", "hiiiii"),
    ("gemv", "htiiAiiiiAii"),
    ("gbmv", "htiiiiAiiiiAii"),
    ("symv", "huiAiiiiAii"),
    ("hemv", "huiAiiiiAii"),
    ("sbmv", "huiiAiiiiAii"),
    ("hbmv", "huiiAiiiiAii"),
    ("spmv", "huiAiiiAii"),
    ("hpmv", "huiAiiiAii"),
    ("trmv", "hutdiiiii"),
    ("trsv", "hutdiiiii"),
    ("tbmv", "hutdiiiiii"),
    ("tbsv", "hutdiiiiii"),
    ("tpmv", "hutdiiii"),
    ("tpsv", "hutdiiii"),
    ("ger", "hiiAiiiiii"),
    ("geru", "hiiAiiiiii"),
    ("gerc", "hiiAiiiiii"),
    ("syr", "huiAiiii"),
    ("her", "huiRiiii"),
    ("spr", "huiAiii"),
    ("hpr", "huiRiii"),
    ("syr2", "huiAiiiiii"),
    ("her2", "huiAiiiiii"),
    ("spr2", "huiAiiiii"),
    ("hpr2", "huiAiiiii"),
    ("gemm", "httiiiAiiiiAii"),
    ("symm", "hsuiiAiiiiAii"),
    ("hemm", "hsuiiAiiiiAii"),
    ("syrk", "hutiiAiiAii"),
    ("herk", "hutiiRiiRii"),
    ("syr2k", "hutiiAiiiiAii"),
    ("her2k", "hutiiAiiiiRii"),
    ("trmm", "hsutdiiAiiii--"),
    ("trsm", "hsutdiiAiiii"),
];

/// A legacy function: its name, the type of its numbers, and how its arguments come.
#[derive(Clone, Debug)]
pub struct Legacy {
    /// The symbol.
    pub symbol: String,
    element: Element,
    signature: &'static str,
}

impl Legacy {
    /// The legacy function that a function with a handle corresponds to, if there is one.
    pub fn of(base: &str) -> Option<Legacy> {
        let symbol = base.strip_suffix("_v2")?;
        let rest = symbol.strip_prefix("cublas")?;
        let (letter, word) = match rest {
            "Scnrm2" | "Scasum" => ("C", &rest[2..]),
            "Dznrm2" | "Dzasum" => ("Z", &rest[2..]),
            _ => rest.strip_prefix('I').unwrap_or(rest).split_at(1),
        };
        let element = match letter.to_ascii_uppercase().as_str() {
            "S" => Element::F32,
            "D" => Element::F64,
            "C" => Element::C32,
            "Z" => Element::C64,
            _ => return None,
        };
        // Complex symmetric matrices are younger than this interface.
        if element.is_complex() && ["symv", "syr", "syr2"].contains(&word) {
            return None;
        }
        let signature = SIGNATURES.iter().find(|row| row.0 == word)?.1;
        Some(Legacy { symbol: symbol.to_owned(), element, signature })
    }

    /// Calls it with the arguments of the function with a handle; the status that `cublasGetError` gives.
    pub fn call(&self, arguments: &[u64]) -> c_int {
        let mut integers = Vec::new();
        let mut numbers = Vec::new();
        let mut result = None;
        let real = match self.element {
            Element::C32 => Element::F32,
            Element::C64 => Element::F64,
            other => other,
        };
        for (kind, &argument) in self.signature.chars().zip(arguments) {
            let letter = |letters: &[u8]| {
                let place = (argument & 0xffff_ffff) as usize;
                // Either case, and rubbish above the character; beyond the last enumerator a letter that means nothing.
                let letter = *letters.get(place).unwrap_or(&b'x');
                let letter = if argument & 1 == 1 { letter.to_ascii_uppercase() } else { letter };
                u64::from(letter) | 0x1111_1111_1111_1100
            };
            match kind {
                'i' => integers.push(argument),
                't' => integers.push(letter(b"ntc")),
                'u' => integers.push(letter(b"lu")),
                'd' => integers.push(letter(b"nu")),
                's' => integers.push(letter(b"lr")),
                'A' => numbers.extend(by_value(self.element, argument)),
                'R' => numbers.extend(by_value(real, argument)),
                'T' => result = Some((argument, Some(self.element))),
                'N' => result = Some((argument, Some(real))),
                'X' => result = Some((argument, None)),
                _ => {}
            }
        }
        assert!(integers.len() <= 14 && numbers.len() <= 4, "{}", self.symbol);
        integers.resize(14, 0xDEAD_0000_DEAD_0000);
        numbers.resize(4, f64::from_bits(0x7ff4_dead_dead_dead));
        let address = symbol(&self.symbol);
        match result {
            Some((place, None)) => {
                let value = invoke::<c_int>(address, &integers, &numbers);
                // SAFETY: the caller's place for an int.
                unsafe { (place as *mut c_int).write_unaligned(value) };
            }
            Some((place, Some(element))) => {
                let Pair(first, second) = invoke::<Pair>(address, &integers, &numbers);
                let bytes = [first.to_bits().to_le_bytes(), second.to_bits().to_le_bytes()].concat();
                // SAFETY: the caller's place for one element, at most 16 bytes.
                unsafe {
                    std::ptr::copy_nonoverlapping(bytes.as_ptr(), place as *mut u8, element.bytes());
                }
            }
            None => {
                invoke::<c_int>(address, &integers, &numbers);
            }
        }
        call!("cublasGetError")
    }
}

/// A result in the two registers for floating-point numbers.
#[repr(C)]
#[derive(Clone, Copy)]
struct Pair(f64, f64);

/// The registers in which the scalar at a host address is passed: one, two for a pair of doubles.
fn by_value(element: Element, address: u64) -> Vec<f64> {
    let mut bytes = [0u8; 16];
    // SAFETY: the scenario's scalar, which lies in host memory here.
    unsafe { std::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), element.bytes()) };
    let register = |half: usize| f64::from_le_bytes(bytes[8 * half..8 * half + 8].try_into().unwrap());
    (0..element.bytes().div_ceil(8)).map(register).collect()
}

#[rustfmt::skip]
type Function<R> = unsafe extern "C" fn(
    u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, f64, f64, f64, f64,
) -> R;

fn invoke<R>(address: *mut c_void, i: &[u64], x: &[f64]) -> R {
    // SAFETY: an exported function of at most these arguments, each in its register or place (see the module's
    // first lines); it returns R, or nothing.
    let function: Function<R> = unsafe { std::mem::transmute(address) };
    // SAFETY: as above; the scenario owns what the arguments point to.
    unsafe {
        function(
            i[0], i[1], i[2], i[3], i[4], i[5], i[6], i[7], i[8], i[9], i[10], i[11], i[12], i[13], x[0],
            x[1], x[2], x[3],
        )
    }
}
