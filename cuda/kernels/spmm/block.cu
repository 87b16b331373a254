// SpMM, block-sparse x dense row-major.   C[I,:] = alpha sum_p A[p] B[col[p],:] + beta C[I,:], I a block row
// Layout    A: row_ptr[ceil(m/r)+1], col[blocks], val[blocks,r,c];  B [k,n];  C [m,n];  r, c from 1 to 64
// Tiling    one CTA: a block row (r <= 8 kRowsPerThread) x 64 columns. The blocks of a block row are read as one long strip
//           [r, blocks * c], 32 strip columns at a time, so that small blocks fill a tile as well as large ones:
//
//               strip    | block 0 (c) | block 1 (c) | ...        tile = 32 strip columns, across block borders
//               depth t  -> block t / c, column t % c in it -> row col[block] * c + t % c of B
//
//           thread (y, x) of 8 x 16 sums rows y + 8 i and columns 4 x .. 4 x + 3
// Memory    shared: A tile up to 64 x 33 floats, B tile 32 x 64 floats, 17 KiB; up to 32 accumulators a thread
// Roofline  bytes of A and C once, B once for each block that meets it; shared-memory bandwidth bounds large blocks
// Numerics  float32, each element of C by one thread in ascending strip order: bitwise repeatable;
//           |error| <= (c * blocks of the row + 2) 2^-24 sum |a b|, then one rounding
// Requires  nothing of alignment; strip length below 2^31 + 64 (columns are)
// Source    plain tiled product over a gathered operand; no paper

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"

namespace warptile::spmm_kernels {
namespace {

constexpr int64_t kOutside = -1;

template <int kRowsPerThread>
struct Tiles {
  static constexpr int kRows = kBlockThreadRows * kRowsPerThread;
  alignas(16) float b[kBlockTileDepth][kBlockTileColumns];
  // One more than the depth, so that a warp's two rows lie in different banks.
  float a[kRows][kBlockTileDepth + 1];
  // For each depth of the tile: its row of B and the position of its element of block row 0 in `values`; kOutside past the strip's
  // end and past the matrix's last column.
  int64_t b_row[kBlockTileDepth];
  int64_t a_start[kBlockTileDepth];
};

// Finds where tile column `threadIdx.x` of the strip beginning at `first` lies.
template <int kRowsPerThread>
__device__ __forceinline__ void locate(const SparsePattern& a, int first, uint32_t depth, uint32_t end,
                                       Tiles<kRowsPerThread>& tiles) {
  const uint32_t t = depth + threadIdx.x;
  int64_t b_row = kOutside;
  int64_t a_start = 0;
  if (t < end) {
    const int64_t block = first + static_cast<int64_t>(t / a.block_columns);
    const int inner = static_cast<int>(t % a.block_columns);
    const int64_t row = static_cast<int64_t>(a.col[block]) * a.block_columns + inner;
    if (row < a.columns) b_row = row;
    a_start = block * a.block_rows * a.block_columns + inner;
  }
  tiles.b_row[threadIdx.x] = b_row;
  tiles.a_start[threadIdx.x] = a_start;
}

template <typename T, int kRowsPerThread>
__device__ __forceinline__ void load_tiles(const SpmmParams& p, const T* values, const T* b, int64_t first_column,
                                           Tiles<kRowsPerThread>& tiles) {
  constexpr int kRows = Tiles<kRowsPerThread>::kRows;
#pragma unroll 4
  for (int e = threadIdx.x; e < kRows * kBlockTileDepth; e += kBlockThreads) {
    const int row = e / kBlockTileDepth;
    const int t = e % kBlockTileDepth;
    const bool inside = row < p.pattern.block_rows && tiles.b_row[t] != kOutside;
    tiles.a[row][t] = inside ? to_float(values[tiles.a_start[t] + row * p.pattern.block_columns]) : 0.0f;
  }
#pragma unroll 4
  for (int e = threadIdx.x; e < kBlockTileDepth * kBlockTileColumns; e += kBlockThreads) {
    const int t = e / kBlockTileColumns;
    const int64_t column = first_column + e % kBlockTileColumns;
    const bool inside = column < p.n && tiles.b_row[t] != kOutside;
    tiles.b[t][e % kBlockTileColumns] = inside ? to_float(b[tiles.b_row[t] * p.ldb + column]) : 0.0f;
  }
}

template <typename T, int kRowsPerThread>
__global__ void __launch_bounds__(kBlockThreads) spmm_block_row_kernel(const SpmmParams p) {
  __shared__ Tiles<kRowsPerThread> tiles;
  follow_previous_kernel();
  const SparsePattern& a = p.pattern;
  const int x = threadIdx.x % kBlockThreadColumns;
  const int y = threadIdx.x / kBlockThreadColumns;
  const int first = a.row_ptr[blockIdx.x];
  // At most columns + block_columns - 1, as a row's block columns are distinct.
  const uint32_t end = static_cast<uint32_t>(a.row_ptr[blockIdx.x + 1] - first) * a.block_columns;

  for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
    const T* values = static_cast<const T*>(p.values) + problem * p.values_stride;
    const T* b = static_cast<const T*>(p.b) + problem * p.b_stride;
    T* c = static_cast<T*>(p.c) + problem * p.c_stride;
    for (int64_t tile = blockIdx.y; tile * kBlockTileColumns < p.n; tile += gridDim.y) {
      const int64_t first_column = tile * kBlockTileColumns;
      float sum[kRowsPerThread][kBlockColumnsPerThread] = {};
      for (uint32_t depth = 0; depth < end; depth += kBlockTileDepth) {
        // Positions of the step before are no longer read: all threads have passed the barrier after its loads.
        if (threadIdx.x < kBlockTileDepth) locate(a, first, depth, end, tiles);
        // Here all threads are also done with the products of the step before, so the tiles may be overwritten.
        __syncthreads();
        load_tiles<T>(p, values, b, first_column, tiles);
        __syncthreads();
#pragma unroll 4
        for (int t = 0; t < kBlockTileDepth; ++t) {
          const auto right = load_pack<float, kBlockColumnsPerThread>(&tiles.b[t][x * kBlockColumnsPerThread]);
#pragma unroll
          for (int i = 0; i < kRowsPerThread; ++i) {
            const float left = tiles.a[y + i * kBlockThreadRows][t];
#pragma unroll
            for (int j = 0; j < kBlockColumnsPerThread; ++j) sum[i][j] = fmaf(left, right.items[j], sum[i][j]);
          }
        }
      }
#pragma unroll
      for (int i = 0; i < kRowsPerThread; ++i) {
        const int inner = y + i * kBlockThreadRows;
        const int64_t row = static_cast<int64_t>(blockIdx.x) * a.block_rows + inner;
        if (inner >= a.block_rows || row >= a.rows) continue;
#pragma unroll
        for (int j = 0; j < kBlockColumnsPerThread; ++j) {
          const int64_t column = first_column + x * kBlockColumnsPerThread + j;
          if (column >= p.n) continue;
          T* target = c + row * p.ldc + column;
          const float product = p.alpha * sum[i][j];
          *target = from_float<T>(p.beta == 0 ? product : fmaf(p.beta, to_float(*target), product));
        }
      }
    }
  }
}

template <typename T, int kRowsPerThread>
Status launch_rows(const SpmmParams& params, const LaunchContext& context) {
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = ceil_div(params.pattern.rows, params.pattern.block_rows);
  shape.grid_y = std::min(ceil_div(params.n, kBlockTileColumns), kMaxGridYZ);
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  shape.threads = kBlockThreads;
  return launch(context, spmm_block_row_kernel<T, kRowsPerThread>, shape, params);
}

}  // namespace

Status launch_block(const SpmmParams& params, const LaunchContext& context) {
  return dispatch_float(params.dtype, [&](auto element) {
    using T = decltype(element);
    const int rows = params.pattern.block_rows;
    if (rows <= kBlockThreadRows) return launch_rows<T, 1>(params, context);
    if (rows <= 2 * kBlockThreadRows) return launch_rows<T, 2>(params, context);
    if (rows <= 4 * kBlockThreadRows) return launch_rows<T, 4>(params, context);
    return launch_rows<T, 8>(params, context);
  });
}

}  // namespace warptile::spmm_kernels
