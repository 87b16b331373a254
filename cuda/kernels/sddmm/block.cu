// SDDMM, block-sparse mask.           S[p] = alpha factor[p] .* (A[I,:] B[J,:]^T), I and J the rows and columns of block p
// Layout    mask: row_ptr[ceil(m/r)+1], col[blocks];  A [m,k];  B [n,k];  S [blocks,r,c];  r, c from 1 to 64
// Tiling    one CTA a block, 32 columns of A and B at a time; thread (y, x) of 8 x 16 sums rows y + 8 i and columns x + 16 j
//           of the block, up to 8 x 4 of them. The block's row is found by binary search of row_ptr.
// Memory    shared: (8 kRows + 16 kColumns) x 33 floats, at most 17 KiB; up to 32 accumulators a thread
// Roofline  bytes of S once, rows of A and B once for each block; shared-memory bandwidth bounds large blocks
// Numerics  float32, each element by one thread in ascending k: bitwise repeatable; |error| <= (k + 2) 2^-24 sum |a b|,
//           then one rounding; elements outside the matrix are written as zero
// Requires  nothing of alignment
// Source    plain tiled product of gathered rows; no paper

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/sddmm/config.h"
#include "kernels/sddmm/find_row.cuh"

namespace warptile::sddmm_kernels {
namespace {

// Loads columns [depth, depth + 32) of `valid` consecutive rows from `origin` on, zero below them and past the operand's last column.
// Consecutive threads read consecutive columns.
template <typename T, int kRows>
__device__ __forceinline__ void load_rows(const T* origin, int valid, int64_t stride, int64_t depth, int64_t columns,
                                          float (&tile)[kRows][kBlockTileDepth + 1]) {
  constexpr int kStep = kBlockThreads / kBlockTileDepth;
  const int t = threadIdx.x % kBlockTileDepth;
  const bool inside = depth + t < columns;
  const T* source = origin + threadIdx.x / kBlockTileDepth * stride + depth + t;
#pragma unroll 4
  for (int row = threadIdx.x / kBlockTileDepth; row < kRows; row += kStep) {
    tile[row][t] = inside && row < valid ? to_float(*source) : 0.0f;
    source += kStep * stride;
  }
}

// Six blocks a multiprocessor: without the bound ptxas spills a few registers to fit more.
template <typename T, int kRows, int kColumns>
__global__ void __launch_bounds__(kBlockThreads, 6) sddmm_block_kernel(const SddmmParams p) {
  // One more than the depth, so that 16 threads reading one column of 16 rows meet 16 banks.
  __shared__ float a_tile[kBlockThreadRows * kRows][kBlockTileDepth + 1];
  __shared__ float b_tile[kBlockThreadColumns * kColumns][kBlockTileDepth + 1];
  follow_previous_kernel();
  const SparsePattern& s = p.pattern;
  const int x = threadIdx.x % kBlockThreadColumns;
  const int y = threadIdx.x / kBlockThreadColumns;
  const int64_t block = blockIdx.x;
  const int block_row_count = static_cast<int>((s.rows + s.block_rows - 1) / s.block_rows);
  const int64_t first_row = static_cast<int64_t>(find_row(s.row_ptr, 0, block_row_count - 1, block)) * s.block_rows;
  const int64_t first_column = static_cast<int64_t>(s.col[block]) * s.block_columns;
  // Rows and columns of the block that lie inside the matrix.
  const int valid_rows = static_cast<int>(min(static_cast<int64_t>(s.block_rows), s.rows - first_row));
  const int valid_columns = static_cast<int>(min(static_cast<int64_t>(s.block_columns), s.columns - first_column));

  for (int64_t problem = blockIdx.y; problem < p.batch; problem += gridDim.y) {
    const T* a = static_cast<const T*>(p.a) + problem * p.a_stride + first_row * p.lda;
    const T* b = static_cast<const T*>(p.b) + problem * p.b_stride + first_column * p.ldb;
    float sum[kRows][kColumns] = {};
    for (int64_t depth = 0; depth < p.depth; depth += kBlockTileDepth) {
      // All threads are done with the products of the step before.
      __syncthreads();
      load_rows(a, valid_rows, p.lda, depth, p.depth, a_tile);
      load_rows(b, valid_columns, p.ldb, depth, p.depth, b_tile);
      __syncthreads();
#pragma unroll 4
      for (int t = 0; t < kBlockTileDepth; ++t) {
        float left[kRows];
#pragma unroll
        for (int i = 0; i < kRows; ++i) left[i] = a_tile[y + i * kBlockThreadRows][t];
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          const float right = b_tile[x + j * kBlockThreadColumns][t];
#pragma unroll
          for (int i = 0; i < kRows; ++i) sum[i][j] = fmaf(left[i], right, sum[i][j]);
        }
      }
    }
    const int64_t base = block * s.block_rows * s.block_columns;
    const T* factors = static_cast<const T*>(p.factors);
    const int64_t factors_base = problem * p.factors_stride + base;
    T* out = static_cast<T*>(p.out) + problem * p.out_stride + base;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const int row = y + i * kBlockThreadRows;
        const int column = x + j * kBlockThreadColumns;
        if (row >= s.block_rows || column >= s.block_columns) continue;
        const int position = row * s.block_columns + column;
        float value = 0;
        if (row < valid_rows && column < valid_columns) {
          value = p.alpha * sum[i][j];
          if (factors != nullptr) value *= to_float(factors[factors_base + position]);
        }
        out[position] = from_float<T>(value);
      }
    }
  }
}

template <typename T, int kRows, int kColumns>
Status launch_blocks(const SddmmParams& params, const LaunchContext& context) {
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = params.pattern.stored;
  shape.grid_y = std::min(params.batch, kMaxGridYZ);
  shape.threads = kBlockThreads;
  return launch(context, sddmm_block_kernel<T, kRows, kColumns>, shape, params);
}

}  // namespace

Status launch_block(const SddmmParams& params, const LaunchContext& context) {
  return dispatch_float(params.dtype, [&](auto element) {
    using T = decltype(element);
    const int rows = params.pattern.block_rows;
    const int columns = params.pattern.block_columns;
    if (rows <= 2 * kBlockThreadRows && columns <= kBlockThreadColumns) return launch_blocks<T, 2, 1>(params, context);
    if (rows <= 4 * kBlockThreadRows && columns <= 2 * kBlockThreadColumns) {
      return launch_blocks<T, 4, 2>(params, context);
    }
    return launch_blocks<T, 8, 4>(params, context);
  });
}

}  // namespace warptile::sddmm_kernels
