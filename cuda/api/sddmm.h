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
  kTiles = 3,     // CSR: whole tiles of A B^T, sampled; on the tensor cores where half types are
};

// How lib/ops/sddmm-plan.ts chose to run it; checked again before a launch.
struct SddmmPlan {
  SddmmVariant variant = SddmmVariant::kSegments;
  int vector = 1;        // rows, gather: elements that a lane loads at once, 1 or as many as 16 bytes hold
  int lanes = 8;         // rows, gather: lanes that sum an element
  int splits = 1;        // rows: warps that share a row
  int tile_rows = 0;     // tiles
  int tile_columns = 0;  // tiles
  int walk = 8;          // tiles: lanes that write a row's elements
  bool banded = false;   // tiles: each panel of rows begins at its own first stored column ...
  int column_tiles = 0;  // ... and this many tiles hold what it stores
};

// `batch` independent problems over one pattern; an operand whose stride is 0 is shared by all of them. Strides and leading
// dimensions are in elements.
struct SddmmParams {
  DType dtype = DType::kFloat32;  // of a, b, factors and out; sums are float32
  SparsePattern pattern;          // S, [m, n]
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
