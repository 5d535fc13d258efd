//! Functions that programs bind to and the simulator does not model: each answers NOT_SUPPORTED.

use crate::core::Code;

export! { runtime TABLE;
    fn cudaCreateSurfaceObject() { Err(Code::NOT_SUPPORTED) }
    fn cudaCreateTextureObject() { Err(Code::NOT_SUPPORTED) }
    fn cudaDestroySurfaceObject() { Err(Code::NOT_SUPPORTED) }
    fn cudaDestroyTextureObject() { Err(Code::NOT_SUPPORTED) }
    fn cudaDeviceSetMemPool() { Err(Code::NOT_SUPPORTED) }
    fn cudaFreeArray() { Err(Code::NOT_SUPPORTED) }
    fn cudaGetChannelDesc() { Err(Code::NOT_SUPPORTED) }
    fn cudaGetTextureObjectResourceDesc() { Err(Code::NOT_SUPPORTED) }
    fn cudaGetTextureObjectTextureDesc() { Err(Code::NOT_SUPPORTED) }
    fn cudaGraphAddNode() { Err(Code::NOT_SUPPORTED) }
    fn cudaGraphConditionalHandleCreate() { Err(Code::NOT_SUPPORTED) }
    fn cudaGraphRetainUserObject() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcCloseMemHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcGetEventHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcGetMemHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcOpenEventHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcOpenMemHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaMalloc3DArray() { Err(Code::NOT_SUPPORTED) }
    fn cudaMallocArray() { Err(Code::NOT_SUPPORTED) }
    fn cudaMallocFromPoolAsync() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemPoolCreate() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemPoolDestroy() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemcpy2DFromArray() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemcpy2DFromArrayAsync() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemcpy2DToArray() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemcpy2DToArrayAsync() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemcpy3D() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemcpy3DAsync() { Err(Code::NOT_SUPPORTED) }
    fn cudaMemcpyFromSymbol() { Err(Code::NOT_SUPPORTED) }
    fn cudaStreamBeginCaptureToGraph() { Err(Code::NOT_SUPPORTED) }
    fn cudaUserObjectCreate() { Err(Code::NOT_SUPPORTED) }
    fn cudaUserObjectRelease() { Err(Code::NOT_SUPPORTED) }
}
