// What every operation of the kernel library is given besides its Params.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/status.h"

namespace warptile {

struct DeviceLimits {
  int ordinal = 0;  // of the device
  int major = 0;
  int minor = 0;
  int multiprocessors = 0;
  size_t shared_memory_per_block = 0;  // bytes, opt-in limit
  size_t l2_bytes = 0;

  // Whether code for sm_90a runs here. Later cards run what is compiled for sm_80, without Hopper's instructions.
  bool runs_hopper_code() const { return major == 9; }
};

// What every card from sm_80 on has of `shared_memory_per_block`: sm_86, sm_89 and sm_120 have no more.
constexpr size_t kLeastSharedBytes = 99 * 1024;

// Scratch memory of one operation call: valid for the work enqueued by that call, freed in stream order.
class Workspace {
 public:
  virtual ~Workspace() = default;
  // 256-byte aligned, uninitialised. Zero bytes give nullptr.
  virtual Status allocate(size_t bytes, void** pointer) = 0;
};

// How the blocks of a kernel fill the multiprocessors.
struct Placement {
  int64_t blocks = 0;  // of the grid
  int threads = 0;     // of a block
  int resident = 0;    // blocks that a multiprocessor holds at once
};

struct LaunchContext {
  cudaStream_t stream = nullptr;
  const DeviceLimits* limits = nullptr;
  Workspace* workspace = nullptr;
  std::vector<Placement>* placements = nullptr;  // where set, kernels are not launched, but described here
};

}  // namespace warptile
