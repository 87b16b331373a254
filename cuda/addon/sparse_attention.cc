#include "api/sparse_attention.h"

#include "addon/operations.h"
#include "addon/sparse_pattern.h"

namespace warptile::addon {

// The order of lib/backends/cuda/sparse-attention.ts.
Status sparse_attention(CommandReader& in, const LaunchContext& context) {
  SparseAttentionParams p;
  p.dtype = in.float_dtype("dtype");
  p.pattern = read_pattern(in);
  p.batch = in.size("batch");
  p.heads = in.size("heads");
  p.kv_heads = in.size("kvHeads");
  p.head_dim = in.size("headDim");
  p.scale = in.number("scale");
  p.softcap = in.number("softcap");
  const size_t bytes = dtype_bytes(p.dtype);
  const int64_t seq_q = p.pattern.rows;
  const int64_t seq_k = p.pattern.columns;
  p.q = in.input("q", bytes, {p.batch, seq_q, p.heads, p.head_dim});
  p.k = in.input("k", bytes, {p.batch, seq_k, p.kv_heads, p.head_dim});
  p.v = in.input("v", bytes, {p.batch, seq_k, p.kv_heads, p.head_dim});
  p.out = in.output("out", bytes, {p.batch, seq_q, p.heads, p.head_dim});
  p.log_sum_exp = static_cast<float*>(in.optional_output("logSumExp", sizeof(float), {p.batch, p.heads, seq_q}));
  in.finish();

  if (p.head_dim < 1 || p.head_dim > kAttentionMaxHeadDim) CommandReader::fail("headDim", "is out of range");
  if (p.heads > 0 && (p.kv_heads == 0 || p.heads % p.kv_heads != 0)) {
    CommandReader::fail("kvHeads", "does not divide heads");
  }
  return warptile::sparse_attention(p, context);
}

}  // namespace warptile::addon
