#include "kernels/attention/sparse.cuh"

namespace warptile::attention_kernels {

template Status sparse_attention<float>(const SparseAttentionParams&, const LaunchContext&);

}  // namespace warptile::attention_kernels
