//! Driver functions that programs look up all at once and the simulator does not model (contexts beside a device's
//! own, linking, virtual memory management, multicast, green contexts, logs): each is there and answers NOT_SUPPORTED.

use crate::core::Code;

export! { driver TABLE;
    fn cuCtxCreate_v2() { Err(Code::NOT_SUPPORTED) }
    fn cuCtxDestroy_v2() { Err(Code::NOT_SUPPORTED) }
    fn cuCtxFromGreenCtx() { Err(Code::NOT_SUPPORTED) }
    fn cuDevResourceGenerateDesc() { Err(Code::NOT_SUPPORTED) }
    fn cuDevSmResourceSplitByCount() { Err(Code::NOT_SUPPORTED) }
    fn cuDeviceGetDevResource() { Err(Code::NOT_SUPPORTED) }
    fn cuGreenCtxCreate() { Err(Code::NOT_SUPPORTED) }
    fn cuGreenCtxDestroy() { Err(Code::NOT_SUPPORTED) }
    fn cuGreenCtxStreamCreate() { Err(Code::NOT_SUPPORTED) }
    fn cuLinkAddFile_v2() { Err(Code::NOT_SUPPORTED) }
    fn cuLinkDestroy() { Err(Code::NOT_SUPPORTED) }
    fn cuLogsRegisterCallback() { Err(Code::NOT_SUPPORTED) }
    fn cuLogsUnregisterCallback() { Err(Code::NOT_SUPPORTED) }
    fn cuMemAddressFree() { Err(Code::NOT_SUPPORTED) }
    fn cuMemAddressReserve() { Err(Code::NOT_SUPPORTED) }
    fn cuMemCreate() { Err(Code::NOT_SUPPORTED) }
    fn cuMemExportToShareableHandle() { Err(Code::NOT_SUPPORTED) }
    fn cuMemGetAllocationGranularity() { Err(Code::NOT_SUPPORTED) }
    fn cuMemGetAllocationPropertiesFromHandle() { Err(Code::NOT_SUPPORTED) }
    fn cuMemImportFromShareableHandle() { Err(Code::NOT_SUPPORTED) }
    fn cuMemMap() { Err(Code::NOT_SUPPORTED) }
    fn cuMemRelease() { Err(Code::NOT_SUPPORTED) }
    fn cuMemRetainAllocationHandle() { Err(Code::NOT_SUPPORTED) }
    fn cuMemSetAccess() { Err(Code::NOT_SUPPORTED) }
    fn cuMemUnmap() { Err(Code::NOT_SUPPORTED) }
    fn cuModuleGetGlobal_v2() { Err(Code::NOT_SUPPORTED) }
    fn cuMulticastAddDevice() { Err(Code::NOT_SUPPORTED) }
    fn cuMulticastBindMem() { Err(Code::NOT_SUPPORTED) }
    fn cuMulticastCreate() { Err(Code::NOT_SUPPORTED) }
    fn cuMulticastUnbind() { Err(Code::NOT_SUPPORTED) }
    fn cuOccupancyMaxPotentialBlockSize() { Err(Code::NOT_SUPPORTED) }
    fn cuStreamWriteValue32() { Err(Code::NOT_SUPPORTED) }
}
