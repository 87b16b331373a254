// Tiles of the neighbourhood attention kernel, and how a problem is cut into them.
#pragma once

#include <cstddef>

#include "api/neighborhood_attention.h"

namespace warptile::neighborhood {

constexpr int kMaxHeadDim = 256;
constexpr int kThreads = 128;
// Lanes that share the query rows of a row group: they split its keys, and its columns.
constexpr int kGroupLanes = 8;
constexpr int kRowGroups = kThreads / kGroupLanes;

// Tile sizes for head dims up to kDim. Rows are padded by 4 floats, so that the 8 rows that a warp reads at one
// column lie in different banks, and 16-byte accesses stay aligned.
template <int kDim_>
struct Tile {
  static constexpr int kDim = kDim_;
  static constexpr int kQueries = kDim <= 128 ? 64 : 32;
  static constexpr int kKeys = kDim <= 128 ? 32 : 16;
  static constexpr int kRows = kQueries / kRowGroups;              // query rows a thread
  static constexpr int kScores = kKeys / kGroupLanes;              // keys a thread, of each row
  static constexpr int kColumnPacks = kDim / (4 * kGroupLanes);    // float4 output columns a thread
  static constexpr int kRowStride = kDim + 4;                      // floats
  static constexpr int kProbabilityStride = kKeys + 4;             // floats
  static_assert(kQueries % kRowGroups == 0 && kKeys % kGroupLanes == 0 && kKeys % 4 == 0);
  static_assert(kDim % (4 * kGroupLanes) == 0 && kDim <= kMaxHeadDim);
  static_assert(kKeys <= kThreads && kQueries <= kThreads, "one thread fills one entry of each table");

  struct alignas(16) Shared {
    float q[kQueries * kRowStride];
    float k[kKeys * kRowStride];
    float v[kKeys * kDim];
    // Weights of the current keys; negative where the query does not see the key.
    float probabilities[kQueries * kProbabilityStride];
    int window_begin[kNeighborhoodAxes][kQueries];
    unsigned window_extent[kNeighborhoodAxes][kQueries];
    int query_token[kQueries];                   // -1: no query
    int key_position[kNeighborhoodAxes][kKeys];  // -1: no key
    int key_token[kKeys];                        // -1: no key
  };
  static_assert(sizeof(Shared) <= kLeastSharedBytes);
};

// How a launch cuts the tokens: along each axis `blocks` tiles of `extent` queries of one residue class, where block c has
// residue c mod dilation. Unlike in a tiling without dilation, a class' last tiles may be empty.
struct Plan {
  int extent[kNeighborhoodAxes];
  int blocks[kNeighborhoodAxes];
  unsigned tiles;      // product of blocks
  float scale_log2;    // scale * log2(e)
  bool vectorized;     // rows start at 16-byte boundaries and have whole 16-byte packs
};

// Fails where the tiles are more than a grid holds.
Status make_plan(const NeighborhoodAttentionParams& params, int queries, Plan* plan);

}  // namespace warptile::neighborhood
