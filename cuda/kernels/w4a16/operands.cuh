// W4A16: what both variants read and write.
#pragma once

#include <cstdint>

#include "common/numeric.cuh"

namespace warptile::w4a16 {

template <typename T>
struct Operands {
  const T* x;                    // [m, k]
  const uint32_t* packed;        // [n, words]
  const T* scales;               // [groups, n]
  const uint8_t* zero_points;    // [groups, n]
  const int32_t* permutation;    // [k] or null
  const int32_t* column_groups;  // [k] or null
  const T* bias;                 // [n] or null
  T* y;                          // [m, n]
  float* partial;                // [splits, m, n], or null: write y
  int64_t m;
  int n;
  int k;
  int words;          // of a row of W: ceil(k / 8)
  int group_size;
  int split_columns;  // a multiple of kSplitColumns
  bool word_groups;   // the eight columns of a word always share a group
};

struct Group {
  float scale;
  float zero;  // 2^23 + zero point
};

template <typename T>
__device__ __forceinline__ Group load_group(const Operands<T>& in, int row, int column) {
  const int group = in.column_groups ? in.column_groups[column] : column / in.group_size;
  const int64_t at = static_cast<int64_t>(group) * in.n + row;
  return {to_float(in.scales[at]), 8388608.0f + in.zero_points[at]};
}

// scale (u - z). The bits 0x4b000000 | u are the float 2^23 + u, so u - z takes no integer conversion and is exact; with a half
// scale so is the product: 11 bits times 5.
__device__ __forceinline__ float dequantize(uint32_t word, int nibble, Group group) {
  return group.scale * (__uint_as_float(0x4b000000u | ((word >> (4 * nibble)) & 15u)) - group.zero);
}

// x[row, c(column)]; zero outside of x and from `end` on.
template <typename T>
__device__ __forceinline__ float load_x(const Operands<T>& in, int64_t row, int column, int end) {
  if (row >= in.m || column >= end) return 0.0f;
  return to_float(in.x[row * in.k + (in.permutation ? in.permutation[column] : column)]);
}

// Takes the sum of one split for y[row, column].
template <typename T>
__device__ __forceinline__ void store_sum(const Operands<T>& in, int split, int64_t row, int column, float sum) {
  if (row >= in.m || column >= in.n) return;
  const int64_t at = row * in.n + column;
  if (in.partial) {
    in.partial[split * in.m * in.n + at] = sum;
  } else {
    in.y[at] = from_float<T>(in.bias ? sum + to_float(in.bias[column]) : sum);
  }
}

}  // namespace warptile::w4a16
