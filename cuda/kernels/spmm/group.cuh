// SpMM, CSR x dense row-major.        C[i,:] = alpha sum_p val[p] B[col[p],:] + beta C[i,:]
// Layout    A: row_ptr[m+1], col/val[nnz];  B [k,n];  C [m,n]
// Tiling    an item is a row, or a segment of a long row. A warp of kLanes x kSplits x kItems lanes takes kItems items; `warps`
//           warps take one item together (then kItems = 1). Entries go in chunks of four, dealt out in turn:
//
//               columns ->     lane 0 | lane 1 | ... | lane kLanes-1     kVector each
//               chunk 0        split 0 of warp 0
//               chunk 1        split 1 of warp 0          then shuffles add the splits, shared memory the warps
//               ...
//
//           The first items of the grid are segments, the long work; their sums go to a workspace and a second kernel adds them.
// Memory    shared: up to 8 warps x 256 floats, 8 KiB, where warps share a row; about 64 registers a thread
// Roofline  nnz (bytes of val + 4) + gathered rows of B + C; bound by L1/L2 (about 11 TB/s gathered on an H200) and, below 4 us, by
//           latency: one chain of row_ptr -> col -> B for each round of chunks
// Numerics  float32 accumulators; splits, warps and segments are added in a fixed order: bitwise repeatable.
//           |error| <= (nnz of the row + 2) 2^-24 sum |a b|, then one rounding to the output
// Requires  vectors: n, ldb, ldc, strides and bases of B and C multiples of 16 bytes, else kVector = 1; col 16-byte aligned
// Source    Gale et al., "Sparse GPU Kernels for Deep Learning" (2020), 1-D tiling; here several warps share a row, entries are
//           dealt out in aligned chunks, and long rows are cut as in RoDe (PPoPP 2024) but for every row past a limit
#pragma once

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"

namespace warptile::spmm_kernels {

// What the kernel reads, and no more: the constants of a fresh launch arrive by cache lines, each a wait at the start. Those that
// only batches and long rows need come last.
template <typename T>
struct GroupParams {
  const int32_t* row_ptr;  // [rows + 1]
  const int32_t* col;      // [stored]
  const T* values;         // [batch, stored]
  const T* b;              // [batch, k, n]
  int32_t rows;
  uint32_t stored;
  uint32_t ldb;           // 32 bits, so that the place of a row of B is one multiplication
  int32_t warps_log2;     // of a row
  int32_t value_vectors;  // values may be loaded kChunk at once
  float alpha;
  float beta;
  int64_t n;
  T* c;  // [batch, m, n]
  int64_t ldc;
  int64_t batch;
  int64_t values_stride;
  int64_t b_stride;
  int64_t c_stride;
  const int32_t* segments;  // [segment_count, 2]: first and past the last entry
  int32_t segment_count;
  int32_t segment_limit;  // most entries of a row that is not long
  float* partial;         // [batch, segment_count, n]
};

// Four consecutive entries of the arrays; those outside of the row are loaded with the others and left out of the sums.
struct Chunk {
  int column[kChunk];
  float value[kChunk];
};

template <typename T>
__device__ __forceinline__ Chunk load_chunk(const GroupParams<T>& p, const T* values, uint32_t at) {
  Chunk chunk;
  if (at + kChunk <= p.stored && p.value_vectors) {
    const auto columns = load_pack<int, kChunk>(p.col + at);
    const auto loaded = load_pack<T, kChunk>(values + at);
#pragma unroll
    for (int u = 0; u < kChunk; ++u) {
      chunk.column[u] = columns.items[u];
      chunk.value[u] = to_float(loaded.items[u]);
    }
  } else {
    // The arrays end inside of this chunk, or the values are misaligned.
#pragma unroll
    for (int u = 0; u < kChunk; ++u) {
      const bool inside = at + u < p.stored;
      chunk.column[u] = inside ? p.col[at + u] : 0;
      chunk.value[u] = inside ? to_float(values[at + u]) : 0.0f;
    }
  }
  return chunk;
}

template <typename T, int kVector>
__device__ __forceinline__ void add_entry(float value, const Pack<T, kVector>& row, float (&sum)[kVector]) {
#pragma unroll
  for (int v = 0; v < kVector; ++v) sum[v] = fmaf(value, to_float(row.items[v]), sum[v]);
}

template <typename T>
__device__ __forceinline__ const T* row_of(const T* b, int column, uint32_t ldb) {
  return b + static_cast<uint64_t>(static_cast<uint32_t>(column)) * ldb;
}

// Adds the entries of the chunk at `at` that lie in [first, last). `b` points at this lane's columns of row 0 of B.
template <typename T, int kVector>
__device__ __forceinline__ void add_chunk(const Chunk& chunk, uint32_t at, uint32_t first, uint32_t last, const T* b, uint32_t ldb,
                                          float (&sum)[kVector]) {
  Pack<T, kVector> rows[kChunk];
  if (at >= first && at + kChunk <= last) {
#pragma unroll
    for (int u = 0; u < kChunk; ++u) rows[u] = load_pack<T, kVector>(row_of(b, chunk.column[u], ldb));
#pragma unroll
    for (int u = 0; u < kChunk; ++u) add_entry<T, kVector>(chunk.value[u], rows[u], sum);
    return;
  }
  // What is not stored must not be read: it may be NaN.
#pragma unroll
  for (int u = 0; u < kChunk; ++u) {
    if (at + u >= first && at + u < last) rows[u] = load_pack<T, kVector>(row_of(b, chunk.column[u], ldb));
  }
#pragma unroll
  for (int u = 0; u < kChunk; ++u) {
    if (at + u >= first && at + u < last) add_entry<T, kVector>(chunk.value[u], rows[u], sum);
  }
}

template <typename T, int kVector>
__device__ __forceinline__ void store_scaled(T* c, const float (&sum)[kVector], float alpha, float beta) {
  Pack<T, kVector> result;
  if (beta == 0) {
#pragma unroll
    for (int v = 0; v < kVector; ++v) result.items[v] = from_float<T>(alpha * sum[v]);
  } else {
    const auto old = load_pack<T, kVector>(c);
#pragma unroll
    for (int v = 0; v < kVector; ++v) result.items[v] = from_float<T>(fmaf(beta, to_float(old.items[v]), alpha * sum[v]));
  }
  store_pack<T, kVector>(c, result);
}

// kSimple: one problem, no long rows, and a grid that holds all column tiles.
template <typename T, int kVector, int kLanes, int kSplits, bool kSimple>
__global__ void __launch_bounds__(kMaxGroupWarps * kWarpSize) spmm_group_kernel(const GroupParams<T> p) {
  constexpr int kItems = kWarpSize / (kLanes * kSplits);
  constexpr int kTile = kLanes * kVector;
  extern __shared__ float warp_sums[];  // [warps of the block, kTile]
  follow_previous_kernel();
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int warps = 1 << p.warps_log2;
  const int part = (warp & (warps - 1)) * kSplits + lane / kLanes % kSplits;
  const int step = warps * kSplits * kChunk;
  const int items_per_block = (blockDim.x / kWarpSize >> p.warps_log2) * kItems;
  // Below 2^31 + 2^31: the grid was checked.
  const uint32_t item = blockIdx.x * items_per_block + (warp >> p.warps_log2) * kItems + lane / (kLanes * kSplits);
  const uint32_t segments = kSimple ? 0 : p.segment_count;
  const bool is_segment = item < segments;
  const uint32_t row = item - segments;
  // Unsigned, so that a step past the last entry of 2^31 - 1 does not wrap around.
  uint32_t first = 0;
  uint32_t last = 0;
  bool stores = part == 0;
  if (is_segment) {
    first = p.segments[2 * item];
    last = p.segments[2 * item + 1];
  } else if (row < static_cast<uint32_t>(p.rows)) {
    first = p.row_ptr[row];
    last = p.row_ptr[row + 1];
    if (segments > 0 && last - first > static_cast<uint32_t>(p.segment_limit)) {
      stores = false;
      last = first;
    }
  } else {
    stores = false;
  }

  // One column tile of one problem. All threads of the block take part.
  const auto run = [&](int64_t problem, int64_t tile) {
    const T* values = kSimple ? p.values : p.values + problem * p.values_stride;
    const int64_t column = tile * kTile + lane % kLanes * kVector;
    // n is a multiple of kVector: a vector that begins inside lies inside. Lanes outside still take part in the shuffles.
    const bool inside = column < p.n;
    const T* b = (kSimple ? p.b : p.b + problem * p.b_stride) + column;
    float sum[kVector] = {};
    uint32_t at = first / kChunk * kChunk + part * kChunk;
    if (inside && at < last) {
      Chunk chunk = load_chunk(p, values, at);
      for (uint32_t next = at + step; next < last; next += step) {
        // Before the rows of B are waited for.
        const Chunk following = load_chunk(p, values, next);
        add_chunk<T, kVector>(chunk, at, first, last, b, p.ldb, sum);
        chunk = following;
        at = next;
      }
      add_chunk<T, kVector>(chunk, at, first, last, b, p.ldb, sum);
    }
    if constexpr (kSplits > 1) {
#pragma unroll
      for (int offset = kLanes; offset < kLanes * kSplits; offset *= 2) {
#pragma unroll
        for (int v = 0; v < kVector; ++v) sum[v] += __shfl_xor_sync(kFullMask, sum[v], offset);
      }
    }
    if (warps > 1) {
      float* mine = warp_sums + warp * kTile + lane % kLanes * kVector;
      if (lane < kLanes) {
#pragma unroll
        for (int v = 0; v < kVector; ++v) mine[v] = sum[v];
      }
      __syncthreads();
      if (stores) {
        for (int other = 1; other < warps; ++other) {
#pragma unroll
          for (int v = 0; v < kVector; ++v) sum[v] += mine[other * kTile + v];
        }
      }
      // The next tile overwrites the sums.
      if constexpr (!kSimple) __syncthreads();
    }
    if (!stores || !inside) return;
    if (is_segment) {
      float* target = p.partial + (problem * p.segment_count + item) * p.n + column;
#pragma unroll
      for (int v = 0; v < kVector; ++v) target[v] = sum[v];
    } else {
      T* c = kSimple ? p.c : p.c + problem * p.c_stride;
      store_scaled<T, kVector>(c + row * p.ldc + column, sum, p.alpha, p.beta);
    }
  };
  if constexpr (kSimple) {
    run(0, blockIdx.y);
  } else {
    // The grid holds at most 65,535 problems and column tiles: the rest follows in these loops.
    for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
      for (int64_t tile = blockIdx.y; tile * kTile < p.n; tile += gridDim.y) run(problem, tile);
    }
  }
}

// Adds the segments of each long row, in order: a thread a column.
template <typename T>
__global__ void __launch_bounds__(kGroupThreads) spmm_add_segments_kernel(const SpmmParams p, const float* __restrict__ partial) {
  follow_previous_kernel();
  const int32_t* long_row = p.segments.data + 2 * p.segments.count + 3 * static_cast<int64_t>(blockIdx.x);
  const int64_t row = long_row[0];
  const int64_t first = long_row[1];
  const int64_t last = long_row[2];
  for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
    for (int64_t tile = blockIdx.y; tile * kGroupThreads < p.n; tile += gridDim.y) {
      const int64_t column = tile * kGroupThreads + threadIdx.x;
      if (column >= p.n) continue;
      const float* source = partial + problem * p.segments.count * p.n + column;
      float sum[1] = {};
#pragma unroll 8
      for (int64_t segment = first; segment < last; ++segment) sum[0] += source[segment * p.n];
      store_scaled<T, 1>(static_cast<T*>(p.c) + problem * p.c_stride + row * p.ldc + column, sum, p.alpha, p.beta);
    }
  }
}

template <typename T, int kVector, int kLanes, int kSplits>
Status launch_group_shape(const SpmmParams& params, const LaunchContext& context, float* partial) {
  constexpr int kItems = kWarpSize / (kLanes * kSplits);
  const int warps = params.plan.warps;
  const int threads = std::max(kGroupThreads, warps * kWarpSize);
  LaunchShape shape;
  shape.overlaps = true;
  shape.threads = threads;
  shape.grid_x = ceil_div(params.segments.count + params.pattern.rows, threads / kWarpSize / warps * kItems);
  shape.grid_y = std::min(ceil_div(params.n, kLanes * kVector), kMaxGridYZ);
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  if (warps > 1) shape.shared_bytes = sizeof(float) * threads / kWarpSize * kLanes * kVector;
  const auto aligned = [](int64_t position) { return position % static_cast<int64_t>(kChunk * sizeof(T)) == 0; };
  GroupParams<T> p{};
  p.row_ptr = params.pattern.row_ptr;
  p.segments = params.segments.data;
  p.rows = static_cast<int32_t>(params.pattern.rows);
  p.segment_count = static_cast<int32_t>(params.segments.count);
  p.segment_limit = static_cast<int32_t>(params.segments.limit);
  p.stored = static_cast<uint32_t>(params.pattern.stored);
  while (1 << p.warps_log2 < warps) ++p.warps_log2;
  p.value_vectors = aligned(static_cast<int64_t>(reinterpret_cast<uintptr_t>(params.values))) &&
                    aligned(params.values_stride * static_cast<int64_t>(sizeof(T)));
  p.col = params.pattern.col;
  p.values = static_cast<const T*>(params.values);
  p.b = static_cast<const T*>(params.b);
  p.ldb = static_cast<uint32_t>(params.ldb);
  p.n = params.n;
  p.c = static_cast<T*>(params.c);
  p.ldc = params.ldc;
  p.alpha = params.alpha;
  p.beta = params.beta;
  p.partial = partial;
  p.batch = params.batch;
  p.values_stride = params.values_stride;
  p.b_stride = params.b_stride;
  p.c_stride = params.c_stride;
  const bool simple = params.batch == 1 && params.segments.count == 0 && shape.grid_y * kLanes * kVector >= params.n;
  return simple ? launch(context, spmm_group_kernel<T, kVector, kLanes, kSplits, true>, shape, p)
                : launch(context, spmm_group_kernel<T, kVector, kLanes, kSplits, false>, shape, p);
}

template <typename T, int kVector, int kLanes>
Status launch_group_splits(const SpmmParams& params, const LaunchContext& context, float* partial) {
  constexpr int kAll = kWarpSize / kLanes;
  constexpr int kFew = kAll >= 4 ? kAll / 4 : 1;
  if constexpr (kLanes <= 2) {
    if (params.plan.splits == 1) return launch_group_shape<T, kVector, kLanes, 1>(params, context, partial);
  }
  return params.plan.splits == kAll ? launch_group_shape<T, kVector, kLanes, kAll>(params, context, partial)
                                    : launch_group_shape<T, kVector, kLanes, kFew>(params, context, partial);
}

template <typename T>
Status launch_group(const SpmmParams& params, const LaunchContext& context) {
  constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));
  constexpr int kNarrow = kVector == 8 ? 1 : 2;  // lanes of an eight-column tile
  const SpmmSegments& segments = params.segments;
  void* partial = nullptr;
  if (segments.count > 0) {
    const auto bytes = checked_product({params.batch, segments.count, params.n, static_cast<int64_t>(sizeof(float))});
    if (!bytes) return Status::limit("spmm: the workspace has more bytes than 64 bits count");
    WARPTILE_RETURN_IF_ERROR(context.workspace->allocate(static_cast<size_t>(*bytes), &partial));
  }
  float* sums = static_cast<float*>(partial);
  const auto run = [&]() -> Status {
    const int lanes = params.plan.lanes;
    if (params.plan.vector == 1) {
      if (lanes == 1) return launch_group_splits<T, 1, 1>(params, context, sums);
      if (lanes == 8) return launch_group_splits<T, 1, 8>(params, context, sums);
      return launch_group_splits<T, 1, 32>(params, context, sums);
    }
    if (lanes == kNarrow) return launch_group_splits<T, kVector, kNarrow>(params, context, sums);
    if constexpr (kVector == 8) {
      if (lanes == 4) return launch_group_splits<T, kVector, 4>(params, context, sums);
    }
    if (lanes == 8) return launch_group_splits<T, kVector, 8>(params, context, sums);
    if (lanes == 16) return launch_group_splits<T, kVector, 16>(params, context, sums);
    return launch_group_splits<T, kVector, 32>(params, context, sums);
  };
  WARPTILE_RETURN_IF_ERROR(run());
  if (segments.count == 0) return Status::ok();
  LaunchShape shape;
  shape.overlaps = true;
  shape.threads = kGroupThreads;
  shape.grid_x = segments.rows;
  shape.grid_y = std::min(ceil_div(params.n, kGroupThreads), kMaxGridYZ);
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  return launch(context, spmm_add_segments_kernel<T>, shape, params, sums);
}

}  // namespace warptile::spmm_kernels
