// The tile kernels of SDDMM for float16.

#include "kernels/sddmm/tiles.cuh"

namespace warptile::sddmm_kernels {

template Status launch_tiles<__half>(const SddmmParams&, const LaunchContext&);

}  // namespace warptile::sddmm_kernels
