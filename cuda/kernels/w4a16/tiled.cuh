// W4A16 for many rows of x.           y[i,r] = sum_j x[i,c(j)] scale[g,r] (u[r,j] - z[g,r]) + bias[r]
// Layout    x [m,k];  packed [n, ceil(k/8)] words of 8 nibbles;  scales, zero points [groups,n];  y [m,n]
// Tiling    block = 64 rows of x times 64 rows of W, steps of 64 columns, 4 x 4 sums a thread; k is cut into splits (grid y)
// Memory    both tiles as floats in shared memory, 34816 bytes, columns first
// Roofline  CUDA cores: 2 m n k flops in float32; the fallback below tensor cores
// Numerics  float32 sums in ascending k, then splits in ascending order (reduce.cuh)
// Requires  n, k <= kMaxSide
#pragma once

#include "kernels/w4a16/config.h"
#include "kernels/w4a16/operands.cuh"

namespace warptile::w4a16 {

template <typename T>
__global__ void __launch_bounds__(TiledConfig::kThreads, TiledConfig::kMinBlocks) w4a16_tiled_kernel(Operands<T> in) {
  using Config = TiledConfig;
  constexpr int kMicro = Config::kMicro;
  __shared__ alignas(16) float x_tile[Config::kStepColumns][Config::kStride];  // [column][row of x]
  __shared__ alignas(16) float w_tile[Config::kStepColumns][Config::kStride];  // [column][row of W]

  const int thread = threadIdx.x;
  const unsigned tiles_n = static_cast<unsigned>((in.n + Config::kTileN - 1) / Config::kTileN);
  const int64_t first_x = static_cast<int64_t>(blockIdx.x / tiles_n) * Config::kTileM;
  const int first_w = static_cast<int>(blockIdx.x % tiles_n) * Config::kTileN;
  const int split = static_cast<int>(blockIdx.y);
  const int begin = split * in.split_columns;
  const int end = in.k - begin < in.split_columns ? in.k : begin + in.split_columns;
  const int micro_x = thread / (Config::kTileN / kMicro) * kMicro;
  const int micro_w = thread % (Config::kTileN / kMicro) * kMicro;

  float sums[kMicro][kMicro] = {};
  for (int step = begin; step < end; step += Config::kStepColumns) {
    // Every thread has read the last step's tiles before they are overwritten.
    __syncthreads();
    // A warp loads 16 columns of 2 rows: whole 32-byte sectors of half types, two-way conflicts in shared memory.
    for (int i = thread; i < Config::kTileM * Config::kStepColumns; i += Config::kThreads) {
      const int row = i / 16 % Config::kTileM;
      const int column = i / (16 * Config::kTileM) * 16 + i % 16;
      x_tile[column][row] = load_x(in, first_x + row, step + column, end);
    }
    // A warp loads the 8 words of 4 rows, a 32-byte sector each. Lanes start at different nibbles, so that the 8 words of a row
    // go to different banks: 4 nibble + row modulo 32.
    for (int i = thread; i < Config::kTileN * Config::kStepWords; i += Config::kThreads) {
      const int word = i % Config::kStepWords;
      const int tile_row = i / Config::kStepWords;
      const int row = first_w + tile_row;
      const int column = step + 8 * word;
      const bool inside = row < in.n && column < end;
      const uint32_t bits = inside ? in.packed[static_cast<int64_t>(row) * in.words + column / 8] : 0u;
      const bool one_group = in.word_groups && column + 8 <= in.k;
      Group group = {0.0f, 0.0f};
      if (inside && one_group) group = load_group(in, row, column);
#pragma unroll
      for (int turn = 0; turn < 8; ++turn) {
        const int nibble = (turn + word) % 8;
        float weight = 0.0f;
        if (inside && column + nibble < in.k) {
          if (!one_group) group = load_group(in, row, column + nibble);
          weight = dequantize(bits, nibble, group);
        }
        w_tile[8 * word + nibble][tile_row] = weight;
      }
    }
    // This step's tiles are complete.
    __syncthreads();
#pragma unroll 8
    for (int column = 0; column < Config::kStepColumns; ++column) {
      const auto x = load_pack<float, kMicro>(&x_tile[column][micro_x]);
      const auto w = load_pack<float, kMicro>(&w_tile[column][micro_w]);
#pragma unroll
      for (int i = 0; i < kMicro; ++i) {
#pragma unroll
        for (int j = 0; j < kMicro; ++j) sums[i][j] = fmaf(x.items[i], w.items[j], sums[i][j]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
#pragma unroll
    for (int j = 0; j < kMicro; ++j) store_sum(in, split, first_x + micro_x + i, first_w + micro_w + j, sums[i][j]);
  }
}

}  // namespace warptile::w4a16
