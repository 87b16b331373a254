// SDDMM, CSR mask, float32, whole tiles.   S[p] = alpha factor[p] (A B^T)[i, col[p]], i the row of element p
// Layout    mask: its stored tiles (api/sddmm.h);  A [m,k];  B [n,k];  S [nnz]
// Tiling    a block computes all products of a tile of A B^T that stores anything, 32 columns of A and B at a time, in kStages stages;
//           each of its kGroups groups of warps takes as many of these 32. A warp computes 32 rows and all 64 columns: lane
//           (y, x) of 4 x 8 sums rows y + 4 i and columns x + 8 j. Then the block adds up and writes the elements that the mask
//           stores within the tile. Grid x: tiles, y: batch.
// Memory    shared: min(steps, kStages) (kRows + 64) 128 bytes, reused for the sums, kGroups kRows 288 bytes; 64 sums a thread
// Roofline  k multiply-adds a tile element; 58 % of the H200's rate at 4096 x 4096 x 512, 2026-11-21. 16 x 8 sums a thread, for which
//           shared memory is read less but half as many warps run, were slower
// Numerics  float32: a group of warps in ascending order, then the groups in order: bitwise repeatable;
//           |error| <= (k + 2) 2^-24 sum |a b|. Products that the mask leaves out are computed and dropped: NaN and infinities in
//           them go nowhere.
// Requires  vector 4: k, lda, ldb and the strides multiples of 4, 16-byte aligned bases
// Source    dense tiles sampled by the mask; no paper
#pragma once

#include "kernels/sddmm/tile.cuh"

namespace warptile::sddmm_kernels {

template <int kRows_, int kGroups_, int kStages_, int kBlocks_>
struct FloatTileShape {
  static constexpr int kRows = kRows_;
  static constexpr int kColumns = 64;
  static constexpr int kGroups = kGroups_;
  static constexpr int kStages = kStages_;
  static constexpr int kBlocks = kBlocks_;  // of a multiprocessor
  static constexpr int kSide = 8;           // of the sums of a thread
  static constexpr int kWarpRows = 32;
  static constexpr int kWarps = kRows / kWarpRows;  // of a group
  static constexpr int kThreads = kGroups * kWarps * kWarpSize;
  static constexpr int kDepth = kStageDepth<float>;
  static constexpr int kGroupChunks = kDepth / 4 / kGroups;
  static constexpr int kStageBytes = (kRows + kColumns) * kStageRowBytes;
  // 8 more: the 4 rows that a warp writes meet all banks.
  static constexpr int kStride = kColumns + 8;
  static constexpr int kSums = kRows * kStride;  // floats of a group

  // The sums of a thread are of rows row() + 4 i and columns column() + 8 j of the tile.
  static __device__ __forceinline__ int group() { return static_cast<int>(threadIdx.x) / (kWarps * kWarpSize); }
  static __device__ __forceinline__ int row() {
    return threadIdx.x / kWarpSize % kWarps * kWarpRows + threadIdx.x % kWarpSize / 8;
  }
  static __device__ __forceinline__ int column() { return threadIdx.x % 8; }
};

// Adds the products of a group's chunks of one stage: the rows of A, and those of B after them.
template <typename Shape>
__device__ __forceinline__ void multiply_float_stage(const unsigned char* stage, float (&sums)[Shape::kSide][Shape::kSide]) {
  const unsigned char* a = stage + Shape::row() * kStageRowBytes;
  const unsigned char* b = stage + (Shape::kRows + Shape::column()) * kStageRowBytes;
  // Places in the swizzle: a lane's rows of A differ by multiples of 4, those of B by multiples of 8.
  const int a_place = Shape::row() % kStageChunks;
  const int b_place = Shape::column() % kStageChunks;
#pragma unroll 1
  for (int i = 0; i < Shape::kGroupChunks; ++i) {
    const int chunk = Shape::group() * Shape::kGroupChunks + i;
    const unsigned char* left_chunk[2] = {a + (chunk ^ a_place) * kVectorBytes, a + (chunk ^ a_place ^ 4) * kVectorBytes};
    const unsigned char* right_chunk = b + (chunk ^ b_place) * kVectorBytes;
    Pack<float, 4> left[Shape::kSide];
#pragma unroll
    for (int r = 0; r < Shape::kSide; ++r) {
      left[r] = *reinterpret_cast<const Pack<float, 4>*>(left_chunk[r % 2] + r * 4 * kStageRowBytes);
    }
#pragma unroll
    for (int j = 0; j < Shape::kSide; ++j) {
      const auto right = *reinterpret_cast<const Pack<float, 4>*>(right_chunk + j * 8 * kStageRowBytes);
#pragma unroll
      for (int v = 0; v < 4; ++v) {
#pragma unroll
        for (int r = 0; r < Shape::kSide; ++r) sums[r][j] = fmaf(left[r].items[v], right.items[v], sums[r][j]);
      }
    }
  }
}

template <typename Shape, bool kVectors>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks) sddmm_float_tile_kernel(const SddmmParams p) {
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
    const StagePipeline<float, Shape, false, kVectors> pipeline(p, problem, origin, stages);
    pipeline.begin();
    // In the shadow of the copies.
    const ElementWriter<float, kThreads> writer(p, tile);

    float sums[Shape::kSide][Shape::kSide] = {};
    pipeline.run([&](const unsigned char* stage) { multiply_float_stage<Shape>(stage, sums); });
    // In place of the stages.
    float* mine = sums_of_tile + Shape::group() * Shape::kSums + Shape::row() * Shape::kStride + Shape::column();
#pragma unroll
    for (int i = 0; i < Shape::kSide; ++i) {
#pragma unroll
      for (int j = 0; j < Shape::kSide; ++j) mine[i * 4 * Shape::kStride + j * 8] = sums[i][j];
    }
    // The sums are whole.
    __syncthreads();
    writer.write(p, problem, shifts, [&](int row, int column) {
      const float* first = sums_of_tile + row * Shape::kStride + column;
      float sum = first[0];
#pragma unroll
      for (int group = 1; group < Shape::kGroups; ++group) sum += first[group * Shape::kSums];
      return sum;
    });
    // All have read the sums, before the next problem's stages overwrite them.
    if (problem + gridDim.y < p.batch) __syncthreads();
  }
}

template <typename Shape, bool kVectors>
Status launch_float_tile_kernel(const SddmmParams& params, const LaunchContext& context) {
  const LaunchShape shape = tile_launch<Shape>(params, Shape::kGroups * Shape::kSums * sizeof(float));
  return launch(context, sddmm_float_tile_kernel<Shape, kVectors>, shape, params);
}

template <typename Shape>
Status launch_float_tile_shape(const SddmmParams& params, const LaunchContext& context) {
  return params.plan.vector == 1 ? launch_float_tile_kernel<Shape, false>(params, context)
                                 : launch_float_tile_kernel<Shape, true>(params, context);
}

}  // namespace warptile::sddmm_kernels
