// SpMM on tensor cores over dense tiles, without Hopper's instructions.    C = alpha A B + beta C, A as the non-empty tiles of its panels
// Layout    A: panel_ptr[panels+1], columns[tiles], values[tiles, kM, 64] with swizzled rows;  B [k,n];  C [m,n]
// Tiling    a cluster computes kM rows (a panel) x kN columns; its blocks take equal parts of the panel's tiles ("depth"), and
//           within a block kWarpsK warps take turns at the depth of a tile:
//
//               tiles of the panel   | 0 1 2 | 3 4 5 | 6 7 |      cluster of 3 blocks
//               one tile, depth 64   | 0 | 1 | 2 | 3 |            kWarpsK = 4: 16 each
//
//           kStages tiles of A and their rows of B are in flight (cp.async). At the end every warp leaves its sums in shared memory;
//           each block adds a share of the rows over all warps and, through distributed shared memory, all blocks.
// Memory    shared: the stages (32 x 32: 32 KiB, 64 x 64: 64 KiB, 128 x 128: 96 KiB) or the sums; accumulators 4 to 64 a thread
// Roofline  bytes of the tiles, once for each kN columns, B once a panel from L2; tensor cores above n = 128
// Numerics  products exact, float32 sums by the tensor core (16 at a time), then warps and blocks in a fixed order: bitwise
//           repeatable. The tiles hold zeros where nothing is stored, and 0 x NaN or 0 x Infinity in B is NaN, which no later addition
//           removes: an element whose sum is NaN is computed again from the stored entries alone, so that it is what CSR gives.
//           A sum that is finite or infinite has met no such product.
// Requires  float16 or bfloat16; one set of values; clusters need compute capability 9.0
// Source    tiled product over a blocked operand, as in SMaT and the dense half of Libra; split of the depth over a cluster instead of
//           over a workspace
#pragma once

#include <cooperative_groups.h>

#include <algorithm>
#include <type_traits>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/mma.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/tile_output.cuh"

namespace warptile::spmm_kernels {

template <int kM_, int kN_, int kWarpsM_, int kWarpsN_, int kWarpsK_, int kStages_>
struct TileShape {
  static constexpr int kM = kM_, kN = kN_, kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kWarpsK = kWarpsK_, kStages = kStages_;
  static constexpr int kDepth = kSpmmTileDepth;
  static constexpr int kThreads = kWarpSize * kWarpsM * kWarpsN * kWarpsK;
  static constexpr int kMmaM = kM / kWarpsM / 16, kMmaN = kN / kWarpsN / 8;  // of a warp
  static constexpr int kChunksB = kN / 8;                                   // 16-byte chunks of a row of B
  static constexpr int kStageElements = kM * kDepth + kDepth * kN;
  // Rows of sums 8 floats apart in banks, so that the four lanes groups of a fragment meet different ones.
  static constexpr int kSumStride = kN + 8;
  static constexpr size_t kStageBytes = static_cast<size_t>(kStages) * kStageElements * 2;
  static constexpr size_t kSumBytes = static_cast<size_t>(kWarpsK) * kM * kSumStride * sizeof(float);
  static constexpr size_t kSharedBytes = kStageBytes > kSumBytes ? kStageBytes : kSumBytes;
  static_assert(kDepth / 16 % kWarpsK == 0, "the warps share a tile's depth evenly");
  static_assert(kMmaN % 2 == 0, "B's fragments are loaded in pairs");
  static_assert(kSharedBytes <= kLeastSharedBytes, "lib/ops/spmm-needs.ts counts on it");
  static_assert(kM % kMaxCluster == 0, "the blocks of a cluster share the rows of the result evenly");
};
using SmallTile = TileShape<32, 32, 2, 1, 4, 4>;
using MediumTile = TileShape<64, 64, 2, 2, 2, 4>;
using LargeTile = TileShape<128, 128, 4, 2, 1, 3>;

// What the kernel reads, in the order in which it does: the constants of a fresh launch arrive by cache lines, each a wait.
template <typename T>
struct TileParams {
  const T* tiles;               // [tiles, kM, 64]
  const T* b;                   // [batch, k, n]
  const int32_t* panel_ptr;     // [panels + 1]; null where every tile is stored, `depth` of them a panel
  const int32_t* tile_columns;  // [tiles]
  int64_t ldb;
  int64_t n;
  int32_t depth;  // columns of tiles
  int32_t cluster_log2;
  int32_t columns;  // of A
  int64_t batch;
  int64_t b_stride;
  int64_t c_stride;
  TileOutput<T> out;
};

// Where chunk `chunk` of row `row` lies, such that eight rows at one chunk, and one row at eight chunks, meet all banks.
__device__ __forceinline__ int swizzle_a(int row, int chunk) { return row * kSpmmTileDepth + (chunk ^ (row & 7)) * 8; }
template <int kChunks>
__device__ __forceinline__ int swizzle_b(int row, int chunk) {
  return row * kChunks * 8 + (kChunks >= 8 ? chunk ^ (row & 7) : chunk ^ (row >> 1 & 3)) * 8;
}

// Starts the copies of one tile of A and of its rows of B. Rows past the last of B and columns past n become zero.
template <typename T, typename Shape, bool kVectors>
__device__ __forceinline__ void load_stage(const TileParams<T>& p, const T* b, int64_t tile, int tile_column, int64_t first_column,
                                           T* stage) {
  const T* a = p.tiles + tile * (Shape::kM * Shape::kDepth);
#pragma unroll
  for (int i = threadIdx.x; i < Shape::kM * Shape::kDepth / 8; i += Shape::kThreads) {
    copy_async_16(shared_address(stage + i * 8), a + i * 8, true);
  }
  T* stage_b = stage + Shape::kM * Shape::kDepth;
  const int64_t first_row = static_cast<int64_t>(tile_column) * Shape::kDepth;
#pragma unroll
  for (int i = threadIdx.x; i < Shape::kDepth * Shape::kChunksB; i += Shape::kThreads) {
    const int row = i / Shape::kChunksB;
    const int chunk = i % Shape::kChunksB;
    const int64_t column = first_column + chunk * 8;
    T* target = stage_b + swizzle_b<Shape::kChunksB>(row, chunk);
    const T* source = b + (first_row + row) * p.ldb + column;
    const bool row_inside = first_row + row < p.columns;
    if constexpr (kVectors) {
      const bool inside = row_inside && column < p.n;
      copy_async_16(shared_address(target), inside ? source : b, inside);
    } else {
      Pack<T, 8> pack{};
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        if (row_inside && column + j < p.n) pack.items[j] = source[j];
      }
      store_pack<T, 8>(target, pack);
    }
  }
}

// The products of one stage, of this warp's share of the depth.
template <typename T, typename Shape>
__device__ __forceinline__ void multiply_stage(const T* stage, int warp_m, int warp_n, int warp_k,
                                               float (&sum)[Shape::kMmaM][Shape::kMmaN][4]) {
  const int lane = threadIdx.x % kWarpSize;
  const T* stage_b = stage + Shape::kM * Shape::kDepth;
  constexpr int kSteps = Shape::kDepth / 16 / Shape::kWarpsK;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int depth = (warp_k * kSteps + step) * 16;
    uint32_t a[Shape::kMmaM][4];
#pragma unroll
    for (int i = 0; i < Shape::kMmaM; ++i) {
      const int row = warp_m * (Shape::kM / Shape::kWarpsM) + i * 16 + lane % 16;
      load_matrices(shared_address(stage + swizzle_a(row, depth / 8 + lane / 16)), a[i]);
    }
#pragma unroll
    for (int j = 0; j < Shape::kMmaN; j += 2) {
      const int chunk = warp_n * (Shape::kN / Shape::kWarpsN / 8) + j + lane / 16;
      uint32_t b[4];
      load_matrices_transposed(shared_address(stage_b + swizzle_b<Shape::kChunksB>(depth + lane % 16, chunk)), b);
#pragma unroll
      for (int i = 0; i < Shape::kMmaM; ++i) {
        multiply_add(sum[i][j], a[i], b[0], b[1], T{});
        multiply_add(sum[i][j + 1], a[i], b[2], b[3], T{});
      }
    }
  }
}

// kSimple: one problem.
template <typename T, typename Shape, bool kVectors, bool kCluster, bool kSimple>
__global__ void __launch_bounds__(Shape::kThreads) spmm_tiles_kernel(const TileParams<T> p) {
  extern __shared__ __align__(128) unsigned char shared[];
  follow_previous_kernel();
  T* stages = reinterpret_cast<T*>(shared);
  const int warp = threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize;
  const int warp_n = warp % Shape::kWarpsN;
  const int warp_m = warp / Shape::kWarpsN % Shape::kWarpsM;
  const int warp_k = warp / (Shape::kWarpsN * Shape::kWarpsM);
  const int blocks_log2 = kCluster ? p.cluster_log2 : 0;
  const int blocks = 1 << blocks_log2;
  const int rank = static_cast<int>(blockIdx.x) & (blocks - 1);
  const int64_t first_column = static_cast<int64_t>(blockIdx.x >> blocks_log2) * Shape::kN;
  const int panel = blockIdx.y;
  // Every tile stored: nothing to look up.
  const bool full = p.panel_ptr == nullptr;
  const int64_t panel_first = full ? static_cast<int64_t>(panel) * p.depth : p.panel_ptr[panel];
  const int panel_tiles = full ? p.depth : static_cast<int>(p.panel_ptr[panel + 1] - panel_first);
  const int share = (panel_tiles + blocks - 1) >> blocks_log2;
  const int first = rank * share;
  const int tiles = max(0, min(panel_tiles - first, share));

  const int64_t problems = kSimple ? 1 : p.batch;
  for (int64_t problem = kSimple ? 0 : blockIdx.z; problem < problems; problem += kSimple ? 1 : gridDim.z) {
    const T* b = kSimple ? p.b : p.b + problem * p.b_stride;
    T* c = kSimple ? p.out.c : p.out.c + problem * p.c_stride;
    float sum[Shape::kMmaM][Shape::kMmaN][4] = {};
    const auto load = [&](int step) {
      if (step < tiles) {
        T* stage = stages + step % Shape::kStages * Shape::kStageElements;
        const int64_t tile = panel_first + first + step;
        const int tile_column = full ? first + step : p.tile_columns[tile];
        load_stage<T, Shape, kVectors>(p, b, tile, tile_column, first_column, stage);
      }
      // A group for every step, so that counting groups counts steps.
      commit_copies();
    };
#pragma unroll
    for (int step = 0; step < Shape::kStages - 1; ++step) load(step);
    for (int step = 0; step < tiles; ++step) {
      wait_copies<Shape::kStages - 2>();
      // The copies of all threads have landed, and the stage that the next load overwrites is no longer read.
      __syncthreads();
      load(step + Shape::kStages - 1);
      multiply_stage<T, Shape>(stages + step % Shape::kStages * Shape::kStageElements, warp_m, warp_n, warp_k, sum);
    }
    wait_copies<0>();
    // No stage is read or written any more: their memory takes the sums.
    __syncthreads();
    float* sums = reinterpret_cast<float*>(shared);
#pragma unroll
    for (int i = 0; i < Shape::kMmaM; ++i) {
#pragma unroll
      for (int j = 0; j < Shape::kMmaN; ++j) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = warp_m * (Shape::kM / Shape::kWarpsM) + i * 16 + lane / 4 + half * 8;
          const int column = warp_n * (Shape::kN / Shape::kWarpsN) + j * 8 + lane % 4 * 2;
          float* target = sums + (warp_k * Shape::kM + row) * Shape::kSumStride + column;
          *reinterpret_cast<float2*>(target) = make_float2(sum[i][j][2 * half], sum[i][j][2 * half + 1]);
        }
      }
    }
#if __CUDA_ARCH__ >= 900
    if constexpr (kCluster) cooperative_groups::this_cluster().sync();
    else __syncthreads();
#else
    __syncthreads();
#endif
    const int rows = Shape::kM >> blocks_log2;
    for (int i = threadIdx.x; i < rows * Shape::kN / 4; i += Shape::kThreads) {
      const int row = rank * rows + i / (Shape::kN / 4);
      const int column = i % (Shape::kN / 4) * 4;
      Pack<float, 4> total{};
      // Unrolled, so that several blocks are read at once.
      constexpr int kBlocksAtOnce = kCluster ? 4 : 1;
#pragma unroll kBlocksAtOnce
      for (int block = 0; block < blocks; ++block) {
        const float* source = sums;
#if __CUDA_ARCH__ >= 900
        if constexpr (kCluster) source = cooperative_groups::this_cluster().map_shared_rank(sums, block);
#endif
#pragma unroll
        for (int k = 0; k < Shape::kWarpsK; ++k) {
          const auto part = load_pack<float, 4>(source + (k * Shape::kM + row) * Shape::kSumStride + column);
#pragma unroll
          for (int j = 0; j < 4; ++j) total.items[j] += part.items[j];
        }
      }
      const int64_t target_row = static_cast<int64_t>(panel) * Shape::kM + row;
      const int64_t target_column = first_column + column;
      if (target_row < p.out.rows && target_column < p.n) {
        T* target = c + target_row * p.out.ldc + target_column;
        store_sums<T>(p.out, b + target_column, p.ldb, target, static_cast<int>(target_row), target_column, total);
      }
    }
    // The sums are read, by all blocks of the cluster, before they are overwritten or a block ends.
#if __CUDA_ARCH__ >= 900
    if constexpr (kCluster) cooperative_groups::this_cluster().sync();
    else if constexpr (!kSimple) __syncthreads();
#else
    if constexpr (!kSimple) __syncthreads();
#endif
  }
}

template <typename T, typename Shape, bool kVectors>
Status launch_tile_shape(const SpmmParams& params, const LaunchContext& context) {
  LaunchShape shape;
  shape.cluster = params.plan.cluster;
  shape.overlaps = true;
  shape.grid_x = ceil_div(params.n, Shape::kN) * shape.cluster;
  shape.grid_y = ceil_div(params.pattern.rows, Shape::kM);
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  shape.threads = Shape::kThreads;
  shape.shared_bytes = Shape::kSharedBytes;
  TileParams<T> p{};
  p.tiles = static_cast<const T*>(params.tiles.values);
  p.b = static_cast<const T*>(params.b);
  p.depth = static_cast<int32_t>(ceil_div(params.pattern.columns, Shape::kDepth));
  if (params.tiles.count != shape.grid_y * p.depth) p.panel_ptr = params.tiles.panel_ptr;
  p.tile_columns = params.tiles.columns;
  while (1 << p.cluster_log2 < shape.cluster) ++p.cluster_log2;
  p.columns = static_cast<int32_t>(params.pattern.columns);
  p.ldb = params.ldb;
  p.n = params.n;
  p.batch = params.batch;
  p.b_stride = params.b_stride;
  p.c_stride = params.c_stride;
  p.out = tile_output<T>(params);
  const auto run = [&](auto simple) {
    constexpr bool kSimple = decltype(simple)::value;
    return shape.cluster > 1 ? launch(context, spmm_tiles_kernel<T, Shape, kVectors, true, kSimple>, shape, p)
                             : launch(context, spmm_tiles_kernel<T, Shape, kVectors, false, kSimple>, shape, p);
  };
  if constexpr (kVectors) {
    if (params.batch == 1) return run(std::true_type{});
  }
  return run(std::false_type{});
}

template <typename T>
Status launch_tiles(const SpmmParams& params, const LaunchContext& context) {
  const bool vectors = reads_vectors(params);
  const auto run = [&](auto shape) {
    using Shape = decltype(shape);
    return vectors ? launch_tile_shape<T, Shape, true>(params, context) : launch_tile_shape<T, Shape, false>(params, context);
  };
  if (params.tiles.rows == SmallTile::kM) return run(SmallTile{});
  return params.tiles.rows == MediumTile::kM ? run(MediumTile{}) : run(LargeTile{});
}

}  // namespace warptile::spmm_kernels
