// SDDMM, CSR mask, float32, stored products of a tile.   S[p] = alpha factor[p] (A[i,:] . B[col[p],:]), i the row of element p
// Layout    mask: its stored tiles (api/sddmm.h);  A [m,k];  B [n,k];  S [nnz]
// Tiling    a block computes the elements that the mask stores in one tile: it brings 32 columns at a time of the tile's rows of A and B
//           into shared memory, in kStages stages. A lane sums up to 4 elements of a row (a "unit"), so that a chunk of A serves 4
//           products. Lane l takes the eight chunks of a stage in the order c ^ l % 8: whatever rows of B the lanes read,
//           they meet all banks. Grid x: tiles, y: batch.
// Memory    shared: min(steps, kStages) (kRows + kColumns) 128 bytes
// Roofline  5 chunks from shared memory for 16 multiply-adds: 26 a clock and multiprocessor; below that, rows of A and B once a tile from L2
// Numerics  float32, each element by one lane, in an order that its place in the tile decides: bitwise repeatable; |error| <= (k + 2) 2^-24 sum |a b|, then one rounding
// Requires  k, lda, ldb and the strides multiples of 4, 16-byte aligned bases
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

// A unit and where its rows lie in a stage.
struct Unit {
  uint32_t packed;             // as the map holds it; 0 for none
  uint32_t a, b[kUnitElements];  // bytes from the stage

  __device__ __forceinline__ int first() const { return packed & 0xffff; }
  __device__ __forceinline__ int count() const { return packed >> 16; }
  __device__ __forceinline__ int row() const { return a / kStageRowBytes; }
};

__device__ __forceinline__ Unit make_unit(const SddmmParams& p, const BlockTile& tile, int rows, int index) {
  Unit unit;
  unit.packed = index < tile.units ? p.tiles.units[tile.first_unit + index] : 0;
  const uint32_t rotation = threadIdx.x % kStageChunks * kVectorBytes;
  const uint16_t* entries = p.tiles.entries + tile.first_entry + unit.first();
  unit.a = rotation;
#pragma unroll
  for (int i = 0; i < kUnitElements; ++i) {
    // Where there are fewer, the last one is summed again and not written.
    const uint32_t entry = unit.packed != 0 ? entries[min(i, unit.count() - 1)] : 0;
    if (i == 0) unit.a = (entry >> 8) * kStageRowBytes + rotation;
    unit.b[i] = (rows + (entry & 255)) * kStageRowBytes + rotation;
  }
  return unit;
}

__device__ __forceinline__ void multiply_unit(const unsigned char* stage, const Unit& unit, float (&sums)[kUnitElements]) {
#pragma unroll 2
  for (int chunk = 0; chunk < kStageChunks; ++chunk) {
    const auto left = *reinterpret_cast<const Pack<float, 4>*>(stage + (unit.a ^ (chunk * kVectorBytes)));
#pragma unroll
    for (int i = 0; i < kUnitElements; ++i) {
      const auto right = *reinterpret_cast<const Pack<float, 4>*>(stage + (unit.b[i] ^ (chunk * kVectorBytes)));
#pragma unroll
      for (int v = 0; v < 4; ++v) sums[i] = fmaf(left.items[v], right.items[v], sums[i]);
    }
  }
}

template <typename Shape>
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
  follow_previous_kernel();

  for (int64_t problem = blockIdx.y; problem < p.batch; problem += gridDim.y) {
    const StagePipeline<float, Shape, false, true> pipeline(p, problem, origin, stages);
    // Almost always one pass.
    for (int first_unit = 0; first_unit < tile.units; first_unit += Shape::kPassUnits) {
      pipeline.begin();
      // In the shadow of the copies.
      Unit units[kUnits];
#pragma unroll
      for (int j = 0; j < kUnits; ++j) {
        units[j] = make_unit(p, tile, kRows, first_unit + j * kThreads + static_cast<int>(threadIdx.x));
      }
      // The same for all lanes of a warp.
      const int warp_unit = first_unit + static_cast<int>(threadIdx.x) / kWarpSize * kWarpSize;

      float sums[kUnits][kUnitElements] = {};
      pipeline.run([&](const unsigned char* stage) {
#pragma unroll
        for (int j = 0; j < kUnits; ++j) {
          if (warp_unit + j * kThreads < tile.units) multiply_unit(stage, units[j], sums[j]);
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
Status launch_staged_kernel(const SddmmParams& params, const LaunchContext& context) {
  return launch(context, sddmm_staged_kernel<Shape>, tile_launch<Shape>(params, 0), params);
}

}  // namespace warptile::sddmm_kernels
