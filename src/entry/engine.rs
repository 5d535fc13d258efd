//! What the process's settings allow the engine and the copies, told once before the first served call.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::sync::Once;

use gpucompat_engine as engine;

use crate::config::{Async, Gemm, config};
use crate::log;
use crate::platform;
use crate::staging::deferred::{self, When};
use crate::staging::pool;

/// Tells the engine and the copies how many threads and how much memory they may use, who multiplies matrices, and which
/// calls may return before they are computed.
pub fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Some(threads) = config().threads {
            engine::set_threads(threads);
        }
        if let Some(megabytes) = config().scratch_mb {
            engine::set_scratch_bytes((megabytes as usize) << 20);
        }
        if let Some(megabytes) = config().staging_mb {
            pool::set_limit((megabytes as usize) << 20);
        }
        deferred::set_when(match config().asynchronous {
            Async::Auto => When::Useful,
            Async::Always => When::Always,
            Async::Never => When::Captured,
        });
        match config().gemm {
            Gemm::Auto => {}
            Gemm::Matrixmultiply => engine::set_gemm_backend(engine::Backend::Matrixmultiply),
            Gemm::Host => use_host_blas(),
        }
    });
}

/// Libraries that carry Fortran's BLAS with sizes of 32 bits, as processes load them. None is ever loaded by us.
const LIBRARIES: [&CStr; 7] = [
    c"libmkl_rt.so.2",
    c"libopenblas.so.0",
    c"libblis.so.4",
    c"libflexiblas.so.3",
    c"libblas.so.3",
    // PyTorch's wheels link MKL into this one.
    c"libtorch_cpu.so",
    c"libtorch_cpu.so.1",
];

fn use_host_blas() {
    let libraries = || LIBRARIES.iter().filter_map(|name| Some((*name, platform::find_loaded(name)?)));
    let found = libraries().find_map(|(name, library)| Some((name, functions(|it| library.symbol(it))?)));
    let found = found.or_else(|| Some((c"the program", functions(platform::global_symbol)?)));
    match found {
        Some((name, blas)) => {
            // SAFETY: the names are those of Fortran's BLAS, whose functions have these arguments; the library is
            // kept loaded by the look-up.
            unsafe { engine::set_host_blas(blas) };
            log::debug(format_args!("gemm=host library={}", name.to_string_lossy()));
        }
        None => log::warn_once(format_args!(
            "GPU_COMPAT_GEMM=host: no BLAS (sgemm_, dgemm_, cgemm_, zgemm_) is loaded in this process; gpucompat's own \
             products are used. Load one first, or unset the variable"
        )),
    }
}

fn functions(find: impl Fn(&CStr) -> Option<*mut c_void>) -> Option<engine::HostBlas> {
    let [s, d, c, z] = [find(c"sgemm_")?, find(c"dgemm_")?, find(c"cgemm_")?, find(c"zgemm_")?];
    // SAFETY: functions of these names have Fortran's interface of that name, which `FortranGemm` restates.
    unsafe {
        Some(engine::HostBlas {
            sgemm: std::mem::transmute::<*mut c_void, engine::FortranGemm<f32>>(s),
            dgemm: std::mem::transmute::<*mut c_void, engine::FortranGemm<f64>>(d),
            cgemm: std::mem::transmute::<*mut c_void, engine::FortranGemm<engine::C32>>(c),
            zgemm: std::mem::transmute::<*mut c_void, engine::FortranGemm<engine::C64>>(z),
        })
    }
}
