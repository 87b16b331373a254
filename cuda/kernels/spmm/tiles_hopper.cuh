// SpMM on Hopper's tensor cores over dense tiles.        C = alpha A B + beta C, A as the non-empty tiles of its panels
// Layout    A: items[items, 4], columns[tiles], values[tiles, kM, 64] with swizzled rows;  B [k,n];  C [m,n]
// Tiling    a cluster takes an item (the tiles of a panel of kM rows, or a part of a panel that has far more than others) x kN columns;
//           its blocks take equal parts of the item's tiles. A block is kM / 64 warpgroups that multiply and warps that copy:
//
//               copies     | tile 0, rows of B | tile 1, rows of B | ...        a ring of `stages` stages, each a barrier for "full"
//               multiplies     | wgmma m64 nkN k16, 4 times | ...               and one for "empty"
//
//           A block's sums leave from registers. The blocks of a cluster send each other theirs (copies between shared memories), a
//           share of the rows to each. Parts of a panel go to a workspace, and a second kernel adds them.
// Memory    shared: `stages` times 64 (kM + kN) elements (64 x 64: 16 KiB, 128 x 256: 48 KiB), and sums where there is a cluster;
//           accumulators kN / 2 a thread
// Roofline  bytes of the tiles, once for each kN columns, B once a panel from L2; tensor cores for wide B: 4096 x 4096, all tiles
//           stored, n = 512 in 22.5 us, 760 TFLOP/s of the dense product, as cuBLAS; 512 x 512, n = 32 in 2.0 us (H200, 2026-11-21)
// Numerics  products exact, float32 sums by the tensor core (16 at a time), then blocks and parts in a fixed order: bitwise
//           repeatable. The tiles hold zeros where nothing is stored, and 0 x NaN or 0 x Infinity in B is NaN, which no later addition
//           removes: elements whose sum is NaN (and seven beside them) are computed again from the stored entries alone.
// Requires  float16 or bfloat16; one set of values; compute capability 9.0; rows of B and C at multiples of 16 bytes; at most
//           65535 items and problems
// Source    tiled product over a blocked operand, as in SMaT and the dense half of Libra; pipeline as PTX ISA and the CUDA C++
//           Programming Guide describe it
#pragma once

#include <algorithm>

#include "common/checked.h"
#include "common/hopper.cuh"
#include "common/launch.cuh"
#include "common/mma.cuh"
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
  static constexpr bool kTakesClusters = kN < 256;
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
  return {found.x, first + step, step, max(0, min(found.z - step, share)), found.w};
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

// Among four neighbouring lanes: word i of lane j becomes word j of lane i.
__device__ __forceinline__ void transpose_words(uint32_t (&word)[4]) {
  const bool odd = threadIdx.x & 1;
  const bool high = threadIdx.x & 2;
  const uint32_t first = __shfl_xor_sync(kFullMask, odd ? word[0] : word[1], 1);
  const uint32_t second = __shfl_xor_sync(kFullMask, odd ? word[2] : word[3], 1);
  const uint32_t mixed[4] = {odd ? first : word[0], odd ? word[1] : first, odd ? second : word[2], odd ? word[3] : second};
  const uint32_t third = __shfl_xor_sync(kFullMask, high ? mixed[0] : mixed[2], 2);
  const uint32_t fourth = __shfl_xor_sync(kFullMask, high ? mixed[1] : mixed[3], 2);
  word[0] = high ? third : mixed[0];
  word[1] = high ? fourth : mixed[1];
  word[2] = high ? mixed[2] : third;
  word[3] = high ? mixed[3] : fourth;
}

__device__ __forceinline__ bool has_nan(uint32_t word, __half) {
  const __half2 pair = *reinterpret_cast<const __half2*>(&word);
  return !__hbeq2(pair, pair);
}
__device__ __forceinline__ bool has_nan(uint32_t word, __nv_bfloat16) {
  const __nv_bfloat162 pair = *reinterpret_cast<const __nv_bfloat162*>(&word);
  return !__hbeq2(pair, pair);
}

// A warp's 16 rows x kN columns of C from registers: four lanes exchange words, so that each has eight columns of a row.
template <typename T, typename Shape>
__device__ __forceinline__ void store_fragment(const HopperTileParams<T>& p, const float (&sum)[Shape::kN / 2], int first_row,
                                               int first_column, int problem) {
  const int lane = threadIdx.x % kWarpSize;
  T* c = p.out.c + problem * p.c_stride;
  uint32_t again = 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + lane / 4 + 8 * half;
#pragma unroll
    for (int part = 0; part < Shape::kN / 32; ++part) {
      const int64_t column = first_column + part * 32 + lane % 4 * 8;
      const bool inside = row < p.out.rows && column < p.out.n;
      T* target = c + row * p.out.ldc + column;
      uint32_t word[4] = {};
      if (p.out.beta != 0) {
        if (inside) *reinterpret_cast<uint4*>(word) = *reinterpret_cast<const uint4*>(target);
        transpose_words(word);
      }
      bool nan = false;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const Pack<T, 2> old = *reinterpret_cast<const Pack<T, 2>*>(&word[j]);
        Pack<T, 2> result;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float scaled = p.out.alpha * sum[4 * (4 * part + j) + 2 * half + i];
          result.items[i] = from_float<T>(p.out.beta == 0 ? scaled : fmaf(p.out.beta, to_float(old.items[i]), scaled));
        }
        word[j] = *reinterpret_cast<const uint32_t*>(&result);
      }
      transpose_words(word);
#pragma unroll
      for (int j = 0; j < 4; ++j) nan = nan || has_nan(word[j], T{});
      if (!inside) continue;
      if (nan) again |= 1u << (half * (Shape::kN / 32) + part);
      else *reinterpret_cast<uint4*>(target) = *reinterpret_cast<const uint4*>(word);
    }
  }
  // Nothing was written there yet: what C held is still to be read.
  const T* b = p.b + problem * p.b_stride;
  for (; again != 0; again &= again - 1) {
    const int which = __ffs(again) - 1;
    const int row = first_row + lane / 4 + which / (Shape::kN / 32) * 8;
    const int64_t column = first_column + which % (Shape::kN / 32) * 32 + lane % 4 * 8;
    for (int j = 0; j < 8; ++j) {
      T* target = c + row * p.out.ldc + column + j;
      const float scaled = p.out.alpha * exact_element<T>(p.out.a, b + column + j, p.ldb, row);
      *target = from_float<T>(p.out.beta == 0 ? scaled : fmaf(p.out.beta, to_float(*target), scaled));
    }
  }
}

// Calls `store(row, column, x, y)` for pairs of sums, rows and columns counted within the block.
template <typename Shape, typename Store>
__device__ __forceinline__ void each_pair(const float (&sum)[Shape::kN / 2], Store&& store) {
  const int lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = static_cast<int>(threadIdx.x) / kWarpSize * 16 + lane / 4 + 8 * half;
#pragma unroll
    for (int j = 0; j < Shape::kN / 8; ++j) store(row, 8 * j + lane % 4 * 2, sum[4 * j + 2 * half], sum[4 * j + 2 * half + 1]);
  }
}

// Puts this block's sums where the stages were, and sends each other block of the cluster those of its share of the rows.
template <typename T, typename Shape>
__device__ __forceinline__ void send_sums(const HopperTileParams<T>& p, const float (&sum)[Shape::kN / 2], int rank,
                                          unsigned char* shared, uint32_t barrier) {
  constexpr int kMultiplying = 4 * Shape::kGroups * kWarpSize;
  // No tensor core reads a stage any more.
  synchronize_first<kMultiplying>();
  float* staged = reinterpret_cast<float*>(shared);
  each_pair<Shape>(sum, [&](int row, int column, float x, float y) {
    *reinterpret_cast<float2*>(staged + row * Shape::kSumStride + column) = make_float2(x, y);
  });
  fence_shared_writes();
  // The sums are complete, and (the cluster's barrier) every block's barrier is ready.
  synchronize_first<kMultiplying>();
  wait_cluster();
  const uint32_t bytes = Shape::kSumBytes >> p.cluster_log2;
  const int owner = threadIdx.x;
  if (owner < 1 << p.cluster_log2 && owner != rank) {
    const uint32_t target = shared_address(shared) + p.sums_offset + rank * bytes;
    copy_in_cluster(address_in_block(target, owner), shared_address(shared) + owner * bytes, bytes, address_in_block(barrier, owner));
  }
}

// Adds the blocks' sums of this block's share of the rows, in their order: its own lie where the stages were, the others' were sent.
template <typename T, typename Shape>
__device__ __forceinline__ void add_blocks(const HopperTileParams<T>& p, const unsigned char* shared, const TileWork& work, int rank,
                                           int first_column, int problem) {
  const int rows = Shape::kM >> p.cluster_log2;
  const float* own = reinterpret_cast<const float*>(shared) + rank * rows * Shape::kSumStride;
  const float* sent = reinterpret_cast<const float*>(shared + p.sums_offset);
  const T* b = p.b + problem * p.b_stride;
  T* c = p.out.c + problem * p.c_stride;
  for (int i = threadIdx.x; i < rows * Shape::kN / 4; i += Shape::kThreads) {
    const int row = i / (Shape::kN / 4);
    const int column = i % (Shape::kN / 4) * 4;
    Pack<float, 4> total{};
#pragma unroll 4
    for (int block = 0; block < 1 << p.cluster_log2; ++block) {
      const float* sums = block == rank ? own : sent + block * rows * Shape::kSumStride;
      const auto part = load_pack<float, 4>(sums + row * Shape::kSumStride + column);
#pragma unroll
      for (int j = 0; j < 4; ++j) total.items[j] += part.items[j];
    }
    const int inner = rank * rows + row;
    if (work.place >= 0) {
      const int64_t place = problem * p.problem_parts + work.place;
      store_pack(p.parts + (place * Shape::kM + inner) * p.pitch + first_column + column, total);
    } else if (work.panel * Shape::kM + inner < p.out.rows && first_column + column < p.out.n) {
      store_sums<T, true>(p.out, b, p.ldb, c, work.panel * Shape::kM + inner, first_column + column, total);
    }
  }
}

#endif

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

// Adds the parts of panels that were cut. cuts[cuts, 4]: panel, first part, parts, 0.
template <typename T>
struct AddPartsParams {
  const float* parts;  // [batch, parts, tile_rows, pitch]
  const int4* cuts;
  int64_t pitch, problem_parts;
  int32_t tile_rows;
  const T* b;
  int64_t ldb, b_stride, c_stride;
  TileOutput<T> out;
};

constexpr int kAddThreads = 128;

template <typename T>
__global__ void __launch_bounds__(kAddThreads) spmm_add_parts_kernel(const __grid_constant__ AddPartsParams<T> p) {
  follow_previous_kernel();
  const int4 cut = p.cuts[blockIdx.y];
  const int64_t index = blockIdx.x * static_cast<int64_t>(kAddThreads) + threadIdx.x;
  const int64_t vectors = p.pitch / 4;
  const int row = static_cast<int>(index / vectors);
  const int64_t column = index % vectors * 4;
  const int64_t target = static_cast<int64_t>(cut.x) * p.tile_rows + row;
  if (row >= p.tile_rows || target >= p.out.rows || column >= p.out.n) return;
  const int64_t problem = blockIdx.z;
  const float* source = p.parts + ((problem * p.problem_parts + cut.y) * p.tile_rows + row) * p.pitch + column;
  Pack<float, 4> total{};
#pragma unroll 4
  for (int part = 0; part < cut.z; ++part) {
    const auto one = load_pack<float, 4>(source + part * p.tile_rows * p.pitch);
#pragma unroll
    for (int j = 0; j < 4; ++j) total.items[j] += one.items[j];
  }
  store_sums<T, true>(p.out, p.b + problem * p.b_stride, p.ldb, p.out.c + problem * p.c_stride, static_cast<int>(target), column,
                      total);
}

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
  p.pitch = column_tiles * Shape::kN;
  p.problem_parts = tiles.parts;
  if (tiles.parts > 0) {
    const auto bytes = checked_product({params.batch, tiles.parts, Shape::kM, p.pitch, static_cast<int64_t>(sizeof(float))});
    if (!bytes) return Status::limit("spmm: too many parts of panels");
    void* parts = nullptr;
    WARPTILE_RETURN_IF_ERROR(context.workspace->allocate(static_cast<size_t>(*bytes), &parts));
    p.parts = static_cast<float*>(parts);
  }

  LaunchShape shape;
  shape.cluster = cluster;
  shape.overlaps = true;
  shape.grid_x = column_tiles * cluster;
  shape.grid_y = full ? panels : tiles.items_count;
  shape.grid_z = params.batch;
  shape.threads = Shape::kThreads;
  // Half of a multiprocessor's memory leaves room for another block, of this kernel or the next; all of it pays where blocks are few
  // and long. Clusters do not reach every multiprocessor.
  const int64_t longest = ceil_div(tiles.longest, cluster);
  const int reached = context.limits->multiprocessors * (cluster > 2 ? 3 : 4) / 4;
  const bool alone = shape.grid_x * shape.grid_y * shape.grid_z <= reached && longest > kMostStages;
  const int sums = cluster == 1 ? 0 : Shape::kSumBytes;
  const int memory = (alone ? 200 : 110) * 1024 - sums;
  const int fitting = std::max(Shape::kStageBytes > 40 * 1024 ? 4 : 2, memory / Shape::kStageBytes);
  p.stages = static_cast<int32_t>(std::max<int64_t>(1, std::min<int64_t>({longest, fitting, kMostStages})));
  // The stages also hold a block's sums before they are sent.
  p.sums_offset = std::max(p.stages * Shape::kStageBytes, sums);
  p.barriers_offset = p.sums_offset + sums;
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
  const auto run = [&]() {
    if constexpr (Shape::kTakesClusters) {
      if (cluster > 1) return launch(context, spmm_tiles_hopper_kernel<T, Shape, true>, shape, map, p);
    }
    return launch(context, spmm_tiles_hopper_kernel<T, Shape, false>, shape, map, p);
  };
  WARPTILE_RETURN_IF_ERROR(run());
  if (tiles.parts == 0) return Status::ok();

  AddPartsParams<T> add{};
  add.parts = p.parts;
  add.cuts = reinterpret_cast<const int4*>(tiles.items) + tiles.items_count;
  add.pitch = p.pitch;
  add.problem_parts = p.problem_parts;
  add.tile_rows = Shape::kM;
  add.b = p.b;
  add.ldb = p.ldb;
  add.b_stride = p.b_stride;
  add.c_stride = p.c_stride;
  add.out = p.out;
  LaunchShape adding;
  adding.overlaps = true;
  adding.grid_x = ceil_div(Shape::kM * p.pitch / 4, kAddThreads);
  adding.grid_y = tiles.cuts;
  adding.grid_z = params.batch;
  adding.threads = kAddThreads;
  return launch(context, spmm_add_parts_kernel<T>, adding, add);
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
