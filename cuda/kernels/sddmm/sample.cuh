// What the kernels share that compute whole tiles of A B^T: where the elements of a tile are stored, and writing them.
#pragma once

#include "common/mma.cuh"
#include "common/numeric.cuh"
#include "kernels/sddmm/config.h"

namespace warptile::sddmm_kernels {

// The first element in [begin, end) of ascending `col` that is not below `column`, or end. Eight parts a round: the seven
// probes are in flight together.
__device__ __forceinline__ int lower_bound(const int32_t* col, int begin, int end, int64_t column) {
  constexpr int kProbes = 7;
  int low = begin;
  // The answer lies in [low, low + count].
  for (int count = end - begin; count > 0;) {
    const int step = count / (kProbes + 1) + 1;
    int before = 0;
#pragma unroll
    for (int i = 1; i <= kProbes; ++i) {
      const int probe = i * step - 1;
      if (probe < count && col[low + probe] < column) ++before;
    }
    low += before * step;
    count = min(step - 1, count - before * step);
  }
  return low;
}

// Where the elements of a tile's rows begin and end.
template <int kRows>
using Bounds = int[2][kRows];

// bounds[0][r] and bounds[1][r]: the elements of row first_row + r with columns from first_column to before past_column.
template <int kRows, int kThreads>
__device__ __forceinline__ void find_elements(const SparsePattern& s, int64_t first_row, int64_t first_column,
                                              int64_t past_column, Bounds<kRows>& bounds) {
  for (int i = threadIdx.x; i < 2 * kRows; i += kThreads) {
    const int side = i / kRows;
    const int64_t row = first_row + i % kRows;
    int found = 0;
    if (row < s.rows) found = lower_bound(s.col, s.row_ptr[row], s.row_ptr[row + 1], side == 0 ? first_column : past_column);
    bounds[side][i % kRows] = found;
  }
}

// Whether a tile stores anything: the same in all threads. Ends with a barrier, after which `bounds` can be read.
template <int kRows>
__device__ __forceinline__ bool any_element(const Bounds<kRows>& bounds) {
  __syncthreads();
  return __syncthreads_or(threadIdx.x < kRows && bounds[0][threadIdx.x] < bounds[1][threadIdx.x]) != 0;
}

// The lowest column that the rows of a panel store, or the number of columns.
template <int kRows>
__device__ __forceinline__ int first_stored_column(const SparsePattern& s, int64_t first_row) {
  __shared__ int lowest[kRows / kWarpSize];
  if (threadIdx.x < kRows) {
    const int64_t row = first_row + threadIdx.x;
    int column = static_cast<int>(s.columns);
    if (row < s.rows) {
      const int begin = s.row_ptr[row];
      if (begin < s.row_ptr[row + 1]) column = s.col[begin];
    }
    column = __reduce_min_sync(kFullMask, column);
    if (threadIdx.x % kWarpSize == 0) lowest[threadIdx.x / kWarpSize] = column;
  }
  __syncthreads();
  int column = lowest[0];
#pragma unroll
  for (int i = 1; i < kRows / kWarpSize; ++i) column = min(column, lowest[i]);
  return column;
}

// Writes the elements of a tile, of which `tile` holds all products, rows kStride apart: kWalk lanes a row. Many columns are
// loaded together, as each load takes longer than all that follows it.
template <typename T, int kRows, int kStride, int kThreads, int kWalk>
__device__ __forceinline__ void sample_tile(const SddmmParams& p, int64_t problem, const float* tile,
                                            const Bounds<kRows>& bounds, int first_column) {
  constexpr int kGroups = kThreads / kWalk;
  constexpr int kRowsEach = (kRows + kGroups - 1) / kGroups;
  constexpr int kTogether = kRowsEach < 4 ? kRowsEach : 4;  // rows
  constexpr int kLoads = 4;                                 // of each row
  const int lane = threadIdx.x % kWalk;
  const T* factors = static_cast<const T*>(p.factors) + problem * p.factors_stride;
  T* out = static_cast<T*>(p.out) + problem * p.out_stride;
  const int32_t* col = p.pattern.col;
  for (int row = threadIdx.x / kWalk; row < kRows; row += kTogether * kGroups) {
    // Unsigned: past the last element by up to 127, which 2^31 - 1 elements leave no room for.
    uint32_t element[kTogether], past[kTogether];
    bool more = false;
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int r = row + i * kGroups;
      element[i] = r < kRows ? bounds[0][r] + lane : 0;
      past[i] = r < kRows ? bounds[1][r] : 0;
      more = more || element[i] < past[i];
    }
    while (more) {
      int column[kTogether][kLoads];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
#pragma unroll
        for (int j = 0; j < kLoads; ++j) {
          const uint32_t e = element[i] + j * kWalk;
          column[i][j] = e < past[i] ? col[e] - first_column : -1;
        }
      }
      more = false;
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
#pragma unroll
        for (int j = 0; j < kLoads; ++j) {
          if (column[i][j] < 0) continue;
          const uint32_t e = element[i] + j * kWalk;
          float value = p.alpha * tile[(row + i * kGroups) * kStride + column[i][j]];
          if (p.factors != nullptr) value *= to_float(factors[e]);
          out[e] = from_float<T>(value);
        }
        element[i] += kLoads * kWalk;
        more = more || element[i] < past[i];
      }
    }
  }
}

// As above, with 8 or 32 lanes a row as the plan says.
template <typename T, int kRows, int kStride, int kThreads>
__device__ __forceinline__ void sample_tile(const SddmmParams& p, int64_t problem, const float* tile,
                                            const Bounds<kRows>& bounds, int first_column) {
  if (p.plan.walk >= 32) {
    sample_tile<T, kRows, kStride, kThreads, 32>(p, problem, tile, bounds, first_column);
  } else {
    sample_tile<T, kRows, kStride, kThreads, 8>(p, problem, tile, bounds, first_column);
  }
}

}  // namespace warptile::sddmm_kernels
