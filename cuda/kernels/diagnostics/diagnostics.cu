// Diagnostics: a kernel that takes a given time, one that faults, one that reads.
// Layout    source[bytes] of the read
// Tiling    one thread; the read: 8 blocks a multiprocessor, 4 loads of 16 bytes in flight a thread
// Memory    none
// Roofline  the read's time is what reading costs: the benchmark's ceiling
// Numerics  none
// Requires  the read: 16-byte alignment and whole 16 bytes
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

constexpr int kReadThreads = 256;
constexpr int kReadBlocksPerMultiprocessor = 8;
constexpr int kReadUnroll = 4;

__device__ uint32_t mixed(uint4 word) { return word.x ^ word.y ^ word.z ^ word.w; }

__global__ void diagnostics_read_kernel(const uint4* __restrict__ source, int64_t count, uint32_t* sink) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kReadThreads;
  int64_t i = static_cast<int64_t>(blockIdx.x) * kReadThreads + threadIdx.x;
  uint32_t mix = 0;
  for (; i + (kReadUnroll - 1) * step < count; i += kReadUnroll * step) {
    uint4 words[kReadUnroll];
#pragma unroll
    for (int u = 0; u < kReadUnroll; ++u) words[u] = source[i + u * step];
#pragma unroll
    for (int u = 0; u < kReadUnroll; ++u) mix ^= mixed(words[u]);
  }
  for (; i < count; i += step) mix ^= mixed(source[i]);
  // Which value does not matter, only that the compiler cannot know it.
  if (mix == 0x9e3779b9u) *sink = mix;
}

constexpr LaunchShape kOneThread{1, 1, 1, 1, 0};

}  // namespace

Status spin(int64_t nanoseconds, const LaunchContext& context) {
  return launch(context, diagnostics_spin_kernel, kOneThread, static_cast<uint64_t>(nanoseconds));
}

Status trap(const LaunchContext& context) { return launch(context, diagnostics_trap_kernel, kOneThread); }

Status read(const ReadParams& params, const LaunchContext& context) {
  if (params.bytes == 0) return Status::ok();
  LaunchShape shape;
  shape.grid_x = int64_t{context.limits->multiprocessors} * kReadBlocksPerMultiprocessor;
  shape.threads = kReadThreads;
  return launch(context, diagnostics_read_kernel, shape, static_cast<const uint4*>(params.source), params.bytes / 16,
                params.sink);
}

}  // namespace warptile
