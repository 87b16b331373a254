#include "api/w4a16.h"

#include "addon/operations.h"

namespace warptile::addon {

// In the order of lib/backends/cuda/w4a16.ts.
Status w4a16_matmul(CommandReader& in, const LaunchContext& context) {
  W4A16MatmulParams p;
  p.dtype = in.float_dtype("dtype");
  p.m = in.size("m");
  p.n = in.small_size("n");
  p.k = in.small_size("k");
  p.groups = in.small_size("groups");
  p.group_size = in.small_size("groupSize");
  p.splits = in.small_size("splitK");
  const size_t bytes = dtype_bytes(p.dtype);
  p.x = in.input("x", bytes, {p.m, p.k});
  p.packed = static_cast<const uint32_t*>(in.input("packed", sizeof(uint32_t), {p.n, ceil_div(p.k, 8)}));
  p.scales = in.input("scales", bytes, {p.groups, p.n});
  p.zero_points = static_cast<const uint8_t*>(in.input("zeroPoints", 1, {p.groups, p.n}));
  p.permutation = in.optional_int32_input("permutation", {p.k});
  p.column_groups = in.optional_int32_input("columnGroups", {p.k});
  p.bias = in.optional_input("bias", bytes, {p.n});
  p.y = in.output("y", bytes, {p.m, p.n});
  in.finish();
  return warptile::w4a16_matmul(p, context);
}

}  // namespace warptile::addon
