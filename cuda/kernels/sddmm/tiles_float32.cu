// The tile kernels of SDDMM for float32.

#include "kernels/sddmm/tiles_float32.cuh"

namespace warptile::sddmm_kernels {

template Status launch_tiles<float>(const SddmmParams&, const LaunchContext&);

}  // namespace warptile::sddmm_kernels
