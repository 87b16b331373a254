// Fused attention over tiles of queries and keys.      out[i,:] = sum_j softmax_j(scale q[i].k[j]) v[j,:]
// Layout    q, out: [tokens, heads, d];  k, v: [tokens, kv_heads, d];  log_sum_exp: any, kRows consecutive floats a tile
// Tiling    block = kRows queries of one head; it walks the keys that `Keys` lists, kKeys at a time:
//             scores   thread (group g, lane t): rows g*R .. g*R+R-1  x  keys t, t+16, t+32, ...
//             output   the same rows  x  columns t*V .. t*V+V-1, then 16*V further on, ...
// Memory    36-86 KiB shared (q, one buffer for k then v, weights), at most 128 registers a thread: 2 blocks a multiprocessor
// Roofline  4 d flops a visible pair on CUDA cores; not measured
// Numerics  float32 scores, weights and sums in a fixed order; online softmax in base 2, log2(e) folded into the scale;
//           error bound in test/harness/attention-bound.ts
// Requires  d from 1 to kHeadDim; any alignment (16-byte rows are loaded as vectors)
// Source    FlashAttention-2 (arXiv 2307.08691), algorithm 1; here without tensor cores, so that float32 is float32
#pragma once

#include <cstdint>

#include "common/numeric.cuh"
#include "kernels/attention/config.h"

namespace warptile::attention_kernels {

template <typename T>
struct TileArgs {
  const T* q;          // [q tokens, heads, head_dim]
  const T* k;          // [k tokens, kv_heads, head_dim]
  const T* v;          // [k tokens, kv_heads, head_dim]
  T* out;              // [q tokens, heads, head_dim]
  float* log_sum_exp;  // null, or see Keys::log_sum_exp_offset
  int64_t heads;
  int64_t kv_heads;
  uint32_t heads_per_kv;
  int head_dim;
  bool vectorised;    // rows of 4 elements are aligned for one load
  float inner_scale;  // of q.k; then, with a cap, tanh and outer_scale: scores in units of log2
  float outer_scale;  // 0 without a cap
};

// A weight that stands for "hidden": weights are never negative, and a visible one may well be 0 (0 * NaN must stay NaN).
constexpr float kHiddenWeight = -1.0f;

// Four elements of a row of head_dim elements as float32, zeros past its end. `column` is a multiple of 4.
template <typename T>
__device__ __forceinline__ float4 load_four(const T* row, int column, const TileArgs<T>& args) {
  float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (column >= args.head_dim) return value;
  const T* source = row + column;
  if (args.vectorised) {
    const Pack<T, 4> pack = load_pack<T, 4>(source);
    return make_float4(to_float(pack.items[0]), to_float(pack.items[1]), to_float(pack.items[2]),
                       to_float(pack.items[3]));
  }
  const int rest = args.head_dim - column;
  value.x = to_float(source[0]);
  if (rest > 1) value.y = to_float(source[1]);
  if (rest > 2) value.z = to_float(source[2]);
  if (rest > 3) value.w = to_float(source[3]);
  return value;
}

// A score in units of log2 from q.k.
template <typename T>
__device__ __forceinline__ float score_of(float dot, const TileArgs<T>& args) {
  const float score = dot * args.inner_scale;
  return args.outer_scale == 0.0f ? score : args.outer_scale * tanhf(score);
}

// `count` rows of head_dim elements, as float32, into target[kCount][kStride]; zeros around them. row(i) is the address of row i.
template <typename Config, int kCount, typename T, typename Row>
__device__ __forceinline__ void load_rows(float* target, int count, const TileArgs<T>& args, Row&& row) {
  constexpr int kVectors = Config::kHeadDim / 4;
#pragma unroll 2
  for (int index = threadIdx.x; index < kCount * kVectors; index += kThreads) {
    const int i = index / kVectors;
    const int column = index % kVectors * 4;
    float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (i < count) value = load_four(row(i), column, args);
    *reinterpret_cast<float4*>(target + i * Config::kStride + column) = value;
  }
}

// scores[r][n] = q[row r] . k[key n]
template <typename Config>
__device__ __forceinline__ void dot_products(const float* q, const float* k, int head_dim, int group, int lane,
                                             float (&scores)[Config::kRowsPerThread][Config::kKeysPerThread]) {
#pragma unroll
  for (int r = 0; r < Config::kRowsPerThread; ++r) {
#pragma unroll
    for (int n = 0; n < Config::kKeysPerThread; ++n) scores[r][n] = 0.0f;
  }
  const float* q_rows = q + group * Config::kRowsPerThread * Config::kStride;
  const float* k_rows = k + lane * Config::kStride;
#pragma unroll 1
  for (int column = 0; column < head_dim; column += 4) {
    float4 key[Config::kKeysPerThread];
#pragma unroll
    for (int n = 0; n < Config::kKeysPerThread; ++n) {
      key[n] = *reinterpret_cast<const float4*>(k_rows + n * kLanes * Config::kStride + column);
    }
#pragma unroll
    for (int r = 0; r < Config::kRowsPerThread; ++r) {
      const float4 query = *reinterpret_cast<const float4*>(q_rows + r * Config::kStride + column);
#pragma unroll
      for (int n = 0; n < Config::kKeysPerThread; ++n) {
        float sum = scores[r][n];
        sum = fmaf(query.x, key[n].x, sum);
        sum = fmaf(query.y, key[n].y, sum);
        sum = fmaf(query.z, key[n].z, sum);
        scores[r][n] = fmaf(query.w, key[n].w, sum);
      }
    }
  }
}

// sums[r][:] += weights[row r][n] v[n][:] for the first `keys` keys of the tile. kPartial: some weights are kHiddenWeight, and the
// values of those may be anything.
template <typename Config, bool kPartial>
__device__ __forceinline__ void add_weighted_values(
    const float* weights, const float* v, int keys, int group, int lane,
    float (&sums)[Config::kRowsPerThread][Config::kChunks * Config::kVector]) {
  const float* rows = weights + group * Config::kRowsPerThread * Config::kWeightStride;
  const float* columns = v + lane * Config::kVector;
  for (int n = 0; n < keys; n += 4) {
    float weight[Config::kRowsPerThread][4];
#pragma unroll
    for (int r = 0; r < Config::kRowsPerThread; ++r) {
      const float4 pack = *reinterpret_cast<const float4*>(rows + r * Config::kWeightStride + n);
      weight[r][0] = pack.x;
      weight[r][1] = pack.y;
      weight[r][2] = pack.z;
      weight[r][3] = pack.w;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int chunk = 0; chunk < Config::kChunks; ++chunk) {
        const auto value = load_pack<float, Config::kVector>(columns + (n + i) * Config::kStride +
                                                             chunk * kLanes * Config::kVector);
#pragma unroll
        for (int r = 0; r < Config::kRowsPerThread; ++r) {
          if (kPartial && weight[r][i] < 0.0f) continue;
#pragma unroll
          for (int e = 0; e < Config::kVector; ++e) {
            float& sum = sums[r][chunk * Config::kVector + e];
            sum = fmaf(weight[r][i], value.items[e], sum);
          }
        }
      }
    }
  }
}

// One row of the result, the columns that this lane holds.
template <typename Config, typename T>
__device__ __forceinline__ void store_row(T* target, const TileArgs<T>& args, int lane, float sum_of_weights, bool hidden,
                                          const float (&sums)[Config::kChunks * Config::kVector]) {
#pragma unroll
  for (int chunk = 0; chunk < Config::kChunks; ++chunk) {
    const int column = (chunk * kLanes + lane) * Config::kVector;
    Pack<T, Config::kVector> pack;
#pragma unroll
    for (int e = 0; e < Config::kVector; ++e) {
      pack.items[e] = from_float<T>(hidden ? 0.0f : sums[chunk * Config::kVector + e] / sum_of_weights);
    }
    if (args.vectorised) {
      if (column < args.head_dim) store_pack<T, Config::kVector>(target + column, pack);
    } else {
#pragma unroll
      for (int e = 0; e < Config::kVector; ++e) {
        if (column + e < args.head_dim) target[column + e] = pack.items[e];
      }
    }
  }
}

// `Keys` says which queries a block has and which keys they see. Keys are positions in a list; row r of the tile sees the positions
// from first(r) to last(r), both climbing with r, none where first(r) > last(r):
//   int rows()                    queries of this tile, at most kRows; 0 for a block without work
//   int64_t head()
//   int64_t query_token()         of row 0; the others follow
//   int64_t key_token(position)
//   int64_t log_sum_exp_offset()  of row 0; the others follow
//   int64_t first(int row), last(int row)
template <typename Config, typename T, typename Keys>
__global__ void __launch_bounds__(kThreads, 2)
    attention_tile_kernel(const TileArgs<T> args, const typename Keys::Args keys_args) {
  constexpr int kRowsPerThread = Config::kRowsPerThread;
  constexpr int kKeysPerThread = Config::kKeysPerThread;
  constexpr float kNegativeInfinity = -INFINITY;
  extern __shared__ float4 shared_vectors[];
  float* s_q = reinterpret_cast<float*>(shared_vectors);             // [kRows, kStride]
  float* s_kv = s_q + Config::kRows * Config::kStride;               // [kKeys, kStride]
  float* s_weights = s_kv + Config::kKeys * Config::kStride;         // [kRows, kWeightStride]

  const Keys keys(keys_args, blockIdx.x, Config::kRows);
  const int rows = keys.rows();
  if (rows <= 0) return;
  const int lane = threadIdx.x % kLanes;
  const int group = threadIdx.x / kLanes;
  const int64_t head = keys.head();
  const int64_t kv_head = static_cast<uint32_t>(head) / args.heads_per_kv;
  const T* q_first = args.q + (keys.query_token() * args.heads + head) * args.head_dim;
  const int64_t q_stride = args.heads * args.head_dim;
  const T* k_head = args.k + kv_head * args.head_dim;
  const T* v_head = args.v + kv_head * args.head_dim;
  const int64_t kv_stride = args.kv_heads * args.head_dim;

  load_rows<Config, Config::kRows>(s_q, rows, args, [&](int i) { return q_first + i * q_stride; });

  // Of each row: the running maximum (the same in all lanes), this lane's part of the sum of weights, the weighted values.
  float maximum[kRowsPerThread];
  float weight_sum[kRowsPerThread];
  float sums[kRowsPerThread][Config::kChunks * Config::kVector];
#pragma unroll
  for (int r = 0; r < kRowsPerThread; ++r) {
    maximum[r] = kNegativeInfinity;
    weight_sum[r] = 0.0f;
#pragma unroll
    for (int column = 0; column < Config::kChunks * Config::kVector; ++column) sums[r][column] = 0.0f;
  }

  // Rows past the end repeat the last one: their results are not stored, and a tile full for all others stays full.
  const int64_t end = keys.last(rows - 1) + 1;
  const int64_t all_see_from = keys.first(rows - 1);
  const int64_t all_see_to = keys.last(0);
  for (int64_t start = keys.first(0); start < end; start += Config::kKeys) {
    const int count = static_cast<int>(min(static_cast<int64_t>(Config::kKeys), end - start));
    const bool full = start >= all_see_from && start + Config::kKeys - 1 <= all_see_to;

    // All threads have passed the barrier after the previous tile's values: s_kv is free.
    load_rows<Config, Config::kKeys>(s_kv, count, args,
                                     [&](int i) { return k_head + keys.key_token(start + i) * kv_stride; });
    __syncthreads();  // q (at the first tile) and this tile's keys are complete
    float scores[kRowsPerThread][kKeysPerThread];
    dot_products<Config>(s_q, s_kv, args.head_dim, group, lane, scores);

#pragma unroll
    for (int r = 0; r < kRowsPerThread; ++r) {
      const int row = min(group * kRowsPerThread + r, rows - 1);
      // The tile's keys that this row sees: from low to high.
      const int low = full ? 0 : static_cast<int>(max(min(keys.first(row) - start, int64_t{Config::kKeys}), int64_t{0}));
      const int high = full ? Config::kKeys - 1
                            : static_cast<int>(max(min(keys.last(row) - start, int64_t{Config::kKeys - 1}), int64_t{-1}));
      float tile_maximum = kNegativeInfinity;
#pragma unroll
      for (int n = 0; n < kKeysPerThread; ++n) {
        const int key = lane + n * kLanes;
        const float score = score_of(scores[r][n], args);
        scores[r][n] = score;
        if (key >= low && key <= high) tile_maximum = fmaxf(tile_maximum, score);
      }
      const float new_maximum = fmaxf(maximum[r], warp_max<kLanes>(tile_maximum));
      // Where every score so far is -infinity, weights are 0 and not exp2(-infinity + infinity).
      const float shift = new_maximum == kNegativeInfinity ? 0.0f : new_maximum;
      const float rescale = exp2f(maximum[r] - shift);
      maximum[r] = new_maximum;
      float sum = weight_sum[r] * rescale;
      float* weights = s_weights + (group * kRowsPerThread + r) * Config::kWeightStride;
#pragma unroll
      for (int n = 0; n < kKeysPerThread; ++n) {
        const int key = lane + n * kLanes;
        const bool visible = key >= low && key <= high;
        const float weight = visible ? exp2f(scores[r][n] - shift) : kHiddenWeight;
        if (visible) sum += weight;
        weights[key] = weight;
      }
      weight_sum[r] = sum;
#pragma unroll
      for (int column = 0; column < Config::kChunks * Config::kVector; ++column) sums[r][column] *= rescale;
    }
    __syncthreads();  // the keys have been read by all threads; the weights are complete
    load_rows<Config, Config::kKeys>(s_kv, count, args,
                                     [&](int i) { return v_head + keys.key_token(start + i) * kv_stride; });
    __syncthreads();  // this tile's values are complete
    if (full) {
      add_weighted_values<Config, false>(s_weights, s_kv, Config::kKeys, group, lane, sums);
    } else {
      add_weighted_values<Config, true>(s_weights, s_kv, count, group, lane, sums);
    }
    __syncthreads();  // values and weights have been read by all threads
  }

#pragma unroll
  for (int r = 0; r < kRowsPerThread; ++r) {
    const int row = group * kRowsPerThread + r;
    // All lanes of the warp take part, also those of rows past the end.
    const float total = warp_sum<kLanes>(weight_sum[r]);
    if (row >= rows) continue;
    const bool hidden = keys.first(row) > keys.last(row);
    store_row<Config>(args.out + ((keys.query_token() + row) * args.heads + head) * args.head_dim, args, lane, total,
                      hidden, sums[r]);
    if (args.log_sum_exp != nullptr && lane == 0) {
      constexpr float kLn2 = 0.693147180559945309f;
      args.log_sum_exp[keys.log_sum_exp_offset() + row] =
          hidden ? kNegativeInfinity : (maximum[r] + log2f(total)) * kLn2;
    }
  }
}

}  // namespace warptile::attention_kernels
