// SpMM on CUDA cores over strips of rows, float32.   C = alpha A B + beta C, A as the columns in which each strip of rows stores anything
// Layout    A: items[items] (strip, first column, columns, part), columns[count], values[count, kRows], zero where nothing is stored;
//           B [k,n];  C [m,n]
// Tiling    a warp, or 2 to 8 that share its columns, takes kRows rows ("a strip") x 4 kVectors kLanes columns of C, whose sums it holds in
//           registers. kGroups = 32 / kLanes groups of lanes take turns at the columns of A:
//
//               columns of the strip   0 1 2 3 | 4 5 6 7 | 8 9 10 11 | 12 13 14 15 | ...      kLanes = 16, kTake = 4
//               group of lanes            0    |    1    |     0     |      1      |
//                                      half of a round   | the other half, loaded while the first is multiplied
//
//           A row of B is loaded once for kRows rows of A, and strips that share a block find those of their neighbours in the first cache.
//           Columns and values are staged by cp.async, two chunks ahead, and read by all lanes at once. A strip of far more columns than
//           most comes in parts (SpmmStrips::parts), whose sums go to a workspace and are added by a second kernel.
// Memory    shared: three chunks or the sums of each warp, 16 or 32 KiB; 128 registers a thread, two blocks a multiprocessor
// Roofline  multiply-adds: count kRows n at 128 a clock and multiprocessor; rows of B: 4 count n bytes from the first cache. Measured on an
//           H200 (2026-11-21): 57 % of the multiply-adds where a window of 512 fills the strips and n = 512 (the inner loop is 86 %
//           multiply-adds; warps are ready in most clocks that issue nothing: stalls of dispatch); latency where columns are few
// Numerics  float32 sums of ascending columns by group, then groups, warps and parts in a fixed order: bitwise repeatable;
//           |error| <= (nnz of the row + 2) 2^-24 sum |a b|. Repair of 0 x NaN and 0 x Infinity as in tiles.cuh: an element whose sum is
//           NaN is computed again from the stored entries alone
// Requires  one set of values; operands as group.cuh, but for col;
//           kVectors = 2: n, or the columns of a padded copy of B, a multiple of the columns of a warp
// Source    condensed rows of TC-GNN (2021) and 8 x 1 vectors of FlashSparse (2025), for CUDA cores and float32
#pragma once

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/mma.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/add_parts.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/entries.cuh"
#include "kernels/spmm/tile_output.cuh"

namespace warptile::spmm_kernels {

// Of four columns of a lane, kPiece at a time lie side by side (entries.cuh).
template <int kRows_, int kLanes_, int kVectors_, int kTake_, int kPiece_ = 4>
struct StripShape {
  using Fours = LaneColumns<4, kPiece_, kLanes_>;
  static constexpr int kRows = kRows_, kLanes = kLanes_, kVectors = kVectors_, kPiece = kPiece_;
  static constexpr int kTake = kTake_;  // rows of B that a lane loads together
  static constexpr int kGroups = kWarpSize / kLanes;
  static constexpr int kColumns = 4 * kVectors * kLanes;  // of C
  static constexpr int kQuads = kRows / 4;                // of the values of a column of A
  static constexpr int kHalf = kTake * kGroups;           // columns of A whose rows of B a warp loads together
  static constexpr int kRound = 2 * kHalf;
  static constexpr int kChunk = 32;
  static constexpr int kChunkRounds = kChunk / kRound;
  static constexpr int kRoundElements = kRound * (1 + kRows);
  static constexpr int kChunkElements = kChunkRounds * kRoundElements;
  static constexpr int kChunks = 3;  // staged at a time
  static constexpr int kSumElements = kRows * 4 * kVectors * kWarpSize;
  // Of a warp.
  static constexpr int kSharedElements = kChunks * kChunkElements > kSumElements ? kChunks * kChunkElements : kSumElements;
  static_assert(kRows % 4 == 0 && (kTake == 2 || kTake == 4) && kChunk % kRound == 0, "whole vectors");
  static_assert(kPiece == 4 || kVectors == 1, "the fours of a lane are kLanes fours apart, its pieces kLanes pieces");
};

// What the kernel reads, in the order in which it does: the constants of a fresh launch arrive by cache lines, each a wait.
struct StripParams {
  const int4* items;       // [items]: strip, first column, columns, place among the parts or -1
  const int32_t* columns;  // [count]
  const float* values;     // [count, kRows]
  const float* b;          // [batch, k, n]
  int32_t items_count;
  int32_t warps_log2;  // that share an item
  uint32_t ldb_bytes;
  int32_t rows;  // of A
  int64_t n;
  int64_t batch;
  int64_t b_stride;
  PartSums parts;
  TileOutput<float> out;
  int64_t c_stride;
};

// Starts the copies of up to kChunk columns and their values, `left` of them stored (a multiple of four); the last ones are copied again
// beyond them, with values of zero. A round's columns come first. Its values lie as they are read: four rows of the columns that the groups
// take at once side by side.
template <typename Shape>
__device__ __forceinline__ void load_strip_chunk(const int32_t* columns, const float* values, int left, float* stage) {
  const int lane = threadIdx.x % kWarpSize;
  if (lane < Shape::kChunk / 4) {
    const int column = lane * 4;
    copy_async_16(shared_address(stage + column / Shape::kRound * Shape::kRoundElements + column % Shape::kRound),
                  columns + min(column, left - 4), true);
  }
#pragma unroll
  for (int i = 0; i < Shape::kChunk * Shape::kQuads; i += kWarpSize) {
    const int unit = i + lane;
    const int column = unit / Shape::kQuads;
    const int take = column % Shape::kRound / Shape::kHalf * Shape::kTake + column % Shape::kTake;
    const int group = column % Shape::kHalf / Shape::kTake;
    const int place = (take * Shape::kQuads + unit % Shape::kQuads) * Shape::kGroups + group;
    const bool inside = column < left;
    copy_async_16(shared_address(stage + column / Shape::kRound * Shape::kRoundElements + Shape::kRound + place * 4),
                  inside ? values + unit * 4 : values, inside);
  }
}

// Rows of B that this lane's group takes together.
template <typename Shape>
struct StripRows {
  Pack<float, 4> items[Shape::kTake][Shape::kVectors];
};

// Where the pieces of this lane's columns lie in the first row of B.
template <typename Shape>
struct StripPieces {
  const char* at[Shape::Fours::kPieces];
};

// Loads those of the first or second half of a round.
template <typename Shape>
__device__ __forceinline__ void fetch_rows(const float* round, int half, const StripPieces<Shape>& b, uint32_t ldb_bytes,
                                           StripRows<Shape>& rows) {
  const int group = static_cast<int>(threadIdx.x) % kWarpSize / Shape::kLanes;
  const auto columns =
      load_pack<uint32_t, Shape::kTake>(reinterpret_cast<const uint32_t*>(round) + half * Shape::kHalf + group * Shape::kTake);
#pragma unroll
  for (int u = 0; u < Shape::kTake; ++u) {
    const uint64_t offset = static_cast<uint64_t>(columns.items[u]) * ldb_bytes;
#pragma unroll
    for (int piece = 0; piece < Shape::Fours::kPieces; ++piece) {
      const auto* row = reinterpret_cast<const float*>(b.at[piece] + offset);
#pragma unroll
      for (int v = 0; v < Shape::kVectors; ++v) {
        reinterpret_cast<Pack<float, Shape::kPiece>*>(rows.items[u][v].items)[piece] =
            load_pack<float, Shape::kPiece>(row + v * 4 * Shape::kLanes);
      }
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void multiply_rows(const float* round, int half, const StripRows<Shape>& rows,
                                              float (&sum)[Shape::kRows][4 * Shape::kVectors]) {
  const int group = static_cast<int>(threadIdx.x) % kWarpSize / Shape::kLanes;
  const float* values = round + Shape::kRound + (half * Shape::kTake * Shape::kQuads * Shape::kGroups + group) * 4;
#pragma unroll
  for (int u = 0; u < Shape::kTake; ++u) {
#pragma unroll
    for (int q = 0; q < Shape::kQuads; ++q) {
      const auto left = load_pack<float, 4>(values + (u * Shape::kQuads + q) * (Shape::kGroups * 4));
#pragma unroll
      for (int r = 0; r < 4; ++r) {
#pragma unroll
        for (int j = 0; j < 4 * Shape::kVectors; ++j) {
          sum[q * 4 + r][j] = fmaf(left.items[r], rows.items[u][j / 4].items[j % 4], sum[q * 4 + r][j]);
        }
      }
    }
  }
}

// Of a row of a strip the sums of a piece from `column` on, as they are or, of a part, to the workspace.
template <int kRows, int kPiece, bool kWhole>
__device__ __forceinline__ void store_strip_piece(const StripParams& p, int64_t problem, const int4& item, int inner, int64_t column,
                                                  Pack<float, kPiece> total) {
  const int64_t row = static_cast<int64_t>(item.x) * kRows + inner;
  if (row >= p.rows || column >= p.n) return;
  // Where the table is not of these strips, nothing outside of the workspace is written.
  if (item.w >= 0 && item.w < p.parts.count) {
    const int64_t place = (problem * p.parts.count + item.w) * kRows + inner;
    store_pack<float, kPiece>(p.parts.data + place * p.parts.pitch + column, total);
    return;
  }
  float* target = p.out.c + problem * p.c_stride + row * p.out.ldc + column;
  const float* b = p.b + problem * p.b_stride + column;
  store_sums<float, kPiece, kWhole>(p.out, b, p.ldb_bytes / sizeof(float), target, static_cast<int>(row), column, total);
}

// kWhole: rows of C begin and end at pieces.
template <typename Shape, bool kWhole>
__global__ void __launch_bounds__(kStripThreads, 2) spmm_strips_kernel(const StripParams p) {
  extern __shared__ __align__(128) float shared[];
  constexpr int kRows = Shape::kRows;
  constexpr int kWidth = 4 * Shape::kVectors;
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int sharing = 1 << p.warps_log2;
  const int rank = warp & (sharing - 1);
  const int index = static_cast<int>(blockIdx.x * (kStripWarps >> p.warps_log2)) + (warp >> p.warps_log2);
  // Warps past the last item meet the others at barriers.
  const int4 item = index < p.items_count ? p.items[index] : make_int4(-1, 0, 0, -1);
  float* stages = shared + warp * Shape::kSharedElements;

  const int item_rounds = (item.z + Shape::kRound - 1) / Shape::kRound;
  const int share = (item_rounds + sharing - 1) >> p.warps_log2;
  const int first_round = min(item_rounds, rank * share);
  const int rounds = min(share, item_rounds - first_round);
  const int first = first_round * Shape::kRound;
  const int32_t* columns = p.columns + item.y + first;
  const float* values = p.values + static_cast<int64_t>(item.y + first) * kRows;
  const auto load = [&](int chunk, float* stage) {
    const int done = chunk * Shape::kChunk;
    if (chunk * Shape::kChunkRounds < rounds) {
      load_strip_chunk<Shape>(columns + done, values + static_cast<int64_t>(done) * kRows, item.z - first - done, stage);
    }
    // A group for every chunk, so that counting groups counts chunks.
    commit_copies();
  };
  const auto load_first = [&] {
#pragma unroll
    for (int chunk = 0; chunk < Shape::kChunks; ++chunk) load(chunk, stages + chunk * Shape::kChunkElements);
  };
  // The copy was written by a kernel that this one does not overlap: it may be read while the one before still runs.
  load_first();
  follow_previous_kernel();

  const int64_t lane_column = static_cast<int64_t>(blockIdx.y) * Shape::kColumns + Shape::Fours::first(lane);
  const int pieces = Shape::Fours::pieces(lane_column, p.n);
  for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
    if (problem > blockIdx.z) load_first();
    // What lies past the last column is not loaded, but the first one of the lane or the row instead, multiplied for nothing.
    const float* b_problem = p.b + problem * p.b_stride + (lane_column < p.n ? lane_column : 0);
    StripPieces<Shape> b;
#pragma unroll
    for (int piece = 0; piece < Shape::Fours::kPieces; ++piece) {
      b.at[piece] = reinterpret_cast<const char*>(b_problem + (piece < pieces ? piece * Shape::Fours::kApart : 0));
    }
    float sum[kRows][kWidth] = {};
    StripRows<Shape> even, odd;
    wait_copies<Shape::kChunks - 1>();
    // The first chunk has landed for all lanes.
    __syncwarp();
    if (rounds > 0) fetch_rows<Shape>(stages, 0, b, p.ldb_bytes, even);
    float* stage = stages;
    int left = rounds;
    for (int chunk = Shape::kChunks; left > 0; ++chunk) {
      float* next_stage = stage == stages + (Shape::kChunks - 1) * Shape::kChunkElements ? stages : stage + Shape::kChunkElements;
      wait_copies<Shape::kChunks - 2>();
      // The next chunk has landed for all lanes.
      __syncwarp();
      const float* round = stage;
      const float* last = stage + (min(left, Shape::kChunkRounds) - 1) * Shape::kRoundElements;
#pragma unroll 1
      for (; round != last; round += Shape::kRoundElements) {
        fetch_rows<Shape>(round, 1, b, p.ldb_bytes, odd);
        multiply_rows<Shape>(round, 0, even, sum);
        fetch_rows<Shape>(round + Shape::kRoundElements, 0, b, p.ldb_bytes, even);
        multiply_rows<Shape>(round, 1, odd, sum);
      }
      left -= Shape::kChunkRounds;
      fetch_rows<Shape>(round, 1, b, p.ldb_bytes, odd);
      multiply_rows<Shape>(round, 0, even, sum);
      if (left > 0) fetch_rows<Shape>(next_stage, 0, b, p.ldb_bytes, even);
      multiply_rows<Shape>(round, 1, odd, sum);
      // All lanes have read this chunk.
      __syncwarp();
      load(chunk, stage);
      stage = next_stage;
    }

    // Through shared memory even where a single group has them all, since what follows takes few registers. Fours of sums begin with
    // the last one: a sum and the element of B that it takes then lie in different banks of registers.
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int v = 0; v < Shape::kVectors; ++v) {
        const Pack<float, 4> four{sum[i][4 * v + 3], sum[i][4 * v], sum[i][4 * v + 1], sum[i][4 * v + 2]};
        store_pack<float, 4>(stages + ((i * Shape::kVectors + v) * kWarpSize + lane) * 4, four);
      }
    }
    // The sums of all warps are in place.
    if (sharing > 1) __syncthreads();
    else __syncwarp();
    const float* sums = shared + (warp - rank) * Shape::kSharedElements;
    // A piece of a lane at a time, those of neighbouring lanes side by side.
    constexpr int kPiece = Shape::kPiece, kPieces = Shape::Fours::kPieces;
    constexpr int kAcross = Shape::kVectors * Shape::kLanes;
    constexpr int kUnits = kRows * kPieces * kAcross;
#pragma unroll 1
    for (int unit = rank * kWarpSize + lane; item.x >= 0 && unit < kUnits; unit += sharing * kWarpSize) {
      const int inner = unit / (kPieces * kAcross);
      const int piece = unit / kAcross % kPieces;
      const int four = inner * kAcross + unit % kAcross;
      const float* source = sums + (four / Shape::kLanes * kWarpSize + four % Shape::kLanes) * 4;
      Pack<float, kPiece> total{};
#pragma unroll 2
      for (int other = 0; other < sharing; ++other) {
#pragma unroll
        for (int group = 0; group < Shape::kGroups; ++group) {
          const float* part = source + other * Shape::kSharedElements + group * Shape::kLanes * 4;
          if constexpr (kPiece == 4) {
            const auto rotated = load_pack<float, 4>(part);
#pragma unroll
            for (int j = 0; j < 4; ++j) total.items[j] += rotated.items[(j + 1) % 4];
          } else {
#pragma unroll
            for (int j = 0; j < kPiece; ++j) total.items[j] += part[(piece * kPiece + j + 1) % 4];
          }
        }
      }
      const int place = unit % kAcross * kPiece + piece * Shape::Fours::kApart;
      store_strip_piece<kRows, kPiece, kWhole>(p, problem, item, inner, static_cast<int64_t>(blockIdx.y) * Shape::kColumns + place, total);
    }
    // The sums are read by all warps before the next problem's chunks overwrite them.
    if (sharing > 1) __syncthreads();
    else __syncwarp();
  }
}

}  // namespace warptile::spmm_kernels
