// Chooses the tile for a head dimension and launches it.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/checked.h"
#include "common/launch.cuh"
#include "kernels/attention/tile.cuh"

namespace warptile::attention_kernels {

inline bool is_aligned(const void* pointer, size_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

// P: AttentionParams or SparseAttentionParams.
template <typename T, typename P>
TileArgs<T> tile_args(const P& p) {
  constexpr double kLog2E = 1.44269504088896340736;
  constexpr size_t kVectorBytes = 4 * sizeof(T);
  TileArgs<T> args{};
  args.q = static_cast<const T*>(p.q);
  args.k = static_cast<const T*>(p.k);
  args.v = static_cast<const T*>(p.v);
  args.out = static_cast<T*>(p.out);
  args.log_sum_exp = p.log_sum_exp;
  args.heads = p.heads;
  args.kv_heads = p.kv_heads;
  args.heads_per_kv = static_cast<uint32_t>(p.heads / p.kv_heads);
  args.head_dim = static_cast<int>(p.head_dim);
  args.vectorised = p.head_dim % 4 == 0 && is_aligned(p.q, kVectorBytes) && is_aligned(p.k, kVectorBytes) &&
                    is_aligned(p.v, kVectorBytes) && is_aligned(p.out, kVectorBytes);
  args.inner_scale = static_cast<float>(p.softcap > 0 ? p.scale / p.softcap : p.scale * kLog2E);
  args.outer_scale = static_cast<float>(p.softcap * kLog2E);
  return args;
}

// Calls body with the narrowest padded head dimension that holds head_dim, as an integral_constant.
template <typename Body>
Status with_padded_dim(int64_t head_dim, Body&& body) {
  if (head_dim <= 32) return body(std::integral_constant<int, 32>{});
  if (head_dim <= 64) return body(std::integral_constant<int, 64>{});
  if (head_dim <= 128) return body(std::integral_constant<int, 128>{});
  return body(std::integral_constant<int, 256>{});
}

// Calls body(Tile<...>{}), with few rows where at most kFewRows queries share keys.
template <typename Body>
Status with_tile(int64_t head_dim, int64_t queries, Body&& body) {
  return with_padded_dim(head_dim, [&](auto padded) {
    constexpr int kPaddedDim = decltype(padded)::value;
    if (queries <= kFewRows) return body(Tile<kPaddedDim, kFewRows>{});
    return body(Tile<kPaddedDim, kManyRows<kPaddedDim>>{});
  });
}

}  // namespace warptile::attention_kernels
