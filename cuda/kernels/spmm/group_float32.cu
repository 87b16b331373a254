#include "kernels/spmm/group.cuh"

namespace warptile::spmm_kernels {

template Status launch_group<float>(const SpmmParams& params, const LaunchContext& context);

}  // namespace warptile::spmm_kernels
