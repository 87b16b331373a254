// A copy of a sparse matrix in strips of rows, for the strip kernel.   values[c, i] = A[strip row i, columns[c]], or 0
// Layout    CSR: row_ptr[m+1], col[stored], val[stored];  strip_ptr[strips+1], columns[count], values[count, rows]
// Tiling    a block a strip, which finds the distinct columns: a bit for each column between the strip's first and last, set where the strip
//           stores something, and prefix sums of the bits
// Memory    shared: a bit and, by the word, a count for each column of the span: 48 KiB for the widest
// Roofline  writes of the copy; runs once a matrix and once after each change of its values
// Numerics  values are copied
// Requires  a CSR matrix in float32; columns of a strip within kSpmmMaxStripSpan of each other (others are left out)
// Source    no paper

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/marks.cuh"

namespace warptile {
namespace spmm_kernels {
namespace {

constexpr int kPackThreads = 256;

__global__ void __launch_bounds__(kPackThreads) spmm_fill_strips_kernel(const SpmmFillStripsParams p, int most_words) {
  extern __shared__ uint32_t shared[];
  const SparsePattern& a = p.pattern;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * p.strip_rows;
  const int64_t last_row = min(first_row + p.strip_rows, a.rows);
  const int begin = a.row_ptr[first_row];
  const int end = a.row_ptr[last_row];
  const int64_t first = p.strip_ptr[blockIdx.x];
  const int count = static_cast<int>(p.strip_ptr[blockIdx.x + 1] - first);
  if (begin == end || count == 0) return;
  // Columns ascend in a row: a lane a row.
  int lowest = INT32_MAX;
  int highest = 0;
  const int64_t lane_row = first_row + threadIdx.x % kWarpSize;
  if (lane_row < last_row && a.row_ptr[lane_row] < a.row_ptr[lane_row + 1]) {
    lowest = a.col[a.row_ptr[lane_row]];
    highest = a.col[a.row_ptr[lane_row + 1] - 1];
  }
  lowest = __reduce_min_sync(kFullMask, lowest);
  highest = __reduce_max_sync(kFullMask, highest);
  const Marks marks{shared, shared + most_words, min(most_words, (highest - lowest) / kMarkBits + 1)};
  const int span = marks.words * kMarkBits;
  marks.clear();
  each_column<kPackThreads>(a.col, begin, end, [&](int32_t column) {
    if (column - lowest < span) marks.set(column - lowest);
  });
  marks.count();
  float* values = p.strip_values + first * p.strip_rows;
  for (int64_t i = threadIdx.x; i < static_cast<int64_t>(count) * p.strip_rows; i += kPackThreads) values[i] = 0;
  // What fills up a multiple of four comes before what is found: where all are found, nothing is left of it.
  for (int i = max(0, count - kSpmmStripStep) + static_cast<int>(threadIdx.x); i < count; i += kPackThreads) {
    p.columns[first + i] = highest;
  }
  // No zero comes after a value, and what is found after what fills up.
  __syncthreads();
  // Where strip_ptr is not of this pattern, nothing outside of the strip is written.
  marks.list(lowest, count, p.columns + first);
  for (int64_t row = first_row + threadIdx.x / kWarpSize; row < last_row; row += kPackThreads / kWarpSize) {
    const int row_end = a.row_ptr[row + 1];
    for (int64_t start = a.row_ptr[row] + static_cast<int64_t>(threadIdx.x % kWarpSize); start < row_end; start += kLoads * kWarpSize) {
      int columns[kLoads];
      float entries[kLoads];
#pragma unroll
      for (int k = 0; k < kLoads; ++k) {
        const int64_t i = start + k * kWarpSize;
        columns[k] = i < row_end ? a.col[i] - lowest : INT32_MAX;
        entries[k] = i < row_end ? p.values[i] : 0.0f;
      }
#pragma unroll
      for (int k = 0; k < kLoads; ++k) {
        if (columns[k] >= span) continue;
        const int place = marks.place(columns[k]);
        if (place < count) values[static_cast<int64_t>(place) * p.strip_rows + (row - first_row)] = entries[k];
      }
    }
  }
  // The strip kernel reads the copy before it waits for the kernel before it: it must be visible when the last block ends.
  __threadfence();
}

}  // namespace
}  // namespace spmm_kernels

Status spmm_fill_strips(const SpmmFillStripsParams& params, const LaunchContext& context) {
  const SparsePattern& a = params.pattern;
  if (!a.is_csr()) return Status::invalid("spmm strips: the matrix is not CSR");
  if (params.strip_rows != 4 && params.strip_rows != 8) return Status::invalid("spmm strips: rows are not 4 or 8");
  const int64_t span = std::min(a.columns, kSpmmMaxStripSpan);
  const int words = static_cast<int>(ceil_div(span, spmm_kernels::kMarkBits));
  LaunchShape shape;
  shape.grid_x = ceil_div(a.rows, params.strip_rows);
  shape.threads = spmm_kernels::kPackThreads;
  shape.shared_bytes = 2 * sizeof(uint32_t) * words;
  return launch(context, spmm_kernels::spmm_fill_strips_kernel, shape, params, words);
}

}  // namespace warptile
