// SDDMM, CSR mask, float16 and bfloat16, tensor cores.    S[p] = alpha factor[p] (A B^T)[i, col[p]], i the row of element p
// Layout    mask: row_ptr[m+1], col[nnz];  A [m,k];  B [n,k];  S [nnz]
// Tiling    a block computes all kRows x kColumns products of a tile of A B^T, 64 columns of A and B at a time, in kStages
//           stages; kWarpRows x kWarpColumns warps share it:
//                      kColumns of B
//                    +-----+-----+
//           kRows of | w0  | w1  |      then writes the elements that the mask stores within it, `walk` lanes a row.
//           A        +-----+-----+
//                    | w2  | w3  |
//                    +-----+-----+
//           Grid x: tiles of columns, y: of rows, z: batch. In a banded matrix a panel's tiles begin at its first stored column,
//           and those that store nothing end early.
// Memory    shared: kStages (kRows + kColumns) 128 bytes, reused for the products, kRows (kColumns + 8) floats
// Roofline  2 k products a tile element on the tensor cores, or rows of A and B once a tile from L2
// Numerics  float32 accumulators over k in order, 16 at a time: bitwise repeatable; |error| <= 2 (k + 2) 2^-24 sum |a b|.
//           Products that the mask leaves out are computed and dropped: NaN and infinities in them go nowhere.
// Requires  k, lda, ldb and the strides multiples of 8, 16-byte aligned bases
// Source    dense tiles sampled by the mask; no paper
#pragma once

#include "common/checked.h"
#include "common/launch.cuh"
#include "kernels/sddmm/sample.cuh"

namespace warptile::sddmm_kernels {

template <typename T, int kRows, int kColumns, int kWarpRows, int kWarpColumns, int kStages>
struct TileShape {
  static constexpr int kDepth = 64;             // of a stage: 128 bytes a row, eight 16-byte chunks
  static constexpr int kChunks = kDepth / 8;
  static constexpr int kThreads = kWarpRows * kWarpColumns * kWarpSize;
  static constexpr int kWarpM = kRows / kWarpRows / 16;  // 16 x 16 and 16 x 8 fragments of a warp
  static constexpr int kWarpN = kColumns / kWarpColumns / 8;
  // 8 more: the 8 rows of a fragment meet all banks.
  static constexpr int kStride = kColumns + 8;
  static constexpr int kStageElements = (kRows + kColumns) * kDepth;
  static constexpr size_t kTileBytes = kStages * kStageElements * sizeof(T) > kRows * kStride * sizeof(float)
                                           ? kStages * kStageElements * sizeof(T)
                                           : kRows * kStride * sizeof(float);
  static constexpr size_t kShared = kTileBytes + sizeof(Bounds<kRows>);
  static_assert(kWarpM >= 1 && kWarpN >= 2 && kWarpN % 2 == 0, "ldmatrix brings two fragments of B");
};

// Begins copying kDepth columns from `depth` on of kCount rows from `first` on; zeros beyond the operand. Chunk c of row r lies
// at c ^ (r % 8): ldmatrix then meets all banks.
template <typename T, int kCount, int kThreads>
__device__ __forceinline__ void stage_rows(T* target, const T* source, int64_t first, int64_t rows, int64_t stride,
                                           int64_t depth, int64_t columns) {
#pragma unroll
  for (int i = threadIdx.x; i < kCount * 8; i += kThreads) {
    const int row = i / 8;
    const int chunk = i % 8;
    const bool inside = first + row < rows && depth + chunk * 8 < columns;
    const T* from = inside ? source + (first + row) * stride + depth + chunk * 8 : source;
    copy_async_16(shared_address(target + row * 64 + (chunk ^ (row % 8)) * 8), from, inside);
  }
}

template <typename T, int kRows, int kColumns, int kWarpRows, int kWarpColumns, int kStages>
__global__ void __launch_bounds__(kWarpRows * kWarpColumns * kWarpSize) sddmm_tile_kernel(const SddmmParams p) {
  using Shape = TileShape<T, kRows, kColumns, kWarpRows, kWarpColumns, kStages>;
  constexpr int kThreads = Shape::kThreads;
  extern __shared__ __align__(128) unsigned char shared[];
  auto& bounds = *reinterpret_cast<Bounds<kRows>*>(shared + Shape::kTileBytes);
  const SparsePattern& s = p.pattern;
  const int64_t first_row = static_cast<int64_t>(blockIdx.y) * kRows;
  int64_t first_column = static_cast<int64_t>(blockIdx.x) * kColumns;
  if (p.plan.banded) first_column += first_stored_column<kRows>(s, first_row) / kColumns * kColumns;
  const int warp_row = threadIdx.x / kWarpSize / kWarpColumns * (kRows / kWarpRows);
  const int warp_column = threadIdx.x / kWarpSize % kWarpColumns * (kColumns / kWarpColumns);
  const int lane = threadIdx.x % kWarpSize;
  const int steps = static_cast<int>((p.depth + Shape::kDepth - 1) / Shape::kDepth);
  const T* a = static_cast<const T*>(p.a) + blockIdx.z * p.a_stride;
  const T* b = static_cast<const T*>(p.b) + blockIdx.z * p.b_stride;
  T* stages = reinterpret_cast<T*>(shared);

  const auto load = [&](int step) {
    if (step < steps) {
      T* stage = stages + step % kStages * Shape::kStageElements;
      const int64_t depth = static_cast<int64_t>(step) * Shape::kDepth;
      stage_rows<T, kRows, kThreads>(stage, a, first_row, s.rows, p.lda, depth, p.depth);
      stage_rows<T, kColumns, kThreads>(stage + kRows * Shape::kDepth, b, first_column, s.columns, p.ldb, depth, p.depth);
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

  float sums[Shape::kWarpM][Shape::kWarpN][4] = {};
  for (int step = 0; step < steps; ++step) {
    wait_copies<kStages - 2>();
    // The stage of this step has arrived for all threads, and all are done with that of the step before, which `load` fills.
    __syncthreads();
    load(step + kStages - 1);
    const T* a_tile = stages + step % kStages * Shape::kStageElements;
    const T* b_tile = a_tile + kRows * Shape::kDepth;
    const int64_t left = p.depth - static_cast<int64_t>(step) * Shape::kDepth;
#pragma unroll
    for (int inner = 0; inner < Shape::kDepth / 16; ++inner) {
      if (inner * 16 >= left) break;
      uint32_t x[Shape::kWarpM][4];
#pragma unroll
      for (int i = 0; i < Shape::kWarpM; ++i) {
        const int row = warp_row + i * 16 + lane % 16;
        const int chunk = inner * 2 + lane / 16;
        load_matrices(shared_address(a_tile + row * Shape::kDepth + (chunk ^ (row % 8)) * 8), x[i]);
      }
#pragma unroll
      for (int j = 0; j < Shape::kWarpN; j += 2) {
        const int row = warp_column + j * 8 + lane % 8 + lane / 16 * 8;
        const int chunk = inner * 2 + lane / 8 % 2;
        uint32_t y[4];
        load_matrices(shared_address(b_tile + row * Shape::kDepth + (chunk ^ (row % 8)) * 8), y);
#pragma unroll
        for (int i = 0; i < Shape::kWarpM; ++i) {
          multiply_add(sums[i][j], x[i], y[0], y[1], T{});
          multiply_add(sums[i][j + 1], x[i], y[2], y[3], T{});
        }
      }
    }
  }
  wait_copies<0>();
  // All are done with the stages, which the products overwrite.
  __syncthreads();
  float* tile = reinterpret_cast<float*>(shared);
#pragma unroll
  for (int i = 0; i < Shape::kWarpM; ++i) {
#pragma unroll
    for (int j = 0; j < Shape::kWarpN; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = warp_row + i * 16 + half * 8 + lane / 4;
        const int column = warp_column + j * 8 + lane % 4 * 2;
        *reinterpret_cast<float2*>(tile + row * Shape::kStride + column) =
            make_float2(sums[i][j][2 * half], sums[i][j][2 * half + 1]);
      }
    }
  }
  // The products are whole.
  __syncthreads();
  sample_tile<T, kRows, Shape::kStride, kThreads>(p, blockIdx.z, tile, bounds, static_cast<int>(first_column));
}

template <typename T, int kRows, int kColumns, int kWarpRows, int kWarpColumns, int kStages>
Status launch_tile_kernel(const SddmmParams& params, const LaunchContext& context) {
  using Shape = TileShape<T, kRows, kColumns, kWarpRows, kWarpColumns, kStages>;
  LaunchShape shape;
  shape.grid_x = params.plan.banded ? params.plan.column_tiles : ceil_div(params.pattern.columns, kColumns);
  shape.grid_y = ceil_div(params.pattern.rows, kRows);
  shape.grid_z = params.batch;
  shape.threads = Shape::kThreads;
  shape.shared_bytes = Shape::kShared;
  return launch(context, sddmm_tile_kernel<T, kRows, kColumns, kWarpRows, kWarpColumns, kStages>, shape, params);
}

// Requires has_tile(params.dtype, params.plan).
template <typename T>
Status launch_tiles(const SddmmParams& params, const LaunchContext& context) {
  if (params.plan.tile_rows == 32) return launch_tile_kernel<T, 32, 32, 2, 2, 3>(params, context);
  if (params.plan.tile_rows == 128) return launch_tile_kernel<T, 128, 128, 2, 4, 2>(params, context);
  if (params.plan.tile_columns == 128) return launch_tile_kernel<T, 64, 128, 2, 4, 3>(params, context);
  return launch_tile_kernel<T, 64, 64, 2, 4, 4>(params, context);
}

}  // namespace warptile::sddmm_kernels
