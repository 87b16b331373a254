// Diagnostics: a kernel that takes a given time, and one that faults.
// Layout    none
// Tiling    one thread
// Memory    none
// Roofline  none
// Numerics  none
// Requires  nothing
// Source    PTX ISA, "Special Registers: %globaltimer" and "Miscellaneous Instructions: trap"

#include "api/diagnostics.h"
#include "common/launch.cuh"

namespace warptile {
namespace {

// Nanoseconds since a fixed time, the same on all multiprocessors. PTX ISA, "Special Registers: %globaltimer".
__device__ uint64_t global_nanoseconds() {
  uint64_t value;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(value));
  return value;
}

__global__ void diagnostics_spin_kernel(uint64_t nanoseconds) {
  const uint64_t start = global_nanoseconds();
  while (global_nanoseconds() - start < nanoseconds) __nanosleep(1000);
}

// Aborts the kernel and raises an interrupt on the host. PTX ISA, "Miscellaneous Instructions: trap".
__global__ void diagnostics_trap_kernel() { asm volatile("trap;"); }

constexpr LaunchShape kOneThread{1, 1, 1, 1, 0};

}  // namespace

Status spin(int64_t nanoseconds, const LaunchContext& context) {
  return launch(context, diagnostics_spin_kernel, kOneThread, static_cast<uint64_t>(nanoseconds));
}

Status trap(const LaunchContext& context) { return launch(context, diagnostics_trap_kernel, kOneThread); }

}  // namespace warptile
