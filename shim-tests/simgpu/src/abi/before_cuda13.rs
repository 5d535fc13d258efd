//! Functions whose arguments CUDA 13 has changed under the same name, as CUDA 11 and 12 have them.

use std::ffi::{c_int, c_uint, c_ulonglong, c_void};

use super::runtime_stream::{CaptureInfo, nodes_into, update_dependencies};
use crate::core::graph;

type Handle = *mut c_void;

export! { runtime TABLE;
    fn cudaStreamGetCaptureInfo(stream: Handle, status: *mut c_int, id: *mut c_ulonglong) {
        CaptureInfo { status, id, ..CaptureInfo::default() }.tell(stream)
    }
    fn cudaStreamGetCaptureInfo_v2(
        stream: Handle, status: *mut c_int, id: *mut c_ulonglong, graph: *mut Handle,
        dependencies: *mut *const usize, count: *mut usize
    ) {
        CaptureInfo { status, id, graph, dependencies, count, ..CaptureInfo::default() }.tell(stream)
    }
    fn cudaStreamUpdateCaptureDependencies(stream: Handle, nodes: *const usize, count: usize, flags: c_uint) {
        update_dependencies(stream, nodes, count, flags)
    }
    fn cudaGraphNodeGetDependencies(node: Handle, nodes: *mut usize, count: *mut usize) {
        nodes_into(&graph::dependencies(node as usize)?, nodes, count)
    }
}
