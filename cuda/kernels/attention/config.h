// Tile sizes of the attention kernels.
#pragma once

#include <cstddef>

#include "common/context.h"

namespace warptile::attention_kernels {

// A block is 16 groups of 16 lanes; a group owns whole query rows, so a row's maximum and sum need shuffles within half a warp only.
constexpr int kThreads = 256;
constexpr int kLanes = 16;
constexpr int kGroups = kThreads / kLanes;

// Head dimensions are padded with zeros to the next of 32, 64, 128 and 256.
// kRows queries x kKeys keys a tile. Everything in shared memory is float32.
template <int kPaddedDim, int kRowCount>
struct Tile {
  static constexpr int kHeadDim = kPaddedDim;
  static constexpr int kRows = kRowCount;
  static constexpr int kKeys = kPaddedDim <= 128 ? 64 : 32;
  static constexpr int kRowsPerThread = kRows / kGroups;
  static constexpr int kKeysPerThread = kKeys / kLanes;
  // Output columns of a thread: kChunks vectors of kVector, kLanes * kVector columns apart.
  static constexpr int kVector = kPaddedDim >= 64 ? 4 : 2;
  static constexpr int kChunks = kPaddedDim / (kLanes * kVector);
  // Rows 16 bytes longer than a multiple of 128: 8 lanes that read 16 bytes of 8 rows at one column meet 32 distinct banks.
  static constexpr int kStride = kPaddedDim + 4;
  static constexpr int kWeightStride = kKeys + 4;
  // q [kRows, kStride], k or v [kKeys, kStride], weights [kRows, kWeightStride]
  static constexpr size_t kSharedBytes =
      sizeof(float) * (static_cast<size_t>(kRows + kKeys) * kStride + static_cast<size_t>(kRows) * kWeightStride);

  static_assert(kThreads % 32 == 0 && 32 % kLanes == 0, "a row's lanes are in one warp");
  static_assert(kRows % kGroups == 0 && kKeys % kLanes == 0 && kPaddedDim % (kLanes * kVector) == 0);
  static_assert(kSharedBytes <= kLeastSharedBytes);
};

// Warps of a block where each takes one query (row.cuh).
constexpr int kRowWarps = 4;
// Rows of blocks up to this high are left to them: a tile would be mostly idle.
constexpr int kMaxWarpBlockRows = 4;

// Rows of a tile: many queries share the keys in shared memory; few (decoding, small blocks) would leave most rows idle.
constexpr int kFewRows = 16;
template <int kPaddedDim>
constexpr int kManyRows = kPaddedDim <= 128 ? 64 : 32;

}  // namespace warptile::attention_kernels
