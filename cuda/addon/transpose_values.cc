#include "api/transpose_values.h"

#include "addon/operations.h"
#include "api/sparse_pattern.h"

namespace warptile::addon {

// The order of lib/backends/cuda/transpose-values.ts.
Status transpose_values(CommandReader& in, const LaunchContext& context) {
  TransposeValuesParams p;
  p.dtype = in.float_dtype("dtype");
  p.stored = in.small_size("stored blocks");
  p.block_rows = in.small_size("block rows");
  p.block_columns = in.small_size("block columns");
  if (p.block_rows < 1 || p.block_rows > kMaxBlockExtent || p.block_columns < 1 || p.block_columns > kMaxBlockExtent) {
    CommandReader::fail("block shape", "is not from 1 to 64");
  }
  p.batch = in.size("batch");
  const size_t bytes = dtype_bytes(p.dtype);
  p.values = in.input("values", bytes, {p.batch, p.stored, p.block_rows, p.block_columns});
  p.order = in.int32_input("order", {p.stored});
  p.out = in.output("out", bytes, {p.batch, p.stored, p.block_rows, p.block_columns});
  in.finish();
  return warptile::transpose_values(p, context);
}

}  // namespace warptile::addon
