// Softmax over the stored elements of each row.   y[p] = exp(scale x[p] - max) / sum exp(scale x - max)
// Layout    row_ptr[ceil(m/r)+1], col[blocks], x and y [blocks,r,c]; CSR has r = c = 1
// Tiling    a warp a row: lane l takes elements l, l + 32, ... of the row's blocks laid side by side, in three passes over them
//           (largest, sum, output), of which the second and third find them in L1 or L2
// Memory    no shared memory
// Roofline  bytes of x and y once; long rows that leave L2 are read three times
// Numerics  float32, butterflies in fixed order: bitwise repeatable. With t = scale x, relative error of a value at most
//           2^-24 (|t| + |max| + 3 |t - max| + n + 7) and as much again for the sum; exp2f is within 2 ulp
//           (CUDA C++ Programming Guide, "Mathematical Functions"). A row of -Infinity alone gives zeros.
// Requires  nothing of alignment; y may be x, as each element is read and written by the same lane
// Source    three-pass softmax; no paper

#include "api/sparse_softmax.h"

#include <algorithm>
#include <cmath>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"

namespace warptile {
namespace {

constexpr int kThreads = 128;
constexpr float kLog2E = 1.4426950408889634f;

// The elements of one row: the row's parts of its blocks, side by side.
template <bool kBlocks>
struct RowElements {
  const SparsePattern& pattern;
  int64_t first;  // the row's first block
  int inner;      // the row within its blocks
  uint32_t count;

  __device__ __forceinline__ int64_t position(uint32_t e) const {
    if (!kBlocks) return first + e;
    const int64_t block = first + e / pattern.block_columns;
    return (block * pattern.block_rows + inner) * pattern.block_columns + e % pattern.block_columns;
  }

  // False for the columns of an edge block outside the matrix.
  __device__ __forceinline__ bool inside(uint32_t e) const {
    if (!kBlocks) return true;
    const int64_t block_column = pattern.col[first + e / pattern.block_columns];
    return block_column * pattern.block_columns + e % pattern.block_columns < pattern.columns;
  }
};

template <typename T, bool kBlocks>
__global__ void __launch_bounds__(kThreads) sparse_softmax_row_kernel(const SparseSoftmaxParams p) {
  const SparsePattern& pattern = p.pattern;
  const uint32_t lane = threadIdx.x % kWarpSize;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / kWarpSize) + threadIdx.x / kWarpSize;
  const int64_t block_row = kBlocks ? row / pattern.block_rows : row;
  // All lanes of a warp leave together: the shuffles below need every one of them.
  if (block_row * pattern.block_rows >= pattern.rows) return;
  const int first = pattern.row_ptr[block_row];
  const uint32_t blocks = static_cast<uint32_t>(pattern.row_ptr[block_row + 1] - first);
  const RowElements<kBlocks> elements{pattern, first, kBlocks ? static_cast<int>(row % pattern.block_rows) : 0,
                                      kBlocks ? blocks * pattern.block_columns : blocks};
  const int64_t set_size = pattern.stored * pattern.block_rows * pattern.block_columns;

  for (int64_t set = blockIdx.y; set < p.batch; set += gridDim.y) {
    const T* x = static_cast<const T*>(p.values) + set * set_size;
    T* y = static_cast<T*>(p.out) + set * set_size;
    // A row below the matrix, in blocks that hang over its edge, has no elements inside.
    const bool row_inside = row < pattern.rows;
    float largest = -INFINITY;
    for (uint32_t e = lane; e < elements.count; e += kWarpSize) {
      // fmaxf drops NaN; the exponentials bring it back.
      if (row_inside && elements.inside(e)) largest = fmaxf(largest, p.scale * to_float(x[elements.position(e)]));
    }
    __syncwarp();
    largest = warp_max(largest);
    // All -Infinity (or NaN): the exponentials are 0 (or NaN) without a shift, where with it all would be NaN.
    const float shift = largest == -INFINITY ? 0.0f : largest;
    float sum = 0;
    for (uint32_t e = lane; e < elements.count; e += kWarpSize) {
      if (row_inside && elements.inside(e)) {
        sum += exp2f((p.scale * to_float(x[elements.position(e)]) - shift) * kLog2E);
      }
    }
    __syncwarp();
    sum = warp_sum(sum);
    // The largest element contributes 1, so a sum of 0 means that there is none: the values below stay 0.
    const float inverse = sum == 0 ? 0.0f : 1.0f / sum;
    for (uint32_t e = lane; e < elements.count; e += kWarpSize) {
      const int64_t position = elements.position(e);
      float value = 0;
      if (row_inside && elements.inside(e)) {
        value = exp2f((p.scale * to_float(x[position]) - shift) * kLog2E) * inverse;
      }
      y[position] = from_float<T>(value);
    }
  }
}

}  // namespace

Status sparse_softmax(const SparseSoftmaxParams& params, const LaunchContext& context) {
  const SparsePattern& pattern = params.pattern;
  if (pattern.stored == 0 || params.batch == 0) return Status::ok();
  // Rows of whole blocks: those below the matrix are written too, as zeros.
  const int64_t rows = round_up(pattern.rows, pattern.block_rows);
  LaunchShape shape;
  shape.grid_x = ceil_div(rows, kThreads / kWarpSize);
  shape.grid_y = std::min(params.batch, kMaxGridYZ);
  shape.threads = kThreads;
  return dispatch_float(params.dtype, [&](auto element) {
    using T = decltype(element);
    return pattern.is_csr() ? launch(context, sparse_softmax_row_kernel<T, false>, shape, params)
                            : launch(context, sparse_softmax_row_kernel<T, true>, shape, params);
  });
}

}  // namespace warptile
