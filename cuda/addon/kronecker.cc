#include "api/kronecker.h"

#include "addon/operations.h"

namespace warptile::addon {

// Written by lib/backends/cuda/kronecker.ts.
Status kronecker_matmul(CommandReader& in, const LaunchContext& context) {
  KroneckerParams params;
  params.dtype = in.float_dtype("dtype");
  const size_t bytes = dtype_bytes(params.dtype);
  params.batch = in.size("batch");
  params.batch_last = in.flag("batch last");
  params.factor_count = in.small_size("factors");
  if (params.factor_count < 1 || params.factor_count > kMaxKroneckerFactors) in.fail("factors", "is not 1 to 32");
  for (int s = 0; s < params.factor_count; ++s) {
    KroneckerFactor& factor = params.factors[s];
    for (int64_t* size : {&factor.a, &factor.b, &factor.c, &factor.d}) {
      *size = in.size("pattern");
      if (*size == 0) in.fail("pattern", "has a zero");
    }
    // Sizes of a buffer that exists: no product of some of them overflows.
    factor.values = in.input("values", bytes, {factor.a, factor.b, factor.c, factor.d});
    if (s > 0 && params.factors[s - 1].inputs() != factor.outputs()) in.fail("pattern", "does not fit its neighbour");
  }
  const int64_t inputs = params.factors[params.factor_count - 1].inputs();
  const int64_t outputs = params.factors[0].outputs();
  params.x = in.input("x", bytes, {params.batch, inputs});
  params.bias = in.optional_input("bias", bytes, {outputs});
  params.y = in.output("y", bytes, {params.batch, outputs});
  in.finish();
  return warptile::kronecker_matmul(params, context);
}

}  // namespace warptile::addon
