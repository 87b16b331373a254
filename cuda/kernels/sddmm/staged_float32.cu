// The staged kernels of SDDMM for float32.

#include "kernels/sddmm/staged.cuh"

namespace warptile::sddmm_kernels {

Status launch_staged(const SddmmParams& params, const LaunchContext& context) {
  switch (params.plan.tile) {
    case 32:
      return launch_staged_shape<StagedShape<32, 64, 128, 2, 3, 8>>(params, context);
    case 64:
      return launch_staged_shape<StagedShape<64, 64, 256, 2, 3, 4>>(params, context);
    case 128:
      return launch_staged_shape<StagedShape<128, 128, 512, 2, 2, 2>>(params, context);
    default:
      return launch_staged_shape<StagedShape<256, 256, 512, 2, 2, 2>>(params, context);
  }
}

}  // namespace warptile::sddmm_kernels
