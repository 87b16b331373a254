#include "kernels/attention/sparse.cuh"

namespace warptile::attention_kernels {

template Status sparse_attention<__nv_bfloat16>(const SparseAttentionParams&, const LaunchContext&);

}  // namespace warptile::attention_kernels
