// W4A16: tiles, limits and the choice between variants.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/checked.h"

namespace warptile::w4a16 {

// Matches maxSplits of lib/ops/w4a16.ts.
constexpr int kMaxSplits = 64;

// Rows and columns of W: leaves room to step past the end in 32-bit arithmetic.
constexpr int kMaxSide = 1 << 30;

// k is split at multiples of this many stored columns: both variants' step along k divides it.
constexpr int kSplitColumns = 256;

// Few rows: one warp reads kRowsPerWarp rows of W and multiplies each with kTileM rows of x.
struct SmallConfig {
  static constexpr int kWarps = 8;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kMinBlocks = 2;  // a multiprocessor: up to 128 registers a thread, no spills
  static constexpr int kRowsPerWarp = 4;
  static constexpr int kTileN = kWarps * kRowsPerWarp;
  static constexpr int kMaxTileM = 8;
  static constexpr int kStepWords = 128;  // words of a row of W between two loads of x
  static constexpr int kStepColumns = kStepWords * 8;
  // x in shared memory is [row][nibble][word]. Stores of 32 consecutive columns (8 nibbles x 4 words) go to 32 banks
  // because the stride is 4 modulo 32.
  static constexpr int kStride = kStepWords + 4;
  static_assert(kStepWords % 32 == 0, "a step is whole words of every lane");
  static_assert(kMaxTileM * 8 * kStride * 4 <= 48 * 1024, "x fits static shared memory");
};

// Many rows: a kTileM x kTileN tile of y a block, kMicro x kMicro of it a thread.
struct TiledConfig {
  static constexpr int kThreads = 256;
  static constexpr int kTileM = 64;
  static constexpr int kTileN = 64;
  static constexpr int kStepColumns = 64;
  static constexpr int kStepWords = kStepColumns / 8;
  static constexpr int kMinBlocks = 3;  // a multiprocessor: up to 80 registers a thread, no spills
  static constexpr int kMicro = 4;
  // Rows of 64 floats and 4 of padding: 16-byte aligned, and 4 banks further in each row.
  static constexpr int kStride = 64 + 4;
  static_assert(kTileM == 64 && kTileN == 64, "kStride pads both tiles");
  static_assert((kTileM / kMicro) * (kTileN / kMicro) == kThreads, "one micro tile a thread");
  static_assert(kSplitColumns % kStepColumns == 0, "a step lies in one split");
};

// Past this many rows the tiled variant's reuse of W is worth its 64-row tile.
constexpr int64_t kSmallMaxM = 32;

struct Plan {
  bool small = false;
  int tile_m = 0;         // rows of x a block
  int64_t tiles = 0;      // blocks of one split
  int splits = 1;         // 1: blocks write y; more: partial sums and a reduction
  int split_columns = 0;  // stored columns a split, the last may be short
};

// `asked` splits, or with 0 as many as give each multiprocessor `kBlocksPerMultiprocessor` blocks.
inline Plan select(int64_t m, int n, int k, int asked, int multiprocessors) {
  constexpr int64_t kBlocksPerMultiprocessor = 4;
  Plan plan;
  plan.small = m <= kSmallMaxM;
  if (plan.small) {
    plan.tile_m = m >= 5 ? 8 : m >= 3 ? 4 : static_cast<int>(std::max<int64_t>(m, 1));
    plan.tiles = ceil_div(m, plan.tile_m) * ceil_div(n, SmallConfig::kTileN);
  } else {
    plan.tile_m = TiledConfig::kTileM;
    plan.tiles = ceil_div(m, plan.tile_m) * ceil_div(n, TiledConfig::kTileN);
  }
  const int64_t quanta = std::max<int64_t>(ceil_div(k, kSplitColumns), 1);
  int64_t splits = asked;
  if (splits == 0) {
    // Below 2 quanta a split costs more in partial sums than it gains.
    splits = kBlocksPerMultiprocessor * multiprocessors / std::max<int64_t>(plan.tiles, 1);
    splits = std::min({splits, quanta / 2, int64_t{16}});
  }
  splits = std::clamp<int64_t>(splits, 1, std::min<int64_t>(quanta, kMaxSplits));
  const int64_t quanta_each = ceil_div(quanta, splits);
  plan.splits = static_cast<int>(ceil_div(quanta, quanta_each));
  plan.split_columns = static_cast<int>(quanta_each * kSplitColumns);
  return plan;
}

}  // namespace warptile::w4a16
