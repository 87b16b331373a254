// The tile kernels of SDDMM for bfloat16.

#include "kernels/sddmm/tiles.cuh"

namespace warptile::sddmm_kernels {

template Status launch_tiles<__nv_bfloat16>(const SddmmParams&, const LaunchContext&);

}  // namespace warptile::sddmm_kernels
