// Kronecker-sparse factor, a tile of outputs.   y[i,j,l,n] = bias[i,j,l] + sum_k w[i,j,k,l] x[i,k,l,n]
// Layout    x (i,k,l,n) and y (i,j,l,n) by strides: batch first (l contiguous) or batch last (n contiguous); w [a,b,c,d]
// Tiling    one i, 64 n, and 16 x kOutputsPerThread outputs (j,l), l fastest, `group` = 1 ... 8 neighbouring l. A step takes
//           32 inputs (k,l), 32 / group of k:
//               x tile [32 (k,l)] [64 n]       w tile [32 / group k] [outputs (j,l)]
//           256 threads as 16 x 16; a thread holds kOutputsPerThread outputs of one l, 16 apart, times 4 n, 16 apart.
// Memory    static shared memory: 8448 bytes + 128 x (outputs + 1) / group, at most 24960; at most 128 registers, two blocks an SM or more
// Roofline  bytes s [batch a d (b + c) + a b c d] + re-reads of x and w from L2; shared-memory loads bind: 12 for 32 FMAs
// Numerics  float32 sums in ascending k, the bias last, one rounding: |error| <= u_out |y| + (c + 1) 2^-23 sum |w x|
// Requires  nothing of alignment or divisibility; element offsets are 64 bits wide
// Source    arXiv 2405.15013, section 3: output-stationary tiles over (batch, b); here with tails and several l a tile
#pragma once

#include "common/numeric.cuh"
#include "kernels/kronecker/config.h"
#include "kernels/kronecker/problem.h"

namespace warptile::kronecker {

// Where a tile starts. Tiles that share inputs are neighbours: j fastest, then l, i and the batch.
struct TileOrigin {
  int64_t i, j, l, n;
};

__device__ __forceinline__ TileOrigin tile_origin(int64_t tile, const Plan& plan, int64_t blocks, int outputs_j) {
  TileOrigin origin;
  origin.j = tile % plan.j_tiles * outputs_j;
  tile /= plan.j_tiles;
  origin.l = (tile % plan.l_tiles) << plan.log_group;
  tile /= plan.l_tiles;
  origin.i = tile % blocks;
  origin.n = tile / blocks * Tile::kBatch;
  return origin;
}

// Inputs k, l from (k0, at.l) and n from at.n, zero outside the problem. Consecutive threads read consecutive memory: along
// n where the batch is contiguous, else along (k, l).
template <typename In, typename Weight, typename Out>
__device__ __forceinline__ void load_x_tile(const FactorProblem<In, Weight, Out>& p, const Plan& plan,
                                            const TileOrigin& at, int64_t k0, float* x_tile) {
  const int thread = threadIdx.x;
  const bool batch_last = p.x_strides.batch == 1;
  int input = batch_last ? thread / Tile::kBatch : thread % Tile::kInputs;
  int column = batch_last ? thread % Tile::kBatch : thread / Tile::kInputs;
  constexpr int kSteps = Tile::kBatch * Tile::kInputs / kThreads;
  // A step of 4 inputs is a whole number of k, as the group is at most 4 there: a thread keeps its l.
  static_assert(kThreads / Tile::kBatch == 1 << kMaxLogGroupBatchLast, "l changes between steps");
  const int input_step = batch_last ? kThreads / Tile::kBatch : 0;
  const int column_step = batch_last ? 0 : kThreads / Tile::kInputs;
  const int k_step = input_step >> plan.log_group;

  const int64_t l = at.l + (input & ((1 << plan.log_group) - 1));
  int64_t k = k0 + (input >> plan.log_group);
  int64_t n = at.n + column;
  int64_t offset = at.i * p.x_strides.block + k * p.x_strides.inner + l * p.x_strides.lane + n * p.x_strides.batch;
  const int64_t offset_step = k_step * p.x_strides.inner + column_step * p.x_strides.batch;
  float values[kSteps];
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    values[s] = l < p.d && k < p.c && n < p.batch ? to_float(p.x[offset]) : 0.0f;
    k += k_step;
    n += column_step;
    offset += offset_step;
  }
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    x_tile[(input + s * input_step) * Tile::kBatchPitch + column + s * column_step] = values[s];
  }
}

// Weights of outputs (j, l) from (at.j, at.l) and of k from k0, zero outside the problem. Consecutive threads read along
// (k, l), which is contiguous where the group is all of d.
template <int kPitch, typename In, typename Weight, typename Out>
__device__ __forceinline__ void load_w_tile(const FactorProblem<In, Weight, Out>& p, const Plan& plan,
                                            const TileOrigin& at, int64_t k0, int outputs_j, float* w_tile) {
  const int input = threadIdx.x % Tile::kInputs;
  const int lane = input & ((1 << plan.log_group) - 1);
  const int step = input >> plan.log_group;
  const int64_t k = k0 + step;
  const int64_t l = at.l + lane;
  const bool inside = k < p.c && l < p.d;
  const int64_t row = p.c * p.d;
  const Weight* weights = p.w + (at.i * p.b + at.j) * row + k * p.d + l;
#pragma unroll 4
  for (int j = threadIdx.x / Tile::kInputs; j < outputs_j; j += kWarps) {
    const float value = inside && at.j + j < p.b ? to_float(weights[j * row]) : 0.0f;
    w_tile[step * kPitch + (j << plan.log_group) + lane] = value;
  }
}

template <int kOutputsPerThread, typename In, typename Weight, typename Out>
__global__ void __launch_bounds__(kThreads, 2) kronecker_tile_kernel(const FactorProblem<In, Weight, Out> p,
                                                                  const Plan plan) {
  constexpr int kOutputs = Tile::kLanes * kOutputsPerThread;
  // An odd pitch: neighbouring k are stored to different banks.
  constexpr int kOutputPitch = kOutputs + 1;
  __shared__ float x_tile[Tile::kInputs * Tile::kBatchPitch];  // [(k,l)][n]
  __shared__ float w_tile[Tile::kInputs * kOutputPitch];       // [k][(j,l)]: 32 / group rows of it are used

  const int group = 1 << plan.log_group;
  const int outputs_j = kOutputs >> plan.log_group;
  const int depth = Tile::kInputs >> plan.log_group;
  // Consecutive threads store consecutive memory.
  const bool batch_last = p.y_strides.batch == 1;
  const int output = batch_last ? threadIdx.x / Tile::kLanes : threadIdx.x % Tile::kLanes;
  const int column = batch_last ? threadIdx.x % Tile::kLanes : threadIdx.x / Tile::kLanes;
  const int lane = output & (group - 1);
  const int first_j = output >> plan.log_group;
  const int j_step = Tile::kLanes >> plan.log_group;

  for (int64_t tile = blockIdx.x; tile < plan.items; tile += gridDim.x) {
    const TileOrigin at = tile_origin(tile, plan, p.a, outputs_j);
    float sums[kOutputsPerThread][Tile::kBatchPerThread] = {};
    for (int64_t k0 = 0; k0 < p.c; k0 += depth) {
      load_x_tile(p, plan, at, k0, x_tile);
      load_w_tile<kOutputPitch>(p, plan, at, k0, outputs_j, w_tile);
      // Both tiles are whole before any thread reads them.
      __syncthreads();
      const int steps = p.c - k0 < depth ? static_cast<int>(p.c - k0) : depth;
#pragma unroll 4
      for (int k = 0; k < steps; ++k) {
        const float* x_row = x_tile + (k * group + lane) * Tile::kBatchPitch + column;
        const float* w_row = w_tile + k * kOutputPitch + output;
        float x[Tile::kBatchPerThread];
#pragma unroll
        for (int r = 0; r < Tile::kBatchPerThread; ++r) x[r] = x_row[r * Tile::kLanes];
#pragma unroll
        for (int m = 0; m < kOutputsPerThread; ++m) {
          const float w = w_row[m * Tile::kLanes];
#pragma unroll
          for (int r = 0; r < Tile::kBatchPerThread; ++r) sums[m][r] = fmaf(w, x[r], sums[m][r]);
        }
      }
      // Every thread is done with both tiles before the next step, or the next tile, overwrites them.
      __syncthreads();
    }

    const int64_t l = at.l + lane;
    if (l >= p.d) continue;
#pragma unroll
    for (int m = 0; m < kOutputsPerThread; ++m) {
      const int64_t j = at.j + first_j + m * j_step;
      if (j >= p.b) break;
      const float bias = p.bias ? to_float(p.bias[(at.i * p.b + j) * p.d + l]) : 0.0f;
      Out* y = p.y + at.i * p.y_strides.block + j * p.y_strides.inner + l * p.y_strides.lane;
#pragma unroll
      for (int r = 0; r < Tile::kBatchPerThread; ++r) {
        const int64_t n = at.n + column + r * Tile::kLanes;
        if (n < p.batch) y[n * p.y_strides.batch] = from_float<Out>(sums[m][r] + bias);
      }
    }
  }
}

}  // namespace warptile::kronecker
