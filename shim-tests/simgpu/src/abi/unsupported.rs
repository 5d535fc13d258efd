//! Functions that programs bind to and the simulator does not model: each answers NOT_SUPPORTED.

use crate::core::Code;

export! { runtime TABLE;
    fn cudaDeviceGetDefaultMemPool() { Err(Code::NOT_SUPPORTED) }
    fn cudaDeviceGetGraphMemAttribute() { Err(Code::NOT_SUPPORTED) }
    fn cudaDeviceSetGraphMemAttribute() { Err(Code::NOT_SUPPORTED) }
    fn cudaGraphAddNode() { Err(Code::NOT_SUPPORTED) }
    fn cudaGraphConditionalHandleCreate() { Err(Code::NOT_SUPPORTED) }
    fn cudaGraphNodeGetDependencies() { Err(Code::NOT_SUPPORTED) }
    fn cudaGraphRetainUserObject() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcCloseMemHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcGetEventHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcGetMemHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcOpenEventHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcOpenMemHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemPoolGetAttribute() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemPoolSetAccess() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemPoolSetAttribute() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemPoolTrimTo() { Err(Code::NOT_SUPPORTED) }
    fn cudaStreamBeginCaptureToGraph() { Err(Code::NOT_SUPPORTED) }
    fn cudaUserObjectCreate() { Err(Code::NOT_SUPPORTED) }
    fn cudaUserObjectRelease() { Err(Code::NOT_SUPPORTED) }
}
