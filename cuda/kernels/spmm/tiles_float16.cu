#include "kernels/spmm/tiles.cuh"

namespace warptile::spmm_kernels {

template Status launch_tiles<__half>(const SpmmParams& params, const LaunchContext& context);

}  // namespace warptile::spmm_kernels
