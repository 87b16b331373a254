// W4A16 matrix product: y = x W^T + bias, W in 4 bits with group scales and zero points.
#pragma once

#include <cstdint>

#include "common/context.h"
#include "common/dtype.h"
#include "common/status.h"

namespace warptile {

// W[r, c(j)] = scales[g(j), r] (u[r, j] - zero_points[g(j), r]) for stored columns j.
struct W4A16MatmulParams {
  const void* x = nullptr;                 // [m, k], dtype
  const uint32_t* packed = nullptr;        // [n, ceil(k / 8)]: nibble i of word w is u of stored column 8 w + i
  const void* scales = nullptr;            // [groups, n], dtype, finite
  const uint8_t* zero_points = nullptr;    // [groups, n], 0 to 16
  const int32_t* permutation = nullptr;    // [k]: c(j), in [0, k); null: c(j) = j
  const int32_t* column_groups = nullptr;  // [k]: g(j), in [0, groups); null: g(j) = j / group_size
  const void* bias = nullptr;              // [n], dtype; null: zero
  void* y = nullptr;                       // [m, n], dtype
  int64_t m = 0;
  int n = 0;
  int k = 0;
  int groups = 0;
  int group_size = 1;
  int splits = 0;  // parts of k summed apart; 0: chosen by shape and device
  DType dtype = DType::kFloat16;
};

Status w4a16_matmul(const W4A16MatmulParams& params, const LaunchContext& context);

}  // namespace warptile
