// SpMM on Hopper's tensor cores over dense tiles.        C = alpha A B + beta C, A as the non-empty tiles of its panels
// Layout    A: items[items, 4], columns[tiles], values[tiles, kM, 64] with swizzled rows;  B [k,n];  C [m,n]
// Tiling    a cluster takes an item (the tiles of a panel of kM rows, or a part of a panel that has far more than others) x kN columns;
//           its blocks take equal parts of the item's tiles. A block is kM / 64 warpgroups that multiply and warps that copy:
//
//               copies     | tile 0, rows of B | tile 1, rows of B | ...        a ring of `stages` stages, each a barrier for "full"
//               multiplies     | wgmma m64 nkN k16, 4 times | ...               and one for "empty"
//
//           A block's sums leave from registers. The blocks of a cluster send each other theirs (copies between shared memories), a
//           share of the rows to each; as a cluster of one goes a block where rows of C begin or end between multiples of 16 bytes.
//           Parts of a panel go to a workspace, and a second kernel adds them.
// Memory    shared: `stages` times 64 (kM + kN) elements (64 x 64: 16 KiB, 128 x 256: 48 KiB), and sums where there is a cluster;
//           accumulators kN / 2 a thread
// Roofline  bytes of the tiles, once for each kN columns, B once a panel from L2; tensor cores for wide B: 4096 x 4096, all tiles
//           stored, n = 512 in 22.5 us, 760 TFLOP/s of the dense product, as cuBLAS; 512 x 512, n = 32 in 2.0 us (H200, 2026-11-21)
// Numerics  products exact, float32 sums by the tensor core (16 at a time), then blocks and parts in a fixed order: bitwise
//           repeatable. The tiles hold zeros where nothing is stored, and 0 x NaN or 0 x Infinity in B is NaN, which no later addition
//           removes: elements whose sum is NaN (and seven beside them) are computed again from the stored entries alone.
// Requires  float16 or bfloat16; one set of values; compute capability 9.0; rows of B at multiples of 16 bytes; at most 65535 items
//           and problems
// Source    tiled product over a blocked operand, as in SMaT and the dense half of Libra; pipeline as PTX ISA and the CUDA C++
//           Programming Guide describe it
#pragma once

#include <algorithm>

#include "common/checked.h"
#include "common/hopper.cuh"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "common/tensor_map.h"
#include "kernels/spmm/add_parts.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/tile_output.cuh"
#include "kernels/spmm/tiles_hopper_stages.cuh"
#include "kernels/spmm/tiles_hopper_sums.cuh"

namespace warptile::spmm_kernels {

template <typename T, typename Shape, bool kCluster>
__global__ void __launch_bounds__(Shape::kThreads, kCluster && Shape::kBlocks > 3 ? 3 : Shape::kBlocks)
    spmm_tiles_hopper_kernel(const __grid_constant__ CUtensorMap b_map, const __grid_constant__ HopperTileParams<T> p) {
#ifdef WARPTILE_HOPPER
  // Swizzled rows count from multiples of 1024 bytes.
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t stages = shared_address(shared);
  const uint32_t barriers = stages + p.barriers_offset;      // of each stage: full, empty
  const uint32_t sums_barrier = barriers + 16 * p.stages;    // the other blocks' sums have come
  const int warp = __shfl_sync(kFullMask, static_cast<int>(threadIdx.x) / kWarpSize, 0);
  const int writer = warp - 4 * Shape::kGroups;
  if (threadIdx.x == 4 * Shape::kGroups * kWarpSize) {
    prefetch_map(&b_map);
    for (int stage = 0; stage < p.stages; ++stage) {
      init_barrier(barriers + 16 * stage, 1);
      init_barrier(barriers + 16 * stage + 8, 4 * Shape::kGroups);
    }
    if constexpr (kCluster) {
      init_barrier(sums_barrier, 1);
      arrive_expecting(sums_barrier, Shape::kSumBytes - (Shape::kSumBytes >> p.cluster_log2));
    }
    fence_barrier_init();
  }
  // The barriers are ready; so is this block, to be sent sums.
  __syncthreads();
  if constexpr (kCluster) arrive_cluster();
  const int rank = kCluster ? static_cast<int>(blockIdx.x) & ((1 << p.cluster_log2) - 1) : 0;
  const int first_column = static_cast<int>(blockIdx.x >> (kCluster ? p.cluster_log2 : 0)) * Shape::kN;
  const int problem = blockIdx.z;
  const TileWork work = find_work(p, blockIdx.y, rank);
  if (writer >= 0) {
    const int writers = min(Shape::kWriters, p.stages);
    if (writer < writers) {
      copy_tiles<T, Shape>(p, &b_map, work, writer, writers, first_column, p.b_stride == 0 ? 0 : problem, stages, barriers);
      __syncwarp();
    } else {
      follow_previous_kernel();
    }
    if constexpr (kCluster) wait_cluster();
  } else {
    follow_previous_kernel();
    float sum[Shape::kN / 2] = {};
    multiply_tiles<T, Shape>(p.stages, work.tiles, stages, barriers, warp / 4, sum);
    if constexpr (kCluster) {
      send_sums<T, Shape>(p, sum, rank, shared, sums_barrier);
    } else if (work.place >= 0) {
      const int64_t place = problem * p.problem_parts + work.place;
      float* parts = p.parts + place * Shape::kM * p.pitch + first_column;
      each_pair<Shape>(sum, [&](int row, int column, float x, float y) {
        *reinterpret_cast<float2*>(parts + row * p.pitch + column) = make_float2(x, y);
      });
    } else {
      store_fragment<T, Shape>(p, sum, work.panel * Shape::kM + warp * 16, first_column, problem);
    }
  }
  if constexpr (kCluster) {
    wait_barrier(sums_barrier, 0);
    // The warps that copied tiles add too: this block's sums are complete for them.
    __syncthreads();
    add_blocks<T, Shape>(p, shared, work, rank, first_column, problem);
    // A block may end when all have received what it sent.
    arrive_cluster();
    wait_cluster();
  }
#endif
}

// Of the multiprocessors, those that clusters reach at once, by the binary logarithm of their blocks.
constexpr int kReachedPercent[] = {100, 100, 86, 79};
// Of a block's stages and sums.
constexpr int kMostMemory = 200 * 1024;
constexpr int kHalfMemory = 110 * 1024;

template <typename T, typename Shape>
Status launch_hopper_shape(const SpmmParams& params, const LaunchContext& context) {
  const SpmmTiles& tiles = params.tiles;
  const int cluster = params.plan.cluster;
  const int64_t panels = ceil_div(params.pattern.rows, Shape::kM);
  const int64_t depth = ceil_div(params.pattern.columns, Shape::kDepth);
  const int64_t column_tiles = ceil_div(params.n, Shape::kN);
  const bool full = tiles.count == panels * depth && tiles.parts == 0;

  HopperTileParams<T> p{};
  p.tiles = static_cast<const T*>(tiles.values);
  p.items = full ? nullptr : reinterpret_cast<const int4*>(tiles.items);
  p.tile_columns = tiles.columns;
  p.depth = static_cast<int32_t>(depth);
  while (1 << p.cluster_log2 < cluster) ++p.cluster_log2;
  p.b = static_cast<const T*>(params.b);
  p.ldb = params.ldb;
  p.b_stride = params.b_stride;
  p.c_stride = params.c_stride;
  p.out = tile_output<T>(params);
  PartSums parts{nullptr, tiles.parts, Shape::kM, column_tiles * Shape::kN};
  WARPTILE_RETURN_IF_ERROR(allocate_parts(params, context, &parts));
  p.parts = parts.data;
  p.pitch = parts.pitch;
  p.problem_parts = parts.count;

  LaunchShape shape;
  shape.cluster = cluster;
  shape.overlaps = true;
  shape.grid_x = column_tiles * cluster;
  shape.grid_y = full ? panels : tiles.items_count;
  shape.grid_z = params.batch;
  shape.threads = Shape::kThreads;
  // Half of a multiprocessor's memory leaves room for another block, of this kernel or the next; all of it pays where blocks are few
  // and long, or where there is no room for two with two stages each.
  const int64_t longest = ceil_div(tiles.longest, cluster);
  const int64_t reached = int64_t{context.limits->multiprocessors} * kReachedPercent[p.cluster_log2] / 100;
  const bool few = shape.grid_x * shape.grid_y * shape.grid_z <= reached && longest > kMostStages;
  const int sent = cluster == 1 ? 0 : Shape::kSumBytes;
  const bool alone = few || Shape::kBlocks == 1 || (kHalfMemory - sent) / Shape::kStageBytes < 2;
  const int fitting = ((alone ? kMostMemory : kHalfMemory) - sent) / Shape::kStageBytes;
  p.stages = static_cast<int32_t>(std::max<int64_t>(1, std::min<int64_t>({longest, fitting, kMostStages})));
  // A block's sums lie where the stages were before they leave for others, or for ragged rows of C.
  const bool shares_sums = cluster > 1 || !p.out.whole;
  p.sums_offset = std::max(p.stages * Shape::kStageBytes, shares_sums ? Shape::kSumBytes : 0);
  p.barriers_offset = p.sums_offset + sent;
  shape.shared_bytes = static_cast<size_t>(p.barriers_offset + 16 * p.stages + 8);

  BoxedTensor b;
  b.data = params.b;
  b.dtype = params.dtype;
  b.rows = params.pattern.columns;
  b.columns = params.n;
  b.batch = params.b_stride == 0 ? 1 : params.batch;
  b.row_stride = params.ldb;
  b.batch_stride = params.b_stride;
  b.box_rows = Shape::kDepth;
  b.box_columns = Shape::kBoxColumns;
  CUtensorMap map;
  WARPTILE_RETURN_IF_ERROR(make_tensor_map(b, &map));
  WARPTILE_RETURN_IF_ERROR(shares_sums ? launch(context, spmm_tiles_hopper_kernel<T, Shape, true>, shape, map, p)
                                       : launch(context, spmm_tiles_hopper_kernel<T, Shape, false>, shape, map, p));
  return add_parts<T>(params, context, parts, tiles.items + 4 * tiles.items_count, tiles.cuts);
}

// Where the plan's shape was checked.
template <typename T>
Status launch_hopper_tiles(const SpmmParams& params, const LaunchContext& context) {
  const auto run = [&](auto shape) { return launch_hopper_shape<T, decltype(shape)>(params, context); };
  const bool high = params.tiles.rows == 128;
  switch (params.plan.columns) {
    case 32:
      return run(HopperTile<64, 32>{});
    case 64:
      return high ? run(HopperTile<128, 64>{}) : run(HopperTile<64, 64>{});
    case 128:
      return high ? run(HopperTile<128, 128>{}) : run(HopperTile<64, 128>{});
    default:
      return high ? run(HopperTile<128, 256>{}) : run(HopperTile<64, 256>{});
  }
}

}  // namespace warptile::spmm_kernels
