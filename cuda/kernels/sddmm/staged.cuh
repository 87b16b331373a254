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

#include <algorithm>

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
  constexpr int kStages = Shape::kStages;
  constexpr int kUnits = Shape::kUnits;
  using CopiesOfA = RowCopies<float, kRows, kThreads, false, true>;
  using CopiesOfB = RowCopies<float, kColumns, kThreads, false, true>;
  extern __shared__ __align__(128) unsigned char shared[];
  auto* shifts = reinterpret_cast<int32_t*>(shared);
  unsigned char* stages = shared + kRows * sizeof(int32_t);

  const BlockTile tile = find_tile(p, blockIdx.x);
  const int2 origin = tile_origin<kRows, kColumns>(p, blockIdx.x);
  copy_shifts<kRows, kThreads>(p, blockIdx.x, shifts);
  const int steps = static_cast<int>((p.depth + Shape::kDepth - 1) / Shape::kDepth);
  follow_previous_kernel();

  for (int64_t problem = blockIdx.y; problem < p.batch; problem += gridDim.y) {
    const CopiesOfA a(static_cast<const float*>(p.a) + problem * p.a_stride, origin.x, p.pattern.rows, p.lda);
    const CopiesOfB b(static_cast<const float*>(p.b) + problem * p.b_stride, origin.y, p.pattern.columns, p.ldb);
    const auto load = [&](int step) {
      if (step < steps) {
        unsigned char* stage = stages + step % kStages * Shape::kStageBytes;
        const int64_t depth = static_cast<int64_t>(step) * Shape::kDepth;
        a.begin(stage, p.lda, depth, p.depth);
        b.begin(stage + kRows * kStageRowBytes, p.ldb, depth, p.depth);
      }
      commit_copies();
    };
    // Almost always one pass.
    for (int first_unit = 0; first_unit < tile.units; first_unit += Shape::kPassUnits) {
#pragma unroll
      for (int step = 0; step < kStages - 1; ++step) load(step);
      // In the shadow of the copies.
      Unit units[kUnits];
#pragma unroll
      for (int j = 0; j < kUnits; ++j) {
        units[j] = make_unit(p, tile, kRows, first_unit + j * kThreads + static_cast<int>(threadIdx.x));
      }
      // The same for all lanes of a warp.
      const int warp_unit = first_unit + static_cast<int>(threadIdx.x) / kWarpSize * kWarpSize;

      float sums[kUnits][kUnitElements] = {};
      for (int step = 0; step < steps; ++step) {
        wait_copies<kStages - 2>();
        // The stage of this step has arrived for all threads, and all are done with that of the step before, which `load` fills.
        __syncthreads();
        load(step + kStages - 1);
        const unsigned char* stage = stages + step % kStages * Shape::kStageBytes;
#pragma unroll
        for (int j = 0; j < kUnits; ++j) {
          if (warp_unit + j * kThreads < tile.units) multiply_unit(stage, units[j], sums[j]);
        }
      }
      wait_copies<0>();
      // The shifts have arrived, and all are done with the stages.
      __syncthreads();
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
  const int64_t steps = ceil_div(params.depth, Shape::kDepth);
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = params.tiles.count;
  shape.grid_y = std::min(params.batch, kMaxGridYZ);
  shape.threads = Shape::kThreads;
  shape.shared_bytes = std::max<int64_t>(1, std::min<int64_t>(steps, Shape::kStages)) * Shape::kStageBytes +
                       Shape::kRows * sizeof(int32_t);
  return launch(context, sddmm_staged_kernel<Shape>, shape, params);
}

}  // namespace warptile::sddmm_kernels
