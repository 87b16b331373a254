// Sampled dense times dense: S = alpha factors .* (A B^T) at the stored elements of a pattern.
#pragma once

#include "api/sparse_pattern.h"
#include "common/context.h"
#include "common/dtype.h"

namespace warptile {

enum class SddmmVariant : int {
  kSegments = 0,  // any problem: a few lanes an element, block-sparse masks by blocks
  kRows = 1,      // CSR: warps by rows, several elements in flight a group of lanes
  kGather = 2,    // CSR: as kRows, warps by elements
  kTiles = 3,     // CSR with a tile map: whole tiles of A B^T, sampled; on the tensor cores where half types are
  kStaged = 4,    // CSR with a tile map, float32: stored products of a tile, its rows of A and B in shared memory
  kWarpgroups = 5,  // CSR with a tile map, half types: as kTiles, by warpgroups of Hopper
};

// How lib/ops/sddmm-plan.ts chose to run it; checked again before a launch.
struct SddmmPlan {
  SddmmVariant variant = SddmmVariant::kSegments;
  int vector = 1;        // elements that a lane loads at once, 1 or as many as 16 bytes hold; rows, gather: or 2
  int lanes = 8;         // rows, gather: lanes that sum an element
  int splits = 1;        // rows: warps that share a row
  int tile = 0;          // tiles, staged, warpgroups: rows of a tile
  int bundle = 1;        // rows: so many blocks are launched as one, as SpmmPlan::bundle
  bool alone = false;    // no blocks of the next kernel are placed beside this one's
};

// The tiles in which a CSR pattern stores anything, panel by panel and from left to right; made by lib/formats/tile-map.ts. A tile has
// 32 rows and 64 columns, or 64, 128 or 256 of both. Local indices count a tile's elements in the order of the pattern.
struct SddmmTiles {
  int rows = 0;                       // of a tile; 0 for no map
  int64_t count = 0;                  // tiles, below 2^31
  int every_column = 0;               // tiles of a panel where all are stored, else 0
  const int32_t* table = nullptr;     // [count + 1, 4]: panel, tile in the panel, first entry, first unit; the last row ends both
  const int32_t* shifts = nullptr;    // [count, rows]: of each row, what makes elements of local indices
  const uint16_t* entries = nullptr;  // [stored]: row within the tile x 256 + column
  // [units, 2], up to 4 elements of a row: first local index + elements x 2^16 + row within the tile x 2^24; a byte a column within the
  // tile, where there are fewer the last one again
  const int32_t* units = nullptr;
};

// `batch` independent problems over one pattern; an operand whose stride is 0 is shared by all of them. Strides and leading
// dimensions are in elements.
struct SddmmParams {
  DType dtype = DType::kFloat32;  // of a, b, factors and out; sums are float32
  SparsePattern pattern;          // S, [m, n]
  SddmmTiles tiles;               // of the pattern; of plan.tile rows where the variant needs it
  int64_t depth = 0;              // k, columns of A and B
  int64_t batch = 1;
  const void* a = nullptr;  // [batch, m, k], rows lda apart
  int64_t lda = 0;
  int64_t a_stride = 0;
  const void* b = nullptr;  // [batch, n, k], rows ldb apart
  int64_t ldb = 0;
  int64_t b_stride = 0;
  const void* factors = nullptr;  // [batch, stored, block_rows, block_columns]; null for none; may be out
  int64_t factors_stride = 0;
  void* out = nullptr;  // [batch, stored, block_rows, block_columns]
  int64_t out_stride = 0;
  float alpha = 1;
  SddmmPlan plan;
};

Status sddmm(const SddmmParams& params, const LaunchContext& context);

}  // namespace warptile
