//! Every served GEMM symbol of cuBLAS, with its form and types, and a way to call it for a case.

use std::ffi::{c_int, c_void};

use gpucompat_cases::element::Element;
use gpucompat_cases::gemm::{GemmCase, Types};

use crate::call;
use crate::lab::Device;

/// How a function takes its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `cublas<t>gemm`.
    Plain,
    /// `cublas<t>gemmBatched`.
    Batched,
    /// `cublas<t>gemmStridedBatched`.
    Strided,
    /// `cublasSgemmEx` and its kin.
    NamedEx,
    /// `cublasGemmEx`.
    Ex,
    /// `cublasGemmBatchedEx`.
    BatchedEx,
    /// `cublasGemmStridedBatchedEx`.
    StridedEx,
}

/// One function called with one combination of types.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub symbol: String,
    /// Its form.
    pub form: Form,
    /// Types.
    pub types: Types,
    /// `cublasComputeType_t`, for the Ex forms.
    pub compute: c_int,
    /// 64-bit sizes.
    pub wide: bool,
}

const F: c_int = 68;

/// Everything that `cublas.table` serves as a GEMM, in every documented combination of types.
pub fn entries() -> Vec<Entry> {
    use Element::{Bf16, C32, C64, CI8, F16, F32, F64, I8, I32};
    let scaled = |ab, c, scale| Types { ab, c, scale };
    let letters = [("S", F32), ("D", F64), ("C", C32), ("Z", C64), ("H", F16)];
    let named = [
        scaled(F32, F32, F32),
        scaled(F16, F16, F32),
        scaled(F16, F32, F32),
        scaled(Bf16, Bf16, F32),
        scaled(Bf16, F32, F32),
        scaled(I8, F32, F32),
    ];
    let complex = [scaled(C32, C32, C32), scaled(CI8, C32, C32)];
    let mut ex: Vec<(Types, c_int)> = Vec::new();
    for compute in [F, 69] {
        ex.extend(named.iter().map(|&types| (types, compute)));
    }
    ex.extend([74, 75, 77, 78].map(|fast| (scaled(F32, F32, F32), fast)));
    ex.extend(complex.iter().map(|&types| (types, F)));
    ex.extend([64, 65].map(|compute| (Types::uniform(F16), compute)));
    ex.extend([70, 71].map(|compute| (Types::uniform(F64), compute)));
    ex.push((Types::uniform(C64), 70));
    ex.extend([72, 73].map(|compute| (scaled(I8, I32, I32), compute)));
    let mut all = Vec::new();
    for wide in [false, true] {
        let suffix = if wide { "_64" } else { "" };
        let mut add = |name: &str, form, types, compute| {
            all.push(Entry { symbol: format!("{name}{suffix}"), form, types, compute, wide });
        };
        for (letter, element) in letters {
            let plain =
                if letter == "H" { "cublasHgemm".to_owned() } else { format!("cublas{letter}gemm_v2") };
            add(&plain, Form::Plain, Types::uniform(element), 0);
            add(&format!("cublas{letter}gemmBatched"), Form::Batched, Types::uniform(element), 0);
            add(&format!("cublas{letter}gemmStridedBatched"), Form::Strided, Types::uniform(element), 0);
        }
        add("cublasCgemm3m", Form::Plain, Types::uniform(C32), 0);
        add("cublasZgemm3m", Form::Plain, Types::uniform(C64), 0);
        add("cublasCgemm3mBatched", Form::Batched, Types::uniform(C32), 0);
        add("cublasCgemm3mStridedBatched", Form::Strided, Types::uniform(C32), 0);
        named.iter().for_each(|&types| add("cublasSgemmEx", Form::NamedEx, types, 0));
        complex.iter().for_each(|&types| add("cublasCgemmEx", Form::NamedEx, types, 0));
        complex.iter().for_each(|&types| add("cublasCgemm3mEx", Form::NamedEx, types, 0));
        for &(types, compute) in &ex {
            add("cublasGemmEx", Form::Ex, types, compute);
            add("cublasGemmBatchedEx", Form::BatchedEx, types, compute);
            add("cublasGemmStridedBatchedEx", Form::StridedEx, types, compute);
        }
    }
    all
}

fn op(character: char) -> c_int {
    match character {
        'n' => 0,
        't' => 1,
        _ => 2,
    }
}

/// A scalar's bytes in the scale type.
pub fn scalar(case: &GemmCase, value: f64) -> Vec<u8> {
    let mut bytes = Vec::new();
    case.types.scale.encode(case.scalar(value), &mut bytes);
    bytes
}

/// Addresses of a batch's matrices, as an array on the device.
fn pointers(case: &GemmCase, operand: usize, base: u64) -> Device {
    let element = if operand == 2 { case.types.c } else { case.types.ab };
    let distance = (case.stored(operand).stride * element.bytes()) as u64;
    let list: Vec<u8> =
        (0..case.batch as u64).flat_map(|index| (base + index * distance).to_le_bytes()).collect();
    Device::holding(&list)
}

/// Sizes and the rest of a call, as one of the two integer widths.
macro_rules! invoke {
    ($int:ty, $entry:expr, $handle:expr, $case:expr, $scalars:expr, $at:expr) => {{
        let case = $case;
        let (m, n, k) = (case.m as $int, case.n as $int, case.k as $int);
        let [lda, ldb, ldc] = case.ld.map(|ld| ld as $int);
        let [alpha, beta] = $scalars;
        let [a, b, c] = $at;
        let (ta, tb) = (op(case.transa), op(case.transb));
        let count = case.batch as $int;
        let [sa, sb, sc] = [0, 1, 2].map(|operand| case.stored(operand).stride as i64);
        let (tab, tc) = (case.types.ab.cuda(), case.types.c.cuda());
        let (name, compute, algo, handle) = ($entry.symbol.as_str(), $entry.compute, -1, $handle);
        match $entry.form {
            Form::Plain => call!(name, handle => *mut c_void, ta => c_int, tb => c_int, m => $int, n => $int, k => $int,
                alpha => u64, a => u64, lda => $int, b => u64, ldb => $int, beta => u64, c => u64, ldc => $int),
            Form::Batched => call!(name, handle => *mut c_void, ta => c_int, tb => c_int, m => $int, n => $int, k => $int,
                alpha => u64, a => u64, lda => $int, b => u64, ldb => $int, beta => u64, c => u64, ldc => $int, count => $int),
            Form::Strided => call!(name, handle => *mut c_void, ta => c_int, tb => c_int, m => $int, n => $int, k => $int,
                alpha => u64, a => u64, lda => $int, sa => i64, b => u64, ldb => $int, sb => i64, beta => u64, c => u64,
                ldc => $int, sc => i64, count => $int),
            Form::NamedEx => call!(name, handle => *mut c_void, ta => c_int, tb => c_int, m => $int, n => $int, k => $int,
                alpha => u64, a => u64, tab => c_int, lda => $int, b => u64, tab => c_int, ldb => $int, beta => u64,
                c => u64, tc => c_int, ldc => $int),
            Form::Ex => call!(name, handle => *mut c_void, ta => c_int, tb => c_int, m => $int, n => $int, k => $int,
                alpha => u64, a => u64, tab => c_int, lda => $int, b => u64, tab => c_int, ldb => $int, beta => u64,
                c => u64, tc => c_int, ldc => $int, compute => c_int, algo => c_int),
            Form::BatchedEx => call!(name, handle => *mut c_void, ta => c_int, tb => c_int, m => $int, n => $int, k => $int,
                alpha => u64, a => u64, tab => c_int, lda => $int, b => u64, tab => c_int, ldb => $int, beta => u64,
                c => u64, tc => c_int, ldc => $int, count => $int, compute => c_int, algo => c_int),
            Form::StridedEx => call!(name, handle => *mut c_void, ta => c_int, tb => c_int, m => $int, n => $int, k => $int,
                alpha => u64, a => u64, tab => c_int, lda => $int, sa => i64, b => u64, tab => c_int, ldb => $int,
                sb => i64, beta => u64, c => u64, tc => c_int, ldc => $int, sc => i64, count => $int, compute => c_int,
                algo => c_int),
        }
    }};
}

/// Calls the entry for a case with operands at these addresses and scalars at those.
pub fn invoke(entry: &Entry, handle: *mut c_void, case: &GemmCase, scalars: [u64; 2], at: [u64; 3]) -> c_int {
    let lists = matches!(entry.form, Form::Batched | Form::BatchedEx)
        .then(|| [0, 1, 2].map(|operand| pointers(case, operand, at[operand])));
    let at = lists.as_ref().map_or(at, |lists| [lists[0].address, lists[1].address, lists[2].address]);
    if entry.wide {
        invoke!(i64, entry, handle, case, scalars, at)
    } else {
        invoke!(c_int, entry, handle, case, scalars, at)
    }
}

/// Runs a case through an entry with host scalars and compares C; the status must be success.
pub fn run(entry: &Entry, handle: *mut c_void, case: &GemmCase) {
    let data = case.data();
    let (a, b, c) = (Device::holding(&data.a), Device::holding(&data.b), Device::holding(&data.c));
    let (alpha, beta) = (scalar(case, case.alpha), scalar(case, case.beta));
    let scalars = [alpha.as_ptr() as u64, beta.as_ptr() as u64];
    let status = invoke(entry, handle, case, scalars, [a.address, b.address, c.address]);
    let repro = format!("again: scenario gemm_one {} {} {case}", entry.symbol, entry.compute);
    assert_eq!(status, 0, "{} {case}\n{repro}", entry.symbol);
    if let Err(wrong) = case.check(&data.c, &c.get(), &data.expected) {
        panic!("{}: {wrong}\n{repro}", entry.symbol);
    }
}

/// A case that suits an entry: batched only where the form is.
pub fn case_for(entry: &Entry, seed: u64) -> GemmCase {
    let batch = match entry.form {
        Form::Plain | Form::NamedEx | Form::Ex => 1,
        _ => (seed % 4) as usize,
    };
    GemmCase::random(entry.types, batch, seed)
}

/// The plain single-precision entry.
pub fn sgemm() -> Entry {
    let types = Types::uniform(Element::F32);
    Entry { symbol: "cublasSgemm_v2".to_owned(), form: Form::Plain, types, compute: F, wide: false }
}
