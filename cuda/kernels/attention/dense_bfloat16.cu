#include "kernels/attention/dense.cuh"

namespace warptile::attention_kernels {

template Status dense_attention<__nv_bfloat16>(const AttentionParams&, const LaunchContext&);

}  // namespace warptile::attention_kernels
