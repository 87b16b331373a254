// Shapes of the SpMM kernels, and what the host needs to launch them.
#pragma once

#include "api/spmm.h"

namespace warptile::spmm_kernels {

// CSR: a row of C by a group of lanes, each lane a vector of columns.
constexpr int kCsrThreads = 128;
constexpr int kVectorBytes = 16;
constexpr int kNarrowLanes = 8;  // where a warp's tile would be mostly empty
constexpr int kWideLanes = 32;

// Block-sparse: a block row of C times kBlockTileColumns columns by one CTA of 8 x 16 threads.
constexpr int kBlockThreadRows = 8;
constexpr int kBlockThreadColumns = 16;
constexpr int kBlockThreads = kBlockThreadRows * kBlockThreadColumns;
constexpr int kBlockColumnsPerThread = 4;
constexpr int kBlockTileColumns = kBlockThreadColumns * kBlockColumnsPerThread;
constexpr int kBlockTileDepth = 32;

static_assert(kCsrThreads % kWideLanes == 0, "whole warps");
static_assert(kBlockTileDepth <= kBlockThreads, "one thread finds each row of a tile");

Status launch_csr(const SpmmParams& params, const LaunchContext& context);
Status launch_block(const SpmmParams& params, const LaunchContext& context);

}  // namespace warptile::spmm_kernels
