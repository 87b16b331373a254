#include "addon/operations.h"
#include "addon/sparse_commands.h"
#include "addon/sparse_pattern.h"

namespace warptile::addon {

// The order of lib/backends/cuda/spmm.ts.
SpmmParams read_spmm(CommandReader& in) {
  SpmmParams p;
  p.dtype = in.float_dtype("dtype");
  p.pattern = read_pattern(in);
  p.n = in.size("width");
  p.batch = in.size("batch");
  p.values_stride = in.size("values stride");
  p.ldb = in.size("ldb");
  p.b_stride = in.size("b stride");
  p.ldc = in.size("ldc");
  p.c_stride = in.size("c stride");
  p.alpha = static_cast<float>(in.number("alpha"));
  p.beta = static_cast<float>(in.number("beta"));
  // Rows of C that overlapped would be written by several threads.
  if (p.ldc < p.n) CommandReader::fail("ldc", "is less than the width");
  const size_t bytes = dtype_bytes(p.dtype);
  const SparsePattern& a = p.pattern;
  const int64_t set = a.stored * a.block_rows * a.block_columns;
  p.values = in.input("values", bytes, {strided_extent("values", p.batch, p.values_stride, 1, 0, set)});
  p.b = in.input("b", bytes, {strided_extent("b", p.batch, p.b_stride, a.columns, p.ldb, p.n)});
  p.c = in.output("c", bytes, {strided_extent("c", p.batch, p.c_stride, a.rows, p.ldc, p.n)});
  in.finish();
  return p;
}

Status spmm(CommandReader& in, const LaunchContext& context) { return warptile::spmm(read_spmm(in), context); }

}  // namespace warptile::addon
