// Neighbourhood attention, fused.       out[i,:] = sum_j softmax_j(scale q[i,:] k[j,:]) v[j,:],  j in the window box of i
// Layout    q/out [batch, ...tokens, heads, head_dim];  k/v [batch, ...tokens, kv_heads, head_dim];  3 token axes
// Tiling    block = a box of up to kQueries queries of one residue class, one head of one batch. Along an axis, with
//           window 5 and a tile of 4 queries:
//
//               queries     . . . . Q Q Q Q . . . .
//               keys        . . K K K K K K K K . .     the union of the windows; elements outside a query's own
//                                                       window are masked
//
//           The box of keys is walked in chunks of kKeys through shared memory; the additional keys come first.
//           A thread holds kRows queries x kScores scores, then the same queries x kDim / 8 output columns.
// Memory    sizeof(Tile::Shared): 29, 46, 79, 70 KB for head dims to 32, 64, 128, 256; 124 to 168 registers, no spills
// Roofline  4 head_dim flops a (query, key in the union of its tile) on the FP32 units: compute-bound
// Numerics  float32 accumulators; online softmax in base 2; keys in one fixed order; error bound test/harness/attention-bound.ts
// Requires  what NeighborhoodAxis and Params state; any alignment of elements (16-byte aligned rows load faster)
// Source    Hassani et al., arXiv 2403.04690, section 4 (fused neighbourhood attention); stride: arXiv 2504.16922.
//           Differs: no token permutation, tiles are boxes of a residue class read in place.
#pragma once

#include "common/launch.cuh"
#include "kernels/neighborhood_attention/tile.cuh"

namespace warptile::neighborhood {

template <typename T>
constexpr int kVectorPack = 16 / sizeof(T);

template <typename T, typename Config, int kRowCount, int kRowStride>
__device__ __forceinline__ void load_tile(float* target, const int* tokens, const T* base, int64_t stride, int head_dim,
                                          bool vectorized) {
  if (vectorized) {
    load_rows<T, kVectorPack<T>, Config::kDim, kRowCount, kRowStride>(target, tokens, base, stride, head_dim);
  } else {
    load_rows<T, 1, Config::kDim, kRowCount, kRowStride>(target, tokens, base, stride, head_dim);
  }
}

// Running state of a thread's rows. maximum is the same in the 8 lanes of a row; total holds a lane's own keys.
template <typename Config>
struct RowState {
  float maximum[Config::kRows];
  float total[Config::kRows];
  float4 output[Config::kRows][Config::kColumnPacks];
};

__device__ __forceinline__ float negative_infinity() { return __int_as_float(0xff800000); }

// A maximum of -Infinity, where nothing was seen yet, would make the exponent NaN.
__device__ __forceinline__ float exponent_base(float maximum) {
  return maximum == negative_infinity() ? 0.0f : maximum;
}

// Scores of the chunk in shared.k, and their weights relative to the new maximum into shared.probabilities.
template <typename Config>
__device__ __forceinline__ void weigh_chunk(typename Config::Shared& shared, RowState<Config>& state, bool additional,
                                            int padded_dim, float scale_log2) {
  constexpr int kRows = Config::kRows;
  constexpr int kScores = Config::kScores;
  const int group = threadIdx.x / kGroupLanes;
  const int lane = threadIdx.x % kGroupLanes;
  float score[kRows][kScores] = {};
  for (int column = 0; column < padded_dim; column += 4) {
    float4 q[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      q[i] = *reinterpret_cast<const float4*>(&shared.q[(group + i * kRowGroups) * Config::kRowStride + column]);
    }
#pragma unroll
    for (int j = 0; j < kScores; ++j) {
      const float4 k =
          *reinterpret_cast<const float4*>(&shared.k[(lane + j * kGroupLanes) * Config::kRowStride + column]);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        score[i][j] = fmaf(q[i].x, k.x, score[i][j]);
        score[i][j] = fmaf(q[i].y, k.y, score[i][j]);
        score[i][j] = fmaf(q[i].z, k.z, score[i][j]);
        score[i][j] = fmaf(q[i].w, k.w, score[i][j]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int row = group + i * kRowGroups;
    bool visible[kScores];
    float maximum = negative_infinity();
#pragma unroll
    for (int j = 0; j < kScores; ++j) {
      visible[j] = sees<Config>(shared, row, lane + j * kGroupLanes, additional);
      score[i][j] = visible[j] ? score[i][j] * scale_log2 : negative_infinity();
      maximum = fmaxf(maximum, score[i][j]);  // drops NaN, which the weight below brings back
    }
    maximum = fmaxf(state.maximum[i], warp_max<kGroupLanes>(maximum));
    const float base = exponent_base(maximum);
    const float rescale = exp2f(state.maximum[i] - base);
    state.maximum[i] = maximum;
    state.total[i] *= rescale;
#pragma unroll
    for (int c = 0; c < Config::kColumnPacks; ++c) {
      state.output[i][c].x *= rescale;
      state.output[i][c].y *= rescale;
      state.output[i][c].z *= rescale;
      state.output[i][c].w *= rescale;
    }
#pragma unroll
    for (int j = 0; j < kScores; ++j) {
      const float weight = exp2f(score[i][j] - base);
      if (visible[j]) state.total[i] += weight;
      shared.probabilities[row * Config::kProbabilityStride + lane + j * kGroupLanes] = visible[j] ? weight : -1.0f;
    }
  }
}

// output += probabilities v. A key that a query does not see is skipped, not weighted by 0: its value may be NaN.
template <typename Config>
__device__ __forceinline__ void accumulate_chunk(const typename Config::Shared& shared, RowState<Config>& state) {
  const int group = threadIdx.x / kGroupLanes;
  const int lane = threadIdx.x % kGroupLanes;
#pragma unroll 2
  for (int key = 0; key < Config::kKeys; ++key) {
    float4 v[Config::kColumnPacks];
#pragma unroll
    for (int c = 0; c < Config::kColumnPacks; ++c) {
      v[c] = *reinterpret_cast<const float4*>(&shared.v[key * Config::kDim + (c * kGroupLanes + lane) * 4]);
    }
#pragma unroll
    for (int i = 0; i < Config::kRows; ++i) {
      const float weight = shared.probabilities[(group + i * kRowGroups) * Config::kProbabilityStride + key];
      if (weight < 0.0f) continue;
#pragma unroll
      for (int c = 0; c < Config::kColumnPacks; ++c) {
        float4& output = state.output[i][c];
        output.x = fmaf(weight, v[c].x, output.x);
        output.y = fmaf(weight, v[c].y, output.y);
        output.z = fmaf(weight, v[c].z, output.z);
        output.w = fmaf(weight, v[c].w, output.w);
      }
    }
  }
}

// Normalises and stores a thread's rows. `out_base` is the row of token 0.
template <typename T, typename Config>
__device__ __forceinline__ void store_rows(const typename Config::Shared& shared, const RowState<Config>& state,
                                           T* out_base, int64_t stride, float* log_sum_exp_base, int heads,
                                           int head_dim, bool vectorized) {
  const int group = threadIdx.x / kGroupLanes;
  const int lane = threadIdx.x % kGroupLanes;
#pragma unroll
  for (int i = 0; i < Config::kRows; ++i) {
    // Before any lane leaves: the sum needs the whole warp.
    const float total = warp_sum<kGroupLanes>(state.total[i]);
    const int token = shared.query_token[group + i * kRowGroups];
    if (token < 0) continue;
    // A query sees at least itself, so a total of 0 means that all its scores are -Infinity: the result is 0 / 0.
    if (log_sum_exp_base != nullptr && lane == 0) {
      constexpr float kLn2 = 0.693147180559945309f;
      log_sum_exp_base[static_cast<int64_t>(token) * heads] = (state.maximum[i] + log2f(total)) * kLn2;
    }
    T* target = out_base + token * stride;
#pragma unroll
    for (int c = 0; c < Config::kColumnPacks; ++c) {
      const int column = (c * kGroupLanes + lane) * 4;
      const float4 sum = state.output[i][c];
      Pack<T, 4> pack;
      pack.items[0] = from_float<T>(sum.x / total);
      pack.items[1] = from_float<T>(sum.y / total);
      pack.items[2] = from_float<T>(sum.z / total);
      pack.items[3] = from_float<T>(sum.w / total);
      if (vectorized && column < head_dim) store_pack(target + column, pack);
      if (!vectorized) {
#pragma unroll
        for (int item = 0; item < 4; ++item) {
          if (column + item < head_dim) target[column + item] = pack.items[item];
        }
      }
    }
  }
}

template <typename T, typename Config>
__global__ void __launch_bounds__(kThreads)
    neighborhood_attention_tiled_kernel(const NeighborhoodAttentionParams params, const Plan plan) {
  extern __shared__ uint4 shared_memory[];
  typename Config::Shared& shared = *reinterpret_cast<typename Config::Shared*>(shared_memory);

  const unsigned item_head = blockIdx.x / plan.tiles;
  const int head = static_cast<int>(item_head % params.heads);
  const int64_t item = item_head / params.heads;
  const int kv_head = head / (params.heads / params.kv_heads);
  unsigned block = blockIdx.x % plan.tiles;
  AxisTile tile[kNeighborhoodAxes];
#pragma unroll
  for (int axis = kNeighborhoodAxes - 1; axis >= 0; --axis) {
    tile[axis] = axis_tile(static_cast<int>(block % plan.blocks[axis]), plan.extent[axis], params.axes[axis]);
    block /= plan.blocks[axis];
  }
  // The same in every thread, so no barrier is left waiting.
  if (tile[0].count <= 0 || tile[1].count <= 0 || tile[2].count <= 0) return;

  const int head_dim = params.head_dim;
  const int64_t tokens =
      static_cast<int64_t>(params.axes[0].length) * params.axes[1].length * params.axes[2].length;
  const int64_t q_stride = static_cast<int64_t>(params.heads) * head_dim;
  const int64_t kv_stride = static_cast<int64_t>(params.kv_heads) * head_dim;
  const int64_t q_offset = item * tokens * q_stride + head * static_cast<int64_t>(head_dim);
  const int64_t kv_offset = item * tokens * kv_stride + kv_head * static_cast<int64_t>(head_dim);
  const int64_t additional_offset = item * params.additional * kv_stride + kv_head * static_cast<int64_t>(head_dim);

  describe_queries<Config>(shared, tile, plan, params);
  __syncthreads();  // the query tables are complete
  load_tile<T, Config, Config::kQueries, Config::kRowStride>(
      shared.q, shared.query_token, static_cast<const T*>(params.q) + q_offset, q_stride, head_dim, plan.vectorized);

  RowState<Config> state;
#pragma unroll
  for (int i = 0; i < Config::kRows; ++i) {
    state.maximum[i] = negative_infinity();
    state.total[i] = 0.0f;
#pragma unroll
    for (int c = 0; c < Config::kColumnPacks; ++c) state.output[i][c] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }

  const int padded_dim = (head_dim + 3) / 4 * 4;
  const int box_keys = tile[0].key_extent * tile[1].key_extent * tile[2].key_extent;
  bool additional = params.additional > 0;
  int first = 0;
  while (true) {
    const int count = additional ? params.additional : box_keys;
    describe_keys<Config>(shared, additional, first, count, tile, params);
    __syncthreads();  // the key tables are complete
    const void* keys = additional ? params.additional_keys : params.k;
    const void* values = additional ? params.additional_values : params.v;
    const int64_t offset = additional ? additional_offset : kv_offset;
    load_tile<T, Config, Config::kKeys, Config::kRowStride>(shared.k, shared.key_token,
                                                            static_cast<const T*>(keys) + offset, kv_stride, head_dim,
                                                            plan.vectorized);
    load_tile<T, Config, Config::kKeys, Config::kDim>(shared.v, shared.key_token, static_cast<const T*>(values) + offset,
                                                      kv_stride, head_dim, plan.vectorized);
    __syncthreads();  // k and v are complete, and in the first round q
    weigh_chunk<Config>(shared, state, additional, padded_dim, plan.scale_log2);
    __syncwarp();  // a row's weights are written and read by lanes of one warp
    accumulate_chunk<Config>(shared, state);
    __syncthreads();  // nobody reads the key tables, k or v any more
    // count - first stays positive and first + kKeys only grows where keys are left: no overflow.
    if (count - first > Config::kKeys) {
      first += Config::kKeys;
    } else if (additional) {
      additional = false;
      first = 0;
    } else {
      break;
    }
  }

  float* log_sum_exp = params.log_sum_exp == nullptr ? nullptr : params.log_sum_exp + item * tokens * params.heads + head;
  store_rows<T, Config>(shared, state, static_cast<T*>(params.out) + q_offset, q_stride, log_sum_exp, params.heads,
                        head_dim, plan.vectorized);
}

template <typename T, int kDim>
Status run_tiled(const NeighborhoodAttentionParams& params, const LaunchContext& context) {
  using Config = Tile<kDim>;
  Plan plan;
  WARPTILE_RETURN_IF_ERROR(make_plan(params, Config::kQueries, &plan));
  LaunchShape shape;
  shape.grid_x = params.batch * params.heads;  // tensors of this many rows exist, so the product is far below 2^63
  if (shape.grid_x > kMaxGridX / plan.tiles) {
    return Status::limit("neighborhood_attention: batch x heads x tiles is past the launch limit of 2^31 - 1 blocks");
  }
  shape.grid_x *= plan.tiles;
  shape.threads = kThreads;
  shape.shared_bytes = sizeof(typename Config::Shared);
  return launch(context, neighborhood_attention_tiled_kernel<T, Config>, shape, params, plan);
}

// The smallest tile that holds the head dim.
template <typename T>
Status run(const NeighborhoodAttentionParams& params, const LaunchContext& context) {
  if (params.head_dim <= 32) return run_tiled<T, 32>(params, context);
  if (params.head_dim <= 64) return run_tiled<T, 64>(params, context);
  if (params.head_dim <= 128) return run_tiled<T, 128>(params, context);
  return run_tiled<T, kMaxHeadDim>(params, context);
}

// One translation unit each.
extern template Status run<float>(const NeighborhoodAttentionParams&, const LaunchContext&);
extern template Status run<__half>(const NeighborhoodAttentionParams&, const LaunchContext&);
extern template Status run<__nv_bfloat16>(const NeighborhoodAttentionParams&, const LaunchContext&);

}  // namespace warptile::neighborhood
