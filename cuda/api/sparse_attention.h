// Fused attention over a sparse mask: query i sees the keys at which row i of a pattern stores an element.
#pragma once

#include <cstdint>

#include "api/attention.h"
#include "api/sparse_pattern.h"
#include "common/context.h"
#include "common/dtype.h"
#include "common/status.h"

namespace warptile {

struct SparseAttentionParams {
  DType dtype = DType::kFloat32;  // of q, k, v and out
  SparsePattern pattern;          // [seq_q, seq_k], shared by all batch entries and heads
  const void* q = nullptr;        // [batch, seq_q, heads, head_dim]
  const void* k = nullptr;        // [batch, seq_k, kv_heads, head_dim]
  const void* v = nullptr;        // [batch, seq_k, kv_heads, head_dim]
  void* out = nullptr;            // [batch, seq_q, heads, head_dim]
  float* log_sum_exp = nullptr;   // [batch, heads, seq_q], natural logarithm; optional
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  // divides heads
  int64_t head_dim = 0;  // 1 to kAttentionMaxHeadDim
  double scale = 1;
  double softcap = 0;  // 0 for none
};

// A query that sees no key gives zeros and a log-sum-exp of -infinity.
Status sparse_attention(const SparseAttentionParams& params, const LaunchContext& context);

}  // namespace warptile
