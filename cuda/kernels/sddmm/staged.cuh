// SDDMM, CSR mask, float32, stored products of a tile.   S[p] = alpha factor[p] (A[i,:] . B[col[p],:]), i the row of element p
// Layout    mask: its stored tiles (api/sddmm.h);  A [m,k];  B [n,k];  S [nnz]
// Tiling    a block computes the elements that the mask stores in one tile: it brings 32 columns at a time of the tile's rows of A and B
//           into shared memory, in kStages stages. A lane sums up to 4 elements of a row (a "unit"), so that a chunk of A serves 4
//           products. Lane l takes the eight chunks of a stage in the order c ^ l % 8: whatever rows of B the lanes read,
//           they meet all banks. Operands of 1, 2 or 4 chunks fill a stage's rows with copies of themselves, and a lane takes as
//           many of its order. Grid x: tiles, y: batch.
// Memory    shared: min(steps, kStages) (kRows + kColumns) 128 bytes
// Roofline  5 chunks from shared memory for 16 multiply-adds: 26 a clock and multiprocessor; below that, rows of A and B once a tile from L2
// Numerics  float32, each element by one lane, in an order that its place in the tile decides: bitwise repeatable; |error| <= (k + 2) 2^-24 sum |a b|, then one rounding
// Requires  vector 4: k, lda, ldb and the strides multiples of 4, 16-byte aligned bases
// Source    row tiles in shared memory as in ASpT (Hong et al. 2019); rotated chunks instead of padding or sorting
#pragma once

#include "kernels/sddmm/tile.cuh"

namespace warptile::sddmm_kernels {

constexpr int kUnitElements = 4;

template <int kRows_, int kColumns_, int kThreads_, int kUnits_, int kStages_, int kBlocks_>
struct StagedShape {
  static constexpr int kRows = kRows_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kThreads = kThreads_;
  static constexpr int kStages = kStages_;
  static constexpr int kDepth = kStageDepth<float>;
  static constexpr int kStageBytes = (kRows + kColumns) * kStageRowBytes;
  static constexpr int kUnits = kUnits_;    // of a thread in one pass
  static constexpr int kBlocks = kBlocks_;  // of a multiprocessor
  static constexpr int kPassUnits = kUnits * kThreads;
};

// A unit as the map holds it; all 0 for none.
struct Unit {
  uint32_t place, columns;

  __device__ __forceinline__ int first() const { return place & 0xffff; }
  __device__ __forceinline__ int count() const { return place >> 16 & 0xff; }
  __device__ __forceinline__ int row() const { return place >> 24; }
  __device__ __forceinline__ int column(int element) const { return columns >> 8 * element & 0xff; }
};

__device__ __forceinline__ Unit load_unit(const SddmmParams& p, const BlockTile& tile, int index) {
  if (index >= tile.units) return {};
  const uint2 unit = reinterpret_cast<const uint2*>(p.tiles.units)[tile.first_unit + index];
  return {unit.x, unit.y};
}

// Adds the products of `chunks` chunks of a stage: kRows rows of A, and those of B after them.
template <int kRows>
__device__ __forceinline__ void multiply_unit(const unsigned char* stage, int chunks, const Unit& unit, float (&sums)[kUnitElements]) {
  const uint32_t rotation = threadIdx.x % kStageChunks * kVectorBytes;
  const uint32_t a = unit.row() * kStageRowBytes + rotation;
  uint32_t b[kUnitElements];
#pragma unroll
  for (int i = 0; i < kUnitElements; ++i) b[i] = (kRows + unit.column(i)) * kStageRowBytes + rotation;
#pragma unroll 1
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const auto left = *reinterpret_cast<const Pack<float, 4>*>(stage + (a ^ (chunk * kVectorBytes)));
#pragma unroll
    for (int i = 0; i < kUnitElements; ++i) {
      const auto right = *reinterpret_cast<const Pack<float, 4>*>(stage + (b[i] ^ (chunk * kVectorBytes)));
#pragma unroll
      for (int v = 0; v < 4; ++v) sums[i] = fmaf(left.items[v], right.items[v], sums[i]);
    }
  }
}

// Chunks of a row that differ in a stage: a power of two.
__device__ __forceinline__ int distinct_chunks(int64_t depth) {
  int chunks = 1;
  while (chunks < kStageChunks && chunks * 4 < depth) chunks *= 2;
  return chunks;
}

template <typename Shape, bool kVectors>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks) sddmm_staged_kernel(const SddmmParams p) {
  constexpr int kRows = Shape::kRows;
  constexpr int kColumns = Shape::kColumns;
  constexpr int kThreads = Shape::kThreads;
  constexpr int kUnits = Shape::kUnits;
  extern __shared__ __align__(128) unsigned char shared[];
  auto* shifts = reinterpret_cast<int32_t*>(shared);
  unsigned char* stages = shared + kRows * sizeof(int32_t);

  const BlockTile tile = find_tile(p, blockIdx.x);
  const int2 origin = tile_origin<kRows, kColumns>(p, blockIdx.x);
  copy_shifts<kRows, kThreads>(p, blockIdx.x, shifts);
  const int chunks = distinct_chunks(p.depth);
  follow_previous_kernel(p.plan.alone);

  for (int64_t problem = blockIdx.y; problem < p.batch; problem += gridDim.y) {
    const StagePipeline<float, Shape, true, kVectors> pipeline(p, problem, origin, stages, chunks);
    // Almost always one pass.
    for (int first_unit = 0; first_unit < tile.units; first_unit += Shape::kPassUnits) {
      pipeline.begin();
      // In the shadow of the copies.
      Unit units[kUnits];
#pragma unroll
      for (int j = 0; j < kUnits; ++j) units[j] = load_unit(p, tile, first_unit + j * kThreads + static_cast<int>(threadIdx.x));
      // The same for all lanes of a warp.
      const int warp_unit = first_unit + static_cast<int>(threadIdx.x) / kWarpSize * kWarpSize;

      float sums[kUnits][kUnitElements] = {};
      pipeline.run([&](const unsigned char* stage) {
#pragma unroll
        for (int j = 0; j < kUnits; ++j) {
          if (warp_unit + j * kThreads < tile.units) multiply_unit<kRows>(stage, chunks, units[j], sums[j]);
        }
      });
#pragma unroll
      for (int j = 0; j < kUnits; ++j) {
        const int64_t element = units[j].first() + static_cast<int64_t>(shifts[units[j].row()]);
#pragma unroll
        for (int i = 0; i < kUnitElements; ++i) {
          if (i < units[j].count()) store_element<float>(p, problem, element + i, sums[j][i]);
        }
      }
    }
  }
}

template <typename Shape>
Status launch_staged_shape(const SddmmParams& params, const LaunchContext& context) {
  const LaunchShape shape = tile_launch<Shape>(params, 0);
  return params.plan.vector == 1 ? launch(context, sddmm_staged_kernel<Shape, false>, shape, params)
                                 : launch(context, sddmm_staged_kernel<Shape, true>, shape, params);
}

}  // namespace warptile::sddmm_kernels
