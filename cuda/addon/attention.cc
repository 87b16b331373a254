// Reads what lib/backends/cuda/attention.ts wrote.
#include "api/attention.h"

#include "addon/operations.h"

namespace warptile::addon {

namespace {

constexpr int64_t kUnboundedWindow = int64_t{1} << 32;

}  // namespace

Status attention(CommandReader& in, const LaunchContext& context) {
  AttentionParams p;
  p.dtype = in.float_dtype("dtype");
  p.batch = in.size("batch");
  p.seq_q = in.small_size("seqQ");
  p.seq_k = in.small_size("seqK");
  p.total_q = in.size("totalQ");
  p.total_k = in.size("totalK");
  p.heads = in.size("heads");
  p.kv_heads = in.size("kvHeads");
  p.head_dim = in.size("headDim");
  p.scale = in.number("scale");
  p.softcap = in.number("softcap");
  p.left = in.size("left");
  p.right = in.size("right");
  p.top_left = in.flag("topLeft");
  const size_t bytes = dtype_bytes(p.dtype);
  p.q = in.input("q", bytes, {p.total_q, p.heads, p.head_dim});
  p.k = in.input("k", bytes, {p.total_k, p.kv_heads, p.head_dim});
  p.v = in.input("v", bytes, {p.total_k, p.kv_heads, p.head_dim});
  p.out = in.output("out", bytes, {p.total_q, p.heads, p.head_dim});
  p.log_sum_exp = static_cast<float*>(in.optional_output("logSumExp", sizeof(float), {p.total_q, p.heads}));
  p.cumulative_q = in.optional_int32_input("cumulativeQ", {p.batch + 1});
  p.cumulative_k = in.optional_int32_input("cumulativeK", {p.batch + 1});
  in.finish();

  if (p.head_dim < 1 || p.head_dim > kAttentionMaxHeadDim) CommandReader::fail("headDim", "is out of range");
  if (p.heads > 0 && (p.kv_heads == 0 || p.heads % p.kv_heads != 0)) {
    CommandReader::fail("kvHeads", "does not divide heads");
  }
  if (p.left > kUnboundedWindow || p.right > kUnboundedWindow) CommandReader::fail("window", "is out of range");
  if ((p.cumulative_q == nullptr) != (p.cumulative_k == nullptr)) {
    CommandReader::fail("cumulativeK", "and cumulativeQ must come together");
  }
  if (p.cumulative_q == nullptr && (checked_product({p.batch, p.seq_q}) != p.total_q ||
                                    checked_product({p.batch, p.seq_k}) != p.total_k)) {
    CommandReader::fail("totalQ", "or totalK is not batch times sequence");
  }
  return warptile::attention(p, context);
}

}  // namespace warptile::addon
