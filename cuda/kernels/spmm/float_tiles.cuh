// SpMM on CUDA cores over dense tiles, float32. C = alpha A B + beta C, A as the non-empty tiles of its panels
// Layout    A: panel_ptr[panels+1], columns[tiles], values[tiles, kM, 64];  B [k,n];  C [m,n]
// Tiling    a cluster computes kM rows (a panel) x kN columns; its blocks take equal parts of the panel's tiles. Within a block, groups of
//           threads hold all kM x kN sums each, 8 x kThreadN a thread, and share the depth of a stage:
//
//               tiles of the panel    | 0 1 2 | 3 4 5 | 6 7 |    cluster of 3 blocks
//               a stage, depth 32     |  0  |  1  |  2  |  3  |  kGroups = 4: 8 each
//
//           A warp is kLanesY x kLanesX threads. kStages stages are in flight (cp.async). Where groups or blocks share a sum, they leave
//           theirs in shared memory, and each block adds a share of the rows, through distributed shared memory. A panel of far more
//           tiles than most comes in parts (SpmmTiles::parts), whose sums go to a workspace and are added by a second kernel.
// Memory    shared: the stages or the sums, 68 to 106 KiB, two blocks a multiprocessor; 128 registers a thread
// Roofline  64 (tiles) kM n multiply-adds at 128 a clock and multiprocessor; a step of 4 columns of A takes 16 loads of 16 bytes for 256
//           of them, half of what shared memory gives. Measured on an H200 (2026-11-21): 64 % of the multiply-adds at 4096^2 x 512, with
//           76 % of the issue slots used and warps ready in the others (dispatch stalls); 43 % at 512^3, where the latency of the
//           first stage and of the sums counts
// Numerics  float32 sums of ascending depth, then groups, blocks and parts in a fixed order: bitwise repeatable. Repair of 0 x NaN and
//           0 x Infinity as in tiles.cuh: an element whose sum is NaN is computed again from the stored entries alone
// Requires  one set of values; clusters need compute capability 9.0
// Source    register-tiled product over a blocked operand; split of the depth over a cluster instead of over a workspace; no paper
#pragma once

#include <cooperative_groups.h>

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/mma.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/add_parts.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/tile_output.cuh"

namespace warptile::spmm_kernels {

constexpr int kFloatTileThreads = 256;

template <int kM_, int kN_, int kDepth_, int kStages_>
struct FloatTileShape {
  static constexpr int kM = kM_, kN = kN_, kDepth = kDepth_, kStages = kStages_;
  static constexpr int kThreads = kFloatTileThreads;
  static constexpr int kThreadM = 8, kThreadN = kM * kN == 1024 ? 4 : 8;
  static constexpr int kGroupThreads = kM / kThreadM * kN / kThreadN;
  static constexpr int kGroups = kThreads / kGroupThreads;
  static constexpr int kLanesX = kN / kThreadN < 8 ? kN / kThreadN : 8, kLanesY = kWarpSize / kLanesX;
  static constexpr int kWarpsX = kN / kThreadN / kLanesX;
  static constexpr int kStagesPerTile = kSpmmTileDepth / kDepth;
  static constexpr int kGroupDepth = kDepth / kGroups;
  static constexpr int kChunksA = kDepth / 4, kChunksB = kN / 4;  // 16-byte chunks of a row of a stage
  static constexpr int kRowsA = kThreads / kChunksA, kRowsB = kThreads / kChunksB;  // that all threads copy at once
  // 4 more: 16-byte loads of one chunk of 8 rows meet all banks.
  static constexpr int kRowStride = kDepth + 4;
  static constexpr int kStageElements = kM * kRowStride + kDepth * kN;
  // 16 more: the two rows and four chunks that a quarter of a warp stores meet all banks.
  static constexpr int kSumStride = kN + 16;
  static constexpr size_t kStageBytes = sizeof(float) * kStages * kStageElements;
  static constexpr size_t kSumBytes = sizeof(float) * kGroups * kM * kSumStride;
  static constexpr size_t kSharedBytes = kStageBytes > kSumBytes ? kStageBytes : kSumBytes;
  static_assert(kDepth % kRowsB == 0 && kM % kRowsA == 0, "even copies");
  static_assert(kGroupThreads % kWarpSize == 0 && kGroupDepth % 4 == 0, "whole warps and chunks");
  static_assert(kM % kMaxCluster == 0, "the blocks of a cluster share the rows of the result evenly");
};

// What the kernel reads, in the order in which it does: the constants of a fresh launch arrive by cache lines, each a wait.
struct FloatTileParams {
  const float* tiles;           // [tiles, kM, 64]
  const float* b;               // [batch, k, n]
  const int32_t* panel_ptr;     // [panels + 1]; null where every tile is stored, `depth` of them a panel
  const int32_t* tile_columns;  // [tiles]
  const int32_t* items;         // SpmmTiles::items; null where an item is a panel
  int64_t ldb;
  int64_t n;
  int32_t depth;  // columns of tiles
  int32_t cluster_log2;
  int32_t rows, columns;  // of A
  TileOutput<float> out;
  int64_t batch;
  int64_t b_stride;
  int64_t c_stride;
  PartSums parts;
};

// Starts the copies of kDepth columns of a tile of A and of kDepth rows of B from `first_row` on, to the stage at `target`. Rows past the
// last of B and columns past n become zero. `a` points at this thread's first chunk of A, `b` at its columns of row 0 of B, of which
// `columns_left` lie before n.
template <typename Shape, bool kVectors>
__device__ __forceinline__ void load_float_stage(const FloatTileParams& p, const float* a, const float* b, int first_row,
                                                 int columns_left, uint32_t target) {
  const uint32_t target_a = target + (threadIdx.x / Shape::kChunksA * Shape::kRowStride + threadIdx.x % Shape::kChunksA * 4) * 4;
#pragma unroll
  for (int i = 0; i < Shape::kM; i += Shape::kRowsA) {
    copy_async_16(target_a + i * Shape::kRowStride * 4, a + i * kSpmmTileDepth, true);
  }
  const int row = first_row + static_cast<int>(threadIdx.x) / Shape::kChunksB;
  const float* source = b + row * p.ldb;
  const uint32_t target_b = target + (Shape::kM * Shape::kRowStride + threadIdx.x * 4) * 4;
#pragma unroll
  for (int i = 0; i < Shape::kDepth; i += Shape::kRowsB, source += Shape::kRowsB * p.ldb) {
    const int left = row + i < p.columns ? columns_left : 0;
    if constexpr (kVectors) {
      copy_async_16(target_b + i * Shape::kN * 4, left > 0 ? source : p.b, left > 0);
    } else {
#pragma unroll 1
      for (int j = 0; j < 4; ++j) copy_async_cached<4>(target_b + (i * Shape::kN + j) * 4, left > j ? source + j : p.b, left > j);
    }
  }
}

// The first of a thread's rows, which are kLanesY apart, and of its columns, which are fours kLanesX fours apart. Neighbouring lanes
// share a chunk of B, and every second pair a chunk of A, so that a load of 16 bytes takes two passes.
template <typename Shape>
__device__ __forceinline__ int2 first_sum() {
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x % Shape::kGroupThreads / kWarpSize;
  const int x = lane / 2 % Shape::kLanesX;
  const int y = lane % 2 + lane / (2 * Shape::kLanesX) * 2;
  return make_int2(warp / Shape::kWarpsX * (Shape::kLanesY * Shape::kThreadM) + y,
                   warp % Shape::kWarpsX * (Shape::kLanesX * Shape::kThreadN) + x * 4);
}

// The products of one stage, of this group's share of the depth.
template <typename Shape>
__device__ __forceinline__ void multiply_float_stage(const float* stage, float (&sum)[Shape::kThreadM][Shape::kThreadN]) {
  constexpr int kChunks = Shape::kThreadN / 4;
  const int2 place = first_sum<Shape>();
  const int depth = static_cast<int>(threadIdx.x) / Shape::kGroupThreads * Shape::kGroupDepth;
  const float* a = stage + place.x * Shape::kRowStride + depth;
  const float* b = stage + Shape::kM * Shape::kRowStride + depth * Shape::kN + place.y;
#pragma unroll
  for (int t = 0; t < Shape::kGroupDepth; t += 4) {
    Pack<float, 4> right[4][kChunks];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
#pragma unroll
      for (int j = 0; j < kChunks; ++j) right[u][j] = load_pack<float, 4>(b + (t + u) * Shape::kN + j * 4 * Shape::kLanesX);
    }
#pragma unroll
    for (int i = 0; i < Shape::kThreadM; ++i) {
      const auto left = load_pack<float, 4>(a + i * Shape::kLanesY * Shape::kRowStride + t);
#pragma unroll
      for (int u = 0; u < 4; ++u) {
#pragma unroll
        for (int j = 0; j < Shape::kThreadN; ++j) sum[i][j] = fmaf(left.items[u], right[u][j / 4].items[j % 4], sum[i][j]);
      }
    }
  }
}

// What a cluster computes: tiles [first, last) of a panel, as one of its parts or, where `part` is -1, whole.
struct FloatTileItem {
  int panel;
  int part;
  int64_t first;
  int tiles;
};

template <typename Shape>
__device__ __forceinline__ FloatTileItem item_of(const FloatTileParams& p) {
  if (p.items != nullptr) {
    const int4 item = reinterpret_cast<const int4*>(p.items)[blockIdx.y];
    // Where the table is not of these tiles, nothing outside of the workspace is written.
    return {item.x, place_of_part(item.w, p.parts.count), item.y, item.z};
  }
  const int panel = static_cast<int>(blockIdx.y);
  if (p.panel_ptr == nullptr) return {panel, -1, static_cast<int64_t>(panel) * p.depth, p.depth};
  const int first = p.panel_ptr[panel];
  return {panel, -1, first, p.panel_ptr[panel + 1] - first};
}

// kVectors: rows of B may be read 16 bytes at once.
template <typename Shape, bool kVectors>
__global__ void __launch_bounds__(kFloatTileThreads, 2) spmm_float_tiles_kernel(const FloatTileParams p) {
  follow_previous_kernel();
  extern __shared__ __align__(128) float stages[];
  const int blocks = 1 << p.cluster_log2;
  const int rank = static_cast<int>(blockIdx.x) & (blocks - 1);
  const auto first_column_of = [&] { return static_cast<int64_t>(blockIdx.x >> p.cluster_log2) * Shape::kN; };

  for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
    float sum[Shape::kThreadM][Shape::kThreadN] = {};
    {
      const FloatTileItem item = item_of<Shape>(p);
      const int share = (item.tiles + blocks - 1) >> p.cluster_log2;
      const int first = rank * share;
      const int steps = max(0, min(item.tiles - first, share)) * Shape::kStagesPerTile;
      const float* a = p.tiles + (item.first + first) * (Shape::kM * kSpmmTileDepth) +
                       threadIdx.x / Shape::kChunksA * kSpmmTileDepth + threadIdx.x % Shape::kChunksA * 4;
      const int32_t* columns = p.panel_ptr == nullptr ? nullptr : p.tile_columns + item.first + first;
      const int64_t column = first_column_of() + threadIdx.x % Shape::kChunksB * 4;
      const float* b = p.b + problem * p.b_stride + column;
      const int columns_left = static_cast<int>(max(int64_t{0}, min(int64_t{4}, p.n - column)));
      // Of the step that is loaded next: read a step ahead, so that its copies need not wait for it.
      int tile_column = columns == nullptr ? first : steps > 0 ? *columns : 0;
      const auto load = [&](int step) {
        if (step < steps) {
          const int inner = step % Shape::kStagesPerTile * Shape::kDepth;
          load_float_stage<Shape, kVectors>(p, a + inner, b, tile_column * kSpmmTileDepth + inner, columns_left,
                                  shared_address(stages + step % Shape::kStages * Shape::kStageElements));
          if ((step + 1) % Shape::kStagesPerTile == 0) {
            a += Shape::kM * kSpmmTileDepth;
            if (columns == nullptr) {
              ++tile_column;
            } else if (step + 1 < steps) {
              tile_column = *++columns;
            }
          }
        }
        // A group for every step, so that counting groups counts steps.
        commit_copies();
      };
#pragma unroll
      for (int step = 0; step < Shape::kStages - 1; ++step) load(step);
      for (int step = 0; step < steps; ++step) {
        wait_copies<Shape::kStages - 2>();
        // The copies of all threads have landed, and the stage that the next load overwrites is no longer read.
        __syncthreads();
        load(step + Shape::kStages - 1);
        multiply_float_stage<Shape>(stages + step % Shape::kStages * Shape::kStageElements, sum);
      }
      wait_copies<0>();
    }

    const FloatTileItem item = item_of<Shape>(p);
    const int panel = item.panel;
    const int part = item.part;
    const int64_t first_column = first_column_of();
    const float* b = p.b + problem * p.b_stride;
    const int2 place = first_sum<Shape>();
    float* c = p.out.c + problem * p.c_stride;
    // No stage is read or written any more: their memory takes the sums.
    __syncthreads();
    const int group = static_cast<int>(threadIdx.x) / Shape::kGroupThreads;
#pragma unroll
    for (int i = 0; i < Shape::kThreadM; ++i) {
#pragma unroll
      for (int j = 0; j < Shape::kThreadN; j += 4) {
        const Pack<float, 4> four{sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]};
        const int row = group * Shape::kM + place.x + i * Shape::kLanesY;
        store_pack<float, 4>(stages + row * Shape::kSumStride + place.y + j * Shape::kLanesX, four);
      }
    }
    const auto sync = [&] {
#if __CUDA_ARCH__ >= 900
      if (blocks > 1) {
        cooperative_groups::this_cluster().sync();
        return;
      }
#endif
      __syncthreads();
    };
    sync();
    const int rows = Shape::kM >> p.cluster_log2;
    for (int i = threadIdx.x; i < rows * Shape::kN / 4; i += Shape::kThreads) {
      const int row = rank * rows + i / Shape::kChunksB;
      const int column = i % Shape::kChunksB * 4;
      Pack<float, 4> total{};
      // Unrolled, so that several blocks are read at once.
#pragma unroll 2
      for (int block = 0; block < blocks; ++block) {
        const float* source = stages;
#if __CUDA_ARCH__ >= 900
        if (blocks > 1) source = cooperative_groups::this_cluster().map_shared_rank(stages, block);
#endif
#pragma unroll
        for (int k = 0; k < Shape::kGroups; ++k) {
          const auto four = load_pack<float, 4>(source + (k * Shape::kM + row) * Shape::kSumStride + column);
#pragma unroll
          for (int j = 0; j < 4; ++j) total.items[j] += four.items[j];
        }
      }
      const int64_t target_row = static_cast<int64_t>(panel) * Shape::kM + row;
      const int64_t target_column = first_column + column;
      if (target_row >= p.rows || target_column >= p.n) continue;
      if (part < 0) {
        float* target = c + target_row * p.out.ldc + target_column;
        store_sums<float>(p.out, b + target_column, p.ldb, target, static_cast<int>(target_row), target_column, total);
      } else {
        const int64_t place = (problem * p.parts.count + part) * Shape::kM + row;
        store_pack<float, 4>(p.parts.data + place * p.parts.pitch + target_column, total);
      }
    }
    // The sums are read, by all blocks of the cluster, before they are overwritten or a block ends.
    sync();
  }
}

}  // namespace warptile::spmm_kernels
