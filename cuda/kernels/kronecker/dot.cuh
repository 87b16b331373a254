// Kronecker-sparse factor, small batch or small blocks.   y[i,j,l,n] = bias[i,j,l] + sum_k w[i,j,k,l] x[i,k,l,n]
// Layout    x (i,k,l,n) and y (i,j,l,n) by strides: batch first (l contiguous) or batch last (n contiguous); w [a,b,c,d]
// Tiling    a group of 2^log_lanes lanes takes one (i,j), 2^log_group neighbouring l and kRows entries of the batch. Its lanes
//           lie along (k,l), l fastest, so that they read w as it lies; lanes of one l then add up by shuffles:
//               d = 2, c = 4:   k0l0 k0l1 k1l0 k1l1 k2l0 k2l1 k3l0 k3l1 | the next j ...    (4 groups a warp)
// Memory    no shared memory; 48 to 64 registers: four or five blocks an SM, whose warps hide the latency
// Roofline  bytes s [a b c d + batch a d (b + c)]: the weights, read once for every kRows entries of the batch
// Numerics  float32: each lane in ascending k, then a butterfly over the lanes; |error| <= u_out |y| + (c + 1) 2^-23 sum |w x|
// Requires  nothing of alignment or divisibility; element offsets are 64 bits wide
// Source    a matrix-vector product; arXiv 2405.15013 treats large batches alone
#pragma once

#include "common/numeric.cuh"
#include "kernels/kronecker/config.h"
#include "kernels/kronecker/problem.h"

namespace warptile::kronecker {

template <int kRows, typename In, typename Weight, typename Out>
__global__ void __launch_bounds__(kThreads, 3) kronecker_dot_kernel(const FactorProblem<In, Weight, Out> p,
                                                                 const Plan plan) {
  const int lane = threadIdx.x % kWarpSize;
  const int group = 1 << plan.log_group;
  const int groups_log = 5 - plan.log_lanes;  // of groups in a warp
  const int first_k = (lane & ((1 << plan.log_lanes) - 1)) >> plan.log_group;
  const int k_lanes = 1 << (plan.log_lanes - plan.log_group);
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpSize;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * kWarps;

  // The bound holds for a warp as a whole, so that all its lanes meet in the shuffles.
  for (int64_t first = warp << groups_log; first < plan.items; first += warps << groups_log) {
    int64_t item = first + (lane >> plan.log_lanes);
    const bool active = item < plan.items;
    const int64_t l = (item % plan.l_tiles << plan.log_group) + (lane & (group - 1));
    item /= plan.l_tiles;
    const int64_t row = item % (p.a * p.b);  // i b + j
    const int64_t n0 = item / (p.a * p.b) * kRows;
    const int64_t i = row / p.b;
    const bool inside = active && l < p.d;

    float sums[kRows] = {};
    if (inside) {
      const Weight* w = p.w + (row * p.c + first_k) * p.d + l;
      const In* x[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        // Entries past the batch repeat its last one and are not stored.
        const int64_t n = n0 + r < p.batch ? n0 + r : p.batch - 1;
        x[r] = p.x + i * p.x_strides.block + first_k * p.x_strides.inner + l * p.x_strides.lane + n * p.x_strides.batch;
      }
#pragma unroll 4
      for (int64_t k = first_k; k < p.c; k += k_lanes) {
        const float weight = to_float(*w);
        w += k_lanes * p.d;
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          sums[r] = fmaf(weight, to_float(*x[r]), sums[r]);
          x[r] += k_lanes * p.x_strides.inner;
        }
      }
    }
    for (int offset = 1 << plan.log_lanes >> 1; offset >= group; offset >>= 1) {
#pragma unroll
      for (int r = 0; r < kRows; ++r) sums[r] += __shfl_xor_sync(kFullMask, sums[r], offset);
    }
    if (!inside || first_k != 0) continue;
    const float bias = p.bias ? to_float(p.bias[row * p.d + l]) : 0.0f;
    Out* y = p.y + i * p.y_strides.block + (row - i * p.b) * p.y_strides.inner + l * p.y_strides.lane;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (n0 + r < p.batch) y[(n0 + r) * p.y_strides.batch] = from_float<Out>(sums[r] + bias);
    }
  }
}

}  // namespace warptile::kronecker
