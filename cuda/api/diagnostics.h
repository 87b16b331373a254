// Kernels that compute nothing: for tests of the event loop and of how a fault is reported.
#pragma once

#include <cstdint>

#include "common/context.h"

namespace warptile {

// Keeps the stream busy for a time, on one multiprocessor.
Status spin(int64_t nanoseconds, const LaunchContext& context);

// Faults. The error is sticky: the device is lost to this process once the kernel has run.
Status trap(const LaunchContext& context);

}  // namespace warptile
