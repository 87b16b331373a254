// Softmax over the stored elements of each row of a sparse matrix.
#pragma once

#include "api/sparse_pattern.h"
#include "common/context.h"
#include "common/dtype.h"

namespace warptile {

struct SparseSoftmaxParams {
  DType dtype = DType::kFloat32;  // of values and out; float32 inside
  SparsePattern pattern;
  int64_t batch = 1;
  const void* values = nullptr;  // [batch, stored, block_rows, block_columns]
  void* out = nullptr;           // as values; may be values
  float scale = 1;
};

Status sparse_softmax(const SparseSoftmaxParams& params, const LaunchContext& context);

}  // namespace warptile
