// Launches sparse attention for one element type: instantiated once for each in sparse_<dtype>.cu.
#pragma once

#include "api/sparse_attention.h"
#include "kernels/attention/row.cuh"
#include "kernels/attention/tile_launch.cuh"

namespace warptile::attention_kernels {

template <typename T>
Status sparse_attention_rows(const SparseAttentionParams& p, const LaunchContext& context) {
  const int64_t groups = ceil_div(p.pattern.rows, kRowWarps);
  const auto blocks = checked_product({p.batch, p.heads, groups});
  if (!blocks) return Status::limit("sparse attention: more blocks than 64 bits count");
  const RowArgs rows{p.pattern, static_cast<uint32_t>(p.heads), static_cast<uint32_t>(groups)};
  LaunchShape shape;
  shape.grid_x = *blocks;
  shape.threads = kRowWarps * 32;
  return with_padded_dim(p.head_dim, [&](auto padded) {
    return launch(context, attention_row_kernel<decltype(padded)::value, T>, shape, tile_args<T>(p), rows);
  });
}

template <typename T>
Status sparse_attention_tiles(const SparseAttentionParams& p, const LaunchContext& context) {
  return with_tile(p.head_dim, p.pattern.block_rows, [&](auto tile) {
    using Config = decltype(tile);
    BlockRowKeys::Args keys{};
    keys.pattern = p.pattern;
    const int64_t block_rows = ceil_div(p.pattern.rows, p.pattern.block_rows);
    const int64_t tiles = ceil_div(p.pattern.block_rows, Config::kRows);
    keys.heads = static_cast<uint32_t>(p.heads);
    keys.block_rows = static_cast<uint32_t>(block_rows);
    keys.tiles = static_cast<uint32_t>(tiles);
    // The x dimension alone: batch * heads would pass the limit of y and z.
    const auto blocks = checked_product({p.batch, p.heads, block_rows, tiles});
    if (!blocks) return Status::limit("sparse attention: more blocks than 64 bits count");
    LaunchShape shape;
    shape.grid_x = *blocks;
    shape.threads = kThreads;
    shape.shared_bytes = Config::kSharedBytes;
    return launch(context, attention_tile_kernel<Config, T, BlockRowKeys>, shape, tile_args<T>(p), keys);
  });
}

template <typename T>
Status sparse_attention(const SparseAttentionParams& p, const LaunchContext& context) {
  return p.pattern.block_rows <= kMaxWarpBlockRows ? sparse_attention_rows<T>(p, context)
                                                   : sparse_attention_tiles<T>(p, context);
}

extern template Status sparse_attention<float>(const SparseAttentionParams&, const LaunchContext&);
extern template Status sparse_attention<__half>(const SparseAttentionParams&, const LaunchContext&);
extern template Status sparse_attention<__nv_bfloat16>(const SparseAttentionParams&, const LaunchContext&);

}  // namespace warptile::attention_kernels
