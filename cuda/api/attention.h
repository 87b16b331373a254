// Fused attention: out = softmax(scale q k^T) v for every head, over the keys that a query sees.
#pragma once

#include <cstdint>

#include "common/context.h"
#include "common/dtype.h"
#include "common/status.h"

namespace warptile {

constexpr int kAttentionMaxHeadDim = 256;

// Packed sequences have both cumulative arrays; then batch entry b owns the tokens from cumulative[b] to cumulative[b + 1], seq_q and
// seq_k are the longest of them, and total_q and total_k count all tokens. Otherwise total = batch * seq.
struct AttentionParams {
  DType dtype = DType::kFloat32;           // of q, k, v and out
  const void* q = nullptr;                 // [batch, seq_q, heads, head_dim], packed: [total_q, heads, head_dim]
  const void* k = nullptr;                 // [batch, seq_k, kv_heads, head_dim], packed: [total_k, kv_heads, head_dim]
  const void* v = nullptr;                 // as k
  void* out = nullptr;                     // as q
  float* log_sum_exp = nullptr;            // [batch, heads, seq_q], packed: [heads, total_q]; natural logarithm; optional
  const int32_t* cumulative_q = nullptr;   // [batch + 1], climbing from 0 to total_q; optional
  const int32_t* cumulative_k = nullptr;   // [batch + 1], climbing from 0 to total_k; with cumulative_q
  int64_t batch = 0;
  int64_t seq_q = 0;  // below 2^31
  int64_t seq_k = 0;  // below 2^31
  int64_t total_q = 0;
  int64_t total_k = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  // divides heads
  int64_t head_dim = 0;  // 1 to kAttentionMaxHeadDim
  double scale = 1;
  double softcap = 0;  // 0 for none
  // Query i sees the keys from p - left to p + right, p = i + (seq_k - seq_q of its batch entry), or i with top_left.
  int64_t left = 0;   // at most 2^32
  int64_t right = 0;  // at most 2^32
  bool top_left = false;
};

// A query that sees no key gives zeros and a log-sum-exp of -infinity.
Status attention(const AttentionParams& params, const LaunchContext& context);

}  // namespace warptile
