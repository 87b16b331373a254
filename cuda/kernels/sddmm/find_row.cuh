// Which row a stored element (or block) belongs to.
#pragma once

#include <cstdint>

namespace warptile::sddmm_kernels {

// The row in [low, high] that holds element `index`: the last one that starts at or before it, as empty rows start where
// their successor does. Requires row_ptr[low] <= index < row_ptr[high + 1].
__device__ __forceinline__ int find_row(const int32_t* row_ptr, int low, int high, int64_t index) {
  while (low < high) {
    // low + half <= high < 2^31, where low + high may not be.
    const int middle = low + (high - low + 1) / 2;
    if (row_ptr[middle] <= index) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace warptile::sddmm_kernels
