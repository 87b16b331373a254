// Tiles of the two kernels, and which of them a factor runs on. Plain C++: no device code.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/checked.h"

namespace warptile::kronecker {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// The tile kernel: 64 batch entries times 16 x kOutputsPerThread outputs, a step of 32 inputs at a time.
struct Tile {
  static constexpr int kBatch = 64;
  static constexpr int kInputs = 32;
  static constexpr int kLanes = 16;  // threads along the outputs, and along the batch
  static constexpr int kBatchPerThread = kBatch / kLanes;
  // Words between the rows of a tile: 16 rows at 2 neighbouring words each lie in 32 different banks.
  static constexpr int kBatchPitch = kBatch + 2;
  static_assert(kLanes * kLanes == kThreads && kBatch % kLanes == 0);
};

// Most neighbouring l that one tile holds, as a power of two. Batch first, they make the contiguous runs that loads and
// stores need; batch last, they only make those of the weights.
constexpr int kMaxLogGroup = 3;
constexpr int kMaxLogGroupBatchLast = 2;
static_assert((1 << kMaxLogGroup) <= Tile::kLanes, "the outputs of a thread share one l");

// Up to this batch a tile would be mostly empty.
constexpr int64_t kMaxDotBatch = 16;

enum class Variant { kTile, kDot };

struct Plan {
  Variant variant = Variant::kTile;
  int log_group = 0;           // l side by side: in a tile, or in a group of lanes
  int log_lanes = 0;           // dot: lanes that share the outputs of one j
  int outputs_per_thread = 1;  // tile: 1, 4 or 8
  int rows_per_thread = 1;     // dot: batch entries, 1 or 4
  int64_t l_tiles = 0;
  int64_t j_tiles = 0;  // tile
  int64_t items = 0;    // tile: tiles, one a block at a time; dot: groups of lanes
};

// The smallest power of two of at least `value`, as its logarithm, at most `limit`.
constexpr int log2_ceil(int64_t value, int limit) {
  int log = 0;
  while (log < limit && (int64_t{1} << log) < value) ++log;
  return log;
}

inline Plan plan_dot(int64_t a, int64_t b, int64_t c, int64_t d, int64_t batch) {
  Plan plan;
  plan.variant = Variant::kDot;
  plan.log_group = log2_ceil(d, 5);
  plan.log_lanes = plan.log_group + log2_ceil(c, 5 - plan.log_group);
  plan.rows_per_thread = batch == 1 ? 1 : 4;
  plan.l_tiles = ceil_div(d, int64_t{1} << plan.log_group);
  plan.items = ceil_div(batch, plan.rows_per_thread) * a * b * plan.l_tiles;
  return plan;
}

inline Plan plan_tile(int64_t a, int64_t b, int64_t d, int64_t batch, bool batch_last) {
  Plan plan;
  plan.variant = Variant::kTile;
  plan.log_group = log2_ceil(d, batch_last ? kMaxLogGroupBatchLast : kMaxLogGroup);
  const int64_t group = int64_t{1} << plan.log_group;
  const auto padded = [&](int outputs_per_thread) {
    const int64_t outputs = Tile::kLanes * outputs_per_thread / group;
    return round_up(b, outputs);
  };
  // Wide tiles reuse what they load more often, which pays for some padding but not for much.
  plan.outputs_per_thread = padded(8) <= padded(4) ? 8 : padded(4) <= 2 * padded(1) ? 4 : 1;
  plan.l_tiles = ceil_div(d, group);
  plan.j_tiles = ceil_div(b, Tile::kLanes * plan.outputs_per_thread / group);
  plan.items = ceil_div(batch, Tile::kBatch) * a * plan.l_tiles * plan.j_tiles;
  return plan;
}

// Sizes of at least 1. A pure function of the problem.
inline Plan select_plan(int64_t a, int64_t b, int64_t c, int64_t d, int64_t batch, bool batch_last) {
  if (batch <= kMaxDotBatch) return plan_dot(a, b, c, d, batch);
  if (!batch_last) {
    // Blocks this small fill neither the outputs nor the inputs of a tile, and lie side by side in memory.
    const int64_t group = std::min<int64_t>(d, int64_t{1} << kMaxLogGroup);
    if (b * group < Tile::kLanes || c * group < 8) return plan_dot(a, b, c, d, batch);
  }
  return plan_tile(a, b, d, batch, batch_last);
}

}  // namespace warptile::kronecker
