// The stored values of a transposed sparse matrix.
#pragma once

#include <cstdint>

#include "common/context.h"
#include "common/dtype.h"

namespace warptile {

// out[s, p] = the transpose of block values[s, order[p]].
struct TransposeValuesParams {
  DType dtype = DType::kFloat32;
  int64_t stored = 0;    // blocks of a set, below 2^31
  int block_rows = 1;    // of a block of `values`, from 1 to 64; CSR has 1 x 1
  int block_columns = 1;
  int64_t batch = 1;               // sets
  const void* values = nullptr;    // [batch, stored, block_rows, block_columns]
  const int32_t* order = nullptr;  // [stored], each from 0 to stored - 1
  void* out = nullptr;             // [batch, stored, block_columns, block_rows], apart from `values`
};

Status transpose_values(const TransposeValuesParams& params, const LaunchContext& context);

}  // namespace warptile
