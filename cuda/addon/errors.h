// C++ exceptions of the addon: turned into JavaScript errors with a `code` at each entry point.
#pragma once

#include "addon/addon_error.h"
#include "common/status.h"

namespace warptile::addon {

inline const char* error_code(StatusCode code) {
  switch (code) {
    case StatusCode::kUnsupported:
      return "ERR_UNSUPPORTED";
    case StatusCode::kLimit:
      return "ERR_LIMIT";
    case StatusCode::kOutOfMemory:
      return "ERR_OUT_OF_MEMORY";
    case StatusCode::kDeviceLost:
      return "ERR_DEVICE_LOST";
    case StatusCode::kInvalidArgument:
      return "ERR_ARGUMENT";
    default:
      return "ERR_CUDA";
  }
}

inline void throw_if_error(const Status& status) {
  if (!status.is_ok()) throw AddonError(error_code(status.code()), status.message());
}

inline void check_cuda(cudaError_t error, const char* what) { throw_if_error(Status::from_cuda(error, what)); }

}  // namespace warptile::addon
