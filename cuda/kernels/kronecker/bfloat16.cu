#include "kernels/kronecker/apply_factor.cuh"

namespace warptile::kronecker {

template Status apply_factor<__nv_bfloat16>(const FactorCall&, const LaunchContext&);

}  // namespace warptile::kronecker
