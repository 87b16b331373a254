#include "kernels/neighborhood_attention/kernel.cuh"

namespace warptile::neighborhood {

template Status run<__half>(const NeighborhoodAttentionParams&, const LaunchContext&);

}  // namespace warptile::neighborhood
