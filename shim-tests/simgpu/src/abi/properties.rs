//! `cudaDeviceProp`: what both layouts have.

use std::ffi::{c_char, c_int};

use super::put;
use super::versioned::{self, Properties};
use crate::core::{Outcome, device};

/// Describes a device.
pub fn describe(place: *mut Properties, ordinal: c_int) -> Outcome {
    let ordinal = device::checked(ordinal)?;
    let model = device::model();
    let attribute = |number| device::attribute(number, ordinal).unwrap_or(0);
    // SAFETY: integers, arrays of integers and sizes: all zeros is a value.
    let mut properties: Properties = unsafe { std::mem::zeroed() };
    for (place, byte) in properties.name.iter_mut().zip(model.name.bytes()) {
        *place = byte as c_char;
    }
    properties.uuid.bytes[0] = 0x51;
    properties.uuid.bytes[15] = ordinal as c_char;
    properties.totalGlobalMem = (model.memory_mib << 20) as usize;
    properties.sharedMemPerBlock = attribute(8) as usize;
    properties.regsPerBlock = attribute(12);
    properties.warpSize = attribute(10);
    properties.memPitch = attribute(11) as usize;
    properties.maxThreadsPerBlock = attribute(1);
    properties.maxThreadsDim = [attribute(2), attribute(3), attribute(4)];
    properties.maxGridSize = [attribute(5), attribute(6), attribute(7)];
    properties.totalConstMem = attribute(9) as usize;
    (properties.major, properties.minor) = model.capability;
    properties.textureAlignment = attribute(14) as usize;
    properties.multiProcessorCount = model.multiprocessors;
    properties.canMapHostMemory = 1;
    properties.concurrentKernels = 1;
    properties.pciBusID = attribute(33);
    properties.asyncEngineCount = attribute(40);
    properties.unifiedAddressing = 1;
    properties.memoryBusWidth = attribute(37);
    properties.l2CacheSize = attribute(38);
    properties.maxThreadsPerMultiProcessor = attribute(39);
    properties.streamPrioritiesSupported = 1;
    properties.sharedMemPerMultiprocessor = attribute(81) as usize;
    properties.regsPerMultiprocessor = attribute(82);
    properties.managedMemory = attribute(83);
    properties.concurrentManagedAccess = attribute(89);
    properties.computePreemptionSupported = attribute(90);
    properties.cooperativeLaunch = attribute(95);
    properties.sharedMemPerBlockOptin = attribute(97) as usize;
    properties.maxBlocksPerMultiProcessor = attribute(106);
    properties.reservedSharedMemPerBlock = attribute(111) as usize;
    versioned::describe_more(&mut properties, attribute);
    put(place, properties)
}
