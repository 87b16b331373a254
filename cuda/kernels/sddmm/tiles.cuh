// SDDMM, CSR mask, float16 and bfloat16, tensor cores.    S[p] = alpha factor[p] (A B^T)[i, col[p]], i the row of element p
// Layout    mask: its stored tiles (api/sddmm.h);  A [m,k];  B [n,k];  S [nnz]
// Tiling    a block computes all products of a tile of A B^T that stores anything, 64 columns of A and B at a time, in kStages stages;
//           kWarpRows x kWarpColumns warps share it:
//                        kColumns of B
//                    +----+----+----+----+
//           kRows of | w0 | w1 | w2 | w3 |
//           A        +----+----+----+----+
//                    | w4 | w5 | w6 | w7 |
//                    +----+----+----+----+
//           Then it writes the elements that the mask stores within the tile. Grid x: tiles, y: batch.
// Memory    shared: min(steps, kStages) (kRows + kColumns) 128 bytes, reused for the products, kRows (kColumns + 8) floats
// Roofline  rows of A and B once a tile from L2, or 2 k products a tile element on the tensor cores
// Numerics  float32 accumulators over k in order, 16 at a time: bitwise repeatable;
//           |error| <= 2 (k + 2) 2^-24 sum |a b|. Products that the mask leaves out are computed and dropped: NaN and infinities in
//           them go nowhere.
// Requires  vector 8: k, lda, ldb and the strides multiples of 8, 16-byte aligned bases
// Source    dense tiles sampled by the mask; no paper
#pragma once

#include "kernels/sddmm/tile.cuh"

namespace warptile::sddmm_kernels {

template <typename T, int kRows_, int kColumns_, int kWarpRows_, int kWarpColumns_, int kStages_>
struct TileShape {
  static constexpr int kRows = kRows_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kWarpRows = kWarpRows_;
  static constexpr int kWarpColumns = kWarpColumns_;
  static constexpr int kStages = kStages_;
  static constexpr int kThreads = kWarpRows * kWarpColumns * kWarpSize;
  static constexpr int kDepth = kStageDepth<T>;
  static constexpr int kWarpM = kRows / kWarpRows / 16;  // 16 x 16 and 16 x 8 fragments of a warp
  static constexpr int kWarpN = kColumns / kWarpColumns / 8;
  // 8 more: the 8 rows of a fragment meet all banks.
  static constexpr int kStride = kColumns + 8;
  static constexpr int kStageBytes = (kRows + kColumns) * kStageRowBytes;
  static constexpr int kSumBytes = kRows * kStride * static_cast<int>(sizeof(float));
  static_assert(kWarpM >= 1 && kWarpN >= 2 && kWarpN % 2 == 0, "ldmatrix brings two fragments of B");
};

// Adds the products of one stage: kRows rows of A, and kColumns of B after them.
template <typename T, typename Shape>
__device__ __forceinline__ void multiply_stage(uint32_t stage, float (&sums)[Shape::kWarpM][Shape::kWarpN][4]) {
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int warp_row = warp / Shape::kWarpColumns * (Shape::kRows / Shape::kWarpRows);
  const int warp_column = warp % Shape::kWarpColumns * (Shape::kColumns / Shape::kWarpColumns);
  // Rows of a lane differ by multiples of 8, so that all have its place in the swizzle.
  const uint32_t a_row = stage + (warp_row + lane % 16) * kStageRowBytes;
  const uint32_t b_row = stage + (Shape::kRows + warp_column + lane % 8 + lane / 16 * 8) * kStageRowBytes;
#pragma unroll
  for (int inner = 0; inner < Shape::kDepth / 16; ++inner) {
    uint32_t x[Shape::kWarpM][4];
    const int a_chunk = ((inner * 2 + lane / 16) ^ (lane % 8)) * kVectorBytes;
    const int b_chunk = ((inner * 2 + lane / 8 % 2) ^ (lane % 8)) * kVectorBytes;
#pragma unroll
    for (int i = 0; i < Shape::kWarpM; ++i) load_matrices(a_row + i * 16 * kStageRowBytes + a_chunk, x[i]);
#pragma unroll
    for (int j = 0; j < Shape::kWarpN; j += 2) {
      uint32_t y[4];
      load_matrices(b_row + j * 8 * kStageRowBytes + b_chunk, y);
#pragma unroll
      for (int i = 0; i < Shape::kWarpM; ++i) {
        multiply_add(sums[i][j], x[i], y[0], y[1], T{});
        multiply_add(sums[i][j + 1], x[i], y[2], y[3], T{});
      }
    }
  }
}

// Writes a warp's sums to the tile of all.
template <typename Shape>
__device__ __forceinline__ void store_sums_of_warp(const float (&sums)[Shape::kWarpM][Shape::kWarpN][4], float* tile) {
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int row = warp / Shape::kWarpColumns * (Shape::kRows / Shape::kWarpRows) + lane / 4;
  const int column = warp % Shape::kWarpColumns * (Shape::kColumns / Shape::kWarpColumns) + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < Shape::kWarpM; ++i) {
#pragma unroll
    for (int j = 0; j < Shape::kWarpN; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        *reinterpret_cast<float2*>(tile + (row + i * 16 + half * 8) * Shape::kStride + column + j * 8) =
            make_float2(sums[i][j][2 * half], sums[i][j][2 * half + 1]);
      }
    }
  }
}

template <typename T, typename Shape, bool kVectors>
__global__ void __launch_bounds__(Shape::kThreads, kVectors ? 2 : 1) sddmm_tile_kernel(const SddmmParams p) {
  constexpr int kRows = Shape::kRows;
  constexpr int kColumns = Shape::kColumns;
  constexpr int kThreads = Shape::kThreads;
  extern __shared__ __align__(128) unsigned char shared[];
  auto* shifts = reinterpret_cast<int32_t*>(shared);
  unsigned char* stages = shared + kRows * sizeof(int32_t);
  auto* sums_of_tile = reinterpret_cast<float*>(stages);

  const BlockTile tile = find_tile(p, blockIdx.x);
  const int2 origin = tile_origin<kRows, kColumns>(p, blockIdx.x);
  copy_shifts<kRows, kThreads>(p, blockIdx.x, shifts);
  follow_previous_kernel(p.plan.alone);

  for (int64_t problem = blockIdx.y; problem < p.batch; problem += gridDim.y) {
    const StagePipeline<T, Shape, false, kVectors> pipeline(p, problem, origin, stages);
    pipeline.begin();
    // In the shadow of the copies.
    const ElementWriter<T, kThreads> writer(p, tile);

    float sums[Shape::kWarpM][Shape::kWarpN][4] = {};
    pipeline.run([&](const unsigned char* stage) { multiply_stage<T, Shape>(shared_address(stage), sums); });
    // In place of the stages.
    store_sums_of_warp<Shape>(sums, sums_of_tile);
    // The sums are whole.
    __syncthreads();
    writer.write(p, problem, shifts, [&](int row, int column) { return sums_of_tile[row * Shape::kStride + column]; });
    // All have read the sums, before the next problem's stages overwrite them.
    if (problem + gridDim.y < p.batch) __syncthreads();
  }
}

template <typename T, typename Shape, bool kVectors>
Status launch_tile_kernel(const SddmmParams& params, const LaunchContext& context) {
  return launch(context, sddmm_tile_kernel<T, Shape, kVectors>, tile_launch<Shape>(params, Shape::kSumBytes), params);
}

template <typename T, typename Shape>
Status launch_tile_shape(const SddmmParams& params, const LaunchContext& context) {
  return params.plan.vector == 1 ? launch_tile_kernel<T, Shape, false>(params, context)
                                 : launch_tile_kernel<T, Shape, true>(params, context);
}

// Requires has_tile(params.dtype, params.plan).
template <typename T>
Status launch_tiles(const SddmmParams& params, const LaunchContext& context) {
  switch (params.plan.tile) {
    case 32:
      return launch_tile_shape<T, TileShape<T, 32, 64, 2, 4, 8>>(params, context);
    case 64:
      return launch_tile_shape<T, TileShape<T, 64, 64, 2, 4, 6>>(params, context);
    default:
      return launch_tile_shape<T, TileShape<T, 128, 128, 2, 4, 3>>(params, context);
  }
}

}  // namespace warptile::sddmm_kernels
