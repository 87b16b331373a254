// Results of consecutive columns of a row of C: C = alpha sum + beta C.
#pragma once

#include <cstdint>

#include "common/numeric.cuh"

namespace warptile::spmm_kernels {

// At a multiple of their bytes, all of them in C.
template <typename T, int kCount>
__device__ __forceinline__ void store_whole(T* target, const float* sums, float alpha, float beta) {
  Pack<T, kCount> result;
  if (beta == 0) {
#pragma unroll
    for (int v = 0; v < kCount; ++v) result.items[v] = from_float<T>(alpha * sums[v]);
  } else {
    const auto old = load_pack<T, kCount>(target);
#pragma unroll
    for (int v = 0; v < kCount; ++v) result.items[v] = from_float<T>(fmaf(beta, to_float(old.items[v]), alpha * sums[v]));
  }
  store_pack<T, kCount>(target, result);
}

// Anywhere, the first `left` of them in C: half types by pairs where those lie at multiples of 4 bytes.
template <typename T, int kCount>
__device__ __forceinline__ void store_ragged(T* target, const float* sums, int64_t left, float alpha, float beta) {
  const bool pairs = sizeof(T) == 2 && reinterpret_cast<uintptr_t>(target) % 4 == 0;
#pragma unroll
  for (int v = 0; v < kCount; v += 2) {
    if (pairs && v + 1 < left) {
      store_whole<T, 2>(target + v, sums + v, alpha, beta);
    } else {
      if (v < left) store_whole<T, 1>(target + v, sums + v, alpha, beta);
      if (v + 1 < left) store_whole<T, 1>(target + v + 1, sums + v + 1, alpha, beta);
    }
  }
}

// whole: rows of C begin and end at multiples of kCount elements.
template <typename T, int kCount>
__device__ __forceinline__ void store_results(T* target, const float* sums, bool whole, int64_t left, float alpha, float beta) {
  if (whole) store_whole<T, kCount>(target, sums, alpha, beta);
  else store_ragged<T, kCount>(target, sums, left, alpha, beta);
}

}  // namespace warptile::spmm_kernels
