// Chains: factor by factor, in the order in which they are applied, through float32 scratch memory.
//
// Values between factors stay as the float32 sums that they are, also where the dtype is a half type: they neither lose
// digits nor overflow there, and the error bound of a chain is that of one sum of as many terms as its c add up to.

#include <algorithm>

#include "common/checked.h"
#include "common/numeric.cuh"
#include "common/workspace.h"
#include "kernels/kronecker/apply_factor.h"

namespace warptile {
namespace {

using kronecker::FactorCall;

Status check(const KroneckerParams& params) {
  if (params.factor_count < 1 || params.factor_count > kMaxKroneckerFactors) {
    return Status::invalid("kronecker_matmul: a chain of " + std::to_string(params.factor_count) + " factors");
  }
  for (int s = 0; s < params.factor_count; ++s) {
    const KroneckerFactor& factor = params.factors[s];
    const auto size = checked_product({factor.a, factor.b, factor.c, factor.d});
    if (!size || *size == 0) return Status::invalid("kronecker_matmul: a pattern with sizes below 1");
    if (s > 0 && params.factors[s - 1].inputs() != factor.outputs()) {
      return Status::invalid("kronecker_matmul: factors that do not fit");
    }
  }
  return Status::ok();
}

// Two blocks that intermediates alternate between: intermediate s, the result of the s-th factor applied, goes to s % 2.
Status allocate_intermediates(const KroneckerParams& params, const LaunchContext& context, void* (&blocks)[2]) {
  int64_t features[2] = {0, 0};
  for (int s = 0; s + 1 < params.factor_count; ++s) {
    const int64_t outputs = params.factors[params.factor_count - 1 - s].outputs();
    features[s % 2] = std::max(features[s % 2], outputs);
  }
  for (int parity = 0; parity < 2; ++parity) {
    const auto sizes = {params.batch, features[parity], int64_t{sizeof(float)}};
    WARPTILE_RETURN_IF_ERROR(allocate_workspace(context, "kronecker_matmul", sizes, &blocks[parity]));
  }
  return Status::ok();
}

}  // namespace

Status kronecker_matmul(const KroneckerParams& params, const LaunchContext& context) {
  WARPTILE_RETURN_IF_ERROR(check(params));
  if (params.batch == 0) return Status::ok();
  void* intermediates[2] = {nullptr, nullptr};
  WARPTILE_RETURN_IF_ERROR(allocate_intermediates(params, context, intermediates));
  FactorCall call;
  call.batch = params.batch;
  // A batch of one lies the same way in both layouts, and is read best as features.
  call.batch_last = params.batch_last && params.batch > 1;
  call.y = const_cast<void*>(params.x);
  for (int s = 0; s < params.factor_count; ++s) {
    const bool is_last = s + 1 == params.factor_count;
    call.factor = params.factors[params.factor_count - 1 - s];
    call.x = call.y;
    call.x_is_float32 = s > 0;
    call.y = is_last ? params.y : intermediates[s % 2];
    call.y_is_float32 = !is_last;
    call.bias = is_last ? params.bias : nullptr;
    WARPTILE_RETURN_IF_ERROR(dispatch_float(params.dtype, [&](auto element) {
      return kronecker::apply_factor<decltype(element)>(call, context);
    }));
  }
  return Status::ok();
}

}  // namespace warptile
