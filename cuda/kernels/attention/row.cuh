// Fused attention of single queries over listed keys.      out[i,:] = sum_j softmax_j(scale q[i].k[j]) v[j,:]
// Layout    q, out: [tokens, heads, d];  k, v: [tokens, kv_heads, d];  log_sum_exp: [batch, heads, seq_q]
// Tiling    warp = one query of one head; it walks its keys 32 at a time:
//             scores   8 lanes a key, 4 keys at once; lane n ends with the score of key n
//             output   lane t: columns t, t+32, t+64, ...; one key after the other
// Memory    no shared memory; the query and the output of a head in registers
// Roofline  2 d elements read for 4 d flops a visible pair, from L2 where queries share keys; not measured
// Numerics  as tile.cuh: float32, online softmax in base 2, fixed order
// Requires  d from 1 to kPaddedDim; any alignment (aligned keys are loaded as vectors)
// Source    FlashAttention-2 (arXiv 2307.08691), algorithm 1
#pragma once

#include <cstdint>

#include "kernels/attention/listed_keys.cuh"
#include "kernels/attention/tile.cuh"

namespace warptile::attention_kernels {

struct RowArgs {
  SparsePattern pattern;
  uint32_t heads;
  uint32_t groups;  // of kRowWarps queries in a sequence
};

template <int kPaddedDim, typename T>
__global__ void __launch_bounds__(kRowWarps* kWarpSize, 4)
    attention_row_kernel(const TileArgs<T> args, const RowArgs row_args) {
  constexpr int kColumns = kPaddedDim / kWarpSize;  // of a lane
  constexpr int kKeyLanes = 8;                      // for one key
  constexpr int kKeysAtOnce = kWarpSize / kKeyLanes;
  constexpr float kNegativeInfinity = -INFINITY;
  const int lane = threadIdx.x % kWarpSize;
  const SparsePattern& pattern = row_args.pattern;
  // Block = (batch entry * heads + head) * groups + group of queries.
  const uint32_t batch_head = blockIdx.x / row_args.groups;
  const uint32_t query = blockIdx.x % row_args.groups * kRowWarps + threadIdx.x / kWarpSize;
  if (query >= pattern.rows) return;  // the whole warp, and there are no barriers
  const int64_t sequence = batch_head / row_args.heads;
  const int64_t head = batch_head % row_args.heads;
  const int64_t kv_head = static_cast<uint32_t>(head) / args.heads_per_kv;
  const int64_t kv_stride = args.kv_heads * args.head_dim;
  const int64_t kv_offset = sequence * pattern.columns * kv_stride + kv_head * args.head_dim;
  const int64_t q_offset = ((sequence * pattern.rows + query) * args.heads + head) * args.head_dim;
  const KeyList keys(pattern, query / static_cast<uint32_t>(pattern.block_rows));
  const int64_t size = keys.size();

  const int key_column = lane % kKeyLanes * 4;
  float4 q[kColumns];
#pragma unroll
  for (int c = 0; c < kColumns; ++c) q[c] = load_four(args.q + q_offset, key_column + c * kWarpSize, args);
  float maximum = kNegativeInfinity;  // the same in all lanes
  float weight_sum = 0.0f;            // this lane's part
  float sums[kColumns] = {};

  for (int64_t start = 0; start < size; start += kWarpSize) {
    const int count = static_cast<int>(min(int64_t{kWarpSize}, size - start));
    const int key = lane < count ? static_cast<int>(keys.key(start + lane)) : 0;
    float own_dot = 0.0f;  // of key `lane`
    for (int step = 0; step * kKeysAtOnce < count; ++step) {
      const int n = step * kKeysAtOnce + lane / kKeyLanes;
      const int64_t token = __shfl_sync(kFullMask, key, n);
      float dot = 0.0f;
      if (n < count) {
        const T* k = args.k + kv_offset + token * kv_stride;
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
          const float4 four = load_four(k, key_column + c * kWarpSize, args);
          dot = fmaf(q[c].x, four.x, dot);
          dot = fmaf(q[c].y, four.y, dot);
          dot = fmaf(q[c].z, four.z, dot);
          dot = fmaf(q[c].w, four.w, dot);
        }
      }
      dot = warp_sum<kKeyLanes>(dot);
      // Lane n takes the sum of key n: at step n / 4 it lies with the lanes of group n % 4.
      const float taken = __shfl_sync(kFullMask, dot, lane % kKeysAtOnce * kKeyLanes);
      if (lane / kKeysAtOnce == step) own_dot = taken;
    }

    const float score = lane < count ? score_of(own_dot, args) : kNegativeInfinity;
    const float new_maximum = fmaxf(maximum, warp_max(score));
    // Where every score so far is -infinity, weights are 0 and not exp2(-infinity + infinity).
    const float shift = new_maximum == kNegativeInfinity ? 0.0f : new_maximum;
    const float rescale = exp2f(maximum - shift);
    const float weight = lane < count ? exp2f(score - shift) : 0.0f;
    maximum = new_maximum;
    weight_sum = weight_sum * rescale + weight;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) sums[c] *= rescale;
    for (int n = 0; n < count; ++n) {
      const float key_weight = __shfl_sync(kFullMask, weight, n);
      const int64_t token = __shfl_sync(kFullMask, key, n);
      const T* v = args.v + kv_offset + token * kv_stride;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int column = lane + c * kWarpSize;
        if (column < args.head_dim) sums[c] = fmaf(key_weight, to_float(v[column]), sums[c]);
      }
    }
  }

  const float total = warp_sum(weight_sum);
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int column = lane + c * kWarpSize;
    if (column < args.head_dim) {
      args.out[q_offset + column] = from_float<T>(size == 0 ? 0.0f : sums[c] / total);
    }
  }
  if (args.log_sum_exp != nullptr && lane == 0) {
    constexpr float kLn2 = 0.693147180559945309f;
    args.log_sum_exp[int64_t{batch_head} * pattern.rows + query] =
        size == 0 ? kNegativeInfinity : (maximum + log2f(total)) * kLn2;
  }
}

}  // namespace warptile::attention_kernels
