// SDDMM, CSR mask, float32, whole tiles.   S[p] = alpha factor[p] (A B^T)[i, col[p]], i the row of element p
// Layout    mask: row_ptr[m+1], col[nnz];  A [m,k];  B [n,k];  S [nnz]
// Tiling    a block computes all kRows x kColumns products of a tile of A B^T, 32 columns of A and B at a time, in kStages
//           stages; thread (y, x) sums rows y + kThreadRows i and columns x + kThreadColumns j. Then it writes the elements
//           that the mask stores within the tile, `walk` lanes a row. Grid x: tiles of columns, y: of rows, z: batch.
// Memory    shared: kStages (kRows + kColumns) 144 bytes, reused for the products, kRows (kColumns + 8) floats
// Roofline  k multiply-adds a tile element
// Numerics  float32, each element by one thread in ascending k: bitwise repeatable; |error| <= (k + 2) 2^-24 sum |a b|.
//           Products that the mask leaves out are computed and dropped: NaN and infinities in them go nowhere.
// Requires  k, lda, ldb and the strides multiples of 4, 16-byte aligned bases
// Source    dense tiles sampled by the mask; no paper
#pragma once

#include "common/checked.h"
#include "common/launch.cuh"
#include "kernels/sddmm/sample.cuh"

namespace warptile::sddmm_kernels {

template <int kRows, int kColumns, int kThreadRows, int kThreadColumns, int kStages>
struct FloatTileShape {
  static constexpr int kDepth = 32;
  // 4 more: 16-byte loads of one chunk of 8 rows meet all banks.
  static constexpr int kRowStride = kDepth + 4;
  static constexpr int kThreads = kThreadRows * kThreadColumns;
  static constexpr int kPerRows = kRows / kThreadRows;
  static constexpr int kPerColumns = kColumns / kThreadColumns;
  static constexpr int kStride = kColumns + 8;
  static constexpr int kStageElements = (kRows + kColumns) * kRowStride;
  static constexpr int kSharedElements =
      kStages * kStageElements > kRows * kStride ? kStages * kStageElements : kRows * kStride;
};

// Begins copying kDepth columns from `depth` on of kCount rows from `first` on; zeros beyond the operand.
template <int kCount, int kThreads, int kDepth, int kRowStride>
__device__ __forceinline__ void stage_float_rows(float* target, const float* source, int64_t first, int64_t rows,
                                                 int64_t stride, int64_t depth, int64_t columns) {
  constexpr int kChunks = kDepth / 4;
#pragma unroll
  for (int i = threadIdx.x; i < kCount * kChunks; i += kThreads) {
    const int row = i / kChunks;
    const int column = i % kChunks * 4;
    const bool inside = first + row < rows && depth + column < columns;
    const float* from = inside ? source + (first + row) * stride + depth + column : source;
    copy_async_16(shared_address(target + row * kRowStride + column), from, inside);
  }
}

template <int kRows, int kColumns, int kThreadRows, int kThreadColumns, int kStages>
__global__ void __launch_bounds__(kThreadRows * kThreadColumns) sddmm_float_tile_kernel(const SddmmParams p) {
  using Shape = FloatTileShape<kRows, kColumns, kThreadRows, kThreadColumns, kStages>;
  constexpr int kThreads = Shape::kThreads;
  extern __shared__ __align__(128) float stages[];
  auto& bounds = *reinterpret_cast<Bounds<kRows>*>(stages + Shape::kSharedElements);
  const SparsePattern& s = p.pattern;
  const int64_t first_row = static_cast<int64_t>(blockIdx.y) * kRows;
  int64_t first_column = static_cast<int64_t>(blockIdx.x) * kColumns;
  if (p.plan.banded) first_column += first_stored_column<kRows>(s, first_row) / kColumns * kColumns;
  const int x = threadIdx.x % kThreadColumns;
  const int y = threadIdx.x / kThreadColumns;
  const int steps = static_cast<int>((p.depth + Shape::kDepth - 1) / Shape::kDepth);
  const float* a = static_cast<const float*>(p.a) + blockIdx.z * p.a_stride;
  const float* b = static_cast<const float*>(p.b) + blockIdx.z * p.b_stride;

  const auto load = [&](int step) {
    if (step < steps) {
      float* stage = stages + step % kStages * Shape::kStageElements;
      const int64_t depth = static_cast<int64_t>(step) * Shape::kDepth;
      stage_float_rows<kRows, kThreads, Shape::kDepth, Shape::kRowStride>(stage, a, first_row, s.rows, p.lda, depth, p.depth);
      stage_float_rows<kColumns, kThreads, Shape::kDepth, Shape::kRowStride>(stage + kRows * Shape::kRowStride, b, first_column,
                                                                             s.columns, p.ldb, depth, p.depth);
    }
    commit_copies();
  };
  if (p.plan.banded) {
    find_elements<kRows, kThreads>(s, first_row, first_column, first_column + kColumns, bounds);
    if (!any_element(bounds)) return;
  }
#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) load(step);
  // In the shadow of the copies.
  if (!p.plan.banded) find_elements<kRows, kThreads>(s, first_row, first_column, first_column + kColumns, bounds);

  float sums[Shape::kPerRows][Shape::kPerColumns] = {};
  for (int step = 0; step < steps; ++step) {
    wait_copies<kStages - 2>();
    // The stage of this step has arrived for all threads, and all are done with that of the step before, which `load` fills.
    __syncthreads();
    load(step + kStages - 1);
    const float* a_tile = stages + step % kStages * Shape::kStageElements;
    const float* b_tile = a_tile + kRows * Shape::kRowStride;
#pragma unroll 2
    for (int t = 0; t < Shape::kDepth; t += 4) {
      Pack<float, 4> right[Shape::kPerColumns];
#pragma unroll
      for (int j = 0; j < Shape::kPerColumns; ++j) {
        right[j] = load_pack<float, 4>(b_tile + (x + j * kThreadColumns) * Shape::kRowStride + t);
      }
#pragma unroll
      for (int i = 0; i < Shape::kPerRows; ++i) {
        const auto left = load_pack<float, 4>(a_tile + (y + i * kThreadRows) * Shape::kRowStride + t);
#pragma unroll
        for (int j = 0; j < Shape::kPerColumns; ++j) {
#pragma unroll
          for (int v = 0; v < 4; ++v) sums[i][j] = fmaf(left.items[v], right[j].items[v], sums[i][j]);
        }
      }
    }
  }
  wait_copies<0>();
  // All are done with the stages, which the products overwrite.
  __syncthreads();
#pragma unroll
  for (int i = 0; i < Shape::kPerRows; ++i) {
#pragma unroll
    for (int j = 0; j < Shape::kPerColumns; ++j) {
      stages[(y + i * kThreadRows) * Shape::kStride + x + j * kThreadColumns] = sums[i][j];
    }
  }
  // The products are whole.
  __syncthreads();
  sample_tile<float, kRows, Shape::kStride, kThreads>(p, blockIdx.z, stages, bounds, static_cast<int>(first_column));
}

template <int kRows, int kColumns, int kThreadRows, int kThreadColumns, int kStages>
Status launch_float_tile_kernel(const SddmmParams& params, const LaunchContext& context) {
  using Shape = FloatTileShape<kRows, kColumns, kThreadRows, kThreadColumns, kStages>;
  LaunchShape shape;
  shape.grid_x = params.plan.banded ? params.plan.column_tiles : ceil_div(params.pattern.columns, kColumns);
  shape.grid_y = ceil_div(params.pattern.rows, kRows);
  shape.grid_z = params.batch;
  shape.threads = Shape::kThreads;
  shape.shared_bytes = Shape::kSharedElements * sizeof(float) + sizeof(Bounds<kRows>);
  return launch(context, sddmm_float_tile_kernel<kRows, kColumns, kThreadRows, kThreadColumns, kStages>, shape, params);
}

// Requires has_tile(params.dtype, params.plan).
template <typename T>
Status launch_tiles(const SddmmParams& params, const LaunchContext& context) {
  if (params.plan.tile_rows == 32) return launch_float_tile_kernel<32, 32, 8, 8, 6>(params, context);
  return launch_float_tile_kernel<64, 64, 16, 16, 3>(params, context);
}

}  // namespace warptile::sddmm_kernels
