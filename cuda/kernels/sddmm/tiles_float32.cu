// The tile kernels of SDDMM for float32.

#include "kernels/sddmm/tiles_float32.cuh"

namespace warptile::sddmm_kernels {

template <>
Status launch_tiles<float>(const SddmmParams& params, const LaunchContext& context) {
  if (params.plan.tile == 32) return launch_float_tile_shape<FloatTileShape<32, 8, 6, 2>>(params, context);
  return launch_float_tile_shape<FloatTileShape<64, 2, 3, 4>>(params, context);
}

}  // namespace warptile::sddmm_kernels
