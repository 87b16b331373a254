// Shapes of the SpMM kernels, and what the host needs to launch them.
#pragma once

#include "api/spmm.h"
#include "common/checked.h"
#include "common/vectors.h"

namespace warptile::spmm_kernels {

// CSR: a row of C by a group of lanes, each lane a vector of columns.
constexpr int kCsrThreads = 128;
constexpr int kVectorBytes = 16;
constexpr int kNarrowLanes = 8;  // where a warp's tile would be mostly empty
constexpr int kWideLanes = 32;

// Row groups: as many warps a block, more where a row takes more.
constexpr int kGroupWarpsLog2 = 2;
constexpr int kMaxGroupWarps = 8;  // a row
constexpr int kChunk = 4;          // entries whose columns are loaded at once, and whose rows of B are in flight together

// Bundles of blocks: what a block can have, on every card.
constexpr int kMaxBundleThreads = 1024;

// Bins: 8 warps a block, which share an item, take one each, or several each.
constexpr int kBinWarps = 8;
constexpr int kBinThreads = 32 * kBinWarps;
constexpr int kBinSplits = 4;
constexpr int kBinBlocks = 4;  // of a multiprocessor at least: what is gathered has a long way
constexpr int kBinFill = 7;    // times that the warps fill the device before one takes several items in turn
constexpr int kBinRounds = 6;

// Stream: a stretch of entries by a group of lanes, wherever rows end; one column: four entries a thread of a block.
constexpr int kStreamLanes = 8;
constexpr int kStreamWarps = 4;
constexpr int kStreamThreads = 32 * kStreamWarps;
constexpr int kColumnThreads = 256;
constexpr int kColumnBlocks = 8;  // of a multiprocessor at least
constexpr int kColumnEntries = kChunk * kColumnThreads;
constexpr int kFewRows = 32;  // of a block, a warp each

// Tiles: blocks of a cluster (the largest portable size), and the panels that a grid holds.
constexpr int kMaxCluster = 8;
constexpr int64_t kMostItems = 65535;

// Strips: warps of a block, which share strips or take one each.
constexpr int kStripWarps = 8;
constexpr int kStripThreads = 32 * kStripWarps;

// Block-sparse: a block row of C times kBlockTileColumns columns by one CTA of 8 x 16 threads.
constexpr int kBlockThreadRows = 8;
constexpr int kBlockThreadColumns = 16;
constexpr int kBlockThreads = kBlockThreadRows * kBlockThreadColumns;
constexpr int kBlockColumnsPerThread = 4;
constexpr int kBlockTileColumns = kBlockThreadColumns * kBlockColumnsPerThread;
constexpr int kBlockTileDepth = 32;

static_assert(kCsrThreads % kWideLanes == 0, "whole warps");
static_assert(kBlockTileDepth <= kBlockThreads, "one thread finds each row of a tile");

// Columns of B that may be read: of whole vectors, where it is a copy.
inline int64_t readable_columns(const SpmmParams& p) {
  return p.padded ? round_up(p.n, whole_vector(dtype_bytes(p.dtype))) : p.n;
}

// Whether rows of B may be read `vector` elements at a time.
inline bool reads_vectors(const SpmmParams& p, int vector) {
  return take_vectors({p.b}, {readable_columns(p), p.ldb, p.b_stride}, vector, dtype_bytes(p.dtype));
}

// Whether rows of C may be written so.
inline bool writes_vectors(const SpmmParams& p, int vector) {
  return take_vectors({p.c}, {p.n, p.ldc, p.c_stride}, vector, dtype_bytes(p.dtype));
}

// 16 bytes at a time.
inline bool reads_vectors(const SpmmParams& p) { return reads_vectors(p, whole_vector(dtype_bytes(p.dtype))); }
inline bool writes_vectors(const SpmmParams& p) { return writes_vectors(p, whole_vector(dtype_bytes(p.dtype))); }

// False where no kernel was compiled for the plan.
bool has_columns(DType dtype, const SpmmPlan& plan);
bool has_group(DType dtype, const SpmmPlan& plan);
bool has_bins(DType dtype, const SpmmPlan& plan);
bool has_stream(DType dtype, const SpmmPlan& plan);
bool has_tiles(const SpmmPlan& plan, int tile_rows);
bool has_panel(const SpmmPlan& plan);
bool has_float_tiles(const SpmmPlan& plan, int tile_rows);
bool has_strips(const SpmmPlan& plan, int strip_rows);

template <typename T>
Status launch_group(const SpmmParams& params, const LaunchContext& context);
template <typename T>
Status launch_hopper_tiles(const SpmmParams& params, const LaunchContext& context);
template <typename T>
Status launch_bins(const SpmmParams& params, const LaunchContext& context);
template <typename T>
Status launch_stream(const SpmmParams& params, const LaunchContext& context);
template <typename T>
Status launch_stream_column(const SpmmParams& params, const LaunchContext& context);
template <typename T>
Status launch_tiles(const SpmmParams& params, const LaunchContext& context);
Status launch_float_tiles(const SpmmParams& params, const LaunchContext& context);
Status launch_strips(const SpmmParams& params, const LaunchContext& context);
Status launch_panel(const SpmmParams& params, const LaunchContext& context);
Status launch_csr(const SpmmParams& params, const LaunchContext& context);
Status launch_block(const SpmmParams& params, const LaunchContext& context);

}  // namespace warptile::spmm_kernels
