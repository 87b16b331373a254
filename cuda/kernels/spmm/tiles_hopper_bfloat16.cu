#include "kernels/spmm/tiles_hopper.cuh"

namespace warptile::spmm_kernels {

template Status launch_hopper_tiles<__nv_bfloat16>(const SpmmParams& params, const LaunchContext& context);

}  // namespace warptile::spmm_kernels
