// The row and gather kernels of SDDMM for float32.

#include "kernels/sddmm/gather.cuh"

namespace warptile::sddmm_kernels {

template Status launch_gather<float>(const SddmmParams&, const LaunchContext&);

}  // namespace warptile::sddmm_kernels
