#include "api/neighborhood_attention.h"

#include "addon/operations.h"

namespace warptile::addon {

Status neighborhood_attention(CommandReader& in, const LaunchContext& context) {
  NeighborhoodAttentionParams params{};
  params.dtype = in.float_dtype("dtype");
  params.batch = in.size("batch");
  params.heads = in.small_size("heads");
  params.kv_heads = in.small_size("kvHeads");
  params.head_dim = in.small_size("headDim");
  params.additional = in.small_size("additional");
  for (NeighborhoodAxis& axis : params.axes) {
    axis.length = in.small_size("tokens");
    axis.kernel = in.small_size("kernelSize");
    axis.stride = in.small_size("stride");
    axis.dilation = in.small_size("dilation");
    axis.causal = in.flag("causal");
  }
  params.scale = in.number("scale");

  const size_t bytes = dtype_bytes(params.dtype);
  const auto tokens = checked_product({params.axes[0].length, params.axes[1].length, params.axes[2].length});
  if (!tokens || *tokens > INT32_MAX) CommandReader::fail("tokens", "multiply to more than 2^31 - 1");
  params.q = in.input("q", bytes, {params.batch, *tokens, params.heads, params.head_dim});
  params.k = in.input("k", bytes, {params.batch, *tokens, params.kv_heads, params.head_dim});
  params.v = in.input("v", bytes, {params.batch, *tokens, params.kv_heads, params.head_dim});
  params.additional_keys =
      in.optional_input("additionalKeys", bytes, {params.batch, params.additional, params.kv_heads, params.head_dim});
  params.additional_values =
      in.optional_input("additionalValues", bytes, {params.batch, params.additional, params.kv_heads, params.head_dim});
  params.out = in.output("out", bytes, {params.batch, *tokens, params.heads, params.head_dim});
  params.log_sum_exp =
      static_cast<float*>(in.optional_output("logSumExp", sizeof(float), {params.batch, *tokens, params.heads}));
  in.finish();
  return warptile::neighborhood_attention(params, context);
}

}  // namespace warptile::addon
