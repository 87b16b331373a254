#include "api/sparse_softmax.h"

#include "addon/operations.h"
#include "addon/sparse_pattern.h"

namespace warptile::addon {

// The order of lib/backends/cuda/sparse-softmax.ts.
Status sparse_softmax(CommandReader& in, const LaunchContext& context) {
  SparseSoftmaxParams p;
  p.dtype = in.float_dtype("dtype");
  p.pattern = read_pattern(in);
  p.batch = in.size("batch");
  p.scale = static_cast<float>(in.number("scale"));
  const size_t bytes = dtype_bytes(p.dtype);
  const SparsePattern& s = p.pattern;
  const int64_t set = s.stored * s.block_rows * s.block_columns;
  p.values = in.input("values", bytes, {p.batch, set});
  p.out = in.output("out", bytes, {p.batch, set});
  in.finish();
  return warptile::sparse_softmax(p, context);
}

}  // namespace warptile::addon
