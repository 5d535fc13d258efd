//! What a handle of ours stands for: the state that cuBLAS keeps in a handle; of it cuDNN's have the stream.
//!
//! Source: <https://docs.nvidia.com/cuda/cublas/#cublas-helper-function-reference>.

use std::ffi::c_int;

use parking_lot::Mutex;

use crate::native::context::{Context, Device, Stream};

/// Whose handle an object stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// cuBLAS, cuBLASLt or cuDNN: operands are where the device reaches them.
    Device,
    /// cublasXt: operands may lie in any host memory.
    Xt,
}

/// A library object that we handed out because the real library could not make one.
pub struct Object {
    /// The context that was current at creation; a handle belongs to it for life.
    pub context: Context,
    /// That context's device.
    pub device: Device,
    /// Whose handle it is.
    pub interface: Interface,
    state: Mutex<State>,
}

/// What the program sets on a handle; values that do not change our results are kept to be given back.
#[derive(Clone, Copy)]
pub struct State {
    /// `cublasSetStream`; NULL is the legacy default stream.
    pub stream: Stream,
    /// `cublasSetPointerMode`: 0 host, 1 device.
    pub pointer_mode: c_int,
    /// `cublasSetMathMode`, given back as set.
    pub math_mode: c_int,
    /// `cublasSetAtomicsMode`, given back as set.
    pub atomics_mode: c_int,
    /// `cublasSetSmCountTarget`, given back as set.
    pub sm_count_target: c_int,
    /// `cublasXtSetBlockDim`, given back as set.
    pub block_dim: c_int,
    /// `cublasXtSetPinningMemMode`, given back as set.
    pub pinning_mode: c_int,
}

impl Object {
    /// A fresh object with cuBLAS's documented defaults.
    pub fn new(context: Context, device: Device, interface: Interface) -> Object {
        Object {
            context,
            device,
            interface,
            state: Mutex::new(State {
                stream: Stream(std::ptr::null_mut()),
                pointer_mode: 0,
                math_mode: 0,
                atomics_mode: 0,
                sm_count_target: 0,
                block_dim: 1024,
                pinning_mode: 0,
            }),
        }
    }

    /// The state as it is now.
    pub fn state(&self) -> State {
        *self.state.lock()
    }

    /// Changes the state.
    pub fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
    }
}
