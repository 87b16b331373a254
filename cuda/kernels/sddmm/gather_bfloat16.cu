// The row and gather kernels of SDDMM for bfloat16.

#include "kernels/sddmm/gather.cuh"

namespace warptile::sddmm_kernels {

template Status launch_gather<__nv_bfloat16>(const SddmmParams&, const LaunchContext&);

}  // namespace warptile::sddmm_kernels
