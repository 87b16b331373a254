#include "kernels/attention/dense.cuh"

namespace warptile::attention_kernels {

template Status dense_attention<float>(const AttentionParams&, const LaunchContext&);

}  // namespace warptile::attention_kernels
