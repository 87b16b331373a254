// The row and gather kernels of SDDMM for float16.

#include "kernels/sddmm/gather.cuh"

namespace warptile::sddmm_kernels {

template Status launch_gather<__half>(const SddmmParams&, const LaunchContext&);

}  // namespace warptile::sddmm_kernels
