// Shapes of the SDDMM kernels, and what the host needs to launch them.
#pragma once

#include "api/sddmm.h"

namespace warptile::sddmm_kernels {

// CSR: a dot product by a group of lanes, a segment of consecutive stored elements by a warp.
constexpr int kCsrThreads = 128;
constexpr int kVectorBytes = 16;
constexpr int kLanes = 8;
constexpr int kSegment = 32;

// Block-sparse: one block by one CTA of 8 x 16 threads.
constexpr int kBlockThreadRows = 8;
constexpr int kBlockThreadColumns = 16;
constexpr int kBlockThreads = kBlockThreadRows * kBlockThreadColumns;
constexpr int kBlockTileDepth = 32;

static_assert(32 % kLanes == 0 && kSegment % (32 / kLanes) == 0, "whole steps of a warp");
static_assert(kBlockThreads % kBlockTileDepth == 0, "whole rows of a tile at a time");

Status launch_csr(const SddmmParams& params, const LaunchContext& context);
Status launch_block(const SddmmParams& params, const LaunchContext& context);

}  // namespace warptile::sddmm_kernels
