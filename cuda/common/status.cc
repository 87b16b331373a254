#include "common/status.h"

namespace warptile {
namespace {

// Errors after which the context is unusable (CUDA runtime API, cudaError_t descriptions).
bool is_sticky(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorDevicesUnavailable:
    case cudaErrorContained:
    case cudaErrorExternalDevice:
    case cudaErrorMpsClientTerminated:
      return true;
    default:
      return false;
  }
}

}  // namespace

Status Status::from_cuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  cudaGetLastError();
  std::string message = std::string(what) + ": " + cudaGetErrorName(error) + " (" + cudaGetErrorString(error) + ")";
  if (is_sticky(error)) return {StatusCode::kDeviceLost, std::move(message)};
  if (error == cudaErrorMemoryAllocation) return {StatusCode::kOutOfMemory, std::move(message)};
  return {StatusCode::kCuda, std::move(message)};
}

}  // namespace warptile
