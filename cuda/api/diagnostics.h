// Kernels that compute nothing: for tests of the event loop and of how a fault is reported, and for the benchmark to
// measure the rate of reading and to empty the L2 cache.
#pragma once

#include <cstdint>

#include "common/context.h"

namespace warptile {

// Keeps the stream busy for a time, on one multiprocessor.
Status spin(int64_t nanoseconds, const LaunchContext& context);

// Faults. The error is sticky: the device is lost to this process once the kernel has run.
Status trap(const LaunchContext& context);

// Reads memory once, as fast as it comes. What the bytes are decides whether `sink` is written, so that no read is left out.
struct ReadParams {
  const void* source = nullptr;  // [bytes], 16-byte aligned
  int64_t bytes = 0;             // a multiple of 16
  uint32_t* sink = nullptr;      // [1]
};
Status read(const ReadParams& params, const LaunchContext& context);

}  // namespace warptile
