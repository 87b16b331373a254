// W4A16, end of split-K.              y[i,r] = sum_s partial[s,i,r] + bias[r]
// Layout    partial [splits,m,n] float32;  bias [n];  y [m,n]
// Tiling    one thread an element
// Numerics  float32, splits in ascending order, then the bias, rounded once
#pragma once

#include "common/numeric.cuh"

namespace warptile::w4a16 {

constexpr int kReduceThreads = 256;

template <typename T>
__global__ void __launch_bounds__(kReduceThreads)
    w4a16_reduce_kernel(const float* partial, const T* bias, T* y, int64_t elements, int n, int splits) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kReduceThreads + threadIdx.x;
  if (at >= elements) return;
  float sum = 0.0f;
  for (int split = 0; split < splits; ++split) sum += partial[split * elements + at];
  y[at] = from_float<T>(bias ? sum + to_float(bias[at % n]) : sum);
}

}  // namespace warptile::w4a16
