#include "kernels/neighborhood_attention/kernel.cuh"

namespace warptile::neighborhood {

template Status run<float>(const NeighborhoodAttentionParams&, const LaunchContext&);

}  // namespace warptile::neighborhood
