// The tile kernel of SDDMM by warpgroups for float16.

#include "kernels/sddmm/warpgroups.cuh"

namespace warptile::sddmm_kernels {

template Status launch_warpgroups<__half>(const SddmmParams&, const LaunchContext&);

}  // namespace warptile::sddmm_kernels
