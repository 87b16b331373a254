// The tile kernel of SDDMM by warpgroups for bfloat16.

#include "kernels/sddmm/warpgroups.cuh"

namespace warptile::sddmm_kernels {

template Status launch_warpgroups<__nv_bfloat16>(const SddmmParams&, const LaunchContext&);

}  // namespace warptile::sddmm_kernels
