//! What is CUDA 13's own: its version, the layout of its device properties, functions whose arguments it
//! has changed under the same name, and libraries of kernels.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use cudarc::runtime::sys::cudaUUID_t;

use super::runtime::entry_point;
use super::runtime_launch::Dim3;
use super::runtime_stream::{CaptureInfo, nodes_into, update_dependencies};
use super::{properties, put};
use crate::core::{Code, graph, launch};

/// CUDA 13.0.
pub const VERSION: c_int = 13_000;

/// Bytes of `cudaFuncAttributes`.
pub const FUNCTION_ATTRIBUTES: usize = size_of::<cudarc::runtime::sys::cudaFuncAttributes>();

/// Which form of a driver function a program of this version means by its plain name, best first.
pub const DRIVER_SUFFIXES: &[&str] = &["_v3", "_v2", ""];

type Handle = *mut c_void;

/// CUDA 13's `cudaDeviceProp`. Textures and surfaces, all 0 here, are kept together as `limits_…`.
#[allow(non_snake_case, missing_docs, clippy::struct_field_names)] // NVIDIA's names, which NVIDIA's page explains
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Properties {
    pub name: [c_char; 256],
    pub uuid: cudaUUID_t,
    pub luid: [c_char; 8],
    pub luidDeviceNodeMask: c_uint,
    pub totalGlobalMem: usize,
    pub sharedMemPerBlock: usize,
    pub regsPerBlock: c_int,
    pub warpSize: c_int,
    pub memPitch: usize,
    pub maxThreadsPerBlock: c_int,
    pub maxThreadsDim: [c_int; 3],
    pub maxGridSize: [c_int; 3],
    pub totalConstMem: usize,
    pub major: c_int,
    pub minor: c_int,
    pub textureAlignment: usize,
    pub texturePitchAlignment: usize,
    pub multiProcessorCount: c_int,
    pub integrated: c_int,
    pub canMapHostMemory: c_int,
    /// From `maxTexture1D` to `maxTextureCubemapLayered`.
    pub limits_of_textures: [c_int; 25],
    /// From `maxSurface1D` to `maxSurfaceCubemapLayered`.
    pub limits_of_surfaces: [c_int; 14],
    pub surfaceAlignment: usize,
    pub concurrentKernels: c_int,
    pub ECCEnabled: c_int,
    pub pciBusID: c_int,
    pub pciDeviceID: c_int,
    pub pciDomainID: c_int,
    pub tccDriver: c_int,
    pub asyncEngineCount: c_int,
    pub unifiedAddressing: c_int,
    pub memoryBusWidth: c_int,
    pub l2CacheSize: c_int,
    pub persistingL2CacheMaxSize: c_int,
    pub maxThreadsPerMultiProcessor: c_int,
    pub streamPrioritiesSupported: c_int,
    pub globalL1CacheSupported: c_int,
    pub localL1CacheSupported: c_int,
    pub sharedMemPerMultiprocessor: usize,
    pub regsPerMultiprocessor: c_int,
    pub managedMemory: c_int,
    pub isMultiGpuBoard: c_int,
    pub multiGpuBoardGroupID: c_int,
    pub hostNativeAtomicSupported: c_int,
    pub pageableMemoryAccess: c_int,
    pub concurrentManagedAccess: c_int,
    pub computePreemptionSupported: c_int,
    pub canUseHostPointerForRegisteredMem: c_int,
    pub cooperativeLaunch: c_int,
    pub sharedMemPerBlockOptin: usize,
    pub pageableMemoryAccessUsesHostPageTables: c_int,
    pub directManagedMemAccessFromHost: c_int,
    pub maxBlocksPerMultiProcessor: c_int,
    pub accessPolicyMaxWindowSize: c_int,
    pub reservedSharedMemPerBlock: usize,
    pub hostRegisterSupported: c_int,
    pub sparseCudaArraySupported: c_int,
    pub hostRegisterReadOnlySupported: c_int,
    pub timelineSemaphoreInteropSupported: c_int,
    pub memoryPoolsSupported: c_int,
    pub gpuDirectRDMASupported: c_int,
    pub gpuDirectRDMAFlushWritesOptions: c_uint,
    pub gpuDirectRDMAWritesOrdering: c_int,
    pub memoryPoolSupportedHandleTypes: c_uint,
    pub deferredMappingCudaArraySupported: c_int,
    pub ipcEventSupported: c_int,
    pub clusterLaunch: c_int,
    pub unifiedFunctionPointers: c_int,
    pub deviceNumaConfig: c_int,
    pub deviceNumaId: c_int,
    pub mpsEnabled: c_int,
    pub hostNumaId: c_int,
    pub gpuPciDeviceID: c_uint,
    pub gpuPciSubsystemID: c_uint,
    pub hostNumaMultinodeIpcSupported: c_int,
    pub reserved: [c_int; 56],
}

/// The properties that CUDA 12 has not.
pub fn describe_more(properties: &mut Properties, attribute: impl Fn(c_int) -> c_int) {
    properties.memoryPoolsSupported = attribute(115);
    properties.deviceNumaId = -1;
    properties.hostNumaId = -1;
}

export! { runtime TABLE;
    fn cudaGetDriverEntryPoint(symbol: *const c_char, function: *mut *mut c_void, _flags: c_ulonglong, status: *mut c_int) {
        entry_point(symbol, function, status)
    }
    fn cudaGetDeviceProperties(place: *mut Properties, ordinal: c_int) { properties::describe(place, ordinal) }
    fn cudaStreamGetCaptureInfo(
        stream: Handle, status: *mut c_int, id: *mut c_ulonglong, graph: *mut Handle,
        dependencies: *mut *const usize, edges: *mut *const c_void, count: *mut usize
    ) {
        CaptureInfo { status, id, graph, dependencies, edges, count }.tell(stream)
    }
    fn cudaStreamUpdateCaptureDependencies(
        stream: Handle, nodes: *const usize, _edges: *const c_void, count: usize, flags: c_uint
    ) {
        update_dependencies(stream, nodes, count, flags)
    }
    fn cudaGraphNodeGetDependencies(node: Handle, nodes: *mut usize, _edges: *mut c_void, count: *mut usize) {
        nodes_into(&graph::dependencies(node as usize)?, nodes, count)
    }
    fn __cudaGetKernel(kernel: *mut Handle, host: *const c_void) { put(kernel, host.cast_mut()) }
    fn __cudaLaunchKernel(
        kernel: Handle, _grid: Dim3, _block: Dim3, _arguments: *mut Handle, _shared: usize, stream: Handle
    ) {
        launch::launch(kernel as usize, stream as usize)
    }
    fn cudaKernelSetAttributeForDevice(_kernel: Handle, _attribute: c_int, _value: c_int, _device: c_int) {
        launch::check_image()
    }
    fn cudaLibraryLoadData() { Err(Code::NO_KERNEL_IMAGE) }
    fn cudaLibraryLoadFromFile() { Err(Code::NO_KERNEL_IMAGE) }
    fn cudaLibraryUnload(_library: Handle) { Err(Code::INVALID_HANDLE) }
    fn cudaLibraryEnumerateKernels() { Err(Code::INVALID_HANDLE) }
    fn cudaLibraryGetGlobal() { Err(Code::INVALID_HANDLE) }
    fn cudaLibraryGetKernel() { Err(Code::INVALID_HANDLE) }
    fn cudaLibraryGetKernelCount() { Err(Code::INVALID_HANDLE) }
    fn cudaLibraryGetManaged() { Err(Code::INVALID_HANDLE) }
    fn cudaLibraryGetUnifiedFunction() { Err(Code::INVALID_HANDLE) }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::Properties;

    /// Numbers that a C compiler gives for the header of CUDA 13.2.
    #[test]
    fn the_layout_is_that_of_the_header() {
        assert_eq!(offset_of!(Properties, totalGlobalMem), 288);
        assert_eq!(offset_of!(Properties, major), 360);
        assert_eq!(offset_of!(Properties, multiProcessorCount), 384);
        assert_eq!(offset_of!(Properties, surfaceAlignment), 552);
        assert_eq!(offset_of!(Properties, l2CacheSize), 596);
        assert_eq!(offset_of!(Properties, sharedMemPerBlockOptin), 672);
        assert_eq!(offset_of!(Properties, reservedSharedMemPerBlock), 696);
        assert_eq!(offset_of!(Properties, memoryPoolsSupported), 720);
        assert_eq!(offset_of!(Properties, hostNumaId), 768);
        assert_eq!(offset_of!(Properties, reserved), 784);
        assert_eq!(size_of::<Properties>(), 1008);
    }
}
