// Launches dense attention for one element type: instantiated once for each in dense_<dtype>.cu.
#pragma once

#include "api/attention.h"
#include "kernels/attention/dense_keys.cuh"
#include "kernels/attention/tile_launch.cuh"

namespace warptile::attention_kernels {

template <typename T>
Status dense_attention(const AttentionParams& p, const LaunchContext& context) {
  return with_tile(p.head_dim, p.seq_q, [&](auto tile) {
    using Config = decltype(tile);
    DenseKeys::Args keys{};
    keys.cumulative_q = p.cumulative_q;
    keys.cumulative_k = p.cumulative_k;
    keys.heads = static_cast<uint32_t>(p.heads);
    keys.seq_q = p.seq_q;
    keys.seq_k = p.seq_k;
    keys.total_q = p.total_q;
    keys.total_k = p.total_k;
    const int64_t tiles = ceil_div(p.seq_q, Config::kRows);
    keys.tiles = static_cast<uint32_t>(tiles);
    keys.left = p.left;
    keys.right = p.right;
    keys.top_left = p.top_left;
    // The x dimension alone: batch * heads would pass the limit of y and z.
    const auto blocks = checked_product({p.batch, p.heads, tiles});
    if (!blocks) return Status::limit("attention: more blocks than 64 bits count");
    LaunchShape shape;
    shape.grid_x = *blocks;
    shape.threads = kThreads;
    shape.shared_bytes = Config::kSharedBytes;
    return launch(context, attention_tile_kernel<Config, T, DenseKeys>, shape, tile_args<T>(p), keys);
  });
}

extern template Status dense_attention<float>(const AttentionParams&, const LaunchContext&);
extern template Status dense_attention<__half>(const AttentionParams&, const LaunchContext&);
extern template Status dense_attention<__nv_bfloat16>(const AttentionParams&, const LaunchContext&);

}  // namespace warptile::attention_kernels
