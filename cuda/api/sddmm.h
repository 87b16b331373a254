// Sampled dense times dense: S = alpha factors .* (A B^T) at the stored elements of a pattern.
#pragma once

#include "api/sparse_pattern.h"
#include "common/context.h"
#include "common/dtype.h"

namespace warptile {

// `batch` independent problems over one pattern; an operand whose stride is 0 is shared by all of them. Strides and leading
// dimensions are in elements.
struct SddmmParams {
  DType dtype = DType::kFloat32;  // of a, b, factors and out; sums are float32
  SparsePattern pattern;          // S, [m, n]
  int64_t depth = 0;              // k, columns of A and B
  int64_t batch = 1;
  const void* a = nullptr;  // [batch, m, k], rows lda apart
  int64_t lda = 0;
  int64_t a_stride = 0;
  const void* b = nullptr;  // [batch, n, k], rows ldb apart
  int64_t ldb = 0;
  int64_t b_stride = 0;
  const void* factors = nullptr;  // [batch, stored, block_rows, block_columns]; null for none; may be out
  int64_t factors_stride = 0;
  void* out = nullptr;  // [batch, stored, block_rows, block_columns]
  int64_t out_stride = 0;
  float alpha = 1;
};

Status sddmm(const SddmmParams& params, const LaunchContext& context);

}  // namespace warptile
