// W4A16 for few rows of x.            y[i,r] = sum_j x[i,c(j)] scale[g,r] (u[r,j] - z[g,r]) + bias[r]
// Layout    x [m,k];  packed [n, ceil(k/8)] words of 8 nibbles;  scales, zero points [groups,n];  y [m,n]
// Tiling    block = kTileM rows of x times 32 rows of W; a warp reads 4 rows of W, each lane one word of 32 in turn, and keeps
//           4 x kTileM sums a lane; k is cut into splits (grid y)
// Memory    x of a step (1024 columns) as floats in shared memory, kTileM * 4224 bytes
// Roofline  bytes of W: n k / 2; each is read once for every kTileM rows of x, coalesced by 128 bytes
// Numerics  float32 sums: lanes add every 32nd word, then a butterfly, then splits in ascending order (reduce.cuh)
// Requires  n, k <= kMaxSide
// Source    arXiv 2402.00025 (split-K); a workspace in place of atomics
#pragma once

#include "kernels/w4a16/config.h"
#include "kernels/w4a16/operands.cuh"

namespace warptile::w4a16 {

template <typename T, int kTileM>
__global__ void __launch_bounds__(SmallConfig::kThreads, SmallConfig::kMinBlocks) w4a16_small_kernel(Operands<T> in) {
  using Config = SmallConfig;
  constexpr int kRows = Config::kRowsPerWarp;
  constexpr int kTurns = Config::kStepWords / kWarpSize;
  static_assert(kRows * kTileM <= kWarpSize, "one lane for each sum of a warp");
  // [kTileM][8 nibbles][kStride words]
  __shared__ float x_tile[kTileM * 8 * Config::kStride];

  const int warp = threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize;
  const unsigned tiles_n = static_cast<unsigned>((in.n + Config::kTileN - 1) / Config::kTileN);
  const int64_t first_x = static_cast<int64_t>(blockIdx.x / tiles_n) * kTileM;
  const int first_w = static_cast<int>(blockIdx.x % tiles_n) * Config::kTileN + warp * kRows;
  const int split = static_cast<int>(blockIdx.y);
  const int begin = split * in.split_columns;
  const int end = in.k - begin < in.split_columns ? in.k : begin + in.split_columns;
  const int end_word = (end + 7) / 8;

  float sums[kRows][kTileM] = {};
  for (int step = begin; step < end; step += Config::kStepColumns) {
    // Rows past n repeat the last one: their sums are not stored.
    uint32_t words[kTurns][kRows];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int word = step / 8 + turn * kWarpSize + lane;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = min(first_w + r, in.n - 1);
        words[turn][r] = word < end_word ? in.packed[row * in.words + word] : 0u;
      }
    }
    // Every warp has read the last step's x before it is overwritten.
    __syncthreads();
    for (int i = threadIdx.x; i < kTileM * Config::kStepColumns; i += Config::kThreads) {
      const int row = i / Config::kStepColumns;
      const int column = i % Config::kStepColumns;
      x_tile[(row * 8 + column % 8) * Config::kStride + column / 8] =
          load_x(in, first_x + row, step + column, end);
    }
    // This step's x is complete.
    __syncthreads();
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int word = step / 8 + turn * kWarpSize + lane;
      if (word >= end_word) continue;
      const int column = 8 * word;
      float weights[kRows][8];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int row = min(first_w + r, in.n - 1);
        if (in.word_groups && column + 8 <= in.k) {
          const Group group = load_group(in, row, column);
#pragma unroll
          for (int i = 0; i < 8; ++i) weights[r][i] = dequantize(words[turn][r], i, group);
        } else {
#pragma unroll
          for (int i = 0; i < 8; ++i) {
            weights[r][i] =
                column + i < in.k ? dequantize(words[turn][r], i, load_group(in, row, column + i)) : 0.0f;
          }
        }
      }
#pragma unroll
      for (int m = 0; m < kTileM; ++m) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const float x = x_tile[(m * 8 + i) * Config::kStride + turn * kWarpSize + lane];
#pragma unroll
          for (int r = 0; r < kRows; ++r) sums[r][m] = fmaf(x, weights[r][i], sums[r][m]);
        }
      }
    }
  }

  // Lane r * kTileM + m stores the sum of row r of W and row m of x.
  float mine = 0.0f;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int m = 0; m < kTileM; ++m) {
      const float sum = warp_sum(sums[r][m]);
      if (lane == r * kTileM + m) mine = sum;
    }
  }
  if (lane < kRows * kTileM) store_sum(in, split, first_x + lane % kTileM, first_w + lane / kTileM, mine);
}

}  // namespace warptile::w4a16
