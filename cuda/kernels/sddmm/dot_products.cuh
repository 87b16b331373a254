// Dot products of rows of A with gathered rows of B: the inner loops of gather.cuh. (Tensor cores, with gathered rows as the columns of an
// m16n8k16 product, were slower for half types: 5.3 us instead of 3.8 for 512 x 4608, 10 %, k = 32.)
#pragma once

#include <cstdint>

#include "common/numeric.cuh"
#include "kernels/sddmm/config.h"

namespace warptile::sddmm_kernels {

// kLanes lanes, a group, share an element; a group takes kSteps consecutive elements and a warp kSegment.
template <int kLanes>
struct GatherShape {
  static constexpr int kGroups = kWarpSize / kLanes;
  static constexpr int kSteps = kLanes < kGatherSteps ? kLanes : kGatherSteps;
  static constexpr int kSegment = kGroups * kSteps;
};

// Rows of a dense operand. They lie less than 2 GiB apart, and so an address takes one multiply-add, and columns are counted in 32 bits.
template <typename T>
struct DenseRows {
  const T* first;
  uint32_t stride;  // bytes

  __device__ __forceinline__ DenseRows(const void* base, int64_t offset, int64_t leading)
      : first(static_cast<const T*>(base) + offset), stride(static_cast<uint32_t>(leading * sizeof(T))) {}

  __device__ __forceinline__ const T* at(int row, int column) const {
    const auto* bytes = reinterpret_cast<const char*>(first + column);
    return reinterpret_cast<const T*>(bytes + static_cast<uint64_t>(static_cast<uint32_t>(row)) * stride);
  }

  // As `at`, made opaque: the compiler would rather multiply anew at every step of a loop than keep the address in registers.
  __device__ __forceinline__ const T* fixed_at(int row, int column) const {
    const T* address = at(row, column);
    asm volatile("" : "+l"(address));
    __builtin_assume(__isGlobal(address));
    return address;
  }
};

// Sums each of `values` over the kLanes lanes of a group; lane l is returned the sum of values[l % kSteps]. Takes kSteps - 1
// shuffles where kSteps = kLanes.
template <int kLanes, int kSteps>
__device__ __forceinline__ float sum_transposed(float (&values)[kSteps]) {
  const int lane = threadIdx.x % kLanes;
#pragma unroll
  for (int half = kSteps / 2; half > 0; half /= 2) {
    const bool upper = (lane & half) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float given = upper ? values[i] : values[i + half];
      const float kept = upper ? values[i + half] : values[i];
      values[i] = kept + __shfl_xor_sync(kFullMask, given, half);
    }
  }
  float sum = values[0];
#pragma unroll
  for (int offset = kSteps; offset < kLanes; offset *= 2) sum += __shfl_xor_sync(kFullMask, sum, offset);
  return sum;
}

template <typename T, int kVector>
__device__ __forceinline__ float multiply_add_packs(const Pack<T, kVector>& x, const Pack<T, kVector>& y, float sum) {
#pragma unroll
  for (int v = 0; v < kVector; ++v) sum = fmaf(to_float(x.items[v]), to_float(y.items[v]), sum);
  return sum;
}

// The kSteps dot products of a group of lanes. Lane l of it sums columns (l + kLanes i) kVector, i = 0, 1, ...; the rows of B of all
// elements are in flight together.
template <typename T, int kVector, int kLanes>
class DotProducts {
 public:
  static constexpr int kSteps = GatherShape<kLanes>::kSteps;

  // One row of A with all of the group's rows of B, kAtOnce steps along the depth at once.
  template <int kAtOnce>
  __device__ __forceinline__ void add_row(const T* a, const DenseRows<T>& b, const int (&columns)[kSteps], int depth) {
    const T* left = a + lane_column();
    const T* right[kSteps];
#pragma unroll
    for (int i = 0; i < kSteps; ++i) right[i] = b.fixed_at(columns[i], lane_column());
    if constexpr (kAtOnce == 1 || kVector == 1 || kLanes <= 2) {
      // Single columns make many steps, of which the last hardly counts; one or two lanes part at most once. This loop takes fewer registers.
#pragma unroll kAtOnce
      for (int column = lane_column(); column < depth; column += kStride) add_steps<1>(left, right);
    } else {
      int rest = depth;
#pragma unroll 1
      for (; rest >= kAtOnce * kStride; rest -= kAtOnce * kStride) add_steps<kAtOnce>(left, right);
      // The lanes go through the rest together: in two loops, of those that have columns in a step and of those that have none, all of them
      // would wait twice.
      if (rest > kStride) add_rest<kAtOnce>(left, right, rest);
      else if (rest > 0) add_rest<1>(left, right, rest);
    }
  }

  // Each element with its own row of A.
  __device__ __forceinline__ void add_rows(const DenseRows<T>& a, const int (&rows)[kSteps], const DenseRows<T>& b,
                                           const int (&columns)[kSteps], int depth) {
    // Twice as many addresses as in `add_row` would leave no registers for what they bring.
#pragma unroll 1
    for (int column = lane_column(); column < depth; column += kStride) {
      Pack<T, kVector> y[kSteps];
#pragma unroll
      for (int i = 0; i < kSteps; ++i) y[i] = load_pack<T, kVector>(b.at(columns[i], column));
#pragma unroll
      for (int i = 0; i < kSteps; ++i) {
        sums_[i] = multiply_add_packs(load_pack<T, kVector>(a.at(rows[i], column)), y[i], sums_[i]);
      }
    }
  }

  // The sum of element l % kSteps, in lane l of the group. All lanes of the warp call it.
  __device__ __forceinline__ float sum() {
    // The loops over the depth may end apart.
    __syncwarp();
    return sum_transposed<kLanes>(sums_);
  }

 private:
  static constexpr int kStride = kLanes * kVector;

  // What steps along the depth bring: all of it is loaded before any of it is added.
  template <int kTogether>
  struct Steps {
    Pack<T, kVector> left[kTogether], right[kTogether][kSteps];

    __device__ __forceinline__ void load(int s, const T* left_row, const T* const (&right_rows)[kSteps], int offset) {
      left[s] = load_pack<T, kVector>(left_row + offset);
#pragma unroll
      for (int i = 0; i < kSteps; ++i) right[s][i] = load_pack<T, kVector>(right_rows[i] + offset);
    }

    __device__ __forceinline__ void add(int s, float (&sums)[kSteps]) const {
#pragma unroll
      for (int i = 0; i < kSteps; ++i) sums[i] = multiply_add_packs(left[s], right[s][i], sums[i]);
    }
  };

  // Whole steps, and on to those after them.
  template <int kTogether>
  __device__ __forceinline__ void add_steps(const T*& left, const T* (&right)[kSteps]) {
    Steps<kTogether> steps;
#pragma unroll
    for (int s = 0; s < kTogether; ++s) steps.load(s, left, right, s * kStride);
#pragma unroll
    for (int s = 0; s < kTogether; ++s) steps.add(s, sums_);
    left += kTogether * kStride;
#pragma unroll
    for (int i = 0; i < kSteps; ++i) right[i] += kTogether * kStride;
  }

  // The last `rest` columns, in kTogether steps. A lane that has no columns in a step loads the first of the rest once more, and adds nothing.
  template <int kTogether>
  __device__ __forceinline__ void add_rest(const T* left, const T* const (&right)[kSteps], int rest) {
    Steps<kTogether> steps;
#pragma unroll
    for (int s = 0; s < kTogether; ++s) {
      steps.load(s, left, right, lane_column() + s * kStride < rest ? s * kStride : -lane_column());
    }
#pragma unroll
    for (int s = 0; s < kTogether; ++s) {
      if (lane_column() + s * kStride < rest) steps.add(s, sums_);
    }
  }

  static __device__ __forceinline__ int lane_column() { return threadIdx.x % kLanes * kVector; }

  float sums_[kSteps] = {};
};

}  // namespace warptile::sddmm_kernels
