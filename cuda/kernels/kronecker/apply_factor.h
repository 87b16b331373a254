// One factor of a chain, with types as codes: what the chain asks of the instantiations in float32.cu, float16.cu, bfloat16.cu.
#pragma once

#include "api/kronecker.h"

namespace warptile::kronecker {

struct FactorCall {
  KroneckerFactor factor;
  int64_t batch = 0;
  bool batch_last = false;
  const void* x = nullptr;  // [batch, factor.inputs()], or the transpose with batch_last
  bool x_is_float32 = false;  // an intermediate of a chain; else of the chain's dtype
  const void* bias = nullptr;  // [factor.outputs()] of the chain's dtype; may be null
  void* y = nullptr;           // [batch, factor.outputs()], or the transpose with batch_last
  bool y_is_float32 = false;
};

// `Weight` is the C++ type of the chain's dtype.
template <typename Weight>
Status apply_factor(const FactorCall& call, const LaunchContext& context);

}  // namespace warptile::kronecker
