// Sparse times dense: C = alpha A B + beta C.
#pragma once

#include "api/sparse_pattern.h"
#include "common/context.h"
#include "common/dtype.h"

namespace warptile {

// `batch` independent problems over one pattern; an operand whose stride is 0 is shared by all of them. Strides and leading
// dimensions are in elements.
struct SpmmParams {
  DType dtype = DType::kFloat32;  // of values, b and c; sums are float32
  SparsePattern pattern;          // A, [m, k]
  int64_t n = 0;                  // columns of B and C
  int64_t batch = 1;
  const void* values = nullptr;  // [batch, stored, block_rows, block_columns]
  int64_t values_stride = 0;
  const void* b = nullptr;  // [batch, k, n], rows ldb apart
  int64_t ldb = 0;
  int64_t b_stride = 0;
  void* c = nullptr;  // [batch, m, n], rows ldc apart; read only where beta != 0
  int64_t ldc = 0;
  int64_t c_stride = 0;
  float alpha = 1;
  float beta = 0;
};

Status spmm(const SpmmParams& params, const LaunchContext& context);

}  // namespace warptile
