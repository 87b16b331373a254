#include "kernels/neighborhood_attention/kernel.cuh"

namespace warptile::neighborhood {

template Status run<__nv_bfloat16>(const NeighborhoodAttentionParams&, const LaunchContext&);

}  // namespace warptile::neighborhood
