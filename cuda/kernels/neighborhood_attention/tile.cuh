// What a block works on: its tile of queries, the box of keys that they see, and rows moved to shared memory.
#pragma once

#include "common/numeric.cuh"
#include "kernels/neighborhood_attention/config.h"
#include "kernels/neighborhood_attention/window.h"

namespace warptile::neighborhood {

// The part of a tile along one axis, in coordinates of its residue class.
struct AxisTile {
  int residue;
  int class_length;
  int first, count;           // queries
  int key_begin, key_extent;  // the union of their windows
};

// `block` counts tiles as Plan describes. count <= 0 where the class ends before the tile.
__device__ __forceinline__ AxisTile axis_tile(int block, int extent, const NeighborhoodAxis& axis) {
  AxisTile tile;
  tile.residue = block % axis.dilation;
  tile.class_length = neighborhood_class_length(tile.residue, axis);
  tile.first = block / axis.dilation * extent;
  tile.count = min(extent, tile.class_length - tile.first);
  if (tile.count > 0) {
    tile.key_begin = neighborhood_window(tile.first, tile.class_length, axis).begin;
    tile.key_extent = neighborhood_window(tile.first + tile.count - 1, tile.class_length, axis).end - tile.key_begin;
  }
  return tile;
}

// Index of the token at a position of the residue classes.
__device__ __forceinline__ int token_at(const int (&position)[kNeighborhoodAxes],
                                        const AxisTile (&tile)[kNeighborhoodAxes],
                                        const NeighborhoodAttentionParams& params) {
  int token = 0;
#pragma unroll
  for (int axis = 0; axis < kNeighborhoodAxes; ++axis) {
    const NeighborhoodAxis& along = params.axes[axis];
    token = token * along.length + position[axis] * along.dilation + tile[axis].residue;
  }
  return token;
}

// Splits `index` into coordinates of a box, the innermost axis fastest; what is left over goes to the outermost axis.
__device__ __forceinline__ void unravel(int index, int height, int width, int (&position)[kNeighborhoodAxes]) {
  position[2] = index % width;
  position[1] = index / width % height;
  position[0] = index / width / height;
}

// Writes the tables of the queries: thread q describes query q of the tile.
template <typename Config>
__device__ __forceinline__ void describe_queries(typename Config::Shared& shared,
                                                 const AxisTile (&tile)[kNeighborhoodAxes], const Plan& plan,
                                                 const NeighborhoodAttentionParams& params) {
  const int query = threadIdx.x;
  if (query >= Config::kQueries) return;
  int position[kNeighborhoodAxes];
  unravel(query, plan.extent[1], plan.extent[2], position);
  const bool exists =
      position[0] < tile[0].count && position[1] < tile[1].count && position[2] < tile[2].count;
#pragma unroll
  for (int axis = 0; axis < kNeighborhoodAxes; ++axis) {
    position[axis] += tile[axis].first;
    NeighborhoodWindow window{0, 0};
    if (exists) window = neighborhood_window(position[axis], tile[axis].class_length, params.axes[axis]);
    shared.window_begin[axis][query] = window.begin;
    shared.window_extent[axis][query] = static_cast<unsigned>(window.end - window.begin);
  }
  shared.query_token[query] = exists ? token_at(position, tile, params) : -1;
}

// Writes the tables of keys first ... first + kKeys - 1 of `count`: of the additional keys, or of the tile's box.
template <typename Config>
__device__ __forceinline__ void describe_keys(typename Config::Shared& shared, bool additional, int first, int count,
                                              const AxisTile (&tile)[kNeighborhoodAxes],
                                              const NeighborhoodAttentionParams& params) {
  const int key = threadIdx.x;
  if (key >= Config::kKeys) return;
  const bool exists = key < count - first;
  int position[kNeighborhoodAxes] = {-1, -1, -1};
  int token = -1;
  if (exists && additional) token = first + key;
  if (exists && !additional) {
    unravel(first + key, tile[1].key_extent, tile[2].key_extent, position);
#pragma unroll
    for (int axis = 0; axis < kNeighborhoodAxes; ++axis) position[axis] += tile[axis].key_begin;
    token = token_at(position, tile, params);
  }
  shared.key_token[key] = token;
#pragma unroll
  for (int axis = 0; axis < kNeighborhoodAxes; ++axis) shared.key_position[axis][key] = position[axis];
}

// True where the query in `row` sees the key in slot `key`.
template <typename Config>
__device__ __forceinline__ bool sees(const typename Config::Shared& shared, int row, int key, bool additional) {
  if (additional) return shared.key_token[key] >= 0;
  bool inside = true;
#pragma unroll
  for (int axis = 0; axis < kNeighborhoodAxes; ++axis) {
    // A position before the window wraps around to a large number, as does the position -1 of no key.
    const unsigned distance = static_cast<unsigned>(shared.key_position[axis][key] - shared.window_begin[axis][row]);
    inside = inside && distance < shared.window_extent[axis][row];
  }
  return inside;
}

// Loads kRowCount rows of head_dim elements as float32, kPack elements an access; token -1 and columns past head_dim
// give zeros. `base` is the row of token 0, `stride` elements lie between tokens.
template <typename T, int kPack, int kDim, int kRowCount, int kRowStride>
__device__ __forceinline__ void load_rows(float* target, const int* tokens, const T* base, int64_t stride,
                                          int head_dim) {
  constexpr int kPacks = kDim / kPack;  // a row
  static_assert(kRowCount * kPacks % kThreads == 0);
#pragma unroll 4
  for (int index = threadIdx.x; index < kRowCount * kPacks; index += kThreads) {
    const int row = index / kPacks;
    const int column = index % kPacks * kPack;
    const int token = tokens[row];
    float* cell = target + row * kRowStride + column;
    Pack<T, kPack> pack{};
    if (token >= 0 && column < head_dim) pack = load_pack<T, kPack>(base + token * stride + column);
    if constexpr (kPack % 4 == 0) {
#pragma unroll
      for (int i = 0; i < kPack; i += 4) {
        *reinterpret_cast<float4*>(cell + i) = make_float4(to_float(pack.items[i]), to_float(pack.items[i + 1]),
                                                           to_float(pack.items[i + 2]), to_float(pack.items[i + 3]));
      }
    } else {
#pragma unroll
      for (int i = 0; i < kPack; ++i) cell[i] = to_float(pack.items[i]);
    }
  }
}

}  // namespace warptile::neighborhood
