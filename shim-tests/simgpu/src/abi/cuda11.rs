//! What is CUDA 11's own: its version, the layouts that later versions have lengthened, and functions whose arguments
//! they have changed under the same name.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use cudarc::runtime::sys::cudaUUID_t;

use super::properties;
use super::runtime::entry_point;

/// CUDA 11.8.
pub const VERSION: c_int = 11_080;

/// Bytes of `cudaFuncAttributes`, which ends before the thread block clusters.
pub const FUNCTION_ATTRIBUTES: usize = 56;

/// Which form of a driver function a program of this version means by its plain name, best first.
pub const DRIVER_SUFFIXES: &[&str] = &["_v2", ""];

/// CUDA 11's `cudaDeviceProp`. Textures and surfaces, all 0 here, are kept together as `limits_…`.
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
    pub clockRate: c_int,
    pub totalConstMem: usize,
    pub major: c_int,
    pub minor: c_int,
    pub textureAlignment: usize,
    pub texturePitchAlignment: usize,
    pub deviceOverlap: c_int,
    pub multiProcessorCount: c_int,
    pub kernelExecTimeoutEnabled: c_int,
    pub integrated: c_int,
    pub canMapHostMemory: c_int,
    pub computeMode: c_int,
    /// From `maxTexture1D` to `maxTextureCubemapLayered`.
    pub limits_of_textures: [c_int; 26],
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
    pub memoryClockRate: c_int,
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
    pub singleToDoublePrecisionPerfRatio: c_int,
    pub pageableMemoryAccess: c_int,
    pub concurrentManagedAccess: c_int,
    pub computePreemptionSupported: c_int,
    pub canUseHostPointerForRegisteredMem: c_int,
    pub cooperativeLaunch: c_int,
    pub cooperativeMultiDeviceLaunch: c_int,
    pub sharedMemPerBlockOptin: usize,
    pub pageableMemoryAccessUsesHostPageTables: c_int,
    pub directManagedMemAccessFromHost: c_int,
    pub maxBlocksPerMultiProcessor: c_int,
    pub accessPolicyMaxWindowSize: c_int,
    pub reservedSharedMemPerBlock: usize,
}

/// The properties that CUDA 13 has dropped.
pub fn describe_more(properties: &mut Properties, attribute: impl Fn(c_int) -> c_int) {
    properties.clockRate = attribute(13);
    properties.deviceOverlap = attribute(15);
    properties.memoryClockRate = attribute(36);
}

export! { runtime TABLE;
    fn cudaGetDriverEntryPoint(symbol: *const c_char, function: *mut *mut c_void, _flags: c_ulonglong) {
        entry_point(symbol, function, std::ptr::null_mut())
    }
    fn cudaProfilerInitialize(_configuration: *const c_char, _output: *const c_char, _mode: c_int) { Ok(()) }
    fn cudaGetDeviceProperties(place: *mut Properties, ordinal: c_int) { properties::describe(place, ordinal) }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::Properties;

    /// Numbers that a C compiler gives for the header of CUDA 11.8.
    #[test]
    fn the_layout_is_that_of_the_header() {
        assert_eq!(offset_of!(Properties, totalGlobalMem), 288);
        assert_eq!(offset_of!(Properties, major), 360);
        assert_eq!(offset_of!(Properties, multiProcessorCount), 388);
        assert_eq!(offset_of!(Properties, surfaceAlignment), 568);
        assert_eq!(offset_of!(Properties, l2CacheSize), 616);
        assert_eq!(offset_of!(Properties, cooperativeMultiDeviceLaunch), 692);
        assert_eq!(offset_of!(Properties, sharedMemPerBlockOptin), 696);
        assert_eq!(offset_of!(Properties, reservedSharedMemPerBlock), 720);
        assert_eq!(size_of::<Properties>(), 728);
    }
}
