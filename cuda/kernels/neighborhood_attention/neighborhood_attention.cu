#include "common/checked.h"
#include "kernels/neighborhood_attention/kernel.cuh"

namespace warptile {
namespace {

// What the kernel relies on to stay inside its operands.
Status check(const NeighborhoodAttentionParams& params) {
  if (!is_float(params.dtype)) return Status::invalid("neighborhood_attention: dtype is not a float type");
  if (params.head_dim < 1 || params.head_dim > neighborhood::kMaxHeadDim) {
    return Status::invalid("neighborhood_attention: head_dim must be from 1 to 256");
  }
  if (params.kv_heads < 1 || params.heads % params.kv_heads != 0) {
    return Status::invalid("neighborhood_attention: kv_heads must divide heads");
  }
  if (params.additional > 0 && (params.additional_keys == nullptr || params.additional_values == nullptr)) {
    return Status::invalid("neighborhood_attention: additional keys or values are missing");
  }
  const auto tokens = checked_product({params.axes[0].length, params.axes[1].length, params.axes[2].length});
  if (!tokens || *tokens > INT32_MAX) return Status::limit("neighborhood_attention: more than 2^31 - 1 tokens");
  for (const NeighborhoodAxis& axis : params.axes) {
    const bool fits = axis.kernel >= 1 && axis.dilation >= 1 &&
                      static_cast<int64_t>(axis.kernel) * axis.dilation <= axis.length;
    if (!fits) return Status::invalid("neighborhood_attention: kernel x dilation must be from 1 to the axis' length");
    if (axis.stride < 1 || axis.stride > axis.kernel) {
      return Status::invalid("neighborhood_attention: stride must be from 1 to kernel");
    }
  }
  return Status::ok();
}

}  // namespace

Status neighborhood_attention(const NeighborhoodAttentionParams& params, const LaunchContext& context) {
  const bool no_queries = params.batch == 0 || params.heads == 0 || params.axes[0].length == 0 ||
                          params.axes[1].length == 0 || params.axes[2].length == 0;
  if (no_queries) return Status::ok();
  WARPTILE_RETURN_IF_ERROR(check(params));
  return dispatch_float(params.dtype, [&](auto element) {
    return neighborhood::run<decltype(element)>(params, context);
  });
}

}  // namespace warptile
