#include "kernels/attention/sparse.cuh"

namespace warptile::attention_kernels {

template Status sparse_attention<__half>(const SparseAttentionParams&, const LaunchContext&);

}  // namespace warptile::attention_kernels
