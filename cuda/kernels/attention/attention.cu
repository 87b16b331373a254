// Dense attention: empty problems and the choice of the element type. The kernel is in tile.cuh.
#include "api/attention.h"

#include "kernels/attention/dense.cuh"

namespace warptile {

Status attention(const AttentionParams& p, const LaunchContext& context) {
  if (p.head_dim < 1 || p.head_dim > kAttentionMaxHeadDim) return Status::invalid("attention: head_dim is not in [1, 256]");
  // Without keys there is work: zeros. Without queries there is none.
  if (p.batch == 0 || p.heads == 0 || p.seq_q == 0) return Status::ok();
  if (p.kv_heads <= 0 || p.heads % p.kv_heads != 0) return Status::invalid("attention: kv_heads does not divide heads");
  return dispatch_float(p.dtype, [&](auto element) {
    return attention_kernels::dense_attention<decltype(element)>(p, context);
  });
}

}  // namespace warptile
