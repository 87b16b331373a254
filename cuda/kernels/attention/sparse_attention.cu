// Sparse attention: empty problems and the choice of the element type. The kernels are in tile.cuh and row.cuh.
#include "api/sparse_attention.h"

#include "kernels/attention/sparse.cuh"

namespace warptile {

Status sparse_attention(const SparseAttentionParams& p, const LaunchContext& context) {
  if (p.head_dim < 1 || p.head_dim > kAttentionMaxHeadDim) {
    return Status::invalid("sparse attention: head_dim is not in [1, 256]");
  }
  // Without keys there is work: zeros. Without queries there is none.
  if (p.batch == 0 || p.heads == 0 || p.pattern.rows == 0) return Status::ok();
  if (p.kv_heads <= 0 || p.heads % p.kv_heads != 0) {
    return Status::invalid("sparse attention: kv_heads does not divide heads");
  }
  return dispatch_float(p.dtype, [&](auto element) {
    return attention_kernels::sparse_attention<decltype(element)>(p, context);
  });
}

}  // namespace warptile
