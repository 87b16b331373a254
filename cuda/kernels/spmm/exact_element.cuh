// One element of A B from the stored entries alone: what the tile kernels, whose tiles hold zeros where nothing is stored, fall back
// on where a sum is NaN.
#pragma once

#include <cstdint>

#include "common/numeric.cuh"

namespace warptile::spmm_kernels {

// Of the entries [first, last). Not inlined, and without the Params, which would be copied to the stack: it hardly ever runs.
template <typename T>
__device__ __noinline__ float exact_element(const int32_t* col, const T* values, const T* b_column, int64_t ldb, int first,
                                            int last) {
  float sum = 0;
  for (int64_t i = first; i < last; ++i) sum = fmaf(to_float(values[i]), to_float(b_column[col[i] * ldb]), sum);
  return sum;
}

}  // namespace warptile::spmm_kernels
