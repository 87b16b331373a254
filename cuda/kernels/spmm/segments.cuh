// Sums of rows that are cut into segments.   C[i,:] = alpha sum_s partial[s,:] + beta C[i,:]
// Layout    partial [batch, segments, pitch], those of a row one after another; long_rows [long rows, 3]: row, first and past its last slot
// Tiling    a block takes 32 columns of a row, or one where there is one: 8 threads a column, or all, each every eighth segment
// Memory    shared: 1 KiB
// Roofline  4 bytes a segment and column; a launch of about 1 us
// Numerics  float32, in a fixed order: bitwise repeatable
// Requires  -
// Source    -
#pragma once

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "common/workspace.h"
#include "kernels/spmm/config.h"
#include "kernels/spmm/entries.cuh"

namespace warptile::spmm_kernels {

constexpr int kSegmentThreads = 256;

template <typename T, int kColumns>
__global__ void __launch_bounds__(kSegmentThreads)
    spmm_add_segments_kernel(const SpmmParams p, const int32_t* long_rows, const float* __restrict__ partial, int64_t pitch) {
  constexpr int kParts = kSegmentThreads / kColumns;
  __shared__ float sums[kSegmentThreads];
  const int32_t* long_row = long_rows + 3 * static_cast<int64_t>(blockIdx.x);
  const int64_t row = long_row[0];
  const int64_t first = long_row[1];
  const int64_t last = long_row[2];
  const int own = threadIdx.x % kColumns;
  const int part = threadIdx.x / kColumns;
  follow_previous_kernel();
  // The grid holds at most 65,535 problems and column tiles: the rest follows in these loops.
  for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
    for (int64_t tile = blockIdx.y; tile * kColumns < p.n; tile += gridDim.y) {
      const int64_t column = tile * kColumns + own;
      const float* source = partial + problem * p.bins.segments * pitch + column;
      float sum[1] = {};
      if (column < p.n) {
#pragma unroll 4
        for (int64_t segment = first + part; segment < last; segment += kParts) sum[0] += source[segment * pitch];
      }
      sums[threadIdx.x] = sum[0];
      __syncthreads();
      if (part == 0 && column < p.n) {
        const int parts = static_cast<int>(min(last - first, static_cast<int64_t>(kParts)));
        for (int other = 1; other < parts; ++other) sum[0] += sums[other * kColumns + own];
        store_whole<T, 1>(static_cast<T*>(p.c) + problem * p.c_stride + row * p.ldc + column, sum, p.alpha, p.beta);
      }
      // The next tile overwrites the sums.
      __syncthreads();
    }
  }
}

// Room for the sums of all segments; none where no row is cut.
inline Status allocate_segments(const SpmmParams& params, const LaunchContext& context, float** partial) {
  *partial = nullptr;
  if (params.bins.segments == 0) return Status::ok();
  return allocate_workspace(context, "spmm", {params.batch, params.bins.segments, readable_columns(params), int64_t{sizeof(float)}}, partial);
}

template <typename T>
Status add_segments(const SpmmParams& params, const LaunchContext& context, const float* partial) {
  const SpmmBins& bins = params.bins;
  const int columns = params.n == 1 ? 1 : 32;
  LaunchShape shape;
  shape.overlaps = true;
  shape.threads = kSegmentThreads;
  shape.grid_x = bins.long_rows;
  shape.grid_y = std::min(ceil_div(params.n, columns), kMaxGridYZ);
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  const int32_t* long_rows = bins.data + 4 * bins.items;
  const int64_t pitch = readable_columns(params);
  return columns == 1 ? launch(context, spmm_add_segments_kernel<T, 1>, shape, params, long_rows, partial, pitch)
                      : launch(context, spmm_add_segments_kernel<T, 32>, shape, params, long_rows, partial, pitch);
}

}  // namespace warptile::spmm_kernels
