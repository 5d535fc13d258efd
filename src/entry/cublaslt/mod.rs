//! cuBLASLt: what `nn.Linear` and `F.linear` use.
//!
//! Descriptors are plain host objects that the real library makes and reads on any device, so they stay
//! the real library's and [`attributes`] asks it for what they hold. Only what needs a device is here.
//! Source: <https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api>.

#[macro_use]
pub mod algorithm;
pub mod attributes;
pub mod epilogue;
pub mod fused;
#[macro_use]
pub mod heuristic;
#[macro_use]
pub mod matmul;
pub mod operand;
pub mod problem;
pub mod scaling;
#[macro_use]
pub mod transform;

macro_rules! cublaslt_create {
    ($symbol:ident) => {
        export! { $symbol of CublasLt (out: *mut *mut c_void)
        managed(native) $crate::entry::cublas::handle::create(
            $crate::native::find::Library::CublasLt, $crate::handle::object::Interface::Device, out, native) }
    };
}
macro_rules! cublaslt_destroy {
    ($symbol:ident) => {
        export! { $symbol of CublasLt (handle: *mut c_void)
        managed(native) $crate::entry::cublas::handle::destroy(handle, native) }
    };
}
