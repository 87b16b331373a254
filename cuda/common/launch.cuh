// The one place that launches kernels: checks the grid, raises the shared-memory limit, returns a Status.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "common/context.h"
#include "common/shared_limit.h"
#include "common/status.h"

namespace warptile {

struct LaunchShape {
  int64_t grid_x = 1, grid_y = 1, grid_z = 1;  // blocks
  int threads = 0;                             // a block
  size_t shared_bytes = 0;                     // dynamic shared memory a block
  int cluster = 1;                             // blocks along x that form a cluster; above 1 needs compute capability 9.0
  // The kernel begins with `follow_previous_kernel` or `await_previous_kernel`, so that its blocks may be placed while the kernel before
  // it ends.
  bool overlaps = false;
};

// Waits until the kernel before this one has ended and its writes are visible. Every thread calls it before it touches global memory.
// The next kernel places its blocks where those of this one have ended (CUDA C++ Programming Guide, "Programmatic Dependent Launch").
__device__ __forceinline__ void await_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// As `await_previous_kernel`, and lets the next kernel place its blocks beside those of this one: for kernels whose blocks are long, not
// for many short ones, among which those of the next kernel crowd on the multiprocessors that have fewest. Since the next kernel is let
// in only here, it overlaps this kernel alone, never an earlier one.
// `alone`: the next kernel waits until all blocks of this one have ended, as after `await_previous_kernel`. Where a multiprocessor has room for
// some of the next kernel's blocks and not for its share, they are placed unevenly, and it takes as long as if all were full.
__device__ __forceinline__ void follow_previous_kernel(bool alone = false) {
  await_previous_kernel();
#if __CUDA_ARCH__ >= 900
  if (!alone) asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Grid limits of every compute capability since 3.0 (CUDA C++ Programming Guide, "Technical Specifications").
constexpr int64_t kMaxGridX = 2147483647;
constexpr int64_t kMaxGridYZ = 65535;
constexpr size_t kDefaultSharedBytes = 48 * 1024;

inline Status describe_launch(const LaunchContext& context, const void* kernel, const LaunchShape& shape) {
  Placement placement{shape.grid_x * shape.grid_y * shape.grid_z, shape.threads, 0};
  WARPTILE_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&placement.resident, kernel, shape.threads, shape.shared_bytes));
  context.placements->push_back(placement);
  return Status::ok();
}

// An empty grid is an empty problem and launches nothing.
template <typename... Params, typename... Args>
Status launch(const LaunchContext& context, void (*kernel)(Params...), const LaunchShape& shape, Args&&... args) {
  if (shape.grid_x == 0 || shape.grid_y == 0 || shape.grid_z == 0) return Status::ok();
  if (shape.grid_x > kMaxGridX || shape.grid_y > kMaxGridYZ || shape.grid_z > kMaxGridYZ) {
    return Status::limit("grid of " + std::to_string(shape.grid_x) + " x " + std::to_string(shape.grid_y) + " x " +
                         std::to_string(shape.grid_z) + " blocks is past the launch limit");
  }
  if (shape.shared_bytes > kDefaultSharedBytes) {
    if (shape.shared_bytes > context.limits->shared_memory_per_block) {
      return Status::limit("kernel needs " + std::to_string(shape.shared_bytes) + " bytes of shared memory, the device has " +
                           std::to_string(context.limits->shared_memory_per_block));
    }
    WARPTILE_RETURN_IF_ERROR(
        raise_shared_limit(reinterpret_cast<const void*>(kernel), context.limits->ordinal, shape.shared_bytes));
  }
  if (context.placements != nullptr) return describe_launch(context, reinterpret_cast<const void*>(kernel), shape);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.grid_x), static_cast<unsigned>(shape.grid_y),
                        static_cast<unsigned>(shape.grid_z));
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = context.stream;
  cudaLaunchAttribute attributes[2]{};
  config.attrs = attributes;
  if (shape.cluster > 1) {
    cudaLaunchAttribute& cluster = attributes[config.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = static_cast<unsigned>(shape.cluster);
    cluster.val.clusterDim.y = 1;
    cluster.val.clusterDim.z = 1;
  }
  if (shape.overlaps && context.limits->runs_hopper_code()) {
    cudaLaunchAttribute& overlap = attributes[config.numAttrs++];
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
  }
  return Status::from_cuda(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...), "cudaLaunchKernelEx");
}

}  // namespace warptile
