// SpMM, CSR x dense row-major, float32, B in shared memory.   C[i,:] = alpha sum_p val[p] B[col[p],:] + beta C[i,:]
// Layout    A: row_ptr[m+1], col/val[nnz], columns ascending in a row;  B [k,n];  C [m,n]
// Tiling    a cluster computes kPanelWarps * kRows rows x 32 columns; its blocks take equal parts of the depth. A block copies its part of
//           32 columns of B to shared memory, in one piece or, where that is too much, piece by piece while it works on the one before,
//           and each warp adds the entries of its kRows rows that meet a piece, up to 32 at a time:
//
//               entries of a row, staged as (place in the piece, value)   0 1 | 2 3 | 4 5 | 6 7 | 8 9 | ...
//               lanes 0-7, 8-15, 16-23, 24-31, 4 columns each             g0  | g1  | g2  | g3  | g0  | ...
//
//           A row's cursor stops at the first column past the piece. In the end the groups, and the blocks through distributed shared
//           memory, add their sums.
// Memory    shared: the pieces (128 bytes a row of B, at most about 220 KiB in all) and 512 bytes a warp; 4 kRows sums a thread
// Roofline  shared memory: 128 bytes an entry and 32 columns, a quarter more for the entries themselves: 10 passes for 8 entries.
//           Measured on an H200 (2026-11-21): passes in 71 % of the clocks at 4096^2, 10 %, n = 512; 63 % at 512^2, 50 %
// Numerics  float32 sums of ascending columns by group, then groups and blocks in a fixed order: bitwise repeatable;
//           |error| <= (nnz of the row + 2) 2^-24 sum |a b|. Only stored entries are multiplied, and zeros with a row of zeros
// Requires  n, ldb and the stride of B multiples of 4 and B 16-byte aligned, or a padded copy of B; clusters: compute capability 9.0
// Source    no paper; B stationary where Gale et al. (2020) gather it
#pragma once

#include <cooperative_groups.h>

#include <algorithm>
#include <cstdint>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/mma.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/store.cuh"

namespace warptile::spmm_kernels {

constexpr int kPanelWarps = 16;
constexpr int kPanelThreads = kPanelWarps * kWarpSize;
constexpr int kPanelColumns = 32;
constexpr int kPanelGroups = 4;   // of 8 lanes, 4 columns each
constexpr int kStagedEntries = 32;  // of a warp at a time

struct PanelParams {
  const int32_t* row_ptr;  // [m + 1]
  const int32_t* col;      // [stored]
  const float* values;     // [batch, stored]
  const float* b;          // [batch, k, n]
  int64_t ldb;
  int64_t n;
  int32_t rows, columns;
  int32_t cluster_log2;
  int32_t share;   // rows of B of a block
  int32_t piece;   // of them in shared memory at once
  int32_t pieces;  // that fit at once: 1 where a share is one piece, else 2
  float alpha;
  float beta;
  float* c;  // [batch, m, n]
  int64_t ldc;
  int64_t batch;
  int64_t values_stride;
  int64_t b_stride;
  int64_t c_stride;
};

// An entry as a warp stages it: where its row of B begins in the piece, and its value.
struct StagedEntry {
  int place;
  float value;
};

// The first entry of [first, last) whose column is not below `column`.
__device__ __forceinline__ uint32_t first_entry(const int32_t* col, uint32_t first, uint32_t last, int column) {
  while (first < last) {
    const uint32_t middle = first + (last - first) / 2;
    if (col[middle] < column) first = middle + 1;
    else last = middle;
  }
  return first;
}

// Adds staged entries of this lane's group to four sums. `b` points at this lane's columns of the piece.
__device__ __forceinline__ void add_staged(const StagedEntry* staged, const float* b, float (&sum)[4]) {
  const auto two = load_pack<StagedEntry, 2>(staged);
  const auto first = load_pack<float, 4>(b + two.items[0].place);
  const auto second = load_pack<float, 4>(b + two.items[1].place);
#pragma unroll
  for (int j = 0; j < 4; ++j) sum[j] = fmaf(two.items[0].value, first.items[j], sum[j]);
#pragma unroll
  for (int j = 0; j < 4; ++j) sum[j] = fmaf(two.items[1].value, second.items[j], sum[j]);
}

// Halves the rows that each half of `kGroup` lanes holds sums of, adding those of the other half: lanes with the bit keep the upper.
template <int kRows>
__device__ __forceinline__ void exchange_rows(float (&sum)[kRows][4], int bit) {
  const bool upper = threadIdx.x & bit;
  constexpr int kHalf = (kRows + 1) / 2;
#pragma unroll
  for (int i = 0; i < kHalf; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if constexpr (kRows == 1) {
        sum[i][j] += __shfl_xor_sync(kFullMask, sum[i][j], bit);
      } else {
        const float given = upper ? sum[i][j] : sum[i + kHalf][j];
        const float kept = upper ? sum[i + kHalf][j] : sum[i][j];
        sum[i][j] = kept + __shfl_xor_sync(kFullMask, given, bit);
      }
    }
  }
}

// kWhole: rows of C begin and end at multiples of 16 bytes.
template <int kRows, bool kWhole>
__global__ void __launch_bounds__(kPanelThreads, kRows <= 4 ? 2 : 1) spmm_panel_kernel(const PanelParams p) {
  extern __shared__ __align__(128) float shared[];
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int blocks = 1 << p.cluster_log2;
  const int rank = static_cast<int>(blockIdx.x) & (blocks - 1);
  // A piece ends with a row of zeros, for the entries that fill up a group's pairs.
  const int piece_elements = (p.piece + 1) * kPanelColumns;
  StagedEntry* staged = reinterpret_cast<StagedEntry*>(shared + p.pieces * piece_elements) + warp * 2 * kStagedEntries;
  const int depth_first = min(p.columns, rank * p.share);
  const int depth_last = min(p.columns, depth_first + p.share);
  // A warp's rows are kPanelWarps apart, so that neighbours that are long fall to different warps. Below 2^31 + kBlockRows.
  constexpr int kBlockRows = kPanelWarps * kRows;
  const int block_row = static_cast<int>(blockIdx.y) * kBlockRows;
  const int64_t lane_column = static_cast<int64_t>(blockIdx.x >> p.cluster_log2) * kPanelColumns + lane % 8 * 4;
  // Lane r keeps where row r goes on, and where it ends. No kernel writes a pattern: it may be read while the one before still runs.
  uint32_t cursor = 0;
  uint32_t last = 0;
  const auto find_rows = [&] {
    const int lane_row = block_row + lane * kPanelWarps + warp;
    if (lane >= kRows || lane_row >= p.rows) return;
    cursor = p.row_ptr[lane_row];
    last = p.row_ptr[lane_row + 1];
    if (rank > 0) cursor = first_entry(p.col, cursor, last, depth_first);
  };
  find_rows();
  follow_previous_kernel();

  for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
    const float* values = p.values + problem * p.values_stride;
    const float* b = p.b + problem * p.b_stride + lane_column;
    const auto load_piece = [&](int first) {
      float* piece = shared + (p.pieces == 1 ? 0 : (first - depth_first) / p.piece % 2) * piece_elements;
      const uint32_t target = shared_address(piece + lane % 8 * 4);
      for (int row = static_cast<int>(threadIdx.x) / 8; row <= p.piece; row += kPanelThreads / 8) {
        const bool inside = row < p.piece && first + row < depth_last && lane_column < p.n;
        copy_async_16(target + row * kPanelColumns * 4, inside ? b + (first + row) * p.ldb : p.b, inside);
      }
      commit_copies();
    };
    load_piece(depth_first);
    if (problem > blockIdx.z) find_rows();
    float sum[kRows][4] = {};
    // The next entries, a lane each; past the row's end a column past every piece.
    int column;
    float value;
    const auto fetch = [&](uint32_t at, uint32_t end) {
      const bool inside = at + lane < end;
      column = inside ? p.col[at + lane] : INT32_MAX;
      value = inside ? values[at + lane] : 0.0f;
    };
    int turn = 0;
    for (int depth = depth_first; depth < depth_last; depth += p.piece) {
      fetch(__shfl_sync(kFullMask, cursor, 0), __shfl_sync(kFullMask, last, 0));
      wait_copies<0>();
      // The piece has landed for all threads, and none reads the piece before it.
      __syncthreads();
      const int depth_end = min(depth_last, depth + p.piece);
      if (depth_end < depth_last) load_piece(depth_end);
      const float* piece = shared + (p.pieces == 1 ? 0 : (depth - depth_first) / p.piece % 2) * piece_elements + lane % 8 * 4;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        uint32_t at = __shfl_sync(kFullMask, cursor, r);
        const uint32_t end = __shfl_sync(kFullMask, last, r);
        int count;
        do {
          const bool valid = column < depth_end;
          count = __popc(__ballot_sync(kFullMask, valid));
          StagedEntry* entries = staged + turn * kStagedEntries;
          const Pack<int, 2> entry{(valid ? column - depth : p.piece) * kPanelColumns, __float_as_int(valid ? value : 0.0f)};
          store_pack<int, 2>(reinterpret_cast<int*>(entries + lane), entry);
          at += count;
          // In the shadow of the sums.
          if (count == kStagedEntries) fetch(at, end);
          else if (r + 1 < kRows) fetch(__shfl_sync(kFullMask, cursor, r + 1), __shfl_sync(kFullMask, last, r + 1));
          // The entries are staged for all lanes; those of the turn before are read.
          __syncwarp();
          entries += lane / 8 * 2;
          if (count > 3 * kStagedEntries / 4) {
#pragma unroll
            for (int i = 0; i < kStagedEntries; i += 2 * kPanelGroups) add_staged(entries + i, piece, sum[r]);
          } else {
            for (int i = 0; i < count; i += 2 * kPanelGroups) add_staged(entries + i, piece, sum[r]);
          }
          turn ^= 1;
        } while (count == kStagedEntries);
        if (lane == r) cursor = at;
      }
    }

    // Each group keeps the sums of a quarter of the rows.
    exchange_rows<kRows>(sum, 16);
    constexpr int kHalf = (kRows + 1) / 2;
    constexpr int kQuarter = (kHalf + 1) / 2;
    exchange_rows<kHalf>(reinterpret_cast<float(&)[kHalf][4]>(sum), 8);
    const int group_first = (kRows > 1 && (lane & 16) ? kHalf : 0) + (kHalf > 1 && (lane & 8) ? kQuarter : 0);
    const bool keeps = (kRows > 1 || lane < 16) && (kHalf > 1 || (lane & 8) == 0);
    float* c = p.c + problem * p.c_stride;
    const auto store = [&](int row, int64_t target_column, const Pack<float, 4>& total) {
      if (row >= p.rows || target_column >= p.n) return;
      float* target = c + row * p.ldc + target_column;
      store_results<float, 4>(target, total.items, kWhole, p.n - target_column, p.alpha, p.beta);
    };
    // The pieces are read by all, and no copy is under way: the next problem, or the sums, may overwrite them.
    wait_copies<0>();
    __syncthreads();
    if (blocks == 1) {
#pragma unroll
      for (int i = 0; i < kQuarter; ++i) {
        const int row = block_row + (group_first + i) * kPanelWarps + warp;
        if (keeps) store(row, lane_column, {sum[i][0], sum[i][1], sum[i][2], sum[i][3]});
      }
      continue;
    }
#if __CUDA_ARCH__ >= 900
#pragma unroll
    for (int i = 0; i < kQuarter; ++i) {
      const Pack<float, 4> four{sum[i][0], sum[i][1], sum[i][2], sum[i][3]};
      const int row = (group_first + i) * kPanelWarps + warp;
      if (keeps) store_pack<float, 4>(shared + row * kPanelColumns + lane % 8 * 4, four);
    }
    const auto cluster = cooperative_groups::this_cluster();
    cluster.sync();
    const int rows = kBlockRows >> p.cluster_log2;
    for (int i = threadIdx.x / 8; i < rows; i += kPanelThreads / 8) {
      const int row = rank * rows + i;
      Pack<float, 4> total{};
#pragma unroll 4
      for (int block = 0; block < blocks; ++block) {
        const auto four = load_pack<float, 4>(cluster.map_shared_rank(shared, block) + row * kPanelColumns + lane % 8 * 4);
#pragma unroll
        for (int j = 0; j < 4; ++j) total.items[j] += four.items[j];
      }
      store(block_row + row, lane_column, total);
    }
    // The sums are read by all blocks before they are overwritten or a block ends.
    cluster.sync();
#endif
  }
}

}  // namespace warptile::spmm_kernels
