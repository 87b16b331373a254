#include "kernels/spmm/bins.cuh"

namespace warptile::spmm_kernels {

template Status launch_bins<__nv_bfloat16>(const SpmmParams& params, const LaunchContext& context);

}  // namespace warptile::spmm_kernels
