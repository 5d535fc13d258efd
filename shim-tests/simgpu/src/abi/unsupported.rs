//! Functions that programs bind to and the simulator does not model: each answers NOT_SUPPORTED.

use crate::core::Code;

export! { runtime TABLE;
    fn cudaGraphAddNode() { Err(Code::NOT_SUPPORTED) }
    fn cudaGraphConditionalHandleCreate() { Err(Code::NOT_SUPPORTED) }
    fn cudaGraphRetainUserObject() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcCloseMemHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcGetEventHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcGetMemHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcOpenEventHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaIpcOpenMemHandle() { Err(Code::NOT_SUPPORTED) }
    fn cudaStreamBeginCaptureToGraph() { Err(Code::NOT_SUPPORTED) }
    fn cudaUserObjectCreate() { Err(Code::NOT_SUPPORTED) }
    fn cudaUserObjectRelease() { Err(Code::NOT_SUPPORTED) }
}
