// Shapes of the SDDMM kernels, and what the host needs to launch them.
#pragma once

#include "api/sddmm.h"
#include "common/vectors.h"

namespace warptile::sddmm_kernels {

// CSR: blocks of 4 warps.
constexpr int kCsrThreads = 128;
constexpr int kVectorBytes = kVectorAlignment;

// Segments: a dot product by a group of lanes, a segment of consecutive stored elements by a warp.
constexpr int kLanes = 8;
constexpr int kSegment = 32;

// Rows and gather: most elements that a group of lanes sums at once; most warps that share a row.
constexpr int kGatherSteps = 8;
constexpr int kMaxSplits = 64;

// Block-sparse: one block by one CTA of 8 x 16 threads.
constexpr int kBlockThreadRows = 8;
constexpr int kBlockThreadColumns = 16;
constexpr int kBlockThreads = kBlockThreadRows * kBlockThreadColumns;
constexpr int kBlockTileDepth = 32;

static_assert(32 % kLanes == 0 && kSegment % (32 / kLanes) == 0, "whole steps of a warp");
static_assert(kBlockThreads % kBlockTileDepth == 0, "whole rows of a tile at a time");

// Rows of A and B can be read `vector` elements at a time.
inline bool takes_vectors(const SddmmParams& p, int vector) {
  return take_vectors({p.a, p.b}, {p.depth, p.lda, p.ldb, p.a_stride, p.b_stride}, vector, dtype_bytes(p.dtype));
}

// False where no kernel was compiled for the plan.
bool has_gather(DType dtype, const SddmmPlan& plan);
bool has_tile(DType dtype, const SddmmPlan& plan);

// Variants kRows and kGather.
template <typename T>
Status launch_gather(const SddmmParams& params, const LaunchContext& context);
template <typename T>
Status launch_tiles(const SddmmParams& params, const LaunchContext& context);
Status launch_staged(const SddmmParams& params, const LaunchContext& context);
template <typename T>
Status launch_warpgroups(const SddmmParams& params, const LaunchContext& context);
Status launch_csr(const SddmmParams& params, const LaunchContext& context);
Status launch_block(const SddmmParams& params, const LaunchContext& context);

}  // namespace warptile::sddmm_kernels
