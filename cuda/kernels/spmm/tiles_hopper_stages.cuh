// What a block of tiles_hopper.cuh is made of: its shape and parameters, the warps that copy and the warpgroups that multiply.
#pragma once

#include "common/hopper.cuh"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "common/tensor_map.h"
#include "common/wgmma.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/tile_output.cuh"

namespace warptile::spmm_kernels {

template <int kM_, int kN_>
struct HopperTile {
  static constexpr int kM = kM_, kN = kN_, kDepth = kSpmmTileDepth;
  static constexpr int kGroups = kM / 64;  // warpgroups
  // Warps that copy: one alone starts the copies of a tile every 0.16 us.
  static constexpr int kWriters = kGroups == 1 ? 4 : 2;
  static constexpr int kThreads = (4 * kGroups + kWriters) * kWarpSize;
  // Of a multiprocessor, by registers.
  static constexpr int kBlocks = kN == 256 ? 1 : kM == 64 && kN == 32 ? 4 : kM == 64 && kN == 64 ? 3 : 2;
  static constexpr int kBoxColumns = kN < 64 ? kN : 64;  // of B, one after the other in a stage
  static constexpr int kBytesA = kM * kDepth * 2;
  static constexpr int kBoxBytes = kDepth * kBoxColumns * 2;
  static constexpr int kStageBytes = kBytesA + kDepth * kN * 2;
  // Rows of sums 8 floats apart in banks, so that the rows of a fragment meet different ones.
  static constexpr int kSumStride = kN + 8;
  static constexpr int kSumBytes = kM * kSumStride * 4;
  static_assert(kM % 64 == 0 && kN % kBoxColumns == 0 && (kBoxColumns == 32 || kBoxColumns == 64), "what wgmma takes");
  static_assert(kM % kMaxCluster == 0, "the blocks of a cluster share the rows of the result evenly");
};

constexpr int kMostStages = 8;

template <typename T>
struct HopperTileParams {
  const T* tiles;               // [tiles, kM, 64]
  const int4* items;            // [items]: panel, first tile, tiles, place in `parts` or -1; null where every tile is stored
  const int32_t* tile_columns;  // [tiles]
  int32_t depth;                // tiles of a panel where every tile is stored
  int32_t cluster_log2;
  int32_t stages;
  int32_t sums_offset, barriers_offset;  // in shared memory: a cluster's sums, and the barriers
  float* parts;                          // [batch, parts, kM, pitch]
  int64_t pitch, problem_parts;
  const T* b;  // [batch, k, n]
  int64_t ldb, b_stride, c_stride;
  TileOutput<T> out;
};

// What a block works on.
struct TileWork {
  int panel;
  int64_t first;  // tile
  int tile_step;  // of `first` in its panel
  int tiles;
  int place;  // in `parts`, or -1
};

#ifdef WARPTILE_HOPPER

template <typename T>
__device__ __forceinline__ TileWork find_work(const HopperTileParams<T>& p, int item, int rank) {
  int4 found = p.items == nullptr ? make_int4(item, 0, p.depth, -1) : p.items[item];
  const int64_t first = p.items == nullptr ? static_cast<int64_t>(item) * p.depth : found.y;
  const int share = (found.z + (1 << p.cluster_log2) - 1) >> p.cluster_log2;
  const int step = rank * share;
  return {found.x, first + step, step, max(0, min(found.z - step, share)), place_of_part(found.w, p.problem_parts)};
}

// One of `writers` warps that copy: it takes every `writers`-th tile of A, and that tile's rows of B. What the copy in tiles holds was
// complete before the kernel before this one began, or that kernel wrote it and ended with a fence (pack.cu): the first tiles of A
// need not wait for it.
template <typename T, typename Shape>
__device__ __forceinline__ void copy_tiles(const HopperTileParams<T>& p, const CUtensorMap* b_map, const TileWork& work, int writer,
                                           int writers, int first_column, int problem, uint32_t stages, uint32_t barriers) {
  const int lane = threadIdx.x % kWarpSize;
  const int turns = (work.tiles - writer + writers - 1) / writers;
  // Of the tiles that this warp copies next, one a lane.
  const auto next_columns = [&](int turn) {
    const int step = writer + (turn + lane) * writers;
    if (p.items == nullptr) return work.tile_step + step;
    return step < work.tiles ? p.tile_columns[work.first + step] : 0;
  };
  const auto copy_a = [&](int turn, int stage) {
    arrive_expecting(barriers + 16 * stage, Shape::kStageBytes);
    const T* source = p.tiles + (work.first + writer + turn * writers) * (Shape::kM * Shape::kDepth);
    copy_bulk(stages + stage * Shape::kStageBytes, source, Shape::kBytesA, barriers + 16 * stage);
  };
  int columns = next_columns(0);
  if (lane == 0) {
    for (int turn = 0; turn < turns && writer + turn * writers < p.stages; ++turn) copy_a(turn, writer + turn * writers);
  }
  follow_previous_kernel();
  int stage = writer;
  uint32_t parity = 1;
  for (int turn = 0; turn < turns; ++turn) {
    if (turn > 0 && turn % kWarpSize == 0) columns = next_columns(turn);
    if (lane == 0 && writer + turn * writers >= p.stages) {
      // The warpgroups are done with what the stage held.
      wait_barrier(barriers + 16 * stage + 8, parity);
      copy_a(turn, stage);
    }
    const int column = __shfl_sync(kFullMask, columns, turn % kWarpSize);
    if (lane == 0) {
      const uint32_t target = stages + stage * Shape::kStageBytes + Shape::kBytesA;
#pragma unroll
      for (int box = 0; box < Shape::kN / Shape::kBoxColumns; ++box) {
        copy_box(target + box * Shape::kBoxBytes, b_map, first_column + box * Shape::kBoxColumns, column * Shape::kDepth, problem,
                 barriers + 16 * stage);
      }
    }
    stage += writers;
    if (stage >= p.stages) {
      stage -= p.stages;
      parity ^= 1;
    }
  }
}

// A warpgroup: the sums of its 64 rows.
template <typename T, typename Shape>
__device__ __forceinline__ void multiply_tiles(int stage_count, int tiles, uint32_t stages, uint32_t barriers, int group,
                                               float (&sum)[Shape::kN / 2]) {
  const int lane = threadIdx.x % kWarpSize;
  constexpr uint32_t kRowBytesB = Shape::kBoxColumns * 2;
  int stage = 0;
  int before = 0;
  uint32_t parity = 0;
  for (int step = 0; step < tiles; ++step) {
    wait_barrier(barriers + 16 * stage, parity);
    const uint32_t at = stages + stage * Shape::kStageBytes;
    const uint64_t a = group_operand<true>(at + group * 64 * Shape::kDepth * 2, 8 * Shape::kDepth * 2, 0);
    const uint64_t b = group_operand<Shape::kBoxColumns == 64>(at + Shape::kBytesA, 8 * kRowBytesB, Shape::kBoxBytes);
    fence_group();
#pragma unroll
    for (int depth = 0; depth < Shape::kDepth; depth += 16) {
      multiply_add_group(sum, a + (depth * 2 >> 4), b + (depth * kRowBytesB >> 4), T{});
    }
    commit_group();
    // The products of the step before are done, and its stage may be filled.
    wait_group<1>();
    if (step > 0 && lane == 0) arrive(barriers + 16 * before + 8);
    before = stage;
    if (++stage == stage_count) {
      stage = 0;
      parity ^= 1;
    }
  }
  wait_group<0>();
}

#endif

}  // namespace warptile::spmm_kernels
