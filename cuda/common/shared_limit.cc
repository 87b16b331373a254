#include "common/shared_limit.h"

#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <utility>

namespace warptile {

Status raise_shared_limit(const void* kernel, int device, size_t bytes) {
  // Never destroyed: threads may still launch while the process ends.
  static auto& mutex = *new std::mutex;
  static auto& limits = *new std::map<std::pair<const void*, int>, size_t>;
  const std::lock_guard lock(mutex);
  size_t& limit = limits[{kernel, device}];
  if (bytes <= limit) return Status::ok();
  WARPTILE_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  limit = bytes;
  return Status::ok();
}

}  // namespace warptile
