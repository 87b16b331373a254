// How sums leave a block of tiles_hopper.cuh: from registers, or to the other blocks of its cluster.
#pragma once

#include "common/hopper.cuh"
#include "common/mma.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/tile_output.cuh"
#include "kernels/spmm/tiles_hopper_stages.cuh"

namespace warptile::spmm_kernels {

#ifdef WARPTILE_HOPPER

// Among four neighbouring lanes: word i of lane j becomes word j of lane i.
__device__ __forceinline__ void transpose_words(uint32_t (&word)[4]) {
  const bool odd = threadIdx.x & 1;
  const bool high = threadIdx.x & 2;
  const uint32_t first = __shfl_xor_sync(kFullMask, odd ? word[0] : word[1], 1);
  const uint32_t second = __shfl_xor_sync(kFullMask, odd ? word[2] : word[3], 1);
  const uint32_t mixed[4] = {odd ? first : word[0], odd ? word[1] : first, odd ? second : word[2], odd ? word[3] : second};
  const uint32_t third = __shfl_xor_sync(kFullMask, high ? mixed[0] : mixed[2], 2);
  const uint32_t fourth = __shfl_xor_sync(kFullMask, high ? mixed[1] : mixed[3], 2);
  word[0] = high ? third : mixed[0];
  word[1] = high ? fourth : mixed[1];
  word[2] = high ? mixed[2] : third;
  word[3] = high ? mixed[3] : fourth;
}

__device__ __forceinline__ bool has_nan(uint32_t word, __half) {
  const __half2 pair = *reinterpret_cast<const __half2*>(&word);
  return !__hbeq2(pair, pair);
}
__device__ __forceinline__ bool has_nan(uint32_t word, __nv_bfloat16) {
  const __nv_bfloat162 pair = *reinterpret_cast<const __nv_bfloat162*>(&word);
  return !__hbeq2(pair, pair);
}

// A warp's 16 rows x kN columns of C from registers: four lanes exchange words, so that each has eight columns of a row. Requires that rows
// of C begin and end at multiples of 16 bytes.
template <typename T, typename Shape>
__device__ __forceinline__ void store_fragment(const HopperTileParams<T>& p, const float (&sum)[Shape::kN / 2], int first_row,
                                               int first_column, int problem) {
  const int lane = threadIdx.x % kWarpSize;
  T* c = p.out.c + problem * p.c_stride;
  uint32_t again = 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + lane / 4 + 8 * half;
#pragma unroll
    for (int part = 0; part < Shape::kN / 32; ++part) {
      const int64_t column = first_column + part * 32 + lane % 4 * 8;
      const bool inside = row < p.out.rows && column < p.out.n;
      T* target = c + row * p.out.ldc + column;
      uint32_t word[4] = {};
      if (p.out.beta != 0) {
        if (inside) *reinterpret_cast<uint4*>(word) = *reinterpret_cast<const uint4*>(target);
        transpose_words(word);
      }
      bool nan = false;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const Pack<T, 2> old = *reinterpret_cast<const Pack<T, 2>*>(&word[j]);
        Pack<T, 2> result;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float scaled = p.out.alpha * sum[4 * (4 * part + j) + 2 * half + i];
          result.items[i] = from_float<T>(p.out.beta == 0 ? scaled : fmaf(p.out.beta, to_float(old.items[i]), scaled));
        }
        word[j] = *reinterpret_cast<const uint32_t*>(&result);
      }
      transpose_words(word);
#pragma unroll
      for (int j = 0; j < 4; ++j) nan = nan || has_nan(word[j], T{});
      if (!inside) continue;
      if (nan) again |= 1u << (half * (Shape::kN / 32) + part);
      else *reinterpret_cast<uint4*>(target) = *reinterpret_cast<const uint4*>(word);
    }
  }
  // Nothing was written there yet: what C held is still to be read.
  const T* b = p.b + problem * p.b_stride;
  for (; again != 0; again &= again - 1) {
    const int which = __ffs(again) - 1;
    const int row = first_row + lane / 4 + which / (Shape::kN / 32) * 8;
    const int64_t column = first_column + which % (Shape::kN / 32) * 32 + lane % 4 * 8;
    for (int j = 0; j < 8; ++j) {
      T* target = c + row * p.out.ldc + column + j;
      const float scaled = p.out.alpha * exact_element<T>(p.out.a, b + column + j, p.ldb, row);
      *target = from_float<T>(p.out.beta == 0 ? scaled : fmaf(p.out.beta, to_float(*target), scaled));
    }
  }
}

// Calls `store(row, column, x, y)` for pairs of sums, rows and columns counted within the block.
template <typename Shape, typename Store>
__device__ __forceinline__ void each_pair(const float (&sum)[Shape::kN / 2], Store&& store) {
  const int lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = static_cast<int>(threadIdx.x) / kWarpSize * 16 + lane / 4 + 8 * half;
#pragma unroll
    for (int j = 0; j < Shape::kN / 8; ++j) store(row, 8 * j + lane % 4 * 2, sum[4 * j + 2 * half], sum[4 * j + 2 * half + 1]);
  }
}

// Puts this block's sums where the stages were, and sends each other block of the cluster those of its share of the rows.
template <typename T, typename Shape>
__device__ __forceinline__ void send_sums(const HopperTileParams<T>& p, const float (&sum)[Shape::kN / 2], int rank,
                                          unsigned char* shared, uint32_t barrier) {
  constexpr int kMultiplying = 4 * Shape::kGroups * kWarpSize;
  // No tensor core reads a stage any more.
  synchronize_first<kMultiplying>();
  float* staged = reinterpret_cast<float*>(shared);
  each_pair<Shape>(sum, [&](int row, int column, float x, float y) {
    *reinterpret_cast<float2*>(staged + row * Shape::kSumStride + column) = make_float2(x, y);
  });
  fence_shared_writes();
  // The sums are complete, and (the cluster's barrier) every block's barrier is ready.
  synchronize_first<kMultiplying>();
  wait_cluster();
  const uint32_t bytes = Shape::kSumBytes >> p.cluster_log2;
  const int owner = threadIdx.x;
  if (owner < 1 << p.cluster_log2 && owner != rank) {
    const uint32_t target = shared_address(shared) + p.sums_offset + rank * bytes;
    copy_in_cluster(address_in_block(target, owner), shared_address(shared) + owner * bytes, bytes, address_in_block(barrier, owner));
  }
}

// Adds the blocks' sums of this block's share of the rows, in their order: its own lie where the stages were, the others' were sent.
template <typename T, typename Shape>
__device__ __forceinline__ void add_blocks(const HopperTileParams<T>& p, const unsigned char* shared, const TileWork& work, int rank,
                                           int first_column, int problem) {
  const int rows = Shape::kM >> p.cluster_log2;
  const float* own = reinterpret_cast<const float*>(shared) + rank * rows * Shape::kSumStride;
  const float* sent = reinterpret_cast<const float*>(shared + p.sums_offset);
  const T* b = p.b + problem * p.b_stride;
  T* c = p.out.c + problem * p.c_stride;
  for (int i = threadIdx.x; i < rows * Shape::kN / 4; i += Shape::kThreads) {
    const int row = i / (Shape::kN / 4);
    const int column = i % (Shape::kN / 4) * 4;
    Pack<float, 4> total{};
#pragma unroll 4
    for (int block = 0; block < 1 << p.cluster_log2; ++block) {
      const float* sums = block == rank ? own : sent + block * rows * Shape::kSumStride;
      const auto part = load_pack<float, 4>(sums + row * Shape::kSumStride + column);
#pragma unroll
      for (int j = 0; j < 4; ++j) total.items[j] += part.items[j];
    }
    const int inner = rank * rows + row;
    if (work.place >= 0) {
      const int64_t place = problem * p.problem_parts + work.place;
      store_pack(p.parts + (place * Shape::kM + inner) * p.pitch + first_column + column, total);
    } else if (work.panel * Shape::kM + inner < p.out.rows && first_column + column < p.out.n) {
      const int target_row = work.panel * Shape::kM + inner;
      const int64_t target_column = first_column + column;
      T* target = c + target_row * p.out.ldc + target_column;
      store_sums<T>(p.out, b + target_column, p.ldb, target, target_row, target_column, total);
    }
  }
}

#endif

}  // namespace warptile::spmm_kernels
