// Neighbourhood attention over one, two or three token axes.
#pragma once

#include <cstdint>

#include "api/neighborhood_axis.h"
#include "common/context.h"
#include "common/dtype.h"
#include "common/status.h"

namespace warptile {

struct NeighborhoodAttentionParams {
  const void* q;                  // [batch, ...tokens, heads, head_dim]
  const void* k;                  // [batch, ...tokens, kv_heads, head_dim]
  const void* v;                  // [batch, ...tokens, kv_heads, head_dim]
  const void* additional_keys;    // [batch, additional, kv_heads, head_dim]
  const void* additional_values;  // [batch, additional, kv_heads, head_dim]
  void* out;                      // [batch, ...tokens, heads, head_dim]
  float* log_sum_exp;             // [batch, ...tokens, heads], or null
  DType dtype;                    // of all but log_sum_exp
  int64_t batch;
  int heads;
  int kv_heads;    // divides heads
  int head_dim;    // 1 to 256
  int additional;  // keys that every query sees
  double scale;
  NeighborhoodAxis axes[kNeighborhoodAxes];  // lengths multiply to less than 2^31
};

Status neighborhood_attention(const NeighborhoodAttentionParams& params, const LaunchContext& context);

}  // namespace warptile
